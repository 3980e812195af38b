package import CNI
import JSONC
import Linux

/// The devices that the kubelet gave to a pod's containers, as its own notes have them: kubelet
/// pkg/kubelet/cm/devicemanager/checkpoint. They are there before the pod's sandbox is made.
package struct DeviceCheckpoint {
    /// Of one container, and one resource.
    private struct Entry {
        var resource: String
        var ids: [String]
    }

    private let entries: [Entry]

    private static let name = "kubelet_internal_checkpoint"

    /// - Parameters:
    ///   - kubeletDir: the kubelet's `--root-dir`.
    ///   - uid: the pod's, which the kubelet gives CNI_ARGS too.
    package init(kubeletDir: String, podUID uid: String) throws(Failure) {
        let path = "\(kubeletDir)/device-plugins"
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Directory.open(path).trusted().read(
                Self.name, limit: JSON.maximumSize, isTrusted: true)
        } catch {
            throw Failure(
                .io, "the kubelet's devices: \(error)",
                details: error.isNotFound
                    ? "the key kubeletDir names the kubelet's --root-dir, whose device-plugins has \(Self.name)"
                    : error.hint)
        }
        do throws(JSONError) { entries = try Self.entries(Reader(JSON.parse(bytes).value), uid) } catch {
            throw Failure(.io, "the kubelet's devices: \(path)/\(Self.name): \(error)")
        }
    }

    /// Whether the kubelet has written one.
    package static func isThere(below kubeletDir: String) -> Bool {
        fileExists("\(kubeletDir)/device-plugins/\(name)")
    }

    private static func entries(_ json: Reader, _ uid: String) throws(JSONError) -> [Entry] {
        var entries: [Entry] = []
        for entry in try json.object("Data")?.list("PodDeviceEntries") ?? []
        where try entry.string("PodUID") == uid {
            guard let resource = try entry.string("ResourceName") else { continue }
            entries.append(Entry(resource: resource, ids: try ids(entry)))
        }
        return entries
    }

    /// By NUMA node; from a kubelet before 1.20 one list. Sorted, as newest Multus does within each container.
    private static func ids(_ entry: Reader) throws(JSONError) -> [String] {
        guard entry.value["DeviceIDs"]?.object != nil else {
            return try (entry.strings("DeviceIDs") ?? []).sorted()
        }
        var ids: [String] = []
        for (_, node) in try entry.object("DeviceIDs")?.members() ?? [] where node.value != .null {
            for id in try node.elements() { ids.append(try id.asString()) }
        }
        return ids.sorted()
    }

    /// The IDs of a resource's devices, in the order of the containers that the kubelet wrote; each once.
    package func ids(of resource: String) -> [String] {
        var found: [String] = []
        for entry in entries where entry.resource == resource {
            for id in entry.ids where !found.contains(id) { found.append(id) }
        }
        return found
    }
}
