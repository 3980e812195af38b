import CNI
import Linux
import Networking
import Plans

/// Of an attachment that has its addresses.
extension HostLocal {
    static func lease(
        _ config: HostLocalConfig, _ request: LeaseRequest
    ) throws(Failure) -> Lease {
        var lease = Lease(routes: config.routes, dns: config.dns)
        for (index, set) in config.sets.enumerated() {
            guard let address = request.given.first(where: { set.range(of: $0) != nil }),
                let range = set.range(of: address)
            else {
                throw Failure(
                    .generic, "host-local: the attachment has no address of range \(index), \(set.text)",
                    details: "it has \(request.given.map { "\($0)" }.joined(separator: ", "))")
            }
            lease.ips.append(.init(address: CIDR(address, range.subnet.length), gateway: range.gateway))
        }
        return lease
    }

    static func lost(
        _ config: HostLocalConfig, _ request: LeaseRequest, isKept: Bool
    ) throws(Failure) -> [IPAddress] {
        // Without its directory it has lost all.
        var lost = request.given
        var rival: Failure?
        try withStore(config.directory, create: isKept) { store throws(SystemError) in
            let lock = try store.lock()
            defer { extendLifetime(lock) }
            let own = try store.entries(of: request.id, at: request.given).map(\.address)
            lost = request.given.filter { !own.contains($0) }
            for address in lost {
                if isKept ? try store.reserve(address, request.id) : store.isFree(address) { continue }
                rival = Failure(
                    .generic,
                    "host-local: \(address) is container \(store.owner(of: address) ?? "nobody")'s by now",
                    details: "two pods have it: delete one of them; who has which is in \(config.directory)")
            }
        }
        if let rival { throw rival }
        return lost
    }
}
