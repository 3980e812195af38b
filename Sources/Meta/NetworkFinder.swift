import CNI
import Definitions
import JSONC
import Networking

/// A network by configuration or annotation, found.
struct FoundNetwork {
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
struct Allowance {
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

    mutating func take(_ network: FoundNetwork) {
        bytes -= network.size
        for plugin in network.list.plugins { values -= plugin.count }
    }
}

/// Finds networks by their names: definitions in the cache, and files.
struct NetworkFinder {
    let config: MetaConfig
    let cache: DefinitionCache
    /// nil where nobody is asked for what the cache lacks.
    let filler: CacheFiller?
    let pod: Pod?

    /// A name: a definition in `multusNamespace`, else a file in `confDir`. With a '/': a path.
    func resolve(_ name: String) throws(Failure) -> FoundNetwork {
        if name.hasPrefix("/") { return Self.network(try NetworkFiles.load(name)) }
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
        do throws(Failure) {
            // Without the agent: a file's name is no reason to ask it.
            if let found = try cache.definition(config.multusNamespace, name) { return try network(found) }
        } catch {
            return try file(name, insteadOf: error)
        }
        if let found = NetworkFiles.find(name, in: config.confDir, config.log) { return Self.network(found) }
        do throws(Failure) { return try definition(config.multusNamespace, name, advice: advice) } catch {
            return try file(name, insteadOf: error)
        }
    }

    /// A network of that name in `confDir`.
    ///
    /// - Parameter error: why no definition is to be had.
    private func file(_ name: String, insteadOf error: Failure) throws(Failure) -> FoundNetwork {
        if let found = NetworkFiles.find(name, in: config.confDir, config.log) { return Self.network(found) }
        throw Failure(
            code: error.code, "network \(name): \(error.message)",
            details: "\(error.details); nor has \(config.confDir) a configuration of that name")
    }

    /// `auxiliaryCNIChainName`: plugins that a node's vendor put into a directory beside the default network's file, behind
    /// one that does nothing; nil when there are none.
    func auxiliary() throws(Failure) -> FoundNetwork? {
        guard let name = config.auxiliaryChain else { return nil }
        guard let path = config.clusterNetwork, path.hasPrefix("/") else {
            throw Failure(
                .badConfig,
                "auxiliaryCNIChainName: its directory is beside the file that clusterNetwork names",
                details: "write the path of a file into clusterNetwork, or remove auxiliaryCNIChainName")
        }
        let directory = NetworkFiles.directory(name, beside: path)
        let plugins = try NetworkFiles.plugins(in: directory)
        if plugins.isEmpty { return nil }
        let json: JSON = [
            "cniVersion": .string(config.plugin.version.rawValue), "name": .string(name),
            "plugins": .array([["type": "passthru", "name": "passthru-cni"]] + plugins),
        ]
        do throws(Failure) {
            return FoundNetwork(
                list: try NetworkList.decode(json, defaultName: name), name: name, origin: directory)
        } catch {
            throw error.ending(with: "correct the files in \(directory)")
        }
    }

    private static func network(_ found: NetworkFiles.Found) -> FoundNetwork {
        FoundNetwork(list: found.list, name: found.list.name, origin: found.file)
    }

    /// What a pod's selection asks for.
    ///
    /// - Parameter allowance: what is left for the pod's networks.
    func find(_ selection: Selection, _ allowance: inout Allowance) throws(Failure) -> FoundNetwork {
        try allowance.requireRest()
        let advice = selection.namespace == nil ? "short names are those of the pod's own namespace" : ""
        let found = try definition(namespace(of: selection), selection.name, selection, advice: advice)
        allowance.take(found)
        return found
    }

    private func namespace(of selection: Selection) -> String {
        selection.namespace ?? pod?.namespace ?? "default"
    }

    /// How errors and the log call what a selection asks for.
    func name(of selection: Selection) -> String { "\(namespace(of: selection))/\(selection.name)" }

    private func mayName(_ namespace: String) -> Bool {
        !config.namespaceIsolation || namespace == pod?.namespace ?? "default"
            || config.globalNamespaces.contains(namespace)
    }

    func checkIsolation(_ selection: Selection) throws(Failure) {
        let target = namespace(of: selection)
        guard !mayName(target) else { return }
        let own = pod?.namespace ?? "default"
        var allowed = [own]
        for namespace in config.globalNamespaces where !allowed.contains(namespace) {
            allowed.append(namespace)
        }
        throw Failure(
            .badConfig,
            "namespace isolation enabled, annotation violates permission, pod is in namespace \(own)"
                + " but refers to target namespace \(target)",
            details: "use a network of \(allowed.joined(separator: " or of "))")
    }

    /// - Parameter advice: why the name was looked for in that namespace.
    func definition(
        _ namespace: String, _ name: String, _ selection: Selection? = nil, advice: String
    ) throws(Failure) -> FoundNetwork {
        let definition: Definition
        if let found = try cache.definition(namespace, name) {
            definition = found
        } else {
            let outcome = filler?.fill(.init(.definition, namespace, name)) ?? .unknown(nil)
            guard outcome == .filled, let found = try cache.definition(namespace, name) else {
                throw missing(namespace, name, advice, selection, outcome)
            }
            definition = found
        }
        return try network(definition, selection)
    }

    private func network(
        _ definition: Definition, _ selection: Selection? = nil
    ) throws(Failure) -> FoundNetwork {
        do throws(Failure) {
            var found = try read(definition)
            found.size = definition.size
            found.selection = selection
            return found
        } catch {
            throw error.ending(with: "correct \(definition.file)")
        }
    }

    /// Names the other namespaces that have it, except those that the pod may not use.
    private func missing(
        _ namespace: String, _ name: String, _ advice: String, _ selection: Selection?,
        _ outcome: CacheFiller.Outcome
    ) -> Failure {
        let others = cache.namespaces(having: name).filter { $0 != namespace && mayName($0) }
        let found = others.map { "\($0)/\(name)" }.joined(separator: ", ")
        let fix = selection == nil ? "there is \(found)" : "write \(found)"
        let asked = selection.map { "asked for by \($0.place)" } ?? ""
        var hints = [asked] + (others.isEmpty ? [] : [advice, fix]).filter { !$0.isEmpty }
        let staleness: String?
        switch outcome {
        // Who has just asked the cluster knows better than the cache's age.
        case .absent:
            staleness = nil
            hints.append("the cluster has none, says the agent")
        case .unknown(let problem?): staleness = problem
        case .unknown(nil), .filled:
            staleness = config.staleness()
            if staleness != nil { hints.append(MetaConfig.refilling) }
        }
        if let staleness { hints.append(staleness) }
        return Failure(
            staleness == nil ? .badConfig : .tryAgain,
            "cannot find a network-attachment-definition (\(name)) in namespace (\(namespace))",
            details: (hints + [cache.missing(namespace, name)]).filter { !$0.isEmpty }.joined(separator: "; ")
        )
    }

    func read(_ definition: Definition) throws(Failure) -> FoundNetwork {
        if trimmed(definition.config).isEmpty {
            guard let found = NetworkFiles.find(definition.name, in: config.confDir, config.log) else {
                throw Failure(
                    .badConfig,
                    "\(definition.fullName) has no spec.config, and no network available in the name"
                        + " \(definition.name) in cni dir \(config.confDir)")
            }
            return FoundNetwork(
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
            return FoundNetwork(
                list: list, name: definition.fullName, resource: definition.resource, origin: definition.file)
        } catch {
            throw error.prefixed(failed)
        }
    }
}
