package import CNI
import Engine
import IPAM
import JSONC
import Linux
import Plans

extension MetaPlugin {
    /// Detaches everything that is known of the pod, and what its derived names still find.
    package func delete() throws(Failure) {
        let store = try StateStore.open(config.cniDir)
        let lock = try store.lock(id)
        defer { extendLifetime(lock) }
        var record: PodRecord?
        // Without it derived names and leases say what there is; but it may say more when it can be read again.
        var unread: [Failure] = []
        do throws(Failure) { record = try store.read(id, config.log) } catch { unread = [error] }
        let kernel = try Kernel.open(
            sandbox: invocation.netns, mayBeGone: true, mayBeOwn: invocation.netnsOverride)
        let multus = record == nil ? multusRecord() : nil
        let problems: [Failure]
        if let record = record ?? multus?.record {
            problems = detach(record, sandbox: invocation.netns, runner(kernel))
        } else {
            problems = detachUnrecorded(runner(kernel))
        }
        try report(problems + unread)
        try store.remove(id)
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

    /// No record, or a torn one: the networks that the pod would get now, then its derived names, then every
    /// lease of the container. What cannot be resolved any more is covered by the latter two.
    private func detachUnrecorded(_ runner: ChainRunner) -> [Failure] {
        let teardown = Teardown(runner)
        var delegates: [Delegate] = []
        do throws(Failure) {
            delegates = try DelegateBuilder(config, invocation).buildWhatResolves(config.log)
        } catch {
            config.log.verbose("DEL without a record: \(error.message)")
        }
        for delegate in delegates.reversed() { teardown.detach(delegate.spec, nil) }
        teardown.detachByName(
            id.containerID, interfaces: Self.likelyInterfaces(id).map(\.interface))
        teardown.finish()
        var problems = teardown.problems
        for directory in storeDirectories(delegates) {
            do throws(Failure) {
                try HostLocal.releaseEverything(of: id.containerID, below: directory)
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
            + DefinitionCache(path: config.cacheDir).everyConfig().flatMap { $0["plugins"]?.array ?? [$0] }
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
        config.log.error(
            "\(invocation.verb?.rawValue ?? "") of \(id.containerID): \(first.message); \(first.details)")
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
                let found = try detachDead(id, record)
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
    private func detachDead(_ id: AttachmentID, _ record: PodRecord?) throws(Failure) -> [Failure] {
        let path = record?.sandbox ?? ""
        let sandbox = path.hasPrefix("/proc/") ? "" : path
        let runner = runner(try Kernel.open(sandbox: sandbox, mayBeGone: true))
        if let record { return detach(record, sandbox: sandbox, runner) }
        let teardown = Teardown(runner)
        teardown.detachByName(id.containerID, interfaces: Self.likelyInterfaces(id).map(\.interface))
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
        let defaults = (try? DelegateBuilder(config, invocation).buildDefaults()) ?? []
        for spec in defaults.map(\.spec) + kept where !seen.contains(spec.list) && !spec.list.disableGC {
            seen.append(spec.list)
            do throws(Failure) {
                let kernel = try Kernel.open(sandbox: "", mayBeGone: true)
                try runner(kernel).collect(spec, valid: Array(valid))
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
