internal import CLinux
internal import CMnl
internal import Glibc
internal import Linux
package import Network

/// One address whose packets get the host's address when they leave their network.
package struct MasqueradeRule: Equatable, Sendable {
    package var address: IPAddress
    package var network: CIDR
    /// Begins with the attachment's prefix; at most 127 bytes.
    package var comment: String
    /// Who made it, for us alone; may be empty.
    package var owner: String

    package init(address: IPAddress, network: CIDR, comment: String, owner: String = "") {
        self.address = address
        self.network = network
        self.comment = comment
        self.owner = owner
    }
}

/// The table and chains of the reference plugins, so that either program removes the other's rules.
extension NftChain {
    fileprivate static let checks = masquerading("masq_checks")
    fileprivate static let postrouting = masquerading("postrouting")

    private static func masquerading(_ name: String) -> NftChain {
        NftChain(family: CInt(NFPROTO_INET), table: "cni_plugins_masquerade", name: name)
    }
}

extension NftSocket {
    /// Adds the rules, and takes out those whose comment begins with `instancePrefix`.
    package mutating func ensureMasquerade(rules: [MasqueradeRule], instancePrefix: String)
        throws(NetlinkError)
    {
        let stale = try handles(in: .checks) { $0.hasPrefix(instancePrefix) }
        let room = Self.room(rules.count, stale.count)
        try transaction("add masquerade rules", capacity: room) { transaction in
            Self.addFrame(&transaction)
            for handle in stale { transaction.deleteRule(handle, in: .checks) }
            for rule in rules { Self.add(rule, &transaction) }
        }
    }

    /// - Returns: how many rules there were.
    package mutating func removeMasquerade(prefix: String) throws(NetlinkError) -> Int {
        try removeMasquerade { comment, _ in comment.hasPrefix(prefix) }
    }

    /// The same by comment and owner.
    @discardableResult
    package mutating func removeMasquerade(
        where isWanted: (_ comment: String, _ owner: String) -> Bool
    ) throws(NetlinkError) -> Int {
        let found = try rules(in: .checks).filter { isWanted($0.comment, $0.owner) }.map(\.handle)
        guard !found.isEmpty else { return 0 }
        try transaction("remove masquerade rules", capacity: Self.room(0, found.count)) { transaction in
            for handle in found { transaction.deleteRule(handle, in: .checks) }
        }
        return found.count
    }

    /// Bytes for the frame, and for rules to add (712 at most, IPv6) and to delete (76).
    private static func room(_ added: Int, _ deleted: Int) -> Int { 4096 + added * 1024 + deleted * 96 }

    static func add(_ rule: MasqueradeRule, _ transaction: inout Transaction) {
        transaction.addRule(in: .checks, comment: rule.comment, owner: rule.owner) {
            $0.matchFamily(rule.address.family)
            $0.match(.source, .host(rule.address), equal: true)
            $0.match(.destination, rule.network, equal: false)
            $0.masquerade()
        }
    }

    /// Table and chains, and the jump between them written anew.
    private static func addFrame(_ transaction: inout Transaction) {
        transaction.addTable(of: .checks, comment: "Plexus: source translation of CNI attachments")
        transaction.addChain(.checks, comment: "Plexus: one rule for each address")
        transaction.addChain(
            .postrouting, type: "nat", hook: UInt32(NF_INET_POST_ROUTING.rawValue), priority: 100)
        transaction.flush(.postrouting)
        for (family, first, length) in [
            (IPAddress.Family.v4, UInt128(0xe0) << 24, 4), (.v6, UInt128(0xff) << 120, 8),
        ] {
            transaction.addRule(in: .postrouting) {
                $0.matchFamily(family)
                $0.match(.destination, CIDR(IPAddress(family, bits: first), length), equal: true)
                $0.returnVerdict()
            }
        }
        transaction.addRule(in: .postrouting) { $0.goTo(NftChain.checks.name) }
    }
}
