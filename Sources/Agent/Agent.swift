import Definitions
package import JSONC
import Kubernetes
import Linux
package import Logging
import ServiceLifecycle
import UnixSignals

package struct AgentOptions: Sendable {
    package var nodeName: String?
    package var kubeconfig: String?
    package var cacheDir: String
    /// Those of the CNI executable's names.
    package var cniDirs: [String]
    package var socket: String

    package init(
        nodeName: String?, kubeconfig: String?, cacheDir: String, cniDirs: [String], socket: String
    ) {
        self.nodeName = nodeName
        self.kubeconfig = kubeconfig
        self.cacheDir = cacheDir
        self.cniDirs = cniDirs
        self.socket = socket
    }
}

/// All that runs on a node beside the CNI executable.
package struct Agent {
    private let client: APIClient
    private let services: [any Service]
    private let log: Logger

    package init(_ options: AgentOptions, _ log: Logger) throws(JSONError) {
        let node = options.nodeName ?? Environment.value("NODE_NAME") ?? hostName()
        let access: ClusterAccess
        if let path = options.kubeconfig {
            access = try .kubeconfig(path)
        } else if let found = ClusterAccess.inCluster() {
            access = found
        } else {
            throw JSONError(
                path: "",
                problem: "this is no pod (KUBERNETES_SERVICE_HOST is not set): --kubeconfig names a file")
        }
        self.log = log
        client = APIClient(access)
        var mirrors: [CacheObject.Kind: Mirror] = [:]
        for kind in CacheObject.Kind.allCases {
            mirrors[kind] = Mirror(kind, of: node, in: options.cacheDir, client, log)
        }
        let needs = Needs(cacheDir: options.cacheDir, client, mirrors)
        let publisher = Publisher(options.cniDirs, cacheDir: options.cacheDir, client, log)
        services =
            Array(mirrors.values) + [
                publisher, Listener(path: options.socket, needs: needs, publisher: publisher),
            ]
        log.info("started", metadata: ["node": "\(node)", "server": "\(access.server)"])
    }

    /// Until SIGTERM or SIGINT.
    package func run() async throws {
        let group = ServiceGroup(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: log)
        try await group.run()
        await client.shutDown()
    }
}
