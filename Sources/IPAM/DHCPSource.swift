package import CNI
package import DHCP
package import JSONC
package import Linux
package import Network
package import Plans

/// Addresses of a DHCP server, which the ADD itself asks over the pod's link. CNI reference plugin `dhcp`, without its daemon.
///
/// What was granted is written down for the daemon that renews it (`dhcp daemon`) and for DEL.
package enum DHCPSource: AddressSource {
    package static let type = "dhcp"
    package static let needsLink = true
    package static let capabilities: [String] = []
    package static let podArguments: [String] = []
    package static let vocabulary = DHCPConfig.vocabulary

    package static func parse(_ request: LeaseRequest) throws(Failure) -> any AddressConfig {
        DHCPRequest(config: try DHCPConfig(request))
    }

    package static func release(_ request: LeaseRequest) throws(Failure) {
        try recorded(request) { records throws(SystemError) in
            let record: DHCPRecord?
            // One that cannot be read says nothing of use, and must not stay.
            do throws(SystemError) { record = try records.read(request.id) } catch { record = nil }
            if let record { giveBack(record, request.link) }
            try records.remove(request.id)
        }
    }

    /// Tells the server, if the pod can be reached. Whether it hears nobody knows: RFC 2131 has no answer to that.
    ///
    /// - Parameter isOnLink: whether the address may be on the link; an empty namespace would send from any, and never be heard.
    fileprivate static func giveBack(
        _ record: DHCPRecord, _ link: (any LinkAccess)?, isOnLink: Bool = true
    ) {
        guard let grant = record.grant, record.holds(), let link, let own = record.namespace,
            let found = (try? link.namespace) ?? nil, own.isSame(as: found)
        else { return }
        let message = record.client.release(grant, transaction: UInt32.random(in: 0...(.max)))
        let bytes = message.encoded()
        do throws(Failure) {
            // By the index: a pod may rename its link.
            try link.inside { () throws(Failure) in
                do throws(SystemError) {
                    guard isOnLink else { throw SystemError(refusing: "there is no address") }
                    try sendFromClientPort(
                        index: record.index, grant.address.number, to: grant.server.number, bytes)
                } catch {
                    // Without the address on the link nothing can be sent from it: to all, then.
                    let packet = Datagram(
                        from: grant.address, Datagram.clientPort, to: grant.server, Datagram.serverPort, bytes
                    )
                    try? PacketSocket.open(index: record.index).broadcast(packet.encoded())
                }
            }
        } catch {}
    }

    package static func check(_ request: LeaseRequest) throws(Failure) {
        var record: DHCPRecord?
        try recorded(request) { records throws(SystemError) in record = try records.read(request.id) }
        guard let record, let grant = record.grant else {
            throw Failure(
                .generic, "dhcp: there is no lease of \(request.id.interface)",
                details:
                    "its record is gone from \(DHCPConfig.directory(request.config.json["ipam"])): DEL and ADD the attachment"
            )
        }
        guard record.holds() else {
            throw Failure(
                .generic, "dhcp: the lease of \(grant.address), of \(grant.server), has ended",
                details: "the server did not renew it, or no daemon asked: is dhcp daemon running?")
        }
    }

    package static func collect(_ request: LeaseRequest, valid: [AttachmentID]) throws(Failure) {
        let lives = request.living(valid)
        try recorded(request) { records throws(SystemError) in
            for name in try records.names() {
                guard let record = try? records.read(name), record.network == request.config.name else {
                    continue
                }
                if !lives(record.id.containerID, record.id.interface) { try records.remove(record.id) }
            }
        }
    }

    /// An ADD works without a daemon, but nobody renews what it gets.
    package static func status(_ request: LeaseRequest) throws(Failure) {
        let socket = try DHCPConfig(request).socket
        guard somebodyListens(at: socket) else {
            throw Failure(
                .notAvailable, "dhcp: no daemon listens at \(socket): leases are not renewed",
                details: "start dhcp daemon, or name its socket with the key daemonSocketPath")
        }
    }

    private static func recorded(
        _ request: LeaseRequest, _ body: (borrowing DHCPRecords) throws(SystemError) -> Void
    ) throws(Failure) {
        try recorded(DHCPConfig.directory(request.config.json["ipam"]), body)
    }

    private static func recorded(
        _ path: String, _ body: (borrowing DHCPRecords) throws(SystemError) -> Void
    ) throws(Failure) {
        do throws(SystemError) {
            if let records = try DHCPRecords.openIfThere(path) { try body(records) }
        } catch {
            throw Failure(.io, "dhcp: \(error)", details: "leases are kept in \(path)")
        }
    }

    // MARK: Without a record of the pod

    package static let defaultStore: String? = DHCPRecords.defaultPath

    package static func store(of ipam: JSON) -> String? {
        ipam["type"]?.string == type ? DHCPConfig.directory(ipam) : nil
    }

    package static func owners(
        in store: String, where isWanted: (String) -> Bool
    ) throws(Failure) -> [(id: AttachmentID, address: IPAddress)] {
        var owners: [(id: AttachmentID, address: IPAddress)] = []
        try recorded(store) { records throws(SystemError) in
            for id in try records.ids() where isWanted(id.containerID) {
                if let grant = (try? records.read(id))?.grant { owners.append((id, grant.address)) }
            }
        }
        return owners
    }

    /// The server is not told: its lease ends by itself.
    package static func releaseEverything(
        of containerID: String, in store: String, where isGone: (String?, IPAddress) -> Bool
    ) throws(Failure) {
        try recorded(store) { records throws(SystemError) in
            for id in try records.ids() where id.containerID == containerID {
                let address = (try? records.read(id))?.grant?.address ?? .unspecified
                if isGone(id.interface, address) { try records.remove(id) }
            }
        }
    }

    package static func releaseEverything(of containers: Set<String>, in store: String) throws(Failure) {
        try recorded(store) { records throws(SystemError) in
            for id in try records.ids() where containers.contains(id.containerID) { try records.remove(id) }
        }
    }
}

/// One ADD.
private struct DHCPRequest: AddressConfig {
    let config: DHCPConfig

    func remarks(_ request: LeaseRequest) -> [Remark] { [] }
    func preview(_: LeaseRequest) -> Lease? { nil }

    /// - Parameter request: its link may be a new one: the record is told.
    func lease(_ request: LeaseRequest) throws(Failure) -> Lease {
        do throws(SystemError) {
            let records = try DHCPRecords.openIfThere(config.directory)
            if var record = try records?.read(request.id), record.holds(),
                let lease = record.lease()
            {
                let index = (try? request.link?.facts())??.index
                if let index, index != record.index {
                    record.index = index
                    // Whether the new link leads to the same network nobody knows yet.
                    record.isUnconfirmed = true
                    _ = try records?.update(record)
                }
                return lease
            }
        } catch {
            throw Failure(.io, "dhcp: \(error)")
        }
        throw Failure(
            .generic, "dhcp: the lease of \(request.id.interface) has ended",
            details: "delete the pod: its next sandbox asks anew")
    }

    func lost(_: LeaseRequest, isKept _: Bool) -> [IPAddress] { [] }

    func allocate(_ request: LeaseRequest) throws(Failure) -> Lease {
        guard let link = request.link else {
            throw Failure(
                .badEnvironment, "dhcp: there is no link to ask over",
                details: "CNI_NETNS names the pod's namespace")
        }
        if config.requiresAgent, !somebodyListens(at: config.socket) {
            throw Failure(
                .tryAgain, "dhcp: no daemon listens at \(config.socket), and requireAgent is set",
                details: "start dhcp daemon: nobody would renew the lease")
        }
        let interface = request.id.interface
        let deadline = monotonicMilliseconds() + config.timeout * 1000
        guard let facts = try link.facts(), let mac = facts.mac else {
            throw Failure(
                .generic, "dhcp: there is no link \(interface) in \(link.sandbox)",
                details: "the plugin before it makes the link")
        }
        if !facts.isUp { try link.setUp() }
        var record = DHCPRecord(
            id: request.id, network: request.config.name, pod: Pod(ofArgs: request.args)?.description ?? "",
            sandbox: link.sandbox, namespace: try link.namespace,
            index: facts.index,
            client: config.client(request, mac), terms: config.terms)
        record.state = request.state
        do throws(SystemError) {
            let records = try DHCPRecords.open(config.directory)
            // Another ADD of this attachment, by a plugin that is called by itself.
            if var known = try? records.read(request.id), known.isSame(as: record), known.holds() {
                known.terms = config.terms
                if let lease = known.lease() { return lease }
            }
            // From here on a DEL knows that there may be a lease.
            try records.write(record)
        } catch {
            throw Failure(.io, "dhcp: \(error)", details: "leases are kept in \(config.directory)")
        }
        do throws(Failure) {
            guard try link.awaitCarrier(until: deadline) else {
                throw Failure(
                    .generic, "dhcp: no carrier on \(interface) in \(config.timeout) s: no more tries",
                    details:
                        "what \(interface) is connected to is down: look at its master, or the bridge's ports"
                )
            }
            let grant = try converse(link, facts.index, &record, request, until: deadline)
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
            return lease
        } catch {
            // What was granted is given back; nobody else knows of it.
            DHCPSource.giveBack(record, link, isOnLink: false)
            try? DHCPSource.release(request)
            throw error
        }
    }

    /// Until a server has granted an address.
    ///
    /// - Parameter record: gets what was granted, also when there was no time to see whether it is free.
    private func converse(
        _ link: any LinkAccess, _ index: Int32, _ record: inout DHCPRecord, _ request: LeaseRequest,
        until deadline: Int64
    ) throws(Failure) -> Grant {
        var exchange = Exchange(
            record.client, .discover(nil), isProbing: config.terms.isProbing, now: monotonicMilliseconds())
        var outcome: Exchange.Outcome?
        try link.inside { () throws(Failure) in
            do throws(SystemError) {
                let socket = try PacketSocket.open(index: index, hearsARP: exchange.isProbing)
                outcome = try answer(to: &exchange, over: socket, until: deadline)
                if case .granted(let grant)? = outcome {
                    try socket.broadcast(record.client.announcement(of: grant.address), isARP: true)
                }
            } catch {
                throw Failure(.generic, "dhcp: \(request.id.interface): \(error)")
            }
        }
        record.granted = .ago(monotonicMilliseconds() - exchange.asked)
        guard case .granted(let grant)? = outcome else {
            record.grant = exchange.unproven
            throw unanswered(exchange, request)
        }
        record.grant = grant
        return grant
    }

    private func answer(
        to exchange: inout Exchange, over socket: borrowing PacketSocket, until deadline: Int64
    ) throws(SystemError) -> Exchange.Outcome? {
        while true {
            let now = monotonicMilliseconds()
            if now >= deadline { return nil }
            switch exchange.next(now: now) {
            case .send(let message, _)?:
                let datagram = Datagram(
                    from: .unspecified, Datagram.clientPort, to: .broadcast, Datagram.serverPort,
                    message.encoded())
                try socket.broadcast(datagram.encoded())
            case .probe(let packet)?: try socket.broadcast(packet, isARP: true)
            case .end(let outcome)?: return outcome
            case nil: break
            }
            guard socket.wait(milliseconds: min(exchange.wakeup, deadline) - monotonicMilliseconds()) else {
                continue
            }
            if let outcome = try exchange.take(from: socket, now: monotonicMilliseconds()) { return outcome }
        }
    }

    private func unanswered(_ exchange: Exchange, _ request: LeaseRequest) -> Failure {
        let vlan = (try? request.config.reader.int("vlan")) ?? nil
        let place = request.id.interface + (vlan.map { ", VLAN \($0)," } ?? "")
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
            details:
                "no DHCP server hears this network, or its addresses are all given: the key timeout says how long it is waited for"
        )
    }
}

extension Exchange {
    /// Takes what has come on a socket.
    package mutating func take(
        from socket: borrowing PacketSocket, now: Int64
    ) throws(SystemError) -> Outcome? {
        while let (packet, hasChecksum) = try socket.receive() {
            guard let datagram = Datagram(decoding: packet, hasChecksum: hasChecksum),
                let reply = Message(decoding: datagram.payload)
            else {
                take(arp: packet, now: now)
                continue
            }
            if let outcome = take(reply, from: datagram.source, now: now) { return outcome }
        }
        return nil
    }
}

extension DHCPRecord {
    /// Whether both are of one link of one namespace.
    fileprivate func isSame(as other: DHCPRecord) -> Bool {
        guard let one = namespace, let two = other.namespace else { return false }
        return one.isSame(as: two) && index == other.index && client == other.client
    }
}
