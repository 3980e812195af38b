import CLinux
import Networking
import Testing

@testable import Netlink

/// Request bytes, field by field. Attributes and fixed headers are those of `ip`, `bridge` and `nft` for the command in
/// the title, taken from a trace; the sequence number and NLM_F_ACK come with the sending, every nest bears NLA_F_NESTED
/// (0x8000), and a kind ends in NUL, which `ip` leaves out.
@Suite struct Requests {
    static func hex(_ request: borrowing Request) -> String {
        request.withBytes { bytes in
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
    }

    static func mac(_ last: UInt8) throws -> MAC { try #require(MAC(bytes: [2, 0, 0, 0, 0, last])) }
    static func cidr(_ text: String) throws -> CIDR { try #require(CIDR(parsing: text)) }
    static func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(parsing: text)) }

    @Test func aLookupByName() {
        let request = Request(RTM_GETLINK, 0)
        request.extra(ifinfomsg.of())
        request.attributes(of: LinkSpace.self) { $0.put(.name, "lo") }
        #expect(
            Self.hex(request)
                // nlmsghdr: 40 bytes, RTM_GETLINK, NLM_F_REQUEST, sequence, port
                == "28000000" + "1200" + "0100" + "00000000" + "00000000"
                // ifinfomsg
                + "00000000000000000000000000000000"
                // IFLA_IFNAME "lo\0", padded
                + "0700" + "0300" + "6c6f0000")
    }

    /// Wherever the buffer has to grow: in a text, in a nest, in a further message.
    @Test func whatIsPutIntoARequestHasRoom() throws {
        var request = Request(RTM_SETLINK, 0, capacity: 32)
        for index in 0..<200 {
            if index > 0 { request.next(RTM_SETLINK, 0) }
            request.extra(ifinfomsg.of(index: Int32(index)))
            request.attributes(of: LinkSpace.self) {
                $0.put(.name, String(repeating: "n", count: index))
                $0.put(.bridgeFamily) { family in
                    for vid in 1...40 { family.put(.vlan, [UInt8(vid), 0, 0, 0]) }
                }
            }
        }
        let sizes = request.withBytes { bytes in
            var sizes: [Int] = []
            var start = 0
            while start < bytes.count {
                let size = Int(bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self))
                // The nest is whole, and the last VLAN is in it.
                let end = start + size
                #expect(bytes[end - 4] == 40 && bytes[end - 8] == 8)
                sizes.append(size)
                start += (size + 3) & ~3
            }
            return sizes
        }
        #expect(sizes.count == 200)
        // Headers 32, the name with its NUL 204, the nest 4 and 40 times 8.
        #expect(sizes.last == 560)
    }

    @Test("ip rule add from 192.0.2.7/32 table 1000 priority 77")
    func aRule() throws {
        let rule = RoutingRule(from: try Self.cidr("192.0.2.7/32"), table: 1000, priority: 77)
        #expect(
            Self.hex(RouteSocket.adding(rule))
                // 52 bytes, RTM_NEWRULE, REQUEST|CREATE|EXCL
                == "34000000" + "2000" + "0106" + "00000000" + "00000000"
                // fib_rule_hdr: AF_INET, dst 0, src 32, tos; table 0, two unused, FR_ACT_TO_TBL; flags
                + "02002000" + "00000001" + "00000000"
                + "08000200" + "c0000207"  // FRA_SRC
                + "08000f00" + "e8030000"  // FRA_TABLE
                + "08000600" + "4d000000")  // FRA_PRIORITY
    }

    @Test("ip link add net1 address 02:00:00:00:00:01 type dummy")
    func aKindWithoutSettings() throws {
        #expect(
            Self.hex(RouteSocket.link(LinkSpec("net1", .dummy, mac: try Self.mac(1))))
                // 72 bytes, RTM_NEWLINK, REQUEST|CREATE|EXCL
                == "48000000" + "1000" + "0106" + "00000000" + "00000000"
                + "00000000" + "00000000" + "00000000" + "00000000"
                + "09000300" + "6e65743100000000"  // IFLA_IFNAME
                + "0a000100" + "0200000000010000"  // IFLA_ADDRESS
                + "10001280"  // IFLA_LINKINFO
                + "0a000100" + "64756d6d79000000")  // IFLA_INFO_KIND
    }

    @Test("ip link add br9 up mtu 1400 address 02:00:00:00:00:02 type bridge vlan_filtering 1")
    func aBridge() throws {
        let request = RouteSocket.link(
            LinkSpec("br9", BridgeKind(vlanFiltering: true), mtu: 1400, mac: try Self.mac(2)), isUp: true)
        #expect(
            Self.hex(request)
                // 88 bytes, RTM_NEWLINK, REQUEST|CREATE|EXCL
                == "58000000" + "1000" + "0106" + "00000000" + "00000000"
                // ifinfomsg: family, type, index, flags and change IFF_UP
                + "00000000" + "00000000" + "01000000" + "01000000"
                + "08000300" + "62723900"  // IFLA_IFNAME
                + "08000400" + "78050000"  // IFLA_MTU
                + "0a000100" + "0200000000020000"  // IFLA_ADDRESS
                + "1c001280"  // IFLA_LINKINFO
                + "0b000100" + "6272696467650000"  // IFLA_INFO_KIND
                + "0c000280" + "05000700" + "01000000")  // IFLA_INFO_DATA: IFLA_BR_VLAN_FILTERING
    }

    @Test("ip link add veth9 up .. master 7 type veth peer name eth0 .. netns <descriptor 4>")
    func aPairWithItsPeerInTheSandbox() throws {
        let veth = VethSpec("eth0", peer: "veth9", mtu: 1400, mac: try Self.mac(1), peerMAC: try Self.mac(2))
        #expect(
            Self.hex(RouteSocket.pair(veth, sandbox: 4, controller: 7))
                == "98000000" + "1000" + "0106" + "00000000" + "00000000"
                + "00000000" + "00000000" + "01000000" + "01000000"
                + "0a000300" + "7665746839000000"  // IFLA_IFNAME
                + "08000400" + "78050000"  // IFLA_MTU
                + "0a000100" + "0200000000020000"  // IFLA_ADDRESS
                + "08000a00" + "07000000"  // IFLA_MASTER
                + "50001280"  // IFLA_LINKINFO
                + "09000100" + "7665746800000000"  // IFLA_INFO_KIND
                + "40000280" + "3c000180"  // IFLA_INFO_DATA, VETH_INFO_PEER
                + "00000000" + "00000000" + "00000000" + "00000000"  // its ifinfomsg: down
                + "09000300" + "6574683000000000" + "08000400" + "78050000"
                + "0a000100" + "0200000000010000"
                + "08001c00" + "04000000")  // IFLA_NET_NS_FD
    }

    @Test("ip link add link 2 name mac9 netns <descriptor 4> type macvlan mode bridge")
    func aMACVLANInTheSandbox() {
        let spec = LinkSpec("mac9", .macvlan(.bridge))
        #expect(
            Self.hex(RouteSocket.link(spec, parent: 2, into: 4))
                == "58000000" + "1000" + "0106" + "00000000" + "00000000"
                + "00000000" + "00000000" + "00000000" + "00000000"
                + "09000300" + "6d61633900000000"
                + "08000500" + "02000000"  // IFLA_LINK
                + "08001c00" + "04000000"  // IFLA_NET_NS_FD
                + "1c001280" + "0c000100" + "6d6163766c616e00"  // IFLA_LINKINFO: IFLA_INFO_KIND
                + "0c000280" + "08000100" + "04000000")  // IFLA_INFO_DATA: IFLA_MACVLAN_MODE
    }

    /// RTM_SETLINK of link 2: its length, flags, change mask, and the one attribute.
    @Test(arguments: [
        (LinkChange.up(true), "20", "01000000", "01000000", ""),
        (.up(false), "20", "00000000", "01000000", ""),
        (.promiscuous(true), "20", "00010000", "00010000", ""),
        (.mtu(1400), "28", "00000000", "00000000", "0800040078050000"),
        (.name("e"), "28", "00000000", "00000000", "0600030065000000"),
        (.controller(7), "28", "00000000", "00000000", "08000a0007000000"),
        (.controller(nil), "28", "00000000", "00000000", "08000a0000000000"),
        (.group(77777), "28", "00000000", "00000000", "08001b00d12f0100"),
    ])
    func oneChangeIsOneMessage(
        change: LinkChange, length: String, flags: String, mask: String, attribute: String
    ) {
        #expect(
            Self.hex(RouteSocket.changing(2, change))
                == length + "000000" + "1300" + "0100" + "00000000" + "00000000"
                + "00000000" + "02000000" + flags + mask + attribute)
    }

    @Test("bridge link set dev 2 hairpin on isolated on") func aPort() {
        #expect(
            Self.hex(RouteSocket.port(2, PortSettings(hairpin: true, isolated: true)))
                // RTM_SETLINK; family AF_BRIDGE
                == "34000000" + "1300" + "0100" + "00000000" + "00000000"
                + "07000000" + "02000000" + "00000000" + "00000000"
                // IFLA_PROTINFO: IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED
                + "14000c80" + "05000400" + "01000000" + "05002100" + "01000000")
    }

    @Test("ip link del group 77777") func aGroup() {
        #expect(
            Self.hex(RouteSocket.deleting(group: 77777))
                == "28000000" + "1100" + "0100" + "00000000" + "00000000"
                + "00000000" + "00000000" + "00000000" + "00000000" + "08001b00" + "d12f0100")
    }

    @Test(
        "ip addr add ADDRESS broadcast + dev 2",
        arguments: [
            // ifaddrmsg; IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST
            (
                "10.9.0.2/24", "30",
                "02180000" + "02000000" + "08000200" + "0a090002" + "08000100" + "0a090002" + "08000400"
                    + "0a0900ff"
            ),
            // A point-to-point net has no broadcast address.
            (
                "10.9.0.2/31", "28",
                "021f0000" + "02000000" + "08000200" + "0a090002" + "08000100" + "0a090002"
            ),
            (
                "fd09::2/64", "40",
                "0a400000" + "02000000" + "14000200" + "fd090000000000000000000000000002"
                    + "14000100" + "fd090000000000000000000000000002"
            ),
        ])
    func anAddress(text: String, length: String, body: String) throws {
        #expect(
            Self.hex(RouteSocket.adding(try Self.cidr(text), index: 2))
                == length + "000000" + "1400" + "0106" + "00000000" + "00000000" + body)
    }

    @Test("an address that may be used while others are looked for has IFA_F_OPTIMISTIC, and both lifetimes")
    func aLeasedAddress() throws {
        let lifetime = Lifetime(preferred: 1, valid: 2)
        let request = RouteSocket.adding(
            try Self.cidr("fd09::2/128"), index: 2, lifetime: lifetime, isOptimistic: true)
        let bytes = Self.hex(request)
        #expect(bytes.contains("0a800400" + "02000000"))
        #expect(bytes.hasSuffix("14000600" + "01000000" + "02000000" + "00000000" + "00000000"))
    }

    @Test("ip route add 10.8.0.0/16 via 10.9.0.1 dev 2 metric 7 table 300 mtu 1300 advmss 1200")
    func aRouteWithEverything() throws {
        let route = Route(
            try Self.cidr("10.8.0.0/16"), via: try Self.ip("10.9.0.1"), mtu: 1300, advmss: 1200, priority: 7,
            table: 300)
        #expect(
            Self.hex(RouteSocket.adding(route, index: 2))
                // RTM_NEWROUTE, REQUEST|CREATE without EXCL: beside those by other gateways
                == "58000000" + "1800" + "0104" + "00000000" + "00000000"
                // rtmsg: AF_INET, /16; a table above 255 is told by attribute; RTPROT_BOOT, universe, unicast
                + "02100000" + "ff030001" + "00000000"
                + "08000100" + "0a080000"  // RTA_DST
                + "08000400" + "02000000"  // RTA_OIF
                + "08000500" + "0a090001"  // RTA_GATEWAY
                + "08000600" + "07000000"  // RTA_PRIORITY
                + "08000f00" + "2c010000"  // RTA_TABLE
                + "14000880" + "08000200" + "14050000" + "08000800" + "b0040000")  // RTA_METRICS: MTU, ADVMSS
    }

    @Test("ip -6 route add default via fd09::1 dev 2") func aDefaultRouteNamesItsDestination() throws {
        #expect(
            Self.hex(RouteSocket.adding(Route(.everywhere(.v6), via: try Self.ip("fd09::1")), index: 2))
                == "4c000000" + "1800" + "0104" + "00000000" + "00000000"
                + "0a000000" + "fe030001" + "00000000"
                + "14000100" + "00000000000000000000000000000000" + "08000400" + "02000000"
                + "14000500" + "fd090000000000000000000000000001")
    }
}
