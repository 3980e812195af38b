import CNI
package import DHCP
package import JSONC
package import Networking
package import Plans

/// A lease of an IPv6 address as it is written down.
package struct DHCPv6Record: LeaseRecord {
    /// Beside that of the attachment's IPv4 lease.
    package static let suffix = ":v6.json"
    package static let isConfirmed = false

    package var head: LeaseHead
    package var client: ClientV6
    /// `accept` has `dns`.
    package var acceptsDNS: Bool
    /// nil before the first answer.
    package var grant: GrantV6?

    package init(_ head: LeaseHead, client: ClientV6, acceptsDNS: Bool) {
        self.head = head
        self.client = client
        self.acceptsDNS = acceptsDNS
    }

    package var term: LeaseTerm? {
        grant.map {
            LeaseTerm(
                address: $0.address.address, server: $0.source, renewal: $0.renewalTime,
                rebinding: $0.rebindingTime, end: $0.leaseTime)
        }
    }

    package func lease(at now: LeaseHead.Instant) -> Lease? {
        guard let grant, let spent = spent(at: now) else { return nil }
        return grant.lease(acceptsDNS: acceptsDNS).after(spent)
    }
}

extension GrantV6 {
    /// The address alone: DHCPv6 knows no routes and no routers, nor which other addresses are on the link.
    package func lease(acceptsDNS: Bool) -> Lease {
        var lease = Lease(
            ips: [.init(address: address.cidr)],
            use: AddressUse(lifetime: address.lifetime, isProbed: true))
        if acceptsDNS {
            lease.dns.nameservers = nameServers.map { "\($0)" }
            lease.dns.search = domainSearch
            lease.isDNSWanted = true
        }
        return lease
    }
}

extension AddressV6 {
    package var cidr: CIDR { CIDR(address, 128) }
    package var lifetime: Lifetime { Lifetime(preferred: preferred, valid: valid) }
}

extension DHCPv6Record {
    package var json: JSON {
        var json = head.json
        json["duid"] = .string(Hexadecimal.text(client.duid))
        json["iaid"] = .int(Int64(client.association))
        json["request"] = .array(client.requested.map { .int(Int64($0)) })
        if acceptsDNS { json["accept"] = ["dns"] }
        if let grant {
            json["address"] = .string("\(grant.address.address)")
            json["preferred"] = .int(Int64(grant.address.preferred))
            json["valid"] = .int(Int64(grant.address.valid))
            json["t1"] = .int(Int64(grant.t1))
            json["t2"] = .int(Int64(grant.t2))
            json["server"] = .string(Hexadecimal.text(grant.server))
            json["source"] = .string("\(grant.source)")
            json["nameservers"] = .array(grant.nameServers.map { .string("\($0)") })
            json["search"] = .array(grant.domainSearch.map { .string($0) })
        }
        return .object(json)
    }

    package init(_ json: Reader) throws(JSONError) {
        let requested = (json.value["request"]?.array ?? []).compactMap { value in
            value.int.flatMap(UInt16.init(exactly:))
        }
        self.init(
            try LeaseHead(json),
            client: ClientV6(
                duid: try json.bytes("duid"), association: try Self.number(json, "iaid"),
                requested: requested),
            acceptsDNS: try json.strings("accept")?.contains("dns") ?? false)
        guard head.granted != nil else { return }
        let address = AddressV6(
            try Self.address(json, "address"), preferred: try Self.number(json, "preferred"),
            valid: try Self.number(json, "valid"))
        guard address.preferred <= address.valid else {
            throw json.error("preferred", "is longer than valid")
        }
        grant = GrantV6(
            address, t1: try Self.number(json, "t1"), t2: try Self.number(json, "t2"),
            server: try json.bytes("server"), source: try Self.address(json, "source"),
            nameServers: (try json.strings("nameservers") ?? []).compactMap { IPAddress(parsing: $0) },
            domainSearch: try json.strings("search") ?? [])
    }

    private static func number(_ json: Reader, _ key: String) throws(JSONError) -> UInt32 {
        guard let number = try json.int(key, in: 0...Int64(UInt32.max)) else {
            throw json.error(key, "is missing")
        }
        return UInt32(number)
    }

    private static func address(_ json: Reader, _ key: String) throws(JSONError) -> IPAddress {
        guard let address = IPAddress(parsing: try json.text(key)), address.family == .v6 else {
            throw json.error(key, "is no IPv6 address")
        }
        return address
    }
}
