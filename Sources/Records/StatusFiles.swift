package import CNI
import JSONC
package import Linux
import Networking

/// `<cniDir>/status/<namespace>_<pod>_<uid>.json`: the text of the annotation `network-status` of each pod, for whoever
/// publishes it. The last part is empty where the runtime does not tell the UID.
package struct StatusFiles {
    private let path: String
    private static let limit = JSON.maximumSize

    /// - Parameter cniDir: where the records are.
    package init(cniDir: String) { path = "\(cniDir)/status" }

    /// Neither a namespace nor a pod's name has a '_'.
    package static func name(of pod: Pod) -> String {
        let uid = Names.isIdentifier(pod.uid) ? pod.uid.prefix(64) : ""
        let tail = "_\(uid).json"
        // A file's name has 255 bytes, of which a draft's takes a few; a pod's name alone may have as many.
        let head = "\(pod.namespace)_"
        return "\(head)\(pod.name.prefix(240 - head.utf8.count - tail.utf8.count))\(tail)"
    }

    package func write(_ text: String, of pod: Pod) throws(SystemError) {
        var isNew = false
        try Directory.createTrusted(path, mode: 0o700, &isNew)
            .replace(Self.name(of: pod), with: Array(text.utf8), mode: 0o600)
    }

    /// nil when the directory is not there.
    private func directory() throws(SystemError) -> Directory? {
        do throws(SystemError) { return try Directory.open(path).trusted() } catch
            where error.isNotFound || error.isNoDirectory
        {
            return nil
        }
    }

    /// What is to be published: the text of each file, by the file's name.
    package func all() throws(SystemError) -> [String: String] {
        guard let directory = try directory() else { return [:] }
        var found: [String: String] = [:]
        for name in try directory.names() where name.hasSuffix(".json") && Directory.nameOfDraft(name) == nil
        {
            // One that went meanwhile.
            guard let bytes = try directory.readIfPresent(name, limit: Self.limit) else { continue }
            found[name] = String(decoding: bytes, as: UTF8.self)
        }
        return found
    }

    /// The pod of a file; nil for a name that is none of ours, or that was cut.
    package static func pod(ofName name: String) -> Pod? {
        let parts = name.dropLast(5).parts(by: "_")
        guard name.hasSuffix(".json"), parts.count == 3 else { return nil }
        let pod = Pod(namespace: String(parts[0]), name: String(parts[1]), uid: String(parts[2]))
        guard Names.isLabel(pod.namespace), Names.isSubdomain(pod.name), Self.name(of: pod) == name else {
            return nil
        }
        return name.utf8.count < 240 ? pod : nil
    }

    /// Whether a pod has one. It may be that of a later sandbox.
    package func has(_ pod: Pod) -> Bool { fileExists("\(path)/\(Self.name(of: pod))") }

    /// - Parameter text: only a file with this text goes: the sandbox of a pod may be made anew before the old one is
    ///   deleted. nil for any.
    package func remove(_ pod: Pod, with text: String?) throws(SystemError) {
        guard let directory = try directory() else { return }
        let name = Self.name(of: pod)
        try directory.removeDraft(of: name)
        if let text {
            let found = try directory.readIfPresent(name, limit: Self.limit)
            guard found?.elementsEqual(text.utf8) == true else { return }
        }
        try directory.remove(name)
    }

    /// Removes those of pods that have no record.
    ///
    /// - Parameter pods: those that have one.
    package func removeAll(but pods: [Pod]) throws(SystemError) {
        guard let directory = try directory() else { return }
        let kept = Set(pods.map(Self.name))
        for file in try directory.names() {
            let name = Directory.nameOfDraft(file) ?? file
            if name.hasSuffix(".json"), !kept.contains(name) { try directory.remove(file) }
        }
    }
}
