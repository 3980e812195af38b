import CNI
import Definitions
import JSONC
import Kubernetes
import Linux
import Logging
import NIOHTTP1
import Records
import ServiceLifecycle

/// Carries the annotation `network-status` of this node's pods to the API server. The files in `status` are what waits to be
/// carried, also while the API server, or the agent, is away.
actor Publisher: Service {
    private let cniDirs: [String]
    private let cache: DefinitionCache
    private let pods: Mirror
    private let client: APIClient
    private let metrics: Metrics
    private let log: Logger
    private var jobs: [Key: Job] = [:]
    /// A role that may update pods' status and not patch it.
    private var mayPatch = true

    /// A file.
    private struct Key: Hashable {
        let cniDir: String
        let name: String
    }

    private struct Job {
        var text: String
        /// What the API server has of it; nil when nobody knows.
        var published: String?
        /// The pod is gone, or another one has its name.
        var isOver = false
        var failures = 0
        var isRunning = false
        /// Of the monotonic clock, in milliseconds: not before.
        var time: Int64 = 0

        var isOpen: Bool { !isOver && published != text }
    }

    private static let mostAtOnce = 4
    /// Milliseconds.
    private static let longestPause: Int64 = 30_000
    private static let glance: Int64 = 10
    private static let patience: Int64 = 10_000

    /// - Parameter pods: of this node.
    init(
        _ cniDirs: [String], cacheDir: String, pods: Mirror, _ client: APIClient, _ metrics: Metrics,
        _ log: Logger
    ) {
        self.pods = pods
        self.cniDirs = cniDirs
        cache = DefinitionCache(path: cacheDir)
        self.client = client
        self.metrics = metrics
        self.log = log
    }

    func run() async throws {
        try await untilShutdown {
            // What pods have already is not published again after a restart: the cache knows once it is whole.
            let deadline = monotonicMilliseconds() + Self.patience
            while await self.pods.problem != nil, monotonicMilliseconds() < deadline {
                try await Task.sleep(for: .milliseconds(Self.glance))
            }
            try await withThrowingDiscardingTaskGroup { group in
                for directory in self.cniDirs {
                    group.addTask {
                        try await FolderWatch(path: "\(directory)/status").follow {
                            await self.look(directory)
                        }
                    }
                }
            }
        }
    }

    func measure() {
        metrics.set(
            "plexus_status_queue", "Pods whose network-status is to be published.",
            to: Double(jobs.values.count { $0.isOpen }))
    }

    // MARK: What is to be done

    private func look(_ cniDir: String) {
        let files: [String: String]
        do throws(SystemError) { files = try StatusFiles(cniDir: cniDir).all() } catch {
            log.error("pods' network-status cannot be read: \(error)")
            return
        }
        for key in jobs.keys where key.cniDir == cniDir && files[key.name] == nil { jobs[key] = nil }
        for (name, text) in files {
            let key = Key(cniDir: cniDir, name: name)
            if jobs[key]?.text == text { continue }
            var job = jobs[key] ?? Job(text: text)
            job.text = text
            // The same file for a pod that was made anew under its UID: a static one.
            job.isOver = false
            job.failures = 0
            job.time = 0
            jobs[key] = job
        }
        start()
    }

    private func start() {
        let now = monotonicMilliseconds()
        var running = jobs.values.count { $0.isRunning }
        for (key, job) in jobs
        where job.isOpen && !job.isRunning && job.time <= now && running < Self.mostAtOnce {
            jobs[key]?.isRunning = true
            running += 1
            Task { await self.work(key) }
        }
    }

    private func work(_ key: Key) async {
        guard var job = jobs[key] else { return }
        if job.published == nil {
            job.published = cached(pod(key))
            jobs[key]?.published = job.published
        }
        guard job.isOpen else {
            jobs[key]?.isRunning = false
            return start()
        }
        var pause: Int64 = 0
        do throws(Reflector.Problem) {
            let isThere = try await publish(job.text, of: pod(key))
            jobs[key]?.published = job.text
            jobs[key]?.isOver = !isThere
            jobs[key]?.failures = 0
        } catch {
            let failures = job.failures + 1
            jobs[key]?.failures = failures
            pause = min(500 << min(failures, 7), Self.longestPause)
            pause += Int64.random(in: 0...pause / 4)
            jobs[key]?.time = monotonicMilliseconds() + pause
            log.warning(
                "network-status is not published: \(error.description)",
                metadata: ["file": "\(key.name)", "retry_seconds": "\((pause + 500) / 1000)"])
        }
        jobs[key]?.isRunning = false
        if pause > 0 {
            Task {
                try? await Task.sleep(for: .milliseconds(pause))
                self.start()
            }
        }
        start()
    }

    // MARK: The API server

    /// - Returns: false when there is no such pod.
    private func publish(_ text: String, of pod: Pod?) async throws(Reflector.Problem) -> Bool {
        guard let pod else { return false }
        let patch = PodStatusPatch(namespace: pod.namespace, name: pod.name, uid: pod.uid, text: text)
        do throws(Reflector.Problem) {
            if mayPatch {
                do throws(Reflector.Problem) {
                    _ = try await client.send(
                        .init(
                            method: .PATCH, path: patch.path, accept: PodStatusPatch.accept,
                            body: (PodStatusPatch.type, patch.body)))
                    return true
                } catch {
                    guard case .status(let status) = error, status.code == 403 else { throw error }
                    log.notice("the agent's role may not patch pods/status: it is updated instead")
                    mayPatch = false
                }
            }
            return try await update(patch)
        } catch {
            guard case .status(let status) = error, status.code == 404 || status.isOfAnotherObject else {
                throw error
            }
            return false
        }
    }

    private func update(_ patch: PodStatusPatch) async throws(Reflector.Problem) -> Bool {
        let found = try await client.send(.init(path: Resource.pods.path(patch.namespace, patch.name)))
        let json: JSON
        do throws(JSONError) { json = try JSON.parse(found).value } catch {
            throw .broken("the pod cannot be read: \(error)")
        }
        guard let body = patch.applied(to: json) else { return false }
        _ = try await client.send(.init(method: .PUT, path: patch.path, body: ("application/json", body)))
        return true
    }

    // MARK: Pods

    /// With the UID that the API server knows: a static pod's is its mirror's.
    private func pod(_ key: Key) -> Pod? {
        guard var pod = StatusFiles.pod(ofName: key.name) ?? recorded(key) else { return nil }
        if let object = object(pod), object.isStatic { pod.uid = object.uid }
        return pod
    }

    /// Of a file whose name was cut.
    private func recorded(_ key: Key) -> Pod? {
        guard let store = try? RecordStore.open(key.cniDir), let ids = try? store.all() else { return nil }
        for id in ids {
            if let pod = (try? store.read(id, .none))?.pod, StatusFiles.name(of: pod) == key.name {
                return pod
            }
        }
        return nil
    }

    private func object(_ pod: Pod) -> CacheObject? {
        (try? cache.object(.init(.pod, pod.namespace, pod.name))) ?? nil
    }

    /// What the pod has, by the cache.
    private func cached(_ pod: Pod?) -> String? {
        guard let pod, let object = object(pod), object.uid == pod.uid else { return nil }
        return object.json["metadata"]?["annotations"]?[PodStatusPatch.annotation]?.string
    }

    // MARK: ADDs that wait

    /// Waits until what a pod's file says is published.
    ///
    /// - Returns: why it is not.
    func published(_ name: String, in cniDir: String, until deadline: Int64) async -> String? {
        look(cniDir)
        let key = Key(cniDir: cniDir, name: name)
        while jobs[key]?.isOpen == true {
            guard monotonicMilliseconds() < deadline else { return "the API server has not taken it in time" }
            do { try await Task.sleep(for: .milliseconds(Self.glance)) } catch { return "the agent ends" }
        }
        return jobs[key]?.isOver == true ? "the API server knows no such pod" : nil
    }
}
