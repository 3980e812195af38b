import Hashing
package import Networking

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
    /// The program that makes the rules on ADD; DEL removes those of both.
    package var backend: Backend

    package init(networkName: String, id: AttachmentID, addresses: [CIDR], backend: Backend = .nftables) {
        self.networkName = networkName
        self.id = id
        self.addresses = addresses
        self.backend = backend
    }

    fileprivate var commands: [String] {
        guard backend == .nftables else {
            return IPAddress.Family.allCases.flatMap { family in
                let program = family == .v4 ? "iptables" : "ip6tables"
                return iptablesLines(family).map { "\(program) -t nat \($0)" }
            }
        }
        return (MasqueradeRule.frame + rules(owner: "").map(\.change)).map(\.command)
    }

    // MARK: nftables

    /// - Parameter owner: who made them, for us alone.
    package func rules(owner: String) -> [MasqueradeRule] {
        let names = [networkName, id.interface, id.containerID].map { $0.filter { $0 != "\"" } }
        let comment = "\(instance), net: \(names[0]), if: \(names[1]), id: \(names[2])"
        return addresses.map {
            MasqueradeRule(address: $0.address, network: $0.network, comment: comment, owner: owner)
        }
    }

    /// What the comments of an attachment's rules begin with, as the reference plugins have it.
    package var instance: String {
        "\(Digest.sha512(networkName).prefix(16))-\(Self.hash(of: id))"
    }

    /// The part of a comment that tells the attachment, whatever its network.
    package static func hash(of id: AttachmentID) -> String {
        String(Digest.sha512("\(id.interface):\(id.containerID)").prefix(16))
    }

    /// That part of a comment; nil for a comment of another form.
    package static func hash(in comment: String) -> String? {
        let parts = comment.parts(by: ",")[0].parts(by: "-")
        return parts.count == 2 && parts[1].utf8.count == 16 ? String(parts[1]) : nil
    }

    /// Whether a rule with this comment is of an interface of the container's.
    package static func isOf(_ containerID: String, comment: String, where isOurs: (String) -> Bool) -> Bool {
        // Shortened, when the names are long: then nothing but the hash tells.
        guard let hash = hash(in: comment),
            let part = comment.parts(by: ",").map({ trimmed($0) }).first(where: { $0.hasPrefix("if: ") })
        else { return false }
        let interface = String(part.dropFirst(4))
        return isOurs(interface)
            && hash == Self.hash(of: AttachmentID(containerID: containerID, interface: interface))
    }

    // MARK: iptables

    /// The chain of a container and network, as the reference plugins name it.
    package var chain: String { "CNI-" + Digest.sha512(networkName + id.containerID).prefix(24) }

    /// Chain and rules of one family, as iptables-save prints them and as the command takes them; none without addresses.
    package func iptablesLines(_ family: IPAddress.Family) -> [String] {
        let addresses = addresses.filter { $0.family == family }
        guard !addresses.isEmpty else { return [] }
        let text = "name: \"\(networkName)\" id: \"\(id.containerID)\"".replacing("\"", with: "\\\"")
        let comment = "-m comment --comment \"\(text)\""
        let multicast = family == .v4 ? "224.0.0.0/4" : "ff00::/8"
        var lines = ["-N \(chain)"]
        for address in addresses {
            let rules = [
                "-A \(chain) -d \(address.network) \(comment) -j ACCEPT",
                "-A \(chain) ! -d \(multicast) \(comment) -j MASQUERADE",
                "-A POSTROUTING -s \(CIDR.host(address.address)) \(comment) -j \(chain)",
            ]
            lines += rules.filter { !lines.contains($0) }
        }
        return lines
    }
}
