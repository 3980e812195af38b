import Foundation
import Linux
import Testing

/// Every parser on inputs made from the seeds beside this file. Without variables a short run of all; `scripts/fuzz`
/// sets PLEXUS_FUZZ_SECONDS, PLEXUS_FUZZ_SEED, PLEXUS_FUZZ_TARGET, and PLEXUS_FUZZ_DIRECTORY for what goes wrong.
@Suite(.serialized) struct Fuzzing {
    @Test(arguments: Target.chosen) func survives(target: Target) throws {
        var campaign = try Campaign(target)
        try campaign.run()
        if Campaign.seconds != nil { print("fuzz \(target.name): \(campaign.count) inputs") }
        #expect(campaign.problems.isEmpty)
        #expect(campaign.count > 0)
    }

    /// One input from a file, as `scripts/fuzz` leaves it after a crash: PLEXUS_FUZZ_INPUT.
    @Test(.enabled(if: Campaign.variable("INPUT") != nil)) func replays() throws {
        let path = try #require(Campaign.variable("INPUT"))
        let target = try #require(Target.chosen.first)
        #expect(target.check([UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))) == nil)
    }
}

/// One target's inputs, each of which lies in a file while it is tried.
struct Campaign {
    private let target: Target
    private var mutator: Mutator
    private let trace: Trace?
    private let oracle = JSONOracle()
    private(set) var count = 0
    private(set) var problems: [String] = []

    static func variable(_ name: String) -> String? {
        ProcessInfo.processInfo.environment["PLEXUS_FUZZ_\(name)"].flatMap { $0.isEmpty ? nil : $0 }
    }

    static let seconds = variable("SECONDS").flatMap(Double.init)

    init(_ target: Target) throws {
        self.target = target
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "seeds")
        let files = try FileManager.default.contentsOfDirectory(
            at: folder.appendingPathComponent(target.seeds), includingPropertiesForKeys: nil)
        let seeds = try files.sorted { $0.path < $1.path }.map { [UInt8](try Data(contentsOf: $0)) }
        let seed = Self.variable("SEED").flatMap(UInt64.init) ?? 1
        mutator = Mutator(
            random: Random(seed: seed), form: target.form, seeds: seeds, dictionary: target.dictionary)
        trace = try Self.variable("DIRECTORY").map { try Trace("\($0)/\(target.name)-\(seed).input") }
    }

    mutating func run() throws {
        for seed in mutator.seeds { attempt(seed) }
        let end = Date().addingTimeInterval(Self.seconds ?? 0)
        // A look at the clock now and then.
        while problems.isEmpty, Self.seconds == nil ? count < 500 : Date() < end {
            for _ in 0..<(target.isSlow ? 1 : 50) { attempt(mutator.input()) }
        }
        if target.name == "json" { problems += try oracle.disagreements() }
    }

    /// Nothing after the first problem, so that its input stays in the trace.
    private mutating func attempt(_ input: [UInt8]) {
        guard problems.isEmpty else { return }
        count += 1
        trace?.note(input)
        if target.name == "json" { oracle.note(input) }
        guard let problem = target.check(input) else { return }
        let text = String(decoding: input.prefix(2000), as: UTF8.self)
        problems.append("\(target.name), input \(count): \(problem): \(text.debugDescription)")
    }
}

/// A file that holds the input at hand, whatever becomes of the process: mapped, so that noting costs a copy.
private final class Trace {
    private let map: UnsafeMutableRawPointer
    private let descriptor: CInt

    init(_ path: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0, ftruncate(descriptor, Mutator.largest + 8) == 0,
            let map = mmap(nil, Mutator.largest + 8, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            map != MAP_FAILED
        else { throw CocoaError(.fileWriteUnknown) }
        self.map = map
    }

    deinit {
        munmap(map, Mutator.largest + 8)
        close(descriptor)
    }

    /// The length in eight bytes, then the input.
    func note(_ input: [UInt8]) {
        map.storeBytes(of: UInt64(min(input.count, Mutator.largest)), as: UInt64.self)
        input.withUnsafeBytes {
            (map + 8).copyMemory(
                from: $0.baseAddress ?? UnsafeRawPointer(map), byteCount: min($0.count, Mutator.largest))
        }
    }
}
