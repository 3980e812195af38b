package import Networking

/// Addresses of links. Kernel: RTM_NEWADDR, RTM_DELADDR.
package enum AddressStep: StepKind {
    /// - Parameters:
    ///   - lifetime: after which the kernel removes it; nil for one that stays.
    ///   - nodad: as in `ensure`.
    case add(CIDR, LinkName, lifetime: Lifetime?, nodad: Bool)
    case remove(CIDR, LinkName)
    /// - Parameter nodad: an IPv6 address is used without a look for others that have it.
    case ensure(CIDR, LinkName, nodad: Bool)

    package var name: String {
        switch self {
        case .add: "addAddress"
        case .remove: "removeAddress"
        case .ensure: "ensureAddress"
        }
    }

    package var commands: [String] {
        switch self {
        case .add(let cidr, let link, let lifetime, let nodad):
            [
                "\(link.place.ip) addr add \(cidr)\(cidr.broadcastWord) dev \(link.word)"
                    + (lifetime.map { " valid_lft \($0.validWord) preferred_lft \($0.preferredWord)" } ?? "")
                    + Self.word(nodad, cidr)
            ]
        case .remove(let cidr, let link): ["\(link.place.ip) addr delete \(cidr) dev \(link.word)"]
        case .ensure(let cidr, let link, let nodad):
            [
                "\(link.place.ip) addr replace \(cidr)\(cidr.broadcastWord) dev \(link.word)"
                    + Self.word(nodad, cidr)
            ]
        }
    }

    private static func word(_ nodad: Bool, _ cidr: CIDR) -> String {
        nodad && cidr.family == .v6 ? " nodad" : ""
    }

    package func apply(to facts: inout Facts) {
        switch self {
        case .add(let cidr, let link, _, _), .ensure(let cidr, let link, _):
            facts.links.update(link) { if !$0.addresses.contains(cidr) { $0.addresses.append(cidr) } }
        case .remove(let cidr, let link):
            facts.links.update(link) { $0.addresses.removeAll { $0 == cidr } }
        }
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func addAddress(
        _ cidr: CIDR, _ link: LinkName, lifetime: Lifetime? = nil, nodad: Bool = false
    ) -> Step {
        Step(AddressStep.add(cidr, link, lifetime: lifetime, nodad: nodad))
    }

    package static func removeAddress(_ cidr: CIDR, _ link: LinkName) -> Step {
        Step(AddressStep.remove(cidr, link))
    }

    package static func ensureAddress(_ cidr: CIDR, _ link: LinkName, nodad: Bool = false) -> Step {
        Step(AddressStep.ensure(cidr, link, nodad: nodad))
    }
}

extension CIDR {
    /// The kernel takes no broadcast address by itself.
    fileprivate var broadcastWord: String { family == .v4 && length < 31 ? " brd +" : "" }
}

extension Lifetime {
    /// As ip(8) wants them.
    fileprivate var validWord: String { Self.word(valid) }
    fileprivate var preferredWord: String { Self.word(preferred) }

    private static func word(_ seconds: UInt32) -> String { seconds == .max ? "forever" : "\(seconds)" }
}
