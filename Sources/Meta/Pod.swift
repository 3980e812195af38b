package import CNI
import JSONC
import Linux
import Network

/// The pod that a call is for, as CNI_ARGS name it.
package struct Pod: Equatable, Sendable {
    package var namespace: String
    package var name: String
    package var uid: String

    /// nil when the runtime is not Kubernetes: then a name alone, or nothing, is given.
    package init?(_ args: CNIArgs) throws(Failure) {
        guard let namespace = args["K8S_POD_NAMESPACE"], let name = args["K8S_POD_NAME"], !namespace.isEmpty,
            !name.isEmpty
        else { return nil }
        guard Names.isLabel(namespace), Names.isSubdomain(name) else {
            throw Failure(.badEnvironment, "CNI_ARGS: \"\(namespace)/\(name)\" does not name a pod")
        }
        self.namespace = namespace
        self.name = name
        self.uid = args["K8S_POD_UID"] ?? ""
    }

    package init(namespace: String, name: String, uid: String = "") {
        self.namespace = namespace
        self.name = name
        self.uid = uid
    }

    package var description: String { "\(namespace)/\(name)" }
}

/// The annotations that select networks.
package struct PodAnnotations: Equatable, Sendable {
    package static let networksKey = "k8s.v1.cni.cncf.io/networks"
    package static let defaultNetworkKey = "v1.multus-cni.io/default-network"

    package var networks: String?
    package var defaultNetwork: String?

    package init(networks: String? = nil, defaultNetwork: String? = nil) {
        self.networks = networks
        self.defaultNetwork = defaultNetwork
    }

    private init(_ json: Reader) throws(JSONError) {
        networks = try json.string(Self.networksKey)
        defaultNetwork = try json.string(Self.defaultNetworkKey)
    }

    /// From the runtime if it offers them, even as `null`; else from the cache.
    ///
    /// - Throws: code 11 for a pod that nobody knows: the cache may still be filling.
    package static func find(
        _ pod: Pod?, _ config: MetaConfig, _ cache: DefinitionCache
    ) throws(Failure) -> PodAnnotations {
        let key = "io.kubernetes.cri.pod-annotations"
        if let runtime = config.plugin.runtimeConfig, runtime.present(key) {
            do throws(JSONError) {
                guard let annotations = try runtime.object(key) else { return PodAnnotations() }
                return try PodAnnotations(annotations)
            } catch {
                throw Failure(.badConfig, "\(error)")
            }
        }
        guard let pod else { return PodAnnotations() }
        guard let found = try cache.pod(pod) else {
            if config.networks != nil { return PodAnnotations() }
            throw Failure(
                .tryAgain, "pod \(pod.description) is unknown",
                details:
                    "neither runtimeConfig[\"\(key)\"] nor \(cache.path)/pods/\(pod.description).{json,yaml,yml}"
                    + " has its annotations; let the runtime pass them, or wait for the cache")
        }
        return try from(found.json, found.file, pod)
    }

    private static func from(_ manifest: JSON, _ file: String, _ pod: Pod) throws(Failure) -> PodAnnotations {
        let found: (uid: String, isStatic: Bool, annotations: PodAnnotations)
        do throws(JSONError) {
            let metadata = try Reader(manifest).object("metadata")
            let annotations = try metadata?.object("annotations")
            // A static pod has the kubelet's hash as its UID, its mirror another one.
            let origin = try annotations?.string("kubernetes.io/config.source") ?? "api"
            found = (
                try metadata?.string("uid") ?? "", origin != "api",
                try annotations.map { value throws(JSONError) in try PodAnnotations(value) }
                    ?? PodAnnotations()
            )
        } catch {
            throw Failure(
                .badConfig, "pod \(pod.description) in the cache: \(error)", details: "correct \(file)")
        }
        if !pod.uid.isEmpty, !found.uid.isEmpty, found.uid != pod.uid, !found.isStatic {
            throw Failure(
                .tryAgain, "expected pod UID \"\(pod.uid)\" but got \"\(found.uid)\" from the cache",
                details: "pod \(pod.description) was made anew; its manifest in the cache is of the old one")
        }
        return found.annotations
    }
}
