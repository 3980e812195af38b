import CNI
import Definitions
import JSONC
import Kubernetes
import Linux
import Logging
import Meta
import Plans
import Records
import ServiceLifecycle

/// Attaches pods that run to networks that their annotation asks for since, and detaches them from those that it does not ask
/// for any more. What a pod has is its record; what it asks for is read from the API server before anything is done.
actor HotPlugger: Service {
    private let cniDirs: [String]
    private let client: APIClient
    private let command: NodeCommand
    private let events: Events
    private let log: Logger
    private let cache: DefinitionCache
    private var queue: [Pod.Key: Job] = [:]
    private var running = 0

    private struct Job {
        var failures = 0
        var isRunning = false
        /// Looked at again when it is done.
        var isAgain = false
        /// What the last failure said: the same is not told twice.
        var told: String?
        /// Of the monotonic clock, in milliseconds: not before.
        var time: Int64 = 0
    }

    /// One slow server of addresses must not hold up the other pods.
    private static let mostAtOnce = 4
    /// Milliseconds.
    private static let firstPause: Int64 = 2000
    private static let longestPause: Int64 = 300_000
    private static let round: Duration = .seconds(60)

    init(
        _ cniDirs: [String], cacheDir: String, _ client: APIClient, _ command: NodeCommand, _ events: Events,
        _ log: Logger
    ) {
        self.cniDirs = cniDirs
        cache = DefinitionCache(path: cacheDir)
        self.client = client
        self.command = command
        self.events = events
        self.log = log
    }

    func run() async throws {
        try await untilShutdown {
            while !Task.isCancelled {
                await self.lookAtAll()
                try? await Task.sleep(for: Self.round)
            }
        }
    }

    /// What was missed, as a change while the pod's ADD ran.
    private func lookAtAll() {
        var records: [Pod.Key: [PodRecord]] = [:]
        for directory in cniDirs {
            // Read once for all: a node has hundreds.
            guard let store = try? RecordStore.openIfThere(directory), let ids = try? store.all() else {
                continue
            }
            for id in ids {
                guard let record = (try? store.read(id, .none)) ?? nil, let pod = record.pod else { continue }
                records[pod.key, default: []].append(record)
            }
        }
        for (key, found) in records { look(Pod(namespace: key.namespace, name: key.name), found) }
    }

    /// A pod has changed, or may have.
    func look(_ pod: Pod) { look(pod, records(pod)) }

    private func look(_ pod: Pod, _ records: [PodRecord]) {
        let key = pod.key
        guard queue[key]?.isRunning != true else {
            queue[key]?.isAgain = true
            return
        }
        guard isDifferent(pod, Self.running(records)) else {
            queue[key] = nil
            return
        }
        if queue[key] == nil { queue[key] = Job() }
        start()
    }

    private func start() {
        let now = monotonicMilliseconds()
        for (key, job) in queue where !job.isRunning && job.time <= now && running < Self.mostAtOnce {
            queue[key]?.isRunning = true
            running += 1
            Task { await self.work(key) }
        }
    }

    private func work(_ key: Pod.Key) async {
        let pod = Pod(namespace: key.namespace, name: key.name)
        do throws(NodeCommand.Refusal) {
            try await change(pod)
            queue[key]?.failures = 0
            queue[key]?.told = nil
            queue[key]?.time = 0
        } catch {
            let failures = (queue[key]?.failures ?? 0) + 1
            let pause = min(Self.firstPause << min(failures - 1, 9), Self.longestPause)
            queue[key]?.failures = failures
            queue[key]?.time = monotonicMilliseconds() + pause
            if queue[key]?.told != error.text {
                log.error(
                    "pod \(pod.description): \(error.text)", metadata: ["retry_seconds": "\(pause / 1000)"])
            }
            queue[key]?.told = error.text
            Task {
                try? await Task.sleep(for: .milliseconds(pause))
                self.start()
            }
        }
        running -= 1
        queue[key]?.isRunning = false
        let isAgain = queue[key]?.isAgain == true
        queue[key]?.isAgain = false
        if queue[key]?.failures == 0 { queue[key] = nil }
        if isAgain { look(pod) }
        start()
    }

    // MARK: One pod

    private func records(_ pod: Pod) -> [PodRecord] {
        cniDirs.filter { fileExists("\($0)/attachments") }.flatMap {
            (try? RecordStore.records(named: pod, below: $0)) ?? []
        }
    }

    /// What a pod has; nil unless it runs, attached by its ADD. Two sandboxes: the runtime is about to delete one.
    private static func running(_ records: [PodRecord]) -> PodRecord? {
        guard records.count == 1, let record = records.first, fileExists(record.sandbox),
            record.entries.first?.attached?.isWhole == true
        else { return nil }
        return record
    }

    private func isDifferent(_ pod: Pod, _ record: PodRecord?) -> Bool {
        guard let object = (try? cache.object(.init(.pod, pod.namespace, pod.name))) ?? nil,
            let record, isSame(object, record)
        else { return false }
        // What cannot be parsed is told when it is read from the API server.
        guard let wanted = try? Self.selections(object.json, pod) else { return true }
        return !HotPlug(wanted, in: pod.namespace, record).changes.isEmpty
    }

    private func isSame(_ object: CacheObject, _ record: PodRecord) -> Bool {
        guard let pod = record.pod, !pod.uid.isEmpty, !object.uid.isEmpty else { return false }
        return object.uid == pod.uid || object.isStatic
    }

    private static func text(_ json: JSON) -> String {
        json["metadata"]?["annotations"]?[PodAnnotations.networksKey]?.string ?? ""
    }

    private static func selections(_ json: JSON, _ pod: Pod) throws(Failure) -> [Selection] {
        try Selection.parse(
            text(json), source: "annotation \(PodAnnotations.networksKey) of pod \(pod.description)")
    }

    private func change(_ pod: Pod) async throws(NodeCommand.Refusal) {
        // The cache may be behind the annotation that the ADD had: then it would take networks away.
        let json = try await now(pod)
        guard let json, let object = try? CacheObject(json), let record = Self.running(records(pod)),
            isSame(object, record)
        else {
            return
        }
        let about = PodEvent(
            namespace: pod.namespace, name: pod.name, uid: object.uid, reason: "", message: "")
        let wanted: [Selection]
        do throws(Failure) { wanted = try Self.selections(json, pod) } catch {
            await tell(about, "FailedAddingInterface", error.logged, isWarning: true)
            throw NodeCommand.Refusal(text: error.logged)
        }
        let texts = Selection.texts(Self.text(json))
        let changes = HotPlug(wanted, in: pod.namespace, record).changes
        var added: [String] = []
        for change in changes {
            switch change {
            case .detach(let interface): try await detach(interface, pod, about)
            case .attach(let index):
                do throws(NodeCommand.Refusal) {
                    added.append(try await attach(texts[index], pod, about))
                } catch {
                    // All of an edit, or nothing: the pod keeps what it had.
                    for interface in added.reversed() { try? await detach(interface, pod, about) }
                    throw error
                }
            }
        }
    }

    /// The pod as the API server has it; nil for none.
    private func now(_ pod: Pod) async throws(NodeCommand.Refusal) -> JSON? {
        do throws(Reflector.Problem) {
            let bytes = try await client.send(.init(path: Resource.pods.path(pod.namespace, pod.name)))
            do throws(JSONError) { return try JSON.parse(bytes).value } catch {
                throw .broken("\(error)")
            }
        } catch {
            if case .status(let status) = error, status.code == 404 { return nil }
            throw NodeCommand.Refusal(text: error.description)
        }
    }

    /// - Returns: the interface.
    private func attach(_ text: String, _ pod: Pod, _ about: PodEvent) async throws(NodeCommand.Refusal)
        -> String
    {
        do throws(NodeCommand.Refusal) {
            let said = try await command.run(["attach", pod.description, text, "--asked"])
            // attached INTERFACE on NETWORK with ADDRESSES
            let words = said.split(whereSeparator: \.isNewline).last { $0.hasPrefix("attached ") } ?? ""
            await tell(about, "AddedInterface", "Add \(words.dropFirst("attached ".count))")
            return words.split(separator: " ").dropFirst().first.map(String.init) ?? ""
        } catch {
            await tell(about, "FailedAddingInterface", "\(text): \(error.text)", isWarning: true)
            throw error
        }
    }

    private func detach(_ interface: String, _ pod: Pod, _ about: PodEvent) async throws(NodeCommand.Refusal)
    {
        do throws(NodeCommand.Refusal) {
            try await command.run(["detach", pod.description, interface])
            await tell(about, "RemovedInterface", "Removed \(interface)")
        } catch {
            await tell(about, "FailedRemovingInterface", "\(interface): \(error.text)", isWarning: true)
            throw error
        }
    }

    private func tell(_ about: PodEvent, _ reason: String, _ message: String, isWarning: Bool = false) async {
        var event = about
        event.reason = reason
        event.message = message
        event.isWarning = isWarning
        // The same failure, tried again and again, is one event.
        if isWarning, queue[Pod(namespace: event.namespace, name: event.name).key]?.failures ?? 0 > 0 {
            return
        }
        await events.tell(event)
    }
}

extension Pod {
    struct Key: Hashable, Sendable {
        let namespace: String
        let name: String
    }

    fileprivate var key: Key { Key(namespace: namespace, name: name) }
}
