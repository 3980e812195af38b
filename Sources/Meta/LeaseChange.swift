import CNI
package import IPAM
package import Linux
import Networking
package import Plans
import Records

/// A lease whose address or routes are others than ADD's: the pod's record and its network-status are to say so.
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
    package func publish(in directories: [String], _ log: Log) {
        for directory in directories.isEmpty ? [lease.head.state] : directories
        where fileExists("\(directory)/attachments") {
            do throws(Failure) { try publish(in: directory, log) } catch {
                log.error(
                    "container \(lease.head.id.containerID): its record has the old address: \(error.logged)")
            }
        }
    }

    private func publish(in directory: String, _ log: Log) throws(Failure) {
        guard let granted = lease.lease() else { return }
        let store = try RecordStore.open(directory)
        for id in try store.all() where id.containerID == lease.head.id.containerID {
            let lock = try store.lock(id)
            defer { extendLifetime(lock) }
            guard var record = try store.read(id, log),
                let index = record.entries.firstIndex(where: { $0.spec.id == lease.head.id }),
                var result = record.entries[index].attached?.result
            else { continue }
            result.take(granted, insteadOf: old)
            record.entries[index].attached?.result = result
            record.entries[index].attached?.given = result.ips.map(\.address.address)
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
    /// Another lease's addresses and routes in the place of the old ones. Those of the other family stay, as do addresses by
    /// router advertisements, which alone have a network in IPv6, and routes that plugins added.
    fileprivate mutating func take(_ lease: Lease, insteadOf old: Lease?) {
        let interface = ips.first?.interface
        let isStale = { (ip: IP) in
            lease.ips.contains {
                $0.address.family == ip.address.family
                    && (ip.address.family == .v4 || ip.address.length == 128)
            }
        }
        let place = ips.firstIndex(where: isStale) ?? ips.endIndex
        let before = ips[..<place].filter { !isStale($0) }
        let behind = ips[place...].filter { !isStale($0) }
        let new = lease.ips.map { ip in
            var ip = ip
            ip.interface = interface
            return ip
        }
        ips = before + new + behind
        let stale = (old?.routes ?? []) + lease.routes
        routes = lease.routes + routes.filter { !stale.contains($0) }
    }
}
