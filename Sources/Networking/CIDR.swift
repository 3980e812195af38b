/// An address with a prefix length, as in `10.1.2.3/24`. Host bits are kept.
package struct CIDR: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    package let length: Int

    /// - Precondition: `length` is between 0 and the family's width.
    package init(_ address: IPAddress, _ length: Int) {
        precondition((0...address.family.width).contains(length))
        self.address = address
        self.length = length
    }

    /// `address/length`; nil when the address, the length or the form is wrong.
    package init?(parsing text: String) {
        let parts = text.parts(by: "/")
        guard parts.count == 2, let address = IPAddress(parsing: String(parts[0])),
            (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let written = Int(parts[1])
        else { return nil }
        // The length of an IPv4 address that is written as IPv6 counts IPv6's bits.
        let isMapped = address.family == .v4 && parts[0].utf8.contains(UInt8(ascii: ":"))
        let length = isMapped ? written - 96 : written
        guard (0...address.family.width).contains(length) else { return nil }
        self.init(address, length)
    }

    package var family: IPAddress.Family { address.family }
    package var description: String { "\(address)/\(length)" }

    /// The number with the host bits set.
    private var hostMask: UInt128 {
        let host = family.width - length
        return host == 128 ? .max : (1 << UInt128(host)) - 1
    }

    /// The same network with the host bits cleared.
    package var network: CIDR { CIDR(IPAddress(family, bits: address.bits & ~hostMask), length) }
    /// The last address of the network: IPv4's broadcast address.
    package var last: IPAddress { IPAddress(family, bits: address.bits | hostMask) }

    package func contains(_ other: IPAddress) -> Bool {
        other.family == family && CIDR(other, length).network == network
    }

    package func overlaps(_ other: CIDR) -> Bool {
        family == other.family && (contains(other.address) || other.contains(address))
    }

    /// The whole address with its family's full length, as a host route's destination.
    package static func host(_ address: IPAddress) -> CIDR { CIDR(address, address.family.width) }
    /// 0.0.0.0/0 or ::/0.
    package static func everywhere(_ family: IPAddress.Family) -> CIDR { CIDR(IPAddress(family, bits: 0), 0) }
}
