import CNI
import Linux
import Netlink
import Networking
import Plans

extension LiveRun {
    func run(_ step: AddressStep) throws(SystemError) {
        switch step {
        case .add(let cidr, let link, let lifetime, let nodad):
            try on(link) { socket, index throws(SystemError) in
                try socket.add(cidr, index: index, nodad: nodad, lifetime: lifetime)
            }
            journal.record(.removeAddress(cidr, link), on: link)
        case .remove(let cidr, let link):
            try on(link) { socket, index throws(SystemError) in try socket.remove(cidr, index: index) }
            journal.record(.addAddress(cidr, link), on: link)
        case .ensure(let cidr, let link, let nodad):
            do throws(SystemError) {
                try on(link) { socket, index throws(SystemError) in
                    try socket.add(cidr, index: index, nodad: nodad)
                }
            } catch  where error.code == .alreadyExists {}
        }
    }
}

// MARK: Repair

extension Survey {
    func run(_ step: AddressStep) throws(SystemError) {
        switch step {
        case .ensure(let cidr, let link, _):
            if let found = try hostLink(link.name) {
                let addresses = try kernel.with(.host) { socket throws(SystemError) in
                    try socket.addresses(index: found.index)
                }
                if addresses.contains(where: { $0.cidr == cidr }) { return }
            }
            note("address \(cidr) of \(link.name)", Step(step))
        case .remove(_, let link): if link.place == .host { follow(Step(step)) }
        case .add: break
        }
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: AddressStep, _ code: Errno?) throws(SystemError) -> Cause? {
        guard case .add(let cidr, let name, _, _) = step else { return nil }
        switch code {
        case .alreadyExists?:
            return Cause(
                text: "\(name.name) has the address already", fix: "it is given twice: remove one of them",
                key: "runtimeConfig.ips")
        case .addressInUse?:
            let master = try found(name).flatMap { link throws(SystemError) in try masterOf(link) }
            let place = master.map { " on \($0.name)" } ?? ""
            return Cause(
                text: "another ipvlan\(place) has it", fix: "give each pod an address of its own",
                claim: .address(cidr.address), key: "runtimeConfig.ips")
        case .accessDenied? where cidr.family == .v6:
            return Cause(
                text: "IPv6 is switched off on \(name.name)",
                fix: "set net.ipv6.conf.\(name.name).disable_ipv6 to 0, or give it no IPv6 address")
        case .notSupported? where cidr.family == .v6, .noSuchFamily? where cidr.family == .v6:
            return Cause(text: "the kernel has no IPv6", fix: "give \(name.name) no IPv6 address")
        default: return nil
        }
    }
}
