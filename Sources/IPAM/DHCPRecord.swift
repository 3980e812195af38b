import CNI
package import DHCP
package import JSONC
package import Linux
package import Networking
package import Plans

/// A lease of an attachment as it is written down: what a renewal, a DEL and a reboot need.
package struct DHCPRecord: Sendable {
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
    package var client: Client
    package var terms: DHCPTerms
    /// nil before the first answer.
    package var grant: Grant?
    package var granted: Instant?
    /// The server has refused the address since: another one is looked for.
    package var isRefused = false
    /// Its link was made anew since: a server is to say whether it holds there.
    package var isUnconfirmed = false
    /// What the link had before, while `grant` is not on it yet, or not altogether.
    package var former: Grant?

    package init(
        id: AttachmentID, network: String, pod: String, sandbox: String, namespace: NamespaceIdentity?,
        index: Int32, client: Client, terms: DHCPTerms
    ) {
        self.id = id
        self.network = network
        self.pod = pod
        self.sandbox = sandbox
        self.namespace = namespace
        self.index = index
        self.client = client
        self.terms = terms
    }

    /// Seconds since the lease was granted; nil for one that is not.
    package func age(at now: Instant = .now()) -> Int64? { milliseconds(at: now).map { $0 / 1000 } }

    private func milliseconds(at now: Instant) -> Int64? {
        guard let granted else { return nil }
        let isSameBoot = granted.boot == now.boot && !now.boot.isEmpty
        let age = isSameBoot ? now.milliseconds - granted.milliseconds : (now.time - granted.time) * 1000
        return max(age, 0)
    }

    /// What was granted, for the rest of its time; nil without it, or without a mask.
    package func lease(at now: Instant = .now()) -> Lease? {
        guard let grant, var lease = terms.lease(grant), let age = milliseconds(at: now) else { return nil }
        // Whole seconds: rather less, for the kernel too takes the next one.
        if let lifetime = lease.lifetime {
            lease.lifetime = UInt32(clamping: max(Int64(lifetime) - (age + 999) / 1000, 1))
        }
        return lease
    }

    /// Whether the server's word still holds.
    package func holds(at now: Instant = .now()) -> Bool {
        guard let grant, !isRefused, let age = milliseconds(at: now) else { return false }
        // As the kernel's.
        return grant.leaseTime == .max || (age + 999) / 1000 < Int64(grant.leaseTime)
    }
}

// MARK: As JSON

extension DHCPRecord {
    package var json: JSON {
        var json: JSONObject = [
            "version": 1, "containerID": .string(id.containerID), "ifname": .string(id.interface),
            "network": .string(network), "pod": .string(pod), "netns": .string(sandbox),
            "index": .int(Int64(index)), "mac": .string("\(client.hardware)"),
            "clientID": .string(Self.text(client.id)), "provide": Self.options(client.provided),
            "request": .array(client.requested.map { .int(Int64($0)) }),
            "broadcast": .bool(client.isBroadcast),
        ]
        if let namespace { json["namespace"] = namespace.json }
        if let priority = terms.priority { json["priority"] = .int(Int64(priority)) }
        if !terms.accepted.isEmpty {
            json["accept"] = .array(terms.accepted.map(\.rawValue).sorted().map { .string($0) })
        }
        if terms.isProbing { json["probe"] = true }
        if isRefused { json["refused"] = true }
        if isUnconfirmed { json["unconfirmed"] = true }
        if let former {
            var own = JSONObject()
            Self.write(former, into: &own)
            json["former"] = .object(own)
        }
        if !state.isEmpty { json["cniDir"] = .string(state) }
        if let grant, let granted {
            Self.write(grant, into: &json)
            json["granted"] = [
                "boot": .string(granted.boot), "milliseconds": .int(granted.milliseconds),
                "time": .int(granted.time),
            ]
        }
        return .object(json)
    }

    package init(_ json: Reader) throws(JSONError) {
        func text(_ reader: Reader, _ key: String) throws(JSONError) -> String {
            guard let text = try reader.string(key) else { throw reader.error(key, "is missing") }
            return text
        }
        func bytes(_ key: String) throws(JSONError) -> [UInt8] {
            guard let bytes = Self.bytes(try text(json, key)) else { throw json.error(key, "is no bytes") }
            return bytes
        }
        guard try json.int("version") == 1 else { throw json.error("version", "is of another release") }
        guard let mac = MAC(parsing: try text(json, "mac")) else {
            throw json.error("mac", "is no MAC address")
        }
        guard let index = try json.int("index", in: 1...Int64(Int32.max)) else {
            throw json.error("index", "is missing")
        }
        var requested: [UInt8] = []
        for value in json.value["request"]?.array ?? [] {
            if let number = value.int.flatMap(UInt8.init(exactly:)) { requested.append(number) }
        }
        self.init(
            id: AttachmentID(containerID: try text(json, "containerID"), interface: try text(json, "ifname")),
            network: try text(json, "network"), pod: try json.string("pod") ?? "",
            sandbox: try text(json, "netns"), namespace: nil, index: Int32(index),
            client: Client(
                hardware: mac, id: try bytes("clientID"), provided: try Self.options(json, "provide"),
                requested: requested, isBroadcast: try json.bool("broadcast") ?? false),
            terms: DHCPTerms())
        terms.priority = try json.int("priority", in: 0...Int64(UInt32.max)).map { UInt32($0) }
        terms.accepted = Set(
            (try json.strings("accept") ?? []).compactMap(DHCPTerms.Accepted.init(rawValue:)))
        terms.isProbing = try json.bool("probe") ?? false
        isRefused = try json.bool("refused") ?? false
        isUnconfirmed = try json.bool("unconfirmed") ?? false
        state = try json.string("cniDir") ?? ""
        namespace = try json.object("namespace").map { own throws(JSONError) in try NamespaceIdentity(own) }
        guard let at = try json.object("granted") else { return }
        func grant(_ reader: Reader) throws(JSONError) -> Grant {
            guard let address = IPAddress(parsing: try text(reader, "address")), address.family == .v4,
                let server = IPAddress(parsing: try text(reader, "server")), server.family == .v4
            else { throw reader.error("address", "is no IPv4 address") }
            return Grant(address: address, server: server, options: try Self.options(reader, "options"))
        }
        self.grant = try grant(json)
        former = try json.object("former").map { own throws(JSONError) in try grant(own) }
        granted = Instant(
            boot: try text(at, "boot"), milliseconds: try at.int("milliseconds", in: Self.times) ?? 0,
            time: try at.int("time", in: Self.times) ?? 0)
    }

    /// What can be calculated with.
    private static let times: ClosedRange<Int64> = -(1 << 50)...1 << 50

    private static func write(_ grant: Grant, into json: inout JSONObject) {
        json["address"] = .string("\(grant.address)")
        json["server"] = .string("\(grant.server)")
        json["options"] = options(grant.options)
    }

    private static func options(_ options: [UInt8: [UInt8]]) -> JSON {
        var json = JSONObject()
        for (number, value) in options.sorted(by: { $0.key < $1.key }) {
            json["\(number)"] = .string(text(value))
        }
        return .object(json)
    }

    private static func options(_ json: Reader, _ key: String) throws(JSONError) -> [UInt8: [UInt8]] {
        var options: [UInt8: [UInt8]] = [:]
        for (name, value) in try json.object(key)?.members() ?? [] {
            guard let number = UInt8(name), let bytes = bytes(try value.asString()) else {
                throw json.error(key, "has no option \(name)")
            }
            options[number] = bytes
        }
        return options
    }

    private static func text(_ bytes: [UInt8]) -> String {
        String(decoding: hexadecimal(bytes), as: UTF8.self)
    }

    private static func bytes(_ text: String) -> [UInt8]? {
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

// MARK: Files

/// The records of a node's leases, a file each. Who changes one holds the folder's lock for that moment: a DEL and a renewal
/// must not bring back what the other has removed.
package struct DHCPRecords: ~Copyable {
    package static let defaultPath = "/var/lib/cni/plexus/leases"
    private static let limit = 1 << 18
    private let directory: Directory

    package static func open(_ path: String) throws(SystemError) -> DHCPRecords {
        var isNew = false
        return DHCPRecords(directory: try Directory.createTrusted(path, mode: 0o700, &isNew))
    }

    /// nil where there never was a lease.
    package static func openIfThere(_ path: String) throws(SystemError) -> DHCPRecords? {
        do throws(SystemError) { return DHCPRecords(directory: try Directory.open(path).trusted()) } catch
            where error.isNotFound
        {
            return nil
        }
    }

    private static func name(_ id: AttachmentID) -> String { "\(id.containerID)@\(id.interface).json" }

    package func lock() throws(SystemError) -> Lock { try Lock.take(in: directory, "lock") }

    /// nil without one.
    ///
    /// - Throws: also for one that cannot be read.
    package func read(_ id: AttachmentID) throws(SystemError) -> DHCPRecord? { try read(Self.name(id)) }

    package func read(_ name: String) throws(SystemError) -> DHCPRecord? {
        guard let bytes = try directory.readIfPresent(name, limit: Self.limit) else { return nil }
        do throws(JSONError) { return try DHCPRecord(Reader(JSON.parse(bytes).value)) } catch {
            throw SystemError(refusing: "the record of a lease, \(name), is damaged: \(error)")
        }
    }

    package func write(_ record: DHCPRecord, isDurable: Bool = false) throws(SystemError) {
        try directory.replace(Self.name(record.id), with: record.json.bytes(), isDurable: isDurable)
    }

    /// Replaces one that is there.
    ///
    /// - Parameter isDurable: of an address that no record on disk has yet.
    /// - Returns: false when it is gone.
    package func update(_ record: DHCPRecord, isDurable: Bool = false) throws(SystemError) -> Bool {
        let lock = try lock()
        defer { extendLifetime(lock) }
        guard directory.contains(Self.name(record.id)) else { return false }
        try write(record, isDurable: isDurable)
        return true
    }

    package func remove(_ id: AttachmentID) throws(SystemError) {
        let lock = try lock()
        defer { extendLifetime(lock) }
        try directory.remove(Self.name(id))
        try directory.removeDraft(of: Self.name(id))
    }

    /// Whose records are there, as their names say: also of those that cannot be read.
    package func ids() throws(SystemError) -> [AttachmentID] {
        try names().compactMap { name in
            let parts = name.dropLast(5).split(separator: "@", maxSplits: 1).map(String.init)
            return parts.count == 2 ? AttachmentID(containerID: parts[0], interface: parts[1]) : nil
        }
    }

    /// The files' names.
    package func names() throws(SystemError) -> [String] {
        try directory.names().filter { $0.hasSuffix(".json") && !$0.hasPrefix(".") && $0.contains("@") }
    }
}
