import ServiceLifecycle

/// Runs a service until the agent ends, which cancels it: that is no failure.
func untilShutdown(_ body: @escaping @Sendable () async throws -> Void) async throws {
    do { try await cancelWhenGracefulShutdown { try await body() } } catch is CancellationError {}
}
