package import CNI
import Networking
package import Plans

extension Bridge {
    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        func refuse(_ text: String) -> Failure { Failure(.generic, text, details: changed) }
        guard let bridge = facts.links[.host(config.bridge)] else {
            throw refuse("bridge \"\(config.bridge)\" does not exist")
        }
        guard bridge.kind == "bridge" else { throw refuse("\"\(config.bridge)\" is not a bridge") }
        guard bridge.isPromiscuous == config.promiscMode else {
            throw refuse(
                "bridge \"\(config.bridge)\" promiscuous mode is \(bridge.isPromiscuous ? "on" : "off")")
        }
        guard let own = previous.interfaces.first(where: { $0.name == config.bridge }) else {
            throw refuse("prevResult has no interface \"\(config.bridge)\"")
        }
        guard own.isInHost else {
            throw refuse("prevResult has the bridge \"\(config.bridge)\" in the sandbox \(own.sandbox ?? "")")
        }
        if let expected = own.mac, MAC(parsing: expected) != bridge.mac {
            throw refuse(
                "bridge \"\(config.bridge)\" has the MAC \(bridge.mac.map { "\($0)" } ?? "none"), not \(expected)"
            )
        }
        guard
            let promised = previous.interfaces.first(where: {
                $0.name == attachment.interface && $0.sandbox != nil
            })
        else { throw refuse("prevResult has no interface \"\(attachment.interface)\" in a sandbox") }
        guard promised.sandbox == attachment.sandbox else {
            throw refuse(
                "sandbox \(promised.sandbox ?? "") of \(promised.name) doesn't match configured netns \(attachment.sandbox)"
            )
        }
        guard let link = facts.links[.sandbox(attachment.interface)] else {
            throw refuse(
                "container interface \"\(attachment.interface)\" does not exist in \(attachment.sandbox)")
        }
        guard link.kind == "veth" else {
            throw refuse("container interface \"\(attachment.interface)\" is not a veth")
        }
        if let expected = promised.mac, MAC(parsing: expected) != link.mac {
            throw refuse(
                "interface \"\(attachment.interface)\" MAC doesn't match: prevResult has \(expected)")
        }
        try checkPort(config, previous, link, facts)
    }

    /// One of the interfaces of `previous` must be the other end, a port of the bridge.
    private static func checkPort(
        _ config: Config, _ previous: CNIResult, _ link: LinkFacts, _ facts: Facts
    ) throws(Failure) {
        for candidate in previous.interfaces where candidate.isInHost {
            guard let host = facts.links[.host(candidate.name)], host.kind == "veth",
                host.peerIndex == link.index, link.peerIndex == host.index
            else { continue }
            if let expected = candidate.mac, MAC(parsing: expected) != host.mac {
                throw Failure(
                    .generic, "interface \"\(candidate.name)\" MAC doesn't match: prevResult has \(expected)",
                    details: changed)
            }
            guard host.controller == config.bridge else {
                throw Failure(
                    .generic, "host interface \(candidate.name) is not a port of bridge \(config.bridge)",
                    details: changed)
            }
            return
        }
        throw Failure(
            .generic, "veth created for bridge \(config.bridge) was not found", details: changed)
    }
}
