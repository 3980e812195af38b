import AsyncHTTPClient
import CNI
import Definitions
import JSONC
import Kubernetes
import Linux
import Logging
import NIOCore
import ServiceLifecycle

/// Keeps one kind of object in the node's cache like the API server's, for the CNI executable, which reads nothing else.
actor Mirror: Service {
    private let kind: CacheObject.Kind
    private let cacheDir: String
    private let client: APIClient
    private let log: Logger
    private let resource: String
    private var reflector: Reflector
    /// What has come since the first request of a copy; nil when one is whole.
    private var seen: Set<CacheObject.ID>?
    /// When the note about the cache's age was written, in seconds since 1970.
    private var noted: Int64 = 0
    private var isReady = false
    private let metrics: Metrics
    private let changed: @Sendable (CacheObject.ID) async -> Void

    /// Seconds between two notes.
    private static let noteInterval: Int64 = 30

    /// - Parameter node: its pods alone.
    init(
        _ kind: CacheObject.Kind, of node: String, in cacheDir: String, _ client: APIClient,
        _ metrics: Metrics,
        _ log: Logger, changed: @escaping @Sendable (CacheObject.ID) async -> Void
    ) {
        self.kind = kind
        self.cacheDir = cacheDir
        self.client = client
        self.metrics = metrics
        self.changed = changed
        let selection: Reflector.Selection =
            switch kind {
            case .definition: .init(.definitions)
            case .pod: .init(.pods, fields: "spec.nodeName=\(node)", isMetadataOnly: true)
            }
        resource = selection.resource.plural
        var log = log
        log[metadataKey: "resource"] = "\(resource)"
        self.log = log
        let cache = DefinitionCache(path: cacheDir)
        reflector = Reflector(selection, hasCopy: !cache.objects([kind]).isEmpty)
    }

    /// Until the process is to end.
    func run() async throws {
        try await untilShutdown { await self.follow() }
    }

    private func follow() async {
        while !Task.isCancelled {
            let request = reflector.next(seconds: Int.random(in: 300...600))
            if request.isFirst { seen = [] }
            var pause: Int64 = 0
            do throws(Reflector.Problem) {
                if request.isStream { pause = try await watch(request) } else { try await list(request) }
            } catch {
                if Task.isCancelled { return }
                pause = reflector.failed(error)
                metrics.count(
                    "plexus_watch_restarts_total", "Lists and watches that broke off.", ["resource": resource]
                )
                tell(error, pause)
            }
            if pause > 0 { try? await Task.sleep(for: .milliseconds(pause)) }
        }
    }

    private func list(_ request: Reflector.Request) async throws(Reflector.Problem) {
        let bytes = try await client.send(.init(path: request.path, accept: request.accept))
        var objects: [JSON] = []
        let changes = try reflector.page(bytes) { objects.append($0) }
        for object in objects { put(object) }
        for change in changes { take(change) }
    }

    private func watch(_ request: Reflector.Request) async throws(Reflector.Problem) -> Int64 {
        var splitter = LineSplitter()
        let body = try await client.stream(
            .init(path: request.path, accept: request.accept), seconds: request.seconds)
        // The server has accepted where we go on: all is known up to now.
        if reflector.isWhole { note() }
        do {
            for try await piece in body {
                for line in try splitter.take(piece.readableBytesView) { take(try reflector.line(line)) }
            }
        } catch let error as Reflector.Problem {
            throw error
        } catch {
            throw .broken("the stream broke off: \(error)")
        }
        return reflector.ended()
    }

    // MARK: State

    /// Why the cache may lack objects; nil once all have come, also while the API server is away later.
    var problem: String? { isReady ? nil : "not all \(resource) have come yet" }

    func measure() {
        let cache = DefinitionCache(path: cacheDir)
        metrics.set(
            "plexus_cache_objects", "Objects in the node's cache.", ["resource": resource],
            to: Double(cache.objects([kind]).count))
        guard let time = cache.imported(kind) else { return }
        metrics.set(
            "plexus_cache_age_seconds", "How long ago the cache was known to be as the API server's.",
            ["resource": resource], to: Double(secondsSinceEpoch() - time))
    }

    // MARK: The cache

    private func take(_ change: Reflector.Change) {
        switch change {
        case .put(let json): put(json)
        case .removed(let json): remove(json)
        case .bookmark: break
        case .whole: finish()
        }
        if reflector.isWhole { note() }
    }

    func put(_ json: JSON) {
        attempt("an object is left out") { () throws(Failure) in
            guard let object = try read(json) else { return }
            seen?.insert(object.id)
            let outcome = try CacheWriter.open(cacheDir).write(object) { text in
                log.notice("\(object.id.description): \(text)")
            }
            guard outcome == .added || outcome == .updated else { return }
            Task { [changed] in await changed(object.id) }
            log.debug("\(outcome.rawValue)", metadata: ["object": "\(object.id.description)"])
            if let problem = object.problem {
                log.warning(
                    "\(problem): no pod can be attached to it",
                    metadata: ["object": "\(object.id.description)"])
            }
        }
    }

    private func remove(_ json: JSON) {
        attempt("an object stays") { () throws(Failure) in
            guard let object = try read(json) else { return }
            seen?.remove(object.id)
            let cache = DefinitionCache(path: cacheDir)
            // The next one of its name may have come before the end of this one.
            if let stored = try? cache.object(object.id), object.isAnother(than: stored) { return }
            if try CacheWriter.open(cacheDir).remove(object.id) {
                log.debug("removed", metadata: ["object": "\(object.id.description)"])
            }
        }
    }

    /// All that is there has come.
    private func finish() {
        attempt("objects that are gone stay") { () throws(Failure) in
            let kept = seen ?? []
            let removed = try CacheWriter.open(cacheDir).prune([kind], keeping: kept, in: nil)
            seen = nil
            noted = 0
            if !isReady || !removed.isEmpty {
                log.info(
                    "the cache is whole",
                    metadata: ["objects": "\(kept.count)", "removed": "\(removed.count)"])
            }
            isReady = true
        }
    }

    private func note() {
        let now = secondsSinceEpoch()
        guard now - noted >= Self.noteInterval || now < noted else { return }
        attempt("the cache's age is not noted") { () throws(Failure) in
            try CacheWriter.open(cacheDir).noteImport(of: [kind])
            noted = now
        }
    }

    /// nil for one that cannot be used.
    private func read(_ json: JSON) throws(Failure) -> CacheObject? {
        var whole = json.object ?? [:]
        // The elements of a list do not say what they are, and those that are cut down say something else.
        whole["kind"] = .string(kind.rawValue)
        whole["apiVersion"] = kind == .definition ? "k8s.cni.cncf.io/v1" : "v1"
        do throws(JSONError) { return try CacheObject(.object(whole)) } catch {
            log.error("an object cannot be read: \(error)")
            return nil
        }
    }

    private func attempt(_ consequence: String, _ body: () throws(Failure) -> Void) {
        do throws(Failure) { try body() } catch { log.error("\(consequence): \(error.logged)") }
    }

    private func tell(_ problem: Reflector.Problem, _ pause: Int64) {
        guard pause > 0 else { return }
        let seconds = "\((pause + 500) / 1000)"
        if case .status(let status) = problem, status.code == 403 {
            log.error(
                "\(problem.description): the agent's role needs get, list and watch of \(resource)",
                metadata: ["retry_seconds": "\(seconds)"])
        } else if case .status(let status) = problem, status.code == 404 {
            log.error(
                "the cluster has no kind \(resource): kubectl apply -f conf/kubernetes/net-attach-def-crd.yaml",
                metadata: ["retry_seconds": "\(seconds)"])
        } else if case .status(let status) = problem, status.isExpired {
            log.info("\(problem.description): all is read again", metadata: ["retry_seconds": "\(seconds)"])
        } else {
            log.warning("\(problem.description)", metadata: ["retry_seconds": "\(seconds)"])
        }
    }
}
