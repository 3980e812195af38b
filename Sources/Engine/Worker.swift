import CNI
import Linux
import Networking
import Plans

/// Does what the plugins of a chain ask for, or shows it.
protocol Worker: AnyObject {
    func observe(_ query: FactsQuery) throws(Failure) -> Facts
    /// - Returns: the step that was refused, after which none ran.
    func run(_ steps: [Step], of plugin: PluginCall, _ journal: inout Journal) -> RefusedStep?
    /// The plan's result, with what the kernel decided.
    func result(of plan: Plan) throws(Failure) -> CNIResult
    /// An address of a built-in source; nil when nobody knows what it would give.
    func take(
        _ source: any AddressSource.Type, _ config: any AddressConfig, _ request: LeaseRequest,
        of plugin: PluginCall,
        _ journal: inout Journal
    ) throws(Failure) -> Lease?
    /// ADD of an external plugin, which `undo` takes back; nil when nobody knows what it would give.
    func add(
        _ call: ExternalCall, undo: ExternalCall, of plugin: PluginCall, _ journal: inout Journal
    ) throws(Failure) -> CNIResult?
    /// The same of an IPAM plugin.
    func take(
        _ call: ExternalCall, undo: ExternalCall, of plugin: PluginCall, _ journal: inout Journal
    ) throws(Failure) -> Lease?
    /// The index of a link that an attachment has made, or another program for it; nil without one.
    func index(of link: LinkName) throws(Failure) -> Int32?
    /// - Parameters:
    ///   - plugin: whom it is about; empty for the network.
    func say(_ remark: Remark, _ spec: AttachmentSpec, _ plugin: String)
}

/// Works on the kernel.
final class LiveWorker: Worker {
    private let executor: Executor
    private let rules: RoleRules
    private let log: Log

    init(_ executor: Executor, _ rules: RoleRules, _ log: Log) {
        self.executor = executor
        self.rules = rules
        self.log = log
    }

    func observe(_ query: FactsQuery) throws(Failure) -> Facts { try executor.kernel.observe(query) }

    func run(_ steps: [Step], of _: PluginCall, _ journal: inout Journal) -> RefusedStep? {
        executor.run(steps, &journal)
    }

    func result(of plan: Plan) throws(Failure) -> CNIResult { try executor.readBack(plan) }

    func take(
        _ source: any AddressSource.Type, _ config: any AddressConfig, _ request: LeaseRequest,
        of plugin: PluginCall,
        _ journal: inout Journal
    ) throws(Failure) -> Lease? {
        let lease =
            if let query = try config.ask(request) { try query.settle(plugin.runner.stop) } else {
                try config.allocate(request)
            }
        journal.record(.lease(source, request.given(lease.ips.map(\.address.address))))
        return lease
    }

    func add(
        _ call: ExternalCall, undo: ExternalCall, of _: PluginCall, _ journal: inout Journal
    ) throws(Failure) -> CNIResult? {
        guard executor.kernel.isHome else {
            throw Failure(.generic, Kernel.stranded, details: "the attachment is rolled back")
        }
        let answer = try call.execute()
        // A plugin that fails half-way is asked to clean up as well.
        journal.record(.external(undo))
        return try call.result(of: answer)
    }

    func take(
        _ call: ExternalCall, undo: ExternalCall, of _: PluginCall, _ journal: inout Journal
    ) throws(Failure) -> Lease? {
        // On failure no DEL is called: it could free an address of an earlier attachment.
        let answer = try call.execute()
        // But for one that we ended: it may have given an address, and a command has seen that there was none before.
        if answer.status == .stopped { journal.record(.external(undo)) }
        let result = try call.result(of: answer, forwardsErrors: rules.forwardsErrors) ?? CNIResult()
        journal.record(.external(undo))
        return Lease(ips: result.ips, routes: result.routes, dns: result.dns)
    }

    func index(of link: LinkName) throws(Failure) -> Int32? { try executor.index(ofMade: link) }

    func say(_ remark: Remark, _ spec: AttachmentSpec, _ plugin: String) {
        let line = "\(spec.subject): \(plugin.isEmpty ? "" : "\(plugin): ")\(remark.text)"
        if case .concern = remark { log.error(line) } else { log.verbose(line) }
    }
}
