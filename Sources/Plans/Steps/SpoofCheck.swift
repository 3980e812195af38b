package import Network

/// Lets bridge ports send with their own source address alone, by nftables.
package enum SpoofCheckStep: StepKind {
    case ensure(SpoofCheck)
    case remove(AttachmentID)

    package var name: String {
        switch self {
        case .ensure: "spoofCheck"
        case .remove: "removeSpoofCheck"
        }
    }

    package var commands: [String] {
        switch self {
        case .ensure(let check):
            if let remark = Self.untypable(check.id) { return [remark] }
            return check.rule.changes.map(\.command)
        case .remove(let id):
            if let remark = Self.untypable(id) { return [remark] }
            let chains = SpoofChains(SpoofCheck.name(of: id))
            return ["# delete the rule of PREROUTING with the comment \(chains.comment)"]
                + [chains.interface.name, chains.mac.name].map { "nft delete chain bridge nat \($0)" }
        }
    }

    /// The grammar of nft has no quotes for names; over netlink they may be anything.
    private static func untypable(_ id: AttachmentID) -> String? {
        let isPlain = id.interface.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || "_-./".utf8.contains($0)
        }
        return isPlain
            ? nil
            : "# nft cannot be told the name of the chain \(visible(SpoofChains(SpoofCheck.name(of: id)).interface.name))"
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func spoofCheck(_ check: SpoofCheck) -> Step { Step(SpoofCheckStep.ensure(check)) }
    package static func removeSpoofCheck(_ id: AttachmentID) -> Step { Step(SpoofCheckStep.remove(id)) }
}

/// Lets a bridge port send with its own source address alone.
package struct SpoofCheck: Hashable, Sendable {
    package var id: AttachmentID
    /// Name of the bridge port in the host.
    package var port: String
    /// Address of the link in the sandbox.
    package var mac: MAC

    package init(id: AttachmentID, port: String, mac: MAC) {
        self.id = id
        self.port = port
        self.mac = mac
    }

    package var rule: SpoofCheckRule { SpoofCheckRule(id: Self.name(of: id), port: port, mac: mac) }

    /// How rules and chains call an attachment.
    package static func name(of id: AttachmentID) -> String { "\(id.containerID)-\(id.interface)" }
}
