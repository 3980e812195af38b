import CNI
import Linux
import Netlink
import Network
import Plans

/// Masquerade rules and spoof checks, named as the reference plugins name them, so that either removes the other's.
extension Kernel {
    func ensureMasquerade(_ rule: Masquerade) throws(NetlinkError) {
        guard rule.backend == .nftables else { return try Iptables.masquerade(rule) }
        let prefix = Self.instance(rule)
        let names = [rule.networkName, rule.id.interface, rule.id.containerID].map {
            $0.filter { $0 != "\"" }
        }
        let comment = "\(prefix), net: \(names[0]), if: \(names[1]), id: \(names[2])"
        let rules = rule.addresses.map {
            MasqueradeRule(address: $0.address, network: $0.network, comment: comment)
        }
        try nftables { socket throws(NetlinkError) in
            try socket.ensureMasquerade(rules: rules, instancePrefix: prefix)
        }
    }

    /// Removes the rules of both backends: which one made them is not written down anywhere.
    func removeMasquerade(_ rule: Masquerade) throws(NetlinkError) {
        var kinds: [Iptables] = []
        try nftables { socket throws(NetlinkError) in
            _ = try socket.removeMasquerade(prefix: Self.instance(rule))
            for family in IPAddress.Family.allCases {
                if try socket.hasIptablesChain(Iptables.chain(of: rule), family) {
                    kinds.append(Iptables(family, .nft))
                }
            }
        }
        // The programs would run where the thread is.
        guard isHome else { return }
        for family in IPAddress.Family.allCases where Iptables.legacyHasNAT(family) {
            kinds.append(Iptables(family, .legacy))
        }
        for kind in kinds { try kind.remove(rule) }
    }

    private static func instance(_ rule: Masquerade) -> String {
        let attachment = "\(rule.id.interface):\(rule.id.containerID)"
        return "\(Digest.sha512(rule.networkName).prefix(16))-\(Digest.sha512(attachment).prefix(16))"
    }

    func ensureSpoofCheck(_ check: SpoofCheck) throws(NetlinkError) {
        let rule = SpoofCheckRule(id: Self.name(check.id), port: check.port, mac: check.mac)
        try nftables { socket throws(NetlinkError) in try socket.ensureSpoofCheck(rule) }
    }

    func removeSpoofCheck(_ id: AttachmentID) throws(NetlinkError) {
        try nftables { socket throws(NetlinkError) in try socket.removeSpoofCheck(id: Self.name(id)) }
    }

    private static func name(_ id: AttachmentID) -> String { "\(id.containerID)-\(id.interface)" }
}
