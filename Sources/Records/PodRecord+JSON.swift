package import CNI
package import JSONC
import Linux
import Networking
import Plans

extension PodRecord {
    private static let format: Int64 = 2
    /// Without a checksum, and without what tells namespaces and links apart.
    private static let oldFormat: Int64 = 1

    package func json() throws(Failure) -> JSON {
        var list: [JSON] = []
        for entry in entries { list.append(try Self.json(entry)) }
        var json: JSONObject = [
            "version": .int(Self.format), "containerID": .string(id.containerID),
            "interface": .string(id.interface), "network": .string(network), "sandbox": .string(sandbox),
        ]
        if let namespace { json["namespace"] = namespace.json }
        json["delegates"] = .array(list)
        if let status { json["status"] = .string(status) }
        if !missing.isEmpty {
            json["missing"] = .array(
                missing.map { ["name": .string($0.name), "problem": .string($0.problem)] })
        }
        return .object(json)
    }

    private static func json(_ entry: Entry) throws(Failure) -> JSON {
        let spec = entry.spec
        var json: JSONObject = [
            "name": .string(spec.name), "interface": .string(spec.id.interface), "args": .string(spec.args),
            "list": spec.list.json, "runtimeConfig": .object(spec.runtimeConfig),
            "searchPath": .array(spec.searchPath.map { .string($0) }),
            "external": .array(spec.external.map { .string($0) }),
        ]
        if let cniArgs = spec.cniArgs { json["cniArgs"] = .object(cniArgs) }
        if let deviceID = spec.deviceID { json["deviceID"] = .string(deviceID) }
        if !spec.origin.isEmpty { json["origin"] = .string(spec.origin) }
        if let isAsked = spec.isAsked { json["asked"] = .bool(isAsked) }
        if entry.isDetached { json["detached"] = true }
        try write(entry.attached, to: &json)
        return .object(json)
    }

    private static func write(_ attached: Attached?, to json: inout JSONObject) throws(Failure) {
        guard let attached else { return }
        if attached.isWhole { json["result"] = try attached.result.json(.newest) }
        if let refusal = attached.refusal {
            json["refused"] = ["type": .string(refusal.type), "time": .int(refusal.time)]
        }
        json["saved"] = .object(
            JSONObject(attached.saved.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
        if let index = attached.index { json["index"] = .int(Int64(index)) }
        if let info = attached.deviceInfo { json["deviceInfo"] = info }
        if let device = attached.device { json["device"] = .string(device.note) }
        if !attached.vlanBridges.isEmpty {
            json["vlanBridges"] = .array(attached.vlanBridges.map { .string($0) })
        }
        if let given = attached.given { json["given"] = .array(given.map { .string("\($0)") }) }
    }

    /// What became of these entries: a line to come after that of the record.
    func json(of entries: Range<Int>) throws(Failure) -> JSON {
        var list: [JSON] = []
        for entry in self.entries[entries] {
            var json: JSONObject = [:]
            try Self.write(entry.attached, to: &json)
            list.append(.object(json))
        }
        var json: JSONObject = ["first": .int(Int64(entries.lowerBound)), "attached": .array(list)]
        if let status { json["status"] = .string(status) }
        return .object(json)
    }

    /// - Parameter version: the one that the record must have.
    init(_ json: Reader, _ id: AttachmentID, version: Int64 = format) throws(JSONError) {
        try json.requireObject()
        guard try json.int("version") == version else { throw json.error("version", "is not \(version)") }
        guard try json.string("containerID") == id.containerID, try json.string("interface") == id.interface
        else {
            throw json.error("containerID", "is another container's")
        }
        self.id = id
        network = try json.string("network") ?? ""
        sandbox = try json.string("sandbox") ?? ""
        namespace = try json.object("namespace").map { json throws(JSONError) in try NamespaceIdentity(json) }
        entries = []
        for entry in try json.list("delegates") ?? [] { entries.append(try Self.entry(entry, id, sandbox)) }
        status = try json.string("status")
        for network in try json.list("missing") ?? [] {
            missing.append(
                MissingNetwork(
                    name: try network.string("name") ?? "", problem: try network.string("problem") ?? ""))
        }
    }

    private static func entry(_ json: Reader, _ id: AttachmentID, _ sandbox: String) throws(JSONError)
        -> Entry
    {
        guard let list = try json.object("list") else { throw json.error("list", "is missing") }
        let decoded: NetworkList
        do throws(Failure) { decoded = try NetworkList.decode(list.value, defaultName: nil) } catch {
            throw list.error(nil, error.message)
        }
        var spec = AttachmentSpec(
            name: try json.string("name") ?? decoded.name,
            id: AttachmentID(
                containerID: id.containerID, interface: try json.string("interface") ?? id.interface),
            sandbox: sandbox, args: try json.string("args") ?? "", list: decoded,
            runtimeConfig: try json.object("runtimeConfig")?.value.object ?? [:],
            cniArgs: try json.object("cniArgs")?.value.object,
            searchPath: try json.strings("searchPath") ?? [],
            external: try json.strings("external") ?? [])
        spec.origin = try json.string("origin") ?? ""
        spec.deviceID = try json.string("deviceID")
        spec.isAsked = try json.bool("asked")
        var entry = Entry(spec: spec, attached: try attached(json, interface: spec.id.interface))
        entry.isDetached = try json.bool("detached") ?? false
        return entry
    }

    private static func attached(_ json: Reader, interface: String) throws(JSONError) -> Attached? {
        var saved: [String: String] = [:]
        for (key, value) in try json.object("saved")?.members() ?? [] { saved[key] = try value.asString() }
        guard let result = try json.object("result") else {
            let refusal = try json.object("refused").map { refused throws(JSONError) in
                Attached.Refusal(
                    type: try refused.string("type") ?? "", time: try refused.int("time") ?? 0)
            }
            guard refusal != nil || !saved.isEmpty else { return nil }
            var attached = Attached(saved: saved)
            attached.refusal = refusal
            return attached
        }
        let given = try json.strings("given")?.compactMap { IPAddress(parsing: $0) }
        var attached = Attached(
            result: try CNIResult.parse(result.value, assuming: .newest), saved: saved, given: given)
        attached.deviceInfo = try json.object("deviceInfo")?.value
        attached.device = try json.string("device").flatMap {
            Device(note: $0, interface: interface)
        }
        attached.vlanBridges = try json.strings("vlanBridges") ?? []
        attached.index = try json.int("index", in: 1...Int64(Int32.max)).map { Int32($0) }
        return attached
    }

    /// Takes in what a later line says.
    private mutating func read(_ json: Reader) throws(JSONError) {
        let list = try json.list("attached") ?? []
        let last = Int64(entries.count - list.count)
        guard last >= 0, let first = try json.int("first", in: 0...last) else {
            throw json.error("first", "is not a delegate's")
        }
        for (index, attached) in zip(Int(first)..., list) {
            entries[index].attached = try Self.attached(
                attached, interface: entries[index].spec.id.interface)
        }
        status = try json.string("status") ?? status
    }
}

// MARK: Lines

extension PodRecord {
    /// - Parameter bytes: a record's file.
    init(sealed bytes: [UInt8], _ id: AttachmentID) throws(JSONError) {
        guard JSON.isSealed(bytes[...]) else {
            try self.init(Reader(try JSON.parse(bytes).value), id, version: Self.oldFormat)
            return
        }
        // Earlier releases wrote one line, without an end.
        var rest = bytes[...]
        try self.init(Reader(JSON.parse(sealed: rest.prefix { $0 != JSON.lineEnd })), id)
        rest = rest.drop { $0 != JSON.lineEnd }.dropFirst()
        // What has no end was being written when its process was killed: what came before it counts.
        while let end = rest.firstIndex(of: JSON.lineEnd) {
            try read(Reader(JSON.parse(sealed: rest[..<end])))
            rest = rest[(end + 1)...]
        }
    }
}
