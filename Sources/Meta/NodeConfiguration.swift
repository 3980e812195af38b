package import CNI
import Definitions
package import JSONC
import Linux
import Networking

/// The runtime's configuration of a node: Plexus around the network that the node has, or in Multus' place.
package struct NodeConfiguration {
    /// Where the runtime looks, as pods and runtime see it, and in which file system that is.
    private let directory: String
    private let root: String
    private let takeover: MultusTakeover

    /// What is done to one file.
    package struct Change: Equatable, Sendable {
        package enum Action: String, Sendable { case write, restore, remove, keep }

        package var action: Action
        package var file: String
        /// For people.
        package var about: String
        package var json: JSON?
        /// Where the file is put that somebody has edited since it was written.
        var aside: String?
    }

    package static let fileName = "00-plexus.conflist"
    /// What was there before.
    private static let backupEnding = ".before-plexus"
    /// A copy of what was written: it tells what somebody has edited since, and takes the place of a file that is gone.
    private static let copyEnding = ".by-plexus"
    private static let limit = 2 << 20

    /// - Parameters:
    ///   - root: of a node that is mounted somewhere; empty for this one.
    ///   - daemon: the settings of the thick Multus' daemon.
    package init(directory: String, root: String, daemon: JSONObject? = nil) {
        self.directory = directory
        self.root = root
        takeover = MultusTakeover(daemon: daemon, root: root)
    }

    private var place: String { root + directory }

    /// A file that the runtime would take.
    private struct Found {
        var name: String
        var json: JSON
        /// The kept file that it is read from, as the file itself is gone.
        var kept: String?

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
        if !multus.isEmpty { return multus.map { takeOver($0, found) } }
        // Multus' daemon and its thin installer remove their file when they stop.
        if let gone = kept() {
            return [takeOver(gone, found)]
                + found.filter { $0.name == Self.fileName && $0.meta == "plexus" }.map {
                    remove($0, "Multus' configuration takes its place again", found)
                }
        }
        let networks = Self.networks(found)
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
        var change = Change(
            action: .write, file: "\(directory)/\(Self.fileName)", about: about + order(Self.fileName, found),
            json: json)
        if let old = found.first(where: { $0.name == Self.fileName }) {
            if old.json == json {
                change.action = .keep
                change.json = nil
            } else if isEdited(old, found) {
                if hasNetwork(old) {
                    return [
                        Change(
                            action: .keep, file: change.file,
                            about: "it was edited since it was written; remove it to have a new one, " + about
                        )
                    ]
                }
                putAside(&change, old, found)
            }
        }
        return [change]
    }

    private static func networks(_ found: [Found]) -> [Found] {
        found.filter { $0.meta == nil && $0.types != ["loopback"] }
    }

    /// Who goes before a file of that name.
    private func order(_ name: String, _ found: [Found]) -> String {
        guard let first = found.first(where: { $0.meta == nil && $0.name < name }) else { return "" }
        return "; but a runtime takes \(first.name) first and never calls it:"
            + " rename \(first.name) so that it comes later, and run this again"
    }

    /// Multus' configuration of a file that is gone, as it was written last.
    private func kept() -> Found? {
        let names = (try? Directory.open(place).names()) ?? []  // listed a moment ago
        for ending in [Self.copyEnding, Self.backupEnding] {
            for file in names.sorted() where file.hasSuffix(ending) {
                let name = String(file.dropLast(ending.count))
                guard !names.contains(name), let json = json(of: file) else { continue }
                let found = Found(name: name, json: json, kept: file)
                if found.meta == "multus" { return found }
            }
        }
        return nil
    }

    /// Nil for a file that is not there or no JSON.
    private func json(of name: String) -> JSON? {
        (try? readFile("\(place)/\(name)", limit: Self.limit)).flatMap { try? JSON.parse($0).value }
    }

    /// Whether a file is not as it was written here, nor as it was before.
    private func isEdited(_ old: Found, _ found: [Found]) -> Bool {
        let backup = json(of: old.name + Self.backupEnding)
        let written =
            json(of: old.name + Self.copyEnding) ?? backup.map { takeover.adapt($0).json }
            ?? Self.networks(found).first.map(around)
        return old.json != written && old.json != backup
    }

    /// Whether the file that it names as the default network is there, if it names one.
    private func hasNetwork(_ own: Found) -> Bool {
        own.plugins.compactMap { $0.object?.find("clusterNetwork")?.value.string }.allSatisfy {
            !$0.hasPrefix("/") || fileExists(root + $0)
        }
    }

    private func putAside(_ change: inout Change, _ old: Found, _ found: [Found]) {
        guard isEdited(old, found) else { return }
        var aside = "\(old.name).edited"
        var count = 1
        while fileExists("\(place)/\(aside)") {
            count += 1
            aside = "\(old.name).edited-\(count)"
        }
        change.aside = aside
        change.about += "; it was edited since it was written, and that is kept as \(directory)/\(aside)"
    }

    private func remove(_ own: Found, _ about: String, _ found: [Found]) -> Change {
        var change = Change(action: .remove, file: "\(directory)/\(own.name)", about: about)
        putAside(&change, own, found)
        return change
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

    private func takeOver(_ multus: Found, _ found: [Found]) -> Change {
        let adapted = takeover.adapt(multus.json)
        let isRight = adapted.json == multus.json && multus.kept == nil
        var about = "Multus' configuration"
        if let kept = multus.kept { about += ", which was gone, from \(kept)" }
        about += adapted.isAskingNow ? ", asking for the annotations" : ", which asks for the annotations"
        about += adapted.changes.map { "; \($0)" }.joined() + order(multus.name, found)
        return Change(
            action: isRight ? .keep : .write, file: "\(directory)/\(multus.name)", about: about,
            json: isRight ? nil : adapted.json)
    }

    /// What puts back what was there.
    package func undoing() throws(Failure) -> [Change] {
        let found = try found()
        var changes = found.filter { $0.name == Self.fileName && $0.meta == "plexus" }.map {
            remove($0, "the file of Plexus", found)
        }
        let names = (try? Directory.open(place).names()) ?? []  // listed a moment ago
        for name in names.sorted() where name.hasSuffix(Self.backupEnding) {
            let own = String(name.dropLast(Self.backupEnding.count))
            var change = Change(
                action: .restore, file: "\(directory)/\(own)", about: "as it was before Plexus")
            if let old = found.first(where: { $0.name == own }) { putAside(&change, old, found) }
            changes.append(change)
        }
        for name in names.sorted() where name.hasSuffix(Self.copyEnding) {
            let own = "\(directory)/\(name.dropLast(Self.copyEnding.count))"
            if changes.contains(where: { $0.file == own }) { continue }
            changes.append(
                Change(action: .remove, file: "\(directory)/\(name)", about: "a copy of a file that is gone"))
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
                if let aside = change.aside {
                    try folder.replace(aside, with: folder.read(name, limit: Self.limit), mode: 0o600)
                }
                switch change.action {
                case .keep: break
                case .write:
                    if let old = try folder.readIfPresent(name, limit: Self.limit), name != Self.fileName,
                        !folder.contains(backup)
                    {
                        try folder.replace(backup, with: old, mode: 0o600)
                    }
                    let text = (change.json ?? .null).print(indent: 2, escapesHTML: false) + "\n"
                    try folder.replace(name + Self.copyEnding, with: Array(text.utf8), mode: 0o600)
                    try folder.replace(name, with: Array(text.utf8), mode: 0o644)
                case .restore:
                    try folder.replace(name, with: folder.read(backup, limit: Self.limit), mode: 0o644)
                    try folder.remove(backup)
                    try folder.remove(name + Self.copyEnding)
                case .remove:
                    try folder.remove(name)
                    try folder.remove(name + Self.copyEnding)
                }
            }
        } catch {
            throw Failure(.io, "\(error)", details: error.hint)
        }
    }
}
