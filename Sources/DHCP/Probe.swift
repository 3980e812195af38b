package import Networking

/// Whether somebody on the link uses an address already: three ARP probes, half a second apart. RFC 5227, section 2.1.1, whose
/// own pauses are seconds.
struct Probe: Equatable, Sendable {
    let address: IPAddress
    private let hardware: MAC
    private var sent = 0
    /// When the next one is to be sent, or the last one has had its time.
    private(set) var wakeup: Int64

    private static let count = 3
    private static let pause: Int64 = 500

    init(_ address: IPAddress, by hardware: MAC, now: Int64) {
        self.address = address
        self.hardware = hardware
        wakeup = now
    }

    /// An ARP packet to be sent to all; nil when nobody has answered any.
    mutating func next(now: Int64) -> [UInt8]? {
        guard sent < Self.count else { return nil }
        sent += 1
        wakeup = now + Self.pause
        return Self.request(hardware, from: .unspecified, about: address)
    }

    /// Ethernet, IPv4, the lengths of their addresses, a request. RFC 826.
    static func request(_ hardware: MAC, from source: IPAddress, about target: IPAddress) -> [UInt8] {
        [0, 1, 8, 0, 6, 4, 0, 1] + hardware.bytes + source.bytes + MAC.zero.bytes + target.bytes
    }

    /// Whose packet says that it has the address, or probes it too.
    func holder(_ packet: [UInt8]) -> MAC? {
        guard packet.count >= 28, packet.starts(with: [0, 1, 8, 0, 6, 4, 0]),
            let sender = MAC(bytes: Array(packet[8..<14])), sender != hardware
        else { return nil }
        let (source, target) = (IPAddress(octets: packet[14..<18]), IPAddress(octets: packet[24..<28]))
        let isProbe = packet[7] == 1 && source == .unspecified && target == address
        return source == address || isProbe ? sender : nil
    }
}

extension Client {
    /// The ARP packet that says whose an address is now, to hosts that remember who had it before. RFC 5227, section 2.3.
    package func announcement(of address: IPAddress) -> [UInt8] {
        Probe.request(hardware, from: address, about: address)
    }
}
