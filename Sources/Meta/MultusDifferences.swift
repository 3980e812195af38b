import CNI
import Definitions
import JSONC
import Plans

/// What works, and otherwise than under Multus: for a node that is to go over.
enum MultusDifferences {
    /// Of a configuration of the meta-plugin.
    static func of(_ config: MetaConfig) -> [String] {
        let json = config.plugin.reader
        var found: [String] = []
        if json.has("kubeconfig") {
            found.append(
                "kubeconfig: nobody asks the API; definitions and pods come from \(config.cacheDir), which plexus cache import fills"
            )
        }
        let idle = MetaConfig.meaningless.filter(json.has)
        if !idle.isEmpty {
            found.append("of Multus' daemon, of which there is none: \(idle.joined(separator: ", "))")
        }
        if config.readinessFile != nil {
            found.append(
                "readinessindicatorfile: while it is missing an ADD answers code 11 at once, and the runtime tries again; Multus waits 45 s"
            )
        }
        if config.namespaceIsolation {
            found.append(
                "namespaceIsolation: the annotation v1.multus-cni.io/default-network is held to it too")
        }
        if config.auxiliaryChain != nil {
            found.append(
                "auxiliaryCNIChainName: a file that cannot be read fails an ADD; Multus leaves the chain out")
        }
        if !json.has("logLevel") {
            found.append("logLevel: without it errors are logged; Multus logs nothing then")
        }
        return found
    }

    static func of(definition delegate: Delegate) -> [String] {
        guard let resource = delegate.spec.resource else { return [] }
        return [
            "k8s.v1.cni.cncf.io/resourceName: a pod that asks more often for \(resource) than it has devices of it is"
                + " refused; Multus attaches it without one"
        ]
    }

    /// Of what a pod asks for.
    static func of(pod delegates: [Delegate]) -> [String] {
        delegates.flatMap { delegate -> [String] in
            guard let selection = delegate.selection else { return [] }
            var found: [String] = []
            if let gateways = delegate.defaultRoute {
                found.append(
                    gateways.isEmpty
                        ? "default-route []: the network's own default route stays, and takes the place of others; Multus takes every default route of the pod away"
                        : "default-route: it takes the place of the default route of its family alone, and the result and network-status say so"
                )
            }
            if selection.capabilities["deviceID"] != nil {
                found.append(
                    "deviceID: it is taken, if the kubelet gave it to the pod; Multus passes it over")
            }
            return found.map { "\(delegate.spec.name) on \(delegate.spec.id.interface): \($0)" }
        }
    }
}
