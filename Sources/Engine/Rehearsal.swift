package import CNI
package import Plans

/// Runs nothing, and notes what would be done.
package final class Rehearsal: Worker {
    private let kernel: Kernel
    private var lines: [Explained] = []
    /// What was said, and of which plugin; of the network as a whole with an empty name.
    package private(set) var remarks: [(plugin: String, remark: Remark)] = []
    /// What would have been done so far, of all attachments.
    private var imagined: [Step] = []

    package init(_ kernel: Kernel) { self.kernel = kernel }

    /// Facts as they are, and as the imagined steps would make them.
    func observe(_ query: FactsQuery) throws(Failure) -> Facts {
        var query = query
        for link in imagined.flatMap(\.kind.basis) where !query.links.contains(link) {
            query.links.append(link)
        }
        return try kernel.imagine(query.sysctls, kernel.observe(query).after(imagined))
    }

    func run(_ steps: [Step], of plugin: PluginCall, _: inout Journal) -> RefusedStep? {
        for step in steps { note(.step(step), plugin) }
        imagined += steps
        return nil
    }

    func result(of plan: Plan) throws(Failure) -> CNIResult { plan.result }

    func take(
        _ source: any AddressSource.Type, _ config: any AddressConfig, _ request: LeaseRequest,
        of plugin: PluginCall,
        _: inout Journal
    ) throws(Failure) -> Lease? {
        guard let lease = try config.preview(request) else {
            noteUnknown(source.type, plugin)
            return nil
        }
        note(.lease(source.type, lease.ips), plugin)
        return lease
    }

    func add(
        _ call: ExternalCall, undo _: ExternalCall, of plugin: PluginCall, _: inout Journal
    ) throws(Failure) -> CNIResult? {
        note(.external(call.type, path: call.path), plugin)
        return nil
    }

    func take(
        _ call: ExternalCall, undo _: ExternalCall, of plugin: PluginCall, _: inout Journal
    ) throws(Failure) -> Lease? {
        note(.external(call.type, path: call.path), plugin)
        noteUnknown(call.type, plugin)
        return nil
    }

    func index(of _: LinkName) throws(Failure) -> Int32? { nil }

    func say(_ remark: Remark, _ spec: AttachmentSpec, _ plugin: String) {
        remarks.append((plugin, remark))
        lines.append(Explained(attachment: spec.name, plugin: plugin, action: .remark(remark.text)))
    }

    private func noteUnknown(_ source: String, _ plugin: PluginCall) {
        note(.unknown("the steps of \(plugin.type) depend on the addresses that \(source) will give"), plugin)
    }

    private func note(_ action: Explained.Action, _ plugin: PluginCall) {
        lines.append(Explained(attachment: plugin.spec.name, plugin: plugin.type, action: action))
    }
}

extension Kernel {
    /// Sysctls that would be there: a pod that does not exist has those of a new namespace, of which this one's tell
    /// which there are, and a link that does not exist those of the default.
    func imagine(_ sysctls: [SysctlName], _ facts: Facts) throws(Failure) -> Facts {
        var facts = facts
        let place: Place = hasSandbox ? .sandbox : .host
        for name in sysctls where name.place == .sandbox && facts.sysctls[name] == nil {
            var parts = name.path.split(separator: "/").map(String.init)
            if parts.count > 3, facts.links[.sandbox(parts[3])] != nil { parts[3] = "default" }
            let other = SysctlName(place, parts.joined(separator: "/"))
            let found = try observe(FactsQuery(sysctls: [other]))
            facts.sysctls[name] = found.sysctls[other]
            if found.unreadable.contains(other) { facts.unreadable.append(name) }
        }
        return facts
    }
}

extension Rehearsal {
    /// What ADD of one attachment would do, in order, after those before it.
    package func explain(
        _ spec: AttachmentSpec, _ runner: ChainRunner
    ) throws(Failure) -> (lines: [Explained], result: CNIResult) {
        lines = []
        var journal = Journal()
        let attached = try runner.add(runner.prepare(spec), &journal)
        return (lines, attached.result)
    }
}

/// One line of `explain`: what would happen, and what it would be as a command.
package struct Explained: Sendable {
    package enum Action: Sendable {
        case step(Step)
        case lease(String, [CNIResult.IP])
        case external(String, path: String)
        /// What cannot be told without doing it.
        case unknown(String)
        case remark(String)
    }

    package var attachment: String
    package var plugin: String
    package var action: Action
}
