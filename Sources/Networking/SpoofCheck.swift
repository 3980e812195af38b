/// Drops what a bridge port sends with another source address than its own.
package struct SpoofCheck: Hashable, Sendable {
    /// `<containerID>-<interface>`: part of the chains' names and of every comment.
    package var name: String
    /// The bridge port.
    package var port: String
    package var mac: MAC

    package init(name: String, port: String, mac: MAC) {
        self.name = name
        self.port = port
        self.mac = mac
    }

    package var changes: [NftChange] {
        let chains = SpoofChains(name)
        // NF_BR_PRI_NAT_DST_BRIDGED.
        let priority: Int32 = -300
        return [
            .addTable(of: chains.prerouting),
            .addBaseChain(chains.prerouting, type: "filter", .prerouting, priority: priority),
            .addChain(chains.interface), .flush(chains.interface), .addChain(chains.mac), .flush(chains.mac),
            .add(
                NftRule(
                    chains.prerouting, [.fromLink(port), .jump(chains.interface.name)],
                    comment: chains.comment)),
            .add(NftRule(chains.interface, [.jump(chains.mac.name)], comment: chains.comment)),
            .add(NftRule(chains.mac, [.sourceMAC(mac), .returns], comment: chains.comment)),
            .add(NftRule(chains.mac, [.drop], comment: chains.comment)),
        ]
    }
}

/// Chains and comments as the reference plugin names them, so that either program removes the other's.
package struct SpoofChains: Sendable {
    package let prerouting = NftChain(.bridge, "nat", "PREROUTING")
    package let interface: NftChain
    package let mac: NftChain
    package let comment: String

    /// - Parameter name: as in `SpoofCheck`.
    package init(_ name: String) {
        interface = NftChain(.bridge, "nat", "cni-br-iface-\(name)")
        mac = NftChain(.bridge, "nat", "cni-br-iface-\(name)-mac")
        comment = "macspoofchk-\(name)"
    }
}
