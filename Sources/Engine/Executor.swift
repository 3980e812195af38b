import CNI
import Linux
import Netlink
import Network
package import Plans

/// Runs steps in order and records the inverse of each.
package final class Executor {
    let kernel: Kernel
    private var indexes: SmallMap<LinkName, Int32> = [:]
    var bridges: SmallMap<String, HeldBridge> = [:]

    package init(_ kernel: Kernel) { self.kernel = kernel }

    /// Runs `steps`; the first that is refused ends it, with everything done so far in the journal.
    package func run(_ steps: [Step], _ journal: inout Journal) throws(StepError) {
        var rest = steps[...]
        while let step = rest.first {
            let settings = rest.prefix { $0.isSandboxSetting }
            if settings.count > 1 {
                try runInside(settings, &journal)
                rest = rest.dropFirst(settings.count)
            } else {
                try run(step, &journal)
                rest = rest.dropFirst()
            }
        }
    }

    /// Sysctls of the pod that follow one another share one visit to its namespace.
    private func runInside(_ settings: ArraySlice<Step>, _ journal: inout Journal) throws(StepError) {
        var refused: StepError?
        do throws(SystemError) {
            try kernel.inside { () throws(SystemError) in
                for step in settings {
                    do throws(StepError) { try run(step, &journal) } catch {
                        refused = error
                        return
                    }
                }
            }
        } catch {
            throw StepError(
                step: settings.first ?? .settle(.sandbox("")), code: error.code, description: "\(error)")
        }
        if let refused { throw refused }
    }

    private func run(_ step: Step, _ journal: inout Journal) throws(StepError) {
        do throws(NetlinkError) {
            try apply(step, &journal)
        } catch {
            if error.isUnanswered, let inverse = step.inverseOfCreation { journal.record(.step(inverse)) }
            throw StepError(step: step, code: error.code, description: "\(error)")
        }
    }

    private func apply(_ step: Step, _ journal: inout Journal) throws(NetlinkError) {
        switch step {
        case .ensureBridge(let spec): try ensureBridge(spec, &journal)
        case .addLink(let spec, let place, let parent): try addLink(spec, place, parent, &journal)
        case .addVeth(let veth): try addVeth(veth, &journal)
        case .deleteLink(let link): try deleteLink(link)
        case .change(let link, let change, let inverse):
            // SETLINK is not atomic: recorded before it is sent.
            if let inverse { journal.record(.step(.change(link, inverse))) }
            try self.change(link, change)
        case .setPort(let name, let settings):
            let index = try index(of: .host(name))
            try kernel.with(.host) { socket throws(NetlinkError) in try socket.setPort(index: index, settings)
            }
        case .setVLANs(let name, let vlans):
            let index = try index(of: .host(name))
            try kernel.with(.host) { socket throws(NetlinkError) in try socket.setVLANs(index: index, vlans) }
        case .ensureVLANInterface(let link): try ensureVLANInterface(link, &journal)
        case .addAddress(let cidr, let link):
            try on(link) { socket, index throws(NetlinkError) in try socket.add(cidr, index: index) }
            journal.record(.removeAddress(cidr, link), on: link)
        case .removeAddress(let cidr, let link):
            try on(link) { socket, index throws(NetlinkError) in try socket.remove(cidr, index: index) }
            journal.record(.addAddress(cidr, link), on: link)
        case .ensureAddress(let cidr, let link, let nodad):
            do throws(NetlinkError) {
                try on(link) { socket, index throws(NetlinkError) in
                    try socket.add(cidr, index: index, nodad: nodad)
                }
            } catch  where error.code == alreadyExists {}
        case .addRoute(let route, let link):
            try on(link) { socket, index throws(NetlinkError) in try socket.add(route, index: index) }
            journal.record(.removeRoute(route, link), on: link)
        case .removeRoute(let route, let link):
            try on(link) { socket, index throws(NetlinkError) in try socket.remove(route, index: index) }
            journal.record(.addRoute(route, link), on: link)
        case .removeFound(let found):
            do throws(NetlinkError) {
                try kernel.with(.sandbox) { socket throws(NetlinkError) in
                    try socket.remove(original: found.original, found.route.destination)
                }
                journal.record(.restoreFound(found), on: .sandbox(found.link))
            } catch  where error.code == noSuchProcess {
                // One of the next hops of a route that went whole.
            }
        case .restoreFound(let found):
            try kernel.with(.sandbox) { socket throws(NetlinkError) in
                try socket.restore(original: found.original, found.route.destination)
            }
        case .sysctl(let change): try sysctl(change, &journal)
        case .settle(let link): try settle(link)
        case .awaitCarrier(let link): try awaitCarrier(link)
        case .masquerade(let rule):
            journal.record(.step(.removeMasquerade(rule)))
            try kernel.ensureMasquerade(rule)
        case .removeMasquerade(let rule): try kernel.removeMasquerade(rule)
        case .spoofCheck(let check):
            journal.record(.step(.removeSpoofCheck(check.id)))
            try kernel.ensureSpoofCheck(check)
        case .removeSpoofCheck(let id): try kernel.removeSpoofCheck(id)
        case .takeDevice(let device):
            journal.record(.step(.returnDevice(device)))
            journal.recordCreation(of: .sandbox(device.interface))
            try take(device)
        case .returnDevice(let device): try giveBack(device)
        case .renameDevice(let name, let device): try rename(name, device)
        case .writeFile(let path, let text):
            var before: [UInt8]?
            try file(path) { directory, name throws(SystemError) in
                let bytes = Array(text.utf8)
                // No draft that a crash would leave: what is torn then says that nothing was changed yet.
                if try directory.createExclusive(name, bytes) { return }
                before = try directory.readIfPresent(name, limit: 1 << 20)
                try directory.replace(name, with: bytes)
            }
            let old = before.map { String(decoding: $0, as: UTF8.self) }
            journal.record(.step(old.map { .writeFile(path, $0) } ?? .removeFile(path)))
        case .removeFile(let path):
            try file(path) { directory, name throws(SystemError) in _ = try directory.remove(name) }
        }
    }
}

// MARK: Links

extension Executor {
    func index(of link: LinkName) throws(NetlinkError) -> Int32 {
        if let known = indexes[link] { return known }
        let found = try kernel.with(link.place) { socket throws(NetlinkError) in
            try socket.link(named: link.name)
        }
        guard let found else {
            throw NetlinkError(operation: "find link \(link.name)", code: noSuchDevice, text: nil)
        }
        indexes[link] = found.index
        return found.index
    }

    /// The index of a link that an attachment has made, or another program for it; nil without one.
    func index(ofMade link: LinkName) throws(Failure) -> Int32? {
        do throws(NetlinkError) { return try index(of: link) } catch  where error.code == noSuchDevice {
            return nil
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    private func on(
        _ link: LinkName, _ body: (inout RouteSocket, Int32) throws(NetlinkError) -> Void
    ) throws(NetlinkError) {
        var place = link.place
        var index: Int32?
        if kernel.known.contains(link), let found = try kernel.link(link) {
            (place, index) = (found.place, found.info.index)
        }
        let known = if let index { index } else { try self.index(of: link) }
        try kernel.with(place) { socket throws(NetlinkError) in try body(&socket, known) }
    }

    private func ensureBridge(_ spec: BridgeSpec, _ journal: inout Journal) throws(NetlinkError) {
        // Looked after by an attachment before this one of the same run, under a lock that is still held.
        if bridges.contains(spec.name), indexes[.host(spec.name)] != nil { return }
        if !bridges.contains(spec.name) {
            bridges[spec.name] = HeldBridge(lock: try BridgeLock(spec.name, in: kernel.number), spec: spec)
        }
        let name = LinkName.host(spec.name)
        if !kernel.seen.contains(spec.name) {
            kernel.seen[spec.name] = try kernel.with(.host) { socket throws(NetlinkError) in
                Kernel.Look(link: try socket.link(named: spec.name))
            }
        }
        if let existing = kernel.seen[spec.name]?.link {
            indexes[name] = existing.index
        } else {
            do throws(NetlinkError) {
                let made = try kernel.with(.host) { socket throws(NetlinkError) in
                    try socket.addBridge(
                        name: spec.name, mtu: spec.mtu, mac: spec.mac, vlanFiltering: spec.vlanFiltering)
                }
                indexes[name] = made?.index
                journal.record(.createdShared(spec.name, bridge: spec.name))
                bridges.update(spec.name) { $0.mac = spec.mac }
            } catch  where error.code == alreadyExists {
                // Another ADD made it meanwhile: it has the lock shared too.
            }
        }
        // No IPv6: no file.
        try? kernel.writeSysctl(SysctlName(.host, "net/ipv6/conf/\(spec.name)/accept_ra"), "0")
        // A new one is up from its first moment on.
        guard let existing = kernel.seen[spec.name]?.link, !existing.isUp else { return }
        try on(name) { socket, index throws(NetlinkError) in try socket.change(index: index, .up(true)) }
    }

    /// Made once for a bridge and VLAN; what this run made goes again with an undo, if nobody else counts on it.
    private func ensureVLANInterface(_ link: VLANInterface, _ journal: inout Journal) throws(NetlinkError) {
        let bridge = try index(of: .host(link.bridge))
        do throws(NetlinkError) {
            try kernel.with(.host) { socket throws(NetlinkError) in
                if let found = try socket.link(named: link.name) {
                    return found.isUp ? () : try socket.change(index: found.index, .up(true))
                }
                try socket.addPair(name: link.name, peer: link.peer, mtu: link.mtu)
                journal.record(.createdShared(link.name, bridge: link.bridge))
                guard let peer = try socket.link(named: link.peer) else { return }
                try socket.change(index: peer.index, .controller(bridge))
                try socket.setVLANs(index: peer.index, link.portVLANs)
                try socket.change(index: peer.index, .up(true))
            }
        } catch  where error.code == alreadyExists {
            // Another ADD was faster.
        }
    }

    private func addLink(
        _ spec: LinkSpec, _ place: Place, _ parent: LinkName?, _ journal: inout Journal
    ) throws(NetlinkError) {
        let name = LinkName(place: place, name: spec.name)
        var parentIndex: Int32?
        if let parent { parentIndex = try index(of: parent) }
        if place == .sandbox, let parentIndex, parent?.place == .host {
            try addInSandbox(spec, parentIndex)
        } else {
            try kernel.with(place) { socket throws(NetlinkError) in try socket.add(spec, parent: parentIndex)
            }
        }
        journal.record(.step(.deleteLink(name)))
        journal.recordCreation(of: name)
    }

    /// Kernels up to 6.1 refuse a name that the host has, though the link is the pod's: then the link is made under
    /// another one and renamed.
    private func addInSandbox(_ spec: LinkSpec, _ parent: Int32) throws(NetlinkError) {
        do throws(NetlinkError) { return try kernel.addInSandbox(spec, parent: parent) } catch {
            guard error.code == alreadyExists, let temporary = spec.temporaryName else { throw error }
            let isTaken = try kernel.with(.sandbox) { socket throws(NetlinkError) in
                try socket.link(named: spec.name) != nil
            }
            if isTaken { throw error }
            var other = spec
            other.name = temporary
            do throws(NetlinkError) { try kernel.addInSandbox(other, parent: parent) } catch {
                throw NetlinkError(
                    operation: "add \(spec.kind.name) \(spec.name)", code: error.code, text: error.text)
            }
            try kernel.with(.sandbox) { socket throws(NetlinkError) in
                guard let made = try socket.link(named: temporary) else { throw error }
                do throws(NetlinkError) { try socket.change(index: made.index, .name(spec.name)) } catch {
                    try? socket.delete(index: made.index)  // the first error says why
                    throw error
                }
            }
        }
    }

    /// A peer whose sandbox died lives on for some 30 ms: its name is free once it is deleted.
    private func addVeth(_ veth: VethSpec, _ journal: inout Journal) throws(NetlinkError) {
        let made: LinkInfo?
        do throws(NetlinkError) {
            made = try kernel.add(veth, controller: controllerIndex(veth))
        } catch {
            let mayRepeat =
                error.code == alreadyExists
                ? try removeOrphan(veth.peer) : try restoreBridge(veth.controller, &journal)
            guard mayRepeat else { throw error }
            made = try kernel.add(veth, controller: controllerIndex(veth))
        }
        indexes[.host(veth.peer)] = made?.index
        indexes[.sandbox(veth.name)] = made?.parentIndex
        journal.record(.step(.deleteLink(.sandbox(veth.name))))
        journal.recordCreation(of: .sandbox(veth.name), .host(veth.peer))
    }

    private func controllerIndex(_ veth: VethSpec) throws(NetlinkError) -> Int32? {
        guard let bridge = veth.controller else { return nil }
        return try index(of: .host(bridge))
    }

    /// Makes a bridge anew that another ADD's undo deleted before we held its lock; false when it is there.
    private func restoreBridge(_ name: String?, _ journal: inout Journal) throws(NetlinkError) -> Bool {
        guard let name, let spec = bridges[name]?.spec else { return false }
        let isThere = try kernel.with(.host) { socket throws(NetlinkError) in
            try socket.link(named: name) != nil
        }
        if isThere { return false }
        indexes[.host(name)] = nil
        kernel.seen[name] = Kernel.Look(link: nil)
        try ensureBridge(spec, &journal)
        return true
    }

    /// Deletes a veth end in the host if the namespace of its peer is gone; false when it is somebody's.
    private func removeOrphan(_ name: String) throws(NetlinkError) -> Bool {
        try kernel.with(.host) { socket throws(NetlinkError) in
            guard let link = try socket.link(named: name) else { return true }
            guard link.kind == "veth", let namespace = link.parentNamespaceID,
                try !socket.isAlive(namespace: namespace)
            else { return false }
            try socket.delete(index: link.index)
            return true
        }
    }

    private func deleteLink(_ link: LinkName) throws(NetlinkError) {
        indexes[link] = nil
        try kernel.with(link.place) { socket throws(NetlinkError) in
            guard let found = try socket.link(named: link.name) else { return }
            try socket.delete(index: found.index)
        }
    }

    private func change(
        _ link: LinkName, _ change: Plans.LinkChange
    ) throws(NetlinkError) {
        let request: Netlink.LinkChange =
            switch change {
            case .up(let up): .up(up)
            case .mtu(let bytes): .mtu(bytes)
            case .mac(let address): .mac(address)
            case .promiscuous(let on): .promiscuous(on)
            case .allMulticast(let on): .allMulticast(on)
            case .queueLength(let packets): .queueLength(packets)
            }
        // A macvlan has the address that it had before, in a namespace that may still be dying: for some 30 ms.
        for _ in 0..<20 {
            do throws(NetlinkError) {
                return try on(link) { socket, index throws(NetlinkError) in
                    try socket.change(index: index, request)
                }
            } catch  where error.code == addressInUse && change == .up(true) {
                pause(milliseconds: 10)
            }
        }
        try on(link) { socket, index throws(NetlinkError) in try socket.change(index: index, request) }
    }

    private func sysctl(_ change: SysctlChange, _ journal: inout Journal) throws(NetlinkError) {
        let name = SysctlName(change.place, change.path)
        do throws(SystemError) {
            switch change.lifetime {
            case .link: try kernel.writeSysctl(name, change.value)
            case .ensured: try kernel.ensureSysctl(name, change.value)
            case .saved: try replaceSysctl(name, change.value, &journal)
            }
        } catch {
            if change.isOptional { return }
            throw NetlinkError(
                operation: "set sysctl \(change.path) to \"\(change.value)\"", code: error.code, text: nil)
        }
    }
}

extension Executor {
    /// - Parameter path: absolute; its directory is made when it is missing.
    private func file(
        _ path: String, _ body: (borrowing Directory, String) throws(SystemError) -> Void
    ) throws(NetlinkError) {
        let parts = path.split(separator: "/")
        guard path.hasPrefix("/"), let name = parts.last else {
            throw NetlinkError(operation: "write \"\(path)\": it is no absolute path", code: 0)
        }
        do throws(SystemError) {
            try body(Directory.create("/" + parts.dropLast().joined(separator: "/")), String(name))
        } catch {
            throw NetlinkError(operation: error.operation, code: error.code)
        }
    }
}

extension Step {
    /// For one that may have been done. What is on the pod's links goes with them; plans make no link that is there.
    fileprivate var inverseOfCreation: Step? {
        switch self {
        case .addLink(let spec, let place, _): .deleteLink(LinkName(place: place, name: spec.name))
        case .addVeth(let veth): .deleteLink(.sandbox(veth.name))
        default: nil
        }
    }

    fileprivate var isSandboxSetting: Bool {
        if case .sysctl(let change) = self { change.place == .sandbox } else { false }
    }
}
