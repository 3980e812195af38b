import CLinux
import Network
import Testing

@testable import Netlink

/// Request bytes against what `ip` sends, field by field.
@Suite struct Requests {
    static func hex(_ request: borrowing Request) -> String {
        request.withBytes { bytes in
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
    }

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

    @Test func aBridgeWithItsKindNested() {
        let request = Request(RTM_NEWLINK, RouteSocket.create)
        request.extra(ifinfomsg.of(flags: 1, change: 1))
        request.attributes(of: LinkSpace.self) {
            $0.put(.mtu, 1400)
            $0.put(.info) { $0.put(.kind, "bridge") }
        }
        #expect(
            Self.hex(request)
                == "38000000" + "1000" + "0106" + "00000000" + "00000000"
                // ifinfomsg: flags and change are IFF_UP
                + "00000000" + "00000000" + "01000000" + "01000000"
                // IFLA_MTU
                + "0800" + "0400" + "78050000"
                // IFLA_LINKINFO, nested: IFLA_INFO_KIND "bridge\0"
                + "1000" + "1280" + "0b00" + "0100" + "6272696467650000")
    }

    @Test func repliesWithWrongLengthsAreRefused() {
        let bytes: [UInt8] = [200, 0, 3, 0]
        _ = bytes.withUnsafeBytes { buffer in
            #expect(throws: NetlinkError.self) { try AttributeReader(bytes: buffer).forEach { _, _ in } }
        }
    }
}
