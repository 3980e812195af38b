import ArgumentParser
import CNI
import DHCP
import IPAM
import JSONC
import Linux
import Networking
import Plans

/// `plexus leases`.
struct Leases: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leases", abstract: "List the DHCP leases of this node's pods.",
        discussion: """
            Each line is a lease as it is written down. Its state is "asking" while its ADD waits for a server, "bound" \
            until half of it has passed, then "renewing" (its server is asked for more time), "rebinding" (any server is), \
            "ended" or "refused" (another one is looked for); "confirming" when its link was made anew, until a server has \
            said whether it holds there. RENEWAL is the time until the daemon asks; "now" when it is \
            asking, and for ever when no daemon runs (`dhcp daemon`).
            """)

    @ArgumentParser.Option(
        help: "The directory of the leases, the key leaseDir of their networks; \(DHCPRecords.defaultPath).")
    var leaseDir: [String] = []

    @ArgumentParser.Option(name: .shortAndLong, help: "text for people, json for programs.")
    var output: Output = .text

    /// One line.
    fileprivate struct Row {
        let record: any LeaseRecord
        let state: String
        /// Seconds; nil for never.
        var left: Int64?
        var renewal: Int64?
    }

    func run() throws {
        let now = DHCPRecord.Instant.now()
        let directories = leaseDir.isEmpty ? [DHCPRecords.defaultPath] : leaseDir
        var rows: [Row] = []
        var problems: [String] = []
        try failing("leases") { () throws(Failure) in
            for directory in directories {
                do throws(SystemError) { try collect(directory, now, &rows, &problems) } catch {
                    throw Failure(.io, "\(error)", details: error.hint)
                }
            }
        }
        rows.sort { $0.order < $1.order }
        switch output {
        case .json: printJSON(["version": 1, "leases": .array(rows.map(\.json))])
        case .text where rows.isEmpty:
            writeStandardOutput("no leases in \(directories.joined(separator: ", "))\n")
        case .text:
            writeStandardOutput(
                table(
                    ["POD", "INTERFACE", "NETWORK", "ADDRESS", "SERVER", "STATE", "LEFT", "RENEWAL"],
                    rows.map { $0.cells.map(visible) }))
        }
        for problem in problems { writeStandardError("plexus leases: \(visible(problem))\n") }
        if !problems.isEmpty { throw ExitCode.failure }
    }

    private func collect(
        _ directory: String, _ now: DHCPRecord.Instant, _ rows: inout [Row], _ problems: inout [String]
    ) throws(SystemError) {
        guard let records = try DHCPRecords.openIfThere(directory) else { return }
        for name in try records.names() {
            do throws(SystemError) {
                // One that was deleted meanwhile is none.
                if let record = try records.read(name) { rows.append(Self.row(record, now)) }
            } catch {
                problems.append("\(error)")
            }
        }
    }

    private static func row(_ record: any LeaseRecord, _ now: DHCPRecord.Instant) -> Row {
        guard let term = record.term else { return Row(record: record, state: "asking") }
        if record.head.isRefused { return Row(record: record, state: "refused", left: 0, renewal: 0) }
        guard let (stage, left) = record.stage(at: now), let age = record.age(at: now) else {
            return Row(record: record, state: DHCPRecord.Stage.bound.rawValue)
        }
        return Row(
            record: record, state: stage.rawValue,
            left: term.end == .max ? nil : max(Int64(term.end) - age, 0),
            renewal: stage == .bound ? left / 1000 : 0)
    }
}

extension Leases.Row {
    private var head: LeaseHead { record.head }

    fileprivate var order: String { "\(head.pod) \(head.id.containerID) \(head.id.interface)" }

    fileprivate var cells: [String] {
        func time(_ seconds: Int64?, _ none: String) -> String {
            seconds.map { $0 == 0 ? none : Self.text($0) } ?? (record.term == nil ? "-" : "never")
        }
        return [
            head.pod.isEmpty ? head.id.containerID : head.pod, head.id.interface, head.network,
            record.term.map { "\($0.address)" } ?? "-", record.term.map { "\($0.server)" } ?? "-", state,
            time(left, "-"), time(renewal, "now"),
        ]
    }

    /// Such as `1h5m`: the two largest units.
    private static func text(_ seconds: Int64) -> String {
        let units = [(86400, "d"), (3600, "h"), (60, "m"), (1, "s")] as [(Int64, String)]
        var rest = seconds
        var parts: [String] = []
        for (size, name) in units {
            if rest >= size { parts.append("\(rest / size)\(name)") }
            rest %= size
        }
        return parts.prefix(2).joined()
    }

    fileprivate var json: JSON {
        var json: JSONObject = [
            "pod": .string(head.pod), "containerID": .string(head.id.containerID),
            "interface": .string(head.id.interface), "network": .string(head.network),
            "state": .string(state),
        ]
        if let term = record.term {
            json["address"] = .string("\(term.address)")
            json["server"] = .string("\(term.server)")
        }
        if let left { json["left"] = .int(left) }
        if let renewal { json["renewal"] = .int(renewal) }
        return .object(json)
    }
}
