package import CNI
package import JSONC
package import Linux
import Network

/// The meta-plugin's own configuration, in Multus's keys.
package struct MetaConfig: Sendable {
    package var plugin: PluginConfig
    package var confDir: String
    package var cniDir: String
    package var binDir: String
    package var cacheDir: String
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
    /// Types whose executable in binDir or CNI_PATH is run instead of the built-in module.
    package var externalPlugins: [String]
    package var log: Log
    /// Keys that nobody looks at, and why where that is not plain.
    package private(set) var passedOver: [String] = []

    package static let vocabulary = Vocabulary([
        "cniVersion", "cniVersions", "name", "type", "capabilities", "runtimeConfig", "prevResult", "ipam",
        "dns", "args",
        "confDir",
        "cniDir", "binDir", "cacheDir", "delegates", "clusterNetwork", "defaultNetworks", "networks",
        "namespaceIsolation", "globalNamespaces", "systemNamespaces", "multusNamespace",
        "readinessindicatorfile",
        "externalPlugins", "logLevel", "logFile", "logToStderr", "kubeconfig", "retryDeleteOnError",
        "cni.dev/valid-attachments", "cni.dev/attachments", "disableCheck", "disableGC",
    ])
    /// Keys of Multus that change what happens and have no counterpart here.
    private static let refused = ["auxiliaryCNIChainName", "logOptions", "daemonSocketDir"]

    /// - Parameter role: `plexus` or `multus`, the name under which the executable runs: it decides the defaults.
    /// - Parameter isTolerant: for DEL, which must work with a configuration that was damaged since ADD.
    package init(_ plugin: PluginConfig, role: String, isTolerant: Bool = false) throws(Failure) {
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
                for key in Self.refused where json.has(key) {
                    throw json.error(key, "\(unsupported) of Multus")
                }
                unknown = try json.judge(Self.vocabulary)
            }
            confDir = try path("confDir") ?? "/etc/cni/\(role)/net.d"
            cniDir = try path("cniDir") ?? "/var/lib/cni/\(role)"
            binDir = try path("binDir") ?? "/opt/cni/bin"
            cacheDir = try path("cacheDir") ?? "/var/lib/cni/plexus/cache"
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
            externalPlugins = try strings("externalPlugins") ?? []
            _ = try bool("retryDeleteOnError")  // a record is always kept until every DEL has succeeded
            log = try Self.log(
                toStderr: bool("logToStderr"), file: path("logFile"), level: string("logLevel"))
        } catch {
            throw Failure(
                error.problem.hasPrefix(unsupported) ? .unsupportedField : .badConfig, "\(error)",
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

    private static func log(toStderr: Bool?, file: String?, level text: String?) -> Log {
        let level = LogLevel(rawValue: text ?? "error")
        let log = Log(level: level ?? .error, file: file, toStderr: toStderr ?? true)
        if level == nil {
            log.error("cannot set logLevel to \"\(text ?? "")\": panic, error, verbose or debug")
        }
        return log
    }
}

private let unsupported = "this version does not provide the key"
