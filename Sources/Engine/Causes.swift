import CNI
import Linux
import Netlink
import Networking
import Plans

/// Why the kernel refuses a step, and what helps.
struct Cause {
    var text: String
    var fix = ""
    var claim: Failure.Claim?
    /// The path under which the plugin found the value; `Delegate.blamed` finds out by it who wrote that.
    var key: String?
    /// Something on the node is in the way, and no trial of the step tells more.
    var isOfNode = false

    /// What keeps a file from being made.
    static func obstacle(to path: String) -> Cause? {
        Linux.obstacle(to: path).map { Cause(text: $0.problem, fix: $0.fix, isOfNode: true) }
    }

    static func missing(_ module: String) -> Cause {
        Cause(
            text: "the kernel lacks \(module)",
            fix: "modprobe \(module), or use a kernel with CONFIG_\(module.uppercased())")
    }

    /// For a link that was not made: it cannot be asked for its limits.
    static func mtu(_ mtu: UInt32?, _ code: Errno?) -> Cause? {
        guard code == .invalid || code == .outOfRange, let mtu, !linkMTUs.contains(Int64(mtu)) else {
            return nil
        }
        return Cause(
            text: "a link takes an MTU of \(linkMTUs.lowerBound) to \(linkMTUs.upperBound)",
            fix: "correct the key mtu")
    }

    /// errno of kernels that were built without the part of nftables that a rule needs.
    static let lacksNftables: [Errno?] = [.notSupported, .noSuchProtocol, .noSuchFamily, .noSuchFile]
}

extension Executor {
    /// The error that leaves the process. An errno alone rarely says what is wrong: that is looked up here, after the
    /// refusal, so that an ADD that works pays nothing for it.
    func failure(of refused: RefusedStep) -> Failure {
        // The look-up may fail as well: then the errno must be enough.
        let cause = (try? cause(of: refused)) ?? nil
        var failure = Failure(
            .generic, ["\(refused.error)", cause?.text].compactMap(\.self).joined(separator: ": "),
            details: cause?.fix ?? "")
        failure.claim = cause?.claim
        failure.key = cause?.key
        return cause?.isOfNode == true ? failure : failure.ending(with: refused.command)
    }

    /// A line for each object that can say more about a refusal; how is in its file in Steps.
    private func cause(of refused: RefusedStep) throws(SystemError) -> Cause? {
        let code = refused.error.code
        return switch refused.step.kind {
        case let step as AddressStep: try cause(of: step, code)
        case let step as BridgeStep: cause(of: step, code)
        case let step as DeviceStep: try cause(of: step, code)
        case let step as FileStep: cause(of: step)
        case let step as LinkStep: try cause(of: step, code)
        case let step as MasqueradeStep: cause(of: step, code)
        case let step as RouteStep: try cause(of: step, code)
        case let step as SpoofCheckStep: cause(of: step, code)
        case let step as SysctlStep: try cause(of: step, code)
        case let step as WaitStep: cause(of: step, code)
        default: nil
        }
    }

    func found(_ link: LinkName) throws(SystemError) -> LinkInfo? {
        try kernel.with(link.place) { socket throws(SystemError) in try socket.link(named: link.name) }
    }

    func found(_ index: Int32, _ place: Place) throws(SystemError) -> LinkInfo? {
        try kernel.with(place) { socket throws(SystemError) in try socket.link(index: index) }
    }
}
