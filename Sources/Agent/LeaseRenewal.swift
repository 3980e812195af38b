import Glibc
import IPAM
import Linux
import Logging
import Meta
import NIOPosix
import Renewal
import ServiceLifecycle

/// Renews the node's DHCP leases, as `dhcp daemon` does, unless that runs.
struct LeaseRenewal: Service {
    let socket: String
    let cniDirs: [String]
    let log: Logger

    private static let glance: Duration = .seconds(2)

    func run() async throws {
        try await untilShutdown { try await self.awaitTurn() }
        guard !somebodyListens(at: socket) else { return }
        try await renew()
    }

    /// While a daemon runs it renews the leases.
    private func awaitTurn() async throws {
        var isTold = false
        while somebodyListens(at: socket) {
            if !isTold { log.info("a daemon listens at \(socket): it renews the leases") }
            isTold = true
            try await Task.sleep(for: Self.glance)
        }
    }

    private func renew() async throws {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError("make a pipe") }
        let (stop, stopper) = (ends[0], ends[1])
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await pool.runIfActive { try keep(until: stop) }
        } onCancelOrGracefulShutdown: {
            close(stopper)
        }
        try await pool.shutdownGracefully()
        close(stop)
    }

    /// On a thread of its own: it enters pods' namespaces.
    private func keep(until stop: CInt) throws(SystemError) {
        let own = Log { [log] in log.error("\($0)") }
        var isPassed = false
        let doorbell = try Doorbell.open(socket, isPassed: &isPassed)
        defer { removeFile(socket) }
        let keeper = try Keeper(DHCPRecords.defaultPath, own) { [cniDirs] record, old in
            LeaseChange(record, insteadOf: old).publish(in: cniDirs, own)
        }
        try keeper.run(doorbell, until: stop)
    }
}
