import Linux
import Netlink
import Networking
import Plans

extension LiveRun {
    func run(_ step: DeviceStep) throws(SystemError) {
        switch step {
        case .take(let device):
            journal.record(.step(.returnDevice(device)))
            journal.recordCreation(of: .sandbox(device.interface))
            try take(device)
        case .giveBack(let device): try giveBack(device)
        case .rename(let name, let device): try rename(name, device)
        }
    }

    private func take(_ device: Device) throws(SystemError) {
        let index = try index(of: .host(device.name))
        try kernel.move(index, to: .sandbox, name: device.interface, alias: device.name, isUp: false)
    }

    /// Looks before it moves: the kernel would move the device, and refuse its name then.
    private func giveBack(_ device: Device) throws(SystemError) {
        let found = try kernel.with(.sandbox) { socket throws(SystemError) in
            device.index == 0
                ? try socket.link(named: device.interface) : try socket.link(index: device.index)
        }
        guard let found else {
            throw SystemError(operation: "find link \(device.interface)", code: .noSuchDevice)
        }
        try requireFree(device.name)
        try dropNames(of: found, device, at: .sandbox)
        // Up at once: the next pod that takes it notes how it was.
        try kernel.move(
            found.index, to: .host, name: device.name, alias: device.name, isUp: device.wasUp)
        try settle(device)
    }

    private func rename(_ name: String, _ device: Device) throws(SystemError) {
        let found = try kernel.with(.host) { socket throws(SystemError) in try socket.link(named: name) }
        if let found { try dropNames(of: found, device, at: .host) }
        if name != device.name, let found {
            try requireFree(device.name)
            try kernel.with(.host) { socket throws(SystemError) in
                if found.isUp { try socket.change(index: found.index, .up(false)) }
                try socket.rename(index: found.index, device.name)
            }
        }
        try settle(device)
    }

    /// Takes the alternative names off that the pod gave the device: one that the host has would keep it from coming home.
    private func dropNames(of link: LinkInfo, _ device: Device, at place: Place) throws(SystemError) {
        var extra: [String] = []
        for name in link.alternativeNames {
            if let own = device.alternativeNames {
                if !own.contains(name) { extra.append(name) }
            } else if name == device.name {
                extra.append(name)
            } else if place == .sandbox {
                let other = try kernel.with(.host) { socket throws(SystemError) in
                    try socket.link(named: name)
                }
                if other != nil { extra.append(name) }
            }
        }
        guard !extra.isEmpty else { return }
        try kernel.with(place) { socket throws(SystemError) in
            try socket.remove(alternativeNames: extra, index: link.index)
        }
    }

    private func requireFree(_ name: String) throws(SystemError) {
        let other = try kernel.with(.host) { socket throws(SystemError) in try socket.link(named: name) }
        guard other == nil else {
            throw SystemError(
                operation: "give the device back as \(name): the host has another link of that name",
                code: .alreadyExists)
        }
    }

    /// The alias goes last: by it a repeated DEL finds a device that is home, but not yet as it was.
    private func settle(_ device: Device) throws(SystemError) {
        try kernel.with(.host) { socket throws(SystemError) in
            // The next pod may have it already.
            guard let link = try socket.link(named: device.name) else { return }
            // What a link on top of it kept from being restored in the pod has stayed behind there.
            for change in device.settings?.changes(from: LinkFacts(link)) ?? [] {
                do throws(SystemError) { try socket.change(index: link.index, change) } catch {
                    // The pod is to go all the same; that it stays so was said when it was tried in the pod.
                    guard error.isFinal else { throw error }
                }
            }
            if device.wasUp, !link.isUp { try socket.change(index: link.index, .up(true)) }
            try socket.clearAlias(index: link.index)
        }
    }
}

// MARK: Repair

extension Survey {
    func run(_: DeviceStep) {}
}

// MARK: Causes

extension Executor {
    func cause(of step: DeviceStep, _ code: Errno?) throws(SystemError) -> Cause? {
        switch step {
        case .giveBack(let device) where code == .alreadyExists: return try rivalCause(device.name)
        case .rename(_, let device) where code == .alreadyExists: return try rivalCause(device.name)
        case .take, .giveBack, .rename: break
        }
        // The kernel has moved it when it refuses the name.
        if case .take(let device) = step, code == .alreadyExists,
            try found(.sandbox(device.name))?.alternativeNames.contains(device.interface) == true
        {
            return Cause(
                text: "\(device.interface) is an alternative name of \(device.name) itself",
                fix:
                    "ip link property del dev \(shellQuoted(device.name)) altname \(shellQuoted(device.interface)),"
                    + " or call the pod's interface otherwise")
        }
        guard case .take(let device) = step, code == .invalid,
            let kind = try found(.host(device.name))?.kind ?? (device.name == "lo" ? "loopback" : nil),
            ["loopback", "bridge", "bond", "team", "vrf"].contains(kind)
        else { return nil }
        return Cause(
            text: "\(device.name) is a \(kind), which the kernel lets leave no namespace",
            fix: "name another device, or attach to this one with bridge or macvlan")
    }

    /// What has the name that the device had.
    private func rivalCause(_ name: String) throws(SystemError) -> Cause? {
        guard let rival = try found(.host(name)) else { return nil }
        let kind = rival.kind.map { "a \($0)" } ?? "a device"
        let (given, own) = (shellQuoted(name), shellQuoted(rival.name))
        guard rival.name == name else {
            return Cause(
                text: "\(kind), \(rival.name), has it as an alternative name",
                fix: "ip link property del dev \(own) altname \(given), and DEL again", isOfNode: true)
        }
        return Cause(
            text: "it is \(kind)", fix: "ip link set dev \(given) name OTHER, and DEL again", isOfNode: true)
    }
}
