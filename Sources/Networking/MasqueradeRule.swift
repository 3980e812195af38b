/// One address whose packets get the host's address when they leave their network.
package struct MasqueradeRule: Equatable, Sendable {
    package var address: IPAddress
    package var network: CIDR
    /// Begins with the attachment's prefix.
    package var comment: String
    /// Who made it, for us alone; may be empty.
    package var owner: String

    package init(address: IPAddress, network: CIDR, comment: String, owner: String = "") {
        self.address = address
        self.network = network
        self.comment = comment
        self.owner = owner
    }

    /// The table and chains of the reference plugins, so that either program removes the other's rules.
    package static let checks = NftChain(.inet, "cni_plugins_masquerade", "masq_checks")
    private static let postrouting = NftChain(.inet, "cni_plugins_masquerade", "postrouting")

    /// Table and chains, and the jump between them written anew.
    package static let frame: [NftChange] = [
        .addTable(of: checks, comment: "Plexus: source translation of CNI attachments"),
        .addChain(checks, comment: "Plexus: one rule for each address"),
        .addBaseChain(postrouting, type: "nat", .postrouting, priority: 100),
        .flush(postrouting),
        .add(
            NftRule(
                postrouting,
                [.family(.v4), .destination(CIDR(IPAddress(.v4, bits: 0xe0 << 24), 4)), .returns])),
        .add(
            NftRule(
                postrouting,
                [.family(.v6), .destination(CIDR(IPAddress(.v6, bits: 0xff << 120), 8)), .returns])),
        .add(NftRule(postrouting, [.goTo(checks.name)])),
    ]

    package var change: NftChange {
        .add(
            NftRule(
                Self.checks,
                [
                    .family(address.family), .source(.host(address)), .destination(network, isIn: false),
                    .masquerade,
                ], comment: comment, owner: owner))
    }
}
