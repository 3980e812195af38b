package import Networking

/// One conversation about an IPv6 address, as a state machine: what to send when, and what an answer means. RFC 8415,
/// sections 15 and 18.2. All messages go to all servers (ff02::1:2).
///
/// Times are milliseconds of a clock that the caller chooses.
package struct ExchangeV6: Sendable {
    package enum Goal: Equatable, Sendable {
        /// An address, and which one if it may be.
        case solicit(IPAddress?)
        /// More time for the address, of its server.
        case renew(IPAddress, server: [UInt8])
        /// The same of any server.
        case rebind(IPAddress)
        /// The address goes back to its server.
        case release(IPAddress, server: [UInt8])
        /// The same for one that somebody else has.
        case decline(IPAddress, server: [UInt8])
    }

    package enum Outcome: Equatable, Sendable {
        case granted(GrantV6)
        /// The address is not to be used any more.
        case refused(source: IPAddress, StatusV6?)
        /// The server knows that it has the address back.
        case acknowledged
    }

    /// An address that a server would give.
    package struct Offer: Equatable, Sendable {
        package var address: IPAddress
        package var server: [UInt8]
        package var source: IPAddress
        fileprivate var preference: UInt8 = 0
    }

    private enum State {
        /// - Parameter best: of the offers that have come.
        case soliciting(best: Offer?)
        case requesting(Offer)
        /// What the goal says.
        case asking
    }

    /// IRT, MRT and MRC of RFC 8415, 7.6: milliseconds, 0 for no limit.
    private struct Pace {
        var first: Int64
        var longest: Int64 = 0
        var count = 0
    }

    private let client: ClientV6
    private let goal: Goal
    private var state: State
    private var transaction: UInt32
    private var random: any RandomNumberGenerator & Sendable
    /// When the present message was sent first, how often since, and how long is waited for its answer.
    private var start: Int64
    private var tries = 0
    private var pause: Int64 = 0
    /// SOL_MAX_RT.
    private var longestPause: Int64 = 3_600_000
    /// The address that is asked for.
    private var wanted: IPAddress?
    /// When `next` has something to do.
    package private(set) var wakeup: Int64
    // What an error tells.
    package private(set) var solicits = 0
    package private(set) var requests = 0
    package private(set) var offer: Offer?
    package private(set) var refusal: (source: IPAddress, status: StatusV6)?

    /// How often a REQUEST is repeated before other offers are looked for: an ADD has no time for REQ_MAX_RC.
    private static let patience = 4

    package init(
        _ client: ClientV6, _ goal: Goal, now: Int64,
        random: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        self.client = client
        self.goal = goal
        self.random = random
        start = now
        // Without the delay before the first SOLICIT (SOL_MAX_DELAY), which is for machines that start all at once.
        wakeup = now
        transaction = 0
        if case .solicit(let hint) = goal {
            state = .soliciting(best: nil)
            wanted = hint
        } else {
            state = .asking
        }
        transaction = self.random.next() & 0xff_ffff
    }

    // MARK: Sending

    /// What is to be sent now; nil before `wakeup`, and when it was sent often enough.
    package mutating func next(now: Int64) -> MessageV6? {
        guard now >= wakeup else { return nil }
        switch state {
        case .soliciting(let best?): request(best)
        case .requesting where tries >= Self.patience: solicit()
        default: break
        }
        let pace = pace
        if pace.count > 0, tries >= pace.count {
            wakeup = .max
            return nil
        }
        if tries == 0 { start = now }
        setPause(pace)
        wakeup = now + pause
        tries += 1
        return message(now)
    }

    private mutating func begin(_ state: State) {
        self.state = state
        tries = 0
        transaction = random.next() & 0xff_ffff
    }

    private mutating func request(_ offer: Offer) {
        self.offer = offer
        begin(.requesting(offer))
    }

    private mutating func solicit() { begin(.soliciting(best: nil)) }

    private var pace: Pace {
        switch (state, goal) {
        case (.soliciting, _): Pace(first: 1000, longest: longestPause)
        case (.requesting, _): Pace(first: 1000, longest: 30_000)
        case (.asking, .release), (.asking, .decline): Pace(first: 1000, count: 4)
        case (.asking, _): Pace(first: 10_000, longest: 600_000)
        }
    }

    /// RFC 8415, section 15: twice as long each time, and a tenth more or less, so that many pods do not ask in step.
    private mutating func setPause(_ pace: Pace) {
        func about(_ base: Int64, _ range: ClosedRange<Int64>) -> Int64 {
            base + base * Int64.random(in: range, using: &random) / 1000
        }
        var isFirstSolicit = false
        if case .soliciting = state, tries == 0 { isFirstSolicit = true }
        // Of the first SOLICIT no offer may be missed that comes within a second.
        guard tries > 0 else {
            pause = about(pace.first, isFirstSolicit ? 1...100 : -100...100)
            return
        }
        pause = about(2 * pause, -50...50)
        if pace.longest > 0, pause > pace.longest { pause = about(pace.longest, -100...100) }
    }

    private mutating func message(_ now: Int64) -> MessageV6 {
        var (kind, address, server): (MessageV6.Kind, IPAddress?, [UInt8]?)
        switch (state, goal) {
        case (.soliciting, _): (kind, address, server) = (.solicit, wanted, nil)
        case (.requesting(let offer), _): (kind, address, server) = (.request, offer.address, offer.server)
        case (.asking, .renew(let held, let whose)): (kind, address, server) = (.renew, held, whose)
        case (.asking, .rebind(let held)): (kind, address, server) = (.rebind, held, nil)
        case (.asking, .release(let held, let whose)): (kind, address, server) = (.release, held, whose)
        case (.asking, .decline(let held, let whose)): (kind, address, server) = (.decline, held, whose)
        case (.asking, .solicit(let hint)): (kind, address, server) = (.solicit, hint, nil)
        }
        if kind == .solicit { solicits += 1 }
        if kind == .request { requests += 1 }
        var message = MessageV6(kind, transaction: transaction, options: [OptionV6(.clientID, client.duid)])
        if let server { message.options.append(OptionV6(.serverID, server)) }
        let elapsed = UInt16(clamping: (now - start) / 10)
        message.options.append(OptionV6(.elapsedTime, elapsed.octets))
        let association = AssociationV6(
            id: client.association, addresses: address.map { [AddressV6($0)] } ?? [])
        message.options.append(association.option)
        if kind != .release, kind != .decline {
            let requested = client.requested + [OptionV6.Code.solicitLimit.rawValue]
            message.options.append(OptionV6(.requestList, requested.flatMap(\.octets)))
        }
        if kind == .solicit { message.options.append(OptionV6(.rapidCommit)) }
        return message
    }

    // MARK: Answers

    /// Takes an answer; others' are passed over. RFC 8415, section 16.
    ///
    /// - Parameter source: who sent it.
    package mutating func take(_ reply: MessageV6, from source: IPAddress, now: Int64) -> Outcome? {
        guard reply.transaction == transaction, reply.client == client.duid, let server = reply.server,
            !server.isEmpty
        else { return nil }
        if let limit = reply.longestPause { longestPause = Int64(limit) * 1000 }
        switch (state, reply.kind) {
        case (.soliciting(let best), .advertise):
            consider(reply, from: source, server, best, now)
            return nil
        case (.soliciting, .reply) where reply.isRapid:
            guard let grant = grant(reply, source) else {
                note(reply, source)
                return nil
            }
            return .granted(grant)
        case (.requesting(let offer), .reply) where offer.server == server:
            return answered(reply, source, now)
        case (.asking, .reply):
            switch goal {
            case .solicit: return nil
            case .release(_, let whose), .decline(_, let whose): return whose == server ? .acknowledged : nil
            case .renew(let held, let whose):
                return whose == server ? extended(reply, held, server, source, now) : nil
            case .rebind(let held): return extended(reply, held, server, source, now)
            }
        default: return nil
        }
    }

    /// Offers are collected until the first pause has passed, but for one that its server wants to be taken at once.
    private mutating func consider(
        _ reply: MessageV6, from source: IPAddress, _ server: [UInt8], _ best: Offer?, _ now: Int64
    ) {
        guard let grant = grant(reply, source) else {
            note(reply, source)
            return
        }
        let offer = Offer(
            address: grant.address.address, server: server, source: source, preference: reply.preference)
        if best.map({ $0.preference < offer.preference }) ?? true { state = .soliciting(best: offer) }
        if reply.preference == 255 || tries > 1 { wakeup = now }
    }

    /// The address that a server gives, which is the one that was asked for if that is among them.
    private func grant(_ reply: MessageV6, _ source: IPAddress, held: IPAddress? = nil) -> GrantV6? {
        guard reply.status.map({ $0.code == .success }) ?? true,
            let association = reply.association(client.association),
            association.status.map({ $0.code == .success }) ?? true
        else { return nil }
        let usable = association.addresses.filter { $0.valid > 0 }
        guard let address = usable.first(where: { $0.address == held }) ?? usable.first else { return nil }
        return GrantV6(address, association, reply, from: source)
    }

    /// - Returns: what the server has against it; nil when it says nothing.
    @discardableResult
    private mutating func note(_ reply: MessageV6, _ source: IPAddress) -> StatusV6.Code? {
        let inner = reply.association(client.association)?.status
        guard let status = [reply.status, inner].compactMap(\.self).first(where: { $0.code != .success })
        else { return nil }
        refusal = (source, status)
        return status.code
    }

    /// REPLY to a REQUEST: RFC 8415, 18.2.10.1.
    private mutating func answered(_ reply: MessageV6, _ source: IPAddress, _ now: Int64) -> Outcome? {
        if let grant = grant(reply, source) { return .granted(grant) }
        switch note(reply, source) {
        // Ours are sent to all: the next one is no other. And one who does not know what is wrong may know later.
        case .useMulticast, .unspecified: return nil
        case .notOnLink: wanted = nil
        default: break
        }
        solicit()
        wakeup = now + Int64.random(in: 500...1500, using: &random)
        return nil
    }

    /// REPLY to a RENEW or a REBIND.
    private mutating func extended(
        _ reply: MessageV6, _ held: IPAddress, _ server: [UInt8], _ source: IPAddress, _ now: Int64
    ) -> Outcome? {
        if let grant = grant(reply, source, held: held) { return .granted(grant) }
        switch note(reply, source) {
        case .noBinding:
            // The server has lost it, and may give it anew.
            request(Offer(address: held, server: server, source: source))
            wakeup = now
            return nil
        case .notOnLink: return .refused(source: source, refusal?.status)
        case nil:
            // With a time of 0 it is taken back; a server that says nothing leaves it to others.
            let isTakenBack =
                reply.association(client.association)?.addresses.contains { $0.address == held } ?? false
            return isTakenBack ? .refused(source: source, nil) : nil
        default: return nil
        }
    }
}
