package import CNI
import Engine
import IPAM
import JSONC
import Linux
import Plans

extension MetaPlugin {
    /// Detaches everything that is known of the pod, and what its derived names still find.
    package func delete() throws(Failure) {
        guard let store = try StateStore.openIfThere(config.cniDir) else {
            let kernel = try Kernel.open(
                sandbox: invocation.netns, mayBeGone: true, mayBeOwn: invocation.netnsOverride)
            return try report(detachUnrecorded(runner(kernel), []))
        }
        // Without it derived names and leases say what there is; but it may say more when it can be read again.
        var unread: [Failure] = []
        // A pod must go from a node whose disk has become read-only.
        var lock: Lock?
        do throws(Failure) { lock = try store.lockIfThere(id) } catch { unread = [error] }
        defer { extendLifetime(lock) }
        var record: PodRecord?
        do throws(Failure) { record = try store.read(id, config.log) } catch { unread.append(error) }
        let kernel = try Kernel.open(
            sandbox: invocation.netns, mayBeGone: true, mayBeOwn: invocation.netnsOverride)
        let multus = record == nil ? multusRecord() : nil
        let problems: [Failure]
        if let record = record ?? multus?.record {
            problems = detach(record, sandbox: invocation.netns, runner(kernel))
        } else {
            problems = detachUnrecorded(runner(kernel), try neighbours(of: id, store))
        }
        let isClean = problems.isEmpty && unread.isEmpty
        config.log.verbose("DEL of \(id.containerID) \(id.interface): \(isClean ? "done" : "incomplete")")
        if !isClean, record == nil, unread.isEmpty { store.forgetLock(id) }
        try report(problems + unread)
        if lock != nil || record != nil { try store.remove(id) }
        guard let multus else { return }
        do throws(SystemError) { try multus.cache.remove(multus.record) } catch {
            throw Failure(.io, "state of Multus: \(error)")
        }
    }

    /// What Multus knew of the container: in our cniDir when it was Multus's, or in its own.
    private func multusRecord() -> (cache: MultusCache, record: PodRecord)? {
        guard let builder = try? DelegateBuilder(config, invocation) else { return nil }
        for directory in Set([config.cniDir, "/var/lib/cni/multus"]) {
            let cache = MultusCache(directory: directory)
            let record = cache.record(id, sandbox: invocation.netns, config.log) { name, id, list in
                AttachmentSpec(
                    name: name, id: id, sandbox: invocation.netns, args: builder.plainArgs, list: list,
                    runtimeConfig: config.plugin.runtimeConfig?.value.object ?? [:],
                    searchPath: builder.searchPath, external: config.externalPlugins)
            }
            if let record { return (cache, record) }
        }
        return nil
    }

    private func detach(_ record: PodRecord, sandbox: String, _ runner: ChainRunner) -> [Failure] {
        let teardown = Teardown(runner)
        for entry in record.entries.reversed() {
            var spec = entry.spec
            spec.sandbox = sandbox
            teardown.detach(spec, entry.attached)
        }
        teardown.finish()
        return teardown.problems
    }

    /// What the container's other attachments of the runtime's have; nil when one of them has a torn record.
    private func neighbours(of id: AttachmentID, _ store: borrowing StateStore) throws(Failure) -> [String]? {
        var interfaces: [String] = []
        for other in try store.all() where other.containerID == id.containerID && other != id {
            guard let record = try store.read(other, config.log) else { return nil }
            interfaces.append(other.interface)
            interfaces += record.entries.map(\.spec.id.interface)
        }
        return interfaces
    }

    /// No record, or a torn one: the networks that the pod would get now, then its derived names, then the leases
    /// of what is gone. What cannot be resolved any more is covered by the latter two.
    ///
    /// - Parameter kept: the interfaces of the container's other attachments. Without that knowledge nothing but
    ///   the attachment's own interface is touched.
    private func detachUnrecorded(_ runner: ChainRunner, _ kept: [String]?) -> [Failure] {
        let teardown = Teardown(runner, isGuess: true)
        func isOurs(_ interface: String) -> Bool {
            kept.map { !$0.contains(interface) } ?? (interface == id.interface)
        }
        var delegates: [Delegate] = []
        do throws(Failure) {
            delegates = try DelegateBuilder(config, invocation).buildWhatResolves(config.log)
        } catch {
            config.log.verbose("DEL without a record: \(error.message)")
        }
        for delegate in delegates.reversed() where isOurs(delegate.spec.id.interface) {
            teardown.detach(delegate.spec, nil)
        }
        teardown.detachByName(id.containerID, Self.likelyInterfaces(id).map(\.interface), where: isOurs)
        teardown.finish()
        var problems = teardown.problems
        let present = runner.sandboxLinks()
        for directory in storeDirectories(delegates) {
            do throws(Failure) {
                // An address that is still on a link is not handed out: another program may have attached it.
                try HostLocal.releaseEverything(of: id.containerID, below: directory) { interface in
                    isOurs(interface ?? id.interface) && !present.contains(interface ?? id.interface)
                }
            } catch {
                problems.append(error)
            }
        }
        return problems
    }

    /// Where the addresses of the default, of the delegates and of every cached definition are kept.
    private func storeDirectories(_ delegates: [Delegate]) -> Set<String> {
        let plugins =
            delegates.flatMap(\.spec.list.plugins) + config.delegates
            + DefinitionCache(path: config.cacheDir).everyNetwork().flatMap(\.plugins)
        let configured = plugins.flatMap { $0["plugins"]?.array ?? [$0] }.compactMap {
            $0["ipam"]?["dataDir"]?.string
        }
        return Set([HostLocal.defaultDirectory] + configured.filter { $0.hasPrefix("/") })
    }

    /// The first problem, with the others in its details.
    func report(_ problems: [Failure]) throws(Failure) {
        guard var first = problems.first else { return }
        let others = problems.dropFirst().map(\.message)
        if !others.isEmpty {
            first.details += (first.details.isEmpty ? "" : "; ") + others.joined(separator: "; ")
        }
        config.log.error("\(invocation.verb?.rawValue ?? "") of \(id.containerID): \(first.logged)")
        throw first
    }

    // MARK: GC and STATUS

    /// DEL of every container that the runtime no longer names, then GC of each known network.
    package func collect() throws(Failure) {
        guard let valid = config.plugin.validAttachments else { return }
        let alive = Set(valid.map { AttachmentID(containerID: $0.containerID, interface: $0.ifname) })
        let store = try StateStore.open(config.cniDir)
        var problems: [Failure] = []
        var kept: [AttachmentSpec] = []
        // Of the living whose record says nothing.
        var unread: [AttachmentID] = []
        for id in try store.all() {
            let lock = try store.lock(id)
            defer { extendLifetime(lock) }
            do throws(Failure) {
                let record = try store.read(id, config.log)
                if alive.contains(id) {
                    kept += record?.entries.map(\.spec) ?? []
                    if record == nil { unread += Self.likelyInterfaces(id) }
                    continue
                }
                let found = try detachDead(id, record, record == nil ? neighbours(of: id, store) : [])
                problems += found
                if found.isEmpty { try store.remove(id) }
            } catch {
                problems.append(error)
            }
        }
        problems += collectNetworks(kept, alive.union(kept.map(\.id)).union(unread))
        try report(problems)
    }

    /// A namespace below /proc goes by a process's number, which another pod's may have by now: the host's ends
    /// of the pairs are deleted instead. Leases of a torn record are the networks' to collect.
    func detachDead(
        _ id: AttachmentID, _ record: PodRecord?, _ kept: [String]?
    ) throws(Failure) -> [Failure] {
        let path = record?.sandbox ?? ""
        let sandbox = path.hasPrefix("/proc/") ? "" : path
        let runner = runner(try Kernel.open(sandbox: sandbox, mayBeGone: true))
        if let record { return detach(record, sandbox: sandbox, runner) }
        let teardown = Teardown(runner, isGuess: true)
        teardown.detachByName(id.containerID, Self.likelyInterfaces(id).map(\.interface)) { interface in
            kept.map { !$0.contains(interface) } ?? (interface == id.interface)
        }
        teardown.finish()
        return teardown.problems
    }

    /// The names that an attachment without a record may have.
    private static func likelyInterfaces(_ id: AttachmentID) -> [AttachmentID] {
        [id] + (1...16).map { AttachmentID(containerID: id.containerID, interface: "net\($0)") }
    }

    private func collectNetworks(
        _ kept: [AttachmentSpec], _ valid: Set<AttachmentID>
    ) -> [Failure] {
        var problems: [Failure] = []
        var seen: [NetworkList] = []
        // A missing one has no leases.
        let builder = try? DelegateBuilder(config, invocation)
        let defaults = (try? builder?.buildDefaults())?.map(\.spec) ?? []
        let cached = DefinitionCache(path: config.cacheDir).everyNetwork().map {
            AttachmentSpec(
                name: $0.name, id: id, sandbox: "", args: "", list: $0, searchPath: builder?.searchPath ?? [],
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
        do throws(Failure) {
            let kernel = try Kernel.open(sandbox: "", mayBeGone: true)
            for delegate in try DelegateBuilder(config, invocation).buildDefaults() {
                try runner(kernel).status(delegate.spec)
            }
            _ = try StateStore.open(config.cniDir)
        } catch {
            if error.code == Failure.Code.limited.rawValue { throw error }
            throw Failure(code: Failure.Code.notAvailable.rawValue, error.message, details: error.details)
        }
    }
}
