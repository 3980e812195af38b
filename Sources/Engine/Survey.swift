import CNI
import Linux
import Netlink
import Networking
import Plans

/// Looks what the host has lost of an attachment: runs the plugins as ADD would, and instead of a step notes it when the
/// kernel lacks what it made. What is in the pod is the pod's: nobody knows whether it changed that itself.
///
/// What becomes of each kernel object is in the file of the same name in Steps.
final class Survey: Worker, StepRunner {
    /// One thing that is gone.
    struct Loss {
        enum Mend {
            case step(Step)
            /// - Parameter check: tells whether it worked.
            case external(ExternalCall, before: ExternalCall, check: ExternalCall)
        }

        let text: String
        let mend: Mend
    }

    let kernel: Kernel
    let attached: Attached
    private let interface: LinkName
    /// Whether the pod's link is there.
    let hasLink: Bool
    private(set) var losses: [Loss] = []
    /// Why it did not come to an end.
    var problem: Failure?
    private var imagined: [Step] = []
    /// What the plugin at hand asked for, and the host has not; in words.
    private(set) var absent: String?

    init(_ kernel: Kernel, _ interface: String, _ attached: Attached, hasLink: Bool) {
        self.kernel = kernel
        self.attached = attached
        self.interface = .sandbox(interface)
        self.hasLink = hasLink
    }

    func note(_ text: String, _ step: Step) { losses.append(Loss(text: text, mend: .step(step))) }

    /// A step that is needed as another one is, and no loss of its own.
    func follow(_ step: Step) { losses.append(Loss(text: "", mend: .step(step))) }

    /// Whether the host's link is to be made, or to become a port again.
    func isMended(_ link: String) -> Bool {
        losses.contains { loss in
            guard case .step(let step) = loss.mend, let bridge = step.of(BridgeStep.self) else {
                return false
            }
            return switch bridge {
            case .ensure(let spec): spec.name == link
            case .addPort(let port, _): port == link
            case .setPort, .setVLANs, .ensureVLANInterface, .keepVLANsApart: false
            }
        }
    }

    /// A link of the host; nil when there is none of exactly that name.
    func hostLink(_ name: String) throws(SystemError) -> LinkInfo? {
        let found = try kernel.with(.host) { socket throws(SystemError) in try socket.link(named: name) }
        return found?.name == name ? found : nil
    }

    // MARK: As a worker

    /// As if the attachment's link were not there, but for what the steps so far would have made.
    func observe(_ query: FactsQuery) throws(Failure) -> Facts {
        var facts = try kernel.observe(query)
        facts.links[interface] = nil
        facts.routes.removeAll { $0.link == interface.name }
        facts = try kernel.imagine(query.sysctls, facts.after(imagined))
        absent = facts.absence(query)
        return facts
    }

    func run(_ steps: [Step], of _: PluginCall, _: inout Journal) -> RefusedStep? {
        imagined += steps
        for step in steps {
            let step = step.keepingAddress(of: attached.result)
            do throws(SystemError) {
                var runner = self
                try step.kind.run(by: &runner)
            } catch {
                return RefusedStep(step: step, error: error)
            }
        }
        return nil
    }

    func result(of plan: Plan) throws(Failure) -> CNIResult { plan.result }

    func take(
        _: any AddressSource.Type, _ config: any AddressConfig, _ request: LeaseRequest, of _: PluginCall,
        _: inout Journal
    ) throws(Failure) -> Lease? {
        try config.lease(request.given(attached))
    }

    /// What a plugin that is not built in has made it knows alone: its CHECK tells.
    func add(
        _ call: ExternalCall, undo: ExternalCall, of plugin: PluginCall, _: inout Journal
    ) throws(Failure) -> CNIResult? {
        guard plugin.attachment.previous != nil else { throw .otherAddresses(call.type) }
        guard hasLink, call.version >= .v0_4_0 else { return nil }
        let check = try plugin.externalCheck(attached.result)
        do throws(Failure) { _ = try check.run() } catch {
            // One that died, or cannot be started, has said nothing of what is there.
            guard error.isPassedOn else { return nil }
            losses.append(
                Loss(
                    text: "\(call.type): \(error.message)",
                    mend: .external(call, before: undo, check: check)))
        }
        return nil
    }

    func take(
        _: ExternalCall, undo _: ExternalCall, of _: PluginCall, _: inout Journal
    ) throws(Failure) -> Lease? { Lease(of: attached) }

    func index(of _: LinkName) throws(Failure) -> Int32? { nil }
    func say(_: Remark, _: AttachmentSpec, _: String) {}
}

extension Facts {
    fileprivate func absence(_ query: FactsQuery) -> String? {
        let again = "(any more): repair it when that is back"
        if let link = query.links.first(where: { $0.place == .host && links[$0] == nil }) {
            return "the link below, \(link.name), is not in the host \(again)"
        }
        if query.defaultRoute == .host, defaultRouteLink == nil {
            return "the link below is that of the default route, which is not there \(again)"
        }
        return devices.contains { $0.link == nil } ? "the device is not in the host \(again)" : nil
    }
}

extension Step {
    /// A bridge gets the MAC address that it had: pods know their gateway by it.
    func keepingAddress(of result: CNIResult) -> Step {
        guard case .ensure(var spec)? = of(BridgeStep.self),
            let mac = result.interfaces.first(where: { $0.isInHost && $0.name == spec.name })?.mac.flatMap(
                MAC.init(parsing:))
        else { return self }
        spec.mac = mac
        return .ensureBridge(spec)
    }
}

extension LeaseRequest {
    /// The same of an attachment that has its addresses.
    func given(_ attached: Attached) -> LeaseRequest {
        given(attached.given ?? attached.result.ips.map(\.address.address))
    }
}

extension Lease {
    /// What an executable gave, as far as the result tells.
    init(of attached: Attached) {
        let ips = attached.result.ips.map { CNIResult.IP(address: $0.address, gateway: $0.gateway) }
        self.init(ips: ips, routes: attached.result.routes, dns: attached.result.dns)
    }
}

extension Failure {
    static func otherAddresses(_ type: String) -> Failure {
        Failure(
            .generic, "\(type) is not built in, and may give other addresses than before",
            details: "delete the pod: its next sandbox is attached anew")
    }
}
