import CNI
import Engine
import JSONC
import Network
import Plans

extension PodRecord {
    private static let format: Int64 = 1

    func json() throws(Failure) -> JSON {
        var list: [JSON] = []
        for entry in entries { list.append(try Self.json(entry)) }
        return [
            "version": .int(Self.format), "containerID": .string(id.containerID),
            "interface": .string(id.interface),
            "sandbox": .string(sandbox), "delegates": .array(list),
        ]
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
            if let given = attached.given { json["given"] = .array(given.map { .string("\($0)") }) }
        }
        return .object(json)
    }

    init(_ json: Reader, _ id: AttachmentID) throws(JSONError) {
        try json.requireObject()
        guard try json.int("version") == Self.format else {
            throw json.error("version", "is not \(Self.format)")
        }
        guard try json.string("containerID") == id.containerID, try json.string("interface") == id.interface
        else {
            throw json.error("containerID", "is another container's")
        }
        self.id = id
        sandbox = try json.string("sandbox") ?? ""
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
        return Entry(
            spec: spec,
            attached: Attached(
                result: try CNIResult.parse(result.value, assuming: .newest), saved: saved, given: given))
    }
}
