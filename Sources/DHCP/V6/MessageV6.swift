package import Networking

/// A DHCPv6 message between client and server. RFC 8415, section 8.
package struct MessageV6: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        case solicit = 1
        case advertise, request, confirm, renew, rebind, reply, release, decline, reconfigure,
            informationRequest
    }

    package var kind: Kind
    /// 24 bits, which an answer repeats.
    package var transaction: UInt32
    /// In order: one may stand several times.
    package var options: [OptionV6]

    package init(_ kind: Kind, transaction: UInt32, options: [OptionV6] = []) {
        self.kind = kind
        self.transaction = transaction & 0xff_ffff
        self.options = options
    }

    package func encoded() -> [UInt8] {
        [kind.rawValue] + transaction.octets.dropFirst() + OptionV6.encoded(options)
    }

    /// nil for what is cut off, and for the messages of relays.
    package init?(decoding bytes: [UInt8]) {
        guard bytes.count >= 4, let kind = Kind(rawValue: bytes[0]),
            let options = OptionV6.decoded(bytes[4...])
        else { return nil }
        self.init(kind, transaction: UInt32(octets: bytes[1..<4]), options: options)
    }

    package subscript(code: OptionV6.Code) -> [UInt8]? { options[code] }

    /// Who sent it, as DUIDs.
    package var client: [UInt8]? { self[.clientID] }
    package var server: [UInt8]? { self[.serverID] }
    package var status: StatusV6? { options.status }
    /// Of a server's offer: the highest is taken. RFC 8415, 21.8.
    package var preference: UInt8 { self[.preference].flatMap { $0.count == 1 ? $0[0] : nil } ?? 0 }
    package var isRapid: Bool { self[.rapidCommit] != nil }

    /// What it says of the addresses of one IAID; nil when it says nothing.
    package func association(_ id: UInt32) -> AssociationV6? {
        options.lazy.filter { $0.code == OptionV6.Code.association.rawValue }
            .compactMap { AssociationV6(decoding: $0.value) }.first { $0.id == id }
    }

    /// Seconds between SOLICITs at most, as a server wishes: RFC 8415, 21.24.
    package var longestPause: UInt32? {
        self[.solicitLimit].flatMap { $0.count == 4 ? UInt32(octets: $0) : nil }.flatMap {
            (60...86400).contains($0) ? $0 : nil
        }
    }

    /// RFC 3646.
    package var nameServers: [IPAddress] {
        let octets = self[.nameServers] ?? []
        return stride(from: 0, to: octets.count - 15, by: 16).compactMap {
            IPAddress(sixteen: octets[$0..<$0 + 16])
        }
    }

    package var domainSearch: [String] { DomainNames.read(self[.domains] ?? [], mayPoint: false) }
}

/// An option: a number and its bytes. RFC 8415, 21.1.
package struct OptionV6: Equatable, Sendable {
    package enum Code: UInt16, Sendable {
        case clientID = 1
        case serverID, association
        case address = 5
        case requestList, preference, elapsedTime
        case unicast = 12
        case status
        case rapidCommit
        case nameServers = 23
        case domains
        case solicitLimit = 82
        case informationLimit
    }

    package var code: UInt16
    package var value: [UInt8]

    package init(_ code: Code, _ value: [UInt8] = []) {
        self.code = code.rawValue
        self.value = value
    }

    private init(number: UInt16, _ value: [UInt8]) {
        code = number
        self.value = value
    }

    static func encoded(_ options: [OptionV6]) -> [UInt8] {
        options.flatMap { $0.code.octets + UInt16(truncatingIfNeeded: $0.value.count).octets + $0.value }
    }

    /// nil when the last one is cut off.
    static func decoded(_ bytes: ArraySlice<UInt8>) -> [OptionV6]? {
        var options: [OptionV6] = []
        var rest = bytes
        while !rest.isEmpty {
            guard rest.count >= 4 else { return nil }
            let number = UInt16(octets: rest.prefix(2))
            let length = Int(UInt16(octets: rest.dropFirst(2).prefix(2)))
            rest = rest.dropFirst(4)
            guard rest.count >= length else { return nil }
            options.append(OptionV6(number: number, Array(rest.prefix(length))))
            rest = rest.dropFirst(length)
        }
        return options
    }
}

extension [OptionV6] {
    /// The first one of a number.
    subscript(code: OptionV6.Code) -> [UInt8]? { first { $0.code == code.rawValue }?.value }

    var status: StatusV6? { self[.status].flatMap(StatusV6.init(decoding:)) }
}

/// What a server thinks of a message or of an IA. RFC 8415, 21.13.
package struct StatusV6: Equatable, Sendable {
    package enum Code: UInt16, Sendable {
        case success, unspecified, noAddresses, noBinding, notOnLink, useMulticast

        /// As the RFC and servers' logs call it.
        package var name: String {
            switch self {
            case .success: "Success"
            case .unspecified: "UnspecFail"
            case .noAddresses: "NoAddrsAvail"
            case .noBinding: "NoBinding"
            case .notOnLink: "NotOnLink"
            case .useMulticast: "UseMulticast"
            }
        }
    }

    /// One that is not known counts as `unspecified`.
    package var code: Code
    package var text: String

    package init(_ code: Code, _ text: String = "") {
        self.code = code
        self.text = text
    }

    init?(decoding bytes: [UInt8]) {
        guard bytes.count >= 2 else { return nil }
        code = Code(rawValue: UInt16(octets: bytes[..<2])) ?? .unspecified
        text = String(decoding: bytes[2...].prefix { $0 != 0 }, as: UTF8.self)
    }

    package var option: OptionV6 { OptionV6(.status, code.rawValue.octets + text.utf8) }
}

extension StatusV6: CustomStringConvertible {
    /// `NoAddrsAvail: the server's words`.
    package var description: String { text.isEmpty ? code.name : "\(code.name): \(text)" }
}

/// IA_NA: the addresses of one interface of a client, and when the server is to be asked again. RFC 8415, 21.4.
package struct AssociationV6: Equatable, Sendable {
    /// IAID.
    package var id: UInt32
    /// When to ask the server again, and when any server, in seconds; 0 leaves it to the client, `UInt32.max` is never.
    package var t1: UInt32
    package var t2: UInt32
    package var addresses: [AddressV6]
    package var status: StatusV6?

    package init(
        id: UInt32, t1: UInt32 = 0, t2: UInt32 = 0, addresses: [AddressV6] = [], status: StatusV6? = nil
    ) {
        self.id = id
        self.t1 = t1
        self.t2 = t2
        self.addresses = addresses
        self.status = status
    }

    /// nil for one that is cut off, or whose times are in no order.
    init?(decoding bytes: [UInt8]) {
        guard bytes.count >= 12, let options = OptionV6.decoded(bytes[12...]) else { return nil }
        self.init(
            id: UInt32(octets: bytes[0..<4]), t1: UInt32(octets: bytes[4..<8]),
            t2: UInt32(octets: bytes[8..<12]), status: options.status)
        guard t1 <= t2 || t2 == 0 else { return nil }
        addresses = options.filter { $0.code == OptionV6.Code.address.rawValue }
            .compactMap { AddressV6(decoding: $0.value) }
    }

    package var option: OptionV6 {
        let inner = addresses.map(\.option) + (status.map { [$0.option] } ?? [])
        return OptionV6(
            .association, id.octets + t1.octets + t2.octets + OptionV6.encoded(inner))
    }
}

/// IAADDR. RFC 8415, 21.6.
package struct AddressV6: Equatable, Sendable {
    package var address: IPAddress
    /// Seconds; `UInt32.max` is without end.
    package var preferred: UInt32
    package var valid: UInt32

    package init(_ address: IPAddress, preferred: UInt32 = 0, valid: UInt32 = 0) {
        self.address = address
        self.preferred = preferred
        self.valid = valid
    }

    /// nil also for what is to be passed over: lifetimes in no order, an address that no host can have, or one that the server
    /// has a refusal for.
    init?(decoding bytes: [UInt8]) {
        guard bytes.count >= 24, let address = IPAddress(sixteen: bytes[..<16]),
            address.hostProblem == nil, !address.isLinkLocal, let inner = OptionV6.decoded(bytes[24...]),
            inner.status.map({ $0.code == .success }) ?? true
        else { return nil }
        self.init(
            address, preferred: UInt32(octets: bytes[16..<20]), valid: UInt32(octets: bytes[20..<24]))
        guard preferred <= valid else { return nil }
    }

    package var option: OptionV6 {
        OptionV6(.address, address.bytes + preferred.octets + valid.octets)
    }
}

extension IPAddress {
    /// An IPv6 address; nil for one that stands for an IPv4 address, which no link has.
    package init?(sixteen octets: some Collection<UInt8>) {
        guard octets.count == 16, let address = IPAddress(bytes: Array(octets)), address.family == .v6
        else { return nil }
        self = address
    }
}
