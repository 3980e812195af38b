package import CNI
import JSONC
import Network
package import Plans

/// Hands a device of the host to the pod, and gives it back under its old name. CNI reference plugin `host-device`.
package enum HostDevice: Module {
    package static let type = "host-device"
    package static let keys = ["device", "hwaddr", "kernelpath", "pciBusID"]
    /// Drivers that take a device away from the kernel's network.
    private static let userspaceDrivers = ["vfio-pci", "uio_pci_generic", "igb_uio"]
    private static let stateDirectory = "/run/plexus/host-device"

    package struct Config: Equatable, Sendable {
        var device: DeviceQuery
        var dns: DNS?
        var hasIPAM = false
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        do throws(JSONError) { return try read(input) } catch { throw Failure(.badConfig, "\(error)") }
    }

    private static func read(_ input: PluginInput) throws(JSONError) -> Config {
        let json = input.config.reader
        func text(_ key: String) throws(JSONError) -> String? {
            try json.string(key).flatMap { $0.isEmpty ? nil : $0 }
        }
        let id = try input.config.runtimeConfig?.string("deviceID").flatMap { $0.isEmpty ? nil : $0 }
        let query: DeviceQuery
        if let device = try text("device") {
            if let problem = Names.interfaceProblem(device) {
                throw json.error("device", "invalid device name \"\(device)\": it \(problem)")
            }
            query = .name(device)
        } else if let address = try text("hwaddr") {
            guard let mac = MAC(parsing: address) else {
                throw json.error("hwaddr", "failed to parse MAC address \"\(address)\"")
            }
            query = .mac(mac)
        } else if let path = try text("kernelpath") {
            guard path.hasPrefix("/sys/devices/"), !path.split(separator: "/").contains("..") else {
                throw json.error("kernelpath", "\"\(path)\" must start with /sys/devices/")
            }
            query = .path(path)
        } else if let id {
            try requireName(id, json, "runtimeConfig.deviceID")
            query = .id(id)
        } else if let address = try text("pciBusID") {
            try requireName(address, json, "pciBusID")
            query = .pci(address)
        } else {
            throw json.error(
                nil,
                "specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\", or runtimeConfig.deviceID"
            )
        }
        return Config(device: query, dns: input.config.dns, hasIPAM: input.config.ipamType != nil)
    }

    /// It becomes part of a path.
    private static func requireName(_ text: String, _ json: Reader, _ key: String) throws(JSONError) {
        guard !text.contains("/"), text != ".", text != "..", text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw json.error(nil, "\(key): \"\(text)\" is no name of a device") }
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        let link = LinkName.sandbox(attachment.interface)
        return switch verb {
        case .add, .check: FactsQuery(links: [link], device: config.device)
        case .del: FactsQuery(links: [link], device: config.device, files: [state(attachment)])
        default: FactsQuery()
        }
    }

    /// Written only for a device that was up: whether it was cannot be told from the link itself.
    private static func state(_ attachment: Attachment) -> String {
        "\(stateDirectory)/\(attachment.id.containerID)_\(attachment.interface).up"
    }

    // MARK: ADD

    package static func plan(_ config: Config, _ attachment: Attachment, _ facts: Facts) throws(Failure)
        -> Plan
    {
        let interface = attachment.interface
        var result = CNIResult()
        result.interfaces = [.init(name: interface, sandbox: attachment.sandbox)]
        var steps: [Step] = []
        let isUserspace = try isUserspace(config, facts)
        if !isUserspace {
            let (name, link) = try find(config, facts)
            guard facts.links[.sandbox(interface)] == nil else {
                throw Failure(
                    .generic,
                    "failed to move link \(name): \(interface) already exists in \(attachment.sandbox)",
                    details: "DEL the attachment that has it first")
            }
            if link.isUp { steps.append(.writeFile(state(attachment), "\(name)\n")) }
            steps.append(.takeDevice(Device(name: name, interface: interface, wasUp: link.isUp)))
            result.interfaces[0].mac = link.mac.map { "\($0)" }
        }
        if config.hasIPAM {
            let addressing = try Addressing(attachment, index: 0)
            if !isUserspace { steps += addressing.steps(interface, [], settles: true) }
            result.ips = addressing.ips
            result.routes = addressing.routes
            // IPAM's is not looked at, as the reference has it.
            result.dns = config.dns ?? DNS()
        } else if !isUserspace {
            steps.append(.change(.sandbox(interface), .up(true)))
        }
        return Plan(steps: steps, result: result)
    }

    private static func isUserspace(_ config: Config, _ facts: Facts) throws(Failure) -> Bool {
        guard let device = facts.device else { return false }
        switch config.device {
        case .name, .mac, .path: return false
        case .pci(let name), .id(let name):
            guard device.isKnown else {
                throw Failure(
                    .generic, "device \(name) not found or unsupported",
                    details: "neither /sys/bus/pci/devices nor /sys/bus/auxiliary/devices has it")
            }
        }
        return device.driver.map(userspaceDrivers.contains) ?? false
    }

    private static func find(_ config: Config, _ facts: Facts) throws(Failure) -> (String, LinkFacts) {
        if let name = facts.device?.link, let link = facts.links[name] { return (name.name, link) }
        throw switch config.device {
        case .name(let name):
            Failure(
                .generic, "failed to find host device \"\(name)\": Link not found",
                details: "the host has no link of this name; another pod may have it")
        case .mac(let mac):
            Failure(
                .generic, "failed to find host device: failed to find physical interface with MAC \(mac)",
                details: "the host has no link with this address; another pod may have it")
        case .path(let path), .pci(let path), .id(let path):
            Failure(
                .generic, "failed to find host device: failed to find network device in path \(path)",
                details: "it has no network driver, or another pod has it")
        }
    }

    // MARK: DEL and CHECK

    /// The device goes home from the pod; or it is home already, with the pod's name, because the namespace died.
    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        let path = state(attachment)
        let wasUp = facts.files[path] != nil
        var removal = Removal()
        let own = LinkName.sandbox(attachment.interface)
        if let link = facts.links[own], Names.interfaceProblem(link.alias) == nil {
            let device = Device(name: link.alias, interface: own.name, wasUp: wasUp)
            removal.steps.append(.returnDevice(device))
        } else if let renamed = facts.renamed, let link = facts.links[renamed] {
            let device = Device(name: link.alias, interface: renamed.name, wasUp: wasUp)
            removal.steps.append(.returnDevice(device))
        } else if let home = facts.device?.link, let link = facts.links[home],
            Names.interfaceProblem(link.alias) == nil, link.alias != home.name,
            // The kernel leaves it the pod's name, or calls it dev0 when the host has that; an alias of somebody
            // else's on a device of another name means nothing to us.
            home.name == attachment.interface || home.name.hasPrefix("dev")
        {
            let device = Device(name: link.alias, interface: attachment.interface, wasUp: wasUp)
            removal.steps.append(.renameDevice(home.name, device))
        }
        if wasUp { removal.steps.append(.removeFile(path)) }
        return removal
    }

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        if facts.device?.driver.map(userspaceDrivers.contains) == true { return }
        let name = attachment.interface
        guard let promised = previous.interfaces.first(where: { $0.name == name && $0.sandbox != nil }) else {
            throw Failure(.generic, "prevResult has no interface \"\(name)\" in a sandbox", details: changed)
        }
        guard promised.sandbox == attachment.sandbox else {
            throw Failure(
                .generic,
                "sandbox \(promised.sandbox ?? "") of \(name) doesn't match configured netns \(attachment.sandbox)",
                details: "CHECK gets the namespace that ADD got")
        }
        guard let link = facts.links[.sandbox(name)] else {
            throw Failure(.generic, "container interface \"\(name)\" not found", details: changed)
        }
        if let mac = promised.mac, MAC(parsing: mac) != link.mac {
            throw Failure(
                .generic, "interface \"\(name)\" MAC doesn't match: prevResult has \(mac)", details: changed)
        }
    }
}
