package import CNI
package import JSONC
import Networking
package import Plans

/// Sets `lo` up, whatever CNI_IFNAME says. CNI reference plugin `loopback`.
package enum Loopback: Module {
    package static let type = "loopback"
    package static let usesIPAM = false
    package static let checksResult = false
    package static let vocabulary = Vocabulary([])

    package struct Config: Equatable, Sendable {}

    private static let lo = LinkName.sandbox("lo")
    private static let disabled = SysctlName(.sandbox, "net/ipv6/conf/lo/disable_ipv6")

    package static func parse(_ input: PluginInput) throws(Failure) -> Config { Config() }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        switch verb {
        case .add: FactsQuery(links: [lo], addresses: [lo], sysctls: [disabled])
        case .check: FactsQuery(links: [lo])
        default: FactsQuery()
        }
    }

    package static func judge(_: Config, _ attachment: Attachment, _: Facts) throws(Failure) -> [Remark] {
        attachment.interface == "lo"
            ? [] : [.concern("it sets lo up and makes no interface: the pod gets no \(attachment.interface)")]
    }

    package static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        let addresses = facts.links[lo]?.addresses ?? []
        if let stranger = addresses.first(where: { !$0.address.isLoopback }) {
            throw Failure(
                .generic, "loopback interface found with non-loopback address \"\(stranger)\"",
                details: "remove it from lo in \(attachment.sandbox), or do not attach loopback")
        }
        var result = CNIResult()
        if let previous = attachment.previous {
            result = previous
        } else {
            result.interfaces = [.init(name: "lo", mac: "\(MAC.zero)", sandbox: attachment.sandbox)]
            result.ips = expected(addresses, facts).map { .init(address: $0, interface: 0) }
        }
        return Plan(steps: [.change(lo, .up(true))], result: result)
    }

    /// The first address of each family; the kernel gives a link that is still down its own when it comes up.
    private static func expected(_ addresses: [CIDR], _ facts: Facts) -> [CIDR] {
        var found: [CIDR] = []
        let own = IPAddress(.v4, bits: 0x7f00_0001)
        found.append(addresses.first { $0.family == .v4 } ?? CIDR(own, 8))
        if let v6 = addresses.first(where: { $0.family == .v6 }) {
            found.append(v6)
        } else if facts.sysctls[disabled] == "0" {
            found.append(.host(IPAddress(.v6, bits: 1)))
        }
        return found
    }

    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        Removal(steps: [.change(lo, .up(false))])
    }

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        guard facts.links[lo]?.isUp == true else {
            throw Failure(
                .generic, "loopback interface is down", details: "ip link set lo up, in \(attachment.sandbox)"
            )
        }
    }
}
