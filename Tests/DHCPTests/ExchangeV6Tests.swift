import Networking
import Testing

@testable import DHCP

/// The DHCPv6 conversation, with a clock and an order of chance of its own.
@Suite struct ExchangeV6Tests {
    private static let address = MessageV6Tests.address
    private static let other = MessageV6Tests.other
    private static let link = IPAddress(parsing: "fe80::1") ?? .unspecified
    private static let server: [UInt8] = [0, 3, 0, 1, 9]
    private static let second: [UInt8] = [0, 3, 0, 1, 8]
    private static let client = ClientV6(duid: [0, 4, 7], association: 77, requested: [23, 24])

    private static func exchange(_ goal: ExchangeV6.Goal) -> ExchangeV6 {
        ExchangeV6(client, goal, now: 0, random: Numbers())
    }

    /// What a server says to a message.
    private static func reply(
        _ kind: MessageV6.Kind, to message: MessageV6, address: IPAddress? = address, valid: UInt32 = 100,
        from server: [UInt8] = server, status: StatusV6? = nil, inner: StatusV6? = nil,
        _ further: OptionV6...
    ) -> MessageV6 {
        let addresses = address.map { [AddressV6($0, preferred: valid / 2, valid: valid)] } ?? []
        return MessageV6(
            kind, transaction: message.transaction,
            options: [
                OptionV6(.clientID, client.duid), OptionV6(.serverID, server),
                AssociationV6(id: client.association, addresses: addresses, status: inner).option,
            ] + (status.map { [$0.option] } ?? []) + further)
    }

    private static func next(_ exchange: inout ExchangeV6, _ now: Int64? = nil) throws -> MessageV6 {
        let due = exchange.next(now: now ?? exchange.wakeup)
        return try #require(due)
    }

    private static func take(
        _ exchange: inout ExchangeV6, _ reply: MessageV6, _ now: Int64 = 1
    ) -> ExchangeV6.Outcome? { exchange.take(reply, from: link, now: now) }

    private static func address(_ outcome: ExchangeV6.Outcome?) -> IPAddress? {
        guard case .granted(let grant)? = outcome else { return nil }
        return grant.address.address
    }

    @Test("D6-06: SOLICIT, ADVERTISE, REQUEST, REPLY: offers are collected for the first pause")
    func whole() throws {
        var exchange = Self.exchange(.solicit(nil))
        let solicit = try Self.next(&exchange, 0)
        #expect(solicit.kind == .solicit && solicit.client == Self.client.duid && solicit.server == nil)
        #expect(solicit[.requestList] == [0, 23, 0, 24, 0, 82] && solicit[.elapsedTime] == [0, 0])
        #expect(solicit.isRapid && solicit.association(77)?.addresses == [])
        #expect(Self.take(&exchange, Self.reply(.advertise, to: solicit)) == nil)
        let better = Self.reply(
            .advertise, to: solicit, address: Self.other, from: Self.second, OptionV6(.preference, [9]))
        #expect(Self.take(&exchange, better, 2) == nil)
        let worse = Self.reply(.advertise, to: solicit, OptionV6(.preference, [8]))
        #expect(Self.take(&exchange, worse, 3) == nil)
        #expect(exchange.next(now: 999) == nil && exchange.wakeup > 1000)
        let request = try Self.next(&exchange)
        #expect(request.kind == .request && request.server == Self.second && !request.isRapid)
        #expect(request.transaction != solicit.transaction && request[.elapsedTime] == [0, 0])
        #expect(request.association(77)?.addresses.map(\.address) == [Self.other])
        let stale = Self.reply(.reply, to: solicit, address: Self.other, from: Self.second)
        #expect(Self.take(&exchange, stale) == nil, "of another exchange")
        #expect(Self.take(&exchange, Self.reply(.reply, to: request)) == nil, "of another server")
        let reply = Self.reply(.reply, to: request, address: Self.other, from: Self.second)
        guard case .granted(let grant)? = Self.take(&exchange, reply) else {
            Issue.record("no grant")
            return
        }
        #expect(grant.address == AddressV6(Self.other, preferred: 50, valid: 100))
        #expect(grant.server == Self.second && grant.source == Self.link)
    }

    @Test("D6-06: preference 255 and a later SOLICIT are answered at once; a REPLY with rapid commit ends it")
    func atOnce() throws {
        var exchange = Self.exchange(.solicit(Self.address))
        let solicit = try Self.next(&exchange, 0)
        #expect(solicit.association(77)?.addresses == [AddressV6(Self.address)], "the hint")
        _ = Self.take(&exchange, Self.reply(.advertise, to: solicit, OptionV6(.preference, [255])), 5)
        #expect(exchange.wakeup == 5)
        #expect(try Self.next(&exchange, 5).kind == .request)
        exchange = Self.exchange(.solicit(nil))
        _ = try Self.next(&exchange, 0)
        let again = try Self.next(&exchange)
        let now = exchange.wakeup - 100
        _ = Self.take(&exchange, Self.reply(.advertise, to: again), now)
        #expect(try Self.next(&exchange, now).kind == .request)
        exchange = Self.exchange(.solicit(nil))
        let rapid = try Self.next(&exchange, 0)
        #expect(Self.take(&exchange, Self.reply(.reply, to: rapid)) == nil, "without the option")
        let reply = Self.reply(.reply, to: rapid, OptionV6(.rapidCommit))
        #expect(Self.address(Self.take(&exchange, reply)) == Self.address)
    }

    @Test("section 15: twice as long each time, a tenth more or less; the first SOLICIT's never less")
    func silence() throws {
        var exchange = Self.exchange(.solicit(nil))
        var times: [Int64] = []
        var elapsed: [UInt16] = []
        while times.count < 16 {
            let now = exchange.wakeup
            let message = try Self.next(&exchange)
            elapsed.append(UInt16(octets: message[.elapsedTime] ?? []))
            times.append(now)
        }
        let pauses = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect((1001...1100).contains(pauses[0]))
        for (pause, before) in zip(pauses.dropFirst(), pauses) {
            #expect((before * 19 / 10...before * 21 / 10).contains(pause) || pause >= 3_240_000, "\(pauses)")
        }
        #expect((3_240_000...3_960_000).contains(pauses[14]), "SOL_MAX_RT")
        #expect(exchange.solicits == 16 && elapsed[0] == 0 && elapsed[1] == UInt16(times[1] / 10))
        #expect(elapsed[15] == .max)
    }

    @Test("21.24: a server says how seldom it wants to be asked")
    func limit() throws {
        var exchange = Self.exchange(.solicit(nil))
        let solicit = try Self.next(&exchange, 0)
        let refusal = Self.reply(
            .advertise, to: solicit, address: nil, status: StatusV6(.noAddresses, "empty"),
            OptionV6(.solicitLimit, UInt32(60).octets))
        #expect(Self.take(&exchange, refusal) == nil)
        #expect(exchange.refusal?.status == StatusV6(.noAddresses, "empty") && exchange.offer == nil)
        for _ in 0..<8 { _ = try Self.next(&exchange) }
        let now = exchange.wakeup
        _ = try Self.next(&exchange)
        #expect((54_000...66_000).contains(exchange.wakeup - now))
    }

    @Test("answers to others are passed over")
    func others() throws {
        var exchange = Self.exchange(.solicit(nil))
        let solicit = try Self.next(&exchange, 0)
        var foreign = Self.reply(.advertise, to: solicit, OptionV6(.preference, [255]))
        foreign.transaction ^= 1
        _ = Self.take(&exchange, foreign)
        let good = Self.reply(.advertise, to: solicit, OptionV6(.preference, [255]))
        for code in [OptionV6.Code.clientID, .serverID, .association] {
            var lacking = good
            lacking.options.removeAll { $0.code == code.rawValue }
            _ = Self.take(&exchange, lacking)
        }
        _ = Self.take(
            &exchange, Self.reply(.advertise, to: solicit, valid: 0, OptionV6(.preference, [255])))
        _ = Self.take(
            &exchange,
            Self.reply(.advertise, to: solicit, inner: StatusV6(.noAddresses), OptionV6(.preference, [255])))
        #expect(exchange.wakeup > 1000)
        _ = Self.take(&exchange, good)
        #expect(exchange.wakeup == 1)
    }

    @Test("REPLY to a REQUEST: NotOnLink and NoAddrsAvail lead to another SOLICIT, the others to another try")
    func refusedRequest() throws {
        for (code, kind) in [
            (StatusV6.Code.notOnLink, MessageV6.Kind.solicit), (.noAddresses, .solicit),
            (.noBinding, .solicit),
            (.useMulticast, .request), (.unspecified, .request),
        ] {
            var exchange = Self.exchange(.solicit(Self.address))
            let solicit = try Self.next(&exchange, 0)
            _ = Self.take(&exchange, Self.reply(.advertise, to: solicit, OptionV6(.preference, [255])))
            let request = try Self.next(&exchange)
            let refusal = Self.reply(.reply, to: request, address: nil, status: StatusV6(code, "why"))
            #expect(Self.take(&exchange, refusal) == nil)
            #expect(exchange.refusal?.status == StatusV6(code, "why"))
            let next = try Self.next(&exchange)
            #expect(next.kind == kind, "\(code)")
            if code == .notOnLink { #expect(next.association(77)?.addresses == []) }
        }
    }

    @Test("an offer that gets no REPLY is asked for four times, then others are looked for")
    func unanswered() throws {
        var exchange = Self.exchange(.solicit(nil))
        let solicit = try Self.next(&exchange, 0)
        _ = Self.take(&exchange, Self.reply(.advertise, to: solicit, OptionV6(.preference, [255])))
        var kinds: [MessageV6.Kind] = []
        while kinds.count < 5 { kinds.append(try Self.next(&exchange).kind) }
        #expect(kinds == [.request, .request, .request, .request, .solicit])
        #expect(exchange.requests == 4 && exchange.offer?.address == Self.address)
    }

    @Test(
        "D6-06: RENEW names the server, REBIND none; both take the address, another one, or learn that it is lost"
    )
    func extend() throws {
        for goal in [ExchangeV6.Goal.renew(Self.address, server: Self.server), .rebind(Self.address)] {
            var exchange = Self.exchange(goal)
            let message = try Self.next(&exchange, 0)
            #expect(message.association(77)?.addresses == [AddressV6(Self.address)] && !message.isRapid)
            #expect((9000...11000).contains(exchange.wakeup))
            let foreign = Self.reply(.reply, to: message, from: Self.second)
            switch goal {
            case .renew:
                #expect(message.kind == .renew && message.server == Self.server)
                #expect(Self.take(&exchange, foreign) == nil)
            default:
                #expect(message.kind == .rebind && message.server == nil)
                var rebinding = exchange
                #expect(Self.address(Self.take(&rebinding, foreign)) == Self.address)
            }
            func outcome(_ reply: MessageV6) -> ExchangeV6.Outcome? {
                var exchange = exchange
                return Self.take(&exchange, reply)
            }
            #expect(Self.address(outcome(Self.reply(.reply, to: message))) == Self.address)
            #expect(
                Self.address(outcome(Self.reply(.reply, to: message, address: Self.other))) == Self.other)
            #expect(
                outcome(Self.reply(.reply, to: message, valid: 0)) == .refused(source: Self.link, nil))
            #expect(outcome(Self.reply(.reply, to: message, address: nil)) == nil)
            #expect(
                outcome(Self.reply(.reply, to: message, address: nil, status: StatusV6(.notOnLink)))
                    == .refused(source: Self.link, StatusV6(.notOnLink)))
            #expect(
                outcome(Self.reply(.reply, to: message, address: nil, status: StatusV6(.unspecified))) == nil)
        }
    }

    @Test("D6-06: NoBinding in answer to a RENEW is followed by a REQUEST for the same address")
    func noBinding() throws {
        var exchange = Self.exchange(.renew(Self.address, server: Self.server))
        let renew = try Self.next(&exchange, 0)
        let lost = Self.reply(.reply, to: renew, address: nil, inner: StatusV6(.noBinding))
        #expect(Self.take(&exchange, lost, 7) == nil)
        let request = try Self.next(&exchange, 7)
        #expect(request.kind == .request && request.server == Self.server)
        #expect(request.association(77)?.addresses == [AddressV6(Self.address)])
        #expect(Self.address(Self.take(&exchange, Self.reply(.reply, to: request))) == Self.address)
    }

    @Test("D6-06: RELEASE and DECLINE name server and address, are sent four times, and end with a REPLY")
    func giveBack() throws {
        for goal in [
            ExchangeV6.Goal.release(Self.address, server: Self.server),
            .decline(Self.address, server: Self.server),
        ] {
            var exchange = Self.exchange(goal)
            let message = try Self.next(&exchange, 0)
            #expect(message.server == Self.server && message[.requestList] == nil)
            #expect(message.association(77)?.addresses == [AddressV6(Self.address)])
            var answered = exchange
            let reply = Self.reply(.reply, to: message, address: nil, status: StatusV6(.noBinding))
            #expect(Self.take(&answered, reply) == .acknowledged, "whatever it says")
            for _ in 0..<3 { #expect(try Self.next(&exchange).kind == message.kind) }
            #expect(exchange.next(now: exchange.wakeup) == nil && exchange.wakeup == .max)
        }
    }
}
