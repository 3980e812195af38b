package import Networking

/// Who asks, the same in all messages of a lease.
package struct ClientV6: Equatable, Sendable {
    /// RFC 8415, section 11.
    package var duid: [UInt8]
    /// IAID: which of the client's interfaces.
    package var association: UInt32
    /// Option 6: what a server is asked for besides an address.
    package var requested: [UInt16]

    package init(duid: [UInt8], association: UInt32, requested: [UInt16] = []) {
        self.duid = duid
        self.association = association
        self.requested = requested
    }

    /// DUID-LL, with Ethernet's number. RFC 8415, 11.4.
    package static func duid(_ mac: MAC) -> [UInt8] { [0, 3, 0, 1] + mac.bytes }

    /// DUID-UUID. RFC 6355; the UUID is of version 8, whose bits are the maker's (RFC 9562).
    ///
    /// - Parameter digest: 16 bytes of it are used.
    package static func duid(digest: [UInt8]) -> [UInt8] {
        var uuid = Array(digest.prefix(16))
        guard uuid.count == 16 else { return [0, 4] + uuid }
        uuid[6] = uuid[6] & 0x0f | 0x80
        uuid[8] = uuid[8] & 0x3f | 0x80
        return [0, 4] + uuid
    }
}

/// What a server granted: its REPLY.
package struct GrantV6: Equatable, Sendable {
    package var address: AddressV6
    /// In seconds, as the server said them.
    package var t1: UInt32
    package var t2: UInt32
    /// Its DUID, and who sent the answer: the server, or a relay on the link.
    package var server: [UInt8]
    package var source: IPAddress
    package var nameServers: [IPAddress]
    package var domainSearch: [String]

    package init(
        _ address: AddressV6, t1: UInt32, t2: UInt32, server: [UInt8], source: IPAddress,
        nameServers: [IPAddress] = [], domainSearch: [String] = []
    ) {
        self.address = address
        self.t1 = t1
        self.t2 = t2
        self.server = server
        self.source = source
        self.nameServers = nameServers
        self.domainSearch = domainSearch
    }

    init(_ address: AddressV6, _ association: AssociationV6, _ reply: MessageV6, from source: IPAddress) {
        self.init(
            address, t1: association.t1, t2: association.t2, server: reply.server ?? [],
            source: source, nameServers: reply.nameServers,
            domainSearch: reply.domainSearch)
    }

    /// Seconds until the address is to be used no more; `UInt32.max` never ends.
    package var leaseTime: UInt32 { address.valid }

    /// When to ask the server again: what RFC 8415, 21.4 recommends where the server leaves it to us. Never at once, however
    /// short the lease, and before it ends.
    package var renewalTime: UInt32 {
        let own = t1 == 0 ? part(50) : t1
        return max(min(own, UInt32(UInt64(leaseTime) * 7 / 8)), 1)
    }

    /// When to ask any server.
    package var rebindingTime: UInt32 {
        let own = t2 == 0 ? part(80) : t2
        return max(min(own, leaseTime), renewalTime)
    }

    /// Some percent of the time for which the address is preferred.
    private func part(_ percent: UInt64) -> UInt32 {
        let base = address.preferred == 0 ? address.valid : address.preferred
        return base == .max ? .max : UInt32(UInt64(base) * percent / 100)
    }
}
