package import CNI
import Linux
import Netlink
import Networking
package import Plans

/// What DEL of one plugin asks for.
struct Pending {
    var removal = Removal()
    var lease: (source: any AddressSource.Type, request: LeaseRequest)?
    var call: ExternalCall?
    var problem: Failure?
}

/// DEL of a container's attachments: everything that can be identified is removed, whatever fails on the way.
///
/// First what needs the links (external plugins, restores); then the links, all in one group delete; then the addresses
/// whose links are gone: no address is handed out while it is still on a link.
package final class Teardown {
    let runner: ChainRunner
    /// There may never have been such an attachment: a plugin that cannot even be started is no failure.
    private let isGuess: Bool
    /// By the names that the attachments know them by.
    var links: [LinkName] = []
    var hostPairs: [String] = []
    private var leases: [(source: any AddressSource.Type, request: LeaseRequest)] = []
    /// Seconds for which the DEL of a plugin has to work whose own ADD failed. After that it keeps nothing from going: what it
    /// cannot clean up it may never have made.
    private static let refusalPatience: Int64 = 300
    /// Attachments whose device is still out, with its addresses.
    package private(set) var held: Set<String> = []
    package internal(set) var problems: [Failure] = []

    /// - Parameter holding: interfaces whose addresses are not to be released.
    package init(_ runner: ChainRunner, isGuess: Bool = false, holding: Set<String> = []) {
        self.runner = runner
        self.isGuess = isGuess
        held = holding
    }

    /// One attachment on its way out.
    struct Detaching {
        let id: AttachmentID
        /// Whom a line of the log is about.
        let subject: String
        /// The plugin whose own ADD failed, as did its undo.
        var refusal: Attached.Refusal?
        /// False once a restore failed, or the device cannot be reached: what the next DEL needs is kept.
        var isRestored = true
    }

    /// Runs the plugins of one attachment, last one first, up to the deletion of links.
    package func detach(_ spec: AttachmentSpec, _ attached: Attached?) {
        let previous = attached.flatMap { $0.isWhole ? $0.result : nil }
        var state = Detaching(id: spec.id, subject: spec.subject, refusal: attached?.refusal)
        do throws(Failure) { state.isRestored = try runner.recognize(spec, attached) } catch {
            state.isRestored = false
            note(error, spec, false)
        }
        for index in spec.list.plugins.indices.reversed() {
            let plugin: any Plugin
            let pending: Pending
            do throws(Failure) {
                plugin = try PluginCall(
                    spec, index, .del, previous: previous, runner, attached: attached
                ).plugin()
                pending = try plugin.removal()
            } catch {
                state.isRestored = false
                note(error, spec, isGuess)
                continue
            }
            let known = problems.count
            do throws(Failure) { try detach(pending, &state) } catch {
                note(plugin.naming(error), spec, false)
            }
            name(problems[known...], "\(spec.name) on \(spec.id.interface)", spec.place)
            if let problem = pending.problem { note(problem, spec, isGuess) }
        }
    }

    private func note(_ problem: Failure, _ spec: AttachmentSpec, _ isTolerated: Bool) {
        let problem =
            runner.rules.namesPlugins
            ? problem.prefixed("\(spec.name) on \(spec.id.interface)").ending(with: spec.place) : problem
        if isTolerated {
            tell(problem, spec.id)
        } else {
            problems.append(problem)
        }
    }

    /// Prefixes problems with their attachment.
    func name(_ found: ArraySlice<Failure>, _ owner: String, _ place: String = "") {
        guard runner.rules.namesPlugins else { return }
        for index in found.indices { problems[index] = found[index].prefixed(owner).ending(with: place) }
    }

    func detach(_ pending: Pending, _ state: inout Detaching) throws(Failure) {
        let removal = pending.removal
        links += removal.links.map { .sandbox($0) }
        hostPairs += removal.hostPairs
        if let lease = pending.lease, !lease.source.needsLink { leases.append(lease) }
        for step in removal.restores { restore(step, &state) }
        // What keeps its addresses keeps an IPAM plugin's as well; such a plugin may talk over the link, which the steps may
        // take away.
        let isHeld =
            removal.problem != nil || !state.isRestored && removal.steps.contains { $0.kind.holdsAddresses }
        var refused: Failure?
        if let call = pending.call, !isHeld {
            do throws(Failure) { try run(call, state) } catch { refused = error }
        }
        if let (source, request) = pending.lease, source.needsLink, !isHeld {
            do throws(Failure) { try source.release(request) } catch { refused = error }
        }
        for step in removal.steps { remove(step, &state) }
        if let problem = removal.problem {
            held.insert(state.id.interface)
            throw problem
        }
        if let refused { throw refused }
    }

    private func restore(_ step: Step, _ state: inout Detaching) {
        guard let refused = run(step, isRepeated: true), !refused.isGone else { return }
        // A pod could ask for what cannot be put back, and must not stay for that.
        if refused.isFinal, runner.rules.retriesRestores {
            return runner.log.error("DEL of \(state.subject): it stays as it is: \(refused.error)")
        }
        state.isRestored = false
        // In the meta role the next DEL tries again; the reference never does.
        guard runner.rules.retriesRestores else {
            return runner.log.error("DEL of \(state.subject): \(refused.error)")
        }
        problems.append(runner.executor.failure(of: refused))
    }

    private func remove(_ step: Step, _ state: inout Detaching) {
        if step.kind.waitsForRestore, !state.isRestored {
            if step.kind.holdsAddresses { held.insert(state.id.interface) }
            return
        }
        guard let refused = run(step, isRepeated: false), !refused.isGone else { return }
        state.isRestored = false
        held.insert(state.id.interface)
        problems.append(runner.executor.failure(of: refused))
    }

    private func tell(_ problem: Failure, _ id: AttachmentID) {
        let why = isGuess ? "without a record" : "whose ADD failed"
        runner.log.error("DEL of container \(id.containerID) \(why): \(problem.message)")
    }

    /// Without a record a plugin that cannot be started is ignored: an ADD could not have started it either; and so is one
    /// that refuses its configuration, or refuses while the pod has no interface of that name.
    private func run(_ call: ExternalCall, _ state: Detaching) throws(Failure) {
        let answer: ChildResult
        do throws(Failure) { answer = try call.execute() } catch {
            guard isGuess else { throw error }
            return tell(error, call.id)
        }
        do throws(Failure) { _ = try call.result(of: answer) } catch {
            var isTolerated = isGivenUp(call, error, state.refusal) || isGuess && error.isOfConfiguration
            if isGuess, !isTolerated { isTolerated = try !hasInterface(call.id) }
            guard isTolerated else { throw error }
            tell(error, call.id)
        }
    }

    /// Whether nothing is to be expected of further DELs of a plugin that refused ADD.
    private func isGivenUp(
        _ call: ExternalCall, _ error: Failure, _ refusal: Attached.Refusal?
    ) -> Bool {
        guard let refusal, refusal.type == call.type else { return false }
        let age = secondsSinceEpoch() - refusal.time
        return error.isOfConfiguration || !(0...Self.refusalPatience).contains(age)
    }

    private func hasInterface(_ id: AttachmentID) throws(Failure) -> Bool {
        do throws(SystemError) { return try runner.kernel.link(.sandbox(id.interface)) != nil } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// - Parameter isRepeated: tries a second time before a refusal counts as final.
    private func run(_ step: Step, isRepeated: Bool) -> RefusedStep? {
        var scrap = Journal()
        let refused = runner.executor.run([step], &scrap)
        guard isRepeated, refused?.isFinal == true else { return refused }
        return runner.executor.run([step], &scrap)
    }

    /// Deletes the links, then releases the addresses.
    package func finish() {
        let stuck = deleteLinks()
        for (source, request) in leases where !stuck.union(held).contains(request.id.interface) {
            do throws(Failure) { try source.release(request) } catch { problems.append(error) }
        }
    }

    /// The names of links that would not go, as the attachments know them.
    private func deleteLinks() -> Set<String> {
        var stuck: Set<String> = []
        let names = runner.kernel.hasSandbox ? links.filter { $0.name != "lo" } : []
        var missing: [LinkName] = []
        do throws(SystemError) {
            let all = names.count > 1 ? try listed() : []
            let found = try names.count > 1 ? among(all, names) : looked(for: names)
            missing = names.filter { name in !found.contains { $0.name == name.name } }
            do throws(SystemError) {
                if found.count > 1 {
                    try deleteGroup(found.map(\.link), besides: all)
                } else {
                    stuck = deleteEach(found)
                }
            } catch {
                stuck = deleteEach(found)
            }
        } catch {
            stuck = Set(names.map(\.name))
            problems.append(Failure(.generic, "\(error)"))
        }
        for name in missing {
            do throws(SystemError) { try deleteStray(name) } catch {
                stuck.insert(name.name)
                problems.append(Failure(.generic, "\(error)"))
            }
        }
        do throws(SystemError) {
            for name in hostPairs {
                let link = try runner.kernel.with(.host) { socket throws(SystemError) in
                    try socket.link(named: name)
                }
                // The kernel also finds a link by an alternative name.
                guard let link, link.name == name, try isOurs(link) else { continue }
                do throws(SystemError) {
                    try runner.kernel.with(.host) { socket throws(SystemError) in
                        try socket.delete(index: link.index)
                    }
                } catch  where error.code == .noSuchDevice {}
            }
        } catch {
            problems.append(Failure(.generic, "\(error)"))
        }
        return stuck
    }

    /// Whether a link of the host that has a derived name is this attachment's. Under a plugin's own name another pod
    /// with the same container ID may have it: it is ours when its peer is in this pod, or in a namespace that is gone.
    private func isOurs(_ link: LinkInfo) throws(SystemError) -> Bool {
        guard link.kind == "veth" else { return false }
        guard runner.rules.sharesContainerIDs, runner.kernel.hasSandbox, link.parentIndex != nil else {
            return true
        }
        if try runner.kernel.isHostEnd(link) { return true }
        return try runner.kernel.with(.host) { socket throws(SystemError) in
            try link.parentNamespaceID.map { id throws(SystemError) in try !socket.isAlive(namespace: id) }
                ?? false
        }
    }

    /// Deletes a link that the pod moved to a namespace that it made.
    private func deleteStray(_ name: LinkName) throws(SystemError) {
        let stray = try runner.kernel.astray(name) { $0.kind != nil && $0.mac == $1.mac }
        guard let stray else { return }
        try runner.kernel.with(.sandbox) { socket throws(SystemError) in
            try socket.delete(index: stray.link.index, namespace: stray.namespace)
        }
    }

    func listed() throws(SystemError) -> [LinkInfo] {
        try runner.kernel.with(.sandbox) { socket throws(SystemError) in try socket.links() }
    }

    /// A link of the sandbox, and the name that its attachment knows it by.
    private typealias Found = (name: String, link: LinkInfo)

    private func among(_ all: [LinkInfo], _ names: [LinkName]) -> [Found] {
        names.compactMap { name in
            let known = runner.kernel.links.known(name).flatMap { known in
                all.first { $0.index == known.index }
            }
            return (known ?? all.first { $0.name == name.name }).map { (name.name, $0) }
        }
    }

    private func looked(for names: [LinkName]) throws(SystemError) -> [Found] {
        var found: [Found] = []
        for name in names {
            guard let (link, _) = try runner.kernel.link(name) else { continue }
            // The kernel also finds a link by an alternative name.
            let isKnown = runner.kernel.links.known(name)?.index == link.index
            if isKnown || link.name == name.name { found.append((name.name, link)) }
        }
        return found
    }

    private func deleteEach(_ links: [Found]) -> Set<String> {
        var stuck: Set<String> = []
        for (name, link) in links {
            do throws(SystemError) {
                try runner.kernel.with(.sandbox) { socket throws(SystemError) in
                    try socket.delete(index: link.index)
                }
            } catch  where error.code == .noSuchDevice {
            } catch {
                stuck.insert(name)
                problems.append(Failure(.generic, "\(error)"))
            }
        }
        return stuck
    }

    /// One wait for the kernel's grace period instead of one for each link.
    private func deleteGroup(_ links: [LinkInfo], besides all: [LinkInfo]) throws(SystemError) {
        var group = UInt32.random(in: 1 << 16...UInt32.max)
        while all.contains(where: { $0.group == group }) { group = UInt32.random(in: 1 << 16...UInt32.max) }
        try runner.kernel.with(.sandbox) { socket throws(SystemError) in
            try socket.setGroup(links.map(\.index), group)
            try socket.delete(group: group)
        }
    }
}
