package import CNI
package import JSONC
import Networking
package import Plans

/// A link with a MAC address of its own on one of the host's. CNI reference plugin `macvlan`; kernel:
/// drivers/net/macvlan.c.
package enum Macvlan: Module {
    package static let type = "macvlan"
    package static let linkKind: String? = "macvlan"
    package static let capabilities = ["mac"]
    package static let leavesUntold = true
    package static let vocabulary = Vocabulary(["mac", "bcqueuelen"]) { key in
        ["macaddress", "hwaddr", "hwaddress"].contains(key) ? "mac" : nil
    }.with(ChildLink.vocabulary)
    /// DEL needs no key of CNI_ARGS.
    package static func arguments(_ verb: Verb) -> [String]? { verb == .del ? nil : ["MAC"] }

    package struct Config: Equatable, Sendable {
        var link: ChildLink
        var mode = MACVLANMode.bridge
        /// nil takes the derived address.
        var mac: MAC?
        /// nil leaves it to the kernel: 1000.
        var broadcastQueue: UInt32?
        var mtu: Int64 = 0
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        do throws(JSONError) { return try read(input) } catch { throw Failure(.badConfig, error) }
    }

    private static func read(_ input: PluginInput) throws(JSONError) -> Config {
        let json = input.config.reader
        var config = Config(link: try ChildLink(input))
        config.mtu = try input.mtu()
        let queue = try json.int("bcqueuelen", in: 0...Int64(UInt32.max)) ?? 0
        config.broadcastQueue = queue == 0 ? nil : UInt32(queue)
        let mode = try json.string("mode") ?? ""
        guard input.verb != .del else { return config }
        guard let known = mode.isEmpty ? .bridge : MACVLANMode.allCases.first(where: { $0.name == mode })
        else {
            throw json.error(
                "mode", "unknown macvlan mode: \"\(mode)\": write bridge, private, vepa or passthru")
        }
        config.mode = known
        let asked = lastGiven([
            ("mac", try json.string("mac")), ("CNI_ARGS MAC", input.args["MAC"]),
            ("runtimeConfig.mac", try input.config.runtimeConfig?.string("mac")),
        ])
        if let asked {
            guard let address = MAC(parsing: asked.text), !address.isMulticast else {
                throw JSONError(
                    path: asked.key,
                    problem: "invalid args \"\(asked.text)\" for MAC addr: six octets, the first one even")
            }
            config.mac = address
        }
        return config
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        config.link.needs(attachment, verb)
    }

    package static func refuse(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) {
        let master = try config.link.master(facts)
        guard config.mtu >= 0, config.mtu <= Int64(master.facts.mtu) else {
            throw Failure(
                .badConfig, "invalid MTU \(config.mtu), must be [0, master MTU(\(master.facts.mtu))]",
                details: "lower the key mtu, or leave it away to take that of \(master.name.name)")
        }
        try refuseTaken(attachment, facts)
    }

    package static func segment(_ configuration: JSON) -> String? { ChildLink.segment(configuration) }

    package static func holds(_ claim: Failure.Claim, _ configuration: JSON) -> Bool {
        ChildLink.holds(claim, configuration)
    }

    package static func judge(_ config: Config, _: Attachment, _ facts: Facts) throws(Failure) -> [Remark] {
        config.link.remarks(facts)
    }

    package static func make(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> [Step] {
        let spec = LinkSpec(
            attachment.interface, .macvlan(config.mode, broadcastQueue: config.broadcastQueue),
            mtu: config.mtu > 0 ? UInt32(exactly: config.mtu) : nil, mac: mac(config, attachment),
            temporaryName: attachment.temporaryName)
        return [.addLink(spec, .sandbox, parent: try config.link.master(facts).name)]
    }

    /// nil in passthru mode, where the link has its master's address unless another is asked for.
    private static func mac(_ config: Config, _ attachment: Attachment) -> MAC? {
        config.mac ?? (config.mode == .passthru ? nil : attachment.mac(.sandbox))
    }

    package static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        let interface = attachment.interface
        let master = try config.link.master(facts).facts
        let mac = mac(config, attachment) ?? master.mac
        var result = CNIResult()
        result.interfaces = [
            .init(name: interface, mac: "\(mac ?? attachment.mac(.sandbox))", sandbox: attachment.sandbox)
        ]
        var steps: [Step] = []
        if config.link.hasIPAM {
            let addressing = try Addressing(attachment, index: 0)
            steps += addressing.steps(interface, Addressing.announcing, settles: true)
            result.ips = addressing.ips
            result.routes = addressing.routes
        } else {
            steps.append(.change(.sandbox(interface), .up(true)))
        }
        // IPAM's DNS is ignored, as in the reference plugin, unless the configuration asks for it.
        result.dns = config.link.dns ?? attachment.lease?.wantedDNS ?? DNS()
        return Plan(steps: steps, result: result, readBack: config.mode == .passthru ? [0] : [])
    }

    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        config.link.removal(attachment)
    }

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        try config.link.check(.macvlan(config.mode), attachment, previous, facts)
    }
}
