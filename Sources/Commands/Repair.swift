import ArgumentParser
import CNI
import JSONC
import Linux
import Meta
import Networking
import Records

/// `plexus repair`: what the host has lost of pods that run.
struct Repair: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Find what the host has lost of pods that run, and make it again.",
        discussion: """
            A network interface card that was made anew takes the macvlans of all pods with it; somebody deletes a \
            bridge, flushes nftables, or empties a directory of leases. What is lost is made again with the names, MAC \
            addresses and addresses that the pods had; what is there is not touched, nor what is in a pod whose \
            interface is there. The exit status is 1 when something could not be made again, 2 when something is lost \
            and --dry-run only looked.

              plexus repair --dry-run
              plexus repair default/web-0
            """)

    @Argument(
        help: ArgumentHelp("Pods to look at; all of this node without any.", valueName: "[namespace/]pod"))
    var pods: [String] = []

    @Flag(help: "Look, and change nothing.")
    var dryRun = false

    @Option(name: .shortAndLong, help: "text for people, json for programs.")
    var output: Output = .text

    @OptionGroup var runtime: RuntimeConfiguration

    func run() throws {
        var findings: [NodeRepair.Finding] = []
        var passedOver: [String] = []
        try failing("repair") { () throws(Failure) in
            var named: [Pod] = []
            for pod in pods { named.append(try namedPod(pod)) }
            let repair = try NodeRepair(configuration: runtime.bytes(), pods: named)
            passedOver = repair.passedOver
            repair.run(isDry: dryRun) { findings.append($0) }
        }
        let broken = findings.filter { !$0.lost.isEmpty || $0.problem != nil }
        switch output {
        case .json:
            printJSON([
                "version": 1, "attachments": .array(findings.map(json)),
                "passedOver": .array(passedOver.map { .string($0) }),
            ])
        case .text:
            if !broken.isEmpty {
                writeStandardOutput(
                    table(
                        ["POD", "INTERFACE", "NETWORK", "STATE", "LOST"],
                        broken.map { finding in
                            [
                                finding.pod, finding.interface, finding.network, state(finding),
                                finding.lost.isEmpty ? "unknown" : finding.lost.joined(separator: ", "),
                            ].map(visible)
                        }))
            }
            for finding in broken {
                guard let problem = finding.problem else { continue }
                let details = problem.details.isEmpty ? "" : "\n  \(visible(problem.details))"
                writeStandardError("\(visible(finding.pod)): \(visible(problem.message))\(details)\n")
            }
            if !passedOver.isEmpty {
                let names = passedOver.map(visible).joined(separator: ", ")
                writeStandardError(
                    "attached by Multus, and not looked at: \(names)\n  a pod can be repaired only when Plexus has"
                        + " attached it: delete it, and its next sandbox is\n")
            }
            writeStandardOutput("\(findings.count) looked at, \(broken.count) had lost something\n")
        }
        if broken.contains(where: { $0.problem != nil }) { throw ExitCode.failure }
        if dryRun, !broken.isEmpty { throw ExitCode(2) }
    }

    private func state(_ finding: NodeRepair.Finding) -> String {
        if finding.problem != nil { return "failed" }
        if finding.lost.isEmpty { return "whole" }
        return dryRun ? "lost" : "made again"
    }

    private func json(_ finding: NodeRepair.Finding) -> JSON {
        var json: JSONObject = [
            "pod": .string(finding.pod), "interface": .string(finding.interface),
            "network": .string(finding.network), "state": .string(state(finding)),
            "lost": .array(finding.lost.map { .string($0) }),
        ]
        if let problem = finding.problem {
            json["problem"] = .string(problem.message)
            json["details"] = .string(problem.details)
        }
        return .object(json)
    }
}
