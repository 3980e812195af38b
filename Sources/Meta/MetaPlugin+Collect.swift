package import CNI
import Engine
import IPAM
import JSONC
import Linux
import Plans

// MARK: GC and STATUS

extension MetaPlugin {
    /// DEL of every container that the runtime no longer names, then GC of each known network. Attachments of another
    /// configuration are not this runtime's to name: they count as alive.
    package func collect() throws(Failure) {
        guard let valid = config.plugin.validAttachments else { return }
        let alive = Set(valid.map { AttachmentID(containerID: $0.containerID, interface: $0.ifname) })
        let store = try StateStore.open(config.cniDir)
        var census = Census(alive: alive)
        var problems: [Failure] = []
        // Dead, and nothing says whose.
        var nobodys: [AttachmentID] = []
        for id in try store.all() {
            let lock = try store.lock(id)
            defer { extendLifetime(lock) }
            do throws(Failure) {
                let record = try store.read(id, config.log)
                let owner = record?.network ?? lock.text()
                let isOthers = !owner.isEmpty && owner != network
                census.hasOthers = census.hasOthers || isOthers
                if alive.contains(id) || isOthers {
                    census.keep(id, record)
                } else if record == nil, owner.isEmpty {
                    nobodys.append(id)
                } else {
                    problems += try named(id, record) { () throws(Failure) in
                        try detachDead(id, record, store)
                    }
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
                    "GC: the record of \(id.containerID) \(id.interface) says nothing, and other networks than"
                        + " \(network) have records here: it stays until its DEL")
                continue
            }
            do throws(Failure) {
                let lock = try store.lock(id)
                defer { extendLifetime(lock) }
                problems += try named(id, nil) { () throws(Failure) in try detachDead(id, nil, store) }
            } catch {
                problems.append(error)
            }
        }
        problems += collectMultus(&census)
        // A living container of which nothing is written down may have any network.
        let unrecorded = alive.subtracting(census.recorded)
        for id in unrecorded { census.keep(id, nil) }
        do throws(Failure) { try keepUnrecorded(&census) } catch {
            census.isComplete = false
            problems.append(error)
        }
        // Who cannot be counted may live.
        if census.isComplete { problems += collectNetworks(census) + collectRules(census) }
        if store.isNew { try noteUnrecorded([], store) }
        try report(problems)
    }

    /// With records lost, another configuration's pods are known by their addresses alone: who has one keeps it while the
    /// host has its pair of links, or libcni's cache has it under another network's name.
    private func keepUnrecorded(_ census: inout Census) throws(Failure) {
        let runner = runner(try Kernel.open(sandbox: "", mayBeGone: true))
        let living = Set(census.alive.map(\.containerID))
        for directory in storeDirectories([]) {
            for id in try HostLocal.owners(below: directory) where !living.contains(id.containerID) {
                if try runner.hasLivingPair(id) {
                    census.keep(id, nil)
                    continue
                }
                let results = MultusCache.results(of: id.containerID, below: MultusCache.runtimeDirectory)
                if !results.isEmpty, !results.contains(where: { $0.network == network }) {
                    census.keep(id, nil)
                }
            }
        }
    }

    /// Who lives, as far as this GC can tell.
    private struct Census {
        /// As the runtime names them, and what other configurations attached.
        var alive: Set<AttachmentID>
        /// What the living have.
        var kept: [AttachmentSpec] = []
        var namespaces: Set<NamespaceIdentity> = []
        var recorded: Set<AttachmentID> = []
        var hasOthers = false
        /// Containers that may have interfaces of any name.
        var unread: Set<String> = []
        /// False when a record could not even be looked at.
        var isComplete = true

        init(alive: Set<AttachmentID>) { self.alive = alive }

        /// - Parameter record: nil when it says nothing: then the names that it may have are kept.
        mutating func keep(_ id: AttachmentID, _ record: PodRecord?) {
            alive.insert(id)
            guard let record else {
                alive.formUnion(MetaPlugin.likelyInterfaces(id))
                unread.insert(id.containerID)
                return
            }
            recorded.insert(id)
            kept += record.entries.map(\.spec)
            if let namespace = record.namespace { namespaces.insert(namespace) }
            alive.formUnion(record.entries.map(\.spec.id))
        }
    }

    /// Problems with the pod's or the container's name in front: a GC may have many.
    private func named(
        _ id: AttachmentID, _ record: PodRecord?, _ body: () throws(Failure) -> [Failure]
    ) throws(Failure) -> [Failure] {
        let pod = record?.pod.map { "pod \($0.description), " } ?? ""
        let subject = "\(pod)container \(id.containerID) \(id.interface)"
        do throws(Failure) { return try body().map { $0.prefixed(subject) } } catch {
            throw error.prefixed(subject)
        }
    }

    /// - Parameter record: nil for a lost one: the host's ends of the pairs go by name, leases are the networks' to collect.
    private func detachDead(
        _ id: AttachmentID, _ record: PodRecord?, _ store: borrowing StateStore
    ) throws(Failure) -> [Failure] {
        var problems: [Failure]
        if let record {
            let (kernel, sandbox) = try open(record, given: "")
            problems = detach(record, sandbox: sandbox, runner(kernel))
        } else {
            let kept = try neighbours(of: id, store)
            let teardown = Teardown(runner(try Kernel.open(sandbox: "", mayBeGone: true)), isGuess: true)
            func isOurs(_ interface: String) -> Bool {
                kept.map { !$0.contains(interface) } ?? (interface == id.interface)
            }
            teardown.detachNoted(id, where: isOurs)
            teardown.detachByName(id.containerID, Self.likelyInterfaces(id).map(\.interface), where: isOurs)
            teardown.finish()
            problems = teardown.problems
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
    private func collectMultus(_ census: inout Census) -> [Failure] {
        var problems: [Failure] = []
        for cache in multusCaches {
            for containerID in cache.containers() {
                let living = census.alive.first { $0.containerID == containerID }
                let known = MultusCache.results(of: containerID, below: MultusCache.runtimeDirectory)
                let isOthers = !known.isEmpty && !known.contains { $0.network == network }
                let interface =
                    living?.interface ?? known.first?.interface
                    ?? MultusCache.results(of: containerID, below: cache.directory).map(\.interface)
                    .first { !$0.hasPrefix("net") } ?? "eth0"
                let id = AttachmentID(containerID: containerID, interface: interface)
                do throws(Failure) {
                    guard let found = try multusRecord(id) else { continue }
                    guard living != nil || isOthers else {
                        problems += try named(id, found.record) { () throws(Failure) in
                            try detachDead(found, census)
                        }
                        continue
                    }
                    census.keep(id, found.record)
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
        // Multus kept no identity: the pod that is at the path must have the very links, and be nobody's that lives.
        let namespace = try kernel.sandboxIdentity()
        let isOurs = namespace.map { found in !census.namespaces.contains { $0.isSame(as: found) } } ?? false
        let hasSandbox = isOurs ? try runner(kernel).hasLinks(found.links) : false
        if !hasSandbox { kernel = try Kernel.open(sandbox: "", mayBeGone: true) }
        var problems = detach(found.record, sandbox: hasSandbox ? found.sandbox : "", runner(kernel))
        if !found.isWhole { problems += removeTraces(of: found.record.id, [], runner(kernel), []) }
        if problems.isEmpty { try found.remove() }
        return problems
    }

    /// Rules of containers that are gone, by what the rules say: with records and definitions lost nothing else knows them.
    private func collectRules(_ census: Census) -> [Failure] {
        do throws(Failure) {
            try Kernel.open(sandbox: "", mayBeGone: true).collectRules(
                of: network, sparing: census.alive, census.unread)
            return []
        } catch {
            return [error]
        }
    }

    private func collectNetworks(_ census: Census) -> [Failure] {
        let (kept, valid) = (census.kept, census.alive)
        var problems: [Failure] = []
        var seen: [NetworkList] = []
        // A missing one has no leases.
        let builder = try? DelegateBuilder(config, invocation)
        let defaults = (try? builder?.buildDefaults())?.map(\.spec) ?? []
        let cached = DefinitionCache(path: config.cacheDir).everyNetwork().map {
            AttachmentSpec(
                name: $0.name, id: id, sandbox: "", args: "", list: $0.list,
                searchPath: builder?.searchPath ?? [],
                external: config.externalPlugins)
        }
        for spec in defaults + kept + cached where !seen.contains(spec.list) && !spec.list.disableGC {
            seen.append(spec.list)
            let elsewhere = kept.filter { $0.list.name != spec.list.name }.map(\.id)
            let here = kept.filter { $0.list.name == spec.list.name }.map(\.id)
            do throws(Failure) {
                let kernel = try Kernel.open(sandbox: "", mayBeGone: true)
                try runner(kernel).collect(
                    spec, valid: Array(valid), own: Array(valid.subtracting(elsewhere).union(here)))
            } catch {
                problems.append(error.prefixed(spec.name))
            }
        }
        return problems
    }

    /// Whether an ADD could work now: code 50 and the reason if not.
    package func status() throws(Failure) {
        try requireReadiness(.notAvailable)
        var problems: [Failure] = []
        do throws(Failure) {
            let kernel = try Kernel.open(sandbox: "", mayBeGone: true)
            for delegate in try DelegateBuilder(config, invocation).buildDefaults() {
                do throws(Failure) { try runner(kernel).status(delegate.spec) } catch {
                    problems.append(
                        error.prefixed(delegate.spec.name).ending(with: "configured in \(delegate.origin)"))
                }
            }
            _ = try StateStore.open(config.cniDir)
        } catch {
            problems.append(error)
        }
        guard var failure = Failure.joined(problems) else { return }
        // One that says that running containers may have lost their network says most.
        let isLimited = problems.contains { $0.code == Failure.Code.limited.rawValue }
        failure.code = (isLimited ? Failure.Code.limited : .notAvailable).rawValue
        throw failure
    }
}
