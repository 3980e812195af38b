import Networking
import Testing

@testable import DHCP

/// Bytes of DHCPv6 messages, by RFC 8415.
@Suite struct MessageV6Tests {
    static let address = IPAddress(parsing: "2001:db8::100") ?? .unspecified
    static let other = IPAddress(parsing: "2001:db8::200") ?? .unspecified

    @Test("D6-03: section 8 and 21: each field in its place")
    func fields() {
        let association = AssociationV6(
            id: 0x0102_0304, t1: 5, t2: 6, addresses: [AddressV6(Self.address, preferred: 7, valid: 8)])
        let message = MessageV6(
            .solicit, transaction: 0xff0a_0b0c,
            options: [OptionV6(.clientID, [0, 3, 0, 1]), association.option, OptionV6(.rapidCommit)])
        let bytes = message.encoded()
        #expect(Array(bytes[0..<4]) == [1, 0x0a, 0x0b, 0x0c], "24 bits of the number")
        #expect(Array(bytes[4..<12]) == [0, 1, 0, 4, 0, 3, 0, 1])
        #expect(Array(bytes[12..<28]) == [0, 3, 0, 40, 1, 2, 3, 4, 0, 0, 0, 5, 0, 0, 0, 6])
        #expect(Array(bytes[28..<32]) == [0, 5, 0, 24])
        #expect(Array(bytes[32..<48]) == Self.address.bytes)
        #expect(Array(bytes[48..<56]) == [0, 0, 0, 7, 0, 0, 0, 8])
        #expect(Array(bytes[56...]) == [0, 14, 0, 0])
        #expect(MessageV6(decoding: bytes) == message)
        #expect(MessageV6(decoding: bytes)?.association(0x0102_0304) == association)
        #expect(MessageV6(decoding: bytes)?.association(1) == nil)
    }

    @Test("what is cut off is no message, nor is a relay's")
    func damaged() {
        let status = StatusV6(.noAddresses, "pool is empty")
        let message = MessageV6(
            .reply, transaction: 1, options: [OptionV6(.serverID, [1, 2]), status.option])
        let bytes = message.encoded()
        for count in 0..<bytes.count where count != 4 && count != 10 {
            #expect(MessageV6(decoding: Array(bytes.prefix(count))) == nil, "\(count)")
        }
        #expect(MessageV6(decoding: [12] + bytes.dropFirst()) == nil)
        #expect(MessageV6(decoding: bytes)?.status == status)
        #expect("\(status)" == "NoAddrsAvail: pool is empty" && "\(StatusV6(.noBinding))" == "NoBinding")
    }

    @Test("options of a server: preference, limits, name servers, domains without compression")
    func server() {
        let message = MessageV6(
            .advertise, transaction: 1,
            options: [
                OptionV6(.preference, [255]), OptionV6(.solicitLimit, UInt32(3000).octets),
                OptionV6(.nameServers, Self.address.bytes + Self.other.bytes + [1]),
                OptionV6(.domains, [1] + Array("a".utf8) + [3] + Array("org".utf8) + [0, 0xc0, 0]),
            ])
        #expect(message.preference == 255 && message.longestPause == 3000)
        #expect(message.nameServers == [Self.address, Self.other] && message.domainSearch == ["a.org"])
        for limit in [UInt32(59), 86401] {
            let other = MessageV6(
                .advertise, transaction: 1, options: [OptionV6(.solicitLimit, limit.octets)])
            #expect(other.longestPause == nil && other.preference == 0)
        }
    }

    @Test(
        "21.4, 21.6: an IA or an address whose times are in no order is passed over, and one that no host can have"
    )
    func order() {
        func read(_ association: AssociationV6) -> AssociationV6? {
            AssociationV6(decoding: association.option.value)
        }
        #expect(read(AssociationV6(id: 1, t1: 9, t2: 8)) == nil)
        #expect(read(AssociationV6(id: 1, t1: 9, t2: 0)) != nil)
        for wrong in [
            AddressV6(Self.address, preferred: 9, valid: 8),
            AddressV6(IPAddress(parsing: "ff02::1") ?? .unspecified, preferred: 1, valid: 8),
            AddressV6(IPAddress(parsing: "fe80::1") ?? .unspecified, preferred: 1, valid: 8),
            AddressV6(IPAddress(.v6, bits: 0), preferred: 1, valid: 8),
        ] {
            #expect(read(AssociationV6(id: 1, addresses: [wrong]))?.addresses.isEmpty == true)
        }
        // IAADDR with a refusal in it.
        let inner =
            AddressV6(Self.address, preferred: 1, valid: 8).option.value + StatusV6(.notOnLink).option.encoded
        let value = AssociationV6(id: 1).option.value + [0, 5] + UInt16(inner.count).octets + inner
        #expect(AssociationV6(decoding: value)?.addresses.isEmpty == true)
    }

    @Test("D6-03: a DUID of a hash is a UUID of version 8, that of a MAC address names Ethernet")
    func identity() {
        let digest = [UInt8](repeating: 0xff, count: 32)
        let duid = ClientV6.duid(digest: digest)
        #expect(duid.count == 18 && Array(duid[0..<2]) == [0, 4])
        #expect(duid[8] == 0x8f && duid[10] == 0xbf)
        #expect(ClientV6.duid(MessageTests.mac) == [0, 3, 0, 1, 2, 0, 0, 0, 0, 1])
    }

    @Test(
        "D6-06: times: half and 80 % of what is preferred where the server says nothing; never at once, never too late"
    )
    func times() {
        func grant(_ preferred: UInt32, _ valid: UInt32, _ t1: UInt32, _ t2: UInt32) -> GrantV6 {
            GrantV6(
                AddressV6(Self.address, preferred: preferred, valid: valid), t1: t1, t2: t2, server: [1],
                source: Self.other)
        }
        let plain = grant(100, 200, 0, 0)
        #expect(plain.renewalTime == 50 && plain.rebindingTime == 80 && plain.leaseTime == 200)
        let told = grant(100, 200, 10, 20)
        #expect(told.renewalTime == 10 && told.rebindingTime == 20)
        let late = grant(100, 200, 900, 1000)
        #expect(late.renewalTime == 175 && late.rebindingTime == 200)
        #expect(grant(0, 200, 0, 0).renewalTime == 100 && grant(1, 1, 0, 0).renewalTime == 1)
        #expect(grant(.max, .max, 0, 0).renewalTime < .max)
    }
}

extension OptionV6 {
    fileprivate var encoded: [UInt8] { OptionV6.encoded([self]) }
}
