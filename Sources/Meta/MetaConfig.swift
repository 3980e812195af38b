package import CNI
import Definitions
package import JSONC
package import Linux
import Networking

/// The meta-plugin's own configuration, in Multus's keys.
package struct MetaConfig: Sendable {
    package var plugin: PluginConfig
    package var confDir: String
    package var cniDir: String
    package var binDir: String
    package var cacheDir: String
    /// Where the agent listens, which an ADD asks for what the cache lacks; empty for nowhere.
    package var agentSocket: String
    /// Milliseconds that an ADD waits for it.
    package var agentTimeout: Int64
    /// An ADD ends only when the agent has published its network-status, or `agentTimeout` is over.
    package var awaitsStatus: Bool
    /// Seconds after which STATUS calls the cache stale; nil for never.
    package var maxCacheAge: Int64?
    package var delegates: [JSON]
    package var clusterNetwork: String?
    package var defaultNetworks: [String]
    /// For runtimes without Kubernetes: networks of every container, in the annotation's grammar.
    package var networks: String?
    package var namespaceIsolation: Bool
    package var globalNamespaces: [String]
    package var systemNamespaces: [String]
    package var multusNamespace: String
    package var readinessFile: String?
    /// Whether the files are kept that Multus would have: a node may go back to it.
    package var keepsMultusFiles: Bool
    /// The kubelet's `--root-dir`.
    package var kubeletDir: String
    /// Types whose executable in binDir or CNI_PATH is run instead of the built-in module.
    package var externalPlugins: [String]
    /// The directory beside `clusterNetwork` whose plugins are chained behind all networks; nil for none.
    package var auxiliaryChain: String?
    package var log: Log
    /// Keys that nobody looks at, and why where that is not plain.
    package private(set) var passedOver: [String] = []

    package static let vocabulary = Vocabulary(
        [
            "cniVersion", "cniVersions", "name", "type", "capabilities", "runtimeConfig", "prevResult",
            "ipam",
            "dns", "args",
            "confDir",
            "cniDir", "binDir", "cacheDir", "delegates", "clusterNetwork", "defaultNetworks", "networks",
            "namespaceIsolation", "globalNamespaces", "systemNamespaces", "multusNamespace",
            "readinessindicatorfile",
            "externalPlugins", "logLevel", "logFile", "logToStderr", "logOptions", "kubeconfig",
            "retryDeleteOnError",
            "auxiliaryCNIChainName", "kubeletDir", "multusFiles", "maxCacheAge", "agentSocket",
            "agentTimeout", "awaitStatus",
            "cni.dev/valid-attachments", "cni.dev/attachments", "disableCheck", "disableGC",
        ] + meaningless,
        members: [.init("logOptions", Vocabulary(["maxAge", "maxSize", "maxBackups", "compress"]))])
    /// Keys of Multus' daemon and of its installers: there is no daemon here.
    static let meaningless = [
        "daemonSocketDir", "socketDir", "chrootDir", "cniConf", "cniConfigDir", "multusConfigFile",
        "multusAutoconfigDir", "multusMasterCNI", "forceCNIVersion", "overrideNetworkName", "metricsPort",
        "perNodeCertificate", "connectionLimit", "enablePprof", "allowTryDeleteOnErr",
    ]

    /// - Parameter role: `plexus` or `multus`, the name under which the executable runs: it decides the defaults.
    /// - Parameter isTolerant: for DEL, which must work with a configuration that was damaged since ADD.
    /// - Parameter given: for who only looks, instead of the log that the configuration has.
    package init(
        _ plugin: PluginConfig, role: String, isTolerant: Bool = false, log given: Log? = nil
    ) throws(Failure) {
        self.plugin = plugin
        let json = plugin.reader
        /// The value of a key; on DEL one that cannot be read counts as absent.
        func read<T>(_ key: () throws(JSONError) -> T?) throws(JSONError) -> T? {
            do throws(JSONError) { return try key() } catch {
                guard isTolerant else { throw error }
                return nil
            }
        }
        func path(_ key: String) throws(JSONError) -> String? {
            try read { () throws(JSONError) in try Self.path(json, key) }
        }
        func string(_ key: String) throws(JSONError) -> String? {
            try read { () throws(JSONError) in try json.string(key) }
        }
        func strings(_ key: String) throws(JSONError) -> [String]? {
            try read { () throws(JSONError) in try json.strings(key) }
        }
        func bool(_ key: String) throws(JSONError) -> Bool? {
            try read { () throws(JSONError) in try json.bool(key) }
        }
        var unknown: [String] = []
        do throws(JSONError) {
            if !isTolerant {
                unknown = try json.judge(Self.vocabulary)
            }
            confDir = try path("confDir") ?? "/etc/cni/\(role)/net.d"
            cniDir = try path("cniDir") ?? "/var/lib/cni/\(role)"
            binDir = try path("binDir") ?? "/opt/cni/bin"
            cacheDir = try path("cacheDir") ?? "/var/lib/cni/plexus/cache"
            agentSocket =
                try string("agentSocket") == "" ? "" : path("agentSocket") ?? "/run/plexus/agent.sock"
            agentTimeout =
                try read { () throws(JSONError) in
                    try json.int("agentTimeout", in: 0...60_000)
                } ?? 2500
            awaitsStatus = try bool("awaitStatus") ?? false
            maxCacheAge = try read { () throws(JSONError) in
                try json.int("maxCacheAge", in: 1...Int64(1 << 40))
            }
            delegates =
                try read { () throws(JSONError) in try json.list("delegates") }?.map(\.value) ?? []
            clusterNetwork = try string("clusterNetwork").flatMap { $0.isEmpty ? nil : $0 }
            defaultNetworks = try strings("defaultNetworks") ?? []
            networks = try read { () throws(JSONError) in try Self.networks(json) }
            namespaceIsolation = try bool("namespaceIsolation") ?? false
            let shared = try string("globalNamespaces") ?? ""
            globalNamespaces = (shared.isEmpty ? "default" : shared).split(separator: ",").map { trimmed($0) }
            systemNamespaces = try strings("systemNamespaces") ?? ["kube-system"]
            multusNamespace = try read { () throws(JSONError) in try Self.namespace(json) } ?? "kube-system"
            readinessFile = try path("readinessindicatorfile")
            keepsMultusFiles = try bool("multusFiles") ?? (role == "multus")
            kubeletDir = try path("kubeletDir") ?? "/var/lib/kubelet"
            externalPlugins = try strings("externalPlugins") ?? []
            auxiliaryChain = try read { () throws(JSONError) in try Self.auxiliaryChain(json) }
            _ = try bool("retryDeleteOnError")  // a record is always kept until every DEL has succeeded
            log = try Self.log(
                toStderr: bool("logToStderr"), file: path("logFile"), level: string("logLevel"),
                read { () throws(JSONError) in try Self.rotation(json) } ?? LogRotation(), given)
        } catch {
            throw Failure(
                .badConfig, "\(error)",
                details: "correct it in the configuration \(plugin.name) of type \(plugin.type)")
        }
        if clusterNetwork != nil, !delegates.isEmpty {
            passedOver.append("delegates (clusterNetwork goes before it)")
        }
        if clusterNetwork == nil, !defaultNetworks.isEmpty {
            passedOver.append("defaultNetworks (it follows a clusterNetwork)")
        }
        passedOver += unknown
        passedOver += plugin.doubled.map { "the first \($0) (the key stands twice)" }
        if json.has("kubeconfig") {
            log.verbose("kubeconfig is not used: definitions come from \(cacheDir)")
        }
        let idle = Self.meaningless.filter(json.has)
        if !idle.isEmpty {
            log.debug("of no meaning without Multus' daemon: \(idle.joined(separator: ", "))")
        }
        guard clusterNetwork != nil || !delegates.isEmpty || isTolerant else {
            throw Failure(
                .badConfig, "at least one delegate/clusterNetwork must be specified",
                details: "add the key delegates or clusterNetwork to the configuration of \(plugin.name)")
        }
    }

    private static func path(_ json: Reader, _ key: String) throws(JSONError) -> String? {
        guard let path = try json.string(key), !path.isEmpty else { return nil }
        guard path.hasPrefix("/") else { throw json.error(key, "\"\(path)\" is no absolute path") }
        return path
    }

    private static func namespace(_ json: Reader) throws(JSONError) -> String? {
        guard let name = try json.string("multusNamespace"), !name.isEmpty else { return nil }
        guard Names.isLabel(name) else {
            throw json.error("multusNamespace", "\"\(name)\" is no namespace")
        }
        return name
    }

    /// The annotation's text, or its JSON list written out.
    private static func networks(_ json: Reader) throws(JSONError) -> String? {
        guard json.has("networks") else { return nil }
        if let list = json.value.object?.find("networks")?.value, list.array != nil { return list.print() }
        return try json.string("networks")
    }

    private static func auxiliaryChain(_ json: Reader) throws(JSONError) -> String? {
        guard let name = try json.string("auxiliaryCNIChainName"), !name.isEmpty else { return nil }
        guard Names.isIdentifier(name) else {
            throw json.error("auxiliaryCNIChainName", "\"\(name)\" is no network name")
        }
        return name
    }

    private static func rotation(_ json: Reader) throws(JSONError) -> LogRotation {
        var rotation = LogRotation()
        guard let options = try json.object("logOptions") else { return rotation }
        func number(_ key: String, _ most: Int64) throws(JSONError) -> Int? {
            try options.int(key, in: 0...most).map { Int($0) }
        }
        rotation.maxAge = try number("maxAge", 36500) ?? rotation.maxAge
        rotation.maxSize = try number("maxSize", 1 << 20) ?? rotation.maxSize
        rotation.maxBackups = try number("maxBackups", 1 << 20) ?? rotation.maxBackups
        rotation.compress = try options.bool("compress") ?? rotation.compress
        return rotation
    }

    private static func log(
        toStderr: Bool?, file: String?, level text: String?, _ rotation: LogRotation, _ given: Log?
    ) -> Log {
        let level = LogLevel(rawValue: text?.lowercased() ?? "error")
        let log =
            given ?? Log(level: level ?? .error, file: file, toStderr: toStderr ?? true, rotation: rotation)
        if level == nil {
            log.error("cannot set logLevel to \"\(text ?? "")\": panic, error, verbose or debug")
        }
        return log
    }
}

extension MetaConfig {
    /// What is wrong with a kind of the cache by `maxCacheAge`; nil for one that is new enough.
    func staleness(of kind: CacheObject.Kind = .definition) -> String? {
        guard let limit = maxCacheAge else { return nil }
        let what = kind == .definition ? "" : " with pods"
        guard let time = DefinitionCache(path: cacheDir).imported(kind) else {
            return "nobody has filled the cache \(cacheDir)\(what), and maxCacheAge is set"
        }
        let age = secondsSinceEpoch() - time
        // The clock was set back: how old it is nobody knows.
        if age < -limit {
            return "the cache \(cacheDir) was filled\(what) \(-age) s in the future: fill it again"
        }
        return age > limit
            ? "the cache \(cacheDir) was filled\(what) \(age) s ago, maxCacheAge is \(limit) s" : nil
    }

    /// Whether the runtime is asked for the pods' annotations; otherwise they are taken from the cache.
    var asksForAnnotations: Bool {
        plugin.json["capabilities"]?[PodAnnotations.runtimeKey]?.bool == true
    }

    static let refilling =
        "plexus cache import fills it, of what kubectl get net-attach-def,pods -A -o json prints"
}

extension MetaConfig {
    /// Those of the executable's names.
    package static let defaultDirectories = Role.metaNames.map { "/var/lib/cni/\($0)" }

    /// The executable has two names, each with a directory of its own unless one is configured: what it attached under the other
    /// one is there.
    var elsewhere: [MetaConfig] {
        guard !plugin.reader.has("cniDir") else { return [] }
        return Self.defaultDirectories.filter { $0 != cniDir && fileExists("\($0)/attachments") }.map {
            var config = self
            config.cniDir = $0
            return config
        }
    }
}
