import Linux
import ServiceLifecycle

/// Waits until the cache is whole, and tells systemd; then it has done its work.
struct Readiness: Service {
    private let mirrors: [Mirror]
    private static let glance: Duration = .milliseconds(50)

    init(_ mirrors: [Mirror]) { self.mirrors = mirrors }

    /// Why the agent is not ready; nil when it is.
    var problem: String? {
        get async {
            for mirror in mirrors { if let problem = await mirror.problem { return problem } }
            return nil
        }
    }

    func run() async throws {
        try await untilShutdown {
            while await self.problem != nil { try await Task.sleep(for: Self.glance) }
            notifyServiceManager("READY=1")
        }
    }
}
