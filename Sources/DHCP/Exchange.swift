package import Networking

/// Who asks, the same in all messages of a lease.
package struct Client: Equatable, Sendable {
    package var hardware: MAC
    /// Option 61, with its type in front.
    package var id: [UInt8]
    /// Options that are sent besides.
    package var provided: [UInt8: [UInt8]]
    /// Option 55, in order.
    package var requested: [UInt8]
    package var isBroadcast: Bool

    package init(
        hardware: MAC, id: [UInt8], provided: [UInt8: [UInt8]] = [:], requested: [UInt8] = [],
        isBroadcast: Bool = false
    ) {
        self.hardware = hardware
        self.id = id
        self.provided = provided
        self.requested = requested
        self.isBroadcast = isBroadcast
    }

    func message(_ kind: Message.Kind, _ transaction: UInt32) -> Message {
        var message = Message(kind, transaction: transaction, hardware: hardware)
        message.options[Option.clientID] = id
        return message
    }

    /// Says that somebody else uses the address.
    func decline(_ grant: Grant, transaction: UInt32) -> Message {
        var message = message(.decline, transaction)
        message.options[Option.requestedAddress] = grant.address.bytes
        message.options[Option.serverID] = grant.server.bytes
        return message
    }

    /// Gives an address back.
    package func release(_ grant: Grant, transaction: UInt32) -> Message {
        var message = message(.release, transaction)
        message.client = grant.address
        message.options[Option.serverID] = grant.server.bytes
        return message
    }
}

/// One conversation about an address, as a state machine: what to send when, and what an answer means. RFC 2131, section 4.
///
/// Times are milliseconds of a clock that the caller chooses.
package struct Exchange: Sendable {
    package enum Goal: Equatable, Sendable {
        /// An address, and which one if it may be.
        case discover(IPAddress?)
        /// The address that the client had before, as after a restart: INIT-REBOOT.
        case confirm(IPAddress)
        /// More time for the address, of its server, which is asked directly.
        case renew(IPAddress, server: IPAddress)
        /// The same of any server.
        case rebind(IPAddress)
    }

    /// Where a message goes.
    package enum Way: Equatable, Sendable {
        /// To everybody on the link; the address is that of the sender.
        case broadcast(from: IPAddress)
        case unicast(from: IPAddress, to: IPAddress)
    }

    package enum Outcome: Equatable, Sendable {
        case granted(Grant)
        /// A NAK: the address is not to be used any more.
        case refused(server: IPAddress, text: String?)
    }

    /// What is due.
    package enum Action: Equatable, Sendable {
        case send(Message, Way)
        /// An ARP packet to everybody on the link.
        case probe([UInt8])
        case end(Outcome)
    }

    private enum State: Equatable {
        case selecting
        case requesting(IPAddress, server: IPAddress)
        case asking
        /// Granted; nobody else has said yet that he uses it.
        case probing(Grant, Probe)
        case declining(Grant)
    }

    private let client: Client
    private let goal: Goal
    /// An address that the client did not have before is probed: answers are to come to `take(arp:)`.
    package let isProbing: Bool
    /// The longest pause: an eighth of the time that there is.
    private let longestPause: Int64
    private let start: Int64
    private var state: State
    private var transaction: UInt32
    private var random: any RandomNumberGenerator & Sendable
    /// How often the present message was sent.
    private var tries = 0
    /// When `next` has something to do.
    package private(set) var wakeup: Int64
    /// When the last REQUEST was sent: what is granted counts from there. RFC 2131, section 4.4.1.
    package private(set) var asked: Int64
    // What an error tells.
    package private(set) var discovers = 0
    package private(set) var requests = 0
    package private(set) var offer: (address: IPAddress, server: IPAddress)?
    package private(set) var refusal: (server: IPAddress, text: String?)?
    /// Addresses that were granted and declined, and who uses them.
    package private(set) var conflicts: [(grant: Grant, holder: MAC)] = []

    /// How often a REQUEST is repeated before other offers are looked for.
    private static let patience = 3

    /// - Parameter within: milliseconds in which an answer is of use; short leases are asked for more often.
    package init(
        _ client: Client, _ goal: Goal, isProbing: Bool = false, within: Int64? = nil, now: Int64,
        random: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        self.client = client
        self.goal = goal
        self.isProbing = isProbing
        longestPause = within.map { max($0 / 8, 250) } ?? 8000
        self.random = random
        start = now
        asked = now
        wakeup = now
        transaction = 0
        if case .discover = goal { state = .selecting } else { state = .asking }
        transaction = self.random.next()
    }

    /// What is to be done now; nil before `wakeup`.
    package mutating func next(now: Int64) -> Action? {
        guard now >= wakeup else { return nil }
        switch state {
        case .probing(let grant, var probe):
            guard let packet = probe.next(now: now) else { return .end(.granted(grant)) }
            state = .probing(grant, probe)
            wakeup = probe.wakeup
            return .probe(packet)
        case .declining(let grant):
            let decline = client.decline(grant, transaction: transaction)
            restart()
            // RFC 2131 waits ten seconds, against a server and a client that go round in circles; a pod waits for them.
            wakeup = now + min(500 << Int64(min(conflicts.count, 8)), 10_000)
            return .send(decline, .broadcast(from: .unspecified))
        case .requesting where tries >= Self.patience: restart()
        case .selecting, .requesting, .asking: break
        }
        // 1, 2, 4, 8 seconds, a quarter more or less: many pods must not ask in step.
        let pause = min(1000 << Int64(min(tries, 3)), longestPause)
        wakeup = now + pause + Int64.random(in: -pause / 4...pause / 4, using: &random)
        tries += 1
        let (message, way) = message(now)
        return .send(message, way)
    }

    /// What was granted, while it is not known yet whether somebody else uses it.
    package var unproven: Grant? {
        if case .probing(let grant, _) = state { grant } else { nil }
    }

    private mutating func restart() {
        state = .selecting
        tries = 0
        transaction = random.next()
    }

    private mutating func message(_ now: Int64) -> (message: Message, way: Way) {
        let kind: Message.Kind = state == .selecting ? .discover : .request
        if kind == .discover {
            discovers += 1
        } else {
            requests += 1
            asked = now
        }
        var message = client.message(kind, transaction)
        message.seconds = UInt16(clamping: (now - start) / 1000)
        message.isBroadcast = client.isBroadcast
        message.options[Option.maximumSize] = UInt16(1500).octets
        if !client.requested.isEmpty { message.options[Option.requestList] = client.requested }
        message.options.merge(client.provided) { _, own in own }
        var way = Way.broadcast(from: .unspecified)
        switch state {
        case .selecting:
            if case .discover(let wanted?) = goal { message.options[Option.requestedAddress] = wanted.bytes }
        case .requesting(let address, let server):
            message.options[Option.requestedAddress] = address.bytes
            message.options[Option.serverID] = server.bytes
        case .asking:
            switch goal {
            case .discover: break
            case .confirm(let address): message.options[Option.requestedAddress] = address.bytes
            case .renew(let address, let server):
                message.client = address
                way = .unicast(from: address, to: server)
            case .rebind(let address):
                message.client = address
                way = .broadcast(from: address)
            }
        case .probing, .declining: break
        }
        return (message, way)
    }

    /// Takes an answer; others' are passed over.
    ///
    /// - Parameter source: who sent it.
    package mutating func take(_ reply: Message, from source: IPAddress, now: Int64) -> Outcome? {
        guard reply.transaction == transaction, reply.hardware == client.hardware else { return nil }
        switch (state, reply.kind) {
        case (.selecting, .offer):
            let server = reply.server ?? source
            guard reply.yours.hostProblem == nil else { return nil }
            offer = (reply.yours, server)
            state = .requesting(reply.yours, server: server)
            tries = 0
            wakeup = now
            return nil
        case (.requesting(let address, let server), .ack):
            // Another server's is none of ours, nor is another address than was offered.
            guard reply.server ?? source == server, reply.yours == address else { return nil }
            let grant = Grant(reply, from: source)
            guard isProbing else { return .granted(grant) }
            state = .probing(grant, Probe(address, by: client.hardware, now: now))
            wakeup = now
            return nil
        case (.requesting(_, let server), .nak):
            guard reply.server ?? source == server else { return nil }
            refusal = (server, reply.text)
            restart()
            wakeup = now + Int64.random(in: 500...1500, using: &random)
            return nil
        case (.asking, .ack):
            guard reply.yours.hostProblem == nil else { return nil }
            return .granted(Grant(reply, from: source))
        case (.asking, .nak):
            refusal = (reply.server ?? source, reply.text)
            return .refused(server: reply.server ?? source, text: reply.text)
        default: return nil
        }
    }

    /// Takes an ARP packet of the link: from who uses the address that is being probed, it ends that.
    package mutating func take(arp packet: [UInt8], now: Int64) {
        guard case .probing(let grant, let probe) = state, let holder = probe.holder(packet) else { return }
        conflicts.append((grant, holder))
        state = .declining(grant)
        wakeup = now
    }
}
