import DHCP
import IPAM
import JSONC
import Networking

/// What a DHCP server sends, and what a lease is written down as.
enum DHCPInput {
    private static let hardware = MAC(bytes: [2, 0, 0, 0, 0, 1])

    @Sendable static func check(_ input: [UInt8]) -> String? {
        for isSummed in [true, false] {
            guard let datagram = Datagram(decoding: input, hasChecksum: isSummed) else { continue }
            guard Datagram(decoding: datagram.encoded()) == datagram else {
                return "a datagram that is read otherwise than it was sent"
            }
            if let problem = message(datagram.payload) { return problem }
        }
        return message(input)
    }

    private static func message(_ bytes: [UInt8]) -> String? {
        for isReply in [true, false] {
            guard let message = Message(decoding: bytes, isReply: isReply) else { continue }
            guard Message(decoding: message.encoded(isReply: isReply), isReply: isReply) == message else {
                return "a message that is read otherwise than it was sent"
            }
            if let problem = answer(message) ?? grant(message) { return problem }
        }
        return nil
    }

    /// As an answer to each kind of question.
    private static func answer(_ message: Message) -> String? {
        guard let hardware, let address = IPAddress(parsing: "192.0.2.100"),
            let server = IPAddress(parsing: "192.0.2.1")
        else { return "no addresses" }
        let client = Client(hardware: hardware, id: [0, 1])
        let goals: [Exchange.Goal] = [
            .discover(nil), .discover(address), .confirm(address), .renew(address, server: server),
            .rebind(address),
        ]
        for goal in goals {
            var exchange = Exchange(client, goal, now: 0)
            for now in [Int64(0), 2000, 5000] {
                guard case .send(let sent, _)? = exchange.next(now: max(now, exchange.wakeup)) else {
                    continue
                }
                var reply = message
                reply.transaction = sent.transaction
                reply.hardware = hardware
                if case .granted(let grant)? = exchange.take(reply, from: server, now: now),
                    grant.address.hostProblem != nil
                {
                    return "an address that no host can have"
                }
            }
        }
        return nil
    }

    private static func grant(_ message: Message) -> String? {
        let grant = Grant(
            address: message.yours, server: message.server ?? .unspecified, options: message.options)
        if let length = grant.prefixLength, !(0...32).contains(length) { return "a mask of \(length) bits" }
        if grant.renewalTime == 0 || grant.rebindingTime < grant.renewalTime { return "times in no order" }
        for route in grant.routes(priority: 7) where route.priority != 7 {
            return "a route without its metric"
        }
        _ = (grant.nameServers, grant.domainName, grant.domainSearch, grant.mtu, grant.message)
        return nil
    }

    @Sendable static func checkRecord(_ input: [UInt8]) -> String? {
        guard let json = try? JSON.parse(input).value else { return nil }
        return check(DHCPRecord.self, json) ?? check(DHCPv6Record.self, json)
    }

    /// A record that was read and is written is read again as the same.
    private static func check<R: LeaseRecord>(_ type: R.Type, _ json: JSON) -> String? {
        guard let record = try? R(Reader(json)) else { return nil }
        let now = DHCPRecord.Instant.now()
        _ = (record.holds(at: now), record.stage(at: now), record.lease(at: now))
        let written = record.json
        guard written.isReadable(in: written.bytes().count) else { return nil }
        guard let again = try? R(Reader(JSON.parse(written.bytes()).value)) else {
            return "a record that cannot be read again"
        }
        return again.json == written ? nil : "a record that is read otherwise than it was written"
    }
}
