import CNI
import Linux
import Netlink
import Networking
import Plans

/// Devices of the host: where they are.
extension Kernel {
    /// The device and, in `facts`, its link.
    func observe(_ query: DeviceQuery, _ facts: inout Facts) throws(SystemError) -> DeviceFacts {
        var device = DeviceFacts()
        var name: String?
        switch query {
        case .name(let wanted):
            name = try self.name { $0.name == wanted || $0.alternativeNames.contains(wanted) }
        case .mac(let mac):
            // Skips a bridge or a VLAN, which has the same address as the device below it.
            let device = try self.name { $0.mac == mac && $0.kind == nil }
            name = if let device { device } else { try self.name { $0.mac == mac } }
        case .path(let path): name = firstEntry("\(path)/net")
        case .pci(let address): (name, device) = pci(address)
        case .id(let id):
            if fileExists("/sys/bus/pci/devices/\(id)") {
                (name, device) = pci(id)
            } else {
                let path = "/sys/bus/auxiliary/devices/\(id)"
                device.bus = fileExists(path) ? .auxiliary : nil
                name = firstEntry("\(path)/net")
            }
        }
        if let name {
            device.link = .host(name)
            if facts.links[.host(name)] == nil {
                facts.links[.host(name)] = try linkFacts(.host(name), false)
            }
        }
        return device
    }

    private func name(where isWanted: (LinkInfo) -> Bool) throws(SystemError) -> String? {
        try with(.host) { socket throws(SystemError) in try socket.links().first(where: isWanted)?.name }
    }

    /// A virtio device has its link one level deeper.
    private func pci(_ address: String) -> (String?, DeviceFacts) {
        let path = "/sys/bus/pci/devices/\(address)"
        let driver = linkTarget("\(path)/driver")?.split(separator: "/").last.map(String.init)
        var name = firstEntry("\(path)/net")
        if name == nil, let virtio = entries(path).first(where: { $0.hasPrefix("virtio") }) {
            name = firstEntry("\(path)/\(virtio)/net")
        }
        return (name, DeviceFacts(bus: fileExists(path) ? .pci : nil, driver: driver))
    }

    private func firstEntry(_ path: String) -> String? { entries(path).first }

    private func entries(_ path: String) -> [String] {
        ((try? Directory.open(path).names()) ?? []).sorted()  // a missing directory has none
    }
}

// MARK: Devices that a pod has

extension Kernel {
    /// The longest time that the kernel takes to move a device back to the host when its namespace is gone.
    private static let homecoming: Int64 = 2000

    /// Where the device of a record is; nil when there is no record, or one that says nothing.
    func find(_ query: TakenQuery) throws(Failure) -> TakenDevice? {
        let text: [UInt8]
        do throws(SystemError) { text = try readFile(query.note, limit: 1 << 16) } catch
            where error.isNotFound || error.isNoFile || error.isNoDirectory
        {
            text = []
        } catch {
            throw Failure(.io, "\(error)")
        }
        let found = Device(note: String(decoding: text, as: UTF8.self), interface: query.interface)
        // The pod's record has a checksum, the note has none.
        guard let device = links.device(query.interface) ?? found else { return nil }
        do throws(SystemError) {
            if let known = try look(for: device) {
                // Which namespace it is in is proven by the pod's record alone: a path may be another pod's by now.
                let isProven = links.device(query.interface) != nil
                if case .found(_, let name, _) = known, name.place == .host || isProven { return known }
            }
            return try isOthers(device, query) ? .gone(device) : find(device)
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// Whether another attachment took the device later: it was home in between, and its note was left.
    private func isOthers(_ device: Device, _ query: TakenQuery) throws(SystemError) -> Bool {
        let own = modificationTime(query.note) ?? .min
        return try others(query).contains {
            $0.time > own && $0.device.name == device.name && $0.device.identity == device.identity
        }
    }

    /// The links of the sandbox that are devices of other attachments, as their notes prove.
    func linksOfOthers(_ query: TakenQuery) throws(Failure) -> [LinkName] {
        guard hasSandbox else { return [] }
        do throws(SystemError) {
            let devices = try others(query).map(\.device).filter { $0.identity?.isProof == true }
            guard !devices.isEmpty else { return [] }
            return try everyLink(.sandbox).filter { link in
                devices.contains { $0.identity?.isSame(as: link.1) == true }
            }.map(\.0)
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// The devices in the notes of other attachments, and when each was taken.
    private func others(_ query: TakenQuery) throws(SystemError) -> [(device: Device, time: Int64)] {
        let parts = query.note.parts(by: "/")
        let folder = parts.dropLast().joined(separator: "/")
        let names: [String]
        do throws(SystemError) { names = try Directory.open(folder).names() } catch
            where error.isNotFound || error.isNoDirectory
        {
            return []
        }
        return names.compactMap { name in
            let path = "\(folder)/\(name)"
            guard path != query.note, let time = modificationTime(path),
                let bytes = try? readFile(path, limit: 1 << 16)
            else { return nil }
            let device = Device(note: String(decoding: bytes, as: UTF8.self), interface: "")
            // Plexus may also run in a namespace of its own that shares /run.
            return device.flatMap { $0.home == 0 || $0.home == number ? ($0, time) : nil }
        }
    }

    private func find(_ device: Device) throws(SystemError) -> TakenDevice {
        if let found = try look(for: device) { return found }
        // A link that is made by software went with its namespace, or was deleted in it; unless the peer of a veth
        // shows that it still exists, or it is in a namespace that the pod made.
        if let identity = device.identity, !identity.kind.isEmpty {
            let isAway =
                identity.kind == "veth"
                ? try isTied(identity.parent)
                : try astray(.sandbox(device.interface)) { link, _ in link.kind == identity.kind } != nil
            return isAway ? .away(device) : .gone(device)
        }
        if let bus = device.identity?.bus, !isPluggedIn(bus) { return .gone(device) }
        if hasSandbox { return .away(device) }
        let deadline = monotonicMilliseconds() + Self.homecoming
        let monitor = try monitor(.host)
        repeat {
            if let found = try look(for: device) { return found }
        } while monitor.wait(until: deadline)
        if let found = try look(for: device) { return found }
        return .away(device)
    }

    private func look(for device: Device) throws(SystemError) -> TakenDevice? {
        for place in [Place.sandbox, .host] where place == .host || hasSandbox {
            let links = try everyLink(place).filter { isCandidate($0, device) }
            let called = links.first { $0.0.name == (place == .sandbox ? device.interface : device.name) }
            guard let (name, link) = called ?? links.first else { continue }
            var found = device
            found.index = link.index
            return .found(found, name, link)
        }
        return nil
    }

    /// Without proof of its identity a link must be the one that ADD noted, or have the device's name.
    private func isCandidate(_ found: (name: LinkName, link: LinkFacts), _ device: Device) -> Bool {
        let (name, link) = found
        let isLikely =
            switch name.place {
            case .sandbox:
                links.known(.sandbox(device.interface)).map { $0.index == link.index }
                    ?? (link.alias == device.name)
            case .host:
                name.name == device.name || (name.name == device.interface && link.alias == device.name)
            }
        guard let identity = device.identity else {
            return isLikely && (link.kind.isEmpty || link.isTiedToHost)
        }
        return identity.isSame(as: link) && (identity.isProof || isLikely)
    }

    /// Whether the host has a veth whose other end is in another namespace, which lives.
    private func isTied(_ index: Int32?) throws(SystemError) -> Bool {
        guard let index else { return false }
        return try with(.host) { socket throws(SystemError) in
            guard let peer = try socket.link(index: index), peer.kind == "veth",
                let namespace = peer.parentNamespaceID
            else { return false }
            return try socket.isAlive(namespace: namespace)
        }
    }

    /// - Parameter bus: `pci/0000:00:04.0`.
    private func isPluggedIn(_ bus: String) -> Bool {
        let parts = bus.parts(by: "/")
        return parts.count == 2 && fileExists("/sys/bus/\(parts[0])/devices/\(parts[1])")
    }
}
