import ArgumentParser
import CNI
import JSONC
import Linux
import Meta
import Networking

/// `plexus validate`: what would be refused, before a node switches over.
struct Validate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract:
            "Say what Plexus would refuse, pass over, choose, or do otherwise than Multus.",
        discussion: """
            It takes configurations, definitions, annotations, or the whole node. FILE is a configuration of plexus or multus, one of a network, or what kubectl prints: definitions and pods. \
            It needs neither root nor the node, but for --node: then the cache and the networks in confDir are looked at, \
            by the configuration that is named. One of Multus is judged as `plexus configure` would write it. The exit status is 1 when something would be refused, 2 when the log of an ADD \
            would have errors before the first network is attached.

              kubectl get net-attach-def,pods -A -o json | plexus validate -
              plexus validate --node /etc/cni/net.d/00-multus.conf
            """)

    @Argument(
        help:
            "Files to read; - reads stdin. Configurations of plexus or multus first: the others are judged by them."
    )
    var files: [String] = []

    @Flag(help: "Look at all that the node has.")
    var node = false

    @Option(
        help: "Directories of plugins that are not built in, after the configuration's binDir, joined by ':'."
    )
    var cniPath: String = "/opt/cni/bin"

    @Option(help: "Settings of the thick Multus' daemon, as plexus configure takes and finds them.")
    var daemonConfig: String?

    @Option(name: .shortAndLong, help: "text for people, json for programs.")
    var output: Output = .text

    func run() throws {
        guard node || !files.isEmpty else { throw ValidationError("name a file, or --node") }
        let validation = try failing("validate", validated)
        let findings = validation.findings
        let refused = findings.count { $0.weight == .refused }
        let warnings = findings.count { $0.weight == .warning }
        switch output {
        case .json:
            let list = findings.map { finding -> JSON in
                [
                    "subject": .string(finding.subject), "weight": .string(finding.weight.rawValue),
                    "text": .string(finding.text),
                ]
            }
            let json: JSON = [
                "version": 1, "subjects": .array(validation.subjects.map { .string($0) }),
                "findings": .array(list),
            ]
            printJSON(json)
        case .text:
            for finding in findings {
                writeStandardOutput(
                    "\(finding.weight.rawValue): \(visible(finding.subject)): \(visible(finding.text))\n")
            }
            writeStandardOutput(
                "\(validation.subjects.count) looked at, \(refused) refused, \(warnings) warnings\n")
        }
        if refused > 0 { throw ExitCode(1) }
        if warnings > 0 { throw ExitCode(2) }
    }

    private func validated() throws(Failure) -> Validation {
        // As configure does, which finds both in one directory.
        let directory = files.first.map { $0.split(separator: "/").dropLast().joined(separator: "/") } ?? ""
        var validation = try Validation(
            searchPath: cniPath, daemon: daemonSettings(daemonConfig, beside: "/\(directory)"))
        for file in files {
            let bytes: [UInt8]
            do throws(SystemError) {
                bytes =
                    file == "-"
                    ? try readStandardInput(limit: 1 << 30) : try readFile(file, limit: 1 << 30, waits: true)
            } catch {
                throw Failure(.io, "\(error)", details: error.hint)
            }
            if !validation.configuration(bytes, file: file) { validation.manifests(bytes, file: file) }
        }
        if node { validation.node() }
        validation.finish()
        return validation
    }
}
