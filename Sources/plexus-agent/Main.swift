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
    var cacheDir = "/var/lib/cni/plexus/cache"

    @Option(
        name: .customLong("cni-dir"),
        help: "A cniDir of the node's configurations; may be given several times.")
    var cniDirs = ["/var/lib/cni/plexus", "/var/lib/cni/multus"]

    @Option(help: "Where it listens for the CNI executable.")
    var socket = "/run/plexus/agent.sock"

    @Option(help: "trace, debug, info, notice, warning, error or critical.", transform: level)
    var logLevel = Logger.Level.info

    func run() async throws {
        var log = Logger(label: "plexus-agent") { StreamLogHandler.standardError(label: $0) }
        log.logLevel = logLevel
        let options = AgentOptions(
            nodeName: nodeName, kubeconfig: kubeconfig, cacheDir: cacheDir, cniDirs: cniDirs, socket: socket)
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
