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
    /// What asked for the network; nil for one that every pod gets.
    package var selection: Selection?

    /// An error of this network: with its name in front, and at the end who wrote what is refused.
    package func blamed(for error: Failure) -> Failure {
        var error = error.prefixed("\(spec.name) on \(spec.id.interface)")
        if let key = error.key {
            if let place = selection?.place(of: key) {
                error = error.ending(with: "asked for in \(place)")
            } else if spec.isPassed(key) {
                error = error.ending(with: "passed by the runtime in \(key)")
            } else if error.details.isEmpty, Failure.isOfTheCall(key) {
                error.details = "correct \(key)"
            }
        }
        return error.ending(with: spec.place)
    }
}

/// A network by configuration or annotation, found.
private struct Chosen {
    var list: NetworkList
    var name: String
    /// The device plugin's resource that the definition names.
    var resource: String?
    /// See `AttachmentSpec`.
    var origin: String
    /// Bytes of the definition's manifest.
    var size = 0
    var selection: Selection?
}

/// The limit of all definitions that a pod asks for. A pod can ask for a large one many times, and the record would
/// become too large to be written.
private struct Allowance {
    private var bytes = JSON.maximumSize
    private var values = JSON.maximumCount

    /// Before the next one is read.
    func requireRest() throws(Failure) {
        guard bytes >= 0, values >= 0 else {
            throw Failure(
                .badConfig, "the networks of this pod are too large together",
                details:
                    "the limits of their definitions are \(JSON.maximumSize) bytes and \(JSON.maximumCount) values"
            )
        }
    }

    mutating func take(_ chosen: Chosen) {
        bytes -= chosen.size
        for plugin in chosen.list.plugins { values -= plugin.count }
    }
}

/// Turns configuration, annotations and definitions into delegates.
package struct DelegateBuilder {
    private let config: MetaConfig
    private let cache: DefinitionCache
    private let invocation: Invocation
    /// The runtime's own pairs, each once.
    private let pairs: [(key: String, value: String)]
    private let pod: Pod?

    private static let knownArgs = [
        "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID", "K8S_POD_INFRA_CONTAINER_ID", "IP", "MAC",
        "GATEWAY",
    ]

    package init(_ config: MetaConfig, _ invocation: Invocation) throws(Failure) {
        self.config = config
        self.cache = DefinitionCache(path: config.cacheDir)
        self.invocation = invocation
        let args = try CNIArgs.parse(invocation.args, lenient: true)
        var pairs: [(key: String, value: String)] = []
        for pair in args.pairs where pair.key != "IgnoreUnknown" {
            pairs.removeAll { $0.key == pair.key }
            pairs.append(pair)
        }
        self.pairs = pairs
        if invocation.verb == .add { try args.requireKnown(Self.knownArgs) }
        self.pod = try Pod(args)
    }

    /// The default network, then `defaultNetworks`, then `networks`, then the pod's annotation.
    ///
    /// - Parameter given: annotations to use instead of the pod's own.
    package func build(_ given: PodAnnotations? = nil) throws(Failure) -> [Delegate] {
        let annotations = if let given { given } else { try PodAnnotations.find(pod, config, cache) }
        try judge(annotations)
        for problem in Capabilities.problems(config.plugin.reader, isOpen: true) {
            config.log.error("configuration \(config.plugin.name): \(problem)")
        }
        var delegates = try buildDefaults(annotations)
        let selections = try selections(annotations)
        // Isolation is checked first: a pod must not learn whether a definition exists in another namespace.
        for selection in selections {
            try checkIsolation(selection)
            try selection.refuseDoubled()
        }
        var allowance = Allowance()
        for selection in selections {
            delegates.append(try delegate(try chosen(selection, &allowance), index: delegates.count))
        }
        for delegate in delegates { try delegate.selection?.refuseImpossible() }
        try refuseDuplicates(delegates)
        return delegates
    }

    /// For a DEL without a record: what can be resolved, and a line in the log for what cannot.
    package func buildWhatResolves(_ log: Log) throws(Failure) -> [Delegate] {
        // The pod may be gone.
        let annotations = (try? PodAnnotations.find(pod, config, cache)) ?? PodAnnotations()
        var delegates = try buildDefaults(annotations)
        var allowance = Allowance()
        for selection in try selections(annotations) {
            do throws(Failure) {
                delegates.append(try delegate(try chosen(selection, &allowance), index: delegates.count))
            } catch {
                log.error("DEL of \(invocation.subject) without a record: \(error.message)")
            }
        }
        return delegates
    }

    /// How many networks the pod would get; nil when nobody says what it asks for.
    func networkCount() -> Int? {
        guard let pod, let annotations = try? PodAnnotations.find(pod, config, cache),
            let defaults = try? defaultLists(annotations), let selections = try? selections(annotations)
        else { return nil }
        return defaults.count + selections.count
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

    /// Refuses a misspelt annotation: the pod asked for networks and would get none.
    private func judge(_ annotations: PodAnnotations) throws(Failure) {
        let subject = pod.map { "pod \($0.description)" } ?? "container \(invocation.containerID)"
        if !annotations.unknown.isEmpty {
            config.log.error(
                "\(subject): unknown annotations, which ask for nothing: \(listed(annotations.unknown))")
        }
        for (key, meant) in annotations.misspelt {
            let problem = "\(annotation(key)): unknown key: did you mean \"\(meant)\"?"
            guard annotations.has(meant) else {
                throw Failure(
                    .badConfig, problem,
                    details: "correct the key in the pod's metadata, or remove the annotation"
                        + (annotations.file.map { "; it was read from \($0)" } ?? ""))
            }
            config.log.error("\(subject): \(problem)")
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
                    let origin = "delegates[\(index)] of the configuration \(config.plugin.name)"
                    lists.append(Chosen(list: list, name: list.name, origin: origin))
                } catch {
                    throw error.prefixed("delegates[\(index)]").ending(
                        with: "correct it in the configuration \(config.plugin.name)")
                }
            }
        }
        if let text = annotations.defaultNetwork { lists[0] = try overridden(text) }
        return lists
    }

    private func overridden(_ text: String) throws(Failure) -> Chosen {
        let source = annotation(PodAnnotations.defaultNetworkKey)
        let selections = try Selection.parse(text, source: source)
        guard selections.count == 1, var selection = selections.first else {
            throw Failure(
                .badConfig,
                "\(source): \(selections.count) networks, expected one",
                details: "further networks stand in the annotation \(PodAnnotations.networksKey)")
        }
        let namespace = selection.namespace ?? config.multusNamespace
        if namespace != config.multusNamespace { try checkIsolation(selection) }
        // The interface's name is the runtime's to choose: it looks for that one.
        if selection.interface.take() != nil { selection.others.append("interface") }
        let advice =
            selection.namespace == nil
            ? "short names of this annotation are those of multusNamespace, \(namespace)" : ""
        return try definition(namespace, selection.name, selection, advice: advice)
    }

    /// How errors call an annotation.
    private func annotation(_ key: String) -> String {
        "annotation \(key)\(pod.map { " of pod \($0.description)" } ?? "")"
    }

    private func selections(_ annotations: PodAnnotations) throws(Failure) -> [Selection] {
        try Selection.parse(
            config.networks ?? "", source: "key networks of the configuration \(config.plugin.name)")
            + Selection.parse(annotations.networks ?? "", source: annotation(PodAnnotations.networksKey))
    }

    /// A name: a definition in `multusNamespace`, else a file in `confDir`. With a '/': a path.
    private func resolve(_ name: String) throws(Failure) -> Chosen {
        if name.hasPrefix("/") { return Self.chosen(try NetworkFiles.load(name)) }
        guard !name.utf8.contains(UInt8(ascii: "/")) else {
            throw Failure(
                .badConfig, "\"\(name)\" is no absolute path",
                details: "write the path of the file in clusterNetwork or defaultNetworks from / on")
        }
        guard Names.isIdentifier(name) else {
            throw Failure(
                .badConfig, "\"\(name)\" is no network name",
                details: "clusterNetwork and defaultNetworks have names, or paths with a '/'")
        }
        let advice = "names in the configuration are those of multusNamespace, \(config.multusNamespace)"
        do throws(Failure) { return try definition(config.multusNamespace, name, advice: advice) } catch {
            if let found = NetworkFiles.find(name, in: config.confDir, config.log) {
                return Self.chosen(found)
            }
            throw Failure(
                code: error.code, "network \(name): \(error.message)",
                details: "\(error.details); nor has \(config.confDir) a configuration of that name")
        }
    }

    private static func chosen(_ found: NetworkFiles.Found) -> Chosen {
        Chosen(list: found.list, name: found.list.name, origin: found.file)
    }

    // MARK: Networks of this pod

    private func chosen(_ selection: Selection, _ allowance: inout Allowance) throws(Failure) -> Chosen {
        try allowance.requireRest()
        let advice = selection.namespace == nil ? "short names are those of the pod's own namespace" : ""
        let chosen = try definition(namespace(of: selection), selection.name, selection, advice: advice)
        allowance.take(chosen)
        return chosen
    }

    private func namespace(of selection: Selection) -> String {
        selection.namespace ?? pod?.namespace ?? "default"
    }

    private func mayName(_ namespace: String) -> Bool {
        !config.namespaceIsolation || namespace == pod?.namespace ?? "default"
            || config.globalNamespaces.contains(namespace)
    }

    private func checkIsolation(_ selection: Selection) throws(Failure) {
        let target = namespace(of: selection)
        guard !mayName(target) else { return }
        let own = pod?.namespace ?? "default"
        let allowed = [own] + config.globalNamespaces.filter { $0 != own }
        throw Failure(
            .badConfig,
            "namespace isolation enabled, annotation violates permission, pod is in namespace \(own)"
                + " but refers to target namespace \(target)",
            details: "use a network of \(allowed.joined(separator: " or of "))")
    }

    /// - Parameter advice: why the name was looked for in that namespace.
    private func definition(
        _ namespace: String, _ name: String, _ selection: Selection? = nil, advice: String
    ) throws(Failure) -> Chosen {
        guard let definition = try cache.definition(namespace, name) else {
            throw missing(namespace, name, advice, selection)
        }
        do throws(Failure) {
            var chosen = try read(definition)
            chosen.size = definition.size
            chosen.selection = selection
            return chosen
        } catch {
            throw error.ending(with: "correct \(definition.file)")
        }
    }

    /// Names the other namespaces that have it, except those that the pod may not use.
    private func missing(
        _ namespace: String, _ name: String, _ advice: String, _ selection: Selection?
    ) -> Failure {
        let others = cache.namespaces(having: name).filter { $0 != namespace && mayName($0) }
        let found = others.map { "\($0)/\(name)" }.joined(separator: ", ")
        let fix = selection == nil ? "there is \(found)" : "write \(found)"
        let asked = selection.map { "asked for by \($0.place)" } ?? ""
        let hints = [asked] + (others.isEmpty ? [] : [advice, fix]).filter { !$0.isEmpty }
        return Failure(
            .badConfig, "cannot find a network-attachment-definition (\(name)) in namespace (\(namespace))",
            details: (hints + [cache.missing(namespace, name)]).filter { !$0.isEmpty }.joined(separator: "; ")
        )
    }

    private func read(_ definition: Definition) throws(Failure) -> Chosen {
        if trimmed(definition.config).isEmpty {
            guard let found = NetworkFiles.find(definition.name, in: config.confDir, config.log) else {
                throw Failure(
                    .badConfig,
                    "\(definition.fullName) has no spec.config, and no network available in the name"
                        + " \(definition.name) in cni dir \(config.confDir)")
            }
            return Chosen(
                list: found.list, name: definition.fullName, resource: definition.resource, origin: found.file
            )
        }
        let failed = "\(definition.fullName): failed to unmarshal Spec.Config: spec.config"
        let document: JSONDocument
        do throws(JSONError) { document = try JSON.parse(definition.config) } catch {
            throw Failure(.badConfig, "\(failed): \(error)")
        }
        do throws(Failure) { try PluginConfig.refuseDuplicateSettings(document) } catch {
            throw error.prefixed(definition.fullName)
        }
        do throws(Failure) {
            var list = try NetworkList.decode(document.value, defaultName: definition.name)
            list.doubled = document.duplicates
            return Chosen(
                list: list, name: definition.fullName, resource: definition.resource, origin: definition.file)
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
                    details:
                        "name the plugin that makes the interface in its type; configured in \(chosen.origin)"
                )
            }
        }
        var runtime: JSONObject = index == 0 ? config.plugin.runtimeConfig?.value.object ?? [:] : [:]
        let key = PodAnnotations.runtimeKey
        // Annotations may be longer than all the rest: only plugins that declare them get them.
        if list.plugins.contains(where: { $0["capabilities"]?[key]?.bool == true }) {
            runtime[key] = config.plugin.runtimeConfig?.value.object?[key]
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
        spec.origin = chosen.origin
        return Delegate(spec: spec, defaultRoute: selection?.defaultRoute, selection: selection)
    }

    package var searchPath: [String] {
        [config.binDir] + invocation.path.filter { $0 != config.binDir && !$0.isEmpty }
    }

    /// CNI_ARGS as the default network without a selection gets them.
    var plainArgs: String { delegateArgs(nil, nil, index: 0) }

    /// The runtime's own pairs, each once, then what the selection asks for. Addresses in the runtime's pairs are for
    /// its own interface: the other networks do not get them.
    private func delegateArgs(_ selection: Selection?, _ list: NetworkList?, index: Int) -> String {
        let passedOver = index == 0 ? [] : ["IP", "MAC", "GATEWAY"]
        var pairs =
            [(key: "IgnoreUnknown", value: "true")] + self.pairs.filter { !passedOver.contains($0.key) }
        func set(_ key: String, _ value: String) {
            pairs.removeAll { $0.key == key }
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
                let places = [owner, delegate].compactMap { $0.selection?.place }
                throw Failure(
                    .badConfig,
                    "interface name \(interface) is asked for "
                        + (owner.spec.name == delegate.spec.name
                            ? "twice, by \(owner.spec.name)"
                            : "by both \(owner.spec.name) and \(delegate.spec.name)"),
                    details: "unnamed networks are net1, net2, ... by their place in the list; rename one"
                        + (places.isEmpty ? "" : "; asked for in \(places.joined(separator: ", and in "))"))
            }
        }
    }
}
