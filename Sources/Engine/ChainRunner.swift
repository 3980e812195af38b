package import CNI
package import JSONC
package import Linux
import Netlink
package import Network
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
    /// For DEL: the sysctls that the attachment saved, and the addresses that it was given.
    var saved: [String: String] = [:]
    var given: [IPAddress] = []

    package var kernel: Kernel { executor.kernel }

    package init(_ kernel: Kernel, registry: Registry, isMeta: Bool, log: Log) {
        self.executor = Executor(kernel)
        self.registry = registry
        self.isMeta = isMeta
        self.log = log
    }

    /// Attaches; on failure the caller undoes the journal.
    ///
    /// - Parameter willSave: gets the original values of sysctls, by path, before they are changed.
    package func add(
        _ spec: AttachmentSpec, _ journal: inout Journal,
        willSave: ([String: String]) throws(Failure) -> Void = { (_) throws(Failure) in }
    ) throws(Failure) -> Attached {
        var previous: CNIResult?
        let start = journal.count
        for index in spec.list.plugins.indices {
            let plugin = try Plugin(spec, index, .add, previous: previous, self)
            do throws(Failure) {
                previous = try plugin.add(&journal, willSave) ?? previous
            } catch {
                throw plugin.naming(error)
            }
        }
        var attached = Attached(
            result: previous ?? CNIResult(), saved: journal.saved(since: start),
            given: journal.given(since: start))
        attached.device = journal.device(since: start)
        if isMeta, explained == nil {
            attached.index = try executor.index(ofMade: .sandbox(spec.id.interface))
        }
        return attached
    }

    /// Refuses what can be refused before anything is touched: configurations, and executables that are missing.
    package func validate(_ spec: AttachmentSpec) throws(Failure) {
        if isMeta { try judge(spec) }
        for index in spec.list.plugins.indices {
            let plugin = try Plugin(spec, index, .add, previous: nil, self)
            do throws(Failure) { try plugin.validate() } catch {
                throw plugin.naming(error)
            }
        }
    }

    package func check(_ spec: AttachmentSpec, _ attached: Attached) throws(Failure) {
        guard !spec.list.disableCheck else { return }
        for index in spec.list.plugins.indices {
            let plugin = try Plugin(spec, index, .check, previous: attached.result, self)
            do throws(Failure) { try plugin.check(attached.result) } catch {
                throw plugin.naming(error)
            }
        }
    }

    /// What ADD would do, in order; touches nothing.
    package func explain(_ spec: AttachmentSpec) throws(Failure) -> (lines: [Explained], result: CNIResult) {
        explained = []
        try validate(spec)
        var journal = Journal()
        let attached = try add(spec, &journal)
        return (explained ?? [], attached.result)
    }

    /// Steps that belong to no plugin, such as a default route that moves.
    package func run(_ steps: [Step], _ journal: inout Journal) throws(Failure) {
        do throws(StepError) { try executor.run(steps, &journal) } catch { throw executor.failure(of: error) }
    }

    /// Which of `names` the sandbox has; the others need not be looked for before they are made.
    package func present(_ names: [String]) throws(Failure) -> [String] {
        let found = try sandboxLinks().map(\.name)
        kernel.absent = names.filter { !found.contains($0) }
        return names.filter(found.contains)
    }

    /// The links in the sandbox; none when it is gone.
    package func sandboxLinks() throws(Failure) -> [(name: String, index: Int32)] {
        guard kernel.hasSandbox else { return [] }
        do throws(NetlinkError) {
            return try kernel.with(.sandbox) { socket throws(NetlinkError) in try socket.links() }
                .map { ($0.name, $0.index) }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// The addresses on the sandbox's links, whatever they are called.
    package func sandboxAddresses() throws(Failure) -> Set<IPAddress> {
        var found: Set<IPAddress> = []
        for (_, index) in try sandboxLinks() {
            do throws(NetlinkError) {
                try kernel.with(.sandbox) { socket throws(NetlinkError) in
                    for address in try socket.addresses(index: index) { found.insert(address.cidr.address) }
                }
            } catch {
                throw Failure(.generic, "\(error)")
            }
        }
        return found
    }

    /// Those of which the host has the pair that is named for them, and its other end is in a namespace that lives.
    package func havingLivingPairs(_ ids: [AttachmentID]) throws(Failure) -> Set<AttachmentID> {
        if ids.isEmpty { return [] }
        do throws(NetlinkError) {
            return try kernel.with(.host) { socket throws(NetlinkError) in
                let names = ids.map { hostLinkName($0.containerID, $0.interface) }
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

    /// Whether the sandbox has each of these links, with its MAC address.
    package func hasLinks(_ links: [(name: String, mac: String)]) throws(Failure) -> Bool {
        guard kernel.hasSandbox, !links.isEmpty else { return false }
        do throws(NetlinkError) {
            for (name, mac) in links {
                guard let link = try kernel.link(.sandbox(name)), link.info.mac == MAC(parsing: mac) else {
                    return false
                }
            }
        } catch {
            throw Failure(.generic, "\(error)")
        }
        return true
    }

    /// - Parameter cause: why; what it says is not repeated.
    package func undo(_ journal: inout Journal, after cause: Failure? = nil) -> [String] {
        executor.undo(&journal, after: cause)
    }

    /// GC: leases of built-in address sources, and the plugins that know the verb (CNI 1.1).
    ///
    /// - Parameters:
    ///   - valid: all that live.
    ///   - own: those that are on this network, or may be: what an executable is told.
    package func collect(
        _ spec: AttachmentSpec, valid: [AttachmentID], own: () -> [AttachmentID]
    ) throws(Failure) {
        for index in spec.list.plugins.indices {
            let told = isExecutable(spec.list.plugins[index], spec) ? own() : nil
            let plugin = try Plugin(spec, index, .gc, previous: nil, self, valid: told)
            do throws(Failure) { try plugin.collect(valid) } catch {
                throw isMeta ? error.prefixed(plugin.type) : error
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
            let plugin = try Plugin(spec, index, .status, previous: nil, self)
            do throws(Failure) { try plugin.status() } catch {
                throw isMeta ? error.prefixed(plugin.type) : error
            }
        }
    }

    /// - Parameter plugin: whom it is about; nil for the network.
    func say(_ remark: Remark, _ spec: AttachmentSpec, _ plugin: String?) {
        let text =
            switch remark {
            case .concern(let text), .choice(let text): text
            }
        if explained != nil {
            let line = Explained(
                attachment: spec.name, plugin: plugin ?? "", action: .remark(text))
            explained?.append(line)
            return
        }
        let line = "\(spec.subject): \(plugin.map { "\($0): " } ?? "")\(text)"
        if case .concern = remark { log.error(line) } else { log.verbose(line) }
    }

    /// Facts as they are, and as the imagined steps would make them.
    package func observe(_ query: FactsQuery) throws(Failure) -> Facts {
        var query = query
        for link in imagined.flatMap(\.kind.basis) where !query.links.contains(link) {
            query.links.append(link)
        }
        let facts = try kernel.observe(query).after(imagined)
        return explained == nil ? facts : try imagine(query.sysctls, facts)
    }

    /// Sysctls that would be there: a pod that does not exist has those of a new namespace, of which this one's tell
    /// which there are, and a link that does not exist those of the default.
    private func imagine(_ sysctls: [SysctlName], _ facts: Facts) throws(Failure) -> Facts {
        var facts = facts
        let place: Place = kernel.hasSandbox ? .sandbox : .host
        for name in sysctls where name.place == .sandbox && facts.sysctls[name] == nil {
            var parts = name.path.split(separator: "/").map(String.init)
            if parts.count > 3, facts.links[.sandbox(parts[3])] != nil { parts[3] = "default" }
            let other = SysctlName(place, parts.joined(separator: "/"))
            let found = try kernel.observe(FactsQuery(sysctls: [other]))
            facts.sysctls[name] = found.sysctls[other]
            if found.unreadable.contains(other) { facts.unreadable.append(name) }
        }
        return facts
    }
}
