package import CNI
import Definitions
import Engine
import IPAM
package import JSONC
import Linux
import Modules
import Network
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
        let delegates = networks.delegates

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
            try refusePresent(delegates, runner)
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
    private func refusePresent(_ delegates: [Delegate], _ runner: ChainRunner) throws(Failure) {
        guard delegates.count > 1 else { return }
        let present = try runner.present(delegates.map(\.spec.id.interface))
        for delegate in delegates where present.contains(delegate.spec.id.interface) {
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
        var index = 0
        for (delegate, chain) in zip(delegates, chains) {
            let start = monotonicMilliseconds()
            var done = Journal()
            do throws(Failure) {
                try attach(delegate, chain, at: index, runner, store, &record, &done)
            } catch {
                // Undone by itself, or with all the others.
                guard delegate.isOptional, runner.undo(&done, after: error).isEmpty else {
                    journal.append(done)
                    throw error
                }
                try report(
                    unpublish(PodRecord(id: id, sandbox: record.sandbox, entries: [record.entries[index]])))
                record.entries.remove(at: index)
                record.missing.append(MissingNetwork(name: delegate.spec.name, error))
                try store.write(record)
                continue
            }
            journal.append(done)
            config.log.verbose(
                "ADD of \(subject): \(record.entries[index].logged), \(monotonicMilliseconds() - start) ms")
            index += 1
        }
        for network in record.missing {
            config.log.error(
                "\(subject): it starts without the optional network \(network.name): \(network.logged)")
        }
        let delegates = delegates.filter { delegate in
            record.entries.contains { $0.spec.id == delegate.spec.id }
        }
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
        _ delegate: Delegate, _ chain: ChainRunner.Chain, at index: Int, _ runner: ChainRunner,
        _ store: borrowing RecordStore, _ record: inout PodRecord, _ journal: inout Journal
    ) throws(Failure) {
        record.entries[index].attached = try named(delegate) { () throws(Failure) in
            prepareDeviceInfo(delegate.spec)
            return try runner.add(chain, &journal) { saved throws(Failure) in
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

    /// Compares what every attachment promised with the kernel.
    package func check() throws(Failure) {
        let start = monotonicMilliseconds()
        do throws(Failure) {
            let record = try checkAll()
            config.log.verbose(
                "CHECK of \(subject): \(record.logged): as attached, \(monotonicMilliseconds() - start) ms")
        } catch {
            config.log.error("CHECK of \(subject): \(error.logged)")
            throw error
        }
    }

    private func checkAll() throws(Failure) -> PodRecord {
        let store = try RecordStore.open(config.cniDir)
        let lock = try store.lock(id)
        defer { extendLifetime(lock) }
        let own = try store.read(id, config.log)
        let multus = own == nil ? try multusRecord(id) : nil
        guard let record = own ?? multus?.record else {
            if !store.has(id) { store.forgetLock(id) }
            throw Failure(
                .containerUnknown, "nothing is known of container \(id.containerID) \(id.interface)",
                details: "no record in \(config.cniDir)/attachments, nor one of Multus")
        }
        if own == nil { store.forgetLock(id) }
        let kernel = try Kernel.open(sandbox: invocation.netns, mayBeOwn: invocation.netnsOverride)
        if let namespace = record.namespace, try !isAt(namespace, kernel) {
            throw Failure(
                .generic, "\(invocation.netns) is not the namespace that was attached",
                details: "another one has its path by now: DEL and ADD the container")
        }
        for entry in record.entries where entry.spec.list.version >= .v0_4_0 {
            let attachment = "\(entry.spec.name) on \(entry.spec.id.interface)"
            do throws(Failure) {
                if let attached = entry.attached, attached.isWhole {
                    try runner(kernel).check(entry.spec, attached)
                } else if own == nil {
                    try checkUnrecorded(entry.spec, runner(kernel))
                } else {
                    throw Failure(.generic, "its ADD was interrupted", details: "DEL the container")
                }
            } catch {
                throw error.prefixed(attachment).ending(with: entry.spec.place)
            }
        }
        if let multus { try checkUnusable(multus, runner(kernel)) }
        return record
    }

    /// Of a network that Multus' record says nothing usable of, the interface's name is known.
    private func checkUnusable(_ multus: MultusRecord, _ runner: ChainRunner) throws(Failure) {
        let unknown = multus.record.entries.isEmpty ? [id.interface] + multus.unusable : multus.unusable
        let present = Set(try runner.sandboxLinks().map(\.name))
        guard let missing = unknown.first(where: { !present.contains($0) }) else { return }
        throw Failure(
            .generic, "interface \(missing) does not exist in \(invocation.netns)",
            details: "somebody removed it")
    }

    /// Multus keeps no result where libcni's cache is gone. The runtime passes that of its own interface; of the others
    /// the link is known.
    private func checkUnrecorded(_ spec: AttachmentSpec, _ runner: ChainRunner) throws(Failure) {
        guard spec.id == id, let previous = config.plugin.previous else { return try runner.checkLink(spec) }
        try runner.check(spec, Attached(result: previous))
    }
}

/// Every plugin that this executable provides.
package let builtins = Registry(
    module: module(ofType:), source: addressSource(ofType:), noters: modulesWithNotes,
    keepers: addressSourcesWithStores, traits: traits(ofType:))
