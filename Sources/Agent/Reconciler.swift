import CNI
import Definitions
import Linux
import Logging
import Meta
import Plans
import Records
import ServiceLifecycle

/// Deletes what the runtime never deleted, and mends what the host has lost, by the CNI executable.
actor Reconciler: Service {
    private let cniDirs: [String]
    private let cache: DefinitionCache
    private let command: NodeCommand
    private let repairs: Bool
    private let isWhole: @Sendable () async -> Bool
    private let metrics: Metrics
    private let log: Logger
    /// Since when a record has no pod and no namespace, in milliseconds of the monotonic clock.
    private var dead: [AttachmentID: Int64] = [:]

    private static let round: Duration = .seconds(60)
    /// Milliseconds that a runtime has to delete it by itself.
    private static let patience: Int64 = 120_000

    /// - Parameter isWhole: whether the cache has all of this node's pods.
    init(
        _ cniDirs: [String], cacheDir: String, _ command: NodeCommand, repairs: Bool, _ metrics: Metrics,
        _ log: Logger, isWhole: @escaping @Sendable () async -> Bool
    ) {
        self.cniDirs = cniDirs
        cache = DefinitionCache(path: cacheDir)
        self.command = command
        self.repairs = repairs
        self.metrics = metrics
        self.log = log
        self.isWhole = isWhole
    }

    func run() async throws {
        try await untilShutdown {
            while !Task.isCancelled {
                await self.collect()
                if self.repairs { await self.repair() }
                try? await Task.sleep(for: Self.round)
            }
        }
    }

    private func repair() async {
        do throws(NodeCommand.Refusal) { try await command.run(["repair"]) } catch {
            log.error("repair: \(error.text)")
        }
    }

    private func collect() async {
        // Without all pods nobody knows whose record it is.
        guard await isWhole() else { return }
        var found: [AttachmentID: PodRecord] = [:]
        for directory in cniDirs {
            do throws(Failure) {
                guard let store = try RecordStore.openIfThere(directory) else { continue }
                for id in try store.all() {
                    if let record = try store.read(id, .none), isDead(record) { found[id] = record }
                }
            } catch {
                log.error("records cannot be read: \(error.logged)")
            }
        }
        dead = dead.filter { found[$0.key] != nil }
        let now = monotonicMilliseconds()
        for (id, record) in found {
            let since = dead[id, default: now]
            dead[id] = since
            if now - since >= Self.patience { await delete(record) }
        }
    }

    /// Neither its namespace nor its pod is there.
    private func isDead(_ record: PodRecord) -> Bool {
        guard let pod = record.pod, !fileExists(record.sandbox) else { return false }
        guard let object = (try? cache.object(.init(.pod, pod.namespace, pod.name))) ?? nil else {
            return true
        }
        return !pod.uid.isEmpty && object.uid != pod.uid && !object.isStatic
    }

    private func delete(_ record: PodRecord) async {
        let spec = record.entries.first?.spec
        let about: Logger.Metadata = [
            "pod": "\(record.pod?.description ?? "")", "container": "\(record.id.containerID)",
        ]
        do throws(NodeCommand.Refusal) {
            try await command.delete(
                record.id, sandbox: record.sandbox, args: spec?.args ?? "", searchPath: spec?.searchPath ?? []
            )
            log.info("deleted, as its pod and its namespace are gone", metadata: about)
            metrics.count("plexus_reconciled_total", "Containers deleted that the runtime had left.")
            dead[record.id] = nil
        } catch {
            log.error("it cannot be deleted: \(error.text)", metadata: about)
        }
    }
}
