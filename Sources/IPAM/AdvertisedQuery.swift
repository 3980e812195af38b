import CNI
import Linux
import Networking
import Plans

/// Waits for the addresses that the kernel configures by a router's advertisement (SLAAC, RFC 4862).
final class AdvertisedQuery: AddressQuery {
    private let config: DHCPConfig
    private let interface: String
    private let link: any LinkAccess
    private let watch: any LinkWatch
    private let deadline: Int64

    init(
        _ config: DHCPConfig, _ request: LeaseRequest, _ link: any LinkAccess, until deadline: Int64
    ) throws(Failure) {
        self.config = config
        self.link = link
        self.deadline = deadline
        interface = request.id.interface
        watch = try link.watch()
    }

    var descriptors: [CInt] { watch.descriptors }
    var wakeup: Int64 { deadline }
    func withdraw() {}

    func step() throws(Failure) -> Lease? {
        watch.clear()
        let found = try link.addresses().filter(\.isAdvertised)
        guard !found.isEmpty, !found.contains(where: \.isBeingProbed) else {
            guard monotonicMilliseconds() < deadline else { throw unadvertised(found) }
            return nil
        }
        let router = try link.advertisedRouters().first
        var lease = Lease()
        for address in found {
            lease.ips.append(.init(address: address.cidr, gateway: router))
            lease.uses[address.cidr] = AddressUse(isOfKernel: true)
        }
        return lease
    }

    private func unadvertised(_ found: [PodAddress]) -> Failure {
        var settings: [String: String] = [:]
        try? link.inside { () throws(Failure) in
            for key in ["accept_ra", "autoconf", "forwarding"] {
                settings[key] = try? Sysctl.read("\(Optimism.folder(interface))/\(key)")
            }
        }
        let details =
            switch (settings["accept_ra"], settings["forwarding"], settings["autoconf"]) {
            case ("0", _, _): "net.ipv6.conf.\(interface).accept_ra is 0 in the pod: set it to 1"
            case (let accepts, "1", _) where accepts != "2":
                "net.ipv6.conf.\(interface).forwarding is 1 in the pod: then accept_ra must be 2"
            case (_, _, "0"): "net.ipv6.conf.\(interface).autoconf is 0 in the pod: set it to 1"
            default:
                "no router on this network advertises a prefix of which hosts make their addresses; the key timeout says how long it is waited for"
            }
        let problem =
            found.isEmpty
            ? "no address by a router's advertisement (reportSlaac)"
            : "the kernel still looks for others that have \(found[0].cidr.address)"
        return Failure(
            .generic, "dhcp: \(problem) on \(interface) in \(config.timeout) s: no more tries",
            details: details)
    }
}
