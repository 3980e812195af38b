import CNI
package import JSONC
import Linux
package import Networking
package import Plans

/// A lease as it is written down, of either family.
@dynamicMemberLookup
package protocol LeaseRecord: Sendable {
    /// What stands behind the interface's name in the name of its file.
    static var suffix: String { get }
    /// Whether a server is asked if the lease holds where the link may be in another network.
    static var isConfirmed: Bool { get }
    var head: LeaseHead { get set }
    /// nil before the first answer.
    var term: LeaseTerm? { get }
    /// What was granted, for the rest of its time; nil without it.
    func lease(at now: LeaseHead.Instant) -> Lease?
    var json: JSON { get }
    init(_ json: Reader) throws(JSONError)
}

/// What a server granted, as far as it is of one kind for both families. Times in seconds; `UInt32.max` never ends.
package struct LeaseTerm {
    package var address: IPAddress
    /// As people know it.
    package var server: IPAddress
    package var renewal: UInt32
    package var rebinding: UInt32
    package var end: UInt32
}

/// Whose lease it is, since when, and whether it is still one.
package struct LeaseHead: Sendable {
    /// When a server granted the lease, by clocks that no one sets: the boot's ID, and milliseconds of CLOCK_BOOTTIME; and by the
    /// calendar, for people and for another boot.
    package struct Instant: Equatable, Sendable {
        package var boot: String
        package var milliseconds: Int64
        /// Seconds since 1970.
        package var time: Int64

        package init(boot: String, milliseconds: Int64, time: Int64) {
            self.boot = boot
            self.milliseconds = milliseconds
            self.time = time
        }

        package static func now() -> Instant {
            // Where a sandbox hides the ID the calendar must do.
            let boot = (try? NamespaceIdentity.currentBoot()) ?? ""
            return Instant(boot: boot, milliseconds: bootMilliseconds(), time: secondsSinceEpoch())
        }

        /// - Parameter milliseconds: since then.
        package static func ago(_ milliseconds: Int64) -> Instant {
            var instant = now()
            instant.milliseconds -= milliseconds
            instant.time -= milliseconds / 1000
            return instant
        }
    }

    package var id: AttachmentID
    /// The network's name.
    package var network: String
    package var pod: String
    /// The meta-plugin's `cniDir`, where the pod's record is; empty under a plugin's own name.
    package var state = ""
    package var sandbox: String
    package var namespace: NamespaceIdentity?
    /// Of the link, which the pod cannot change.
    package var index: Int32
    package var granted: Instant?
    /// The server has refused the address since, or somebody else has it: another one is looked for.
    package var isRefused = false
    /// Its link was made anew since: a server is to say whether it holds there.
    package var isUnconfirmed = false

    /// Whether both are of one link of one namespace.
    func isSame(as other: LeaseHead) -> Bool {
        guard let one = namespace, let two = other.namespace else { return false }
        return one.isSame(as: two) && index == other.index
    }
}

extension LeaseHead {
    /// Of an ADD's attachment.
    init(_ request: LeaseRequest, _ link: any LinkAccess, _ facts: LinkFacts) throws(Failure) {
        self.init(
            id: request.id, network: request.config.name, pod: Pod(ofArgs: request.args)?.description ?? "",
            state: request.state, sandbox: link.sandbox, namespace: try link.namespace, index: facts.index)
    }
}

extension LeaseRecord {
    package subscript<Value>(dynamicMember path: WritableKeyPath<LeaseHead, Value>) -> Value {
        get { head[keyPath: path] }
        set { head[keyPath: path] = newValue }
    }

    /// Seconds since the lease was granted; nil for one that is not.
    package func age(at now: LeaseHead.Instant = .now()) -> Int64? { milliseconds(at: now).map { $0 / 1000 } }

    /// The same, of which a second that has begun is one: rather more, for the kernel too takes the next one.
    func spent(at now: LeaseHead.Instant) -> Int64? { milliseconds(at: now).map { ($0 + 999) / 1000 } }

    private func milliseconds(at now: LeaseHead.Instant) -> Int64? {
        guard let granted = head.granted else { return nil }
        let isSameBoot = granted.boot == now.boot && !now.boot.isEmpty
        let age = isSameBoot ? now.milliseconds - granted.milliseconds : (now.time - granted.time) * 1000
        return max(age, 0)
    }

    package func lease() -> Lease? { lease(at: .now()) }

    /// Whether the server's word still holds.
    package func holds(at now: LeaseHead.Instant = .now()) -> Bool {
        guard let term, !head.isRefused, let spent = spent(at: now) else { return false }
        return term.end == .max || spent < Int64(term.end)
    }
}

// MARK: As JSON

extension LeaseHead {
    package var json: JSONObject {
        var json: JSONObject = [
            "version": 1, "containerID": .string(id.containerID), "ifname": .string(id.interface),
            "network": .string(network), "pod": .string(pod), "netns": .string(sandbox),
            "index": .int(Int64(index)),
        ]
        if let namespace { json["namespace"] = namespace.json }
        if isRefused { json["refused"] = true }
        if isUnconfirmed { json["unconfirmed"] = true }
        if !state.isEmpty { json["cniDir"] = .string(state) }
        if let granted {
            json["granted"] = [
                "boot": .string(granted.boot), "milliseconds": .int(granted.milliseconds),
                "time": .int(granted.time),
            ]
        }
        return json
    }

    package init(_ json: Reader) throws(JSONError) {
        guard try json.int("version") == 1 else { throw json.error("version", "is of another release") }
        guard let index = try json.int("index", in: 1...Int64(Int32.max)) else {
            throw json.error("index", "is missing")
        }
        self.init(
            id: AttachmentID(containerID: try json.text("containerID"), interface: try json.text("ifname")),
            network: try json.text("network"), pod: try json.string("pod") ?? "",
            state: try json.string("cniDir") ?? "", sandbox: try json.text("netns"),
            namespace: try json.object("namespace").map { own throws(JSONError) in
                try NamespaceIdentity(own)
            }, index: Int32(index), isRefused: try json.bool("refused") ?? false,
            isUnconfirmed: try json.bool("unconfirmed") ?? false)
        guard let at = try json.object("granted") else { return }
        granted = Instant(
            boot: try at.text("boot"), milliseconds: try at.int("milliseconds", in: Self.times) ?? 0,
            time: try at.int("time", in: Self.times) ?? 0)
    }

    /// What can be calculated with.
    private static let times: ClosedRange<Int64> = -(1 << 50)...1 << 50
}

extension Reader {
    /// A text that must be there.
    func text(_ key: String) throws(JSONError) -> String {
        guard let text = try string(key) else { throw error(key, "is missing") }
        return text
    }

    /// Bytes as hexadecimal digits.
    func bytes(_ key: String) throws(JSONError) -> [UInt8] {
        guard let bytes = Hexadecimal.bytes(try text(key)) else { throw error(key, "is no bytes") }
        return bytes
    }
}

/// Bytes as records have them.
enum Hexadecimal {
    static func text(_ bytes: [UInt8]) -> String { String(decoding: hexadecimal(bytes), as: UTF8.self) }

    static func bytes(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count % 2 == 0, digits.count <= 1 << 16 else { return nil }
        var bytes: [UInt8] = []
        for place in stride(from: 0, to: digits.count, by: 2) {
            guard digits[place] != UInt8(ascii: "+"),
                let byte = UInt8(String(decoding: digits[place..<place + 2], as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }
}
