import Definitions
import JSONC
import Kubernetes
import Linux

/// Answers ADDs that miss an object: they wait for the watch, and then the API server is asked, once for all who wait.
actor Needs {
    private let cacheDir: String
    private let client: APIClient
    private let mirrors: [CacheObject.Kind: Mirror]
    /// Requests to the API server that are on the way.
    private var asking: [CacheObject.ID: Task<Found, Never>] = [:]
    private var allowance = Allowance()
    private let metrics: Metrics

    private enum Found: Sendable {
        case taken
        case absent
        case unknown(String)
    }

    /// Milliseconds between two looks at the cache.
    private static let glance: Int64 = 10

    init(cacheDir: String, _ client: APIClient, _ mirrors: [CacheObject.Kind: Mirror], _ metrics: Metrics) {
        self.metrics = metrics
        self.cacheDir = cacheDir
        self.client = client
        self.mirrors = mirrors
    }

    func answer(_ need: Need) async -> AgentAnswer {
        let start = monotonicMilliseconds()
        // The answer must come before its time is up.
        let deadline = start + max(need.milliseconds - 50, 0)
        await wait(for: need.objects, until: start + need.milliseconds / 3)
        var answer = AgentAnswer()
        for object in missing(need.objects) {
            switch await ask(for: object.id) {
            case .absent: answer.absent.append(object.id.description)
            case .taken where isThere(object): break
            case .taken: answer.problem = "the cluster has another pod of this name: \(object.id.description)"
            case .unknown(let problem):
                await wait(for: [object], until: deadline)
                if !isThere(object) { answer.problem = problem }
            }
        }
        let outcome = answer.problem != nil ? "unknown" : answer.absent.isEmpty ? "found" : "absent"
        metrics.count(
            "plexus_needs_total", "ADDs that missed an object in the cache, by what became of it.",
            ["outcome": outcome])
        return answer
    }

    // MARK: The cache

    private func wait(for objects: [Need.Object], until deadline: Int64) async {
        while !missing(objects).isEmpty, monotonicMilliseconds() < deadline {
            do { try await Task.sleep(for: .milliseconds(Self.glance)) } catch { return }
        }
    }

    private func missing(_ objects: [Need.Object]) -> [Need.Object] { objects.filter { !isThere($0) } }

    private func isThere(_ object: Need.Object) -> Bool {
        let cache = DefinitionCache(path: cacheDir)
        guard !object.uid.isEmpty else { return !cache.files(object.id).isEmpty }
        guard let stored = try? cache.object(object.id) else { return false }
        return stored.uid == object.uid || stored.isStatic
    }

    // MARK: The API server

    private func ask(for id: CacheObject.ID) async -> Found {
        if let running = asking[id] { return await running.value }
        guard let mirror = mirrors[id.kind] else {
            return .unknown("the agent keeps no \(id.kind.rawValue)s")
        }
        // Many pods that ask for what does not exist are no reason to burden the API server.
        guard allowance.take(monotonicMilliseconds()) else {
            return .unknown("the agent has asked the API server too often in the last seconds")
        }
        let client = client
        let task = Task { () -> Found in
            let resource: Resource = id.kind == .definition ? .definitions : .pods
            do throws(Reflector.Problem) {
                let bytes = try await client.send(.init(path: resource.path(id.namespace, id.name)))
                do throws(JSONError) { await mirror.put(try JSON.parse(bytes).value) } catch {
                    return .unknown("the API server's answer cannot be read: \(error)")
                }
                return .taken
            } catch {
                if case .status(let status) = error, status.code == 404 { return .absent }
                return .unknown(error.description)
            }
        }
        asking[id] = task
        let found = await task.value
        asking[id] = nil
        return found
    }
}

/// Five requests a second, ten at once.
private struct Allowance {
    private var left = 10.0
    private var time: Int64 = 0

    mutating func take(_ now: Int64) -> Bool {
        left = min(left + Double(now - time) / 200, 10)
        time = now
        guard left >= 1 else { return false }
        left -= 1
        return true
    }
}
