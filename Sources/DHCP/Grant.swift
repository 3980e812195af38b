package import Networking

/// What a server granted: its ACK.
package struct Grant: Equatable, Sendable {
    package var address: IPAddress
    /// Option 54, or who sent the ACK.
    package var server: IPAddress
    package var options: [UInt8: [UInt8]]

    package init(address: IPAddress, server: IPAddress, options: [UInt8: [UInt8]]) {
        self.address = address
        self.server = server
        self.options = options
    }

    init(_ ack: Message, from source: IPAddress) {
        self.init(address: ack.yours, server: ack.server ?? source, options: ack.options)
    }

    /// Bits of the mask; nil without one, and for one with a gap.
    package var prefixLength: Int? {
        guard let octets = options[Option.subnetMask], octets.count == 4 else { return nil }
        let mask = UInt32(octets: octets)
        let length = mask.nonzeroBitCount
        return mask.leadingZeroBitCount == 0 && (~mask).leadingZeroBitCount == length || mask == 0
            ? length : nil
    }

    // MARK: Times, in seconds

    /// An hour where the server does not say; `UInt32.max` never ends.
    package var leaseTime: UInt32 { seconds(Option.leaseTime) ?? 3600 }

    /// When to ask the server again: half of the lease, unless it says so. Never at once, however short the lease.
    package var renewalTime: UInt32 { max(min(times.renewal, UInt32(UInt64(leaseTime) * 7 / 8)), 1) }

    /// When to ask any server.
    package var rebindingTime: UInt32 { max(min(times.rebinding, leaseTime), renewalTime) }

    /// The server's, unless they make no sense: one comes before the other.
    private var times: (renewal: UInt32, rebinding: UInt32) {
        let usual = (leaseTime / 2, UInt32(UInt64(leaseTime) * 85 / 100))
        let own = (seconds(Option.renewalTime) ?? usual.0, seconds(Option.rebindingTime) ?? usual.1)
        return own.0 < own.1 ? own : usual
    }

    private func seconds(_ option: UInt8) -> UInt32? {
        options[option].flatMap { $0.count == 4 ? UInt32(octets: $0) : nil }
    }

    // MARK: Addresses

    package var routers: [IPAddress] { addresses(Option.routers) }
    package var nameServers: [IPAddress] { addresses(Option.nameServers) }

    private func addresses(_ option: UInt8) -> [IPAddress] {
        let octets = options[option] ?? []
        return stride(from: 0, to: octets.count - 3, by: 4).map { IPAddress(octets: octets[$0..<$0 + 4]) }
    }

    package var domainName: String? { text(Option.domainName) }
    /// Option 56, of a NAK mostly.
    package var message: String? { text(Option.message) }

    private func text(_ option: UInt8) -> String? {
        guard let octets = options[option]?.prefix(while: { $0 != 0 }), !octets.isEmpty else { return nil }
        return String(decoding: octets, as: UTF8.self)
    }

    /// 68 at least: RFC 2132, 5.1.
    package var mtu: UInt32? {
        guard let octets = options[Option.mtu], octets.count == 2 else { return nil }
        let mtu = UInt32(UInt16(octets: octets))
        return mtu < 68 ? nil : mtu
    }

    /// Option 119: RFC 3397, with the compression of RFC 1035.
    package var domainSearch: [String] {
        DomainNames.read(options[Option.domainSearch] ?? [], mayPoint: true)
    }

    // MARK: Routes

    /// Option 121 alone, where it is; else option 33 with the masks of address classes, and the default by the first router.
    /// A router 0.0.0.0 means that the destination is on the link: scope 253.
    ///
    /// - Parameter acceptsMicrosoft: option 249 stands in for 121.
    package func routes(priority: UInt32?, acceptsMicrosoft: Bool = false) -> [Route] {
        func route(_ destination: CIDR, _ router: IPAddress) -> Route {
            let isOnLink = router == .unspecified
            return Route(
                destination, via: isOnLink ? nil : router, priority: priority, scope: isOnLink ? 253 : nil)
        }
        if let found = classlessRoutes(acceptsMicrosoft: acceptsMicrosoft) {
            var seen: Set<Route> = []
            // One that is given twice is one.
            return found.map(route).filter { seen.insert($0).inserted }
        }
        let octets = options[Option.staticRoutes] ?? []
        var routes = stride(from: 0, to: octets.count - 7, by: 8).map { start in
            let destination = IPAddress(octets: octets[start..<start + 4])
            return route(Self.classful(destination), IPAddress(octets: octets[start + 4..<start + 8]))
        }
        if let router = routers.first { routes.append(route(.everywhere(.v4), router)) }
        return routes
    }

    /// Those that alone count where they are: RFC 3442. nil without any.
    package func classlessRoutes(acceptsMicrosoft: Bool) -> [(CIDR, IPAddress)]? {
        for option in [Option.classlessRoutes] + (acceptsMicrosoft ? [Option.microsoftRoutes] : []) {
            if let octets = options[option], let found = Self.classless(octets) { return found }
        }
        return nil
    }

    /// nil for what is cut off.
    private static func classless(_ octets: [UInt8]) -> [(CIDR, IPAddress)]? {
        var routes: [(CIDR, IPAddress)] = []
        var rest = octets[...]
        while let length = rest.popFirst().map(Int.init) {
            let significant = (length + 7) / 8
            guard length <= 32, rest.count >= significant + 4 else { return nil }
            let part = rest.prefix(significant) + [UInt8](repeating: 0, count: 4 - significant)
            let router = rest.dropFirst(significant).prefix(4)
            routes.append((CIDR(IPAddress(octets: part), length).network, IPAddress(octets: router)))
            rest = rest.dropFirst(significant + 4)
        }
        return routes
    }

    private static func classful(_ address: IPAddress) -> CIDR {
        let first = address.bytes[0]
        return CIDR(address, first < 128 ? 8 : first < 192 ? 16 : 24).network
    }
}

extension Message {
    package var server: IPAddress? {
        options[Option.serverID].flatMap { $0.count == 4 ? IPAddress(octets: $0[...]) : nil }
    }

    package var text: String? { Grant(self, from: .unspecified).message }
}
