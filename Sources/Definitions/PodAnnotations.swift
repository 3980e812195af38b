package import CNI
import JSONC
import Linux
import Networking

/// The annotations that select networks.
package struct PodAnnotations: Sendable {
    package static let networksKey = "k8s.v1.cni.cncf.io/networks"
    package static let defaultNetworkKey = "v1.multus-cni.io/default-network"
    /// Plexus' own: `none` leaves the configuration's `defaultNetworks` out.
    package static let defaultNetworksKey = "plexus/default-networks"

    /// The capability by which a runtime passes the pod's annotations.
    package static let runtimeKey = "io.kubernetes.cri.pod-annotations"

    package var networks: String?
    package var defaultNetwork: String?
    package private(set) var skipsDefaultNetworks = false
    /// The manifest that they are from; nil when the runtime passed them.
    package private(set) var file: String?
    /// Keys that no program knows, and the key that is meant.
    package private(set) var misspelt: [(key: String, meant: String)] = []
    /// Keys of the multi-network specification's domain that no program knows.
    package private(set) var unknown: [String] = []

    package init(networks: String? = nil, defaultNetwork: String? = nil) {
        self.networks = networks
        self.defaultNetwork = defaultNetwork
    }

    /// Those of a pod as it is in the cache.
    package init(_ object: CacheObject) throws(Failure) {
        do throws(JSONError) {
            let annotations = try Reader(object.json).object("metadata")?.object("annotations")
            self =
                try annotations.map { value throws(JSONError) in try PodAnnotations(value) }
                ?? PodAnnotations()
        } catch {
            throw Failure(.badConfig, error)
        }
    }

    private init(_ json: Reader) throws(JSONError) {
        // Kubernetes tells keys apart by their case.
        for (key, value) in try json.members() {
            switch key {
            case Self.networksKey: networks = value.value == .null ? nil : try value.asString()
            case Self.defaultNetworkKey: defaultNetwork = value.value == .null ? nil : try value.asString()
            case Self.defaultNetworksKey:
                guard try value.asString() == "none" else {
                    throw value.error(
                        nil, "is \"\(try value.asString())\": write \"none\", or remove the annotation")
                }
                skipsDefaultNetworks = true
            default: break
            }
        }
        for (key, value) in json.value.object?.members ?? [] where !value.saysNothing {
            if let meant = Self.meaning(key) {
                misspelt.append((key, meant))
            } else if key.hasPrefix(Self.domain) || key.hasPrefix(Self.ownDomain), !Self.known.contains(key) {
                unknown.append(key)
            }
        }
    }

    private static let vocabulary = Vocabulary([networksKey, defaultNetworkKey, defaultNetworksKey])
    private static let domain = "k8s.v1.cni.cncf.io/"
    private static let ownDomain = "plexus/"
    /// Annotations that others write, and what is no annotation of a pod's.
    private static let known =
        [networksKey, defaultNetworkKey, defaultNetworksKey]
        + [
            "network-status", "networks-status", "resourceName", "resourceMap", "policy-for",
            "service-network",
        ].map { domain + $0 }

    /// The annotation that a key is meant to be; nil for one of another purpose.
    private static func meaning(_ key: String) -> String? {
        if known.contains(key) { return nil }
        if let same = vocabulary.keys.first(where: { $0.lowercased() == key.lowercased() }) { return same }
        switch key {
        case "k8s.v1.cni.cncf.io/nets", "k8s.v1.cni.cncf.io/net-attach-def", "k8s.v1.cni.cncf.io/nad",
            "k8s.cni.cncf.io/networks", "cni.cncf.io/networks", "v1.multus-cni.io/networks",
            "multus-cni.io/networks":
            return networksKey
        case "k8s.v1.cni.cncf.io/default-network", "multus-cni.io/default-network":
            return defaultNetworkKey
        case "plexus.io/default-networks": return defaultNetworksKey
        case let other where other.hasPrefix(ownDomain):
            return other.contains("default") || vocabulary.nearest(other) != nil ? defaultNetworksKey : nil
        case let other where other.hasPrefix("x-"): return nil  // put aside
        case let other where isOfNetworks(other):
            return other.contains("default") ? defaultNetworkKey : networksKey
        default:
            // With two typing errors at most, one of these parts is intact; most keys have none of them and need no
            // comparison.
            let isAlike =
                ["k8s.v1.", "v1.multus"].contains { key.hasPrefix($0) }
                || ["/network", "/networks", "-network", "-networks"].contains { key.hasSuffix($0) }
            return isAlike ? vocabulary.nearest(key) : nil
        }
    }

    /// `networks` or `default-network` of a domain that looks like one of ours: `k8s.v1.cncf.io`, `k8s.v1.cni.cncf`.
    private static func isOfNetworks(_ key: String) -> Bool {
        let parts = key.parts(by: "/")
        guard parts.count == 2,
            ["network", "networks", "default-network", "networks-list"].contains(parts[1])
        else { return false }
        let words = parts[0].parts(by: ".")
        let isOurs =
            words.contains("cni") || words.contains("cncf") || words.contains { $0.hasPrefix("multus") }
        return isOurs && (words.contains("v1") || words.contains("k8s") || words.contains("kubernetes"))
    }

    /// Whether the annotation of this key is there.
    package func has(_ key: String) -> Bool {
        if key == Self.defaultNetworksKey { return skipsDefaultNetworks }
        return (key == Self.networksKey ? networks : defaultNetwork) != nil
    }

    /// From the runtime if it offers them, even as `null`; else from the cache.
    ///
    /// - Parameters:
    ///   - mayBeUnknown: then a pod that nobody knows has none.
    ///   - filler: is asked for a pod that the cache lacks, or of which it has an earlier one of that name.
    /// - Throws: code 11 for a pod that nobody knows yet, as the cache may still be filling.
    package static func find(
        _ pod: Pod?, _ config: PluginConfig, mayBeUnknown: Bool, _ cache: DefinitionCache,
        _ filler: CacheFiller? = nil
    ) throws(Failure) -> PodAnnotations {
        let key = runtimeKey
        if let runtime = config.runtimeConfig, runtime.present(key) {
            do throws(JSONError) {
                guard let annotations = try runtime.object(key) else { return PodAnnotations() }
                return try PodAnnotations(annotations)
            } catch {
                throw Failure(
                    .badConfig, "\(error)", details: "the runtime passes the pod's annotations: texts by name"
                )
            }
        }
        guard let pod else { return PodAnnotations() }
        var found = try cache.pod(pod)
        var outcome = CacheFiller.Outcome.unknown(nil)
        if found.map({ isOfAnother($0.json, pod) }) ?? true, let filler {
            outcome = filler.fill(.init(.pod, pod.namespace, pod.name), uid: pod.uid)
            if outcome == .filled { found = try cache.pod(pod) }
        }
        guard let found else {
            if mayBeUnknown { return PodAnnotations() }
            throw unknown(pod, config, cache, outcome)
        }
        return try from(found.json, found.file, pod, cache.command(toCopy: "pod", pod.namespace, pod.name))
    }

    /// A static pod has the kubelet's hash as its UID, its mirror another one.
    private static func isOfAnother(_ manifest: JSON, _ pod: Pod) -> Bool {
        let metadata = manifest["metadata"]
        guard let uid = metadata?["uid"]?.string, !uid.isEmpty, !pod.uid.isEmpty, uid != pod.uid else {
            return false
        }
        let origin = metadata?["annotations"]?["kubernetes.io/config.source"]?.string ?? "api"
        return origin == "api"
    }

    private static func unknown(
        _ pod: Pod, _ own: PluginConfig, _ cache: DefinitionCache, _ outcome: CacheFiller.Outcome
    ) -> Failure {
        var capabilities = own.json["capabilities"]?.object ?? [:]
        let asks = capabilities[runtimeKey]?.bool == true
        capabilities[runtimeKey] = .bool(true)
        let cause =
            asks
            ? "the runtime does not pass the annotations (\(runtimeKey)), which containerd does"
            : "the configuration \(own.name) does not ask the runtime for the annotations, which containerd passes:"
                + " write \"capabilities\": \(JSON.object(capabilities).print()) beside \"type\": \"\(own.type)\""
        let command = cache.command(toCopy: "pod", pod.namespace, pod.name)
        let misnamed = cache.misnamed("pods", pod.namespace, pod.name)
        let agent =
            switch outcome {
            case .absent: "; the cluster has none, says the agent"
            case .unknown(let problem?): "; \(problem)"
            case .unknown(nil), .filled: ""
            }
        return Failure(
            .tryAgain, "pod \(pod.description) is unknown",
            details:
                "\(cause); and there is no \(cache.path)/pods/\(pod.description).{json,yaml,yml}"
                + (misnamed.map { ": \($0)" } ?? ", which is copied there by: \(command)") + agent)
    }

    /// - Parameter command: what to type to have a newer manifest.
    private static func from(
        _ manifest: JSON, _ file: String, _ pod: Pod, _ command: @autoclosure () -> String
    ) throws(Failure) -> PodAnnotations {
        let uid: String
        var annotations: PodAnnotations
        do throws(JSONError) {
            let metadata = try Reader(manifest).object("metadata")
            uid = try metadata?.string("uid") ?? ""
            annotations =
                try metadata?.object("annotations").map { value throws(JSONError) in
                    _ = try value.string("kubernetes.io/config.source")
                    return try PodAnnotations(value)
                } ?? PodAnnotations()
        } catch {
            throw Failure(
                .badConfig, "pod \(pod.description) in the cache: \(error)", details: "correct \(file)")
        }
        if isOfAnother(manifest, pod) {
            throw Failure(
                .tryAgain, "expected pod UID \"\(pod.uid)\" but got \"\(uid)\" from the cache",
                details:
                    "the manifest in the cache is that of an earlier pod \(pod.description): \(command())")
        }
        annotations.file = file
        return annotations
    }
}
