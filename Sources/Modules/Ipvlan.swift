package import CNI
package import JSONC
import Networking
package import Plans

/// A link with its master's MAC address and IP addresses of its own. CNI reference plugin `ipvlan`; kernel:
/// drivers/net/ipvlan.
package enum Ipvlan: Module {
    package static let type = "ipvlan"
    package static let linkKind: String? = "ipvlan"
    package static let vocabulary = ChildLink.vocabulary

    package struct Config: Equatable, Sendable {
        var link: ChildLink
        var mode = IPVLANMode.l2
        var mtu: UInt32?
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        do throws(JSONError) { return try read(input) } catch { throw Failure(.badConfig, error) }
    }

    private static func read(_ input: PluginInput) throws(JSONError) -> Config {
        let json = input.config.reader
        var config = Config(link: try ChildLink(input))
        let mtu = try input.mtu()
        config.mtu = mtu > 0 ? UInt32(mtu) : nil
        let mode = try json.string("mode") ?? ""
        guard input.verb != .del else { return config }
        guard let known = mode.isEmpty ? .l2 : IPVLANMode.allCases.first(where: { $0.name == mode }) else {
            throw json.error("mode", "unknown ipvlan mode: \"\(mode)\": write l2, l3 or l3s")
        }
        config.mode = known
        return config
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        chained(config, attachment).link.needs(attachment, verb)
    }

    /// Behind another plugin and without a master of its own, it sits on that plugin's only interface.
    private static func chained(_ config: Config, _ attachment: Attachment) -> Config {
        var config = config
        if config.link.master == nil, let previous = attachment.previous, previous.interfaces.count == 1 {
            config.link.master = previous.interfaces[0].name
        }
        return config
    }

    package static func refuse(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) {
        if config.link.master == nil, let previous = attachment.previous, previous.interfaces.count != 1 {
            throw Failure(
                .badConfig, "chained master failure: prevResult has \(previous.interfaces.count) interfaces",
                details: "one would be the master; name it in the key master")
        }
        _ = try chained(config, attachment).link.master(facts)
        try refuseTaken(attachment, facts)
    }

    /// No two ipvlans of one master may have an address.
    package static func segment(_ configuration: JSON) -> String? { ChildLink.segment(configuration) }

    package static func holds(_ claim: Failure.Claim, _ configuration: JSON) -> Bool {
        if case .address = claim { true } else { ChildLink.holds(claim, configuration) }
    }

    package static func judge(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> [Remark] {
        let link = chained(config, attachment).link
        let master = try link.master(facts)
        guard let mtu = config.mtu, mtu > master.facts.mtu else { return link.remarks(facts) }
        return link.remarks(facts) + [
            .concern(
                "MTU \(mtu) is above the \(master.facts.mtu) of \(master.name.name): larger frames do not leave it"
            )
        ]
    }

    package static func make(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> [Step] {
        let link = chained(config, attachment).link
        let spec = LinkSpec(
            attachment.interface, .ipvlan(config.mode), mtu: config.mtu,
            temporaryName: attachment.temporaryName)
        return [.addLink(spec, .sandbox, parent: try link.master(facts).name)]
    }

    package static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        let addressing = try addressing(config, attachment)
        let master = try chained(config, attachment).link.master(facts)
        var result = CNIResult()
        result.interfaces = [
            .init(
                name: attachment.interface, mac: master.facts.mac.map { "\($0)" },
                sandbox: attachment.sandbox)
        ]
        result.ips = addressing.ips
        result.routes = addressing.routes
        // IPAM's DNS is ignored, as in the reference plugin, unless the configuration asks for it.
        result.dns = config.link.dns ?? attachment.lease?.wantedDNS ?? DNS()
        return Plan(
            steps: addressing.steps(attachment.interface, Addressing.announcing, settles: true),
            result: result)
    }

    /// IPAM's, or without IPAM the addresses and routes of the plugin before.
    private static func addressing(_ config: Config, _ attachment: Attachment) throws(Failure) -> Addressing {
        if config.link.hasIPAM { return try Addressing(attachment, index: 0) }
        guard let previous = attachment.previous, !previous.ips.isEmpty else {
            throw Failure(
                .badConfig, "no plugin name provided: ipvlan needs an IPAM configuration",
                details: "add the key ipam, or put the plugin behind one that gives addresses")
        }
        return Addressing(previous.ips, previous.routes, index: 0)
    }

    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        config.link.removal(attachment)
    }

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        var link = config.link
        // The result of the whole chain no longer names the master that another plugin gave.
        if link.master == nil, facts.defaultRouteLink == nil { link.master = attachment.interface }
        if link.master == attachment.interface { link.linkInContainer = true }
        try link.check(.ipvlan(config.mode), attachment, previous, facts)
    }
}
