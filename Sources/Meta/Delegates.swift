package import CNI
package import Engine
import JSONC
package import Linux
package import Network
import Plans

/// A network that the pod is attached to, with all that was decided about it before the first one runs.
package struct Delegate: Sendable {
    package var spec: AttachmentSpec
    /// nil: this network does not ask for the pod's default route.
    package var defaultRoute: [IPAddress]?
}

/// A network by configuration or annotation, found.
private struct Chosen {
    var list: NetworkList
    var name: String
    /// The device plugin's resource that the definition names.
    var resource: String?
    var selection: Selection?
}

/// Turns configuration, annotations and definitions into delegates.
package struct DelegateBuilder {
    private let config: MetaConfig
    private let cache: DefinitionCache
    private let invocation: Invocation
    private let args: CNIArgs
    private let pod: Pod?

    private static let knownArgs = [
        "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID", "K8S_POD_INFRA_CONTAINER_ID", "IP", "MAC",
        "GATEWAY",
    ]

    package init(_ config: MetaConfig, _ invocation: Invocation) throws(Failure) {
        self.config = config
        self.cache = DefinitionCache(path: config.cacheDir)
        self.invocation = invocation
        self.args = try CNIArgs.parse(invocation.args, lenient: true)
        if invocation.verb == .add { try args.requireKnown(Self.knownArgs) }
        self.pod = try Pod(args)
    }

    /// The default network, then `defaultNetworks`, then `networks`, then the pod's annotation.
    ///
    /// - Parameter given: annotations to use instead of the pod's own.
    package func build(_ given: PodAnnotations? = nil) throws(Failure) -> [Delegate] {
        let annotations = if let given { given } else { try PodAnnotations.find(pod, config, cache) }
        try judge(annotations)
        var delegates = try buildDefaults(annotations)
        let selections =
            try Selection.parse(config.networks ?? "", source: "networks of the configuration")
            + Selection.parse(annotations.networks ?? "", source: PodAnnotations.networksKey)
        // Isolation first: whether a definition exists in another namespace is nobody's business.
        for selection in selections { try checkIsolation(selection) }
        for selection in selections {
            var chosen = try definition(namespace(of: selection), selection.name)
            chosen.selection = selection
            delegates.append(try delegate(chosen, index: delegates.count))
        }
        try refuseDuplicates(delegates)
        return delegates
    }

    /// For a DEL without a record: what can be resolved, and a line in the log for what cannot.
    package func buildWhatResolves(_ log: Log) throws(Failure) -> [Delegate] {
        // The pod may be gone.
        let annotations = (try? PodAnnotations.find(pod, config, cache)) ?? PodAnnotations()
        var delegates = try buildDefaults(annotations)
        let texts = [(config.networks, "networks"), (annotations.networks, PodAnnotations.networksKey)]
        var selections: [Selection] = []
        for (text, source) in texts { selections += try Selection.parse(text ?? "", source: source) }
        for selection in selections {
            do throws(Failure) {
                var chosen = try definition(namespace(of: selection), selection.name)
                chosen.selection = selection
                delegates.append(try delegate(chosen, index: delegates.count))
            } catch {
                log.error("DEL of \(invocation.subject) without a record: \(error.message)")
            }
        }
        return delegates
    }

    /// The networks that every pod gets.
    package func buildDefaults(_ annotations: PodAnnotations = PodAnnotations()) throws(Failure) -> [Delegate]
    {
        var delegates: [Delegate] = []
        for chosen in try defaultLists(annotations) {
            delegates.append(try delegate(chosen, index: delegates.count))
        }
        return delegates
    }

    /// A pod that misspelt the annotation has asked for networks, and would get none.
    private func judge(_ annotations: PodAnnotations) throws(Failure) {
        for (key, meant) in annotations.misspelt {
            let problem = "annotation \(key): unknown key: did you mean \"\(meant)\"?"
            guard annotations.has(meant) else {
                throw Failure(
                    .badConfig, problem,
                    details: "correct the key in the pod's metadata, or remove the annotation")
            }
            config.log.error(
                "\(pod.map { "pod \($0.description)" } ?? "container \(invocation.containerID)"): \(problem)")
        }
    }

    // MARK: Networks of every pod

    private func defaultLists(
        _ annotations: PodAnnotations
    ) throws(Failure) -> [Chosen] {
        var lists: [Chosen] = []
        if let name = config.clusterNetwork {
            lists.append(try resolve(name))
            if pod.map({ !config.systemNamespaces.contains($0.namespace) }) ?? true {
                for name in config.defaultNetworks { lists.append(try resolve(name)) }
            }
        } else {
            for (index, json) in config.delegates.enumerated() {
                do throws(Failure) {
                    let list = try NetworkList.decode(json, defaultName: config.plugin.name)
                    lists.append(Chosen(list: list, name: list.name))
                } catch {
                    throw error.prefixed("delegates[\(index)]")
                }
            }
        }
        if let text = annotations.defaultNetwork { lists[0] = try overridden(text) }
        return lists
    }

    private func overridden(_ text: String) throws(Failure) -> Chosen {
        let selections = try Selection.parse(text, source: PodAnnotations.defaultNetworkKey)
        guard selections.count == 1, var selection = selections.first else {
            throw Failure(
                .badConfig,
                "annotation \(PodAnnotations.defaultNetworkKey): \(selections.count) networks, expected one")
        }
        let namespace = selection.namespace ?? config.multusNamespace
        if namespace != config.multusNamespace { try checkIsolation(selection) }
        // The runtime looks for the interface that it named.
        if selection.interface.take() != nil { selection.others.append("interface") }
        var chosen = try definition(namespace, selection.name)
        chosen.selection = selection
        return chosen
    }

    /// A name: a definition in `multusNamespace`, else a file in `confDir`. With a '/': a path.
    private func resolve(_ name: String) throws(Failure) -> Chosen {
        if name.utf8.contains(UInt8(ascii: "/")) {
            let list = try NetworkFiles.load(name)
            return Chosen(list: list, name: list.name)
        }
        guard Names.isIdentifier(name) else { throw Failure(.badConfig, "\"\(name)\" is no network name") }
        do throws(Failure) { return try definition(config.multusNamespace, name) } catch {
            if let list = NetworkFiles.find(name, in: config.confDir, config.log) {
                return Chosen(list: list, name: list.name)
            }
            throw Failure(
                code: error.code, "network \(name): \(error.message)",
                details: "\(error.details); nor has \(config.confDir) a configuration of that name")
        }
    }

    // MARK: Networks of this pod

    private func namespace(of selection: Selection) -> String {
        selection.namespace ?? pod?.namespace ?? "default"
    }

    private func checkIsolation(_ selection: Selection) throws(Failure) {
        let own = pod?.namespace ?? "default"
        let target = namespace(of: selection)
        guard config.namespaceIsolation, target != own, !config.globalNamespaces.contains(target) else {
            return
        }
        let allowed = [own] + config.globalNamespaces.filter { $0 != own }
        throw Failure(
            .badConfig,
            "namespace isolation enabled, annotation violates permission, pod is in namespace \(own)"
                + " but refers to target namespace \(target)",
            details: "use a network of \(allowed.joined(separator: " or of "))")
    }

    private func definition(_ namespace: String, _ name: String) throws(Failure) -> Chosen {
        let definition = try cache.definition(namespace, name)
        if trimmed(definition.config).isEmpty {
            guard let list = NetworkFiles.find(name, in: config.confDir, config.log) else {
                throw Failure(
                    .badConfig,
                    "\(definition.fullName) has no spec.config, and no network available in the name"
                        + " \(name) in cni dir \(config.confDir)")
            }
            return Chosen(list: list, name: definition.fullName, resource: definition.resource)
        }
        let failed = "\(definition.fullName): failed to unmarshal Spec.Config: spec.config"
        let document: JSONDocument
        do throws(JSONError) { document = try JSON.parse(definition.config) } catch {
            throw Failure(.badConfig, "\(failed): \(error)")
        }
        do throws(Failure) { try PluginConfig.refuseDuplicateSettings(document) } catch {
            throw error.prefixed(definition.fullName)
        }
        let json = document.value
        do throws(Failure) {
            return Chosen(
                list: try NetworkList.decode(json, defaultName: name), name: definition.fullName,
                resource: definition.resource)
        } catch {
            throw error.prefixed(failed)
        }
    }

    // MARK: One delegate

    private func delegate(_ chosen: Chosen, index: Int) throws(Failure) -> Delegate {
        let (list, name, selection) = (chosen.list, chosen.name, chosen.selection)
        for plugin in list.plugins {
            let type = plugin["type"]?.string ?? ""
            guard type != config.plugin.type, type != "plexus", type != "multus" else {
                throw Failure(
                    .badConfig, "\(name): delegates to \(type), which is this plugin itself",
                    details: "name the plugin that makes the interface in its type")
            }
        }
        var runtime: JSONObject = index == 0 ? config.plugin.runtimeConfig?.value.object ?? [:] : [:]
        if let annotations = config.plugin.runtimeConfig?.value.object?[PodAnnotations.runtimeKey] {
            runtime[PodAnnotations.runtimeKey] = annotations
        }
        if let selection {
            for (key, value) in selection.capabilities.members { runtime[key] = value }
            if !selection.ips.isEmpty { runtime["ips"] = .array(selection.ips.map { .string($0) }) }
            if let mac = selection.mac { runtime["mac"] = .string(mac) }
        }
        let interface = selection?.interface ?? (index == 0 ? invocation.interface : "net\(index)")
        var spec = AttachmentSpec(
            name: name, id: AttachmentID(containerID: invocation.containerID, interface: interface),
            sandbox: invocation.netns, args: delegateArgs(selection, list, index: index), list: list,
            runtimeConfig: runtime,
            cniArgs: selection?.cniArgs, searchPath: searchPath, external: config.externalPlugins)
        spec.wishes = selection?.others ?? []
        spec.resource = chosen.resource
        return Delegate(spec: spec, defaultRoute: selection?.defaultRoute)
    }

    package var searchPath: [String] {
        [config.binDir] + invocation.path.filter { $0 != config.binDir && !$0.isEmpty }
    }

    /// CNI_ARGS as the default network without a selection gets them.
    var plainArgs: String { delegateArgs(nil, nil, index: 0) }

    /// The runtime's own pairs, each once, then what the selection asks for. The runtime means its own interface:
    /// an address can be only one network's.
    private func delegateArgs(_ selection: Selection?, _ list: NetworkList?, index: Int) -> String {
        var pairs: [(String, String)] = [("IgnoreUnknown", "true")]
        let passedOver = index == 0 ? ["IgnoreUnknown"] : ["IgnoreUnknown", "IP", "MAC", "GATEWAY"]
        for (key, value) in args.pairs where !passedOver.contains(key) {
            pairs.removeAll { $0.0 == key }
            pairs.append((key, value))
        }
        func set(_ key: String, _ value: String) {
            pairs.removeAll { $0.0 == key }
            pairs.append((key, value))
        }
        if let mac = selection?.mac { set("MAC", mac) }
        if let ips = selection?.ips, !ips.isEmpty {
            // CNI_ARGS holds one address for host-local; several go by capability where there is one.
            let byCapability =
                list?.plugins.contains { $0.object?.find("capabilities")?.value["ips"]?.bool == true }
                ?? false
            if ips.count == 1 || !byCapability { set("IP", ips.joined(separator: ",")) }
        }
        var text = ""
        for (key, value) in pairs { text += "\(text.isEmpty ? "" : ";")\(key)=\(value)" }
        return text
    }

    private func refuseDuplicates(_ delegates: [Delegate]) throws(Failure) {
        for (index, delegate) in delegates.enumerated() {
            let interface = delegate.spec.id.interface
            if let owner = delegates[..<index].first(where: { $0.spec.id.interface == interface }) {
                throw Failure(
                    .badConfig,
                    "interface name \(interface) is asked for "
                        + (owner.spec.name == delegate.spec.name
                            ? "twice, by \(owner.spec.name)"
                            : "by both \(owner.spec.name) and \(delegate.spec.name)"),
                    details: "unnamed networks are net1, net2, ... by their place in the list; rename one")
            }
        }
    }
}
