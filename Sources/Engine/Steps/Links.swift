import CNI
import Linux
import Netlink
import Networking
import Plans

extension LiveRun {
    func run(_ step: LinkStep) throws(SystemError) {
        switch step {
        case .add(let spec, let place, let parent): try addLink(spec, place, parent)
        case .addVeth(let veth): try addVeth(veth)
        case .delete(let link): try deleteLink(link)
        case .change(let link, let change, let inverse):
            // SETLINK is not atomic: recorded before it is sent.
            if let inverse { journal.record(.step(.change(link, inverse))) }
            try self.change(link, change)
        }
    }

    private func addLink(
        _ spec: LinkSpec, _ place: Place, _ parent: LinkName?
    ) throws(SystemError) {
        let name = LinkName(place: place, name: spec.name)
        var parentIndex: Int32?
        if let parent { parentIndex = try index(of: parent) }
        if place == .sandbox, let parentIndex, parent?.place == .host {
            try addInSandbox(spec, parentIndex)
        } else {
            try kernel.with(place) { socket throws(SystemError) in try socket.add(spec, parent: parentIndex)
            }
        }
        journal.record(.step(.deleteLink(name)))
        journal.recordCreation(of: name)
    }

    /// Kernels up to 6.1 refuse a name that the host has, though the link is the pod's: then the link is made under
    /// another one and renamed.
    private func addInSandbox(_ spec: LinkSpec, _ parent: Int32) throws(SystemError) {
        do throws(SystemError) { return try kernel.addInSandbox(spec, parent: parent) } catch {
            guard error.code == .alreadyExists, let temporary = spec.temporaryName else { throw error }
            let isTaken = try kernel.with(.sandbox) { socket throws(SystemError) in
                try socket.link(named: spec.name) != nil
            }
            if isTaken { throw error }
            var other = spec
            other.name = temporary
            do throws(SystemError) { try kernel.addInSandbox(other, parent: parent) } catch {
                throw error.renamed("add \(spec.kind.name) \(spec.name)")
            }
            try kernel.with(.sandbox) { socket throws(SystemError) in
                guard let made = try socket.link(named: temporary) else { throw error }
                do throws(SystemError) { try socket.change(index: made.index, .name(spec.name)) } catch {
                    try? socket.delete(index: made.index)  // the first error says why
                    throw error
                }
            }
        }
    }

    /// A peer whose sandbox died lives on for some 30 ms: its name is free once it is deleted.
    private func addVeth(_ veth: VethSpec) throws(SystemError) {
        let made: LinkInfo?
        do throws(SystemError) {
            made = try kernel.add(veth, controller: controllerIndex(veth))
        } catch {
            let mayRepeat =
                error.code == .alreadyExists
                ? try removeOrphan(veth.peer) : try restoreBridge(veth.controller)
            guard mayRepeat else { throw error }
            made = try kernel.add(veth, controller: controllerIndex(veth))
        }
        note(made?.index, of: .host(veth.peer))
        note(made?.parentIndex, of: .sandbox(veth.name))
        journal.record(.step(.deleteLink(.sandbox(veth.name))))
        journal.recordCreation(of: .sandbox(veth.name), .host(veth.peer))
    }

    private func controllerIndex(_ veth: VethSpec) throws(SystemError) -> Int32? {
        guard let bridge = veth.controller else { return nil }
        return try index(of: .host(bridge))
    }

    /// Deletes a veth end in the host if the namespace of its peer is gone; false when it is somebody's.
    private func removeOrphan(_ name: String) throws(SystemError) -> Bool {
        try kernel.with(.host) { socket throws(SystemError) in
            guard let link = try socket.link(named: name) else { return true }
            guard link.kind == "veth", let namespace = link.parentNamespaceID,
                try !socket.isAlive(namespace: namespace)
            else { return false }
            try socket.delete(index: link.index)
            return true
        }
    }

    private func deleteLink(_ link: LinkName) throws(SystemError) {
        note(nil, of: link)
        try kernel.with(link.place) { socket throws(SystemError) in
            guard let found = try socket.link(named: link.name) else { return }
            try socket.delete(index: found.index)
        }
    }

    private func change(
        _ link: LinkName, _ change: LinkChange
    ) throws(SystemError) {
        // A macvlan has the address that it had before, in a namespace that may still be dying: for some 30 ms.
        for _ in 0..<20 {
            do throws(SystemError) {
                return try on(link) { socket, index throws(SystemError) in
                    try socket.change(index: index, change)
                }
            } catch  where error.code == .addressInUse && change == .up(true) {
                pause(milliseconds: 10)
            }
        }
        try on(link) { socket, index throws(SystemError) in try socket.change(index: index, change) }
    }
}

// MARK: Repair

extension Survey {
    func run(_ step: LinkStep) throws(SystemError) {
        switch step {
        case .addVeth(let veth):
            guard hasLink, let bridge = veth.controller else { return }
            guard let port = try hostLink(veth.peer) else { return try refuseRenamed(veth) }
            try run(BridgeStep.addPort(veth.peer, bridge: bridge))
            if !port.isUp {
                note("port \(veth.peer), which is down", .change(.host(veth.peer), .up(true)))
            }
        // Asked of a bridge alone, and only when it is not.
        case .change(let link, .promiscuous(true), _) where link.place == .host && !isMended(link.name):
            note("promiscuous mode of \(link.name)", Step(step))
        case .change(let link, _, _): if link.place == .host, isMended(link.name) { follow(Step(step)) }
        case .add, .delete: break
        }
    }

    /// The pod's end is there, and so is the host's, which has another name now: rules and settings go by the old one.
    private func refuseRenamed(_ veth: VethSpec) throws(SystemError) {
        let peer = try kernel.link(.sandbox(veth.name))?.info.parentIndex
        let link = try peer.flatMap { index throws(SystemError) in
            try kernel.with(.host) { socket throws(SystemError) in try socket.link(index: index) }
        }
        let fix =
            link.map { "ip link set dev \(shellQuoted($0.name)) down name \(veth.peer) up" }
            ?? "somebody has moved it to another namespace"
        throw SystemError(
            refusing: "find \(veth.peer), the host's end of \(veth.name): it is called"
                + " \(link.map { visible($0.name) } ?? "nobody knows how"): \(fix)")
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: LinkStep, _ code: Errno?) throws(SystemError) -> Cause? {
        switch (step, code) {
        case (.add(let spec, _, let parent), _):
            if let cause = Cause.mtu(spec.mtu, code) { cause } else { try cause(spec, parent, code) }
        case (.addVeth, .notSupported?): .missing("veth")
        case (.addVeth(let veth), .exchangeFull?):
            Cause(
                text: "the bridge \(veth.controller ?? "") has as many ports as the kernel takes",
                fix: "use a second bridge")
        case (.addVeth(let veth), .alreadyExists?):
            Cause(
                text: "the host has a link \(veth.peer), which is named after this container and interface",
                fix: "DEL the attachment, or ip link delete dev \(shellQuoted(veth.peer))")
        case (.addVeth, .noSuchAddress?), (.change(_, .mac, _), .noSuchAddress?): Self.impossibleMAC
        case (.addVeth(let veth), _): .mtu(veth.mtu, code)
        // Older kernels say busy, newer ones that the address is in use.
        case (.change(let link, .up(true), _), .busy?), (.change(let link, .up(true), _), .addressInUse?):
            try addressCause(link, nil)
        case (.change(let link, .mac(let mac), _), .busy?),
            (.change(let link, .mac(let mac), _), .addressInUse?):
            try addressCause(link, mac)
        case (.change(let link, .mac, _), .notSupported?):
            Cause(
                text: "\(link.name) cannot have another MAC address than it has",
                fix: "an ipvlan has its master's; ask for none")
        case (.change(let link, .mtu, _), .invalid?), (.change(let link, .mtu, _), .outOfRange?):
            try mtuCause(link)
        case (.change, _), (.delete, _): nil
        }
    }

    private static let impossibleMAC = Cause(
        text: "no link can have this MAC address",
        fix: "write six octets that are not all zero, the first one even, as in 02:00:00:00:00:01",
        key: "runtimeConfig.mac")

    private func cause(_ spec: LinkSpec, _ parent: LinkName?, _ code: Errno?) throws(SystemError) -> Cause? {
        let kind = spec.kind.name
        if code == .notSupported { return Cause.missing(kind) }
        if code == .noSuchAddress { return Self.impossibleMAC }
        guard code == .busy || code == .invalid, let parent, let master = try found(parent) else {
            return nil
        }
        let users = try users(of: master, parent.place)
        let one = "a link is a port, or carries macvlans, or ipvlans: one of them"
        if code == .busy {
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
            let rival = kind == MacvlanKind.name ? IpvlanKind.name : MacvlanKind.name
            return Cause(
                text: "something else has the frames of \(master.name), such as \(rival) links of other pods",
                fix: "name another master, or use \(rival) here too; \(one)", claim: .master(master.name))
        }
        guard kind == MacvlanKind.name else { return nil }
        guard let mac = master.mac, mac != .zero else {
            return Cause(
                text: "\(master.name) is no Ethernet link", fix: "name one that is in the key master")
        }
        if (spec.kind as? MacvlanKind)?.mode == .passthru {
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
    private func users(of master: LinkInfo, _ place: Place) throws(SystemError) -> [LinkInfo] {
        let kinds = ["macvlan", "macvtap", "ipvlan", "ipvtap"]
        return try kernel.with(place) { socket throws(SystemError) in
            try socket.links().filter {
                $0.parentIndex == master.index && $0.parentNamespaceID == nil && kinds.contains($0.kind ?? "")
            }
        }
    }

    /// What a macvlan or ipvlan of the pod sits on.
    func masterOf(_ link: LinkInfo) throws(SystemError) -> LinkInfo? {
        guard [MacvlanKind.name, IpvlanKind.name].contains(link.kind), let index = link.parentIndex else {
            return nil
        }
        return try found(index, link.parentNamespaceID == nil ? .sandbox : .host)
    }

    /// - Parameter wanted: nil for the address that the link has.
    private func addressCause(_ name: LinkName, _ wanted: MAC?) throws(SystemError) -> Cause? {
        guard let link = try found(name), let master = try masterOf(link) else { return nil }
        guard let mac = wanted ?? link.mac else { return nil }
        let place: Place = link.parentNamespaceID == nil ? .sandbox : .host
        let rival =
            master.mac == mac ? master : try users(of: master, place).first { $0.mac == mac && $0 != link }
        return Cause(
            text: rival.map { "\($0.name) has the MAC address \(mac)" }
                ?? "another macvlan on \(master.name) has the MAC address \(mac)",
            fix: "ask for another one, or for none: it is then made up",
            claim: rival == nil ? .mac(mac) : nil, key: "runtimeConfig.mac")
    }

    private func mtuCause(_ name: LinkName) throws(SystemError) -> Cause? {
        guard let link = try found(name) else { return nil }
        if let master = try masterOf(link) {
            return Cause(
                text: "\(link.name) sits on \(master.name), whose MTU is \(master.mtu)",
                fix: "lower the MTU, or raise that of \(master.name)", key: "args.cni.mtu")
        }
        guard link.greatestMTU > 0 else { return nil }
        return Cause(
            text: "\(link.name) takes \(link.leastMTU) to \(link.greatestMTU)", fix: "correct the key mtu",
            key: "args.cni.mtu")
    }
}
