package import CNI
import Definitions
package import JSONC
import Linux
import Network

/// The runtime's configuration of a node: Plexus around the network that the node has, or in Multus' place.
package struct NodeConfiguration {
    /// Where the runtime looks, as pods and runtime see it, and in which file system that is.
    private let directory: String
    private let root: String

    /// What is done to one file.
    package struct Change: Equatable, Sendable {
        package enum Action: String, Sendable { case write, restore, remove, keep }

        package var action: Action
        package var file: String
        /// For people.
        package var about: String
        package var json: JSON?
    }

    package static let fileName = "00-plexus.conflist"
    private static let backupEnding = ".before-plexus"
    private static let limit = 2 << 20

    /// - Parameter root: of a node that is mounted somewhere; empty for this one.
    package init(directory: String, root: String) {
        self.directory = directory
        self.root = root
    }

    private var place: String { root + directory }

    /// A file that the runtime would take.
    private struct Found {
        var name: String
        var json: JSON

        var plugins: [JSON] { json["plugins"]?.array ?? [json] }
        var types: [String] { plugins.compactMap { $0["type"]?.string } }
        /// The meta-plugin whose configuration it is; nil for a network.
        var meta: String? { types.first.flatMap(Role.metaName) }
    }

    /// In the order in which runtimes take them.
    private func found() throws(Failure) -> [Found] {
        let names: [String]
        do throws(SystemError) { names = try Directory.open(place).names() } catch {
            throw Failure(
                .io, "\(error)", details: "name the directory of the runtime's configurations: --conf-dir")
        }
        var found: [Found] = []
        for name in names.sorted() where [".conf", ".conflist", ".json"].contains(where: name.hasSuffix) {
            let bytes: [UInt8]
            do throws(SystemError) { bytes = try readFile("\(place)/\(name)", limit: Self.limit) } catch {
                throw Failure(.io, "\(error)", details: error.hint)
            }
            do throws(JSONError) { found.append(Found(name: name, json: try JSON.parse(bytes).value)) } catch
            {
                throw Failure(
                    .badJSON, "\(directory)/\(name): \(error)",
                    details: "the runtime stumbles over it too: correct it, or move it away")
            }
        }
        return found
    }

    /// The first configuration of ours or of Multus', which the runtime takes; nil when there is none.
    package static func current(in directory: String = "/etc/cni/net.d") -> String? {
        let found = try? NodeConfiguration(directory: directory, root: "").found()
        return found?.first { $0.meta != nil }.map { "\(directory)/\($0.name)" }
    }

    /// What makes the runtime call Plexus.
    package func plan() throws(Failure) -> [Change] {
        let found = try found()
        let multus = found.filter { $0.meta == "multus" }
        if !multus.isEmpty { return multus.map(takeOver) }
        let networks = found.filter { $0.meta == nil && $0.types != ["loopback"] }
        guard let primary = networks.first else {
            if let own = found.first(where: { $0.meta != nil }) {
                return [
                    Change(
                        action: .keep, file: "\(directory)/\(own.name)",
                        about: "it is Plexus' already, and the only one")
                ]
            }
            throw Failure(
                .badConfig, "there is no network configuration in \(directory)",
                details:
                    "install the node's network first (flannel, Calico ...), or give it one of its own, as conf/10-plexus.conf"
            )
        }
        let json = around(primary)
        let about = "around \(primary.name) (\(primary.types.joined(separator: " + ")))"
        let file = "\(directory)/\(Self.fileName)"
        let old = found.first { $0.name == Self.fileName }
        if old?.json == json { return [Change(action: .keep, file: file, about: about)] }
        return [Change(action: .write, file: file, about: about, json: json)]
    }

    /// As Multus' installers do it: the default network is the file, by its path, and what its plugins are to get is asked
    /// for here.
    private func around(_ primary: Found) -> JSON {
        var capabilities: JSONObject = [PodAnnotations.runtimeKey: true]
        for plugin in primary.plugins {
            for (key, value) in plugin["capabilities"]?.object?.members ?? [] where value.bool == true {
                capabilities[key] = true
            }
        }
        let version = primary.json["cniVersion"]?.string.flatMap(Version.init(rawValue:)) ?? .v0_4_0
        var list: JSONObject = ["cniVersion": .string(max(version, .v0_4_0).rawValue)]
        if version >= .v1_0_0 { list["cniVersions"] = ["1.0.0", "1.1.0"] }
        list["name"] = "node-network"
        list["plugins"] = [
            [
                "type": "plexus", "capabilities": .object(capabilities),
                "clusterNetwork": .string("\(directory)/\(primary.name)"),
            ]
        ]
        return .object(list)
    }

    /// Multus' configuration, which only lacks the annotations: the executable that it names is Plexus from now on.
    private func takeOver(_ multus: Found) -> Change {
        func asking(_ plugin: JSON) -> JSON {
            guard var object = plugin.object, plugin["type"]?.string.flatMap(Role.metaName) != nil else {
                return plugin
            }
            var capabilities = plugin["capabilities"]?.object ?? [:]
            capabilities[PodAnnotations.runtimeKey] = true
            object["capabilities"] = .object(capabilities)
            // As the daemon's container sees it.
            if let path = plugin["clusterNetwork"]?.string, path.hasPrefix("/host/"),
                !fileExists(root + path),
                fileExists(root + path.dropFirst("/host".count))
            {
                object["clusterNetwork"] = .string(String(path.dropFirst("/host".count)))
            }
            return .object(object)
        }
        var json = multus.json
        if let plugins = json["plugins"]?.array, var list = json.object {
            list["plugins"] = .array(plugins.map(asking))
            json = .object(list)
        } else {
            json = asking(json)
        }
        let isAsking = json == multus.json
        return Change(
            action: isAsking ? .keep : .write, file: "\(directory)/\(multus.name)",
            about: "Multus' configuration"
                + (isAsking ? ", which asks for the annotations" : ", asking for the annotations"),
            json: isAsking ? nil : json)
    }

    /// What puts back what was there.
    package func undoing() throws(Failure) -> [Change] {
        var changes: [Change] = []
        for own in try found() where own.name == Self.fileName && own.meta == "plexus" {
            changes.append(
                Change(action: .remove, file: "\(directory)/\(own.name)", about: "the file of Plexus"))
        }
        let names = (try? Directory.open(place).names()) ?? []  // listed a moment ago
        for name in names.sorted() where name.hasSuffix(Self.backupEnding) {
            changes.append(
                Change(
                    action: .restore, file: "\(directory)/\(name.dropLast(Self.backupEnding.count))",
                    about: "as it was before Plexus"))
        }
        return changes
    }

    /// Each file is whole at any moment; what is replaced is kept beside it.
    package func apply(_ changes: [Change]) throws(Failure) {
        do throws(SystemError) {
            let folder = try Directory.open(place)
            for change in changes {
                let name = String(change.file.dropFirst(directory.utf8.count + 1))
                let backup = name + Self.backupEnding
                switch change.action {
                case .keep: break
                case .write:
                    if let old = try folder.readIfPresent(name, limit: Self.limit), name != Self.fileName,
                        !folder.contains(backup)
                    {
                        try folder.replace(backup, with: old, mode: 0o600)
                    }
                    let text = (change.json ?? .null).print(indent: 2, escapesHTML: false) + "\n"
                    try folder.replace(name, with: Array(text.utf8), mode: 0o644)
                case .restore:
                    try folder.replace(name, with: folder.read(backup, limit: Self.limit), mode: 0o644)
                    try folder.remove(backup)
                case .remove: try folder.remove(name)
                }
            }
        } catch {
            throw Failure(.io, "\(error)", details: error.hint)
        }
    }
}
