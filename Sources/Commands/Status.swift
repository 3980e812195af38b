import ArgumentParser
import CNI
import Linux
import Meta
import Network
import Records

/// `plexus status POD`.
struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Print the annotation network-status of a pod of this node.",
        discussion: """
            The text is the one that Multus writes into the annotation k8s.v1.cni.cncf.io/network-status: JSON, one \
            element for each interface. It was written down when the pod was attached.
            """)

    @Argument(help: ArgumentHelp("The pod, as in its CNI_ARGS.", valueName: "[namespace/]pod"))
    var pod: String

    @Option(help: "The directory of the state, the key cniDir; by default those of plexus and of multus.")
    var cniDir: [String] = []

    func run() throws {
        let parts = pod.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard let name = parts.last, parts.count <= 2, Names.isSubdomain(name),
            parts.count == 1 || Names.isLabel(parts[0])
        else {
            throw ValidationError("\"\(visible(pod))\" is no pod: write its name, or namespace/name")
        }
        let wanted = Pod(namespace: parts.count == 2 ? parts[0] : "default", name: name)
        let directories =
            cniDir.isEmpty
            ? Role.metaNames.map { "/var/lib/cni/\($0)" }
                .filter { fileExists("\($0)/attachments") } : cniDir
        var records: [PodRecord] = []
        do {
            for directory in directories {
                records += try RecordStore.records(named: wanted, below: directory)
            }
        } catch {
            throw fail("\(error.message)\(error.details.isEmpty ? "" : ": \(error.details)")")
        }
        guard !records.isEmpty else {
            let places = directories.isEmpty ? "/var/lib/cni/plexus" : directories.joined(separator: " and ")
            throw fail(
                "no record of pod \(wanted.description) in \(places): its ADD ran on another node, or not yet"
            )
        }
        // Of a sandbox that is made anew the old one may not be deleted yet.
        let living = records.filter { fileExists($0.sandbox) }
        let statuses = (living.isEmpty ? records : living).compactMap(\.status)
        guard !statuses.isEmpty else {
            throw fail(
                "the ADD of pod \(wanted.description) has not finished: there is no network-status yet")
        }
        for status in statuses { writeStandardOutput(status + "\n") }
    }

    private func fail(_ text: String) -> ExitCode {
        writeStandardError("plexus status: \(visible(text))\n")
        return .failure
    }
}
