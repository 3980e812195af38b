import ArgumentParser
import CNI
import JSONC
import Linux
import Meta
import Network
import Records

/// What `attach` and `detach` have in common.
struct RunningPodOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help:
            "The runtime's configuration file, which attached the pod; without it that of plexus or multus in /etc/cni/net.d."
    )
    var config: String?

    func open(_ pod: String) throws(Failure) -> RunningPod {
        let parts = pod.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard let name = parts.last, parts.count <= 2, Names.isSubdomain(name),
            parts.count == 1 || Names.isLabel(parts[0])
        else {
            throw Failure(.badConfig, "\"\(pod)\" is no pod", details: "write its name, or namespace/name")
        }
        guard let config = config ?? NodeConfiguration.current() else {
            throw Failure(
                .io, "/etc/cni/net.d has no configuration of plexus or multus",
                details: "name the runtime's configuration with --config")
        }
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try readFile(config, limit: JSON.maximumSize) } catch {
            throw Failure(.io, "\(error)", details: "name the runtime's configuration with --config")
        }
        return try RunningPod(
            configuration: bytes, pod: Pod(namespace: parts.count == 2 ? parts[0] : "default", name: name))
    }

    func running<R>(_ command: String, _ body: () throws(Failure) -> R) throws -> R {
        do throws(Failure) { return try body() } catch {
            let details = error.details.isEmpty ? "" : "\n  \(visible(error.details))"
            writeStandardError("plexus \(command): \(visible(error.message))\(details)\n")
            throw ExitCode.failure
        }
    }
}

/// `plexus attach POD NETWORK`.
struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach",
        abstract: "Attach a pod that runs to one network more.",
        discussion: """
            It is as if the pod had asked for it: when something fails, all of it is undone; the pod's deletion detaches \
            it too. The pod's annotation stays as it is.

              plexus attach default/web-0 net-b@data0
              plexus attach web-0 '[{"name":"net-b","ips":["10.1.2.3/24"]}]'
            """)

    @Argument(help: ArgumentHelp("The pod.", valueName: "[namespace/]pod"))
    var pod: String

    @Argument(help: "The network, as in the pod's annotation.")
    var network: String

    @OptionGroup var options: RunningPodOptions

    func run() throws {
        let done = try options.running("attach") { () throws(Failure) in
            try options.open(pod).attach(network)
        }
        writeStandardError("attached \(visible(done.entry.logged))\n")
        writeStandardOutput(done.result.print(indent: 4, escapesHTML: false) + "\n")
    }
}

/// `plexus detach POD NETWORK`.
struct Detach: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "detach",
        abstract: "Detach a pod that runs from one of its further networks.")

    @Argument(help: ArgumentHelp("The pod.", valueName: "[namespace/]pod"))
    var pod: String

    @Argument(help: "The interface's name, or the network's.")
    var network: String

    @OptionGroup var options: RunningPodOptions

    func run() throws {
        let gone = try options.running("detach") { () throws(Failure) in
            try options.open(pod).detach(network)
        }
        writeStandardError("detached \(visible(gone.logged))\n")
    }
}
