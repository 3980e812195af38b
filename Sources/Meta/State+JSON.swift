import CNI
import Engine
import JSONC
import Linux
import Network
import Plans

extension PodRecord {
    private static let format: Int64 = 2
    /// Without a checksum, and without what tells namespaces and links apart.
    private static let oldFormat: Int64 = 1

    func json() throws(Failure) -> JSON {
        var list: [JSON] = []
        for entry in entries { list.append(try Self.json(entry)) }
        var json: JSONObject = [
            "version": .int(Self.format), "containerID": .string(id.containerID),
            "interface": .string(id.interface), "network": .string(network), "sandbox": .string(sandbox),
        ]
        if let namespace { json["namespace"] = namespace.json }
        json["delegates"] = .array(list)
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
        if let attached = entry.attached {
            if attached.isWhole { json["result"] = try attached.result.json(.newest) }
            json["saved"] = .object(
                JSONObject(attached.saved.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
            if let index = attached.index { json["index"] = .int(Int64(index)) }
            if let device = attached.device { json["device"] = .string(device.record) }
            if let given = attached.given { json["given"] = .array(given.map { .string("\($0)") }) }
        }
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
    }

    private static func entry(_ json: Reader, _ id: AttachmentID, _ sandbox: String) throws(JSONError)
        -> Entry
    {
        guard let list = try json.object("list") else { throw json.error("list", "is missing") }
        let decoded: NetworkList
        do throws(Failure) { decoded = try NetworkList.decode(list.value, defaultName: nil) } catch {
            throw list.error(nil, error.message)
        }
        let spec = AttachmentSpec(
            name: try json.string("name") ?? decoded.name,
            id: AttachmentID(
                containerID: id.containerID, interface: try json.string("interface") ?? id.interface),
            sandbox: sandbox, args: try json.string("args") ?? "", list: decoded,
            runtimeConfig: try json.object("runtimeConfig")?.value.object ?? [:],
            cniArgs: try json.object("cniArgs")?.value.object,
            searchPath: try json.strings("searchPath") ?? [],
            external: try json.strings("external") ?? [])
        var saved: [String: String] = [:]
        for (key, value) in try json.object("saved")?.members() ?? [] { saved[key] = try value.asString() }
        guard let result = try json.object("result") else {
            return Entry(spec: spec, attached: saved.isEmpty ? nil : Attached(saved: saved))
        }
        let given = try json.strings("given")?.compactMap { IPAddress(parsing: $0) }
        var attached = Attached(
            result: try CNIResult.parse(result.value, assuming: .newest), saved: saved, given: given)
        attached.device = try json.string("device").flatMap {
            Device(record: $0, interface: spec.id.interface)
        }
        attached.index = try json.int("index", in: 1...Int64(Int32.max)).map { Int32($0) }
        return Entry(spec: spec, attached: attached)
    }
}

// MARK: Checksum

/// A disk may change a bit and leave JSON that says something else. So the first member of a record is a checksum of all
/// that follows it: `{"sum":"<16 hexadecimal digits>",...`.
extension PodRecord {
    private static let head = Array("{\"sum\":\"".utf8)
    private static let digits = 16

    /// The bytes of a record's file.
    static func sealed(_ json: JSON) -> [UInt8] {
        let body = json.bytes().dropFirst()
        return head + checksum(body) + Array("\",".utf8) + body
    }

    init(sealed bytes: [UInt8], _ id: AttachmentID) throws(JSONError) {
        let json = Reader(try JSON.parse(bytes).value)
        guard bytes.starts(with: Self.head), bytes.count > Self.head.count + Self.digits + 2 else {
            try self.init(json, id, version: Self.oldFormat)
            return
        }
        let sum = bytes[Self.head.count..<Self.head.count + Self.digits]
        guard Self.checksum(bytes[(Self.head.count + Self.digits + 2)...]).elementsEqual(sum) else {
            throw json.error("sum", "is not that of the record: it was damaged")
        }
        try self.init(json, id, version: Self.format)
    }

    /// FNV-1a: it detects accidents. Against people the directory's permissions protect.
    private static func checksum(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return hexadecimal(
            stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: hash >> UInt64($0)) })
    }
}

extension NamespaceIdentity {
    fileprivate var json: JSON {
        [
            "boot": .string(boot), "device": .unsigned(device), "inode": .unsigned(inode),
            "cookie": .unsigned(cookie),
        ]
    }

    fileprivate init(_ json: Reader) throws(JSONError) {
        func number(_ key: String) throws(JSONError) -> UInt64 {
            switch json.value[key] {
            case .unsigned(let value): return value
            case .int(let value) where value >= 0: return UInt64(value)
            default: throw json.error(key, "is no number")
            }
        }
        self.init(
            boot: try json.string("boot") ?? "", device: try number("device"), inode: try number("inode"),
            cookie: try number("cookie"))
    }
}
