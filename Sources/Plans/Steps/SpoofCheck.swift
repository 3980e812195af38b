package import Network

/// Lets bridge ports send with their own source address alone, by nftables.
package enum SpoofCheckStep: StepKind {
    case ensure(SpoofCheck)
    /// - Parameter name: as in `SpoofCheck`.
    case remove(_ name: String)

    package var name: String {
        switch self {
        case .ensure: "spoofCheck"
        case .remove: "removeSpoofCheck"
        }
    }

    package var commands: [String] {
        switch self {
        case .ensure(let check): return Self.untypable(check.name) ?? check.changes.map(\.command)
        case .remove(let name):
            let chains = SpoofChains(name)
            return Self.untypable(name)
                ?? ["# delete the rule of PREROUTING with the comment \(chains.comment)"]
                + [chains.interface.name, chains.mac.name].map { "nft delete chain bridge nat \($0)" }
        }
    }

    /// The grammar of nft has no quotes for names; over netlink they may be anything.
    private static func untypable(_ name: String) -> [String]? {
        let isPlain = name.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || "_-./".utf8.contains($0)
        }
        let chain = SpoofChains(name).interface.name
        return isPlain ? nil : ["# nft cannot be told the name of the chain \(visible(chain))"]
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func spoofCheck(_ check: SpoofCheck) -> Step { Step(SpoofCheckStep.ensure(check)) }
    package static func removeSpoofCheck(_ id: AttachmentID) -> Step {
        Step(SpoofCheckStep.remove(SpoofCheck.name(of: id)))
    }
}

extension SpoofCheck {
    package init(id: AttachmentID, port: String, mac: MAC) {
        self.init(name: Self.name(of: id), port: port, mac: mac)
    }

    /// How rules and chains call an attachment.
    package static func name(of id: AttachmentID) -> String { "\(id.containerID)-\(id.interface)" }
}
