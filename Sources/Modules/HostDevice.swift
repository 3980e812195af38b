package import CNI
package import JSONC
import Networking
package import Plans

/// Hands a device of the host to the pod, and gives it back under its old name. CNI reference plugin `host-device`.
package enum HostDevice: Module {
    package static let type = "host-device"
    package static let traits = PluginTraits.takesDevice
    package static let capabilities = ["deviceID"]
    package static let vocabulary = Vocabulary(["device", "hwaddr", "kernelpath", "pciBusID"]) { key in
        ["vlan", "vlanid", "vlantag"].contains(key)
            ? "it tags nothing: hand over a link of that VLAN (ip link add link eth0 name eth0.100 type vlan id 100)"
            : isolationProblem(key)
    }
    /// Drivers that take a device away from the kernel's network.
    private static let userspaceDrivers = ["vfio-pci", "uio_pci_generic", "igb_uio"]
    private static let stateDirectory = "/run/plexus/host-device"

    package struct Config: Equatable, Sendable {
        var device: DeviceQuery
        /// The same device's address on a bus, which tells its driver.
        var bus: DeviceQuery?
        var dns: DNS?
        var hasIPAM = false
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        do throws(JSONError) { return try read(input) } catch { throw Failure(.badConfig, error) }
    }

    private static func read(_ input: PluginInput) throws(JSONError) -> Config {
        let json = input.config.reader
        func text(_ key: String) throws(JSONError) -> String? {
            try json.string(key).flatMap { $0.isEmpty ? nil : $0 }
        }
        let query: DeviceQuery
        // Only one of them is used, but each must be a text.
        if input.verb != .del { for key in vocabulary.keys { _ = try json.string(key) } }
        let bus = try address(input)
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
        } else if let bus {
            query = bus
        } else {
            if input.isStrict, let key = nearly(json) {
                throw json.error(key, "unknown key \"\(key)\": write \"device\"")
            }
            throw json.error(
                nil,
                "specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\", or runtimeConfig.deviceID"
            )
        }
        return Config(
            device: query, bus: bus, dns: input.config.dns, hasIPAM: input.config.ipamType != nil)
    }

    /// What other plugins call the link of the host. Beside a device that is named it means nothing.
    private static func nearly(_ json: Reader) -> String? {
        let spellings = [
            "interface", "interfacename", "ifname", "iface", "master", "parent", "nic", "dev", "devicename",
            "hostdevice", "hostinterface", "link", "netdev", "uplink",
        ]
        let members = json.value.object?.members ?? []
        return members.first { spellings.contains($0.key.lowercased()) && $0.value.string != nil }?.key
    }

    /// A device that a device plugin gave is preferred to the configured one.
    private static func address(_ input: PluginInput) throws(JSONError) -> DeviceQuery? {
        let json = input.config.reader
        if let id = try input.config.runtimeConfig?.string("deviceID"), !id.isEmpty {
            try requireName(id, json, "runtimeConfig.deviceID")
            return .id(id)
        }
        guard let address = try json.string("pciBusID"), !address.isEmpty else { return nil }
        try requireName(address, json, "pciBusID")
        return .pci(address)
    }

    /// It becomes part of a path.
    private static func requireName(_ text: String, _ json: Reader, _ key: String) throws(JSONError) {
        guard !text.contains("/"), text != ".", text != "..", text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw json.error(nil, "\(key): \"\(text)\" is no name of a device") }
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        let link = LinkName.sandbox(attachment.interface)
        let devices = [config.device] + (config.bus.map { [$0] } ?? [])
        return switch verb {
        case .add, .check: FactsQuery(links: [link], devices: devices)
        case .del:
            FactsQuery(
                devices: [config.device], everyLink: true, taken: takenDevice(attachment),
                files: [path(attachment)])
        default: FactsQuery()
        }
    }

    /// Which device the attachment took, and what tells it from others: a pod may call its links as it likes.
    private static func path(_ attachment: Attachment) -> String {
        "\(stateDirectory)/\(attachment.id.noteName).json"
    }

    package static func note(_ attachment: Attachment) -> String? { path(attachment) }

    package static func takenDevice(_ attachment: Attachment) -> TakenQuery? {
        TakenQuery(note: path(attachment), interface: attachment.interface)
    }

    package static func holds(_ claim: Failure.Claim, _ configuration: JSON) -> Bool {
        guard case .device(let name) = claim else { return false }
        return ["device", "hwaddr", "kernelpath", "pciBusID"].contains { configuration[$0]?.string == name }
    }

    package static func needs(noteOf attachment: Attachment) -> FactsQuery {
        FactsQuery(taken: takenDevice(attachment))
    }

    // MARK: ADD

    package static func refuse(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) {
        if try isUserspace(config, facts) { return }
        let (name, _) = try find(config, facts)
        guard facts.links[.sandbox(attachment.interface)] == nil else {
            throw Failure(
                .generic,
                "failed to move link \(name): \(attachment.interface) already exists in \(attachment.sandbox)",
                details: whoHas(attachment))
        }
    }

    package static func make(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> [Step] {
        if try isUserspace(config, facts) { return [] }
        let (name, link) = try find(config, facts)
        var device = Device(name: name, interface: attachment.interface, link)
        device.home = facts.home
        var steps: [Step] = [.writeFile(path(attachment), device.note), .takeDevice(device)]
        // The IPAM plugin that is called next may talk over the device.
        if config.hasIPAM, attachment.lease == nil {
            steps.append(.change(.sandbox(attachment.interface), .up(true)))
        }
        return steps
    }

    package static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        let interface = attachment.interface
        var result = CNIResult()
        result.interfaces = [.init(name: interface, sandbox: attachment.sandbox)]
        var steps: [Step] = []
        let isUserspace = try isUserspace(config, facts)
        if !isUserspace {
            result.interfaces[0].mac = try find(config, facts).1.mac.map { "\($0)" }
        }
        if config.hasIPAM {
            let addressing = try Addressing(attachment, index: 0)
            if !isUserspace { steps += addressing.steps(interface, [], settles: true) }
            result.ips = addressing.ips
            result.routes = addressing.routes
            // IPAM's DNS is ignored, as in the reference plugin, unless the configuration asks for it.
            result.dns = config.dns ?? attachment.lease?.wantedDNS ?? DNS()
        } else if !isUserspace {
            steps.append(.change(.sandbox(interface), .up(true)))
        }
        return Plan(steps: steps, result: result)
    }

    private static func isUserspace(_ config: Config, _ facts: Facts) throws(Failure) -> Bool {
        guard let device = busFacts(config, facts) else { return false }
        if device.bus == .auxiliary { return false }
        guard device.bus == .pci, let driver = device.driver else {
            throw switch config.bus {
            case .id(let id) where device.bus == nil:
                Failure(
                    .generic, "device \(id) not found or unsupported",
                    details: "neither /sys/bus/pci/devices nor /sys/bus/auxiliary/devices has it")
            case .pci(let id) where device.bus == nil:
                Failure(
                    .generic, "error with host device: PCI device \(id) not found",
                    details:
                        "there is no /sys/bus/pci/devices/\(id): correct pciBusID, as 0000:03:02.0; one that a device plugin gave is gone"
                )
            case .id(let id), .pci(let id):
                Failure(
                    .generic, "error with host device: PCI device \(id) has no driver",
                    details: "see /sys/bus/pci/devices/\(id); correct the address, or bind a driver")
            default:
                Failure(
                    .generic, "error with host device",
                    details: "it has no address on a bus: name it by device, hwaddr or kernelpath")
            }
        }
        return userspaceDrivers.contains(driver)
    }

    private static func busFacts(_ config: Config, _ facts: Facts) -> DeviceFacts? {
        config.bus == nil ? nil : facts.devices.last
    }

    private static func find(_ config: Config, _ facts: Facts) throws(Failure) -> (String, LinkFacts) {
        if let name = facts.devices.first?.link, let link = facts.links[name] { return (name.name, link) }
        var failure =
            switch config.device {
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
        failure.claim =
            switch config.device {
            case .mac(let mac): .mac(mac)
            case .name(let name), .path(let name), .pci(let name), .id(let name): .device(name)
            }
        throw failure
    }

    // MARK: DEL and CHECK

    /// Moves the device back from the pod; or renames it when the kernel moved it back, as the namespace is gone.
    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        if facts.taken != nil { return removal(noteOf: attachment, facts) }
        var removal = Removal()
        if let name = guess(config, attachment, facts), let link = facts.links[name] {
            let home = homeName(config, link) ?? "dev\(link.index)"
            var device = Device(name: home, interface: attachment.interface, wasUp: false)
            device.index = link.index
            removal.steps.append(homecoming(device, from: name))
        }
        // A record that cannot be read.
        let path = path(attachment)
        if facts.files[path] != nil { removal.steps.append(.removeFile(path)) }
        return removal
    }

    package static func removal(noteOf attachment: Attachment, _ facts: Facts) -> Removal {
        var removal = Removal()
        let path = path(attachment)
        switch facts.taken {
        case .found(let device, let name, let link):
            // A link by the attachment's name is the one that is known, wherever it is.
            let own = LinkName.sandbox(attachment.interface)
            removal.restores = (device.settings?.changes(from: link) ?? []).map { .change(own, $0) }
            removal.steps.append(homecoming(device, from: name))
        case .gone: break
        case nil: return removal
        case .away(let device):
            removal.problem = Failure(
                .generic, "device \(device.name) of the host is neither in the pod nor back",
                details: (attachment.sandbox.isEmpty
                    ? "nobody says which namespace is the pod's, or the pod moved it to another one"
                    : "the pod may have moved it to another namespace")
                    + ": look with ip netns exec NAME ip link;"
                    + " what is known of it is in \(path): remove that file if the device is not to come back"
            )
            return removal
        }
        removal.steps.append(.removeFile(path))
        return removal
    }

    private static func homecoming(_ device: Device, from name: LinkName) -> Step {
        var device = device
        device.interface = name.name
        return name.place == .sandbox ? .returnDevice(device) : .renameDevice(name.name, device)
    }

    /// For devices that another program attached: the link's alias is the device's name. A pod can set an alias, so the
    /// link must be one that no pod can make. A device that the kernel moved back keeps the pod's name for it, or is
    /// called dev0 when the host has that name.
    private static func guess(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> LinkName? {
        let promised = attachment.previous?.interfaces.first {
            $0.name == attachment.interface && !$0.isInHost
        }?.mac.flatMap(MAC.init(parsing:))
        let found = facts.everyLink.filter { name in
            guard let link = facts.links[name], link.kind.isEmpty || link.isTiedToHost,
                !facts.takenByOthers.contains(name)
            else { return false }
            let hasAlias = Names.kernelProblem(link.alias) == nil
            if name.place == .sandbox {
                // The result's MAC address tells it too, and the device's own, whatever the pod made of name and alias.
                return hasAlias && name.name == attachment.interface
                    || promised != nil && link.mac == promised || isSame(config.device, link)
            }
            guard hasAlias else { return false }
            let isNamed = name.name == attachment.interface || name.name.hasPrefix("dev")
            return isNamed && link.alias != name.name && isAskedFor(config.device, name, link, facts)
        }
        return found.first { $0.place == .sandbox } ?? found.first ?? onlyDevice(attachment, facts)
    }

    /// Whether what no pod can change says that a link is the device.
    private static func isSame(_ device: DeviceQuery, _ link: LinkFacts) -> Bool {
        guard link.kind.isEmpty else { return false }
        return switch device {
        case .mac(let mac): link.permanentAddress == String(decoding: hexadecimal(mac.bytes), as: UTF8.self)
        case .pci(let address), .id(let address):
            link.bus == "pci/\(address)" || link.bus == "auxiliary/\(address)"
        case .name, .path: false
        }
    }

    /// The pod's only device, or the one under the attachment's name, while the host lacks the one that was handed out:
    /// all that is left when the pod has cleared the alias.
    private static func onlyDevice(_ attachment: Attachment, _ facts: Facts) -> LinkName? {
        guard facts.devices.first?.link == nil else { return nil }
        let devices = facts.everyLink.filter {
            $0.place == .sandbox && facts.links[$0]?.kind.isEmpty == true && !facts.takenByOthers.contains($0)
        }
        return devices.first { $0.name == attachment.interface } ?? (devices.count == 1 ? devices[0] : nil)
    }

    /// What the host calls the device: as the configuration has it, or else by the alias.
    private static func homeName(_ config: Config, _ link: LinkFacts) -> String? {
        // By an alternative name it is not called that.
        if case .name(let device) = config.device, !link.alternativeNames.contains(device) { return device }
        return Names.kernelProblem(link.alias) == nil ? link.alias : nil
    }

    /// Whether a link of the host may be the device that the configuration names.
    private static func isAskedFor(
        _ device: DeviceQuery, _ name: LinkName, _ link: LinkFacts, _ facts: Facts
    ) -> Bool {
        if case .name(let device) = device {
            return link.alias == device || link.alternativeNames.contains(device)
        }
        return facts.devices.first?.link == name
    }

    /// A device with a user-space driver has no link.
    package static func hasLink(_ config: Config, _ facts: Facts) -> Bool {
        busFacts(config, facts)?.driver.map(userspaceDrivers.contains) != true
    }

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        guard hasLink(config, facts) else { return }
        _ = try promisedLink(attachment, previous, facts)
    }
}
