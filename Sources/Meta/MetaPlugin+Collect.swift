package import CNI
import Definitions
import Engine
import Hashing
import JSONC
import Linux
import Networking
import Plans
import Records

// MARK: GC and STATUS

extension MetaPlugin {
    /// DEL of every container that the runtime no longer names, then GC of each known network. Attachments of another
    /// configuration are not this runtime's to name: they count as alive.
    package func collect() throws(Failure) {
        guard let valid = config.plugin.validAttachments else { return }
        let start = monotonicMilliseconds()
        let alive = Set(valid.map { AttachmentID(containerID: $0.containerID, interface: $0.ifname) })
        let store = try RecordStore.open(config.cniDir)
        var census = Census(alive: alive)
        var problems: [Failure] = []
        var dead = 0
        for plugin in [self] + elsewhere {
            let store = try RecordStore.open(plugin.config.cniDir)
            problems += try plugin.collectRecords(store, alive, &census, &dead)
        }
        problems += collectMultus(&census, &dead)
        // A living container without a record may be on any network.
        for id in alive.subtracting(census.recorded).subtracting(census.multus) { census.keep(id, nil) }
        let leases = leaseFolders([])
        do throws(Failure) { try keepUnrecorded(&census, leases) } catch {
            census.isComplete = false
            problems.append(error)
        }
        // Of networks that nothing knows any more.
        let gone = census.unrecorded.subtracting(census.alive.map(\.containerID))
        for place in gone.isEmpty ? [] : leases {
            do throws(Failure) { try place.source.releaseEverything(of: gone, in: place.path) } catch {
                problems.append(error)
            }
        }
        // Who cannot be counted may live.
        if census.isComplete {
            problems += collectNetworks(census, store) + collectRules(census)
            // A record that cannot be read may be of a pod that lives.
            if census.unread.isEmpty {
                for plugin in [self] + elsewhere { problems += plugin.unpublish(allBut: census.published) }
            }
        }
        if store.isNew { try noteUnrecorded(leases, store) }
        config.log.verbose(
            "GC of \(subject): \(alive.count) alive, \(dead) dead: \(problems.isEmpty ? "done" : "incomplete"),"
                + " \(monotonicMilliseconds() - start) ms")
        try report(problems)
    }

    /// Detaches those of one directory's records that are dead, and counts the others.
    private func collectRecords(
        _ store: borrowing RecordStore, _ alive: Set<AttachmentID>, _ census: inout Census, _ dead: inout Int
    ) throws(Failure) -> [Failure] {
        var problems: [Failure] = []
        let all = try store.all()
        let byContainer = Dictionary(grouping: all, by: \.containerID)
        // Dead attachments of which neither the record nor the lock says whose they are.
        var nobodys: [AttachmentID] = []
        for id in all {
            do throws(Failure) {
                let lock = try store.lock(id)
                defer { extendLifetime(lock) }
                let record = try store.read(id, config.log)
                let owner = record?.network ?? lock.text()
                let isOthers = !owner.isEmpty && owner != network
                census.hasOthers = census.hasOthers || isOthers
                if alive.contains(id) || isOthers {
                    census.keep(id, record)
                    if record != nil { census.recorded.append(id) }
                } else if record == nil, owner.isEmpty {
                    nobodys.append(id)
                } else {
                    problems += try named(id, record) { () throws(Failure) in
                        try detachDead(id, record, byContainer[id.containerID] ?? [], &census, store)
                    }
                    dead += 1
                }
            } catch {
                census.isComplete = false
                problems.append(error)
            }
        }
        for id in nobodys {
            guard !census.hasOthers else {
                census.keep(id, nil)
                config.log.error(
                    "GC of \(subject): the record of container \(id.containerID) \(id.interface) says nothing, and"
                        + " other networks have records here: it stays until its DEL")
                continue
            }
            do throws(Failure) {
                let lock = try store.lock(id)
                defer { extendLifetime(lock) }
                problems += try named(id, nil) { () throws(Failure) in
                    try detachDead(id, nil, byContainer[id.containerID] ?? [], &census, store)
                }
                dead += 1
            } catch {
                problems.append(error)
            }
        }
        return problems
    }

    /// With records lost, another configuration's pods are known by their addresses alone: who has one keeps it while the
    /// host has its pair of links, or libcni's cache has it under another network's name, or a namespace has a link of it or
    /// the address. The latter is all that is known of pods that other programs attached to a network that the cache has too.
    private func keepUnrecorded(_ census: inout Census, _ leases: [LeaseFolder]) throws(Failure) {
        let runner = runner(try Kernel.ofHost())
        let known = Set(census.alive.map(\.containerID)).union(census.unrecorded)
        for place in leases {
            let owners = try place.source.owners(in: place.path) { !known.contains($0) }
            let pairs = try runner.havingLivingPairs(owners.map(\.id))
            for (id, address) in owners {
                let results = pairs.contains(id) ? [] : census.results[id.containerID] ?? []
                let isOthers = !results.isEmpty && !results.contains { $0.network == network }
                var lives = pairs.contains(id) || isOthers
                if !lives {
                    let pods = try census.pods()
                    lives = pods.has(id) || pods.has(address)
                }
                if lives { census.keep(id, nil) }
            }
        }
    }

    /// The living attachments, as far as this GC can know.
    private struct Census {
        /// As the runtime names them, and what other configurations attached.
        var alive: Set<AttachmentID>
        /// Which network an attachment of the living is on. The networks themselves are read again when it is their turn:
        /// those of a node may take more memory together than one call should.
        var networks: [(id: AttachmentID, network: String)] = []
        var namespaces: Set<NamespaceIdentity> = []
        /// Those with a record of ours, and with one of Multus'.
        var recorded: [AttachmentID] = []
        /// The pods of those that are kept.
        var published: [Pod] = []
        var multus: [AttachmentID] = []
        var hasOthers = false
        /// Containers that may have interfaces of any name.
        var unread: Set<String> = []
        /// False when a record could not even be looked at.
        var isComplete = true
        /// What libcni noted for the runtime.
        lazy var results = MultusCache.results(below: MultusCache.runtimeDirectory)
        private var found: PodSearch?
        /// Containers that are detached, and had no record.
        var unrecorded: Set<String> = []

        /// Where the pods are of which nothing is written down; looked for once.
        mutating func pods() throws(Failure) -> PodSearch {
            if let found { return found }
            let pods = try PodSearch()
            found = pods
            return pods
        }

        init(alive: Set<AttachmentID>) { self.alive = alive }

        /// - Parameter record: nil when it says nothing: then the names that it may have are kept.
        mutating func keep(_ id: AttachmentID, _ record: PodRecord?) {
            alive.insert(id)
            guard let record else {
                unread.insert(id.containerID)
                return
            }
            networks += record.entries.map { ($0.spec.id, $0.spec.list.name) }
            if let pod = record.pod { published.append(pod) }
            if let namespace = record.namespace { namespaces.insert(namespace) }
            alive.formUnion(record.entries.map(\.spec.id))
        }

        /// Who is on a network, or may be; nil when somebody lives whose interfaces are not known: an executable that is told
        /// of the others alone would free what it has.
        func living(on network: String) -> [AttachmentID]? {
            guard unread.isEmpty else { return nil }
            let elsewhere = networks.lazy.filter { $0.network != network }.map(\.id)
            let here = networks.lazy.filter { $0.network == network }.map(\.id)
            return Array(alive.subtracting(elsewhere).union(here))
        }
    }

    /// Problems with the pod's or the container's name in front: a GC may have many.
    private func named(
        _ id: AttachmentID, _ record: PodRecord?, _ body: () throws(Failure) -> [Failure]
    ) throws(Failure) -> [Failure] {
        let pod = record?.pod.map { "pod \($0.description), " } ?? ""
        let dead = "\(pod)container \(id.containerID) \(id.interface)"
        let problems: [Failure]
        do throws(Failure) { problems = try body().map { $0.prefixed(dead) } } catch {
            throw error.prefixed(dead)
        }
        config.log.verbose(
            "GC of \(subject): \(dead): \(record?.logged ?? "what its names find"):"
                + " \(problems.isEmpty ? "done" : "incomplete")")
        return problems
    }

    /// - Parameters:
    ///   - record: nil for a lost one: then what bears the container's names, addresses and ID goes.
    ///   - others: what else the container may have, for a lost one.
    private func detachDead(
        _ id: AttachmentID, _ record: PodRecord?, _ others: [AttachmentID], _ census: inout Census,
        _ store: borrowing RecordStore
    ) throws(Failure) -> [Failure] {
        var problems: [Failure]
        if let record {
            let (kernel, sandbox) = try open(record, given: "")
            problems = detach(record, sandbox: sandbox, runner(kernel), store)
        } else {
            let kept = try neighbours(of: id, among: others, store)
            let likely = Self.likelyInterfaces(id)
            let kernel = try census.pods().kernel(of: likely)
            let teardown = Teardown(runner(kernel), isGuess: true)
            func isOurs(_ interface: String) -> Bool { Self.mayHave(interface, id, besides: kept) }
            teardown.detachByNotes(id, where: isOurs)
            teardown.detachByMAC(id.containerID, likely.map(\.interface), where: isOurs)
            teardown.detachByHostLink(id.containerID, likely.map(\.interface), where: isOurs)
            teardown.finish()
            problems = teardown.problems
            if kept?.isEmpty == true, problems.isEmpty { census.unrecorded.insert(id.containerID) }
        }
        if problems.isEmpty {
            problems = record.map(unpublish) ?? []
        }
        if problems.isEmpty {
            do throws(Failure) { try store.remove(id) } catch { problems.append(error) }
        }
        return problems
    }

    /// The names that an attachment without a record may have.
    static func likelyInterfaces(_ id: AttachmentID) -> [AttachmentID] {
        [id] + (1...16).map { AttachmentID(containerID: id.containerID, interface: "net\($0)") }
    }

    /// Containers that Multus attached before the node went over: the living keep what they have, the dead are detached.
    private func collectMultus(_ census: inout Census, _ dead: inout Int) -> [Failure] {
        var problems: [Failure] = []
        let living = Dictionary(
            census.alive.map { ($0.containerID, $0.interface) }, uniquingKeysWith: min)
        for cache in multusCaches {
            let results = MultusCache.results(below: cache.directory)
            // Of those with a record of ours, Multus' files are a copy.
            let recorded = Set(census.recorded.map(\.containerID))
            for containerID in Set(cache.containers() + results.keys).subtracting(recorded).sorted() {
                let living = living[containerID]
                let known = census.results[containerID] ?? []
                let isOthers = !known.isEmpty && !known.contains { $0.network == network }
                let interface =
                    living ?? known.first?.interface
                    ?? results[containerID]?.map(\.interface).first { !$0.hasPrefix("net") } ?? "eth0"
                let id = AttachmentID(containerID: containerID, interface: interface)
                do throws(Failure) {
                    guard let found = try multusRecord(id) else { continue }
                    guard living != nil || isOthers else {
                        problems += try named(id, found.record) { () throws(Failure) in
                            try detachDead(found, census)
                        }
                        dead += 1
                        continue
                    }
                    census.keep(id, found.record)
                    census.multus.append(id)
                    if !found.isWhole { census.keep(id, nil) }
                } catch {
                    census.isComplete = false
                    problems.append(error)
                }
            }
        }
        return problems
    }

    private func detachDead(_ found: MultusRecord, _ census: Census) throws(Failure) -> [Failure] {
        var kernel = try Kernel.open(sandbox: found.sandbox, mayBeGone: true, mayBeOwn: true)
        // Multus kept no identity: the pod that is at the path must have one of the links, and be nobody's that lives.
        let namespace = try kernel.sandboxIdentity()
        let isOurs = namespace.map { found in !census.namespaces.contains { $0.isSame(as: found) } } ?? false
        let hasSandbox = isOurs ? try runner(kernel).hasLink(withOneOf: found.macs) : false
        if !hasSandbox { kernel = try Kernel.ofHost() }
        let held = hasSandbox ? [] : try living(found)
        var problems = detach(
            found.record, sandbox: hasSandbox ? found.sandbox : "", runner(kernel), holding: held)
        if !found.isWhole { problems += removeTraces(of: found.record.id, [], runner(kernel), Array(held)) }
        if problems.isEmpty {
            problems = removeDeviceInfo(of: found.record.id.containerID)
            if problems.isEmpty { try found.remove() }
        }
        return problems
    }

    /// Rules of containers that are gone, by what the rules say: with records and definitions lost nothing else knows them.
    private func collectRules(_ census: Census) -> [Failure] {
        do throws(Failure) {
            try Kernel.ofHost().collectRules(
                of: network, sparing: census.alive, census.unread)
            return []
        } catch {
            return [error]
        }
    }

    /// The networks of the configuration, of the living and of the cache, each once.
    private func collectNetworks(_ census: Census, _ store: borrowing RecordStore) -> [Failure] {
        var problems: [Failure] = []
        let valid = Array(census.alive)
        var seen: Set<[UInt8]> = []
        func collect(_ spec: AttachmentSpec) {
            do throws(Failure) {
                let runner = runner(try Kernel.ofHost())
                var spec = spec
                spec.list.plugins = runner.collectable(spec)
                guard !spec.list.disableGC, !spec.list.plugins.isEmpty,
                    seen.insert(Digest.sha256(spec.list.json.bytes())).inserted
                else { return }
                try runner.collect(spec, valid: valid, own: { census.living(on: spec.list.name) })
            } catch {
                problems.append(error.prefixed(spec.name).ending(with: spec.place))
            }
        }
        // A definition that is missing has no leases.
        let builder = try? DelegateBuilder(config, invocation)
        for delegate in (try? builder?.buildDefaults()) ?? [] { collect(delegate.spec) }
        for id in census.recorded {
            for entry in (try? store.read(id, .none))?.entries ?? [] { collect(entry.spec) }
        }
        for id in census.multus {
            for entry in (try? multusRecord(id, isKnown: true))?.record.entries ?? [] { collect(entry.spec) }
        }
        DefinitionCache(path: config.cacheDir).forEachNetwork { name, list, file in
            var spec = AttachmentSpec(
                name: name, id: id, sandbox: "", args: "", list: list,
                searchPath: builder?.searchPath ?? [], external: config.externalPlugins)
            spec.origin = file
            collect(spec)
        }
        return problems
    }

    /// Whether an ADD could work now: code 50 and the reason if not.
    package func status() throws(Failure) {
        let start = monotonicMilliseconds()
        do throws(Failure) { try requireAvailability() } catch {
            config.log.error("STATUS of \(subject): \(error.logged)")
            throw error
        }
        // Runtimes ask every few seconds.
        config.log.debug("STATUS of \(subject): ready, \(monotonicMilliseconds() - start) ms")
    }

    /// A node whose cache nobody fills any more attaches pods to networks that have changed since.
    private func requireFreshCache() throws(Failure) {
        let pods = config.asksForAnnotations ? nil : config.staleness(of: .pod)
        guard let staleness = config.staleness() ?? pods else { return }
        throw Failure(.notAvailable, staleness, details: MetaConfig.refilling)
    }

    private func requireAvailability() throws(Failure) {
        try requireReadiness(.notAvailable)
        try requireFreshCache()
        var problems: [Failure] = []
        do throws(Failure) {
            let kernel = try Kernel.ofHost()
            for delegate in try DelegateBuilder(config, invocation).buildDefaults() {
                do throws(Failure) { try runner(kernel).status(delegate.spec) } catch {
                    problems.append(
                        error.prefixed(delegate.spec.name).ending(with: delegate.spec.place))
                }
            }
            _ = try RecordStore.open(config.cniDir)
        } catch {
            problems.append(error)
        }
        guard var failure = Failure.joined(problems) else { return }
        // The more serious code wins: running containers may have lost their network.
        let isLimited = problems.contains { $0.code == Failure.Code.limited.rawValue }
        failure.code = (isLimited ? Failure.Code.limited : .notAvailable).rawValue
        throw failure
    }
}
