import CNI
package import JSONC
import Networking

/// An object of the cluster as the cache keeps it: what an ADD needs of it, and what tells an older one from a newer.
package struct CacheObject: Sendable {
    package enum Kind: String, CaseIterable, Sendable {
        case definition = "NetworkAttachmentDefinition"
        case pod = "Pod"

        /// Its folder in the cache.
        package var folder: String { self == .definition ? "net-attach-def" : "pods" }
    }

    package struct ID: Hashable, Sendable {
        package var kind: Kind
        package var namespace: String
        package var name: String

        package init(_ kind: Kind, _ namespace: String, _ name: String) {
            self.kind = kind
            self.namespace = namespace
            self.name = name
        }

        /// `net-attach-def default/net-a`.
        package var description: String {
            "\(kind == .definition ? "net-attach-def" : "pod") \(namespace)/\(name)"
        }
    }

    package let id: ID
    /// Reduced.
    package let json: JSON
    /// The node that a pod is on; empty when none is chosen.
    package let node: String
    let version: String
    package let uid: String

    /// - Parameter json: the object as the API server has it.
    package init(_ json: JSON) throws(JSONError) {
        let object = Reader(json)
        try object.requireObject()
        let kinds = Kind.allCases.map(\.rawValue)
        guard let kind = Kind(rawValue: try object.string("kind") ?? "") else {
            throw object.error(
                "kind",
                "is \(try object.string("kind") ?? "missing"), expected \(kinds.joined(separator: " or "))")
        }
        let wanted = kind == .definition ? "k8s.cni.cncf.io/" : "v1"
        guard let api = try object.string("apiVersion"), api.hasPrefix(wanted) else {
            throw object.error("apiVersion", "is not that of a \(kind.rawValue)")
        }
        guard let metadata = try object.object("metadata") else {
            throw object.error("metadata", "is missing")
        }
        let name = try metadata.string("name") ?? ""
        let namespace = try metadata.string("namespace") ?? "default"
        guard Names.isSubdomain(name) else {
            throw metadata.error("name", "\"\(name)\" is no Kubernetes name")
        }
        guard Names.isLabel(namespace) else {
            throw metadata.error("namespace", "\"\(namespace)\" is no namespace")
        }
        id = ID(kind, namespace, name)
        version = try metadata.string("resourceVersion") ?? ""
        uid = try metadata.string("uid") ?? ""
        let spec = try object.object("spec")
        node = kind == .pod ? try spec?.string("nodeName") ?? "" : ""
        var reduced: JSONObject = ["apiVersion": .string(api), "kind": .string(kind.rawValue)]
        reduced["metadata"] = .object(try Self.reduced(metadata, name, namespace))
        if kind == .definition {
            reduced["spec"] = .object(["config": .string(try spec?.string("config") ?? "")])
        }
        self.json = .object(reduced)
    }

    private static func reduced(
        _ metadata: Reader, _ name: String, _ namespace: String
    ) throws(JSONError) -> JSONObject {
        var kept: JSONObject = ["name": .string(name), "namespace": .string(namespace)]
        for key in ["uid", "resourceVersion"] {
            if let text = try metadata.string(key) { kept[key] = .string(text) }
        }
        var annotations: JSONObject = [:]
        for (key, value) in try metadata.object("annotations")?.members() ?? []
        where key != "kubectl.kubernetes.io/last-applied-configuration" {
            annotations[key] = .string(try value.asString())
        }
        if !annotations.members.isEmpty { kept["annotations"] = .object(annotations) }
        return kept
    }

    /// Of a static pod: it has the kubelet's hash as its UID, its mirror another one.
    package var isStatic: Bool {
        let origin = json["metadata"]?["annotations"]?["kubernetes.io/config.source"]?.string
        return id.kind == .pod && origin.map { $0 != "api" } ?? false
    }

    /// Whether `other`, of the same name, is a newer state of this object. The API server counts upwards.
    func isOlder(than other: CacheObject) -> Bool {
        guard !version.isEmpty, !other.version.isEmpty else { return false }
        let (own, others) = (version.utf8.count, other.version.utf8.count)
        return own == others ? version < other.version : own < others
    }

    /// Whether both are known to be objects of their own that had one name after the other.
    package func isAnother(than other: CacheObject) -> Bool {
        !uid.isEmpty && !other.uid.isEmpty && uid != other.uid
    }

    /// What an ADD would refuse of it; nil for one that can be used.
    package var problem: String? {
        guard id.kind == .definition, let config = json["spec"]?["config"]?.string, !trimmed(config).isEmpty
        else { return nil }
        do throws(JSONError) {
            let document = try JSON.parse(config)
            do throws(Failure) {
                try PluginConfig.refuseDuplicateSettings(document)
                _ = try NetworkList.decode(document.value, defaultName: id.name)
                return nil
            } catch {
                return "spec.config: \(error.message)"
            }
        } catch {
            return "spec.config: \(error)"
        }
    }
}
