import CNI
import DHCP
import JSONC
import Linux
import Networking
import Plans

/// An ADD's question to the DHCP servers on the pod's link.
final class DHCPQuery: LeaseQuery {
    private let config: DHCPConfig
    private let request: LeaseRequest
    private let link: any LinkAccess
    private let index: Int32
    private let deadline: Int64
    private var record: DHCPRecord
    private var state: State

    private enum State {
        /// Another ADD of this attachment, of a plugin that is called by itself, has had it.
        case known(Lease)
        case awaitingCarrier(any LinkWatch)
        case talking(DHCPConversation)
    }

    private var interface: String { request.id.interface }

    /// Writes the record down, from which on a DEL knows that there may be a lease.
    init(_ config: DHCPConfig, _ request: LeaseRequest) throws(Failure) {
        let link = try request.linkToAsk(config)
        deadline = monotonicMilliseconds() + config.timeout * 1000
        guard let facts = try link.facts(), let mac = facts.mac else {
            throw DHCPSource.noLink(request, link)
        }
        if !facts.isUp { try link.setUp() }
        self.config = config
        self.request = request
        self.link = link
        index = facts.index
        record = DHCPRecord(
            try LeaseHead(request, link, facts), client: config.client(request, mac), terms: config.terms)
        // Before the carrier is looked at: no change to it is missed.
        state = .awaitingCarrier(try link.watch())
        do throws(SystemError) {
            let records = try DHCPRecords.open(config.directory)
            if var known = try? records.read(request.id), known.isSame(as: record), known.holds() {
                known.terms = config.terms
                if let lease = known.lease() { state = .known(lease) }
            }
            if case .awaitingCarrier = state { try records.write(record) }
        } catch {
            throw Failure(.io, "dhcp: \(error)", details: "leases are kept in \(config.directory)")
        }
    }

    var descriptors: [CInt] {
        switch state {
        case .known: []
        case .awaitingCarrier(let watch): watch.descriptors
        case .talking(let conversation): [conversation.socket.raw]
        }
    }

    var wakeup: Int64 {
        switch state {
        case .known: 0
        case .awaitingCarrier: deadline
        case .talking(let conversation): min(conversation.exchange.wakeup, deadline)
        }
    }

    var known: Lease? { if case .known(let lease) = state { lease } else { nil } }

    /// What was granted is given back; nobody else knows of it.
    func giveUp() {
        DHCPSource.giveBack(record, link, isOnLink: false)
        try? DHCPRecords.openIfThere(config.directory)?.remove(request.id)
    }

    func advance() throws(Failure) -> Lease? {
        if case .awaitingCarrier(let watch) = state {
            watch.clear()
            guard try link.hasCarrier() else {
                guard monotonicMilliseconds() < deadline else { throw config.noCarrier(interface) }
                return nil
            }
            state = .talking(
                try DHCPConversation(
                    record.client, .discover(nil), isProbing: config.terms.isProbing, over: link,
                    index: index,
                    now: monotonicMilliseconds()))
        }
        guard case .talking(let conversation) = state else { return nil }
        if case .granted(let grant)? = try conversation.step(monotonicMilliseconds()) {
            return try accept(grant, conversation)
        }
        guard monotonicMilliseconds() < deadline else {
            note(conversation.exchange.unproven, conversation)
            throw unanswered(conversation)
        }
        return nil
    }

    private func accept(_ grant: Grant, _ conversation: DHCPConversation) throws(Failure) -> Lease {
        note(grant, conversation)
        guard let lease = record.lease() else {
            throw Failure(
                .generic,
                "dhcp: \(grant.server) granted \(grant.address) without a mask: Subnet Mask not found",
                details: "configure option 1 there, or request it")
        }
        guard grant.leaseTime > 0 else {
            throw Failure(
                .generic, "dhcp: the lease of \(grant.address), of \(grant.server), ends at once",
                details: "configure a lease time there")
        }
        do throws(SystemError) {
            guard try DHCPRecords.open(config.directory).update(record, isDurable: true) else {
                throw SystemError(refusing: "the record of the lease was removed: a DEL ran meanwhile")
            }
        } catch {
            throw Failure(.io, "dhcp: \(error)", details: "leases are kept in \(config.directory)")
        }
        conversation.announce(grant.address)
        return lease
    }

    private func note(_ grant: Grant?, _ conversation: DHCPConversation) {
        record.grant = grant
        record.head.granted = .ago(monotonicMilliseconds() - conversation.exchange.asked)
    }

    private func unanswered(_ conversation: DHCPConversation) -> Failure {
        let exchange = conversation.exchange
        let vlan = (try? request.config.reader.int("vlan")) ?? nil
        let place = interface + (vlan.map { ", VLAN \($0)," } ?? "")
        let sent = "\(exchange.discovers) DISCOVER sent"
        if let (grant, holder) = exchange.conflicts.last {
            return Failure(
                .generic,
                "dhcp: \(grant.address), which \(grant.server) granted on \(place), is used by \(holder): no more tries",
                details:
                    "declined \(exchange.conflicts.count) times; find \(holder), and take what is used by others out of the server's pool"
            )
        }
        if let grant = exchange.unproven {
            return Failure(
                .generic,
                "dhcp: \(grant.address), which \(grant.server) granted on \(place), could not be probed in \(config.timeout) s: no more tries",
                details: "a probe takes 1.5 s: raise timeout")
        }
        if let (server, text) = exchange.refusal {
            return Failure(
                .generic,
                "dhcp: \(server) refused on \(place) (NAK)\(text.map { ": \(visible($0))" } ?? ""): no more tries",
                details: "\(sent); the server's log says why")
        }
        if let (address, server) = exchange.offer {
            return Failure(
                .generic,
                "dhcp: \(server) offered \(address) on \(place) and did not acknowledge it (\(exchange.requests) REQUEST sent): no more tries",
                details: "the server's log says why; a second server may have taken the address")
        }
        return Failure(
            .generic, "dhcp: no OFFER on \(place) in \(config.timeout) s (\(sent)): no more tries",
            details: conversation.problem.map { "the last message could not be sent: \($0)" }
                ?? "no DHCP server hears this network, or its addresses are all given: the key timeout says how long it is waited for"
        )
    }
}

extension DHCPRecord {
    /// Whether both are of one client on one link.
    fileprivate func isSame(as other: DHCPRecord) -> Bool {
        head.isSame(as: other.head) && client == other.client
    }
}
