import Networking
import Testing

@testable import DHCP

/// The same numbers in each run.
struct Numbers: RandomNumberGenerator, Sendable {
    private var state: UInt64 = 42

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state
    }
}

/// The conversation, with a clock and an order of chance of its own.
@Suite struct ExchangeTests {
    private static let address = IPAddress(.v4, bits: 0xc000_0264)
    private static let server = IPAddress(.v4, bits: 0xc000_0201)
    private static let other = IPAddress(.v4, bits: 0xc000_0202)
    private static let client = Client(
        hardware: MessageTests.mac, id: [0] + Array("c1/net/eth0".utf8), provided: [12: Array("web-0".utf8)],
        requested: [3, 1])

    private static func exchange(_ goal: Exchange.Goal) -> Exchange {
        Exchange(client, goal, now: 0, random: Numbers())
    }

    /// What a server says to a message.
    private static func reply(
        _ kind: Message.Kind, to message: Message, address: IPAddress = address,
        from server: IPAddress? = server
    ) -> Message {
        var reply = Message(kind, transaction: message.transaction, hardware: message.hardware)
        reply.yours = kind == .nak ? .unspecified : address
        if let server { reply.options[Option.serverID] = server.bytes }
        reply.options[Option.subnetMask] = [255, 255, 255, 0]
        return reply
    }

    @Test("DISCOVER, OFFER, REQUEST, ACK: RFC 2131, table 5")
    func whole() throws {
        var exchange = Self.exchange(.discover(nil))
        let discover = try Self.next(&exchange, 0)
        #expect(discover.way == .broadcast(from: .unspecified) && discover.message.kind == .discover)
        #expect(discover.message.client == .unspecified && discover.message.options[50] == nil)
        #expect(
            discover.message.options[61] == Self.client.id
                && discover.message.options[12] == Array("web-0".utf8))
        #expect(discover.message.options[55] == [3, 1] && discover.message.options[57] == [5, 220])
        #expect(exchange.next(now: 1) == nil)
        #expect(exchange.take(Self.reply(.offer, to: discover.message), from: Self.server, now: 5) == nil)
        let request = try Self.next(&exchange, 5)
        #expect(
            request.message.kind == .request && request.message.transaction == discover.message.transaction)
        #expect(
            request.message.options[50] == Self.address.bytes
                && request.message.options[54] == Self.server.bytes)
        #expect(request.message.client == .unspecified && request.message.options[12] == Array("web-0".utf8))
        let outcome = exchange.take(Self.reply(.ack, to: request.message), from: Self.server, now: 9)
        guard case .granted(let grant)? = outcome else {
            Issue.record("\(String(describing: outcome))")
            return
        }
        #expect(grant.address == Self.address && grant.server == Self.server && grant.prefixLength == 24)
    }

    private struct Nothing: Error {}

    /// What is to be sent, which must be something.
    private static func next(
        _ exchange: inout Exchange, _ now: Int64
    ) throws -> (message: Message, way: Exchange.Way) {
        guard case .send(let message, let way)? = exchange.next(now: now) else {
            throw Nothing()
        }
        return (message, way)
    }

    @Test("nobody answers: 1, 2, 4, 8 s, a quarter more or less, and the seconds are counted")
    func silence() throws {
        var exchange = Self.exchange(.discover(nil))
        var times: [Int64] = []
        var seconds: [UInt16] = []
        while exchange.wakeup < 60_000 {
            let now = exchange.wakeup
            seconds.append(try Self.next(&exchange, now).message.seconds)
            times.append(now)
        }
        let pauses = zip(times.dropFirst(), times).map { $0 - $1 }
        for (pause, wanted) in zip(pauses, [1000, 2000, 4000, 8000, 8000, 8000]) {
            #expect((wanted * 3 / 4...wanted * 5 / 4).contains(Int(pause)), "\(pauses)")
        }
        #expect(exchange.discovers == times.count && exchange.offer == nil)
        #expect(seconds.last ?? 0 > 30)
    }

    @Test(
        "a short lease is asked for more often, a quarter of a second apart at least", arguments: [4000, 400])
    func short(left: Int64) throws {
        var exchange = Exchange(
            Self.client, .renew(Self.address, server: Self.server), within: left, now: 0, random: Numbers())
        var times: [Int64] = []
        while exchange.wakeup < 4000 {
            times.append(exchange.wakeup)
            _ = try Self.next(&exchange, exchange.wakeup)
        }
        let pause = max(left / 8, 250)
        for (one, next) in zip(times, times.dropFirst()) {
            #expect((pause * 3 / 4...pause * 5 / 4).contains(next - one))
        }
        #expect(times.count >= 4000 / (pause * 5 / 4))
    }

    @Test("answers to others are passed over, and those of a second server")
    func others() throws {
        var exchange = Self.exchange(.discover(nil))
        let discover = try Self.next(&exchange, 0).message
        var foreign = Self.reply(.offer, to: discover)
        foreign.transaction &+= 1
        _ = exchange.take(foreign, from: Self.server, now: 1)
        foreign = Self.reply(.offer, to: discover)
        foreign.hardware = .zero
        _ = exchange.take(foreign, from: Self.server, now: 1)
        _ = exchange.take(Self.reply(.offer, to: discover, address: .unspecified), from: Self.server, now: 1)
        _ = exchange.take(Self.reply(.ack, to: discover), from: Self.server, now: 1)
        #expect(exchange.offer == nil && exchange.next(now: 2) == nil)
        _ = exchange.take(Self.reply(.offer, to: discover), from: Self.server, now: 3)
        let request = try Self.next(&exchange, 3).message
        #expect(
            exchange.take(Self.reply(.offer, to: discover, from: Self.other), from: Self.other, now: 4) == nil
        )
        #expect(
            exchange.take(Self.reply(.ack, to: request, from: Self.other), from: Self.other, now: 4) == nil)
        #expect(
            exchange.take(Self.reply(.nak, to: request, from: Self.other), from: Self.other, now: 4) == nil)
        #expect(
            exchange.take(Self.reply(.ack, to: request, address: Self.other), from: Self.server, now: 4)
                == nil)
        #expect(exchange.take(Self.reply(.ack, to: request), from: Self.server, now: 5) != nil)
    }

    @Test("a server without option 54 is told by its address")
    func withoutServerID() throws {
        var exchange = Self.exchange(.discover(nil))
        let discover = try Self.next(&exchange, 0).message
        _ = exchange.take(Self.reply(.offer, to: discover, from: nil), from: Self.other, now: 1)
        let request = try Self.next(&exchange, 1).message
        #expect(request.options[54] == Self.other.bytes)
        #expect(exchange.take(Self.reply(.ack, to: request, from: nil), from: Self.other, now: 2) != nil)
    }

    @Test("DH-14: a NAK ends the exchange; after a pause the next one has another transaction")
    func refused() throws {
        var exchange = Self.exchange(.discover(nil))
        let discover = try Self.next(&exchange, 0).message
        _ = exchange.take(Self.reply(.offer, to: discover), from: Self.server, now: 1)
        let request = try Self.next(&exchange, 1).message
        var nak = Self.reply(.nak, to: request)
        nak.options[56] = Array("address in use".utf8)
        #expect(exchange.take(nak, from: Self.server, now: 10) == nil)
        #expect(exchange.refusal?.text == "address in use")
        #expect(exchange.next(now: 11) == nil && (510...1510).contains(exchange.wakeup))
        let again = try Self.next(&exchange, exchange.wakeup).message
        #expect(again.kind == .discover && again.transaction != discover.transaction)
    }

    @Test("an offer that is not acknowledged is asked for three times, then others are looked for")
    func unacknowledged() throws {
        var exchange = Self.exchange(.discover(nil))
        let discover = try Self.next(&exchange, 0).message
        _ = exchange.take(Self.reply(.offer, to: discover), from: Self.server, now: 1)
        var kinds: [Message.Kind] = []
        while kinds.count < 4 {
            kinds.append(try Self.next(&exchange, max(exchange.wakeup, 1)).message.kind)
        }
        #expect(kinds == [.request, .request, .request, .discover])
        #expect(exchange.requests == 3 && exchange.discovers == 2)
    }

    @Test("DL-02: what RENEW, REBIND and INIT-REBOOT carry")
    func later() throws {
        for (goal, way, client, wanted) in [
            (
                Exchange.Goal.renew(Self.address, server: Self.server),
                Exchange.Way.unicast(from: Self.address, to: Self.server), Self.address, nil
            ),
            (.rebind(Self.address), .broadcast(from: Self.address), Self.address, nil),
            (.confirm(Self.address), .broadcast(from: .unspecified), .unspecified, Self.address.bytes),
        ] as [(Exchange.Goal, Exchange.Way, IPAddress, [UInt8]?)] {
            var exchange = Self.exchange(goal)
            let (message, sent) = try Self.next(&exchange, 0)
            #expect(message.kind == .request && sent == way && message.client == client)
            #expect(message.options[50] == wanted && message.options[54] == nil)
            #expect(
                exchange.take(Self.reply(.ack, to: message, from: Self.other), from: Self.other, now: 1)
                    != nil)
            var refused = Self.exchange(goal)
            let asked = try Self.next(&refused, 0).message
            #expect(
                refused.take(Self.reply(.nak, to: asked), from: Self.server, now: 1)
                    == .refused(server: Self.server, text: nil))
        }
    }

    @Test("an address that the client had is asked for; a release names server and client")
    func release() throws {
        var exchange = Self.exchange(.discover(Self.address))
        let discover = try Self.next(&exchange, 0).message
        #expect(discover.options[50] == Self.address.bytes)
        let release = Self.client.release(
            Grant(address: Self.address, server: Self.server, options: [:]), transaction: 7)
        #expect(release.kind == .release && release.client == Self.address && release.transaction == 7)
        #expect(release.options == [54: Self.server.bytes, 61: Self.client.id])
    }

    // MARK: Probes

    /// Of somebody about an address.
    private static func arp(_ operation: UInt8, _ mac: [UInt8], _ source: IPAddress, _ target: IPAddress)
        -> [UInt8]
    {
        [0, 1, 8, 0, 6, 4, 0, operation] + mac + source.bytes + [UInt8](repeating: 0, count: 6) + target.bytes
    }

    /// Until an address is granted and is to be probed.
    private static func probing() throws -> Exchange {
        var exchange = Exchange(client, .discover(nil), isProbing: true, now: 0, random: Numbers())
        let discover = try next(&exchange, 0).message
        _ = exchange.take(reply(.offer, to: discover), from: server, now: 1)
        let request = try next(&exchange, 1).message
        #expect(exchange.take(reply(.ack, to: request), from: server, now: 2) == nil)
        #expect(exchange.unproven?.address == address && exchange.asked == 1)
        return exchange
    }

    @Test("a new address is probed three times, and is granted when nobody has it")
    func free() throws {
        var exchange = try Self.probing()
        let probe = Self.arp(1, Self.client.hardware.bytes, .unspecified, Self.address)
        for now in [2, 502, 1002] as [Int64] {
            #expect(exchange.next(now: now) == .probe(probe) && exchange.wakeup == now + 500)
            // Its own, others' of other addresses, and no ARP at all.
            exchange.take(arp: probe, now: now)
            exchange.take(arp: Self.arp(2, [2, 0, 0, 0, 0, 9], Self.other, Self.address), now: now)
            exchange.take(arp: Array(probe.dropLast()), now: now)
            exchange.take(arp: [1] + probe.dropFirst(), now: now)
        }
        #expect(exchange.next(now: 1501) == nil)
        guard case .end(.granted(let grant))? = exchange.next(now: 1502) else {
            Issue.record("it is not granted")
            return
        }
        #expect(grant.address == Self.address && exchange.conflicts.isEmpty)
    }

    @Test(
        "one that somebody has, or probes too, is declined, and after a pause another one is asked for",
        arguments: [
            arp(2, [2, 0, 0, 0, 0, 9], address, server), arp(1, [2, 0, 0, 0, 0, 9], address, other),
            arp(1, [2, 0, 0, 0, 0, 9], .unspecified, address),
        ])
    func taken(packet: [UInt8]) throws {
        var exchange = try Self.probing()
        _ = exchange.next(now: 2)
        exchange.take(arp: packet, now: 3)
        #expect(exchange.conflicts.first?.holder.bytes == [2, 0, 0, 0, 0, 9] && exchange.unproven == nil)
        let (message, way) = try Self.next(&exchange, 3)
        #expect(message.kind == .decline && way == .broadcast(from: .unspecified))
        #expect(message.client == .unspecified)
        #expect(
            message.options == [50: Self.address.bytes, 54: Self.server.bytes, 61: Self.client.id])
        #expect(exchange.next(now: 4) == nil && exchange.wakeup == 1003)
        let again = try Self.next(&exchange, 1003).message
        #expect(again.kind == .discover && again.transaction != message.transaction)
    }
}
