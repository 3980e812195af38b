package import CNI
import Linux
import Netlink
import Networking
package import Plans

/// What was found of one attachment, and done.
package struct Repair {
    /// What the host had lost, in words; empty when all is there.
    package let lost: [String]
    /// Why it could not be mended.
    package var problem: Failure?
    /// As the record is to have it; nil when nothing changed.
    package var attached: Attached?
}

extension ChainRunner {
    /// Finds what the host has lost of an attachment since its ADD, and makes that again: with the same names, and the same
    /// addresses. A link that is lost is made anew with all that is on it; otherwise only what is missing in the host.
    ///
    /// - Parameter isDry: only looks.
    package func repair(_ spec: AttachmentSpec, _ attached: Attached, isDry: Bool) -> Repair {
        var lost: [String] = []
        let chain: Chain
        do throws(Failure) { chain = try prepare(spec) } catch {
            return Repair(lost: ["its plugins"], problem: error)
        }
        do throws(Failure) {
            let isHome = try recognize(spec, attached)
            let hasLink = isHome ? try isThere(spec, attached) : false
            if !hasLink { lost.append("interface \(spec.id.interface)") }
            do throws(Failure) {
                lost += try leases(chain, attached, isKept: false).map { "lease of \($0)" }
            } catch {
                return Repair(lost: lost + ["its lease"], problem: error)
            }
            // Of a device of its own nothing is left there.
            let isDevice = try hasDevice(spec)
            let survey = hasLink && isDevice ? nil : surveyed(spec, attached, hasLink)
            lost += survey?.losses.map(\.text).filter { !$0.isEmpty } ?? []
            if let problem = survey?.problem {
                return Repair(lost: lost.isEmpty ? ["its part in the host"] : lost, problem: problem)
            }
            if isDry || lost.isEmpty { return Repair(lost: lost) }
            _ = try leases(chain, attached, isKept: true)
            guard hasLink else { return Repair(lost: lost, attached: try rebuild(spec, attached)) }
            if let survey { try mend(survey, spec) }
            return Repair(lost: lost, attached: attached)
        } catch {
            return Repair(lost: lost, problem: error)
        }
    }

    private func leases(
        _ chain: Chain, _ attached: Attached, isKept: Bool
    ) throws(Failure) -> [IPAddress] {
        var lost: [IPAddress] = []
        for plugin in chain.plugins { lost += try plugin.lostLeases(attached, isKept: isKept) }
        return lost
    }

    private func surveyed(_ spec: AttachmentSpec, _ attached: Attached, _ hasLink: Bool) -> Survey {
        let survey = Survey(kernel, spec.id.interface, attached, hasLink: hasLink)
        let surveyor = ChainRunner(executor, self, survey)
        var scrap = Journal()
        var previous: CNIResult?
        do throws(Failure) {
            for plugin in try surveyor.prepare(spec).plugins {
                do throws(Failure) {
                    previous = try plugin.add(after: previous, nil, &scrap) { _ in } ?? previous
                } catch {
                    // A link that is there works, whatever an ADD would say: the pod may have changed what this plugin
                    // asks for. One with a part in the host is refused by the host, and nobody knows what is left there.
                    let type = plugin.call.type
                    let hasHostPart =
                        !spec.external.contains(type) && registry.traits(type).contains(.hasHostPart)
                    if hasLink, !hasHostPart { return survey }
                    var error = plugin.naming(error)
                    // The configuration was right once: not its keys are to be corrected.
                    if !hasHostPart, let absent = survey.absent { error.details = absent }
                    throw error
                }
            }
        } catch {
            survey.problem = error
        }
        return survey
    }

    /// Whether the pod has the attachment's link, or moved it; true of one that has none.
    private func isThere(_ spec: AttachmentSpec, _ attached: Attached) throws(Failure) -> Bool {
        let name = LinkName.sandbox(spec.id.interface)
        guard attached.index != nil else { return true }
        do throws(SystemError) {
            if let known = kernel.links.known(name) {
                let found = try kernel.with(known.place) { socket throws(SystemError) in
                    try socket.link(index: known.index)
                }
                if found != nil { return true }
            }
            if try kernel.astray(name, { $0.kind != nil && $0.mac == $1.mac }) != nil { return true }
        } catch {
            throw Failure(.generic, "\(error)")
        }
        kernel.links.note(nil as KnownLink?, for: name)
        try removeHalfMade(name, attached)
        return false
    }

    /// A repair that was killed may have made the link, and nothing has noted that. No pod can make one that is tied to the
    /// host.
    private func removeHalfMade(_ name: LinkName, _ attached: Attached) throws(Failure) {
        let mac = attached.result.interfaces.first { $0.name == name.name && !$0.isInHost }?.mac
        do throws(SystemError) {
            guard let (link, _) = try kernel.link(name), link.name == name.name, link.kind != nil,
                link.parentNamespaceID != nil, link.mac == mac.flatMap(MAC.init(parsing:))
            else { return }
            try kernel.with(.sandbox) { socket throws(SystemError) in try socket.delete(index: link.index) }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// What is missing in the host, beside a link that is there.
    private func mend(_ survey: Survey, _ spec: AttachmentSpec) throws(Failure) {
        var journal = Journal()
        for loss in survey.losses {
            switch loss.mend {
            case .step(let step): try run([step], &journal)
            case .external(let call, let before, let check):
                _ = try? before.run()  // what is left of it may be nothing
                _ = try call.run()
                do throws(Failure) { _ = try check.run() } catch {
                    throw Failure(
                        .generic, "\(call.type) was run again, and its CHECK still says: \(error.message)",
                        details: "it may not know all that it checks: look at what it made")
                }
            }
        }
    }

    /// Makes the link and all that is on it; undone when it fails.
    private func rebuild(_ spec: AttachmentSpec, _ attached: Attached) throws(Failure) -> Attached {
        var journal = Journal()
        let name = LinkName.sandbox(spec.id.interface)
        do throws(Failure) {
            let builder = ChainRunner(executor, self, Rebuilder(executor, rules, log, attached))
            var made = try builder.add(builder.prepare(spec), &journal)
            // Those that other networks' wishes have moved since.
            let there = try observe(FactsQuery(routes: true)).routes
            let missing = attached.result.routes.filter { route in
                route.isDefault && !there.contains { $0.link == name.name && $0.route.isDefault(like: route) }
            }
            try run(missing.map { .addRoute($0, name) }, &journal)
            // The kernel decides some MAC addresses anew, such as an ipvlan's.
            made.result.ips = attached.result.ips
            made.result.routes = attached.result.routes
            made.result.dns = attached.result.dns
            made.saved.merge(attached.saved) { _, original in original }
            made.given = attached.given
            made.deviceInfo = attached.deviceInfo
            return made
        } catch {
            var error = error
            let problems = undo(&journal, after: error)
            error.details = ([error.details] + problems).filter { !$0.isEmpty }.joined(separator: "; ")
            throw error
        }
    }
}

extension Route {
    fileprivate func isDefault(like other: Route) -> Bool { isDefault && family == other.family }
}

/// Makes an attachment again that has its addresses.
private final class Rebuilder: Worker {
    private let executor: Executor
    private let live: LiveWorker
    private let attached: Attached

    init(_ executor: Executor, _ rules: RoleRules, _ log: Log, _ attached: Attached) {
        self.executor = executor
        live = LiveWorker(executor, rules, log)
        self.attached = attached
    }

    func observe(_ query: FactsQuery) throws(Failure) -> Facts { try live.observe(query) }

    func run(_ steps: [Step], of plugin: PluginCall, _ journal: inout Journal) -> RefusedStep? {
        live.run(
            steps.filter { !isMovedAway($0) }.map { $0.keepingAddress(of: attached.result) }, of: plugin,
            &journal)
    }

    /// A default route that another network of the pod has taken.
    private func isMovedAway(_ step: Step) -> Bool {
        guard case .add(let route, _)? = step.of(RouteStep.self), route.isDefault, route.table == nil else {
            return false
        }
        return !attached.result.routes.contains { $0.isDefault(like: route) }
    }

    func result(of plan: Plan) throws(Failure) -> CNIResult { try live.result(of: plan) }

    func take(
        _: any AddressSource.Type, _ config: any AddressConfig, _ request: LeaseRequest, of _: PluginCall,
        _: inout Journal
    ) throws(Failure) -> Lease? { try config.lease(request.given(attached)) }

    func add(
        _ call: ExternalCall, undo: ExternalCall, of plugin: PluginCall, _ journal: inout Journal
    ) throws(Failure) -> CNIResult? {
        guard plugin.attachment.previous != nil else { throw .otherAddresses(call.type) }
        _ = try? undo.run()  // what is left of it may be nothing
        return try live.add(call, undo: undo, of: plugin, &journal)
    }

    func take(
        _: ExternalCall, undo _: ExternalCall, of _: PluginCall, _: inout Journal
    ) throws(Failure) -> Lease? { Lease(of: attached) }

    func index(of link: LinkName) throws(Failure) -> Int32? { try live.index(of: link) }
    func say(_: Remark, _: AttachmentSpec, _: String) {}
}
