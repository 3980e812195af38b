package import Network

/// Source translation of attachments, by nftables or iptables.
package enum MasqueradeStep: StepKind {
    case ensure(Masquerade)
    case remove(Masquerade)

    package var name: String {
        switch self {
        case .ensure: "masquerade"
        case .remove: "removeMasquerade"
        }
    }

    package var commands: [String] {
        switch self {
        case .ensure(let rule): rule.commands
        case .remove(let rule):
            ["# delete the masquerade rules of \(rule.id.containerID) \(shellQuoted(rule.id.interface))"]
        }
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func masquerade(_ rule: Masquerade) -> Step { Step(MasqueradeStep.ensure(rule)) }
    package static func removeMasquerade(_ rule: Masquerade) -> Step { Step(MasqueradeStep.remove(rule)) }
}

/// Source translation for an attachment's addresses.
package struct Masquerade: Hashable, Sendable {
    package enum Backend: String, Hashable, Sendable { case nftables, iptables }

    package var networkName: String
    package var id: AttachmentID
    /// Addresses with the prefix length of the network they reach untranslated.
    package var addresses: [CIDR]
    /// Who gets the rules on ADD; on DEL those of both go.
    package var backend: Backend

    package init(networkName: String, id: AttachmentID, addresses: [CIDR], backend: Backend = .nftables) {
        self.networkName = networkName
        self.id = id
        self.addresses = addresses
        self.backend = backend
    }

    fileprivate var commands: [String] {
        guard backend == .nftables else {
            return addresses.map {
                let program = $0.family == .v4 ? "iptables" : "ip6tables"
                return "\(program) -t nat -A POSTROUTING -s \($0.address)"
                    + " ! -d \($0.network) -j MASQUERADE  # in a chain of its own"
            }
        }
        let table = "inet cni_plugins_masquerade"
        return [
            "nft add table \(table)", "nft add chain \(table) masq_checks",
            "nft add chain \(table) postrouting '{ type nat hook postrouting priority 100; }'",
            "nft flush chain \(table) postrouting",
            "nft add rule \(table) postrouting ip daddr 224.0.0.0/4 return",
            "nft add rule \(table) postrouting ip6 daddr ff00::/8 return",
            "nft add rule \(table) postrouting goto masq_checks",
        ]
            + addresses.map {
                let family = $0.family == .v4 ? "ip" : "ip6"
                return "nft add rule \(table) masq_checks \(family) saddr \($0.address)"
                    + " \(family) daddr != \($0.network) masquerade"
            }
    }
}
