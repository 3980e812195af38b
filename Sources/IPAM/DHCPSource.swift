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
struct DHCPRequest: AddressConfig {
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

    func ask(_ request: LeaseRequest) throws(Failure) -> (any AddressQuery)? {
        try DHCPQuery(config, request)
    }

    func allocate(_ request: LeaseRequest) throws(Failure) -> Lease {
        let query = try DHCPQuery(config, request)
        while true {
            if let lease = try query.step() { return lease }
            _ = readable(query.descriptors, until: query.wakeup)
        }
    }
}
