package import Networking

/// Addresses of links. Kernel: RTM_NEWADDR, RTM_DELADDR.
package enum AddressStep: StepKind {
    /// - Parameter lifetime: seconds after which the kernel removes it; nil for one that stays.
    case add(CIDR, LinkName, lifetime: UInt32?)
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
        case .add(let cidr, let link, let lifetime):
            [
                "\(link.place.ip) addr add \(cidr)\(cidr.broadcastWord) dev \(link.word)"
                    + (lifetime.map { " valid_lft \($0) preferred_lft \($0)" } ?? "")
            ]
        case .remove(let cidr, let link): ["\(link.place.ip) addr delete \(cidr) dev \(link.word)"]
        case .ensure(let cidr, let link, let nodad):
            [
                "\(link.place.ip) addr replace \(cidr)\(cidr.broadcastWord) dev \(link.word)"
                    + (nodad && cidr.family == .v6 ? " nodad" : "")
            ]
        }
    }

    package func apply(to facts: inout Facts) {
        switch self {
        case .add(let cidr, let link, _), .ensure(let cidr, let link, _):
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
    package static func addAddress(_ cidr: CIDR, _ link: LinkName, lifetime: UInt32? = nil) -> Step {
        Step(AddressStep.add(cidr, link, lifetime: lifetime))
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
