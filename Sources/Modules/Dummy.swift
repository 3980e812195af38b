package import CNI
package import JSONC
import Networking
package import Plans

/// A link that drops what it is given, for addresses that are the pod's alone. CNI reference plugin `dummy`; kernel:
/// drivers/net/dummy.c.
package enum Dummy: Module {
    package static let type = "dummy"
    package static let linkKind: String? = "dummy"
    package static let vocabulary = Vocabulary([])

    package struct Config: Equatable, Sendable {}

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        guard input.verb == .del || input.config.ipamType != nil else {
            throw Failure(
                .badConfig, "dummy interface requires an IPAM configuration",
                details: "add the key ipam: without an address the link is of no use")
        }
        return Config()
    }

    package static func needs(_: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        verb == .add || verb == .check ? FactsQuery(links: [.sandbox(attachment.interface)]) : FactsQuery()
    }

    package static func refuse(_: Config, _ attachment: Attachment, _ facts: Facts) throws(Failure) {
        try refuseTaken(attachment, facts)
    }

    package static func make(_: Config, _ attachment: Attachment, _: Facts) throws(Failure) -> [Step] {
        [.addLink(LinkSpec(attachment.interface, .dummy, mac: attachment.mac(.sandbox)), .sandbox)]
    }

    package static func configure(
        _: Config, _ attachment: Attachment, _: Facts
    ) throws(Failure) -> Plan {
        let addressing = try Addressing(attachment, index: 0)
        var result = CNIResult()
        result.interfaces = [
            .init(
                name: attachment.interface, mac: "\(attachment.mac(.sandbox))", sandbox: attachment.sandbox)
        ]
        result.ips = addressing.ips
        result.routes = addressing.routes
        result.dns = attachment.lease?.dns ?? DNS()
        return Plan(steps: addressing.steps(attachment.interface, [], settles: true), result: result)
    }

    package static func removal(_: Config, _ attachment: Attachment, _: Facts) -> Removal {
        Removal(links: [attachment.interface])
    }

    package static func check(
        _: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        let link = try promisedLink(attachment, previous, facts)
        guard link.kind == DummyKind.name else {
            throw Failure(
                .generic, "container interface \"\(attachment.interface)\" is not of type dummy",
                details: changed)
        }
        guard link.isUp else {
            throw Failure(
                .generic, "container interface \"\(attachment.interface)\" is down",
                details: "ip link set \(shellQuoted(attachment.interface)) up, in \(attachment.sandbox)")
        }
    }
}
