package import CNI
package import JSONC
package import Networking
package import Plans

/// A veth pair whose host end is a port of a bridge; with IPAM the pod gets addresses, and the bridge may be
/// its gateway. CNI reference plugin `bridge`; kernel: net/bridge/br_if.c, drivers/net/veth.c.
package enum Bridge: Module {
    package static let type = "bridge"
    package static let linkKind: String? = "veth"
    package static let traits = PluginTraits.hasHostPart
    package static func arguments(_ verb: Verb) -> [String]? { ["MAC"] }
    package static let capabilities = ["mac"]
    package static let podArguments = ["mac"]
    package static let vocabulary = Vocabulary(
        [
            "bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "ipMasqBackend", "mtu",
            "hairpinMode", "promiscMode", "vlan", "vlanTrunk", "preserveDefaultVlan", "macspoofchk",
            "enabledad", "disableContainerInterface", "portIsolation",
        ], members: [.init("vlanTrunk", trunkVocabulary)]
    ) { key in
        switch key {
        case "bridgename", "br", "brname", "ovsbridge", "master", "link", "switch", "bridgeinterface",
            "bridgedevice":
            "bridge"
        case "vlanid", "vlantag", "vid", "tag": "vlan"
        case "trunk", "trunks", "vlans", "vlantrunks": "vlanTrunk"
        case "isolation", "isolated", "isolateport", "isolateports", "portisolated":
            "portIsolation"
        case "spoofchk", "spoofcheck", "macspoof", "macspoofcheck": "macspoofchk"
        case "ipmasquerade", "masquerade", "masq": "ipMasq"
        default: nil
        }
    }
    private static let trunkVocabulary = Vocabulary(["minID", "maxID", "id"]) { key in
        switch key {
        case "min", "start", "from", "minvlan": "minID"
        case "max", "end", "to", "maxvlan": "maxID"
        case "vlan", "vlanid", "vid", "tag": "id"
        default: nil
        }
    }

    package struct Config: Equatable, Sendable {
        package var bridge = "cni0"
        /// The configuration chose it.
        package var isNamed = false
        package var isGateway = false
        package var isDefaultGateway = false
        package var forceAddress = false
        package var ipMasq = false
        package var ipMasqBackend = Masquerade.Backend.nftables
        /// nil leaves the MTU to the kernel. Given to a bridge at its creation and to both ends of the pair.
        package var mtu: UInt32?
        package var hairpinMode = false
        package var promiscMode = false
        package var portIsolation = false
        /// nil leaves the port to the bridge's default VLAN.
        package var vlans: PortVLANs?
        /// The VLAN that the bridge's address is on, when it is not the default one: `vlan` of the configuration.
        package var vlan: UInt16?
        /// A bridge made here keeps VLANs apart. An empty `vlanTrunk` asks for it too.
        package var vlanFiltering = false
        package var macspoofchk = false
        /// Duplicate address detection in the pod: off saves a second or more for each attachment.
        package var enabledad = false
        /// In the meta role the gateway's address skips duplicate address detection: otherwise it does not answer for a
        /// second.
        package var gatewayIsInstant = false
        package var disableContainerInterface = false
        /// nil takes the derived address.
        package var mac: MAC?
        /// Replaces IPAM's when set.
        package var dns: DNS?
        package var hasIPAM = false

        /// The link that has the pod's gateway addresses.
        var gatewayLink: LinkName { .host(vlan.map { "\(bridge).\($0)" } ?? bridge) }
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        let ours: [LinkName] = [.host(config.bridge), .sandbox(attachment.interface)]
        switch verb {
        case .add:
            var query = FactsQuery(links: ours)
            if config.mtu != nil { query.ports = [config.bridge] }
            guard config.isGateway else { return query }
            if !ours.contains(config.gatewayLink) { query.links.append(config.gatewayLink) }
            query.addresses = [config.gatewayLink]
            return query
        case .check:
            // The peer has another name when the reference plugin made the pair.
            let promised = attachment.previous?.interfaces.filter(\.isInHost) ?? []
            return FactsQuery(links: ours + promised.map { .host($0.name) })
        case .del:
            // Masquerade rules of iptables go by address; without a result the link tells which.
            guard config.ipMasq, config.hasIPAM, attachment.previous == nil else { return FactsQuery() }
            let link = LinkName.sandbox(attachment.interface)
            return FactsQuery(links: [link], addresses: [link])
        default: return FactsQuery()
        }
    }

    package static func make(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> [Step] {
        var steps: [Step] = [
            .ensureBridge(
                BridgeSpec(
                    name: config.bridge, mtu: config.mtu, mac: attachment.mac(ofBridge: config.bridge),
                    vlanFiltering: config.vlanFiltering))
        ]
        if config.promiscMode, facts.links[.host(config.bridge)]?.isPromiscuous != true {
            steps.append(.change(.host(config.bridge), .promiscuous(true)))
        }
        return steps + port(config, attachment)
    }

    private static func podMAC(_ config: Config, _ attachment: Attachment) -> MAC {
        config.mac ?? attachment.mac(.sandbox)
    }

    package static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        let addressing = try addressing(config, attachment)
        let bridge = facts.links[.host(config.bridge)]
        var steps: [Step] = []
        if config.hasIPAM {
            steps += addressing.steps(
                attachment.interface, settings(config), settles: config.enabledad)
        } else if !config.disableContainerInterface {
            steps.append(.change(.sandbox(attachment.interface), .up(true)))
        }
        if config.isGateway {
            if let link = vlanInterface(config, attachment, bridge, addressing) {
                steps.append(.ensureVLANInterface(link))
            }
            steps += try gatewaySteps(config, addressing, facts.links[config.gatewayLink])
        }
        if config.ipMasq, config.hasIPAM {
            steps.append(.masquerade(masquerade(config, attachment, addressing.ips.map(\.address))))
        }
        if !config.disableContainerInterface { steps.append(.awaitCarrier(.host(attachment.hostLinkName))) }

        var result = CNIResult()
        result.interfaces = [
            .init(name: config.bridge),
            .init(name: attachment.hostLinkName, mac: "\(attachment.mac(.host))"),
            .init(
                name: attachment.interface, mac: "\(podMAC(config, attachment))", sandbox: attachment.sandbox),
        ]
        var readBack = [0]
        if let link = vlanInterface(config, attachment, bridge, addressing) {
            readBack.append(result.interfaces.count)
            result.interfaces.append(.init(name: link.name))
        }
        result.ips = addressing.ips
        result.routes = addressing.routes
        result.dns = config.dns ?? attachment.lease?.dns ?? DNS()
        return Plan(steps: steps, result: result, readBack: readBack)
    }

    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        var removal = Removal(links: [attachment.interface], hostPairs: [attachment.hostLinkName])
        if config.ipMasq, config.hasIPAM {
            let link = facts.links[.sandbox(attachment.interface)]
            let addresses = attachment.previous?.ips.map(\.address) ?? link?.addresses ?? []
            removal.steps.append(.removeMasquerade(masquerade(config, attachment, addresses)))
        }
        if config.macspoofchk {
            let others = (attachment.previous?.interfaces ?? []).filter(\.isInHost).map(\.name)
            let names = [SpoofCheck.name(of: attachment.id), SpoofCheck.referenceName(of: attachment.id)]
            for name in names[0] == names[1] ? [names[0]] : names {
                removal.steps.append(.removeSpoofCheck(name, ports: [attachment.hostLinkName] + others))
            }
        }
        return removal
    }

    package static func refuse(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) {
        if let existing = facts.links[.host(config.bridge)], existing.kind != "bridge" {
            throw Failure(
                .generic, "\"\(config.bridge)\" already exists but is not a bridge",
                details: "it is a link of kind \(existing.kind.isEmpty ? "device" : existing.kind); "
                    + "name another one in the key bridge")
        }
        // nft's comments, by which the rules are found again, have 127 bytes.
        if config.macspoofchk, attachment.id.containerID.utf8.count + attachment.interface.utf8.count > 114 {
            throw Failure(
                .generic, "macspoofchk: the container ID and the interface name have more than 114 bytes",
                details: "the rules could not be told apart; use shorter ones, or leave macspoofchk away")
        }
        if facts.links[.sandbox(attachment.interface)] != nil {
            throw Failure(
                .generic, "container veth name (\"\(attachment.interface)\") already exists",
                details: whoHas(attachment))
        }
    }

    package static func judge(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> [Remark] {
        var remarks: [Remark] = []
        if !config.isNamed {
            remarks.append(.choice("the key bridge is missing: it is a port of \(config.bridge)"))
        }
        if !config.hasIPAM, config.isGateway || config.ipMasq {
            remarks.append(
                .concern("isGateway, isDefaultGateway and ipMasq do nothing: the network has no ipam"))
        }
        if config.vlans != nil,
            facts.links[.host(config.bridge)]?.settings == KindSettings(BridgeKind(vlanFiltering: false))
        {
            remarks.append(
                .concern(
                    "\(config.bridge) keeps no VLANs apart: ip link set dev \(shellQuoted(config.bridge)) type bridge vlan_filtering 1"
                ))
        }
        // A bridge without ports may take the MTU of its first one.
        if let mtu = config.mtu, let bridge = facts.links[.host(config.bridge)], mtu > bridge.mtu,
            let ports = bridge.portMTU
        {
            guard ports >= mtu else {
                throw Failure(
                    .badConfig, "invalid MTU \(mtu), must be [0, bridge MTU(\(bridge.mtu))]",
                    details:
                        "no port of \(config.bridge) takes so much: lower the key mtu, or raise the MTU of"
                        + " \(config.bridge) and its ports (ip link set PORT mtu \(mtu))")
            }
            remarks.append(
                .concern(
                    "MTU \(mtu) is above the \(bridge.mtu) of \(config.bridge): some ports do not get larger frames"
                ))
        }
        return remarks
    }

    /// The veth pair with its bridge port. What a port receives is the bridge's: the port's own accept_ra, which the
    /// reference clears, is never looked at (net/bridge/br_input.c).
    private static func port(_ config: Config, _ attachment: Attachment) -> [Step] {
        let (peer, mac) = (attachment.hostLinkName, podMAC(config, attachment))
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
        if let vlans = config.vlans { steps.append(.setVLANs(peer, vlans)) }
        if config.macspoofchk {
            steps.append(.spoofCheck(SpoofCheck(id: attachment.id, port: peer, mac: mac)))
        }
        return steps
    }

    /// The host's link on the attachment's VLAN, for the gateway addresses of IPAM.
    private static func vlanInterface(
        _ config: Config, _ attachment: Attachment, _ bridge: LinkFacts?, _ addressing: Addressing
    ) -> VLANInterface? {
        guard config.isGateway, let vid = config.vlan, addressing.ips.contains(where: { $0.gateway != nil })
        else { return nil }
        return VLANInterface(
            bridge: config.bridge, vid: vid, peer: attachment.vlanPeerName, mtu: bridge?.mtu ?? config.mtu,
            keepsDefault: config.vlans?.keepsDefault ?? false)
    }

    private static func masquerade(
        _ config: Config, _ attachment: Attachment, _ addresses: [CIDR]
    ) -> Masquerade {
        Masquerade(
            networkName: attachment.networkName, id: attachment.id, addresses: addresses,
            backend: config.ipMasqBackend)
    }
}

// MARK: Configuration

extension Bridge {
    package static func segment(_ configuration: JSON) -> String? {
        "bridge \(configuration["bridge"]?.string ?? "cni0"), VLAN \(configuration["vlan"]?.print() ?? "0")"
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        var config = Config()
        let json = input.config.reader
        do throws(JSONError) {
            config.isNamed = json.has("bridge")
            if config.isNamed { config.bridge = try json.string("bridge") ?? "cni0" }
            config.isDefaultGateway = try json.bool("isDefaultGateway") ?? false
            config.isGateway = try json.bool("isGateway") ?? false || config.isDefaultGateway
            config.forceAddress = try json.bool("forceAddress") ?? false
            config.ipMasq = try json.bool("ipMasq") ?? false
            config.hairpinMode = try json.bool("hairpinMode") ?? false
            config.promiscMode = try json.bool("promiscMode") ?? false
            config.portIsolation = try json.bool("portIsolation") ?? false
            config.macspoofchk = try json.bool("macspoofchk") ?? false
            config.ipMasqBackend = try backend(json, input.verb)
            try readVLANs(json, into: &config)
            config.enabledad = try json.bool("enabledad") ?? false
            config.disableContainerInterface = try json.bool("disableContainerInterface") ?? false
            // As the reference does: a negative MTU counts as none.
            if input.isStrict, let mode = try json.string("mode"),
                ["private", "vepa", "passthru"].contains(mode)
            {
                throw json.error(
                    "mode", "\"\(mode)\" is a mode of macvlan: on a bridge portIsolation keeps pods apart")
            }
            let mtu = try input.mtu()
            config.mtu = mtu > 0 ? UInt32(mtu) : nil
        } catch {
            throw Failure(.badConfig, error)
        }
        config.dns = input.config.givenDNS
        config.hasIPAM = input.config.ipamType != nil
        config.gatewayIsInstant = input.rules.completesPaths
        // DEL must work with a configuration that ADD would refuse.
        if input.verb != .del {
            config.mac = try requestedMAC(input)
            try refuseContradictions(config)
        }
        return config
    }

    /// CNI_ARGS, then `args.cni.mac`, then `runtimeConfig.mac`: the last one given wins.
    private static func requestedMAC(_ input: PluginInput) throws(Failure) -> MAC? {
        let asked: (key: String, text: String)?
        do throws(JSONError) {
            asked = lastGiven([
                ("CNI_ARGS MAC", input.args["MAC"]),
                ("args.cni.mac", try input.config.reader.object("args")?.object("cni")?.string("mac")),
                ("runtimeConfig.mac", try input.config.runtimeConfig?.string("mac")),
            ])
        } catch {
            throw Failure(.badConfig, error)
        }
        guard let asked else { return nil }
        guard let mac = MAC(parsing: asked.text), !mac.isMulticast else {
            var failure = Failure(
                .badConfig, "failed to make veth pair: invalid MAC address \"\(asked.text)\"",
                details: "write six octets, the first one even, as in 02:00:00:00:00:01")
            failure.key = asked.key
            throw failure
        }
        return mac
    }

    private static func refuseContradictions(_ config: Config) throws(Failure) {
        if let problem = Names.interfaceProblem(config.bridge) {
            throw Failure(.badConfig, "bridge: the name \"\(config.bridge)\" \(problem)")
        }
        if config.isGateway, case let name = config.gatewayLink.name, Names.interfaceProblem(name) != nil {
            throw Failure(
                .badConfig, "bridge: the VLAN's interface \"\(name)\" would have more than 15 bytes",
                details: "choose a shorter name for the bridge")
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

    /// DEL removes the rules of both backends, so it need not know the one that is named.
    private static func backend(_ json: Reader, _ verb: Verb) throws(JSONError) -> Masquerade.Backend {
        guard let name = try json.string("ipMasqBackend"), !name.isEmpty else { return .nftables }
        if let backend = Masquerade.Backend(rawValue: name) { return backend }
        guard verb == .add else { return .nftables }
        throw json.error("ipMasqBackend", "unknown ipmasq backend \"\(name)\": write nftables or iptables")
    }
}
