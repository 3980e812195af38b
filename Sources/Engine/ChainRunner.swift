package import CNI
package import JSONC
package import Linux
import Netlink
import Networking
package import Plans

/// Runs the plugins of one network list after another: each is observed, planned and applied before the next,
/// since the next needs facts about what this one made.
package final class ChainRunner {
    let executor: Executor
    let registry: Registry
    package let rules: RoleRules
    let worker: any Worker
    let log: Log
    /// That of a `StopSignal`, which ends the ADD of an external plugin: then it is undone.
    package var stop: CInt?
    /// Where the caller keeps its records; empty when it has none.
    let state: String

    package var kernel: Kernel { executor.kernel }

    /// - Parameters:
    ///   - owner: the network that a runtime called; empty under a plugin's own name.
    ///   - state: the meta-plugin's `cniDir`.
    package init(
        _ kernel: Kernel, registry: Registry, rules: RoleRules, log: Log, owner: String = "",
        state: String = ""
    ) {
        executor = Executor(kernel, owner: owner)
        self.registry = registry
        self.rules = rules
        self.log = log
        self.state = state
        worker = LiveWorker(executor, rules, log)
    }

    /// For `explain`: what the meta-plugin would do.
    package init(_ kernel: Kernel, registry: Registry, rehearsing rehearsal: Rehearsal, log: Log) {
        executor = Executor(kernel)
        self.registry = registry
        rules = .meta
        self.log = log
        state = ""
        worker = rehearsal
    }

    /// The same with another worker.
    init(_ executor: Executor, _ runner: ChainRunner, _ worker: any Worker) {
        self.executor = executor
        registry = runner.registry
        rules = runner.rules
        log = runner.log
        stop = runner.stop
        state = runner.state
        self.worker = worker
    }

    /// The plugins of an attachment that is to be made, each with its configuration read and found to be right.
    package struct Chain {
        package let id: AttachmentID
        let plugins: [any Plugin]
        /// nil for one whose turn is still to come.
        var ahead: Ahead?
        /// What is still there of one that could not start ahead, and could not be undone.
        var rest = Journal()

        /// Whether it may start ahead of its turn.
        package var asks: Bool { plugins.first?.asks ?? false }
    }

    /// Refuses what can be refused before anything is touched: configurations, and executables that are missing.
    package func prepare(_ spec: AttachmentSpec) throws(Failure) -> Chain {
        if rules.judgesWishes { try judge(spec) }
        var plugins: [any Plugin] = []
        for index in spec.list.plugins.indices {
            let plugin = try PluginCall(spec, index, .add, self).plugin()
            do throws(Failure) { try plugin.call.validate(plugin) } catch { throw plugin.naming(error) }
            plugins.append(plugin)
        }
        return Chain(id: spec.id, plugins: plugins)
    }

    /// Attaches; on failure the caller undoes the journal.
    ///
    /// - Parameters:
    ///   - others: whose turns come after; they wait meanwhile.
    ///   - willSave: gets the original values of sysctls, by path, before they are changed.
    package func add(
        _ chain: Chain, besides others: ArraySlice<Chain> = [], _ journal: inout Journal,
        willSave: ([String: String]) throws(Failure) -> Void = { (_) throws(Failure) in }
    ) throws(Failure) -> Attached {
        var previous: CNIResult?
        let start = journal.count
        journal.append(chain.rest)
        if let ahead = chain.ahead {
            let problem = waited(for: ahead, besides: others)
            journal.append(ahead.journal)
            if let problem { throw problem }
        }
        for (index, plugin) in chain.plugins.enumerated() {
            do throws(Failure) {
                // It may have made the link.
                defer { kernel.links.forget(absent: chain.id.interface) }
                previous =
                    try plugin.add(
                        after: previous, index == 0 ? chain.ahead : nil, &journal, willSave) ?? previous
            } catch {
                throw plugin.naming(error)
            }
        }
        if let result = previous, let spec = chain.plugins.first?.call.spec {
            // Once all have run they are undone as a DEL does it: with the whole result.
            journal.replaceCalls(since: start) { call in
                try? PluginCall(spec, call.place, .del, previous: result, self).external(.del, call.type)
            }
        }
        var attached = Attached(
            result: previous ?? CNIResult(), saved: journal.saved(since: start),
            given: journal.given(since: start))
        attached.device = journal.device(since: start)
        attached.vlanBridges = attached.result.interfaces.filter(\.isInHost).map(\.name).filter {
            executor.bridges[$0]?.keepsVLANsApart == true
        }
        if rules.keepsRecords { attached.index = try worker.index(of: .sandbox(chain.id.interface)) }
        return attached
    }

    package func check(_ spec: AttachmentSpec, _ attached: Attached) throws(Failure) {
        guard !spec.list.disableCheck else { return }
        for index in spec.list.plugins.indices {
            let plugin = try PluginCall(spec, index, .check, previous: attached.result, self).plugin()
            do throws(Failure) { try plugin.check(attached.result) } catch {
                throw plugin.naming(error)
            }
        }
    }

    /// CHECK of an attachment whose result nobody kept: a built-in plugin's link is there, and of its kind.
    package func checkLink(_ spec: AttachmentSpec) throws(Failure) {
        guard !spec.list.disableCheck else { return }
        for index in spec.list.plugins.indices {
            let plugin = try PluginCall(spec, index, .check, previous: nil, self).plugin()
            do throws(Failure) { try plugin.checkLink() } catch { throw plugin.naming(error) }
        }
    }

    /// Steps that belong to no plugin, such as a default route that moves.
    package func run(_ steps: [Step], _ journal: inout Journal) throws(Failure) {
        if let refused = executor.run(steps, &journal) { throw executor.failure(of: refused) }
    }

    /// Which of `names` the sandbox has; the others need not be looked for before they are made.
    package func present(_ names: [String]) throws(Failure) -> [String] {
        let found = try sandboxLinks().map(\.name)
        kernel.links.note(absent: names.filter { !found.contains($0) })
        return names.filter(found.contains)
    }

    /// The links in the sandbox; none when it is gone.
    package func sandboxLinks() throws(Failure) -> [(name: String, index: Int32)] {
        guard kernel.hasSandbox else { return [] }
        do throws(SystemError) {
            return try kernel.with(.sandbox) { socket throws(SystemError) in try socket.links() }
                .map { ($0.name, $0.index) }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// Those of which the host has the pair that is named for them, and its other end is in a namespace that lives.
    package func havingLivingPairs(_ ids: [AttachmentID]) throws(Failure) -> Set<AttachmentID> {
        if ids.isEmpty { return [] }
        do throws(SystemError) {
            return try kernel.with(.host) { socket throws(SystemError) in
                let names = ids.map(\.hostLinkName)
                let wanted = Set(names)
                var pairs: Set<String> = []
                for link in try socket.links() where link.kind == "veth" && wanted.contains(link.name) {
                    guard let namespace = link.parentNamespaceID, try socket.isAlive(namespace: namespace)
                    else { continue }
                    pairs.insert(link.name)
                }
                return Set(zip(ids, names).filter { pairs.contains($1) }.map(\.0))
            }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// Whether the sandbox has a link with one of these MAC addresses, as far as they tell one pod from another: a device may
    /// be another pod's by now, and an ipvlan has the address of its master.
    package func hasLink(withOneOf macs: [String]) throws(Failure) -> Bool {
        guard kernel.hasSandbox, !macs.isEmpty else { return false }
        do throws(SystemError) {
            let wanted = Set(macs.compactMap(MAC.init(parsing:)))
            return try kernel.with(.sandbox) { socket throws(SystemError) in
                try socket.links().contains { link in
                    link.kind != nil && link.hasOwnAddress && link.mac.map(wanted.contains) == true
                }
            }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// - Parameter cause: why; what it says is not repeated.
    package func undo(_ journal: inout Journal, after cause: Failure? = nil) -> [String] {
        executor.undo(&journal, after: cause)
    }

    /// GC: leases of built-in address sources, and the plugins that know the verb (CNI 1.1).
    ///
    /// - Parameters:
    ///   - valid: all that live.
    ///   - own: those that are on this network: what an executable is told. nil when they are not known: it is not asked.
    package func collect(
        _ spec: AttachmentSpec, valid: [AttachmentID], own: () -> [AttachmentID]?
    ) throws(Failure) {
        for index in spec.list.plugins.indices {
            let isExecutable = isExecutable(spec.list.plugins[index], spec)
            let told = isExecutable ? own() : nil
            if isExecutable, told == nil { continue }
            let plugin = try PluginCall(spec, index, .gc, previous: nil, self, valid: told).plugin()
            do throws(Failure) { try plugin.collect(valid) } catch {
                throw plugin.naming(error)
            }
        }
    }

    /// The plugins of a network that GC has something to ask.
    package func collectable(_ spec: AttachmentSpec) -> [JSON] {
        spec.list.plugins.filter { isExecutable($0, spec) || $0["ipam"] != nil }
    }

    /// Whether a plugin is one, or its address source.
    private func isExecutable(_ plugin: JSON, _ spec: AttachmentSpec) -> Bool {
        guard let type = plugin["type"]?.string, registry.module(type) != nil else { return true }
        let source = plugin["ipam"]?["type"]?.string
        return spec.external.contains(type)
            || source.map { registry.source($0) == nil || spec.external.contains($0) } ?? false
    }

    /// STATUS of each plugin: configurations are valid, executables there, addresses to be had.
    package func status(_ spec: AttachmentSpec) throws(Failure) {
        for index in spec.list.plugins.indices {
            let plugin = try PluginCall(spec, index, .status, previous: nil, self).plugin()
            do throws(Failure) { try plugin.status() } catch {
                throw plugin.naming(error)
            }
        }
    }

    package func observe(_ query: FactsQuery) throws(Failure) -> Facts { try worker.observe(query) }
}
