import CNI
import Linux
import Netlink
import Network
import Plans

/// Waits that end when their cause does: the state is looked at after each notification of the kernel.
extension Executor {
    /// Until no IPv6 address of the link is tentative; one that a neighbour has is an error.
    func settle(_ link: LinkName) throws(NetlinkError) {
        let index = try index(of: link)
        let problem = "settle \(link.name): it still has tentative addresses"
        try wait(link, milliseconds: 5000, problem) { socket throws(NetlinkError) in
            let addresses = try socket.addresses(index: index).filter { $0.cidr.family == .v6 }
            if let duplicate = addresses.first(where: \.isDuplicate) {
                throw NetlinkError(
                    operation: "settle \(link.name): IPv6 address \(duplicate.cidr) is in use (DADFAILED)",
                    code: addressInUse)
            }
            return !addresses.contains(where: \.isTentative)
        } tolerating: { socket throws(NetlinkError) in
            // A link without carrier never settles.
            try socket.link(index: index)?.isOperational != true
        }
    }

    /// Until the link is operational, as a bridge port is when both ends of the pair are up.
    func awaitCarrier(_ link: LinkName) throws(NetlinkError) {
        let problem = "bridge port in error state: \(link.name) did not come up in time"
        try wait(link, milliseconds: 2500, problem) { socket throws(NetlinkError) in
            try socket.link(named: link.name)?.isOperational == true
        } tolerating: { _ in
            false
        }
    }

    private func wait(
        _ link: LinkName, milliseconds: Int64, _ problem: String,
        _ isDone: (inout RouteSocket) throws(NetlinkError) -> Bool,
        tolerating: (inout RouteSocket) throws(NetlinkError) -> Bool
    ) throws(NetlinkError) {
        func look() throws(NetlinkError) -> Bool {
            try kernel.with(link.place) { socket throws(NetlinkError) in try isDone(&socket) }
        }
        if try look() { return }
        let deadline = monotonicMilliseconds() + milliseconds
        let monitor = try kernel.monitor(link.place)
        repeat {
            if try look() { return }
        } while monitor.wait(until: deadline)
        // What came with the deadline counts.
        if try look() { return }
        let isTolerated = try kernel.with(link.place) { socket throws(NetlinkError) in
            try tolerating(&socket)
        }
        guard isTolerated else { throw NetlinkError(operation: problem, code: 0) }
    }
}

extension Kernel {
    func monitor(_ place: Place) throws(NetlinkError) -> Monitor {
        do throws(SystemError) {
            return try at(place) { () throws(SystemError) in
                do throws(NetlinkError) { return try Monitor.open() } catch {
                    throw SystemError(operation: error.operation, code: error.code)
                }
            }
        } catch {
            throw NetlinkError(operation: error.operation, code: error.code)
        }
    }
}

extension Executor {
    /// The plan's result, with the MAC addresses that the kernel decided.
    func readBack(_ plan: Plan) throws(Failure) -> CNIResult {
        var result = plan.result
        for index in plan.readBack where result.interfaces.indices.contains(index) {
            let interface = result.interfaces[index]
            if interface.sandbox == nil, let mac = bridges[interface.name]?.mac {
                result.interfaces[index].mac = "\(mac)"
                continue
            }
            let place: Place = interface.sandbox == nil ? .host : .sandbox
            do throws(NetlinkError) {
                let link = try kernel.with(place) { socket throws(NetlinkError) in
                    try socket.link(named: interface.name)
                }
                result.interfaces[index].mac = link?.mac.map { "\($0)" }
            } catch {
                throw Failure(.generic, "\(error)")
            }
        }
        return result
    }
}
