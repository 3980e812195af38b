import Definitions
package import JSONC
import Linux

/// Multus' configuration as Plexus takes it over: the file keeps its name and its type, and the executable that it names
/// is Plexus from now on.
package struct MultusTakeover {
    /// The settings of the thick plugin's daemon, which go before those of the node's file.
    private let daemon: JSONObject
    /// Where the node's files are; empty for this node.
    private let root: String

    package init(daemon: JSONObject? = nil, root: String = "") {
        self.daemon = daemon ?? [:]
        self.root = root
    }

    /// What the daemon reads that Multus itself would read too. The runtime alone reads `capabilities`, `name` and
    /// `cniVersion`: there the daemon's have no effect.
    private static let settings = [
        "confDir", "cniDir", "binDir", "delegates", "clusterNetwork", "defaultNetworks", "namespaceIsolation",
        "globalNamespaces", "systemNamespaces", "multusNamespace", "readinessindicatorfile", "logFile",
        "logLevel", "logToStderr", "logOptions", "kubeconfig", "auxiliaryCNIChainName", "retryDeleteOnError",
    ]
    private static let paths = [
        "confDir", "cniDir", "binDir", "clusterNetwork", "defaultNetworks", "readinessindicatorfile",
        "logFile",
        "kubeconfig",
    ]

    /// A configuration that has been adapted: a plugin, or a list with it.
    package struct Adapted {
        package var json: JSON
        /// For people, one for each key.
        package var changes: [String] = []
        /// Whether the runtime was not asked for the annotations before.
        package var isAskingNow = false
    }

    package func adapt(_ json: JSON) -> Adapted {
        var adapted = Adapted(json: json)
        if let plugins = json["plugins"]?.array, var list = json.object {
            list["plugins"] = .array(plugins.map { adapt(plugin: $0, &adapted) })
            adapted.json = .object(list)
        } else {
            adapted.json = adapt(plugin: json, &adapted)
        }
        return adapted
    }

    private func adapt(plugin: JSON, _ adapted: inout Adapted) -> JSON {
        guard var object = plugin.object, plugin["type"]?.string.flatMap(Role.metaName) == "multus" else {
            return plugin
        }
        for key in Self.settings {
            guard let value = daemon.find(key)?.value, value != .null, value != object.find(key)?.value else {
                continue
            }
            Self.set(key, value, in: &object)
            adapted.changes.append("\(key): \(value.print()) of the daemon's settings")
        }
        for (key, _) in daemon.members where !MetaConfig.vocabulary.knows(key) && !isComment(key) {
            adapted.changes.append("\(key): nobody knows this key of the daemon's settings: it is left out")
        }
        let prefixes = Self.prefixes(object, daemon)
        for key in Self.paths {
            guard let value = object.find(key)?.value else { continue }
            func own(_ json: JSON) -> JSON {
                guard let path = json.string, let own = onNode(path, prefixes) else { return json }
                adapted.changes.append("\(key): \(path) is the daemon's name of \(own)")
                return .string(own)
            }
            let changed = value.array.map { .array($0.map(own)) } ?? own(value)
            if changed != value { Self.set(key, changed, in: &object) }
        }
        let key = PodAnnotations.runtimeKey
        var capabilities = object.find("capabilities")?.value.object ?? [:]
        if capabilities[key]?.bool != true {
            adapted.isAskingNow = true
            capabilities[key] = true
            Self.set("capabilities", .object(capabilities), in: &object)
        }
        return .object(object)
    }

    /// Below what the daemon's container has the node's root at.
    private static func prefixes(_ objects: JSONObject...) -> [String] {
        let named = objects.compactMap { $0.find("chrootDir")?.value.string }.map { path in
            String(path.reversed().drop { $0 == "/" }.reversed())
        }
        return named.filter { $0.hasPrefix("/") } + ["/host", "/hostroot"]
    }

    /// The node's path of one that the daemon has; nil for one that is the node's.
    private func onNode(_ path: String, _ prefixes: [String]) -> String? {
        guard let prefix = prefixes.first(where: { path.hasPrefix("\($0)/") }), !fileExists(root + path)
        else { return nil }
        let own = String(path.dropFirst(prefix.count))
        // A file that is to come, such as a log, is nowhere yet: then a node that has no such folder cannot mean it.
        return fileExists(root + own) || !fileExists(root + prefix) ? own : nil
    }

    /// Keys are the same in any letter case.
    private static func set(_ key: String, _ value: JSON, in object: inout JSONObject) {
        let spelling = object.find(key)?.key ?? key
        object.members.removeAll { isSame($0.key, key) && $0.key != spelling }
        object[spelling] = value
    }
}
