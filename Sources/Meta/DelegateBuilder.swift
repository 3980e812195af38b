package import CNI
package import Definitions
import Engine
import JSONC
package import Linux
import Networking
import Plans
import Records

/// Turns configuration, annotations and definitions into delegates.
package struct DelegateBuilder {
    private let config: MetaConfig
    private let cache: DefinitionCache
    private let filler: CacheFiller?
    private let finder: NetworkFinder
    private let invocation: Invocation
    /// The runtime's own pairs, each once, those of the pod first.
    private let pairs: [(key: String, value: String)]
    private let pod: Pod?

    private static let podArgs = [
        "K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_INFRA_CONTAINER_ID", "K8S_POD_UID",
    ]
    private static let knownArgs = podArgs + ["IP", "MAC", "GATEWAY"]

    /// - Parameter cache: nil for that of the configuration.
    package init(
        _ config: MetaConfig, _ invocation: Invocation, _ cache: DefinitionCache? = nil
    ) throws(Failure) {
        let cache = cache ?? DefinitionCache(path: config.cacheDir)
        self.config = config
        self.cache = cache
        self.invocation = invocation
        let args = try CNIArgs.parse(invocation.args, lenient: true)
        var pairs: [(key: String, value: String)] = []
        for pair in args.pairs where pair.key != "IgnoreUnknown" {
            pairs.removeAll { $0.key == pair.key }
            pairs.append(pair)
        }
        // As Multus writes them, whatever order the runtime has: containerd's is random.
        self.pairs =
            Self.podArgs.compactMap { key in pairs.first { $0.key == key } }
            + pairs.filter { !Self.podArgs.contains($0.key) }
        if invocation.verb == .add { try args.requireKnown(Self.knownArgs) }
        self.pod = try Pod(args)
        filler =
            invocation.verb == .add
            ? CacheFiller(socket: config.agentSocket, milliseconds: config.agentTimeout) : nil
        finder = NetworkFinder(config: config, cache: cache, filler: filler, pod: pod)
    }

    /// The default network, then `defaultNetworks`, then `networks`, then the pod's annotation.
    ///
    /// - Parameter given: annotations to use instead of the pod's own.
    package func build(_ given: PodAnnotations? = nil) throws(Failure) -> Networks {
        let annotations = if let given { given } else { try ownAnnotations() }
        try judge(annotations)
        for problem in Capabilities.problems(config.plugin.reader, isOpen: true) {
            config.log.error("configuration \(config.plugin.name): \(problem)")
        }
        var networks = Networks(delegates: try buildDefaults(annotations))
        try select(annotations, first: networks.count, &networks)
        if let network = try finder.auxiliary() {
            networks.delegates.append(try delegate(network, index: networks.count))
        }
        try networks.filter { delegate throws(Failure) in try delegate.selection?.refuseImpossible() }
        try networks.delegates.refuseSharedInterfaces()
        var devices = DeviceAllocator(config, pod)
        try devices.allocate(&networks)
        return networks
    }

    /// One network more, for a pod that has some.
    ///
    /// - Parameters:
    ///   - text: in the annotation's grammar.
    ///   - others: those that it has.
    ///   - isAsked: by the pod's annotation.
    func build(
        _ text: String, besides others: [AttachmentSpec], isAsked: Bool
    ) throws(Failure) -> Delegate {
        let taken = others.map(\.id.interface)
        let selections = try Selection.parse(text, source: "the argument")
        guard selections.count == 1, var selection = selections.first else {
            throw Failure(
                .badConfig, "\(selections.count) networks, expected one", details: "attach one after another")
        }
        selection.isAsked = isAsked
        try finder.checkIsolation(selection)
        try selection.refuseDoubled()
        try selection.refuseImpossible()
        // With a metric of its own it is one more.
        guard selection.defaultRoute == nil || selection.defaultRouteMetric != nil else {
            throw Failure(
                .badConfig, "default-route moves nothing in a pod that runs",
                details: "ask for it in the pod's annotation, or give it a default-route-metric")
        }
        var allowance = Allowance()
        let network = try finder.find(selection, &allowance)
        var index = 1
        while taken.contains("net\(index)") { index += 1 }
        var networks = Networks(delegates: [try delegate(network, index: index)])
        var devices = DeviceAllocator(config, pod, besides: others.compactMap(\.deviceID))
        try devices.allocate(&networks)
        // One that is optional for a pod's start is not for who asks for it now.
        guard let delegate = networks.delegates.first else {
            throw Failure(.badConfig, networks.missing.first?.problem ?? "there is no network")
        }
        guard !taken.contains(delegate.spec.id.interface) else {
            throw Failure(
                .badConfig, "the pod has an interface \(delegate.spec.id.interface)",
                details: "name another one")
        }
        return delegate
    }

    /// A definition's network, as a pod's first further one.
    func delegate(_ object: CacheObject, file: String) throws(Failure) -> Delegate {
        try delegate(finder.read(Definition(object, file: file)), index: 1)
    }

    /// What a pod asks for besides the networks of every pod.
    func check(_ annotations: PodAnnotations) throws(Failure) -> Networks {
        try judge(annotations)
        var networks = Networks()
        if let text = annotations.defaultNetwork {
            networks.delegates.append(try delegate(overridden(text), index: 0))
        }
        let defaults = networks.count
        try select(annotations, first: 1, &networks)
        try networks.filter { delegate throws(Failure) in try delegate.selection?.refuseImpossible() }
        try networks.delegates.refuseSharedInterfaces()
        // The runtime's interface is the default network's.
        for delegate in networks.delegates.dropFirst(defaults)
        where delegate.spec.id.interface == invocation.interface {
            throw Failure(
                .badConfig,
                "interface name \(invocation.interface) is asked for by \(delegate.spec.name), and is the"
                    + " default network's",
                details: "name another interface")
        }
        try DefaultRoute.validate(Array(networks.delegates.dropFirst(defaults)))
        return networks
    }

    /// Finds what the pod asks for.
    ///
    /// - Parameter first: the place of the first one in the pod.
    private func select(
        _ annotations: PodAnnotations, first: Int, _ networks: inout Networks
    ) throws(Failure) {
        let selections = try selections(annotations)
        // Isolation is checked first: a pod must not learn whether a definition exists in another namespace.
        for selection in selections {
            try finder.checkIsolation(selection)
            try selection.refuseDoubled()
        }
        var allowance = Allowance()
        for (index, selection) in selections.enumerated() {
            do throws(Failure) {
                networks.delegates.append(
                    try delegate(try finder.find(selection, &allowance), index: first + index))
            } catch {
                try networks.miss(finder.name(of: selection), selection, error)
            }
        }
    }

    private func ownAnnotations() throws(Failure) -> PodAnnotations {
        try PodAnnotations.find(pod, config.plugin, mayBeUnknown: config.networks != nil, cache, filler)
    }

    /// For a DEL without a record: what can be resolved, and a line in the log for what cannot.
    package func buildWhatResolves(_ log: Log) throws(Failure) -> [Delegate] {
        // The pod may be gone.
        let annotations = (try? ownAnnotations()) ?? PodAnnotations()
        var delegates = try buildDefaults(annotations)
        var allowance = Allowance()
        var index = delegates.count - 1
        for selection in try selections(annotations) {
            index += 1
            do throws(Failure) {
                // What ADD refuses was never attached: its plugin would be run with what the pod asks for.
                try finder.checkIsolation(selection)
                try selection.refuseImpossible()
                var found = Networks(delegates: [
                    try delegate(try finder.find(selection, &allowance), index: index)
                ])
                try (delegates + found.delegates).refuseSharedInterfaces()
                if selection.capabilities["deviceID"] != nil {
                    var devices = DeviceAllocator(config, pod)
                    try devices.allocate(&found)
                }
                delegates += found.delegates
            } catch {
                log.error("DEL of \(invocation.subject) without a record: \(error.message)")
            }
        }
        do throws(Failure) {
            if let network = try finder.auxiliary() {
                delegates.append(try delegate(network, index: index + 1))
            }
        } catch {
            log.error("DEL of \(invocation.subject) without a record: \(error.message)")
        }
        return delegates
    }

    /// How many networks the pod would get; nil when nobody says what it asks for.
    func networkCount() -> Int? {
        guard pod != nil, let annotations = try? ownAnnotations(),
            let defaults = try? defaultLists(annotations), let selections = try? selections(annotations)
        else { return nil }
        let auxiliary = (try? finder.auxiliary()).map { _ in 1 } ?? 0
        return defaults.count + selections.count + auxiliary
    }

    /// The networks that every pod gets.
    package func buildDefaults(_ annotations: PodAnnotations = PodAnnotations()) throws(Failure) -> [Delegate]
    {
        var delegates: [Delegate] = []
        for network in try defaultLists(annotations) {
            delegates.append(try delegate(network, index: delegates.count))
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
    ) throws(Failure) -> [FoundNetwork] {
        var lists: [FoundNetwork] = []
        if let name = config.clusterNetwork {
            lists.append(try finder.resolve(name))
            let isSystem = pod.map { config.systemNamespaces.contains($0.namespace) } ?? false
            if !isSystem, !annotations.skipsDefaultNetworks {
                for name in config.defaultNetworks { lists.append(try finder.resolve(name)) }
            }
        } else {
            for (index, json) in config.delegates.enumerated() {
                do throws(Failure) {
                    let list = try NetworkList.decode(json, defaultName: config.plugin.name)
                    let origin = "delegates[\(index)] of the configuration \(config.plugin.name)"
                    lists.append(FoundNetwork(list: list, name: list.name, origin: origin))
                } catch {
                    throw error.prefixed("delegates[\(index)]").ending(
                        with: "correct it in the configuration \(config.plugin.name)")
                }
            }
        }
        if let text = annotations.defaultNetwork { lists[0] = try overridden(text) }
        return lists
    }

    private func overridden(_ text: String) throws(Failure) -> FoundNetwork {
        let source = annotation(PodAnnotations.defaultNetworkKey)
        let selections = try Selection.parse(text, source: source)
        guard selections.count == 1, var selection = selections.first else {
            throw Failure(
                .badConfig,
                "\(source): \(selections.count) networks, expected one",
                details: "further networks stand in the annotation \(PodAnnotations.networksKey)")
        }
        let namespace = selection.namespace ?? config.multusNamespace
        if namespace != config.multusNamespace {
            do throws(Failure) { try finder.checkIsolation(selection) } catch {
                let own =
                    "\(config.multusNamespace), which a name without a namespace means in this annotation"
                let isNamed = finder.config.globalNamespaces.contains(config.multusNamespace)
                throw error.ending(
                    with: isNamed
                        ? "a name without a namespace is one of multusNamespace" : "or of \(own)"
                )
            }
        }
        // The interface's name is the runtime's to choose: it looks for that one.
        if selection.interface.take() != nil { selection.others.append("interface") }
        let advice =
            selection.namespace == nil
            ? "short names of this annotation are those of multusNamespace, \(namespace)" : ""
        return try finder.definition(namespace, selection.name, selection, advice: advice)
    }

    /// How errors call an annotation.
    private func annotation(_ key: String) -> String {
        "annotation \(key)\(pod.map { " of pod \($0.description)" } ?? "")"
    }

    private func selections(_ annotations: PodAnnotations) throws(Failure) -> [Selection] {
        var asked = try Selection.parse(
            annotations.networks ?? "", source: annotation(PodAnnotations.networksKey))
        for index in asked.indices { asked[index].isAsked = true }
        return try Selection.parse(
            config.networks ?? "", source: "key networks of the configuration \(config.plugin.name)") + asked
    }

    // MARK: One delegate

    func delegate(_ network: FoundNetwork, index: Int) throws(Failure) -> Delegate {
        let (list, name, selection) = (network.list, network.name, network.selection)
        for plugin in list.plugins {
            let type = plugin["type"]?.string ?? ""
            // By other names of the same program as well, such as multus-shim.
            guard type != config.plugin.type, Role.metaName(type) == nil else {
                throw Failure(
                    .badConfig, "\(name): delegates to \(type), which is this plugin itself",
                    details:
                        "name the plugin that makes the interface in its type; configured in \(network.origin)"
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
        spec.isAsked = selection?.isAsked ?? false
        spec.resource = network.resource
        spec.origin = network.origin
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
}
