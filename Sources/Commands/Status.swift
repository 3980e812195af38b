import ArgumentParser
import CNI
import Linux
import Meta
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
        for status in try failing("status", statuses) { writeStandardOutput(status + "\n") }
    }

    private func statuses() throws(Failure) -> [String] {
        let wanted = try namedPod(pod)
        let directories =
            cniDir.isEmpty
            ? MetaConfig.defaultDirectories.filter { fileExists("\($0)/attachments") } : cniDir
        var records: [PodRecord] = []
        do throws(Failure) {
            for directory in directories {
                records += try RecordStore.records(named: wanted, below: directory)
            }
        } catch {
            throw try multusHas(wanted, directories) ?? error
        }
        guard !records.isEmpty else {
            if let failure = try multusHas(wanted, directories) { throw failure }
            let places = directories.isEmpty ? "/var/lib/cni/plexus" : directories.joined(separator: " and ")
            throw Failure(
                .containerUnknown, "no record of pod \(wanted.description) in \(places)",
                details: "its ADD ran on another node, or not yet")
        }
        // Of a sandbox that is made anew the old one may not be deleted yet.
        let living = records.filter { fileExists($0.sandbox) }
        let statuses = (living.isEmpty ? records : living).compactMap(\.status)
        guard !statuses.isEmpty else {
            throw Failure(
                .containerUnknown, "there is no network-status of pod \(wanted.description) yet",
                details: "its ADD has not finished")
        }
        return statuses
    }
}
