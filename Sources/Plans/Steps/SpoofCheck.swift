package import Network

/// Lets bridge ports send with their own source address alone, by nftables.
package enum SpoofCheckStep: StepKind {
    case ensure(SpoofCheck)
    /// - Parameters:
    ///   - name: as in `SpoofCheck`.
    ///   - ports: only when the check is of one of these; nil for one whose name is no other's.
    case remove(_ name: String, ports: [String]?)

    package var name: String {
        switch self {
        case .ensure: "spoofCheck"
        case .remove: "removeSpoofCheck"
        }
    }

    package var commands: [String] {
        switch self {
        case .ensure(let check): return Self.untypable(check.name) ?? check.changes.map(\.command)
        case .remove(let name, _):
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
        Step(SpoofCheckStep.remove(SpoofCheck.name(of: id), ports: nil))
    }

    /// The check that the reference plugin made, whose name may be another attachment's.
    ///
    /// - Parameter ports: what the attachment's may be.
    package static func removeReferenceSpoofCheck(_ id: AttachmentID, ports: [String]) -> Step {
        Step(SpoofCheckStep.remove(SpoofCheck.referenceName(of: id), ports: ports))
    }
}

extension SpoofCheck {
    package init(id: AttachmentID, port: String, mac: MAC) {
        self.init(name: Self.name(of: id), port: port, mac: mac)
    }

    /// How rules and chains call an attachment: as the reference plugin does, where that is one attachment's alone. Of an
    /// interface with a hyphen it is not, nor of one called `mac`, as what is added for the second chain. No container ID and
    /// no interface has a slash, and nft takes one.
    package static func name(of id: AttachmentID) -> String {
        let isPlain = !id.interface.utf8.contains(UInt8(ascii: "-")) && id.interface != "mac"
        return isPlain
            ? referenceName(of: id) : "\(id.containerID)-/\(exchanged(id.interface.utf8, "-", "/"))"
    }

    /// As the reference plugin calls it.
    package static func referenceName(of id: AttachmentID) -> String { "\(id.containerID)-\(id.interface)" }

    /// The interface of a container's check.
    ///
    /// - Returns: nil for a check of another container.
    package static func interface(in name: String, of containerID: String) -> String? {
        guard name.hasPrefix("\(containerID)-") else { return nil }
        let rest = name.dropFirst(containerID.count + 1)
        return rest.hasPrefix("/") ? exchanged(rest.dropFirst().utf8, "/", "-") : String(rest)
    }

    private static func exchanged(
        _ text: some Sequence<UInt8>, _ old: Unicode.Scalar, _ new: Unicode.Scalar
    ) -> String {
        let bytes = text.map { $0 == UInt8(ascii: old) ? UInt8(ascii: new) : $0 }
        return String(decoding: bytes, as: UTF8.self)
    }
}
