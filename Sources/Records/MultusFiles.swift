import CNI
import JSONC
package import Linux
import Networking
import Plans

/// What Multus and its libcni would have written of a pod, so that a node can go back to them with its pods running: Multus'
/// DEL goes by the first file, its CHECK by the others. multus-cni pkg/multus/multus.go; libcni/api.go, cniCacheV1.
package struct MultusFiles {
    private let directory: String

    /// - Parameter directory: Multus' cniDir.
    package init(directory: String) { self.directory = directory }

    private var results: String { "\(directory)/results" }

    /// Names of ours below a cniDir that both share; no runtime's container is called so.
    private static let taken = ["attachments", "results", "status"]

    package func write(_ record: PodRecord) throws(SystemError) {
        guard !Self.taken.contains(record.id.containerID) else { return }
        var isNew = false
        let folder = try Directory.createTrusted(results, mode: 0o700, &isNew)
        var delegates: [JSON] = []
        for entry in record.entries {
            let written = Written(entry, record)
            delegates.append(written.delegate)
            if let result = written.result { try folder.replace(written.name, with: result.bytes()) }
        }
        try Directory.open(directory).replace(
            record.id.containerID, with: JSON.array(delegates).bytes(escapesHTML: false))
    }

    /// - Parameter isLikely: whether they are kept; then a draft that a crash left is looked for too.
    package func remove(_ record: PodRecord, isLikely: Bool) throws(SystemError) {
        guard !Self.taken.contains(record.id.containerID) else { return }
        do throws(SystemError) {
            let folder = try Directory.open(results)
            for entry in record.entries {
                try folder.remove(Written.name(entry))
                try folder.removeDraft(of: Written.name(entry))
            }
        } catch  where error.isNotFound || error.isNoDirectory {
            // Somebody else's, or gone: nothing of ours is there.
        }
        guard isLikely || fileExists("\(directory)/\(record.id.containerID)") else { return }
        do throws(SystemError) {
            let own = try Directory.open(directory)
            try own.remove(record.id.containerID)
            try own.removeDraft(of: record.id.containerID)
        } catch  where error.isNotFound {}
    }
}

/// One attachment, as each of the two has it.
private struct Written {
    let name: String
    let delegate: JSON
    /// nil for one that the network's version cannot express: libcni keeps none either.
    let result: JSON?

    static func name(_ entry: PodRecord.Entry) -> String {
        "\(entry.spec.list.name)-\(entry.spec.id.containerID)-\(entry.spec.id.interface)"
    }

    init(_ entry: PodRecord.Entry, _ record: PodRecord) {
        let spec = entry.spec
        // With what the pod's annotation adds to each plugin, as Multus merges it before it calls libcni.
        var list = spec.list
        for index in list.plugins.indices {
            let merged = try? spec.list.config(
                at: index, previous: nil, runtimeConfig: [:], cniArgs: spec.cniArgs)
            if let merged { list.plugins[index] = merged }
        }
        let config = JSON.string(encodedBase64(list.json.bytes(escapesHTML: false)))
        name = Self.name(entry)
        var delegate: JSONObject = [
            "Conf": [:],
            "ConfList": [
                "cniVersion": .string(list.version.rawValue), "name": .string(list.name),
                "plugins": .array(list.plugins.map { ["type": $0["type"] ?? ""] }),
            ],
            "Name": .string(spec.name),
        ]
        if spec.id != record.id { delegate["ifnameRequest"] = .string(spec.id.interface) }
        if let mac = spec.runtimeConfig["mac"] { delegate["macRequest"] = mac }
        if let guid = spec.runtimeConfig["infinibandGUID"] { delegate["infinibandGUIDRequest"] = guid }
        if let ips = spec.runtimeConfig["ips"] { delegate["ipRequest"] = ips }
        if let device = spec.deviceID { delegate["deviceID"] = .string(device) }
        if let resource = spec.resource { delegate["resourceName"] = .string(resource) }
        delegate["Bytes"] = config
        self.delegate = .object(delegate)
        guard let result = try? entry.attached?.result.json(list.version) else {
            self.result = nil
            return
        }
        let pairs = (try? CNIArgs.parse(spec.args, lenient: true))?.pairs ?? []
        self.result = [
            "kind": "cniCacheV1", "containerId": .string(spec.id.containerID), "config": config,
            "ifName": .string(spec.id.interface), "networkName": .string(list.name),
            "netns": .string(record.sandbox),
            "cniArgs": .array(pairs.map { .array([.string($0.key), .string($0.value)]) }),
            "capabilityArgs": .object(spec.runtimeConfig), "result": result,
        ]
    }
}
