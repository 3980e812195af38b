import CNI
import DHCP
import Linux
import Networking
import Plans

/// An ADD's question to the DHCPv6 servers on the pod's link, until the kernel has seen that nobody else has the address.
/// RFC 8415.
final class DHCPv6Query: LeaseQuery {
    private let config: DHCPConfig
    private let request: LeaseRequest
    private let link: any LinkAccess
    private let watch: any LinkWatch
    private let deadline: Int64
    private var record: DHCPv6Record
    private var state: State
    /// How many addresses somebody else had.
    private var declined = 0

    private enum State {
        /// Another ADD of this attachment, of a plugin that is called by itself, has had it.
        case known(Lease)
        case awaitingCarrier
        /// The kernel's own address, from which servers are asked.
        case awaitingLinkLocal
        case talking(DHCPv6Conversation)
        /// The kernel looks for others that have the address.
        case probing(GrantV6, DHCPv6Conversation, end: Int64)
        /// The server is told that somebody has it.
        case declining(DHCPv6Conversation, end: Int64)
    }

    /// How many addresses that somebody else has are declined before the ADD gives up.
    private static let patience = 3
    /// Milliseconds in which the kernel finds out whether somebody else has an address: a random second, and one to answer.
    private static let probing: Int64 = 5000
    /// Milliseconds for a server to say that it knows of an address that somebody else has.
    private static let declining: Int64 = 1500

    private var interface: String { request.id.interface }

    /// Writes the record down, from which on a DEL knows that there may be a lease.
    init(
        _ config: DHCPConfig, _ request: LeaseRequest, _ link: any LinkAccess, until deadline: Int64
    ) throws(Failure) {
        guard let facts = try link.facts(), let mac = facts.mac else {
            throw DHCPSource.noLink(request, link)
        }
        self.config = config
        self.request = request
        self.link = link
        self.deadline = deadline
        record = DHCPv6Record(
            try LeaseHead(request, link, facts), client: config.clientV6(request, mac),
            acceptsDNS: config.terms.accepted.contains(.dns))
        // Before anything is looked at: no change is missed.
        watch = try link.watch()
        state = .awaitingCarrier
        try filed { records throws(SystemError) in
            if let known = try? records.read(request.id, as: DHCPv6Record.self),
                known.head.isSame(as: record.head), known.client == record.client, known.holds(),
                let lease = known.lease()
            {
                state = .known(lease)
            } else {
                try records.write(record)
            }
        }
    }

    private func filed(_ body: (borrowing DHCPRecords) throws(SystemError) -> Void) throws(Failure) {
        do throws(SystemError) { try body(try DHCPRecords.open(config.directory)) } catch {
            throw Failure(.io, "dhcp: \(error)", details: "leases are kept in \(config.directory)")
        }
    }

    // MARK: Waiting

    var descriptors: [CInt] {
        switch state {
        case .known: []
        case .awaitingCarrier, .awaitingLinkLocal, .probing: watch.descriptors
        case .talking(let conversation), .declining(let conversation, _): [conversation.raw]
        }
    }

    var wakeup: Int64 {
        switch state {
        case .known: 0
        case .awaitingCarrier, .awaitingLinkLocal: deadline
        case .talking(let conversation): min(conversation.exchange.wakeup, deadline)
        case .probing(_, _, let end): end
        case .declining(let conversation, let end): min(conversation.exchange.wakeup, end)
        }
    }

    var known: Lease? { if case .known(let lease) = state { lease } else { nil } }

    /// What was granted is given back; nobody else knows of it.
    func giveUp() {
        DHCPSource.giveBack(record, link)
        try? filed { records throws(SystemError) in
            try records.remove(request.id, as: DHCPv6Record.self)
        }
    }

    /// From state to state, as far as it goes.
    func advance() throws(Failure) -> Lease? {
        watch.clear()
        if case .awaitingCarrier = state {
            guard try link.hasCarrier() else { return try none(config.noCarrier(interface)) }
            state = .awaitingLinkLocal
        }
        if case .awaitingLinkLocal = state {
            guard let own = try link.linkLocal() else { return try none(try noLinkLocal()) }
            state = .talking(
                try DHCPv6Conversation(
                    record.client, .solicit(nil), over: link, index: record.index, from: own,
                    now: monotonicMilliseconds()))
        }
        if case .declining(let conversation, let end) = state {
            let outcome = try conversation.step(monotonicMilliseconds())
            guard outcome != nil || monotonicMilliseconds() >= end else { return nil }
            guard declined < Self.patience else { throw allTaken() }
            conversation.begin(.solicit(nil), now: monotonicMilliseconds())
            state = .talking(conversation)
        }
        if case .talking(let conversation) = state {
            guard case .granted(let grant)? = try conversation.step(monotonicMilliseconds()) else {
                return try none(unanswered(conversation))
            }
            try accept(grant)
            state = .probing(grant, conversation, end: monotonicMilliseconds() + Self.probing)
        }
        guard case .probing(let grant, let conversation, let end) = state else { return nil }
        return try look(at: grant, conversation, end)
    }

    /// - Throws: why there is none when the time is up.
    private func none(_ failure: @autoclosure () throws(Failure) -> Failure) throws(Failure) -> Lease? {
        guard monotonicMilliseconds() < deadline else { throw try failure() }
        return nil
    }

    private func accept(_ grant: GrantV6) throws(Failure) {
        record.grant = grant
        record.granted = .now()
        record.isRefused = false
        try filed { records throws(SystemError) in
            guard try records.update(record, isDurable: true) else {
                throw SystemError(refusing: "the record of the lease was removed: a DEL ran meanwhile")
            }
        }
        try link.probe(grant.address.cidr, lifetime: grant.address.lifetime)
    }

    /// Whether nobody else has the address. It is off the link again afterwards, as plugins of others put it there themselves.
    private func look(
        at grant: GrantV6, _ conversation: DHCPv6Conversation, _ end: Int64
    ) throws(Failure) -> Lease? {
        let found = try link.addresses().first { $0.cidr.address == grant.address.address }
        if let found, found.isBeingProbed, !found.isDuplicate {
            guard monotonicMilliseconds() < end else {
                throw Failure(
                    .generic,
                    "dhcp: the kernel does not find out whether others have \(grant.address.address)",
                    details: "its link lost its carrier, or dad_transmits is large")
            }
            return nil
        }
        try link.remove(grant.address.cidr)
        // The kernel removes one with a lifetime when somebody else has it.
        if let found, !found.isDuplicate { return grant.lease(acceptsDNS: record.acceptsDNS) }
        record.isRefused = true
        declined += 1
        let now = monotonicMilliseconds()
        conversation.begin(.decline(grant.address.address, server: grant.server), now: now)
        state = .declining(conversation, end: now + Self.declining)
        return nil
    }

    // MARK: What went wrong

    private func noLinkLocal() throws(Failure) -> Failure {
        let found = try link.addresses().filter { $0.cidr.address.isLinkLocal }
        let details =
            if let other = found.first(where: \.isDuplicate) {
                "somebody else has \(other.cidr.address) (DADFAILED): is the link's MAC address there twice?"
            } else if let own = found.first {
                "the kernel still looks for others that have \(own.cidr.address)"
            } else {
                "the kernel makes one when the link comes up: is net.ipv6.conf.\(interface).addr_gen_mode 1?"
            }
        return Failure(
            .generic, "dhcp: no link-local address on \(interface) in \(config.timeout) s: no more tries",
            details: details)
    }

    private func allTaken() -> Failure {
        let last = record.grant.map { ", at last \($0.address.address)" } ?? ""
        return Failure(
            .generic,
            "dhcp: others on \(interface) have the \(declined) addresses that were granted\(last): no more tries",
            details: "they were declined, which the server's log says: who uses addresses of its pool?")
    }

    private func unanswered(_ conversation: DHCPv6Conversation) -> Failure {
        let exchange = conversation.exchange
        let sent = "\(exchange.solicits) SOLICIT sent"
        if let (source, status) = exchange.refusal {
            return Failure(
                .generic,
                "dhcp: \(source) gives no address on \(interface): \(visible("\(status)")): no more tries",
                details: "\(sent); the server's log says why")
        }
        if let offer = exchange.offer {
            return Failure(
                .generic,
                "dhcp: \(offer.source) offered \(offer.address) on \(interface) and gave no REPLY (\(exchange.requests) REQUEST sent): no more tries",
                details: "the server's log says why")
        }
        return Failure(
            .generic,
            "dhcp: no ADVERTISE on \(interface) in \(config.timeout) s (\(sent)): no more tries",
            details: conversation.problem.map { "the last message could not be sent: \($0)" }
                ?? "no DHCPv6 server hears this network: the key timeout says how long it is waited for")
    }
}
