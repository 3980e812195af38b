import CNI
import JSONC
import Networking
import Plans

/// Of the places where one value may be written, the last one that has it.
func lastGiven(_ places: [(key: String, text: String?)]) -> (key: String, text: String)? {
    for case (let key, let text?) in places.reversed() where !text.isEmpty { return (key, text) }
    return nil
}

extension PluginInput {
    /// The key `mtu`, 0 for none. The reference takes any number, and leaves it to the kernel.
    func mtu() throws(JSONError) -> Int64 {
        let json = config.reader
        let mtu = try json.int("mtu", in: Int64(Int32.min)...Int64(Int32.max)) ?? 0
        guard !isStrict || mtu == 0 || linkMTUs.contains(mtu) else {
            throw json.error(
                "mtu", "invalid MTU \(mtu): a link takes \(linkMTUs.lowerBound) to \(linkMTUs.upperBound)")
        }
        return mtu
    }
}

/// The layer 3 side of an attachment: what IPAM gave, for the pod's link.
struct Addressing {
    var ips: [CNIResult.IP]
    var routes: [Route]
    /// As in `Lease`.
    var uses: [CIDR: AddressUse] = [:]

    /// A setting of the pod's link, `ipv4`'s or `ipv6`'s.
    struct Setting {
        let family: String
        let key: String
        let value: String
    }

    /// - Parameter index: of the pod's link in the result.
    init(_ ips: [CNIResult.IP], _ routes: [Route], index: Int) {
        self.ips = ips.map {
            var ip = $0
            ip.interface = index
            return ip
        }
        self.routes = routes
    }

    /// Of a lease, which must give an address.
    init(_ attachment: Attachment, index: Int) throws(Failure) {
        guard let lease = attachment.lease, !lease.ips.isEmpty else {
            throw Failure(
                .generic, "IPAM plugin returned missing IP config",
                details: "the ipam section of network \(attachment.label) gives no address")
        }
        self.init(lease.ips, lease.routes, index: index)
        uses = lease.uses
    }

    /// Whether the plugin may say who routes for an address: of those of DHCPv6 and of routers' advertisements the routers
    /// do.
    func mayHaveGateway(_ ip: CIDR) -> Bool {
        let use = uses[ip] ?? AddressUse()
        return !use.isOfKernel && !use.isProbed
    }

    var hasV6Gateway: Bool { ips.contains { $0.gateway?.family == .v6 } }

    /// Settings, addresses, link up and routes inside the pod.
    ///
    /// - Parameter settles: waits until no IPv6 address is tentative, when there is a gateway to talk to.
    func steps(_ interface: String, _ settings: [Setting], settles: Bool) -> [Step] {
        let link = LinkName.sandbox(interface)
        var steps = settings.map { Self.step($0, interface, isOptional: true) }
        if ips.contains(where: { $0.address.family == .v6 }) {
            steps.append(.sysctl(SysctlChange(.sandbox, "net/ipv6/conf/lo/disable_ipv6", "0")))
            for (key, value) in [("disable_ipv6", "0"), ("keep_addr_on_down", "1")] {
                steps.append(
                    Self.step(Setting(family: "ipv6", key: key, value: value), interface, isOptional: false))
            }
        }
        for ip in ips {
            let use = uses[ip.address] ?? AddressUse()
            if use.isOfKernel { continue }
            steps.append(.addAddress(ip.address, link, lifetime: use.lifetime, nodad: use.isProbed))
        }
        steps.append(.change(link, .up(true)))
        if settles, hasV6Gateway { steps.append(.settle(link)) }
        for var route in routes {
            // One to hosts on the link has none: the kernel refuses it.
            let isOnLink = route.family == .v4 && route.scope.map { $0 >= 253 } ?? false
            if !isOnLink, route.gateway == nil {
                route.gateway = ips.first { $0.gateway?.family == route.family }?.gateway
            }
            steps.append(.addRoute(route, link))
        }
        return steps
    }

    private static func step(_ setting: Setting, _ interface: String, isOptional: Bool) -> Step {
        let path = "net/\(setting.family)/conf/\(interface)/\(setting.key)"
        return .sysctl(SysctlChange(.sandbox, path, setting.value, isOptional: isOptional))
    }

    /// Neighbours are told of the addresses when the link comes up (gratuitous ARP, unsolicited NA).
    static let announcing = [
        Setting(family: "ipv4", key: "arp_notify", value: "1"),
        Setting(family: "ipv6", key: "ndisc_notify", value: "1"),
    ]
}
