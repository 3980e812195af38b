package import CNI
import Definitions
import Engine
package import JSONC
import Linux
import Networking
import Plans
package import Records

/// Changes the networks of a pod that runs: the same record, rollback and status as an ADD's.
package struct RunningPod {
    let plugin: MetaPlugin
    private let id: AttachmentID
    /// `namespace/name`, or the ID of a container that belongs to no pod.
    let name: String

    /// - Parameters:
    ///   - configuration: the runtime's file, which attached the pod.
    ///   - pod: as CNI_ARGS name it.
    package init(configuration: [UInt8], pod: Pod) throws(Failure) {
        let config = try Self.config(configuration)
        let configs = [config] + config.elsewhere
        let directories = configs.map(\.cniDir)
        var found: [(record: PodRecord, config: MetaConfig)] = []
        for config in configs where fileExists("\(config.cniDir)/attachments") {
            found += try RecordStore.records(named: pod, below: config.cniDir).filter {
                Self.isRunning($0, config)
            }.map { ($0, config) }
        }
        guard let first = found.first else {
            if let failure = try multusHas(pod, directories) { throw failure }
            let places = directories.map { "\($0)/attachments" }.joined(separator: " or ")
            throw Failure(
                .containerUnknown, "no pod \(pod.description) runs here",
                details: "no record in \(places) is its, or its namespace is gone")
        }
        guard found.count == 1 else {
            throw Failure(
                .generic, "\(found.count) sandboxes of pod \(pod.description) run here",
                details: "wait until the runtime has deleted the old one")
        }
        try self.init(first.record, first.config)
    }

    /// All that this configuration attached and that still run; empty without records.
    package static func all(configuration: [UInt8]) throws(Failure) -> [RunningPod] {
        let config = try config(configuration)
        var pods: [RunningPod] = []
        for config in [config] + config.elsewhere {
            guard let store = try RecordStore.openIfThere(config.cniDir) else { continue }
            for id in try store.all() {
                guard let record = try store.read(id, config.log), isRunning(record, config) else { continue }
                pods.append(try RunningPod(record, config))
            }
        }
        return pods
    }

    /// The names of pods that Multus attached here.
    static func ofMultus(configuration: [UInt8]) throws(Failure) -> [String] {
        try podsOfMultus([config(configuration).cniDir]).map(\.pod.description)
    }

    private static func config(_ configuration: [UInt8]) throws(Failure) -> MetaConfig {
        let decoded = try Explanation.decode(configuration)
        return try MetaConfig(decoded, role: Role.metaName(decoded.type) ?? "plexus")
    }

    private static func isRunning(_ record: PodRecord, _ config: MetaConfig) -> Bool {
        fileExists(record.sandbox) && !record.entries.isEmpty
            && (record.network.isEmpty || record.network == config.plugin.name)
    }

    private init(_ record: PodRecord, _ config: MetaConfig) throws(Failure) {
        id = record.id
        name = record.pod?.description ?? record.id.containerID
        let spec = record.entries.first?.spec
        let environment = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": id.containerID, "CNI_IFNAME": id.interface,
            "CNI_NETNS": record.sandbox, "CNI_ARGS": spec?.args ?? "",
            "CNI_PATH": spec?.searchPath.joined(separator: ":") ?? "",
        ]
        guard let invocation = try Invocation.read({ environment[$0] }) else {
            throw Failure(.badEnvironment, "CNI_COMMAND is missing")
        }
        plugin = MetaPlugin(invocation, config)
    }

    func changing<R>(
        _ body: (borrowing RecordStore, inout PodRecord, ChainRunner) throws(Failure) -> R
    ) throws(Failure) -> R {
        let store = try RecordStore.open(plugin.config.cniDir)
        let lock = try store.lock(id)
        defer { extendLifetime(lock) }
        guard var record = try store.read(id, plugin.config.log) else {
            store.forgetLock(id)
            throw Failure(.containerUnknown, "the pod went meanwhile")
        }
        let kernel = try Kernel.open(sandbox: record.sandbox)
        if let namespace = record.namespace, try !plugin.isAt(namespace, kernel) {
            throw Failure(
                .generic, "\(record.sandbox) is not the namespace that was attached",
                details: "another pod has its path by now")
        }
        return try body(store, &record, plugin.runner(kernel))
    }

    /// Attaches one network more.
    ///
    /// - Parameters:
    ///   - text: in the grammar of the pod's annotation.
    ///   - isAsked: by that annotation.
    /// - Returns: what the record has of it, and the result in the network's version.
    package func attach(
        _ text: String, isAsked: Bool = false
    ) throws(Failure) -> (entry: PodRecord.Entry, result: JSON) {
        try changing { store, record, runner throws(Failure) in
            guard record.entries.first?.attached?.isWhole == true else {
                throw Failure(
                    .generic, "the ADD of \(name) was interrupted: nothing can be attached to it",
                    details: "DEL the container, or delete the pod: its next sandbox is attached anew")
            }
            let delegate = try DelegateBuilder(plugin.config, plugin.invocation).build(
                text, besides: record.entries.map(\.spec), isAsked: isAsked)
            let chain = try plugin.named(delegate) { () throws(Failure) in try runner.prepare(delegate.spec) }
            guard try runner.present([delegate.spec.id.interface]).isEmpty else {
                throw Failure(
                    .generic,
                    "interface \"\(delegate.spec.id.interface)\" already exists in \(record.sandbox)",
                    details: "name another one: NETWORK@INTERFACE")
            }
            try refuseRival(of: delegate, runner)
            let stop = try HeldSignals()
            defer { extendLifetime(stop) }
            runner.stop = stop.raw
            let before = record
            let index = record.entries.count
            record.entries.append(PodRecord.Entry(spec: delegate.spec))
            var journal = Journal()
            do throws(Failure) {
                try record.requireRoom()
                try store.write(record)
                try plugin.attach(delegate, chain, at: index, runner, store, &record, &journal)
                try plugin.moveDefaultRoute([delegate], runner, &record, &journal)
                if stop.isRaised { throw HeldSignals.ending }
                try plugin.write(&record, store)
                let entry = record.entries[index]
                if let route = entry.attached?.result.routes.first(where: {
                    $0.isDefault && $0.priority == nil
                }) {
                    plugin.config.log.error(
                        "\(entry.spec.id.interface) brings a default route, \(route.words): the pod has two now, and the kernel"
                            + " takes one of them")
                }
                return (entry, try (entry.attached?.result ?? CNIResult()).json(entry.spec.list.version))
            } catch {
                let problems = runner.undo(&journal, after: error)
                // What is left of it the pod's DEL finds.
                var after = problems.isEmpty ? before : record
                try plugin.write(&after, store)
                var error = error
                error.details = ([error.details] + problems).filter { !$0.isEmpty }.joined(separator: "; ")
                throw error
            }
        }
    }

    /// Detaches one of its further networks.
    ///
    /// - Parameter name: of the interface, or of the network.
    /// - Returns: what the record had of it.
    package func detach(_ name: String) throws(Failure) -> PodRecord.Entry {
        try changing { store, record, runner throws(Failure) in
            let found = record.entries.indices.filter { index in
                let spec = record.entries[index].spec
                return spec.id.interface == name || spec.name == name || spec.name == "default/\(name)"
            }
            let known = record.entries.dropFirst().map { "\($0.spec.id.interface) (\($0.spec.name))" }
            guard let index = found.first else {
                throw Failure(
                    .badConfig, "the pod has no network \(name)",
                    details: known.isEmpty
                        ? "it has its default network alone" : "it has \(known.joined(separator: ", "))")
            }
            guard found.count == 1 else {
                throw Failure(
                    .badConfig, "the pod has \(found.count) interfaces on \(name)",
                    details: "name the interface: \(known.joined(separator: ", "))")
            }
            guard index > 0 else {
                throw Failure(
                    .badConfig, "\(name) is the pod's default network, which the runtime deletes",
                    details: "delete the pod")
            }
            // What is half detached would need a second call: signals wait.
            let stop = try HeldSignals()
            defer { extendLifetime(stop) }
            let gone = record.entries[index]
            try refuseLastDefault(gone, record)
            let only = PodRecord(
                id: record.id, network: record.network, sandbox: record.sandbox, namespace: record.namespace,
                entries: [gone])
            let problems = plugin.detach(only, sandbox: record.sandbox, runner)
            try plugin.report(problems)
            record.entries.remove(at: index)
            try plugin.report(plugin.unpublish(only))
            try plugin.write(&record, store)
            return gone
        }
    }
}

/// From then on SIGINT, SIGTERM and SIGHUP end nothing by themselves.
final class HeldSignals {
    private let signal: StopSignal

    init() throws(Failure) {
        do throws(SystemError) { signal = try StopSignal.open() } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    var raw: CInt { signal.raw }
    var isRaised: Bool { signal.isRaised }

    static let ending = Failure(
        .generic, "a signal ended the command", details: "what it had not finished is undone")
}

extension PodRecord {
    /// Why an attachment has no result: whoever made it was killed. nil for one that has.
    func interruption(at index: Int) -> Failure? {
        guard entries[index].attached?.isWhole != true else { return nil }
        // ADD writes the results of all networks at once: with the first one's it came to its end.
        guard index > 0, entries[0].attached?.isWhole == true, let pod else {
            return Failure(.generic, "its ADD was interrupted", details: "DEL the container")
        }
        let words = [pod.description, entries[index].spec.id.interface].map(shellQuoted)
        return Failure(
            .generic, "its attach was interrupted",
            details: "plexus detach \(words.joined(separator: " ")), and attach it again")
    }
}

/// The kernel takes two default routes of one metric, and then one of them.
private func refuseRival(of delegate: Delegate, _ runner: ChainRunner) throws(Failure) {
    guard let metric = delegate.defaultRouteMetric else { return }
    let routes = try runner.observe(FactsQuery(routes: true)).routes
    for gateway in delegate.defaultRoute ?? [] {
        let rival = routes.first {
            $0.route.isDefault && $0.route.family == gateway.family && $0.route.priority == metric
        }
        guard let rival else { continue }
        throw Failure(
            .badConfig,
            "default-route: \(rival.link) has one for IP\(gateway.family) with the metric \(metric) already",
            details: "give it another default-route-metric")
    }
}

/// A network may have taken the default route of another one, which nobody gives back.
private func refuseLastDefault(_ gone: PodRecord.Entry, _ record: PodRecord) throws(Failure) {
    func families(_ entry: PodRecord.Entry) -> [IPAddress.Family] {
        entry.attached?.result.routes.filter(\.isDefault).map(\.family) ?? []
    }
    let others = record.entries.filter { $0.spec.id != gone.spec.id }.flatMap(families)
    guard let family = families(gone).first(where: { !others.contains($0) }) else { return }
    throw Failure(
        .badConfig, "\(gone.spec.id.interface) has the pod's only default route for IP\(family)",
        details:
            "without it nothing leads out of the pod: delete the pod, or attach another network with one first"
    )
}

extension MetaPlugin {
    /// Writes a record whose entries have changed, and what is published of it.
    func write(_ record: inout PodRecord, _ store: borrowing RecordStore) throws(Failure) {
        if record.pod != nil { record.status = NetworkStatus.text(of: record) }
        try store.write(record)
        publish(record)
    }
}
