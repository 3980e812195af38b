import Linux
import Netlink
import Networking
import Plans

/// The state is looked at after each notification of the kernel.
extension LiveRun {
    func run(_ step: WaitStep) throws(SystemError) {
        switch step {
        case .settle(let link): try settle(link)
        case .carrier(let link): try awaitCarrier(link)
        }
    }

    /// Until no IPv6 address of the link is tentative; one that a neighbour has is an error.
    private func settle(_ link: LinkName) throws(SystemError) {
        let index = try index(of: link)
        let problem = "settle \(link.name): it still has tentative addresses"
        try wait(link, milliseconds: 5000, problem) { socket throws(SystemError) in
            let addresses = try socket.addresses(index: index).filter { $0.cidr.family == .v6 }
            if let duplicate = addresses.first(where: \.isDuplicate) {
                throw SystemError(
                    operation: "settle \(link.name): IPv6 address \(duplicate.cidr) is in use (DADFAILED)",
                    code: .addressInUse)
            }
            return !addresses.contains(where: \.isTentative)
        } tolerating: { socket throws(SystemError) in
            // A link without carrier never settles.
            try socket.link(index: index)?.isOperational != true
        }
    }

    /// Until the link is operational, as a bridge port is when both ends of the pair are up.
    private func awaitCarrier(_ link: LinkName) throws(SystemError) {
        let problem = "bridge port in error state: \(link.name) did not come up in time"
        try wait(link, milliseconds: 2500, problem) { socket throws(SystemError) in
            try socket.link(named: link.name)?.isOperational == true
        } tolerating: { _ in
            false
        }
    }

    private func wait(
        _ link: LinkName, milliseconds: Int64, _ problem: String,
        _ isDone: (inout RouteSocket) throws(SystemError) -> Bool,
        tolerating: (inout RouteSocket) throws(SystemError) -> Bool
    ) throws(SystemError) {
        func look() throws(SystemError) -> Bool {
            try kernel.with(link.place) { socket throws(SystemError) in try isDone(&socket) }
        }
        if try look() { return }
        let deadline = monotonicMilliseconds() + milliseconds
        let monitor = try kernel.monitor(link.place)
        repeat {
            if try look() { return }
        } while monitor.wait(until: deadline)
        // What came with the deadline counts.
        if try look() { return }
        let isTolerated = try kernel.with(link.place) { socket throws(SystemError) in
            try tolerating(&socket)
        }
        guard isTolerated else { throw SystemError(refusing: problem) }
    }
}

extension Kernel {
    func monitor(_ place: Place) throws(SystemError) -> Monitor {
        try at(place) { () throws(SystemError) in try Monitor.open() }
    }
}

// MARK: Repair

extension Survey {
    func run(_ step: WaitStep) {
        if case .carrier(let link) = step, isMended(link.name) { follow(Step(step)) }
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: WaitStep, _ code: Errno?) -> Cause? {
        guard case .settle = step, code == .addressInUse else { return nil }
        return Cause(
            text: "another host on that network has it", fix: "give each pod an address of its own",
            key: "runtimeConfig.ips")
    }
}
