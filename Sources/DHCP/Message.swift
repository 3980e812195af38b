package import Networking

/// A DHCP message. RFC 2131, section 2; options as in RFC 2132, long ones as in RFC 3396.
package struct Message: Equatable, Sendable {
    /// Option 53.
    package enum Kind: UInt8, Sendable {
        case discover = 1
        case offer, request, decline, ack, nak, release, inform
    }

    package var kind: Kind
    /// `xid`: what an answer repeats.
    package var transaction: UInt32
    /// Seconds since the client began.
    package var seconds: UInt16 = 0
    /// The client cannot take frames to an address that it does not have yet.
    package var isBroadcast = false
    /// `ciaddr`, which the client has; `yiaddr`, which it gets; `siaddr`; `giaddr` of a relay. 0.0.0.0 for none.
    package var client = IPAddress.unspecified
    package var yours = IPAddress.unspecified
    package var nextServer = IPAddress.unspecified
    package var relay = IPAddress.unspecified
    package var hardware: MAC
    /// By number, without 53.
    package var options: [UInt8: [UInt8]] = [:]

    package init(_ kind: Kind, transaction: UInt32, hardware: MAC) {
        self.kind = kind
        self.transaction = transaction
        self.hardware = hardware
    }

    private static let cookie: [UInt8] = [99, 130, 83, 99]
    /// The fields before the options, with `sname` and `file`.
    private static let head = 236

    /// - Parameter isReply: of a server.
    package func encoded(isReply: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = [isReply ? 2 : 1, 1, 6, 0]
        bytes += transaction.octets + seconds.octets + [isBroadcast ? 0x80 : 0, 0]
        bytes += client.bytes + yours.bytes + nextServer.bytes + relay.bytes
        bytes += hardware.bytes + [UInt8](repeating: 0, count: 10 + 64 + 128)
        bytes += Self.cookie + [Option.messageType, 1, kind.rawValue]
        for (number, value) in options.sorted(by: { $0.key < $1.key }) where Option.isCarried(number) {
            var rest = value[...]
            repeat {
                let part = rest.prefix(255)
                bytes += [number, UInt8(part.count)] + part
                rest = rest.dropFirst(255)
            } while !rest.isEmpty
        }
        bytes.append(Option.end)
        // Some relays drop what is shorter than a BOOTP message.
        return bytes + [UInt8](repeating: 0, count: max(0, 300 - bytes.count))
    }

    /// - Parameter isReply: which of both is expected.
    package init?(decoding bytes: [UInt8], isReply: Bool = true) {
        let head = Self.head
        guard bytes.count >= head + 4, bytes[0] == (isReply ? 2 : 1), bytes[1] == 1, bytes[2] == 6,
            Array(bytes[head..<head + 4]) == Self.cookie, let hardware = MAC(bytes: Array(bytes[28..<34])),
            var options = Self.options(in: bytes[(head + 4)...])
        else { return nil }
        // Options may go on in fields that are not needed otherwise.
        let overload = options[Option.overload]?.first ?? 0
        for (flag, field) in [(UInt8(1), bytes[108..<236]), (2, bytes[44..<108])] where overload & flag != 0 {
            guard let more = Self.options(in: field) else { return nil }
            options.merge(more, uniquingKeysWith: +)
        }
        guard let kind = options.removeValue(forKey: Option.messageType)?.first.flatMap(Kind.init(rawValue:))
        else { return nil }
        self.init(kind, transaction: UInt32(octets: bytes[4..<8]), hardware: hardware)
        seconds = UInt16(octets: bytes[8..<10])
        isBroadcast = bytes[10] & 0x80 != 0
        client = IPAddress(octets: bytes[12..<16])
        yours = IPAddress(octets: bytes[16..<20])
        nextServer = IPAddress(octets: bytes[20..<24])
        relay = IPAddress(octets: bytes[24..<28])
        self.options = options
    }

    /// nil for a field whose last option is cut off. One that stands several times is joined.
    private static func options(in field: ArraySlice<UInt8>) -> [UInt8: [UInt8]]? {
        var options: [UInt8: [UInt8]] = [:]
        var rest = field
        while let number = rest.popFirst(), number != Option.end {
            if number == Option.pad { continue }
            guard let length = rest.popFirst().map(Int.init), rest.count >= length else { return nil }
            options[number, default: []] += rest.prefix(length)
            rest = rest.dropFirst(length)
        }
        return options
    }
}

/// Numbers of RFC 2132, 3442 and 4361.
package enum Option {
    package static let pad: UInt8 = 0
    package static let subnetMask: UInt8 = 1
    package static let routers: UInt8 = 3
    package static let nameServers: UInt8 = 6
    package static let hostName: UInt8 = 12
    package static let domainName: UInt8 = 15
    package static let mtu: UInt8 = 26
    package static let staticRoutes: UInt8 = 33
    package static let requestedAddress: UInt8 = 50
    package static let leaseTime: UInt8 = 51
    package static let overload: UInt8 = 52
    package static let messageType: UInt8 = 53
    package static let serverID: UInt8 = 54
    package static let requestList: UInt8 = 55
    package static let message: UInt8 = 56
    package static let maximumSize: UInt8 = 57
    package static let renewalTime: UInt8 = 58
    package static let rebindingTime: UInt8 = 59
    package static let vendorClass: UInt8 = 60
    package static let clientID: UInt8 = 61
    package static let userClass: UInt8 = 77
    package static let domainSearch: UInt8 = 119
    package static let classlessRoutes: UInt8 = 121
    /// As 121, from before that was a standard.
    package static let microsoftRoutes: UInt8 = 249
    package static let end: UInt8 = 255

    static func isCarried(_ number: UInt8) -> Bool { number != pad && number != end && number != messageType }
}

// MARK: Numbers in network byte order

extension FixedWidthInteger where Self: UnsignedInteger {
    package var octets: [UInt8] {
        stride(from: bitWidth - 8, through: 0, by: -8).map { UInt8(truncatingIfNeeded: self >> Self($0)) }
    }

    package init(octets: some Sequence<UInt8>) {
        self = octets.reduce(0) { $0 << 8 | Self($1) }
    }
}

extension IPAddress {
    package static let unspecified = IPAddress(.v4, bits: 0)
    package static let broadcast = IPAddress(.v4, bits: 0xffff_ffff)

    /// Of an IPv4 address.
    package var number: UInt32 { UInt32(truncatingIfNeeded: bits) }

    /// Four of them.
    init(octets: ArraySlice<UInt8>) { self.init(.v4, bits: UInt128(UInt32(octets: octets))) }
}
