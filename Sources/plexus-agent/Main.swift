import Agent
import ArgumentParser
import Logging
import ServiceLifecycle

/// Connects a node to its cluster.
@main struct PlexusAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plexus-agent",
        abstract: "Connects a node with Plexus to its Kubernetes cluster.",
        discussion: """
            It keeps the node's cache of NetworkAttachmentDefinitions and pods like the API server's. The CNI executable works \
            from the cache alone: no pod's start waits for the agent or the API server.

            In a pod it is who its service account is; elsewhere --kubeconfig names a file.
            """,
        version: "plexus-agent 0.1.0")

    @Option(help: "The node's name in the cluster; NODE_NAME of the environment, or else the host's name.")
    var nodeName: String?

    @Option(help: "Who it is outside of a pod, and where the API server is.")
    var kubeconfig: String?

    @Option(help: "Where the node's copy of definitions and pods is.")
    var cacheDir = AgentOptions().cacheDir

    @Option(
        name: .customLong("cni-dir"),
        help: "A cniDir of the node's configurations; may be given several times.")
    var cniDirs: [String] = []

    @Option(help: "Where it listens for the CNI executable.")
    var socket = AgentOptions().socket

    @Option(help: "Where /healthz, /readyz and /metrics are: HOST:PORT; empty for nowhere.")
    var listen = "127.0.0.1:9105"

    @Option(help: "The CNI executable, for changes of pods that run.")
    var executable = AgentOptions().executable

    @Option(help: "The runtime's configuration; without it that of plexus or multus in /etc/cni/net.d.")
    var config: String?

    @Flag(help: "Fill the cache with what the cluster has, and end.")
    var once = false

    @Flag(inversion: .prefixedNo, help: "Attach and detach pods that run when their annotation changes.")
    var hotPlug = true

    @Flag(help: "Make again what the host has lost of the pods that run, each minute.")
    var repair = false

    @Option(help: "Where it answers as the daemon of DHCP leases, which it renews; empty for neither.")
    var dhcpSocket = AgentOptions().dhcpSocket

    @Option(help: "trace, debug, info, notice, warning, error or critical.", transform: level)
    var logLevel = Logger.Level.info

    func run() async throws {
        var log = Logger(label: "plexus-agent") { StreamLogHandler.standardError(label: $0) }
        log.logLevel = logLevel
        var options = AgentOptions()
        options.nodeName = nodeName
        options.kubeconfig = kubeconfig
        options.cacheDir = cacheDir
        if !cniDirs.isEmpty { options.cniDirs = cniDirs }
        options.socket = socket
        options.listen = listen
        options.executable = executable
        options.configuration = config
        options.fillsOnce = once
        options.plugsHot = hotPlug
        options.repairs = repair
        options.dhcpSocket = dhcpSocket
        let agent: Agent
        do { agent = try Agent(options, log) } catch { throw ValidationError("\(error)") }
        try await agent.run()
    }
}

@Sendable private func level(_ text: String) throws -> Logger.Level {
    guard let level = Logger.Level(rawValue: text) else {
        throw ValidationError(
            "\(text) is no level: \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return level
}
