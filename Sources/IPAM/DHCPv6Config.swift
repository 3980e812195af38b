import CNI
import DHCP
import Hashing
import JSONC
import Networking
import Plans

/// Of which families a server is asked: the key `family`.
enum DHCPFamily: String, CaseIterable {
    case ipv4, ipv6, dual

    var isV4: Bool { self != .ipv6 }
    var isV6: Bool { self != .ipv4 }

    /// Refuses keys that nothing reads in DHCPv6: whoever wrote them expects something.
    init(_ ipam: Reader) throws(JSONError) {
        self = .ipv4
        if let name = try ipam.string("family") {
            guard let known = DHCPFamily(rawValue: name) else {
                let names = Self.allCases.map(\.rawValue).joined(separator: ", ")
                throw ipam.error("family", "unknown \"\(name)\": write \(names)")
            }
            self = known
        }
        guard self == .ipv6 else { return }
        for key in ["provide", "request", "priority", "broadcast"] where ipam.has(key) {
            throw ipam.error(key, "is of DHCPv4, which family ipv6 does not speak: remove it, or write dual")
        }
        for name in try ipam.strings("accept") ?? [] where name != "dns" {
            throw ipam.error("accept", "\"\(name)\" is of DHCPv4: DHCPv6 gives dns alone")
        }
    }

    /// The key `routes`, of IPv6: those of IPv4 are the server's.
    ///
    /// - Parameter mustWork: otherwise the key is passed over with family ipv4, as in the reference plugin.
    func routes(_ ipam: Reader, mustWork: Bool) throws(JSONError) -> [Route] {
        guard ipam.has("routes"), isV6 || mustWork else { return [] }
        guard isV6 else {
            throw ipam.error("routes", "is for the families ipv6 and dual: a DHCPv4 server gives its routes")
        }
        var routes: [Route] = []
        for item in try ipam.list("routes") ?? [] {
            let route = try Route(item)
            try route.requireUsable(item)
            guard route.family == .v6 else {
                throw item.error("dst", "\(route.destination) is of IPv4, whose routes the server gives")
            }
            routes.append(route)
        }
        return routes
    }

    /// Whatever else is in the configuration: CHECK reads it so.
    static func lenient(_ ipam: JSON?) -> DHCPFamily {
        (ipam?["family"]?.string).flatMap(DHCPFamily.init(rawValue:)) ?? .ipv4
    }
}

extension DHCPConfig {
    /// Who asks for an IPv6 address. The IAID is of the interface's name; the DUID says the same as option 61 does in IPv4.
    func clientV6(_ request: LeaseRequest, _ mac: MAC) -> ClientV6 {
        let requested: [OptionV6.Code] = terms.accepted.contains(.dns) ? [.nameServers, .domains] : []
        return ClientV6(
            duid: duid(request, mac),
            association: UInt32(octets: Digest.sha256Bytes(request.id.interface).prefix(4)),
            requested: requested.map(\.rawValue))
    }

    private func duid(_ request: LeaseRequest, _ mac: MAC) -> [UInt8] {
        func hash(_ text: String) -> [UInt8] { ClientV6.duid(digest: Digest.sha256Bytes(text)) }
        switch identity {
        case .mac: return ClientV6.duid(mac)
        case .pod:
            let pod = Pod(ofArgs: request.args)
            return hash(pod.map { "\($0.namespace)/\($0.name)" } ?? request.id.containerID)
        case .container:
            return hash("\(request.id.containerID)/\(request.config.name)/\(request.id.interface)")
        }
    }
}
