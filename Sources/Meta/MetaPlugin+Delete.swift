package import CNI
import Definitions
import Engine
import JSONC
import Linux
import Networking
import Plans
import Records

extension MetaPlugin {
    /// Detaches everything that is recorded of the pod, or else what its derived names find.
    package func delete() throws(Failure) {
        let start = monotonicMilliseconds()
        let opened: RecordStore?
        do throws(Failure) { opened = try RecordStore.openIfThere(config.cniDir) } catch {
            // Records that others can write to are not trusted: the attachment is detached without them.
            return try report([error] + detachUnrecorded(runner(openGiven()), nil))
        }
        guard let store = opened else { return try report(detachUnrecorded(runner(openGiven()), [])) }
        // Without the record, derived names and leases tell what exists; it is kept, as it may be readable at the next
        // DEL.
        var unread: [Failure] = []
        // A pod must go from a node whose disk has become read-only.
        var lock: Lock?
        do throws(Failure) { lock = try store.lockIfThere(id) } catch { unread = [error] }
        defer { extendLifetime(lock) }
        var record: PodRecord?
        do throws(Failure) { record = try store.read(id, config.log) } catch { unread.append(error) }
        var multus: MultusRecord?
        do throws(Failure) { multus = record == nil ? try multusRecord(id) : nil } catch {
            unread.append(error)
        }
        var problems: [Failure] = []
        var held: Set<String> = []
        if let record {
            let (kernel, sandbox) = try open(record, given: invocation.netns)
            problems = detach(record, sandbox: sandbox, runner(kernel), store)
        } else if let multus {
            let (kernel, sandbox) = try open(multus, store)
            held = kernel.hasSandbox ? [] : try living(multus)
            problems = detach(multus.record, sandbox: sandbox, runner(kernel), holding: held)
        }
        // When an entry of Multus' cannot be used, what it was is looked for as if there were no record.
        if record == nil, multus?.isWhole != true {
            problems += detachUnrecorded(
                runner(try openUnrecorded(store)), try neighbours(of: id, store).map { $0 + held },
                besides: multus?.unusable ?? [])
        }
        // Only a hint: on a read-only disk it is left out.
        if store.isNew { try? noteUnrecorded(leaseFolders([]), store) }
        let isClean = problems.isEmpty && unread.isEmpty
        let end = isClean ? "done" : "incomplete"
        let entries = (record ?? multus?.record)?.entries ?? []
        // As they went, the last one first.
        for place in 1...max(entries.count, 1) {
            config.log.verbose(
                "DEL of \(subject): "
                    + (entries.isEmpty ? "what its names find" : entries[entries.count - place].logged)
                    + ": \(end), \(monotonicMilliseconds() - start) ms")
        }
        if !isClean, unread.isEmpty, !store.has(id) { store.forgetLock(id) }
        try report(problems + unread)
        if record == nil { store.forget(unrecorded: id) }
        try report(record.map(unpublish) ?? unpublishUnrecorded(store))
        if lock != nil || record != nil { try store.remove(id) }
        try multus?.remove()
    }

    /// The namespace of a container that Multus attached; without CNI_NETNS the one that its results name, if the very links
    /// are in it.
    private func open(
        _ multus: MultusRecord, _ store: borrowing RecordStore
    ) throws(Failure) -> (kernel: Kernel, sandbox: String) {
        if invocation.netns.isEmpty, !multus.sandbox.isEmpty {
            let kernel = try Kernel.open(sandbox: multus.sandbox, mayBeGone: true, mayBeOwn: true)
            if try runner(kernel).hasLink(withOneOf: multus.macs) {
                let own = try sparing(kernel, at: multus.sandbox, store)
                return (own, own.hasSandbox ? multus.sandbox : "")
            }
        }
        let kernel = try openUnrecorded(store)
        let isThere = kernel.hasSandbox || !fileExists(invocation.netns)
        return (kernel, isThere ? invocation.netns : "")
    }

    /// Of a container that Multus attached and whose namespace nobody tells, without results that would: the interfaces whose
    /// address is on a link of a namespace that lives. It may be another pod's of another network: then a later GC frees it.
    func living(_ multus: MultusRecord) throws(Failure) -> Set<String> {
        let entries = multus.record.entries
        guard entries.contains(where: { $0.attached == nil }) else { return [] }
        let leases = try leases(of: multus.record.id.containerID, entries.map { Delegate(spec: $0.spec) })
        guard !leases.isEmpty else { return [] }
        let pods = try PodSearch()
        return Set(leases.filter { pods.has($0.address) }.map(\.id.interface))
    }

    /// The namespace of CNI_NETNS, if it is there.
    private func openGiven() throws(Failure) -> Kernel {
        try Kernel.open(sandbox: invocation.netns, mayBeGone: true, mayBeOwn: invocation.netnsOverride)
    }

    /// The namespace of the result that the runtime kept of ADD, if one of its links is in it, as a path may be another
    /// pod's by now; or else the one that has a link of the container's.
    private func openPromised() throws(Failure) -> Kernel {
        let links = config.plugin.previous?.interfaces.filter { !$0.isInHost } ?? []
        let kernel = try Kernel.open(
            sandbox: links.first?.sandbox ?? "", mayBeGone: true, mayBeOwn: true)
        if try runner(kernel).hasLink(withOneOf: links.compactMap(\.mac)) { return kernel }
        // Most have nothing any more: runtimes call DEL twice, and a look into every namespace takes its time.
        guard try hasTraces() else { return try Kernel.ofHost() }
        return try PodSearch().kernel(of: Self.likelyInterfaces(id))
    }

    /// Whether the container has an address, or a plugin noted something of it.
    private func hasTraces() throws(Failure) -> Bool {
        if try builtins.hasNotes(of: id) { return true }
        return try !leases(of: id.containerID, []).isEmpty
    }

    /// The same for a container without a record of ours.
    private func openUnrecorded(_ store: borrowing RecordStore) throws(Failure) -> Kernel {
        // A path that leads nowhere tells no more than none.
        let isGiven = !invocation.netns.isEmpty && fileExists(invocation.netns)
        return try sparing(isGiven ? openGiven() : openPromised(), at: invocation.netns, store)
    }

    /// A namespace that is another container's by its record counts as gone.
    private func sparing(
        _ kernel: Kernel, at path: String, _ store: borrowing RecordStore
    ) throws(Failure) -> Kernel {
        guard let namespace = try kernel.sandboxIdentity() else { return kernel }
        let owner = store.others(than: id, mentioning: ["\"inode\":\(namespace.inode)"], config.log).first {
            $0.namespace?.isSame(as: namespace) == true
        }
        guard let owner else { return kernel }
        config.log.error(
            "DEL of \(subject): \(path.isEmpty ? "what was found" : path) is the namespace of container"
                + " \(owner.id.containerID) by now: nothing in it is touched")
        return try Kernel.ofHost()
    }

    /// The namespace that a record identifies: at the given path, or else at the path that ADD got. A path to another
    /// namespace is not used; when neither leads to the recorded one, that counts as gone.
    ///
    /// - Parameter given: empty for a container that the runtime no longer names.
    /// - Returns: also the path for plugins; empty when it is somebody else's.
    func open(_ record: PodRecord, given: String) throws(Failure) -> (kernel: Kernel, sandbox: String) {
        guard let namespace = record.namespace else {
            // A path below /proc has a process number, which a process of another pod may have by now.
            let recorded = record.sandbox.hasPrefix("/proc/") ? "" : record.sandbox
            let path = given.isEmpty && invocation.verb != .del ? recorded : given
            let kernel = try Kernel.open(
                sandbox: path, mayBeGone: true, mayBeOwn: given.isEmpty || invocation.netnsOverride)
            return (kernel, path)
        }
        var isElsewhere = false
        for path in given == record.sandbox ? [given] : [given, record.sandbox] where !path.isEmpty {
            let isOurOwn = path != given || invocation.netnsOverride
            let kernel = try Kernel.open(sandbox: path, mayBeGone: true, mayBeOwn: isOurOwn)
            if try isAt(namespace, kernel) { return (kernel, path) }
            isElsewhere = isElsewhere || kernel.hasSandbox
        }
        // Its path went, but it is mounted elsewhere, or a process still holds it.
        if let path = namespace.path() {
            let kernel = try Kernel.open(sandbox: path, mayBeGone: true, mayBeOwn: true)
            if try isAt(namespace, kernel) { return (kernel, path) }
        }
        if isElsewhere {
            config.log.verbose(
                "container \(record.id.containerID) \(record.id.interface): \(record.sandbox) is another namespace by now"
            )
        }
        return (try Kernel.ofHost(), isElsewhere ? "" : given)
    }

    /// What Multus knew of a container: in our cniDir when it was Multus's, or in its own.
    ///
    /// - Parameter isKnown: what is wrong with it was said before.
    func multusRecord(_ id: AttachmentID, isKnown: Bool = false) throws(Failure) -> MultusRecord? {
        guard let builder = try? DelegateBuilder(config, invocation) else { return nil }
        for cache in multusCaches {
            let log = isKnown ? Log.none : config.log
            let record = try cache.record(id, sandbox: invocation.netns, log) {
                name, id, list throws(Failure) in
                for type in list.plugins.map({ $0["type"]?.string ?? "" })
                where builtins.module(type) == nil || config.externalPlugins.contains(type) {
                    _ = try ExternalCall.find(type, in: builder.searchPath)
                }
                return AttachmentSpec(
                    name: name, id: id, sandbox: invocation.netns, args: builder.plainArgs, list: list,
                    runtimeConfig: config.plugin.runtimeConfig?.value.object ?? [:],
                    searchPath: builder.searchPath, external: config.externalPlugins)
            }
            guard var record else { continue }
            // Annotations may have changed since: one look more does no harm.
            if invocation.verb == .del, let expected = builder.networkCount(), expected != record.count {
                record.isWhole = false
                log.error(
                    "\(cache.directory)/\(id.containerID): it has \(record.count) networks, and the pod asks for"
                        + " \(expected): DEL goes by names and leases too")
            }
            return record
        }
        return nil
    }

    var multusCaches: [MultusCache] {
        let directories = [config.cniDir, MultusCache.defaultDirectory]
        return Set(directories).sorted().map { MultusCache(directory: $0) }
    }

    func detach(
        _ record: PodRecord, sandbox: String, _ runner: ChainRunner, holding held: Set<String> = []
    ) -> [Failure] {
        var record = record
        return detach(&record, sandbox: sandbox, runner, holding: held)
    }

    /// The same of a record in the store, which notes what went, so that the next DEL runs what failed alone.
    func detach(
        _ record: PodRecord, sandbox: String, _ runner: ChainRunner, _ store: borrowing RecordStore
    ) -> [Failure] {
        var record = record
        let problems = detach(&record, sandbox: sandbox, runner, holding: [])
        // Where the disk is full, the next DEL runs all again.
        if !problems.isEmpty, record.entries.contains(where: \.isDetached) { try? store.write(record) }
        return problems
    }

    private func detach(
        _ record: inout PodRecord, sandbox: String, _ runner: ChainRunner, holding held: Set<String>
    ) -> [Failure] {
        let teardown = Teardown(runner, holding: held)
        var gone: [Int] = []
        for index in record.entries.indices.reversed() where !record.entries[index].isDetached {
            let known = teardown.problems.count
            var spec = record.entries[index].spec
            spec.sandbox = sandbox
            teardown.detach(spec, record.entries[index].attached)
            if teardown.problems.count == known { gone.append(index) }
        }
        let known = teardown.problems.count
        teardown.finish()
        // Links and addresses go together: what is left of them may be anybody's.
        if teardown.problems.count == known { for index in gone { record.entries[index].isDetached = true } }
        return teardown.problems
    }

    /// The interfaces of the container's other records; nil when one of those cannot be read.
    ///
    /// - Parameter others: attachments that it may have; nil for all that have a record.
    func neighbours(
        of id: AttachmentID, among others: [AttachmentID]? = nil, _ store: borrowing RecordStore
    ) throws(Failure) -> [String]? {
        var interfaces: [String] = []
        let others = if let others { others } else { try store.all() }
        for other in others where other.containerID == id.containerID && other != id {
            guard let record = try store.read(other, config.log) else { return nil }
            interfaces.append(other.interface)
            interfaces += record.entries.map(\.spec.id.interface)
        }
        return interfaces
    }

    /// Without a readable record: detaches the networks that the pod would get now, then what derived names find, then
    /// releases the leases of interfaces that are gone. The last two also cover networks that cannot be found any more.
    ///
    /// - Parameter kept: the interfaces of the container's other attachments. Without that knowledge nothing but
    ///   the attachment's own interface is touched.
    func detachUnrecorded(
        _ runner: ChainRunner, _ kept: [String]?, besides interfaces: [String] = []
    ) -> [Failure] {
        let teardown = Teardown(runner, isGuess: true)
        func isOurs(_ interface: String) -> Bool { Self.mayHave(interface, id, besides: kept) }
        var delegates: [Delegate] = []
        do throws(Failure) {
            delegates = try DelegateBuilder(config, invocation).buildWhatResolves(config.log)
        } catch {
            config.log.verbose("DEL of \(subject) without a record: \(error.message)")
        }
        for delegate in delegates.reversed() where isOurs(delegate.spec.id.interface) {
            teardown.detach(delegate.spec, nil)
        }
        teardown.detachByNotes(id, where: isOurs)
        teardown.detachByInterface(interfaces.filter(isOurs))
        let likely = Self.likelyInterfaces(id).map(\.interface)
        teardown.detachByMAC(id.containerID, likely, where: isOurs)
        do throws(Failure) {
            try teardown.detachByAddress(leases(of: id.containerID, delegates), where: isOurs)
        } catch {
            config.log.error("DEL of \(subject) without a record: \(error.message)")
        }
        teardown.detachByHostLink(id.containerID, likely, where: isOurs)
        teardown.finish()
        var problems = teardown.problems
        // A device that is still out keeps its addresses.
        problems += removeTraces(of: id, delegates, runner, kept.map { $0 + teardown.held })
        return problems
    }

    /// The addresses that a container has by its leases.
    private func leases(
        of containerID: String, _ delegates: [Delegate]
    ) throws(Failure) -> [(id: AttachmentID, address: IPAddress)] {
        var found: [(id: AttachmentID, address: IPAddress)] = []
        for place in leaseFolders(delegates) {
            found += try place.source.owners(in: place.path) { $0 == containerID }
        }
        return found
    }

    /// Whether an attachment without a record may have an interface.
    ///
    /// - Parameter kept: the interfaces of the container's other attachments; nil when they are not known.
    static func mayHave(_ interface: String, _ id: AttachmentID, besides kept: [String]?) -> Bool {
        guard let kept else { return interface == id.interface }
        return (interface == id.interface || !isOfRuntime(interface)) && !kept.contains(interface)
    }

    /// `eth1` and the like: runtimes name the interfaces so of which they ask one by one, and each has a DEL of its own.
    static func isOfRuntime(_ interface: String) -> Bool {
        let number = interface.dropFirst(3)
        return interface.hasPrefix("eth") && !number.isEmpty
            && number.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// Removes nftables rules and leases with the container's ID, of interfaces that are gone.
    func removeTraces(
        of id: AttachmentID, _ delegates: [Delegate], _ runner: ChainRunner, _ kept: [String]?
    ) -> [Failure] {
        var problems: [Failure] = []
        let present: Set<String>
        let addresses: Set<IPAddress>
        do throws(Failure) {
            present = Set(try runner.sandboxLinks().map(\.name))
            addresses = try runner.kernel.sandboxAddresses()
        } catch {
            return [error]
        }
        func isOurs(_ interface: String) -> Bool {
            !present.contains(interface) && Self.mayHave(interface, id, besides: kept)
        }
        let interfaces = Self.likelyInterfaces(id).map(\.interface) + delegates.map(\.spec.id.interface)
        do throws(Failure) {
            try runner.kernel.removeRules(
                of: id.containerID, Set(interfaces), isAlone: kept?.isEmpty == true, where: isOurs)
        } catch {
            problems.append(error)
        }
        for place in leaseFolders(delegates) {
            do throws(Failure) {
                // An address that is still on a link is not handed out: another program may have attached it, or the pod
                // has renamed it.
                try place.source.releaseEverything(of: id.containerID, in: place.path) { interface, address in
                    isOurs(interface ?? id.interface) && !addresses.contains(address)
                }
            } catch {
                problems.append(error)
            }
        }
        return problems
    }

    /// Where the addresses of the default, of the delegates and of every cached definition are kept.
    func leaseFolders(_ delegates: [Delegate]) -> [LeaseFolder] {
        let sources = builtins.keepers()
        var paths = sources.map { Set([$0.defaultStore].compactMap(\.self)) }
        func note(_ plugins: [JSON]) {
            for ipam in plugins.compactMap({ $0["ipam"] }) {
                for (index, source) in sources.enumerated() {
                    if let path = source.store(of: ipam) { paths[index].insert(path) }
                }
            }
        }
        for delegate in delegates { note(delegate.spec.list.plugins) }
        for delegate in config.delegates { note(delegate["plugins"]?.array ?? [delegate]) }
        DefinitionCache(path: config.cacheDir).forEachNetwork { _, list, _ in note(list.plugins) }
        return zip(sources, paths).flatMap { source, paths in
            paths.sorted().map { LeaseFolder(source: source, path: $0) }
        }
    }

    /// The first problem, with the others in its details.
    func report(_ problems: [Failure]) throws(Failure) {
        guard let first = Failure.joined(problems) else { return }
        config.log.error("\(invocation.command) of \(subject): \(first.logged)")
        guard invocation.verb == .del else { throw first }
        // containerd takes a DEL whose error has these words for done, and never calls it again.
        var failure = first
        failure.message = replacing("not found", in: first.message, by: "not-found")
        failure.details = replacing("not found", in: first.details, by: "not-found")
        throw failure
    }
}
