import ArgumentParser
import CNI
import Engine
import JSONC
import Linux
import Meta

/// `plexus explain`: what an ADD would do, touching nothing.
struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Show what attaching a pod would do, as commands, without doing it.",
        discussion: """
            POD stands for the pod's network namespace in the commands: after `ip netns add POD` they can be typed as \
            they are. Nobody keeps the addresses free that are printed.

              plexus explain --config /etc/cni/net.d/10-plexus.conf --pod default/web-0
              plexus explain --config 10-plexus.conf --networks net-a,net-b@data0 -o json
            """)

    @OptionGroup var runtime: RuntimeConfiguration

    @Option(name: .long, help: "The pod, whose annotations the cache has: NAMESPACE/NAME.")
    var pod: String?

    @Option(name: .long, help: "Networks as the pod's annotation has them, instead of the cache's.")
    var networks: String?

    @Option(name: .long, help: "The container's ID: host link names are derived from it.")
    var containerID: String = "example"

    @Option(
        name: .long, help: "A network namespace to look at, such as /run/netns/NAME; without it an empty pod."
    )
    var netns: String = ""

    @Option(name: .long, help: "The name of the pod's first interface.")
    var interface: String = "eth0"

    @Option(name: .long, help: "Directories of plugins that are not built in, joined by ':'.")
    var cniPath: String = "/opt/cni/bin"

    @Option(name: .shortAndLong, help: "text for people, json for programs.")
    var output: Output = .text

    func run() throws {
        try failing("explain") { () throws(Failure) in
            let explanation = try Explanation.make(
                configuration: runtime.bytes(), environment: environment(), networks: networks,
                sandbox: netns)
            switch output {
            case .text: writeStandardOutput(explanation.text(isTerminal: isTerminal(1)))
            case .json:
                let json = try explanation.json()
                guard json.bytes(indent: 2, escapesHTML: false).count <= JSON.maximumSize else {
                    throw Failure(.generic, "the plan is too large to be printed as JSON")
                }
                printJSON(json)
            }
        }
    }

    /// The variables that a runtime would set.
    private func environment() throws(Failure) -> [String: String] {
        var args = "IgnoreUnknown=1"
        if let pod {
            let parts = pod.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Failure(.badEnvironment, "--pod \(pod): write NAMESPACE/NAME")
            }
            args += ";K8S_POD_NAMESPACE=\(parts[0]);K8S_POD_NAME=\(parts[1])"
        }
        return [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": containerID, "CNI_IFNAME": interface, "CNI_ARGS": args,
            "CNI_NETNS": netns.isEmpty ? "POD" : netns, "CNI_PATH": cniPath,
        ]
    }
}
