import CLinux
import Linux
import Networking
import Testing

@testable import Netlink

/// Bytes of nftables transactions. Numbers within are big-endian.
@Suite struct Transactions {
    @Test("nft add rule inet .. ip saddr 10.9.0.2 ip daddr != 10.9.0.0/22 masquerade comment \"abc\"")
    func aMasqueradeRule() throws {
        var transaction = Transaction()
        let rule = MasqueradeRule(
            address: try Requests.ip("10.9.0.2"), network: try Requests.cidr("10.9.0.0/22"), comment: "abc")
        transaction.add(rule.change)
        transaction.close()
        let nfproto =
            "24000180" + "09000100" + "6d65746100000000"  // "meta"
            + "14000280" + "08000100" + "00000001" + "08000200" + "0000000f"  // register 1, NFT_META_NFPROTO
            + "2c000180" + "08000100" + "636d7000"  // "cmp"
            + "20000280" + "08000100" + "00000001" + "08000200" + "00000000"  // register 1, equal
            + "0c000380" + "05000100" + "02000000"  // NFPROTO_IPV4
        let source =
            "34000180" + "0c000100" + "7061796c6f616400"  // "payload"
            + "24000280" + "08000100" + "00000001" + "08000200" + "00000001"  // register 1, network header
            + "08000300" + "0000000c" + "08000400" + "00000004"  // offset 12, 4 bytes
            + "2c000180" + "08000100" + "636d7000"
            + "20000280" + "08000100" + "00000001" + "08000200" + "00000000" + "0c000380" + "08000100"
            + "0a090002"
        let destination =
            "34000180" + "0c000100" + "7061796c6f616400"
            + "24000280" + "08000100" + "00000001" + "08000200" + "00000001"
            + "08000300" + "00000010" + "08000400" + "00000004"  // offset 16
            + "44000180" + "0c000100" + "6269747769736500"  // "bitwise": the mask of 22 bits
            + "34000280" + "08000100" + "00000001" + "08000200" + "00000001" + "08000300" + "00000004"
            + "0c000480" + "08000100" + "fffffc00" + "0c000580" + "08000100" + "00000000"
            + "2c000180" + "08000100" + "636d7000"
            + "20000280" + "08000100" + "00000001" + "08000200" + "00000001" + "0c000380" + "08000100"
            + "0a090000"
        let masquerade = "14000180" + "09000100" + "6d61737100000000" + "04000280"
        #expect(
            Requests.hex(transaction.request)
                // NFNL_MSG_BATCH_BEGIN for NFNL_SUBSYS_NFTABLES
                == "14000000" + "1000" + "0100" + "00000000" + "00000000" + "0000000a"
                // NFT_MSG_NEWRULE, REQUEST|ACK|CREATE|APPEND; NFPROTO_INET
                + "b8010000" + "060a" + "050c" + "00000000" + "00000000" + "01000000"
                + "1b000100" + "636e695f706c7567696e735f6d61737175657261646500" + "00"  // NFTA_RULE_TABLE
                + "10000200" + "6d6173715f636865636b7300"  // NFTA_RULE_CHAIN
                + "6c010480" + nfproto + source + destination + masquerade  // NFTA_RULE_EXPRESSIONS
                + "0a000700" + "0004" + "61626300" + "0000"  // NFTA_RULE_USERDATA: comment
                // NFNL_MSG_BATCH_END
                + "14000000" + "1100" + "0100" + "00000000" + "00000000" + "0000000a")
    }

    @Test func commentsAreCutBetweenCharacters() {
        #expect(Transaction.comment("abc") == [0, 4, 97, 98, 99, 0])
        let ascii = Transaction.comment(String(repeating: "a", count: 200))
        #expect(ascii.count == 130)
        #expect(ascii[1] == 128)
        let wide = Transaction.comment(String(repeating: "a", count: 126) + "é")
        #expect(wide.count == 2 + 126 + 1)
        #expect(String(validating: wide[2...].dropLast(), as: UTF8.self) != nil)
    }
}

@Suite struct Replies {
    @Test(arguments: [[200, 0, 3, 0], [3, 0, 3, 0], [8, 0, 3, 0, 1, 1]] as [[UInt8]])
    func wrongAttributeLengthsAreRefused(bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { buffer in
            #expect(throws: SystemError.self) { try AttributeReader(bytes: buffer).forEach { _, _ in } }
        }
    }

    @Test func shortPayloadsAreRefused() {
        [UInt8](repeating: 0, count: 6).withUnsafeBytes { buffer in
            #expect(throws: SystemError.self) { try LinkInfo(buffer) }
            #expect(throws: SystemError.self) { try AddressInfo(buffer) }
            #expect(throws: SystemError.self) { try RouteInfo.read(buffer, .v4) }
        }
    }

    @Test func aPrefixLongerThanItsAddressIsNoAddress() throws {
        // ifaddrmsg: AF_INET, /33; IFA_LOCAL
        let bytes: [UInt8] = [2, 33, 0, 0, 2, 0, 0, 0] + [8, 0, 2, 0, 10, 9, 0, 2]
        let address = try bytes.withUnsafeBytes { try AddressInfo($0) }
        #expect(address == nil)
    }

    @Test(
        "an address of a router's advertisement is told from others: by who made it, or as kernels before 5.18 show it"
    )
    func advertised() throws {
        func read(_ flags: UInt8, length: UInt8 = 64, origin: UInt8? = nil, _ head: [UInt8] = [0x20, 1])
            throws
            -> AddressInfo?
        {
            // ifaddrmsg: AF_INET6; IFA_ADDRESS, IFA_PROTO
            let message: [UInt8] = [10, length, flags, 0, 2, 0, 0, 0]
            let address: [UInt8] = [20, 0, 1, 0] + head + [UInt8](repeating: 7, count: 14)
            let proto: [UInt8] = origin.map { [5, 0, 11, 0, $0, 0, 0, 0] } ?? []
            return try (message + address + proto).withUnsafeBytes { try AddressInfo($0) }
        }
        #expect(try read(0)?.isAdvertised == true && read(0, origin: 2)?.isAdvertised == true)
        #expect(try read(0, length: 128)?.isAdvertised == false && read(0, origin: 3)?.isAdvertised == false)
        // Permanent, temporary, deprecated, link-local.
        for flags in [UInt8(0x80), 1, 0x20] { #expect(try read(flags, origin: 2)?.isAdvertised == false) }
        #expect(try read(0, [0xfe, 0x80])?.isAdvertised == false)
        // Tentative; optimistic at the same time.
        #expect(try read(0x40)?.isTentative == true && read(0x40)?.isBeingProbed == true)
        #expect(try read(0x44)?.isTentative == false && read(0x44)?.isBeingProbed == true)
    }

    @Test func anIPv4MappedDestinationStaysIPv6() throws {
        // rtmsg: AF_INET6, /120, table main, unicast; RTA_DST ::ffff:1.2.3.0
        let message: [UInt8] = [10, 120, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]
        let destination: [UInt8] =
            [20, 0, 1, 0] + [UInt8](repeating: 0, count: 10) + [255, 255, 1, 2, 3, 0]
        let found = try (message + destination).withUnsafeBytes { try RouteInfo.read($0, .v6) }
        #expect(found.map { "\($0.route.destination)" } == ["::ffff:102:300/120"])
        // What is no address of the family that was asked for is no route of it.
        let other = try (message + destination).withUnsafeBytes { try RouteInfo.read($0, .v4) }
        #expect(other.isEmpty)
    }

    @Test func eachNextHopCountsAsARoute() throws {
        // rtmsg: AF_INET, /16, table main, unicast; RTA_DST; RTA_MULTIPATH of two rtnexthop with RTA_GATEWAY
        let message: [UInt8] = [2, 16, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0] + [8, 0, 1, 0, 10, 8, 0, 0]
        let hops: [UInt8] =
            [36, 0, 9, 0] + [16, 0, 0, 0, 2, 0, 0, 0] + [8, 0, 5, 0, 10, 9, 0, 1]
            + [16, 0, 0, 0, 3, 0, 0, 0] + [8, 0, 5, 0, 10, 9, 0, 2]
        let found = try (message + hops).withUnsafeBytes { try RouteInfo.read($0, .v4) }
        let destination = try Requests.cidr("10.8.0.0/16")
        let whole = message + hops
        #expect(
            found == [
                RouteInfo(
                    route: Route(destination, via: try Requests.ip("10.9.0.1")), index: 2, original: whole),
                RouteInfo(
                    route: Route(destination, via: try Requests.ip("10.9.0.2")), index: 3, original: whole),
            ])
    }
}
