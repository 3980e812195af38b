import Networking

/// Devices of the host that pods have for a while.
package enum DeviceStep: StepKind {
    /// Moves it into the sandbox, where its alias keeps its name.
    case take(Device)
    case giveBack(Device)
    /// Gives it its name back when it came home with the pod's, as its namespace died. The first is what it is called.
    case rename(String, Device)

    package var name: String {
        switch self {
        case .take: "takeDevice"
        case .giveBack: "returnDevice"
        case .rename: "renameDevice"
        }
    }

    package var commands: [String] {
        switch self {
        case .take(let device):
            let name = shellQuoted(device.name)
            return ["ip link set dev \(name) netns POD name \(shellQuoted(device.interface)) alias \(name)"]
        case .giveBack(let device):
            let name = shellQuoted(device.name)
            let up = device.wasUp ? ["ip link set dev \(name) up"] : []
            let own = shellQuoted(device.interface)
            return ["ip -n POD link set dev \(own) netns HOST name \(name) alias ''"] + up
        case .rename(let name, let device):
            return ["ip link set dev \(shellQuoted(name)) name \(shellQuoted(device.name)) alias ''"]
        }
    }

    package func apply(to facts: inout Facts) {
        switch self {
        case .take(let device):
            var link = facts.links.removeValue(forKey: .host(device.name))
            link?.isUp = false
            link?.alias = device.name
            facts.links[.sandbox(device.interface)] = link
        case .giveBack(let device):
            var link = facts.links.removeValue(forKey: .sandbox(device.interface))
            link?.alias = ""
            facts.links[.host(device.name)] = link
        case .rename(let name, let device):
            facts.links[.host(device.name)] = facts.links.removeValue(forKey: .host(name))
        }
    }

    package var basis: [LinkName] {
        switch self {
        case .take(let device): [.host(device.name)]
        case .giveBack(let device): [.sandbox(device.interface)]
        case .rename(let name, _): [.host(name)]
        }
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }

    /// A device that is home is up: its addresses would be of the MAC address that the pod had.
    package var waitsForRestore: Bool { if case .giveBack = self { true } else { false } }
    package var holdsAddresses: Bool { waitsForRestore }
}

extension Step {
    package static func takeDevice(_ device: Device) -> Step { Step(DeviceStep.take(device)) }
    package static func returnDevice(_ device: Device) -> Step { Step(DeviceStep.giveBack(device)) }

    package static func renameDevice(_ name: String, _ device: Device) -> Step {
        Step(DeviceStep.rename(name, device))
    }
}
