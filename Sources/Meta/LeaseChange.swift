import CNI
package import IPAM
package import Linux
package import Networking
package import Plans
import Records

/// A lease that is another one than before, or is there again: the pod's record and its network-status are to say so.
package struct LeaseChange {
    private let lease: any LeaseRecord
    private let old: Lease?

    /// - Parameter old: what it gave before; nil when nobody knows.
    package init(_ lease: any LeaseRecord, insteadOf old: Lease?) {
        self.lease = lease
        self.old = old
    }

    /// - Parameter directories: where the pods' records are; without any where the ADD had its own. Under a plugin's own name
    ///   there is nothing to be told.
    /// - Returns: the routes that the link is to have: the lease's, but for those that a plugin behind took away, and those
    ///   that plugins added, which the kernel has removed with the address.
    package func publish(in directories: [String], _ log: Log) -> [Route] {
        guard let granted = lease.lease() else { return [] }
        var routes = granted.routes
        for directory in directories.isEmpty ? [lease.head.state] : directories
        where fileExists("\(directory)/attachments") {
            do throws(Failure) { try publish(granted, in: directory, &routes, log) } catch {
                log.error(
                    "container \(lease.head.id.containerID): its record has the old address: \(error.logged)")
            }
        }
        return routes
    }

    private func publish(
        _ granted: Lease, in directory: String, _ routes: inout [Route], _ log: Log
    ) throws(Failure) {
        let store = try RecordStore.open(directory)
        for id in try store.all() where id.containerID == lease.head.id.containerID {
            let lock = try store.lock(id)
            defer { extendLifetime(lock) }
            guard var record = try store.read(id, log),
                let index = record.entries.firstIndex(where: { $0.spec.id == lease.head.id }),
                var result = record.entries[index].attached?.result
            else { continue }
            result.take(granted, insteadOf: old)
            routes = result.routes
            record.entries[index].attached?.result = result
            let family = granted.ips.first?.address.family
            let given = (record.entries[index].attached?.given ?? []).filter { $0.family == family }
            let before = family == .v6 ? given : old?.ips.map(\.address.address) ?? given
            record.entries[index].attached?.given?.removeAll { before.contains($0) }
            record.entries[index].attached?.given?.insert(
                contentsOf: granted.ips.map(\.address.address), at: 0)
            if record.pod != nil { record.status = NetworkStatus.text(of: record) }
            try store.write(record)
            guard let pod = record.pod, let text = record.status else { continue }
            do throws(SystemError) { try StatusFiles(cniDir: directory).write(text, of: pod) } catch {
                throw Failure(.io, "\(error)")
            }
        }
    }
}

extension CNIResult {
    /// Another lease's addresses, routes and DNS in the place of the old ones. Those of the other family stay, as do addresses by
    /// router advertisements, which alone have a network in IPv6, and routes that plugins added; those that they took away do
    /// not come back, nor does a default route.
    fileprivate mutating func take(_ lease: Lease, insteadOf old: Lease?) {
        let interface = ips.first?.interface
        let isStale = { (ip: IP) in
            guard ip.address.family == .v4 else {
                // One that was granted between, and declined, is not the old one.
                return ip.address.length == 128 && lease.ips.contains { $0.address.family == .v6 }
            }
            guard let old else { return lease.ips.contains { $0.address.family == .v4 } }
            return old.ips.contains { $0.address == ip.address }
        }
        let place = ips.firstIndex(where: isStale) ?? ips.endIndex
        let head = ips[..<place].filter { !isStale($0) }
        let behind = ips[place...].filter { !isStale($0) }
        let new = lease.ips.map { ip in
            var ip = ip
            ip.interface = interface
            return ip
        }
        ips = head + new + behind
        let before = old?.routes ?? []
        let gone = before.filter { !routes.contains($0) }
        let hasLostDefault = gone.contains(where: \.isDefault)
        let stale = before + lease.routes
        routes =
            lease.routes.filter { !gone.contains($0) && !($0.isDefault && hasLostDefault) }
            + routes.filter { !stale.contains($0) }
        // A plugin's own `dns` goes before the server's.
        if dns == old?.dns ?? DNS() { dns = lease.dns }
    }
}
