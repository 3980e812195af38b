package import CNI
import Definitions
import Engine
import IPAM
package import JSONC
import Linux
import Modules
import Networking
package import Plans
import Records

/// The meta-plugin: one call of a runtime, from configuration to result.
package struct MetaPlugin {
    let invocation: Invocation
    let config: MetaConfig
    let id: AttachmentID

    package init(_ invocation: Invocation, _ config: MetaConfig) {
        self.invocation = invocation
        self.config = config
        self.id = AttachmentID(containerID: invocation.containerID, interface: invocation.interface)
    }

    func runner(_ kernel: Kernel) -> ChainRunner {
        ChainRunner(
            kernel, registry: builtins, rules: .meta, log: config.log, owner: network, state: config.cniDir)
    }

    /// See `MetaConfig.elsewhere`.
    var elsewhere: [MetaPlugin] { config.elsewhere.map { MetaPlugin(invocation, $0) } }

    /// For a container's DEL and CHECK: where its record is, or else itself.
    func atRecord() -> MetaPlugin {
        if RecordStore.has(id, below: config.cniDir) { return self }
        return elsewhere.first { RecordStore.has(id, below: $0.config.cniDir) } ?? self
    }

    /// The configuration that the runtime called. Several of them may share a node, its networks and our cniDir: each
    /// cleans up after itself alone.
    var network: String { config.plugin.name }

    /// Attaches the pod to all its networks, or to none.
    ///
    /// - Parameter version: of the printed result; when it cannot express the result, the ADD fails and is undone.
    /// - Parameter respond: takes the default network's result while the attachment is still locked.
    package func add(
        writtenAs version: Version, _ respond: (JSON) throws(Failure) -> Void
    ) throws(Failure) {
        do throws(Failure) { try attachAll(version, respond) } catch {
            let error = namingHolder(error)
            config.log.error("ADD of \(subject): \(error.logged)")
            throw error
        }
    }

    private func attachAll(
        _ version: Version, _ respond: (JSON) throws(Failure) -> Void
    ) throws(Failure) {
        try requireReadiness(.tryAgain)
        if !config.passedOver.isEmpty {
            config.log.error(
                "ADD of \(subject): keys of the configuration \(config.plugin.name) are passed over:"
                    + " \(config.passedOver.joined(separator: ", "))")
        }
        var networks = try DelegateBuilder(config, invocation).build()
        try DefaultRoute.validate(networks.delegates)
        let kernel = try Kernel.open(sandbox: invocation.netns, mayBeOwn: invocation.netnsOverride)
        let namespace = try kernel.sandboxIdentity()
        let runner = runner(kernel)
        var chains: [ChainRunner.Chain] = []
        try networks.filter { delegate throws(Failure) in
            chains.append(try named(delegate) { () throws(Failure) in try runner.prepare(delegate.spec) })
        }
        var delegates = networks.delegates

        let store = try RecordStore.open(config.cniDir)
        if store.isNew { try noteUnrecorded(leaseFolders(delegates), store) }
        var isOld = false
        let lock = try store.lock(id, for: network, &isOld)
        defer { extendLifetime(lock) }
        do throws(Failure) {
            switch try store.find(id, config.log) {
            case .record(let existing): try clearAway(existing)
            case .unusable: try clearAwayUnrecorded(delegates, runner, store)
            case .nothing where isOld || store.isUnrecorded(id):
                try clearAwayUnrecorded(delegates, runner, store)
            case .nothing: break
            }
            try refusePresent(&networks, runner)
            chains.removeAll { chain in !networks.delegates.contains { $0.spec.id == chain.id } }
            delegates = networks.delegates
        } catch {
            if !isOld, !store.has(id) { store.forgetLock(id) }
            throw error
        }
        var record = PodRecord(
            id: id, network: network, sandbox: invocation.netns, namespace: namespace,
            entries: delegates.map { PodRecord.Entry(spec: $0.spec) })
        record.missing = networks.missing
        var journal = Journal()
        do throws(Failure) {
            try record.requireRoom()
            try store.write(record)
            keepForMultus(record)
            try attach(delegates, chains, runner, store, &record, &journal)
            if record.pod != nil { record.status = NetworkStatus.text(of: record) }
            try store.write(record.entries.indices, of: record)
            publish(record)
            warnOfCollisions(record, store)
            guard let result = record.entries.first?.attached?.result else {
                throw Failure(.badConfig, "there is no network to attach to")
            }
            try respond(try result.json(version))
        } catch {
            throw rolledBack(error, runner, &record, &journal, store)
        }
    }

    /// Detaches what is left from before a reboot of the node: the runtime never deleted it.
    private func clearAway(_ record: PodRecord) throws(Failure) {
        let (kernel, sandbox) = try open(record, given: "")
        let runner = runner(kernel)
        guard try !hasLinks(record, runner) else { throw attachedAlready }
        config.log.verbose("ADD of \(subject): clearing away a dead namespace's remains")
        try report(detach(record, sandbox: sandbox, runner) + unpublish(record))
    }

    private func hasLinks(_ record: PodRecord, _ runner: ChainRunner) throws(Failure) -> Bool {
        let present = try runner.sandboxLinks()
        return record.entries.contains { entry in
            present.contains { $0.name == entry.spec.id.interface || $0.index == entry.attached?.index }
        }
    }

    private var attachedAlready: Failure {
        Failure(
            .generic, "interface \(id.interface) of container \(id.containerID) is attached already",
            details: "nothing was changed; DEL the container first")
    }

    /// A container whose record was lost may still have addresses: they are released first, or its DEL would release
    /// only the new ones.
    private func clearAwayUnrecorded(
        _ delegates: [Delegate], _ runner: ChainRunner, _ store: borrowing RecordStore
    ) throws(Failure) {
        let present = Set(try runner.sandboxLinks().map(\.name))
        guard delegates.allSatisfy({ !present.contains($0.spec.id.interface) }) else { throw attachedAlready }
        config.log.verbose("ADD of \(subject): clearing away what has no record")
        try report(detachUnrecorded(runner, try neighbours(of: id, store)))
        store.forget(unrecorded: id)
    }

    /// Records may have been lost with their directory: the containers that have addresses are noted, and their next
    /// ADD releases those first.
    func noteUnrecorded(
        _ leases: [LeaseFolder], _ store: borrowing RecordStore
    ) throws(Failure) {
        var owners: [AttachmentID] = []
        for place in leases { owners += try place.source.owners(in: place.path) { _ in true }.map(\.id) }
        try store.note(unrecorded: owners)
    }

    /// Checked before the first network is attached: an interface name that exists in the pod would stop a later one.
    private func refusePresent(_ networks: inout Networks, _ runner: ChainRunner) throws(Failure) {
        guard networks.delegates.count > 1 else { return }
        let present = try runner.present(networks.delegates.map(\.spec.id.interface))
        if present.isEmpty { return }
        try networks.filter { delegate throws(Failure) in
            guard present.contains(delegate.spec.id.interface) else { return }
            try named(delegate) { () throws(Failure) in
                var failure = Failure(
                    .generic, "interface \"\(delegate.spec.id.interface)\" already exists",
                    details: "a link of this name is in \(invocation.netns); nothing was changed")
                failure.key = "interface"
                throw failure
            }
        }
    }

    private func attach(
        _ delegates: [Delegate], _ chains: [ChainRunner.Chain], _ runner: ChainRunner,
        _ store: borrowing RecordStore, _ record: inout PodRecord, _ journal: inout Journal
    ) throws(Failure) {
        /// What each of the attached has done.
        var done: [(delegate: Delegate, journal: Journal)] = []
        func giveUp() { for item in done { journal.append(item.journal) } }
        var chains = chains
        // By their turns the others wait with the first one.
        let firstToWait = chains.firstIndex(where: \.asks)
        for (turn, delegate) in delegates.enumerated() {
            let start = monotonicMilliseconds()
            let index = done.count
            var own = Journal()
            do throws(Failure) {
                if turn == firstToWait { chains = runner.startAhead(chains) }
                try attach(
                    delegate, chains[turn], besides: chains[(turn + 1)...], at: index, runner, store, &record,
                    &own)
            } catch {
                // Undone by itself, or with all the others.
                guard delegate.isOptional, runner.undo(&own, after: error).isEmpty else {
                    giveUp()
                    journal.append(own)
                    runner.abandon(chains[(turn + 1)...], &journal)
                    throw error
                }
                do throws(Failure) { try leaveOut(index, error, store, &record) } catch {
                    giveUp()
                    runner.abandon(chains[(turn + 1)...], &journal)
                    throw error
                }
                continue
            }
            done.append((delegate, own))
            config.log.verbose(
                "ADD of \(subject): \(record.entries[index].logged), \(monotonicMilliseconds() - start) ms")
        }
        var routes = Journal()
        while done.contains(where: { $0.delegate.defaultRoute != nil }) {
            do throws(Failure) {
                try moveDefaultRoute(done.map(\.delegate), runner, &record, &routes)
                break
            } catch {
                // One that the pod may start without must not keep it from starting.
                guard
                    let index = done.lastIndex(where: {
                        $0.delegate.isOptional && $0.delegate.defaultRoute != nil
                    }), runner.undo(&routes, after: error).isEmpty,
                    runner.undo(&done[index].journal, after: error).isEmpty
                else {
                    giveUp()
                    journal.append(routes)
                    throw error
                }
                done.remove(at: index)
                do throws(Failure) { try leaveOut(index, error, store, &record) } catch {
                    giveUp()
                    throw error
                }
            }
        }
        giveUp()
        journal.append(routes)
        for network in record.missing {
            config.log.error(
                "\(subject): it starts without the optional network \(network.name): \(network.logged)")
        }
    }

    /// Goes on without an optional network, which is undone.
    private func leaveOut(
        _ index: Int, _ error: Failure, _ store: borrowing RecordStore, _ record: inout PodRecord
    ) throws(Failure) {
        let entry = record.entries[index]
        try report(unpublish(PodRecord(id: id, sandbox: record.sandbox, entries: [entry])))
        record.entries.remove(at: index)
        record.missing.append(MissingNetwork(name: entry.spec.name, error))
        try store.write(record)
    }

    /// To the networks that ask for it.
    func moveDefaultRoute(
        _ delegates: [Delegate], _ runner: ChainRunner, _ record: inout PodRecord, _ journal: inout Journal
    ) throws(Failure) {
        guard let asking = delegates.first(where: { $0.defaultRoute != nil }) else { return }
        let routes = try runner.observe(FactsQuery(routes: true)).routes
        let steps = try DefaultRoute.plan(delegates, routes)
        try named(asking) { () throws(Failure) in
            do throws(Failure) { try runner.run(steps, &journal) } catch {
                var error = error.prefixed("default-route")
                error.key = "default-route"
                throw error
            }
        }
        let own = Set(record.entries.flatMap { $0.attached?.result.ips ?? [] }.map(\.address.address))
        for gateway in delegates.flatMap({ $0.defaultRoute ?? [] }) where own.contains(gateway) {
            config.log.error(
                "\(subject): default-route asks for \(gateway), which is the pod's own address: nothing is reached through"
                    + " it; name a router of that network")
        }
        for index in record.entries.indices {
            let entry = record.entries[index]
            if let attached = entry.attached {
                record.entries[index].attached?.result = DefaultRoute.adjust(
                    attached.result, of: entry.spec.id.interface, steps)
            }
        }
    }

    func attach(
        _ delegate: Delegate, _ chain: ChainRunner.Chain, besides rest: ArraySlice<ChainRunner.Chain> = [],
        at index: Int, _ runner: ChainRunner,
        _ store: borrowing RecordStore, _ record: inout PodRecord, _ journal: inout Journal
    ) throws(Failure) {
        record.entries[index].attached = try named(delegate) { () throws(Failure) in
            prepareDeviceInfo(delegate.spec)
            return try runner.add(chain, besides: rest, &journal) { saved throws(Failure) in
                // Written at once, so that a crash does not lose them.
                let earlier = record.entries[index].attached?.saved ?? [:]
                record.entries[index].attached = Attached(saved: earlier.merging(saved) { old, _ in old })
                try store.write(index..<index + 1, of: record)
            }
        }
        record.entries[index].attached?.deviceInfo = deviceInfo(delegate.spec)
    }

    /// Undoes everything; the record stays only while something is left for DEL.
    private func rolledBack(
        _ error: Failure, _ runner: ChainRunner, _ record: inout PodRecord, _ journal: inout Journal,
        _ store: borrowing RecordStore
    ) -> Failure {
        let saved = journal.saved()
        var problems = unpublish(record).map(\.message)
        // What still stands there DEL finds by its text.
        if problems.isEmpty { record.status = nil }
        problems += runner.undo(&journal, after: error)
        if problems.isEmpty {
            do throws(Failure) { try store.remove(id) } catch { problems.append(error.message) }
        }
        var error = error
        if !problems.isEmpty {
            let refusal = error.plugin.map { Attached.Refusal(type: $0, time: secondsSinceEpoch()) }
            problems += keep(saved, refusal, in: &record, store)
            error.details += (error.details.isEmpty ? "" : "; ") + problems.joined(separator: "; ")
        }
        return error
    }

    /// Tells DEL what the undo could not put back, and which plugin refused.
    private func keep(
        _ saved: [String: String], _ refusal: Attached.Refusal?, in record: inout PodRecord,
        _ store: borrowing RecordStore
    ) -> [String] {
        guard refusal != nil || !saved.isEmpty,
            let open = record.entries.firstIndex(where: { $0.attached?.isWhole != true })
        else { return [] }
        var attached = Attached(saved: saved)
        attached.refusal = refusal
        record.entries[open].attached = attached
        do throws(Failure) { try store.write(open..<open + 1, of: record) } catch { return [error.message] }
        return []
    }

    func named<R>(
        _ delegate: Delegate, _ body: () throws(Failure) -> R
    ) throws(Failure) -> R {
        do throws(Failure) { return try body() } catch {
            throw delegate.blamed(for: error)
        }
    }

    /// Who a line of the log is about.
    var subject: String {
        id.containerID.isEmpty ? "network \(config.plugin.name)" : invocation.subject
    }

    func requireReadiness(_ code: Failure.Code) throws(Failure) {
        guard let file = config.readinessFile, !fileExists(file) else { return }
        throw Failure(
            code, "the default network is not ready: there is no readinessindicatorfile \(file)",
            details: "it appears when the default network's agent has started")
    }

    /// Whether the kernel's sandbox is that namespace.
    func isAt(_ namespace: NamespaceIdentity, _ kernel: Kernel) throws(Failure) -> Bool {
        try kernel.sandboxIdentity()?.isSame(as: namespace) ?? false
    }
}

/// Every plugin that this executable provides.
package let builtins = Registry(
    module: module(ofType:), source: addressSource(ofType:), noters: modulesWithNotes,
    keepers: addressSourcesWithStores, traits: traits(ofType:))
