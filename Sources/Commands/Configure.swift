import ArgumentParser
import CNI
import JSONC
import Linux
import Meta
import Networking

/// `plexus configure`: the runtime's configuration of a node.
struct Configure: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "configure",
        abstract:
            "Write the runtime's configuration, around the network that the node has or in Multus' place.",
        discussion: """
            Without Multus it writes 00-plexus.conflist, whose default network is the first file that the runtime takes \
            now. Multus' own configuration is kept, and asks for the pods' annotations then: the executable multus is to \
            be plexus. When its file is gone, as Multus' daemon removes it, the kept one is taken. Paths below the daemon's \
            /host become the node's. Files are replaced whole; one that was there before is kept as FILE.before-plexus, and \
            --undo puts it back. What somebody edited since is kept as FILE.edited.
            """)

    @Option(help: "Where the runtime looks for configurations.")
    var confDir: String = "/etc/cni/net.d"

    @Option(help: "The root of a node that is mounted there, such as /host.")
    var root: String = ""

    @Option(
        help: ArgumentHelp(
            "Settings of the thick Multus' daemon, which go before those of the node's file. Without it multus.d/daemon-config.json in --conf-dir, if it is there.",
            discussion:
                "kubectl -n kube-system get configmap multus-daemon-config -o jsonpath='{.data.daemon-config\\.json}' >FILE"
        ))
    var daemonConfig: String?

    @Flag(help: "Put back what was there.")
    var undo = false

    @Flag(help: "Print what would be done, and the file.")
    var dryRun = false

    @Option(name: .shortAndLong, help: "text for people, json for programs.")
    var output: Output = .text

    func run() throws {
        guard confDir.hasPrefix("/"), root.isEmpty || root.hasPrefix("/") else {
            throw ValidationError("--conf-dir and --root are absolute paths")
        }
        try failing("configure") { () throws(Failure) in
            func trimmed(_ path: String) -> String { String(path.reversed().drop { $0 == "/" }.reversed()) }
            let (directory, root) = (trimmed(confDir), trimmed(root))
            let daemon = undo ? nil : try daemonSettings(daemonConfig, beside: root + directory)
            let node = NodeConfiguration(directory: directory, root: root, daemon: daemon)
            let changes = try undo ? node.undoing() : node.plan()
            if !dryRun { try node.apply(changes) }
            show(changes)
        }
    }

    private func show(_ changes: [NodeConfiguration.Change]) {
        switch output {
        case .json:
            let list = changes.map { change -> JSON in
                [
                    "action": .string(change.action.rawValue), "file": .string(change.file),
                    "about": .string(change.about),
                ]
            }
            let json: JSON = ["version": 1, "changes": .array(list)]
            printJSON(json)
        case .text:
            if changes.isEmpty { writeStandardOutput("there is nothing of Plexus to undo\n") }
            for change in changes {
                let done: (now: String, later: String) =
                    switch change.action {
                    case .write: ("wrote", "would write")
                    case .restore: ("restored", "would restore")
                    case .remove: ("removed", "would remove")
                    case .keep: ("kept", "would keep")
                    }
                writeStandardOutput(
                    "\(dryRun ? done.later : done.now) \(change.file): \(visible(change.about))\n")
                if dryRun, let json = change.json {
                    printJSON(json)
                }
            }
        }
    }
}

/// What the thick Multus' daemon is told, which goes before its node's configuration.
///
/// - Parameters:
///   - file: nil for the one that Multus has beside the runtime's configurations, if it is there.
func daemonSettings(_ file: String?, beside directory: String) throws(Failure) -> JSONObject? {
    let usual = "\(directory)/multus.d/daemon-config.json"
    guard let file = file ?? (fileExists(usual) ? usual : nil) else { return nil }
    let bytes: [UInt8]
    do throws(SystemError) { bytes = try readFile(file, limit: 1 << 20, waits: true) } catch {
        throw Failure(.io, "the daemon's settings: \(error)", details: error.hint)
    }
    let fix = "they are the text daemon-config.json of the ConfigMap multus-daemon-config, an object"
    do throws(JSONError) {
        guard let object = try JSON.parse(bytes).value.object else {
            throw JSONError(path: "", problem: "it is no object")
        }
        return object
    } catch {
        throw Failure(.badJSON, "the daemon's settings, \(file): \(error)", details: fix)
    }
}
