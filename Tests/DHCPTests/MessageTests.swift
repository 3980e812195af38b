import Networking
import Testing

@testable import DHCP

/// Bytes of messages and datagrams, by the RFCs.
@Suite struct MessageTests {
    static let mac = MAC(bytes: [2, 0, 0, 0, 0, 1]) ?? .zero

    @Test("RFC 2131, figure 1: each field in its place, and 300 bytes at least")
    func fields() {
        var message = Message(.discover, transaction: 0x0102_0304, hardware: Self.mac)
        message.seconds = 0x0506
        message.isBroadcast = true
        message.client = IPAddress(.v4, bits: 0x0a00_0001)
        message.options[Option.clientID] = [0, 97]
        let bytes = message.encoded()
        #expect(Array(bytes[0..<12]) == [1, 1, 6, 0, 1, 2, 3, 4, 5, 6, 0x80, 0])
        #expect(Array(bytes[12..<16]) == [10, 0, 0, 1])
        #expect(Array(bytes[28..<34]) == Self.mac.bytes && bytes[34..<236].allSatisfy { $0 == 0 })
        #expect(Array(bytes[236..<248]) == [99, 130, 83, 99, 53, 1, 1, 61, 2, 0, 97, 255])
        #expect(bytes.count == 300)
        #expect(Message(decoding: bytes, isReply: false) == message)
        #expect(Message(decoding: bytes) == nil, "it is no reply")
    }

    @Test("RFC 3396: a long option is cut into pieces, and joined")
    func longOptions() {
        var message = Message(.offer, transaction: 1, hardware: Self.mac)
        message.options[121] = (0..<600).map { UInt8(truncatingIfNeeded: $0) }
        message.options[12] = []
        let bytes = message.encoded(isReply: true)
        #expect(Message(decoding: bytes) == message)
    }

    @Test("RFC 2132, 9.3: options go on in file and sname")
    func overload() {
        let message = Message(.ack, transaction: 1, hardware: Self.mac)
        var bytes = message.encoded(isReply: true)
        bytes.replaceSubrange(240..<247, with: [52, 1, 3, 53, 1, 5, 255])
        bytes.replaceSubrange(108..<112, with: [3, 1, 9, 255])
        bytes.replaceSubrange(44..<48, with: [0, 15, 1, 98])
        bytes[48] = 255
        let found = Message(decoding: bytes)
        #expect(found?.options[3] == [9] && found?.options[15] == [98])
    }

    @Test("what is cut off is no message")
    func damaged() {
        var message = Message(.ack, transaction: 1, hardware: Self.mac)
        message.options[1] = [255, 255, 255, 0]
        let bytes = message.encoded(isReply: true)
        // The end may be missing, but no option be cut.
        for count in 0..<246 where count != 243 {
            #expect(Message(decoding: Array(bytes.prefix(count))) == nil)
        }
        var other = bytes
        other[236] = 0
        #expect(Message(decoding: other) == nil)
        other = bytes
        other[241] = 200
        #expect(Message(decoding: other) == nil, "an option that ends behind the message")
    }

    @Test("a datagram has both checksums, and is read as it was written")
    func datagram() {
        let datagram = Datagram(
            from: .unspecified, 68, to: .broadcast, 67, Array("DHCP message of odd length".utf8) + [1])
        var bytes = datagram.encoded()
        #expect(Datagram(decoding: bytes) == datagram)
        // A card pads short frames.
        #expect(Datagram(decoding: bytes + [0, 0, 0]) == datagram)
        bytes[30] ^= 1
        #expect(Datagram(decoding: bytes) == nil)
        #expect(Datagram(decoding: bytes, hasChecksum: false) != nil, "left to the card")
        bytes[26] = 0
        bytes[27] = 0
        #expect(Datagram(decoding: bytes) != nil, "the sender made none")
        bytes[12] = 1
        #expect(Datagram(decoding: bytes) == nil, "the header has its own")
    }

    @Test(
        "what is none: another version, protocol, a fragment, lengths that lie",
        arguments: [(0, 0x65), (9, 6), (6, 0x20), (7, 1), (3, 27), (2, 9), (24, 9), (25, 3)] as [(Int, UInt8)]
    )
    func noDatagram(place: Int, value: UInt8) {
        var bytes = Datagram(from: .unspecified, 68, to: .broadcast, 67, [1, 2]).encoded()
        bytes[place] = value
        bytes.replaceSubrange(10..<12, with: [0, 0])
        bytes.replaceSubrange(10..<12, with: Datagram.checksum(bytes[0..<20]).octets)
        #expect(Datagram(decoding: bytes, hasChecksum: false) == nil)
    }
}

/// What a server granted, read from its options.
@Suite struct GrantTests {
    private func grant(_ options: [UInt8: [UInt8]]) -> Grant {
        Grant(
            address: IPAddress(.v4, bits: 0x0a01_0203), server: IPAddress(.v4, bits: 0x0a01_0201),
            options: options)
    }

    private func routes(_ options: [UInt8: [UInt8]], priority: UInt32? = nil) -> [String] {
        grant(options).routes(priority: priority).map { route in
            "\(route.destination)\(route.gateway.map { " via \($0)" } ?? "")\(route.scope.map { " scope \($0)" } ?? "")"
                + (route.priority.map { " metric \($0)" } ?? "")
        }
    }

    @Test func masks() {
        #expect(grant([1: [255, 255, 255, 0]]).prefixLength == 24)
        #expect(grant([1: [255, 255, 255, 255]]).prefixLength == 32)
        #expect(grant([1: [0, 0, 0, 0]]).prefixLength == 0)
        #expect(grant([1: [255, 0, 255, 0]]).prefixLength == nil)
        #expect(grant([1: [255, 255, 0]]).prefixLength == nil)
        #expect(grant([:]).prefixLength == nil)
    }

    @Test("DC-11: an hour, a half, 85 %; what a server says is kept in that order")
    func times() {
        let plain = grant([:])
        #expect(plain.leaseTime == 3600 && plain.renewalTime == 1800 && plain.rebindingTime == 3060)
        let told = grant([51: UInt32(100).octets, 58: UInt32(10).octets, 59: UInt32(20).octets])
        #expect(told.leaseTime == 100 && told.renewalTime == 10 && told.rebindingTime == 20)
        let mad = grant([51: UInt32(100).octets, 58: UInt32(500).octets, 59: UInt32(2).octets])
        #expect(mad.renewalTime == 50 && mad.rebindingTime == 85, "times in the wrong order")
        let forever = grant([51: UInt32.max.octets])
        #expect(forever.leaseTime == .max && forever.renewalTime < forever.rebindingTime)
    }

    @Test("DH-05: option 121 alone counts, even without a default; DC-16: no router is a link's scope")
    func classless() {
        let routers: [UInt8] = [10, 1, 2, 1]
        #expect(
            routes([121: [16, 10, 1] + routers, 3: routers, 33: [172, 16, 0, 0] + routers]) == [
                "10.1.0.0/16 via 10.1.2.1"
            ])
        #expect(
            routes([121: [0] + routers + [32, 9, 9, 9, 9, 0, 0, 0, 0]]) == [
                "0.0.0.0/0 via 10.1.2.1", "9.9.9.9/32 scope 253",
            ])
        #expect(routes([121: [25, 10, 1, 2, 129] + routers]) == ["10.1.2.128/25 via 10.1.2.1"], "host bits")
        #expect(
            routes([121: [33, 1, 1, 1, 1, 1] + routers, 3: routers]) == ["0.0.0.0/0 via 10.1.2.1"], "damaged")
        #expect(routes([121: [0] + routers + [0] + routers]) == ["0.0.0.0/0 via 10.1.2.1"], "given twice")
    }

    @Test("RFC 2132: an MTU below 68 is none")
    func leastMTU() {
        #expect(grant([26: [0, 67]]).mtu == nil && grant([26: [0, 68]]).mtu == 68)
    }

    @Test("DH-06, DH-07, DH-08: classful pairs, then the first router; the metric is every route's")
    func classful() {
        let routers: [UInt8] = [10, 1, 2, 1, 10, 1, 2, 2]
        let pairs: [UInt8] = [
            10, 5, 5, 5, 10, 1, 2, 9, 172, 16, 1, 1, 10, 1, 2, 9, 192, 168, 3, 4, 10, 1, 2, 9,
        ]
        #expect(
            routes([33: pairs + [1, 2, 3], 3: routers], priority: 7) == [
                "10.0.0.0/8 via 10.1.2.9 metric 7", "172.16.0.0/16 via 10.1.2.9 metric 7",
                "192.168.3.0/24 via 10.1.2.9 metric 7", "0.0.0.0/0 via 10.1.2.1 metric 7",
            ])
    }

    @Test("names: RFC 3397 with pointers, and none that lead nowhere or in a circle")
    func names() {
        let compressed: [UInt8] =
            [3] + Array("eng".utf8) + [5] + Array("apple".utf8) + [3] + Array("com".utf8) + [0, 9]
            + Array("marketing".utf8) + [0xc0, 4]
        #expect(grant([119: compressed]).domainSearch == ["eng.apple.com", "marketing.apple.com"])
        #expect(grant([119: [0xc0, 0]]).domainSearch == [])
        #expect(grant([119: [0xc0, 200]]).domainSearch == [])
        #expect(grant([119: [9, 97]]).domainSearch == [])
        #expect(grant([15: Array("a.b\0c".utf8)]).domainName == "a.b")
        #expect(grant([26: [5, 220]]).mtu == 1500)
        #expect(grant([6: [1, 1, 1, 1, 8, 8]]).nameServers.map { "\($0)" } == ["1.1.1.1"])
    }
}
