package import CNI
import JSONC
package import Linux
package import Plans

/// Runs the plugins of one network list after another: each is observed, planned and applied before the next,
/// since the next needs facts about what this one made.
package final class ChainRunner {
    let executor: Executor
    let registry: Registry
    let isMeta: Bool
    let log: Log
    /// Filled by `explain`, which then runs nothing.
    var explained: [Explained]?
    var imagined: [Step] = []
    /// For DEL: the sysctls that the attachment saved.
    var saved: [String: String] = [:]

    var kernel: Kernel { executor.kernel }

    package init(_ kernel: Kernel, registry: Registry, isMeta: Bool, log: Log) {
        self.executor = Executor(kernel)
        self.registry = registry
        self.isMeta = isMeta
        self.log = log
    }

    /// Attaches; on failure the caller undoes the journal.
    package func add(_ spec: AttachmentSpec, _ journal: inout Journal) throws(Failure) -> Attached {
        var previous: CNIResult?
        let start = journal.count
        for index in spec.list.plugins.indices {
            let plugin = try Plugin(spec, index, .add, previous: previous, self)
            do throws(Failure) {
                previous = try plugin.add(&journal) ?? previous
            } catch {
                throw isMeta ? error.prefixed(plugin.type) : error
            }
        }
        return Attached(result: previous ?? CNIResult(), saved: journal.saved(since: start))
    }

    /// Refuses what can be refused before anything is touched: configurations, and executables that are missing.
    package func validate(_ spec: AttachmentSpec) throws(Failure) {
        for index in spec.list.plugins.indices {
            let plugin = try Plugin(spec, index, .add, previous: nil, self)
            do throws(Failure) { try plugin.validate() } catch {
                throw isMeta ? error.prefixed(plugin.type) : error
            }
        }
    }

    package func check(_ spec: AttachmentSpec, _ attached: Attached) throws(Failure) {
        guard !spec.list.disableCheck else { return }
        for index in spec.list.plugins.indices {
            let plugin = try Plugin(spec, index, .check, previous: attached.result, self)
            do throws(Failure) { try plugin.check(attached.result) } catch {
                throw isMeta ? error.prefixed(plugin.type) : error
            }
        }
    }

    /// What ADD would do, in order; touches nothing.
    package func explain(_ spec: AttachmentSpec) throws(Failure) -> (lines: [Explained], result: CNIResult) {
        explained = []
        var journal = Journal()
        let attached = try add(spec, &journal)
        return (explained ?? [], attached.result)
    }

    /// Steps that belong to no plugin, such as a default route that moves.
    package func run(_ steps: [Step], _ journal: inout Journal) throws(Failure) {
        do throws(StepError) { try executor.run(steps, &journal) } catch { throw error.failure }
    }

    package func undo(_ journal: inout Journal) -> [String] { executor.undo(&journal) }

    /// GC: leases of built-in address sources, and the plugins that know the verb (CNI 1.1).
    package func collect(_ spec: AttachmentSpec, valid: [AttachmentID]) throws(Failure) {
        for index in spec.list.plugins.indices {
            try Plugin(spec, index, .gc, previous: nil, self, valid: valid).collect(valid)
        }
    }

    /// STATUS of each plugin: configurations are valid, executables there, addresses to be had.
    package func status(_ spec: AttachmentSpec) throws(Failure) {
        for index in spec.list.plugins.indices {
            try Plugin(spec, index, .status, previous: nil, self).status()
        }
    }

    /// Facts as they are, and as the imagined steps would make them.
    package func observe(_ query: FactsQuery) throws(Failure) -> Facts {
        var query = query
        // A pod that does not exist has the sysctls of a new namespace: this one's tell which there are.
        let unseen =
            explained != nil && !kernel.hasSandbox ? query.sysctls.filter { $0.place == .sandbox } : []
        query.sysctls += unseen.map { SysctlName(.host, $0.path) }
        var facts = try kernel.observe(query)
        for name in unseen { facts.sysctls[name] = facts.sysctls[SysctlName(.host, name.path)] }
        return facts.after(imagined)
    }
}
