package import CNI
import Linux
import Netlink
import Plans

/// What DEL of one plugin asks for.
struct Pending {
    var removal = Removal()
    var lease: (source: any AddressSource.Type, request: LeaseRequest)?
    var call: ForeignCall?
    var problem: Failure?
}

/// DEL of a container's attachments: everything that can be identified goes, whatever fails on the way.
///
/// First what needs the links (foreign plugins, restores), then the links, all in one group delete, then the
/// addresses, and only those whose links are gone: no address is handed out while it is still on a link.
package final class Teardown {
    private let runner: ChainRunner
    /// Nothing says that there ever was such an attachment: what cannot even be asked is no failure.
    private let isGuess: Bool
    private var links: [String] = []
    private var hostLinks: [String] = []
    private var leases: [(source: any AddressSource.Type, request: LeaseRequest)] = []
    package private(set) var problems: [Failure] = []

    package init(_ runner: ChainRunner, isGuess: Bool = false) {
        self.runner = runner
        self.isGuess = isGuess
    }

    /// Runs the plugins of one attachment, last one first, up to the deletion of links.
    package func detach(_ spec: AttachmentSpec, _ attached: Attached?) {
        runner.saved = attached?.saved ?? [:]
        runner.given = attached?.given ?? []
        let previous = attached.flatMap { $0.isWhole ? $0.result : nil }
        for index in spec.list.plugins.indices.reversed() {
            let pending: Pending
            do throws(Failure) {
                pending = try Plugin(spec, index, .del, previous: previous, runner).removal()
            } catch {
                note(error, spec, isGuess)
                continue
            }
            do throws(Failure) { try detach(pending) } catch { note(error, spec, false) }
            if let problem = pending.problem { note(problem, spec, isGuess) }
        }
    }

    private func note(_ problem: Failure, _ spec: AttachmentSpec, _ isTolerated: Bool) {
        let problem = runner.isMeta ? problem.prefixed("\(spec.name) on \(spec.id.interface)") : problem
        if isTolerated {
            runner.log.error("DEL without a record: \(problem.message)")
        } else {
            problems.append(problem)
        }
    }

    private func detach(_ pending: Pending) throws(Failure) {
        links += pending.removal.links
        hostLinks += pending.removal.hostLinks
        if let lease = pending.lease { leases.append(lease) }
        var isRestored = true
        for (step, isVital) in pending.removal.restores.map({ ($0, false) })
            + pending.removal.steps.map({ ($0, true) })
        {
            // What the restores need is kept until they have worked.
            if case .removeFile = step, !isRestored { continue }
            do throws(StepError) { try run(step) } catch {
                if error.isGone { continue }
                // A pod could ask for what cannot be put back, and must not stay for that.
                if !isVital, error.isFinal, runner.isMeta {
                    runner.log.error("DEL: it stays as it is: \(error)")
                    continue
                }
                isRestored = false
                // In the meta role the next DEL tries again; the reference never does.
                if isVital || runner.isMeta {
                    problems.append(error.failure)
                } else {
                    runner.log.error("DEL: \(error)")
                }
            }
        }
        if let call = pending.call { _ = try call.run() }
    }

    /// A refusal that looks final must be repeated.
    private func run(_ step: Step) throws(StepError) {
        var scrap = Journal()
        do throws(StepError) { try runner.executor.run([step], &scrap) } catch  where error.isFinal {
            try runner.executor.run([step], &scrap)
        }
    }

    /// Deletes the links, then releases the addresses.
    package func finish() {
        let stuck = deleteLinks()
        for (source, request) in leases where !stuck.contains(request.id.interface) {
            do throws(Failure) { try source.release(request) } catch { problems.append(error) }
        }
    }

    /// The names of links that would not go.
    private func deleteLinks() -> Set<String> {
        var stuck: Set<String> = []
        let names = runner.kernel.hasSandbox ? links.filter { $0 != "lo" } : []
        do throws(NetlinkError) {
            let all = names.count > 1 ? try listed() : []
            let found = names.count > 1 ? all.filter { names.contains($0.name) } : try named(names, .sandbox)
            do throws(NetlinkError) {
                if found.count > 1 { try deleteGroup(found, besides: all) } else { stuck = deleteEach(found) }
            } catch {
                stuck = deleteEach(found)
            }
        } catch {
            stuck = Set(names)
            problems.append(Failure(.generic, "\(error)"))
        }
        do throws(NetlinkError) {
            for link in try named(hostLinks, .host) where try isOurs(link) {
                do throws(NetlinkError) {
                    try runner.kernel.with(.host) { socket throws(NetlinkError) in
                        try socket.delete(index: link.index)
                    }
                } catch  where error.code == noSuchDevice {}
            }
        } catch {
            problems.append(Failure(.generic, "\(error)"))
        }
        return stuck
    }

    /// Whether a link with a name of ours in the host goes with the attachment. Under a plugin's own name another pod
    /// may have it, with the same container ID: unless its peer is in this pod, or in no namespace any more.
    private func isOurs(_ link: LinkInfo) throws(NetlinkError) -> Bool {
        guard link.kind == "veth" else { return false }
        guard !runner.isMeta, runner.kernel.hasSandbox, let peer = link.parentIndex else { return true }
        let found = try runner.kernel.with(.sandbox) { socket throws(NetlinkError) in
            try socket.link(index: peer)
        }
        if found?.kind == "veth", found?.parentIndex == link.index { return true }
        return try runner.kernel.with(.host) { socket throws(NetlinkError) in
            try link.parentNamespaceID.map { id throws(NetlinkError) in try !socket.isAlive(namespace: id) }
                ?? false
        }
    }

    private func listed() throws(NetlinkError) -> [LinkInfo] {
        try runner.kernel.with(.sandbox) { socket throws(NetlinkError) in try socket.links() }
    }

    private func named(_ names: [String], _ place: Place) throws(NetlinkError) -> [LinkInfo] {
        guard !names.isEmpty else { return [] }
        return try runner.kernel.with(place) { socket throws(NetlinkError) in
            var found: [LinkInfo] = []
            for name in names {
                // The kernel also finds a link by an alternative name.
                if let link = try socket.link(named: name), link.name == name { found.append(link) }
            }
            return found
        }
    }

    private func deleteEach(_ links: [LinkInfo]) -> Set<String> {
        var stuck: Set<String> = []
        for link in links {
            do throws(NetlinkError) {
                try runner.kernel.with(.sandbox) { socket throws(NetlinkError) in
                    try socket.delete(index: link.index)
                }
            } catch  where error.code == noSuchDevice {
            } catch {
                stuck.insert(link.name)
                problems.append(Failure(.generic, "\(error)"))
            }
        }
        return stuck
    }

    /// One wait for the kernel's grace period instead of one for each link.
    private func deleteGroup(_ links: [LinkInfo], besides all: [LinkInfo]) throws(NetlinkError) {
        var group = UInt32.random(in: 1 << 16...UInt32.max)
        while all.contains(where: { $0.group == group }) { group = UInt32.random(in: 1 << 16...UInt32.max) }
        try runner.kernel.with(.sandbox) { socket throws(NetlinkError) in
            try socket.setGroup(links.map(\.index), group)
            try socket.delete(group: group)
        }
    }

    /// Without a record of the pod: the veth pairs whose host end has the name derived for this container.
    package func detachByName(_ containerID: String, _ likely: [String], where isOurs: (String) -> Bool) {
        let names = Set(likely + runner.sandboxLinks()).filter(isOurs)
        hostLinks += names.sorted().map { hostLinkName(containerID, $0) }
    }
}
