import CNI
import Linux
import Netlink
import Network
import Plans

/// Devices of the host that pods have for a while.
extension Executor {
    func take(_ device: Device) throws(NetlinkError) {
        let index = try index(of: .host(device.name))
        try kernel.move(index, to: .sandbox, name: device.interface, alias: device.name)
    }

    /// Looks before it moves: the kernel would move the device, and refuse its name then.
    func giveBack(_ device: Device) throws(NetlinkError) {
        let found = try kernel.with(.sandbox) { socket throws(NetlinkError) in
            try socket.link(named: device.interface)
        }
        guard let found else {
            throw NetlinkError(operation: "find link \(device.interface)", code: noSuchDevice, text: nil)
        }
        try requireFree(device.name)
        try kernel.move(found.index, to: .host, name: device.name, alias: device.name)
        try settle(device)
    }

    func rename(_ name: String, _ device: Device) throws(NetlinkError) {
        if name != device.name {
            try requireFree(device.name)
            try kernel.with(.host) { socket throws(NetlinkError) in
                guard let found = try socket.link(named: name) else { return }
                if found.isUp { try socket.change(index: found.index, .up(false)) }
                try socket.rename(index: found.index, device.name)
            }
        }
        try settle(device)
    }

    private func requireFree(_ name: String) throws(NetlinkError) {
        let other = try kernel.with(.host) { socket throws(NetlinkError) in try socket.link(named: name) }
        guard other == nil else {
            throw NetlinkError(
                operation: "give the device back as \(name): the host has another link of that name",
                code: alreadyExists)
        }
    }

    /// The alias goes last: by it a repeated DEL finds a device that is home, but not yet as it was.
    private func settle(_ device: Device) throws(NetlinkError) {
        try kernel.with(.host) { socket throws(NetlinkError) in
            guard let link = try socket.link(named: device.name) else { return }
            if device.wasUp { try socket.change(index: link.index, .up(true)) }
            try socket.clearAlias(index: link.index)
        }
    }
}

extension Kernel {
    /// The device and, in `facts`, its link.
    func observe(_ query: DeviceQuery, _ facts: inout Facts) throws(NetlinkError) -> DeviceFacts {
        var device = DeviceFacts()
        var name: String?
        switch query {
        case .name(let wanted): name = try find { $0.name == wanted }
        case .mac(let mac): name = try find { $0.mac == mac }
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

    /// The links of one side that have an alias.
    func aliased(_ place: Place) throws(NetlinkError) -> [LinkName] {
        try with(place) { socket throws(NetlinkError) in
            try socket.links().filter { !$0.alias.isEmpty }.map { LinkName(place: place, name: $0.name) }
        }
    }

    private func find(_ isWanted: (LinkInfo) -> Bool) throws(NetlinkError) -> String? {
        try with(.host) { socket throws(NetlinkError) in try socket.links().first(where: isWanted)?.name }
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
