import CNI
import Networking
import Plans

extension Bridge {
    /// What IPAM gave, completed with gateways and default routes.
    static func addressing(_ config: Config, _ attachment: Attachment) throws(Failure) -> Addressing {
        // The bridge, the host's end, and then the pod's link.
        guard config.hasIPAM else { return Addressing([], [], index: 2) }
        var addressing = try Addressing(attachment, index: 2)
        if config.isGateway {
            for index in addressing.ips.indices
            where addressing.ips[index].gateway == nil
                && addressing.mayHaveGateway(addressing.ips[index].address)
            {
                addressing.ips[index].gateway = addressing.ips[index].address.network.address.next
            }
        }
        guard config.isDefaultGateway else { return addressing }
        for family in IPAddress.Family.allCases {
            let ip = addressing.ips.first {
                $0.address.family == family && addressing.mayHaveGateway($0.address)
            }
            guard let gateway = ip?.gateway,
                !addressing.routes.contains(where: { $0.isDefault && $0.family == family })
            else { continue }
            addressing.routes.append(Route(.everywhere(family), via: gateway))
        }
        return addressing
    }

    /// Without duplicate address detection, unless it is asked for: it takes a second or more.
    static func settings(_ config: Config) -> [Addressing.Setting] {
        let enhanced = Addressing.Setting(family: "ipv6", key: "enhanced_dad", value: "1")
        return (config.enabledad ? [enhanced] : []) + [
            Addressing.Setting(family: "ipv6", key: "accept_dad", value: config.enabledad ? "1" : "0"),
            Addressing.Setting(family: "ipv4", key: "arp_notify", value: "1"),
        ]
    }

    /// The gateway addresses on the bridge, and forwarding for their families.
    ///
    /// - Parameter found: the link that is to have them, if it exists.
    static func gatewaySteps(
        _ config: Config, _ addressing: Addressing, _ found: LinkFacts?
    ) throws(Failure) -> [Step] {
        let link = config.gatewayLink
        let ips = addressing.ips.filter { addressing.mayHaveGateway($0.address) }
        var steps: [Step] = []
        for ip in ips {
            guard let gateway = ip.gateway else { continue }
            let wanted = CIDR(gateway, ip.address.length)
            let existing = found?.addresses ?? []
            if existing.contains(wanted) { continue }
            for other in existing where conflicts(other, wanted) {
                guard config.forceAddress else {
                    throw Failure(
                        .generic,
                        "\"\(link.name)\" already has an IP address different from \(wanted)",
                        details: "it has \(other); set forceAddress to replace it")
                }
                steps.append(.removeAddress(other, link))
            }
            // A new bridge has the node's default; on one that existed the setting is somebody's choice.
            if gateway.family == .v6, found == nil {
                let path = "net/ipv6/conf/\(link.name)/disable_ipv6"
                steps.append(.sysctl(SysctlChange(.host, path, "0", isOptional: true)))
            }
            steps.append(.ensureAddress(wanted, link, nodad: config.gatewayIsInstant))
            // A bridge takes the lowest MAC address of its ports until one is set; a change would make its neighbours
            // lose it.
            if config.vlan == nil, let mac = found?.mac { steps.append(.change(link, .mac(mac))) }
        }
        for family in IPAddress.Family.allCases where ips.contains(where: { $0.gateway?.family == family }) {
            let path = family == .v4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding"
            steps.append(.sysctl(SysctlChange(.host, path, "1", .ensured)))
        }
        return steps
    }

    /// A bridge may have one IPv4 address; IPv6 addresses conflict only when their networks overlap.
    private static func conflicts(_ other: CIDR, _ wanted: CIDR) -> Bool {
        guard other.family == wanted.family, !other.address.isLinkLocal || other.family == .v4 else {
            return false
        }
        return other.family == .v4 || other.overlaps(wanted)
    }
}
