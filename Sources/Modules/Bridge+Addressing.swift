import CNI
import Network
import Plans

extension Bridge {
    /// The layer 3 side of an attachment: what IPAM gave, completed with gateways and default routes.
    struct Addressing {
        var ips: [CNIResult.IP] = []
        var routes: [Route] = []

        /// Index of the pod's link in the result.
        private static let sandboxIndex = 2

        init(_ config: Config, _ attachment: Attachment) throws(Failure) {
            guard config.hasIPAM else { return }
            guard let lease = attachment.lease, !lease.ips.isEmpty else {
                throw Failure(
                    .generic, "IPAM plugin returned missing IP config",
                    details: "the ipam section of network \(attachment.networkName) gives no address")
            }
            routes = lease.routes
            ips = lease.ips.map { ip in
                var ip = ip
                ip.interface = Self.sandboxIndex
                if ip.gateway == nil, config.isGateway { ip.gateway = ip.address.network.address.next }
                return ip
            }
            guard config.isDefaultGateway else { return }
            for family in IPAddress.Family.allCases {
                guard let gateway = ips.first(where: { $0.address.family == family })?.gateway,
                    !routes.contains(where: { $0.isDefault && $0.family == family })
                else { continue }
                routes.append(Route(.everywhere(family), via: gateway))
            }
        }

        /// Sysctls, addresses, link up and routes inside the pod.
        func sandboxSteps(_ config: Config, _ interface: String) -> [Step] {
            let link = LinkName.sandbox(interface)
            var steps: [Step] = []
            func conf(_ family: String, _ key: String, _ value: String, optional: Bool = true) {
                steps.append(
                    .sysctl(
                        SysctlChange(
                            .sandbox, "net/\(family)/conf/\(interface)/\(key)", value, isOptional: optional)))
            }
            if config.enabledad { conf("ipv6", "enhanced_dad", "1") }
            conf("ipv6", "accept_dad", config.enabledad ? "1" : "0")
            conf("ipv4", "arp_notify", "1")
            if ips.contains(where: { $0.address.family == .v6 }) {
                steps.append(.sysctl(SysctlChange(.sandbox, "net/ipv6/conf/lo/disable_ipv6", "0")))
                conf("ipv6", "disable_ipv6", "0", optional: false)
                conf("ipv6", "keep_addr_on_down", "1", optional: false)
            }
            steps += ips.map { .addAddress($0.address, link) }
            steps.append(.change(link, .up(true)))
            if config.enabledad, ips.contains(where: { $0.gateway?.family == .v6 }) {
                steps.append(.settle(link))
            }
            for var route in routes {
                route.gateway = route.gateway ?? ips.first { $0.gateway?.family == route.family }?.gateway
                steps.append(.addRoute(route, link))
            }
            return steps
        }

        /// The gateway addresses on the bridge, and forwarding for their families.
        ///
        /// - Parameter found: the link that is to have them, if it exists.
        func gatewaySteps(_ config: Config, _ found: LinkFacts?) throws(Failure) -> [Step] {
            let link = config.gatewayLink
            var steps: [Step] = []
            var families: Set<IPAddress.Family> = []
            for ip in ips {
                guard let gateway = ip.gateway else { continue }
                let wanted = CIDR(gateway, ip.address.length)
                families.insert(wanted.family)
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
                steps.append(.ensureAddress(wanted, link))
                // A bridge takes the lowest MAC of its ports until one is set: then its neighbours lose it.
                if config.vlan == nil, let mac = found?.mac { steps.append(.change(link, .mac(mac))) }
            }
            for family in families.sorted() {
                let path = family == .v4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding"
                steps.append(.sysctl(SysctlChange(.host, path, "1", .shared)))
            }
            return steps
        }

        /// IPv4 takes one address; of IPv6 only those of an overlapping network conflict.
        private func conflicts(_ other: CIDR, _ wanted: CIDR) -> Bool {
            guard other.family == wanted.family, !other.address.isLinkLocal || other.family == .v4 else {
                return false
            }
            return other.family == .v4 || other.overlaps(wanted)
        }
    }
}
