import CNI
import Definitions
package import JSONC
import Kubernetes
import Linux
package import Logging
import ServiceLifecycle
import UnixSignals

package struct AgentOptions: Sendable {
    /// nil for that of the environment, or else the host's.
    package var nodeName: String?
    package var kubeconfig: String?
    package var cacheDir = "/var/lib/cni/plexus/cache"
    /// Those of the CNI executable's names.
    package var cniDirs = ["/var/lib/cni/plexus", "/var/lib/cni/multus"]
    package var socket = "/run/plexus/agent.sock"
    /// Where it answers to the kubelet and to Prometheus: HOST:PORT; empty for nowhere.
    package var listen = ""
    /// The CNI executable.
    package var executable = "/opt/cni/bin/plexus"
    /// The runtime's configuration; nil for the one that the executable finds.
    package var configuration: String?
    /// Fills the cache, and ends.
    package var fillsOnce = false
    package var plugsHot = true
    package var repairs = false
    /// Where the daemon of DHCP leases listens; empty for no renewal.
    package var dhcpSocket = "/run/cni/dhcp.sock"

    package init() {}
}

/// All that runs on a node beside the CNI executable.
package struct Agent {
    private let client: APIClient
    private var services: [any Service]
    private let fillsOnce: Bool
    private let log: Logger

    package init(_ options: AgentOptions, _ log: Logger) throws(JSONError) {
        let node = options.nodeName ?? Environment.value("NODE_NAME") ?? hostName()
        let access = try Self.access(options)
        let metrics = Metrics()
        let client = APIClient(access, metrics)
        self.client = client
        let cache = options.cacheDir
        let command = NodeCommand(executable: options.executable, configuration: options.configuration)
        let hotPlugger = HotPlugger(
            options.cniDirs, cacheDir: cache, client, command, Events(client, node: node, log), log)
        let definitions = Mirror(.definition, of: node, in: cache, client, metrics, log) { _ in }
        let pods = Mirror(.pod, of: node, in: cache, client, metrics, log) { id in
            guard options.plugsHot else { return }
            await hotPlugger.look(Pod(namespace: id.namespace, name: id.name))
        }
        let mirrors = [definitions, pods]
        let publisher = Publisher(options.cniDirs, cacheDir: cache, pods: pods, client, metrics, log)
        let needs = Needs(cacheDir: cache, client, [.definition: definitions, .pod: pods], metrics)
        let ready = Readiness(mirrors)
        services = [ready] + mirrors
        self.log = log
        fillsOnce = options.fillsOnce
        if options.fillsOnce { return }
        services += [
            publisher, Listener(path: options.socket, needs: needs, publisher: publisher, metrics: metrics),
        ]
        if options.plugsHot { services.append(hotPlugger) }
        services.append(
            Reconciler(options.cniDirs, cacheDir: cache, command, repairs: options.repairs, metrics, log) {
                await pods.problem == nil
            })
        if !options.dhcpSocket.isEmpty {
            services.append(LeaseRenewal(socket: options.dhcpSocket, cniDirs: options.cniDirs, log: log))
        }
        if !options.listen.isEmpty {
            guard let colon = options.listen.lastIndex(of: ":"),
                let port = Int(options.listen[options.listen.index(after: colon)...]),
                (0...65535).contains(port)
            else { throw JSONError(path: "", problem: "--listen \(options.listen) is no HOST:PORT") }
            let host = options.listen[..<colon].filter { $0 != "[" && $0 != "]" }
            services.append(
                Endpoints(host: host, port: port, metrics: metrics) {
                    await ready.problem
                } refresh: {
                    for mirror in mirrors { await mirror.measure() }
                    await publisher.measure()
                })
        }
        log.info("started", metadata: ["node": "\(node)", "server": "\(access.server)"])
    }

    private static func access(_ options: AgentOptions) throws(JSONError) -> ClusterAccess {
        if let path = options.kubeconfig { return try .kubeconfig(path) }
        guard let found = ClusterAccess.inCluster() else {
            throw JSONError(
                path: "",
                problem: "this is no pod (KUBERNETES_SERVICE_HOST is not set): --kubeconfig names a file")
        }
        return found
    }

    /// Until SIGTERM or SIGINT.
    package func run() async throws {
        var configuration = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint],
            logger: log)
        // The first one ends once the cache is whole.
        configuration.services[0].successTerminationBehavior = fillsOnce ? .gracefullyShutdownGroup : .ignore
        let group = ServiceGroup(configuration: configuration)
        let end: (any Error)?
        do {
            try await group.run()
            end = nil
        } catch { end = error }
        await client.shutDown()
        if let end {
            log.critical("\(end)")
            throw end
        }
        log.info("ended")
    }
}
