package import CNI
import DHCP
package import JSONC
import Linux
package import Networking
package import Plans

/// Addresses of a DHCP server, which the ADD itself asks over the pod's link. CNI reference plugin `dhcp`, without its daemon.
///
/// What was granted is written down for the daemon that renews it (`dhcp daemon`) and for DEL.
package enum DHCPSource: AddressSource {
    package static let type = "dhcp"
    package static let needsLink = true
    package static let asks = true
    package static let capabilities: [String] = []
    package static let podArguments: [String] = []
    package static let vocabulary = DHCPConfig.vocabulary

    package static func parse(_ request: LeaseRequest) throws(Failure) -> any AddressConfig {
        let config = try DHCPConfig(request)
        let isPlain = config.family == .ipv4 && !config.reportsSlaac
        return isPlain ? DHCPRequest(config: config) : DHCPFamilies(config: config)
    }

    package static func release(_ request: LeaseRequest) throws(Failure) {
        try believed(DHCPConfig.directory(request.config.json["ipam"])) { records throws(SystemError) in
            // A record that cannot be read says nothing of use, and must not stay.
            if let record = try? records.read(request.id) { giveBack(record, request.link) }
            try records.remove(request.id)
            if let record = try? records.read(request.id, as: DHCPv6Record.self) {
                giveBack(record, request.link)
            }
            try records.remove(request.id, as: DHCPv6Record.self)
        }
    }

    /// Tells the server, if the pod can be reached. Whether it hears nobody knows: RFC 2131 has no answer to that.
    ///
    /// - Parameter isOnLink: whether the address may be on the link; an empty namespace would send from any, and never be heard.
    static func giveBack(
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
        let family = DHCPFamily.lenient(request.config.json["ipam"])
        if family.isV4 { try check(DHCPRecord.self, request) }
        if family.isV6 { try check(DHCPv6Record.self, request) }
    }

    private static func check<R: LeaseRecord>(_ type: R.Type, _ request: LeaseRequest) throws(Failure) {
        var record: R?
        try recorded(request) { records throws(SystemError) in
            record = try records.read(request.id, as: type)
        }
        guard let record, let term = record.term else {
            throw Failure(
                .generic, "dhcp: there is no lease of \(request.id.interface)",
                details:
                    "its record is gone from \(DHCPConfig.directory(request.config.json["ipam"])): DEL and ADD the attachment"
            )
        }
        guard record.holds() else {
            throw Failure(
                .generic, "dhcp: the lease of \(term.address), of \(term.server), has ended",
                details: "the server did not renew it, or no daemon asked: is dhcp daemon running?")
        }
    }

    /// What the record of an attachment has.
    ///
    /// - Parameter request: its link may be a new one: the record is told.
    static func kept<R: LeaseRecord>(
        _ type: R.Type, _ request: LeaseRequest, in directory: String
    ) throws(Failure) -> Lease {
        do throws(SystemError) {
            let records = try DHCPRecords.openIfThere(directory)
            if var record = try records?.read(request.id, as: type), record.holds(),
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

    static func noLink(_ request: LeaseRequest, _ link: any LinkAccess) -> Failure {
        Failure(
            .generic, "dhcp: there is no link \(request.id.interface) in \(link.sandbox)",
            details: "the plugin before it makes the link")
    }

    package static func collect(_ request: LeaseRequest, valid: [AttachmentID]) throws(Failure) {
        let lives = request.living(valid)
        try recorded(request) { records throws(SystemError) in
            for name in try records.names() {
                guard let head = try? records.read(name)?.head, head.network == request.config.name else {
                    continue
                }
                if !lives(head.id.containerID, head.id.interface) { try records.remove(name) }
            }
        }
    }

    /// An ADD works without a daemon, but nobody renews what it gets.
    package static func status(_ request: LeaseRequest) throws(Failure) {
        let socket = try DHCPConfig(request).socket
        if let problem = noDaemon(at: socket) {
            throw Failure(.notAvailable, "dhcp: \(problem): leases are not renewed", details: noDaemonFix)
        }
    }

    /// Why nobody renews what an ADD gets; nil when a daemon does.
    static func noDaemon(at socket: String) -> String? {
        switch Doorbell.ring(at: socket) {
        case .answered: nil
        case .nobody: "no daemon listens at \(socket)"
        case .somebodyElse: "who listens at \(socket) is no daemon of Plexus"
        }
    }

    static let noDaemonFix =
        "start dhcp daemon, and no other program's, or name its socket with the key daemonSocketPath"

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

    /// For a DEL: a folder that others can write to is not looked into, however often it is called. It is as if none were there.
    private static func believed(
        _ path: String, _ body: (borrowing DHCPRecords) throws(SystemError) -> Void
    ) throws(Failure) {
        do throws(SystemError) { _ = try DHCPRecords.openIfThere(path) } catch {
            if error.code == nil { return }
        }
        try recorded(path, body)
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
        try believed(store) { records throws(SystemError) in
            for (name, id) in try records.entries() where isWanted(id.containerID) {
                if let term = try? records.read(name)?.term { owners.append((id, term.address)) }
            }
        }
        return owners
    }

    /// The server is not told: its lease ends by itself.
    package static func releaseEverything(
        of containerID: String, in store: String, where isGone: (String?, IPAddress) -> Bool
    ) throws(Failure) {
        try believed(store) { records throws(SystemError) in
            for (name, id) in try records.entries() where id.containerID == containerID {
                let address = (try? records.read(name)?.term)?.address ?? .unspecified
                if isGone(id.interface, address) { try records.remove(name) }
            }
        }
    }

    package static func releaseEverything(of containers: Set<String>, in store: String) throws(Failure) {
        try believed(store) { records throws(SystemError) in
            for (name, id) in try records.entries() where containers.contains(id.containerID) {
                try records.remove(name)
            }
        }
    }
}

/// One ADD.
struct DHCPRequest: AddressConfig {
    let config: DHCPConfig

    func remarks(_ request: LeaseRequest) -> [Remark] { [] }
    func preview(_: LeaseRequest) -> Lease? { nil }

    func lease(_ request: LeaseRequest) throws(Failure) -> Lease {
        try DHCPSource.kept(DHCPRecord.self, request, in: config.directory)
    }

    func lost(_: LeaseRequest, isKept _: Bool) -> [IPAddress] { [] }

    func ask(_ request: LeaseRequest) throws(Failure) -> (any AddressQuery)? {
        try DHCPQuery(config, request)
    }

    func allocate(_ request: LeaseRequest) throws(Failure) -> Lease {
        try DHCPQuery(config, request).settled()
    }
}

extension LeaseRequest {
    func linkToAsk(_ config: DHCPConfig) throws(Failure) -> any LinkAccess {
        guard let link else {
            throw Failure(
                .badEnvironment, "dhcp: there is no link to ask over",
                details: "CNI_NETNS names the pod's namespace")
        }
        if config.requiresAgent, let problem = DHCPSource.noDaemon(at: config.socket) {
            throw Failure(
                .tryAgain, "dhcp: \(problem), and requireAgent is set", details: DHCPSource.noDaemonFix)
        }
        return link
    }
}

extension AddressQuery {
    /// The answer, however long it takes.
    func settled() throws(Failure) -> Lease {
        while true {
            if let lease = try step() { return lease }
            _ = readable(descriptors, until: wakeup)
        }
    }
}

/// A question to DHCP servers, of either family.
protocol LeaseQuery: AddressQuery {
    /// What another ADD of this attachment has had, of a plugin that is called by itself.
    var known: Lease? { get }
    /// Sends what is due and takes what has come.
    func advance() throws(Failure) -> Lease?
    /// What was granted is given back; nobody else knows of it.
    func giveUp()
}

extension LeaseQuery {
    func step() throws(Failure) -> Lease? {
        if let known { return known }
        do throws(Failure) { return try advance() } catch {
            giveUp()
            throw error
        }
    }

    func withdraw() {
        // The lease of another ADD is not ours to end.
        if known == nil { giveUp() }
    }
}
