import CNI
import Linux
import Netlink
import Network
import Plans

/// Why the kernel refuses a step, and what helps.
private struct Cause {
    var text: String
    var fix = ""
    var claim: Failure.Claim?
    /// As plugins find what a pod asks for: who asked is traced back by it.
    var key: String?
}

extension SysctlChange {
    /// Where a pod asks for one that the key sysctl names.
    fileprivate var argument: String { "args.cni.sysctl.\(path)" }
}

extension Executor {
    /// What leaves the process. The kernel's errno alone rarely says what is in the way: that is looked up here, after
    /// the refusal, so that what is granted costs nothing.
    func failure(of error: StepError) -> Failure {
        // What is asked of the kernel may be refused as well: then the errno has to do.
        let cause = (try? cause(of: error)) ?? nil
        var failure = Failure(
            .generic, [error.description, cause?.text].compactMap(\.self).joined(separator: ": "),
            details: cause?.fix ?? "")
        failure.claim = cause?.claim
        failure.key = cause?.key
        return failure.ending(with: error.command)
    }

    private func cause(of error: StepError) throws(NetlinkError) -> Cause? {
        if let cause = Self.refusedMTU(error) { return cause }
        return switch (error.step, error.code) {
        case (.addLink(let spec, _, let parent), _): try cause(spec, parent, error.code)
        case (.ensureBridge(let spec), notSupported) where !spec.vlanFiltering: Self.missing("bridge")
        case (.addVeth, notSupported): Self.missing("veth")
        case (.addVeth(let veth), exchangeFull):
            Cause(
                text: "the bridge \(veth.controller ?? "") has as many ports as the kernel takes",
                fix: "use a second bridge")
        case (.addVeth(let veth), alreadyExists):
            Cause(
                text: "the host has a link \(veth.peer), which is named after this container and interface",
                fix: "DEL the attachment, or ip link delete dev \(shellQuoted(veth.peer))")
        case (.ensureBridge, notSupported), (.setVLANs, notSupported), (.ensureVLANInterface, notSupported):
            Cause(
                text: "the kernel cannot keep VLANs apart on a bridge",
                fix: "it needs CONFIG_BRIDGE_VLAN_FILTERING; or leave vlan and vlanTrunk away")
        // Older kernels say busy, newer ones that the address is in use.
        case (.change(let link, .up(true), _), busy), (.change(let link, .up(true), _), addressInUse),
            (.change(let link, .mac, _), busy), (.change(let link, .mac, _), addressInUse):
            try addressCause(link, error.step)
        case (.change(let link, .mac, _), notSupported):
            Cause(
                text: "\(link.name) cannot have another MAC address than it has",
                fix: "an ipvlan has its master's; ask for none")
        case (.change(let link, .mtu, _), invalid), (.change(let link, .mtu, _), outOfRange):
            try mtuCause(link)
        case (.addAddress(let cidr, let link), _): try cause(cidr, link, error.code)
        case (.addRoute(let route, let link), networkUnreachable),
            (.addRoute(let route, let link), hostUnreachable),
            (.addRoute(let route, let link), invalid):
            if let problem = route.hostBitsProblem {
                Cause(text: problem, fix: "correct the key dst of the route")
            } else {
                try gatewayCause(route, link)
            }
        case (.addRoute(let route, let link), alreadyExists):
            Cause(
                text: "\(link.name) has a route to \(route.destination) already",
                fix: "it is given twice: remove one of them")
        case (.sysctl(let change), noSuchFile): try missingSetting(change)
        case (.sysctl(let change), invalid) where change.lifetime == .saved,
            (.sysctl(let change), outOfRange) where change.lifetime == .saved:
            Cause(
                text: "it is no value that this sysctl takes", fix: "correct the value in the key sysctl",
                key: change.argument)
        case (.sysctl(let change), accessDenied) where change.lifetime == .saved,
            (.sysctl(let change), notPermitted) where change.lifetime == .saved:
            Cause(
                text: "in a pod it cannot be written", fix: "remove it from the key sysctl: it is the node's",
                key: change.argument)
        case (.settle, addressInUse):
            Cause(
                text: "another host on that network has it", fix: "give each pod an address of its own",
                key: "runtimeConfig.ips")
        case (.change(_, .mac, _), noSuchAddress), (.addVeth, noSuchAddress): Self.impossibleMAC
        case (.masquerade(let rule), notSupported) where rule.backend == .nftables,
            (.masquerade(let rule), noSuchProtocol) where rule.backend == .nftables,
            (.masquerade(let rule), noSuchFile) where rule.backend == .nftables:
            Cause(
                text: "the kernel lacks nftables, or its masquerade",
                fix: "modprobe nft_masq (CONFIG_NFT_MASQ); or set ipMasqBackend to iptables")
        case (.spoofCheck, notSupported), (.spoofCheck, noSuchProtocol), (.spoofCheck, noSuchFamily),
            (.spoofCheck, noSuchFile):
            Cause(
                text: "the kernel lacks nftables for bridges",
                fix: "it needs CONFIG_NF_TABLES_BRIDGE; or leave macspoofchk away")
        case (.takeDevice(let device), invalid): try deviceCause(device)
        default: nil
        }
    }

    private static let impossibleMAC = Cause(
        text: "no link can have this MAC address",
        fix: "write six octets that are not all zero, the first one even, as in 02:00:00:00:00:01",
        key: "runtimeConfig.mac")

    private static func missing(_ module: String) -> Cause {
        Cause(
            text: "the kernel lacks \(module)",
            fix: "modprobe \(module), or use a kernel with CONFIG_\(module.uppercased())")
    }

    /// A link that was not made, so that it cannot be asked what it takes.
    private static func refusedMTU(_ error: StepError) -> Cause? {
        guard [invalid, outOfRange].contains(error.code) else { return nil }
        let mtu: UInt32? =
            switch error.step {
            case .ensureBridge(let spec): spec.mtu
            case .addVeth(let veth): veth.mtu
            case .addLink(let spec, _, _): spec.mtu
            default: nil
            }
        guard let mtu, !linkMTUs.contains(Int64(mtu)) else { return nil }
        return Cause(
            text: "a link takes an MTU of \(linkMTUs.lowerBound) to \(linkMTUs.upperBound)",
            fix: "correct the key mtu")
    }

    /// The link's directory is not there.
    private func missingSetting(_ change: SysctlChange) throws(NetlinkError) -> Cause? {
        let parts = change.path.parts(by: "/").map(String.init)
        guard parts.count == 5, parts[1] == "ipv6", parts[2] == "conf",
            let link = try found(LinkName(place: change.place, name: parts[3]))
        else { return nil }
        guard link.mtu >= 1280 else {
            return Cause(
                text: "IPv6 needs an MTU of 1280, and \(link.name) has \(link.mtu)",
                fix: "raise the MTU, or give \(link.name) no IPv6 address")
        }
        return Cause(text: "the kernel has no IPv6", fix: "give \(link.name) no IPv6 address")
    }

    private func found(_ link: LinkName) throws(NetlinkError) -> LinkInfo? {
        try kernel.with(link.place) { socket throws(NetlinkError) in try socket.link(named: link.name) }
    }

    private func found(_ index: Int32, _ place: Place) throws(NetlinkError) -> LinkInfo? {
        try kernel.with(place) { socket throws(NetlinkError) in try socket.link(index: index) }
    }

    // MARK: Links on a master

    private func cause(_ spec: LinkSpec, _ parent: LinkName?, _ code: CInt) throws(NetlinkError) -> Cause? {
        let kind = spec.kind.name
        if code == notSupported { return Self.missing(kind) }
        if code == noSuchAddress { return Self.impossibleMAC }
        guard [busy, invalid].contains(code), let parent, let master = try found(parent) else { return nil }
        let users = try users(of: master, parent.place)
        let one = "a link is a port, or carries macvlans, or ipvlans: one of them"
        if code == busy {
            if let index = master.controllerIndex, let owner = try found(index, parent.place) {
                guard owner.kind == "bridge" else {
                    return Cause(
                        text: "\(master.name) is part of the \(owner.kind ?? "link") \(owner.name)",
                        fix: "name another master, such as \(owner.name); \(one)")
                }
                return Cause(
                    text: "\(master.name) is a port of the bridge \(owner.name)",
                    fix: "name another master, or use the plugin bridge on \(owner.name); \(one)")
            }
            let others = users.filter { $0.kind != kind }
            if let other = others.first {
                return Cause(
                    text: "\(master.name) has the \(other.kind ?? "") \(other.name) on it",
                    fix: "name another master, or use \(other.kind ?? "") here too; \(one)")
            }
            let rival = kind == "macvlan" ? "ipvlan" : "macvlan"
            return Cause(
                text: "something else has the frames of \(master.name), such as \(rival) links of other pods",
                fix: "name another master, or use \(rival) here too; \(one)", claim: .master(master.name))
        }
        guard kind == "macvlan" else { return nil }
        guard let mac = master.mac, mac != .zero else {
            return Cause(
                text: "\(master.name) is no Ethernet link", fix: "name one that is in the key master")
        }
        if case .macvlan(.passthru, _) = spec.kind {
            let names = users.map(\.name).joined(separator: ", ")
            return Cause(
                text:
                    "in mode passthru \(master.name) carries a single macvlan, and has \(names.isEmpty ? "one" : names)",
                fix: "use another mode, or a master of its own", claim: .master(master.name))
        }
        return Cause(
            text: "\(master.name) may carry a macvlan in mode passthru, which wants it alone",
            fix: "use another master, or another mode for both", claim: .master(master.name))
    }

    /// The links on one of this namespace's; those of other namespaces cannot be seen.
    private func users(of master: LinkInfo, _ place: Place) throws(NetlinkError) -> [LinkInfo] {
        let kinds = ["macvlan", "macvtap", "ipvlan", "ipvtap"]
        return try kernel.with(place) { socket throws(NetlinkError) in
            try socket.links().filter {
                $0.parentIndex == master.index && $0.parentNamespaceID == nil && kinds.contains($0.kind ?? "")
            }
        }
    }

    /// A macvlan in the pod, and the link of the host that it sits on.
    private func masterOf(_ link: LinkInfo) throws(NetlinkError) -> LinkInfo? {
        guard ["macvlan", "ipvlan"].contains(link.kind), let index = link.parentIndex else { return nil }
        return try found(index, link.parentNamespaceID == nil ? .sandbox : .host)
    }

    private func addressCause(_ name: LinkName, _ step: Step) throws(NetlinkError) -> Cause? {
        guard let link = try found(name), let master = try masterOf(link) else { return nil }
        var wanted = link.mac
        if case .change(_, .mac(let mac), _) = step { wanted = mac }
        guard let mac = wanted else { return nil }
        let place: Place = link.parentNamespaceID == nil ? .sandbox : .host
        let rival =
            master.mac == mac ? master : try users(of: master, place).first { $0.mac == mac && $0 != link }
        return Cause(
            text: rival.map { "\($0.name) has the MAC address \(mac)" }
                ?? "another macvlan on \(master.name) has the MAC address \(mac)",
            fix: "ask for another one, or for none: it is then made up",
            claim: rival == nil ? .mac(mac) : nil, key: "runtimeConfig.mac")
    }

    private func mtuCause(_ name: LinkName) throws(NetlinkError) -> Cause? {
        guard let link = try found(name) else { return nil }
        if let master = try masterOf(link) {
            return Cause(
                text: "\(link.name) sits on \(master.name), whose MTU is \(master.mtu)",
                fix: "lower the MTU, or raise that of \(master.name)")
        }
        guard link.greatestMTU > 0 else { return nil }
        return Cause(
            text: "\(link.name) takes \(link.leastMTU) to \(link.greatestMTU)", fix: "correct the key mtu")
    }

    // MARK: Addresses, routes, devices

    private func cause(_ cidr: CIDR, _ name: LinkName, _ code: CInt) throws(NetlinkError) -> Cause? {
        switch code {
        case alreadyExists:
            return Cause(
                text: "\(name.name) has the address already", fix: "it is given twice: remove one of them",
                key: "runtimeConfig.ips")
        case addressInUse:
            let master = try found(name).flatMap { link throws(NetlinkError) in try masterOf(link) }
            let place = master.map { " on \($0.name)" } ?? ""
            return Cause(
                text: "another ipvlan\(place) has it", fix: "give each pod an address of its own",
                claim: .address(cidr.address), key: "runtimeConfig.ips")
        case accessDenied where cidr.family == .v6:
            return Cause(
                text: "IPv6 is switched off on \(name.name)",
                fix: "set net.ipv6.conf.\(name.name).disable_ipv6 to 0, or give it no IPv6 address")
        case notSupported where cidr.family == .v6, noSuchFamily where cidr.family == .v6:
            return Cause(text: "the kernel has no IPv6", fix: "give \(name.name) no IPv6 address")
        default: return nil
        }
    }

    private func gatewayCause(_ route: Route, _ name: LinkName) throws(NetlinkError) -> Cause? {
        guard let gateway = route.gateway, let link = try found(name) else { return nil }
        let addresses = try kernel.with(name.place) { socket throws(NetlinkError) in
            try socket.addresses(index: link.index).map(\.cidr).filter { $0.family == gateway.family }
        }
        if let own = addresses.first(where: { $0.contains(gateway) }) {
            guard own.family == .v4, [own.last, own.network.address].contains(gateway) else { return nil }
            return Cause(
                text: "the gateway is no host of \(own.network), whose first and last address are none's",
                fix: "write the address of a router")
        }
        let own = addresses.isEmpty ? "no address" : addresses.map { "\($0)" }.joined(separator: ", ")
        return Cause(
            text: "the gateway is in no subnet of \(name.name), which has \(own)",
            fix: "correct the gateway, or give \(name.name) an address in its subnet")
    }

    private func deviceCause(_ device: Device) throws(NetlinkError) -> Cause? {
        guard let kind = try found(.host(device.name))?.kind ?? (device.name == "lo" ? "loopback" : nil),
            ["loopback", "bridge", "bond", "team", "vrf"].contains(kind)
        else { return nil }
        return Cause(
            text: "\(device.name) is a \(kind), which the kernel lets leave no namespace",
            fix: "name another device, or attach to this one with bridge or macvlan")
    }
}
