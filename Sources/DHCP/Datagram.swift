package import Networking

/// A UDP datagram over IPv4, for a link that has no address yet. RFC 791, RFC 768.
package struct Datagram: Equatable, Sendable {
    package static let clientPort: UInt16 = 68
    package static let serverPort: UInt16 = 67

    package var source: IPAddress
    package var sourcePort: UInt16
    package var destination: IPAddress
    package var destinationPort: UInt16
    package var payload: [UInt8]

    package init(
        from source: IPAddress, _ sourcePort: UInt16, to destination: IPAddress, _ destinationPort: UInt16,
        _ payload: [UInt8]
    ) {
        self.source = source
        self.sourcePort = sourcePort
        self.destination = destination
        self.destinationPort = destinationPort
        self.payload = payload
    }

    package func encoded() -> [UInt8] {
        var udp = sourcePort.octets + destinationPort.octets + UInt16(8 + payload.count).octets + [0, 0]
        udp += payload
        let sum = Self.checksum(Self.pseudoHeader(source, destination, udp.count) + udp)
        // 0 would mean that there is none.
        udp.replaceSubrange(6..<8, with: (sum == 0 ? 0xffff : sum).octets)
        // Version, length, and the class that RFC 2131's implementations use: low delay.
        var header: [UInt8] = [0x45, 0x10] + UInt16(20 + udp.count).octets + [0, 0, 0, 0, 64, 17, 0, 0]
        header += source.bytes + destination.bytes
        header.replaceSubrange(10..<12, with: Self.checksum(header).octets)
        return header + udp
    }

    /// - Parameter hasChecksum: false where the kernel says that the sender's was left to a card, which never saw it.
    package init?(decoding bytes: [UInt8], hasChecksum: Bool = true) {
        guard bytes.count >= 28, bytes[0] >> 4 == 4, bytes[9] == 17 else { return nil }
        let start = Int(bytes[0] & 15) * 4
        let total = Int(UInt16(octets: bytes[2..<4]))
        // Fragments are none of ours.
        guard start >= 20, total >= start + 8, bytes.count >= total,
            UInt16(octets: bytes[6..<8]) & 0x3fff == 0,
            Self.checksum(bytes[..<start]) == 0
        else { return nil }
        let udp = bytes[start..<total]
        let length = Int(UInt16(octets: udp[start + 4..<start + 6]))
        guard length >= 8, length <= udp.count else { return nil }
        let source = IPAddress(octets: bytes[12..<16])
        let destination = IPAddress(octets: bytes[16..<20])
        let isSummed = udp[start + 6] != 0 || udp[start + 7] != 0
        if hasChecksum, isSummed {
            let sum = Self.checksum(Self.pseudoHeader(source, destination, length) + udp.prefix(length))
            guard sum == 0 else { return nil }
        }
        self.init(
            from: source, UInt16(octets: udp[start..<start + 2]), to: destination,
            UInt16(octets: udp[start + 2..<start + 4]), Array(udp.prefix(length).dropFirst(8)))
    }

    private static func pseudoHeader(_ from: IPAddress, _ to: IPAddress, _ length: Int) -> [UInt8] {
        from.bytes + to.bytes + [0, 17] + UInt16(length).octets
    }

    /// The one's complement of the one's complement sum: 0 over what has a right one in it. RFC 1071.
    static func checksum(_ bytes: some Collection<UInt8>) -> UInt16 {
        var sum: UInt32 = 0
        var isHigh = true
        for byte in bytes {
            sum += isHigh ? UInt32(byte) << 8 : UInt32(byte)
            isHigh.toggle()
        }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(sum)
    }
}
