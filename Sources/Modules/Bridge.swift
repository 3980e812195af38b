package import CNI
import JSONC
package import Network
package import Plans

/// A veth pair whose host end is a port of a bridge; with IPAM the pod gets addresses, and the bridge may be
/// its gateway. CNI reference plugin `bridge`; kernel: net/bridge/br_if.c, drivers/net/veth.c.
package enum Bridge: Module {
    package static let type = "bridge"
    package static let keys = [
        "bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "ipMasqBackend", "mtu",
        "hairpinMode",
        "promiscMode", "vlan", "vlanTrunk", "preserveDefaultVlan", "macspoofchk", "enabledad",
        "disableContainerInterface", "portIsolation",
    ]

    package struct Config: Equatable, Sendable {
        package var bridge = "cni0"
        package var isGateway = false
        package var isDefaultGateway = false
        package var forceAddress = false
        package var ipMasq = false
        /// nil leaves the MTU to the kernel. Given to a bridge at its creation and to both ends of the pair.
        package var mtu: UInt32?
        package var hairpinMode = false
        package var promiscMode = false
        package var portIsolation = false
        /// Duplicate address detection in the pod: off saves a second or more for each attachment.
        package var enabledad = false
        package var disableContainerInterface = false
        /// nil takes the derived address.
        package var mac: MAC?
        /// Replaces IPAM's when set.
        package var dns: DNS?
        package var hasIPAM = false
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        let ours: [LinkName] = [.host(config.bridge), .sandbox(attachment.interface)]
        switch verb {
        case .add: return FactsQuery(links: ours, addresses: config.isGateway ? [.host(config.bridge)] : [])
        case .check:
            // The peer has another name when the reference plugin made the pair.
            let promised = attachment.previous?.interfaces.filter { $0.sandbox ?? "" == "" } ?? []
            return FactsQuery(links: ours + promised.map { .host($0.name) })
        default: return FactsQuery()
        }
    }

    package static func plan(_ config: Config, _ attachment: Attachment, _ facts: Facts) throws(Failure)
        -> Plan
    {
        try refuseConflicts(config, attachment, facts)
        let addressing = try Addressing(config, attachment)
        let bridge = facts.links[.host(config.bridge)]
        let mac = config.mac ?? attachment.mac(.sandbox)
        var steps: [Step] = [
            .ensureBridge(BridgeSpec(name: config.bridge, mtu: config.mtu, mac: attachment.mac(.bridge)))
        ]
        if config.promiscMode, bridge?.isPromiscuous != true {
            steps.append(.change(.host(config.bridge), .promiscuous(true)))
        }
        steps += port(config, attachment, mac)
        if config.hasIPAM {
            steps += addressing.sandboxSteps(config, attachment.interface)
        } else if !config.disableContainerInterface {
            steps.append(.change(.sandbox(attachment.interface), .up(true)))
        }
        if config.isGateway { steps += try addressing.gatewaySteps(config, bridge) }
        if config.ipMasq, config.hasIPAM { steps.append(.masquerade(masquerade(attachment, addressing.ips))) }
        if !config.disableContainerInterface { steps.append(.awaitCarrier(.host(attachment.hostLinkName))) }

        var result = CNIResult()
        result.interfaces = [
            .init(name: config.bridge),
            .init(name: attachment.hostLinkName, mac: "\(attachment.mac(.host))"),
            .init(name: attachment.interface, mac: "\(mac)", sandbox: attachment.sandbox),
        ]
        result.ips = addressing.ips
        result.routes = addressing.routes
        result.dns = config.dns ?? attachment.lease?.dns ?? DNS()
        return Plan(steps: steps, result: result, readBack: [0])
    }

    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        var removal = Removal(links: [attachment.interface], hostLinks: [attachment.hostLinkName])
        if config.ipMasq, config.hasIPAM {
            removal.steps = [.removeMasquerade(masquerade(attachment, attachment.previous?.ips ?? []))]
        }
        return removal
    }

    private static func refuseConflicts(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) {
        if let existing = facts.links[.host(config.bridge)], existing.kind != "bridge" {
            throw Failure(
                .generic, "\"\(config.bridge)\" already exists but is not a bridge",
                details: "it is a link of kind \(existing.kind.isEmpty ? "device" : existing.kind); "
                    + "name another one in the key bridge")
        }
        if facts.links[.sandbox(attachment.interface)] != nil {
            throw Failure(
                .generic, "container veth name (\"\(attachment.interface)\") already exists",
                details: "a link of this name is in \(attachment.sandbox); DEL the attachment first")
        }
    }

    /// The veth pair with its bridge port. What a port receives is the bridge's: the port's own accept_ra, which the
    /// reference clears, is never looked at (net/bridge/br_input.c).
    private static func port(_ config: Config, _ attachment: Attachment, _ mac: MAC) -> [Step] {
        let peer = attachment.hostLinkName
        var steps: [Step] = [
            .addVeth(
                VethSpec(
                    attachment.interface, peer: peer, mtu: config.mtu, mac: mac,
                    peerMAC: attachment.mac(.host),
                    controller: config.bridge))
        ]
        if config.hairpinMode || config.portIsolation {
            steps.append(
                .setPort(
                    peer,
                    PortSettings(
                        hairpin: config.hairpinMode ? true : nil, isolated: config.portIsolation ? true : nil)
                ))
        }
        return steps
    }

    private static func masquerade(_ attachment: Attachment, _ ips: [CNIResult.IP]) -> Masquerade {
        Masquerade(
            networkName: attachment.networkName, id: attachment.id, addresses: ips.map(\.address))
    }
}

// MARK: Configuration

extension Bridge {
    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        var config = Config()
        let json = input.config.reader
        if input.verb == .add { try refuseUnbuilt(json) }
        do throws(JSONError) {
            if json.present("bridge") { config.bridge = try json.string("bridge") ?? "cni0" }
            config.isDefaultGateway = try json.bool("isDefaultGateway") ?? false
            config.isGateway = try json.bool("isGateway") ?? false || config.isDefaultGateway
            config.forceAddress = try json.bool("forceAddress") ?? false
            config.ipMasq = try json.bool("ipMasq") ?? false
            config.hairpinMode = try json.bool("hairpinMode") ?? false
            config.promiscMode = try json.bool("promiscMode") ?? false
            config.portIsolation = try json.bool("portIsolation") ?? false
            config.enabledad = try json.bool("enabledad") ?? false
            config.disableContainerInterface = try json.bool("disableContainerInterface") ?? false
            // As the reference does: a negative MTU counts as none.
            let mtu = try json.int("mtu", in: Int64(Int32.min)...Int64(Int32.max)) ?? 0
            config.mtu = mtu > 0 ? UInt32(mtu) : nil
        } catch {
            throw Failure(.badConfig, "\(error)")
        }
        config.dns = input.config.dns.flatMap { $0.isEmpty ? nil : $0 }
        config.hasIPAM = input.config.ipamType != nil
        config.mac = try requestedMAC(input)
        try refuseContradictions(config)
        return config
    }

    /// CNI_ARGS, then `args.cni.mac`, then `runtimeConfig.mac`: the last one given wins.
    private static func requestedMAC(_ input: PluginInput) throws(Failure) -> MAC? {
        var text = input.args["MAC"]
        do throws(JSONError) {
            text = try input.config.reader.object("args")?.object("cni")?.string("mac") ?? text
            text = try input.config.runtimeConfig?.string("mac") ?? text
        } catch {
            throw Failure(.badConfig, "\(error)")
        }
        guard let text, !text.isEmpty else { return nil }
        guard let mac = MAC(parsing: text), !mac.isMulticast else {
            throw Failure(
                .badConfig, "failed to make veth pair: invalid MAC address \"\(text)\"",
                details: "write six octets, the first one even, as in 02:00:00:00:00:01")
        }
        return mac
    }

    private static func refuseContradictions(_ config: Config) throws(Failure) {
        if let problem = Names.interfaceProblem(config.bridge) {
            throw Failure(.badConfig, "bridge: the name \"\(config.bridge)\" \(problem)")
        }
        if config.hairpinMode, config.promiscMode {
            throw Failure(
                .badConfig, "cannot set hairpin mode and promiscuous mode at the same time",
                details: "remove hairpinMode or promiscMode")
        }
        if config.disableContainerInterface, config.hasIPAM {
            throw Failure(
                .badConfig, "cannot use IPAM when DisableContainerInterface flag is set",
                details: "remove ipam or disableContainerInterface")
        }
    }

    /// Keys of the reference that change what is on the wire: refused rather than ignored.
    private static func refuseUnbuilt(_ json: Reader) throws(Failure) {
        do throws(JSONError) {
            for key in ["vlanTrunk"] where json.has(key) { throw unsupported(key) }
            if let vlan = try json.int("vlan"), vlan != 0 { throw unsupported("vlan") }
            if try json.bool("macspoofchk") == true { throw unsupported("macspoofchk") }
            _ = try json.bool("preserveDefaultVlan")
            if let backend = try json.string("ipMasqBackend"), backend != "nftables", !backend.isEmpty {
                guard backend == "iptables" else {
                    throw json.error(
                        "ipMasqBackend", "unknown ipmasq backend \"\(backend)\": nftables or iptables")
                }
                throw unsupported("ipMasqBackend")
            }
        } catch {
            let isUnsupported = error.problem.hasPrefix(unsupportedText)
            throw Failure(isUnsupported ? .unsupportedField : .badConfig, "\(error)")
        }
        func unsupported(_ key: String) -> JSONError { json.error(key, "\(unsupportedText) of bridge") }
    }

    private static let unsupportedText = "this version does not provide the key"
}
