package import DHCP
package import JSONC
import Networking
package import Plans

/// A lease of an IPv4 address as it is written down: what a renewal, a DEL and a reboot need.
package struct DHCPRecord: LeaseRecord {
    package typealias Instant = LeaseHead.Instant
    package static let suffix = ".json"
    package static let isConfirmed = true

    package var head: LeaseHead
    package var client: Client
    package var terms: DHCPTerms
    /// nil before the first answer.
    package var grant: Grant?
    /// What the link had before, while `grant` is not on it yet, or not altogether.
    package var former: Grant?

    package init(_ head: LeaseHead, client: Client, terms: DHCPTerms) {
        self.head = head
        self.client = client
        self.terms = terms
    }

    package var term: LeaseTerm? {
        grant.map {
            LeaseTerm(
                address: $0.address, server: $0.server, renewal: $0.renewalTime,
                rebinding: $0.rebindingTime, end: $0.leaseTime)
        }
    }

    /// nil also for one without a mask.
    package func lease(at now: LeaseHead.Instant) -> Lease? {
        guard let grant, let spent = spent(at: now) else { return nil }
        return terms.lease(grant)?.after(spent)
    }
}

// MARK: As JSON

extension DHCPRecord {
    package var json: JSON {
        var json = head.json
        json["mac"] = .string("\(client.hardware)")
        json["clientID"] = .string(Hexadecimal.text(client.id))
        json["provide"] = Self.options(client.provided)
        json["request"] = .array(client.requested.map { .int(Int64($0)) })
        json["broadcast"] = .bool(client.isBroadcast)
        if let priority = terms.priority { json["priority"] = .int(Int64(priority)) }
        if !terms.accepted.isEmpty {
            json["accept"] = .array(terms.accepted.map(\.rawValue).sorted().map { .string($0) })
        }
        if terms.isProbing { json["probe"] = true }
        if let former {
            var own = JSONObject()
            Self.write(former, into: &own)
            json["former"] = .object(own)
        }
        if let grant { Self.write(grant, into: &json) }
        return .object(json)
    }

    package init(_ json: Reader) throws(JSONError) {
        guard let mac = MAC(parsing: try json.text("mac")) else {
            throw json.error("mac", "is no MAC address")
        }
        var requested: [UInt8] = []
        for value in json.value["request"]?.array ?? [] {
            if let number = value.int.flatMap(UInt8.init(exactly:)) { requested.append(number) }
        }
        self.init(
            try LeaseHead(json),
            client: Client(
                hardware: mac, id: try json.bytes("clientID"), provided: try Self.options(json, "provide"),
                requested: requested, isBroadcast: try json.bool("broadcast") ?? false),
            terms: DHCPTerms())
        terms.priority = try json.int("priority", in: 0...Int64(UInt32.max)).map { UInt32($0) }
        terms.accepted = Set(
            (try json.strings("accept") ?? []).compactMap(DHCPTerms.Accepted.init(rawValue:)))
        terms.isProbing = try json.bool("probe") ?? false
        guard head.granted != nil else { return }
        grant = try Self.grant(json)
        former = try json.object("former").map { own throws(JSONError) in try Self.grant(own) }
    }

    private static func write(_ grant: Grant, into json: inout JSONObject) {
        json["address"] = .string("\(grant.address)")
        json["server"] = .string("\(grant.server)")
        json["options"] = options(grant.options)
    }

    private static func grant(_ json: Reader) throws(JSONError) -> Grant {
        guard let address = IPAddress(parsing: try json.text("address")), address.family == .v4,
            let server = IPAddress(parsing: try json.text("server")), server.family == .v4
        else { throw json.error("address", "is no IPv4 address") }
        return Grant(address: address, server: server, options: try options(json, "options"))
    }

    private static func options(_ options: [UInt8: [UInt8]]) -> JSON {
        var json = JSONObject()
        for (number, value) in options.sorted(by: { $0.key < $1.key }) {
            json["\(number)"] = .string(Hexadecimal.text(value))
        }
        return .object(json)
    }

    private static func options(_ json: Reader, _ key: String) throws(JSONError) -> [UInt8: [UInt8]] {
        var options: [UInt8: [UInt8]] = [:]
        for (name, value) in try json.object(key)?.members() ?? [] {
            guard let number = UInt8(name), let bytes = Hexadecimal.bytes(try value.asString()) else {
                throw json.error(key, "has no option \(name)")
            }
            options[number] = bytes
        }
        return options
    }
}
