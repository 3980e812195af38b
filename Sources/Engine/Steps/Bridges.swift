import CNI
import Linux
import Netlink
import Networking
import Plans

extension LiveRun {
    func run(_ step: BridgeStep) throws(SystemError) {
        switch step {
        case .ensure(let spec): try ensureBridge(spec)
        case .addPort(let port, let bridge):
            let (index, controller) = (try index(of: .host(port)), try index(of: .host(bridge)))
            try kernel.with(.host) { socket throws(SystemError) in
                try socket.change(index: index, .controller(controller))
            }
        case .setPort(let port, let settings):
            let index = try index(of: .host(port))
            try kernel.with(.host) { socket throws(SystemError) in try socket.setPort(index: index, settings)
            }
        case .setVLANs(let port, let vlans):
            let index = try index(of: .host(port))
            try kernel.with(.host) { socket throws(SystemError) in try socket.setVLANs(index: index, vlans) }
        case .ensureVLANInterface(let link): try ensureVLANInterface(link)
        case .keepVLANsApart(let bridge): try keepVLANsApart(bridge)
        }
    }

    private func ensureBridge(_ spec: BridgeSpec) throws(SystemError) {
        let name = LinkName.host(spec.name)
        // An earlier attachment of this run already ensured it, under a lock that is still held.
        if executor.bridges.contains(spec.name), kernel.links.index(of: name) != nil { return }
        if !executor.bridges.contains(spec.name) {
            executor.bridges[spec.name] = HeldBridge(
                lock: try BridgeLock(spec.name, in: kernel.number), spec: spec)
        }
        if kernel.links.look(spec.name) == nil {
            let found = try kernel.with(.host) { socket throws(SystemError) in
                try socket.link(named: spec.name)
            }
            kernel.links.note(found, ofHost: spec.name)
        }
        if let existing = kernel.links.look(spec.name)?.link {
            note(existing.index, of: name)
            let keepsApart = existing.settings == KindSettings(BridgeKind(vlanFiltering: true))
            if keepsApart { executor.bridges.update(spec.name) { $0.keepsVLANsApart = true } }
        } else {
            do throws(SystemError) {
                let made = try kernel.with(.host) { socket throws(SystemError) in
                    try socket.addUp(LinkSpec(spec.name, spec.kind, mtu: spec.mtu, mac: spec.mac))
                }
                note(made?.index, of: name)
                recordShared(spec.name, on: spec.name)
                executor.bridges.update(spec.name) {
                    $0.mac = spec.mac
                    $0.keepsVLANsApart = spec.kind.vlanFiltering
                }
            } catch  where error.code == .alreadyExists {
                // Another ADD made it meanwhile: it has the lock shared too.
            }
        }
        // No IPv6: no file.
        let change = spec.refusesRouters
        try? kernel.writeSysctl(SysctlName(change.place, change.path), change.value)
        // A new one is up from its first moment on.
        guard let existing = kernel.links.look(spec.name)?.link, !existing.isUp else { return }
        try on(name) { socket, index throws(SystemError) in try socket.change(index: index, .up(true)) }
    }

    /// Made once for a bridge and VLAN; what this run made goes again with an undo, if nobody else counts on it.
    private func ensureVLANInterface(_ link: VLANInterface) throws(SystemError) {
        let bridge = try index(of: .host(link.bridge))
        do throws(SystemError) {
            try kernel.with(.host) { socket throws(SystemError) in
                var port: LinkInfo?
                if let found = try socket.link(named: link.name) {
                    if !found.isUp { try socket.change(index: found.index, .up(true)) }
                    // It outlives its bridge, and is then a port of none.
                    port = try socket.otherEnd(of: found)
                } else {
                    try socket.addPair(name: link.name, peer: link.peer, mtu: link.mtu)
                    recordShared(link.name, on: link.bridge)
                    port = try socket.link(named: link.peer)
                }
                guard let port else { return }
                if port.controllerIndex != bridge {
                    try socket.change(index: port.index, .controller(bridge))
                    try socket.setVLANs(index: port.index, link.portVLANs)
                }
                if !port.isUp { try socket.change(index: port.index, .up(true)) }
            }
        } catch  where error.code == .alreadyExists {
            // Another ADD was faster.
        }
    }

    private func keepVLANsApart(_ bridge: String) throws(SystemError) {
        let index = try index(of: .host(bridge))
        try kernel.with(.host) { socket throws(SystemError) in try socket.keepVLANsApart(index: index) }
    }

    private func recordShared(_ link: String, on bridge: String) {
        guard let lock = executor.bridges[bridge]?.lock else { return }
        journal.record(.shared(BridgePart(link: link, lock: lock)))
    }

    /// Makes a bridge anew that another ADD's undo deleted before we held its lock; false when it is there.
    func restoreBridge(_ name: String?) throws(SystemError) -> Bool {
        guard let name, let spec = executor.bridges[name]?.spec else { return false }
        let isThere = try kernel.with(.host) { socket throws(SystemError) in
            try socket.link(named: name) != nil
        }
        if isThere { return false }
        note(nil, of: .host(name))
        kernel.links.note(nil, ofHost: name)
        try ensureBridge(spec)
        return true
    }
}

extension RouteSocket {
    /// The other end of a veth pair, when both are in this namespace.
    fileprivate mutating func otherEnd(of link: LinkInfo) throws(SystemError) -> LinkInfo? {
        guard link.kind == "veth", link.parentNamespaceID == nil, let peer = link.parentIndex else {
            return nil
        }
        return try self.link(index: peer)
    }
}

/// A bridge that this run created, or a VLAN's interface on one.
private struct BridgePart: SharedObject {
    let link: String
    let lock: BridgeLock

    /// Deletes it unless another ADD holds the bridge's lock, or it has ports.
    func removeUnused(by executor: Executor) throws(SystemError) {
        guard lock.isAlone() else { return }
        try executor.kernel.with(.host) { socket throws(SystemError) in
            guard let found = try socket.link(named: link) else { return }
            guard try !socket.links().contains(where: { $0.controllerIndex == found.index }) else { return }
            try socket.delete(index: found.index)
        }
    }
}

// MARK: Repair

extension Survey {
    func run(_ step: BridgeStep) throws(SystemError) {
        switch step {
        case .ensure(let spec):
            let found = try hostLink(spec.name)
            if found?.isUp != true {
                note("bridge \(spec.name)\(found == nil ? "" : ", which is down")", Step(step))
            }
            // One that never did is somebody else's, who may not want it.
            let mixes = found?.settings == KindSettings(BridgeKind(vlanFiltering: false))
            if mixes, spec.kind.vlanFiltering, attached.vlanBridges.contains(spec.name) {
                note("VLAN filtering of \(spec.name)", .keepVLANsApart(spec.name))
            }
        case .addPort(let port, let bridge):
            if try !isPort(hostLink(port), of: bridge) { note("port \(port) of \(bridge)", Step(step)) }
        case .setPort(let port, let settings):
            if isMended(port) { return follow(Step(step)) }
            guard let found = try hostLink(port)?.port else { return }
            let wanted = [
                ("hairpin", settings.hairpin, found.hairpin),
                ("isolation", settings.isolated, found.isolated),
            ]
            let lost = wanted.filter { $0.1 != nil && $0.1 != $0.2 }.map(\.0)
            if !lost.isEmpty { note("\(lost.joined(separator: " and ")) of \(port)", Step(step)) }
        case .setVLANs(let port, let vlans):
            if isMended(port) { return follow(Step(step)) }
            if let found = try hostLink(port) { try compare(vlans, with: found) }
        case .ensureVLANInterface(let link):
            guard let found = try hostLink(link.name), found.isUp else {
                return note("link \(link.name)", Step(step))
            }
            let port = try kernel.with(.host) { socket throws(SystemError) in try socket.otherEnd(of: found) }
            guard let port else {
                // One that an operator made on the bridge serves as well.
                if found.kind == "vlan" { return }
                throw SystemError(
                    refusing:
                        "use \(link.name) for the gateway's address: it is no end of a pair whose other end could be a"
                        + " port of \(link.bridge)")
            }
            guard port.isUp, try isPort(port, of: link.bridge) else {
                return note("port \(port.name) of \(link.bridge)", Step(step))
            }
            try compare(link.portVLANs, with: port)
        case .keepVLANsApart: break
        }
    }

    private func isPort(_ link: LinkInfo?, of bridge: String) throws(SystemError) -> Bool {
        guard let link, let controller = try hostLink(bridge) else { return false }
        return link.controllerIndex == controller.index
    }

    /// Those that somebody added stay.
    private func compare(_ wanted: PortVLANs, with port: LinkInfo) throws(SystemError) {
        let found = try kernel.with(.host) { socket throws(SystemError) in
            try socket.vlans(index: port.index)
        }
        guard let missing = wanted.missing(from: found) else { return }
        note("VLANs \(missing.words) of \(port.name)", .setVLANs(port.name, missing.step))
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: BridgeStep, _ code: Errno?) -> Cause? {
        switch step {
        case .setPort, .addPort: return nil
        case .ensure, .setVLANs, .ensureVLANInterface, .keepVLANsApart: break
        }
        if case .ensure(let spec) = step {
            if let cause = Cause.obstacle(to: BridgeLock.path(spec.name, in: kernel.number)) { return cause }
            if let cause = Cause.mtu(spec.mtu, code) { return cause }
            if code == .notSupported, !spec.kind.vlanFiltering { return .missing(BridgeKind.name) }
        }
        guard code == .notSupported else { return nil }
        return Cause(
            text: "the kernel cannot keep VLANs apart on a bridge",
            fix: "it needs CONFIG_BRIDGE_VLAN_FILTERING; or leave vlan and vlanTrunk away")
    }
}
