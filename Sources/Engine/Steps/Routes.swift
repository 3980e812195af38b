import Linux
import Netlink
import Networking
import Plans

extension LiveRun {
    func run(_ step: RouteStep) throws(SystemError) {
        switch step {
        case .add(let route, let link):
            try on(link) { socket, index throws(SystemError) in try socket.add(route, index: index) }
            journal.record(Step(RouteStep.remove(route, link)), on: link)
        case .remove(let route, let link):
            try on(link) { socket, index throws(SystemError) in try socket.remove(route, index: index) }
            journal.record(.addRoute(route, link), on: link)
        case .removeFound(let found):
            do throws(SystemError) {
                try kernel.with(.sandbox) { socket throws(SystemError) in
                    try socket.remove(original: found.original, found.route.destination)
                }
                journal.record(Step(RouteStep.restoreFound(found)), on: .sandbox(found.link))
            } catch  where error.code == .noSuchProcess {
                // One of the next hops of a route that went whole.
            }
        case .restoreFound(let found):
            try kernel.with(.sandbox) { socket throws(SystemError) in
                try socket.restore(original: found.original, found.route.destination)
            }
        }
    }
}

// MARK: Repair

extension Survey {
    func run(_: RouteStep) {}
}

// MARK: Causes

extension Executor {
    /// Where a pod asks for a route.
    private static let asked = "args.cni.addroutes"

    func cause(of step: RouteStep, _ code: Errno?) throws(SystemError) -> Cause? {
        guard case .add(let route, let link) = step else { return nil }
        switch code {
        case .networkUnreachable?, .hostUnreachable?, .invalid?:
            if let problem = route.hostBitsProblem {
                return Cause(text: problem, fix: "correct the key dst of the route", key: Self.asked)
            }
            return try gatewayCause(route, link)
        case .alreadyExists?:
            return Cause(
                text: "\(link.name) has a route to \(route.destination) already",
                fix: "it is given twice: remove one of them", key: Self.asked)
        default: return nil
        }
    }

    private func gatewayCause(_ route: Route, _ name: LinkName) throws(SystemError) -> Cause? {
        guard let gateway = route.gateway, let link = try found(name) else { return nil }
        let addresses = try kernel.with(name.place) { socket throws(SystemError) in
            try socket.addresses(index: link.index).map(\.cidr).filter { $0.family == gateway.family }
        }
        if let own = addresses.first(where: { $0.contains(gateway) }) {
            guard own.family == .v4, [own.last, own.network.address].contains(gateway) else { return nil }
            return Cause(
                text: "the gateway is no host of \(own.network), whose first and last address are none's",
                fix: "write the address of a router", key: Self.asked)
        }
        let own = addresses.isEmpty ? "no address" : addresses.map { "\($0)" }.joined(separator: ", ")
        return Cause(
            text: "the gateway is in no subnet of \(name.name), which has \(own)",
            fix: "correct the gateway, or give \(name.name) an address in its subnet",
            key: Self.asked)
    }
}
