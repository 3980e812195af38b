import CNI
import Networking
import Plans

/// Who gives a plugin's addresses, for one call.
protocol AddressProvider {
    /// Whether the pod's link is to be there before the address: the source may look at it, or talk over it. One that needs
    /// no link and has no address leaves nothing touched.
    var needsLink: Bool { get }
    /// Whether somebody else gives them in his own time.
    var asks: Bool { get }
    func validate() throws(Failure)
    /// Asks, over the link.
    func ask() throws(Failure) -> Question?
    /// - Parameter call: with the result of the plugin before.
    /// - Returns: nil when only the source knows what it would give.
    func take(_ call: PluginCall, _ journal: inout Journal) throws(Failure) -> Lease?
    func check() throws(Failure)
    /// Addresses of an attachment that the source's store has lost.
    ///
    /// - Parameter isKept: stores them again.
    func lost(_ attached: Attached, isKept: Bool) throws(Failure) -> [IPAddress]
    /// Adds what gives them back.
    func giveBack(in pending: inout Pending)
    func collect(_ valid: [AttachmentID]) throws(Failure)
    func status() throws(Failure)
}

extension PluginCall {
    /// By the type in the section `ipam`.
    func addresses(_ type: String) -> any AddressProvider {
        guard let source = builtinSource(type) else { return ExternalAddressProvider(call: self, type: type) }
        return BuiltinAddressProvider(self, source)
    }

    /// The built-in address source for `ipam`, unless its executable is preferred.
    func builtinSource(_ ipam: String) -> (any AddressSource.Type)? {
        spec.external.contains(ipam) ? nil : runner.registry.source(ipam)
    }
}

private struct BuiltinAddressProvider: AddressProvider {
    private let call: PluginCall
    private let source: any AddressSource.Type
    private let request: LeaseRequest
    /// Of an ADD, which alone reads all of it; an error is thrown where the configuration is first used.
    private let parsed: Result<any AddressConfig, Failure>?

    init(_ call: PluginCall, _ source: any AddressSource.Type) {
        var request = LeaseRequest(
            config: call.config, id: call.spec.id, args: call.spec.args, rules: call.rules)
        request.given = call.attached?.given ?? []
        request.state = call.runner.state
        if source.needsLink, call.runner.kernel.hasSandbox {
            request.link = SandboxLink(call.runner.kernel, call.spec.id.interface, at: call.spec.sandbox)
        }
        self.call = call
        self.source = source
        self.request = request
        guard call.verb == .add else {
            parsed = nil
            return
        }
        do throws(Failure) { parsed = .success(try source.parse(request)) } catch { parsed = .failure(error) }
    }

    var needsLink: Bool { source.needsLink }
    var asks: Bool { source.asks }

    func ask() throws(Failure) -> Question? {
        guard let query = try parsed?.get().ask(request) else { return nil }
        return Question(source: source, request: request, query: query)
    }

    func validate() throws(Failure) {
        // STATUS has no pod, which might bring addresses of its own.
        if call.verb == .status { try source.status(request) }
        if let config = try parsed?.get() { call.say(config.remarks(request)) }
    }

    func take(_ call: PluginCall, _ journal: inout Journal) throws(Failure) -> Lease? {
        guard let config = try parsed?.get() else { return nil }
        return try call.worker.take(source, config, request, of: call, &journal)
    }

    func check() throws(Failure) { try source.check(request) }

    func lost(_ attached: Attached, isKept: Bool) throws(Failure) -> [IPAddress] {
        try parsed?.get().lost(request.given(attached), isKept: isKept) ?? []
    }

    func giveBack(in pending: inout Pending) { pending.lease = (source, request) }
    func collect(_ valid: [AttachmentID]) throws(Failure) { try source.collect(request, valid: valid) }
    /// Part of `validate`.
    func status() throws(Failure) {}
}

private struct ExternalAddressProvider: AddressProvider {
    let call: PluginCall
    let type: String

    var needsLink: Bool { true }
    var asks: Bool { false }
    func ask() -> Question? { nil }

    func validate() throws(Failure) { _ = try call.external(.add, type) }

    func take(_ call: PluginCall, _ journal: inout Journal) throws(Failure) -> Lease? {
        try call.worker.take(
            call.external(.add, type), undo: call.external(.del, type), of: call, &journal)
    }

    func check() throws(Failure) { _ = try call.external(.check, type).run() }
    func lost(_: Attached, isKept _: Bool) -> [IPAddress] { [] }

    func giveBack(in pending: inout Pending) {
        // Without the executable its addresses stay, but the links still go.
        do throws(Failure) { pending.call = try call.external(.del, type) } catch { pending.problem = error }
    }

    func collect(_: [AttachmentID]) throws(Failure) { try call.runOptional(.gc, type) }
    func status() throws(Failure) { try call.runOptional(.status, type) }
}
