internal import CLinux
internal import CMnl
internal import Glibc
package import Network

/// Drops what a bridge port sends with another source address than its own.
package struct SpoofCheckRule: Equatable, Sendable {
    /// `<containerID>-<interface>`: part of the chains' names and of every comment.
    package var id: String
    /// The bridge port.
    package var port: String
    package var mac: MAC

    package init(id: String, port: String, mac: MAC) {
        self.id = id
        self.port = port
        self.mac = mac
    }
}

/// Chains and comments as the reference plugin names them, so that either program removes the other's.
private struct SpoofChains {
    let prerouting = NftChain(family: CInt(NFPROTO_BRIDGE), table: "nat", name: "PREROUTING")
    let interface: NftChain
    let mac: NftChain
    let comment: String

    init(_ id: String) {
        interface = NftChain(family: prerouting.family, table: "nat", name: "cni-br-iface-\(id)")
        mac = NftChain(family: prerouting.family, table: "nat", name: "cni-br-iface-\(id)-mac")
        comment = "macspoofchk-\(id)"
    }
}

extension NftSocket {
    /// Adds the check; one of the same id is replaced.
    package mutating func ensureSpoofCheck(_ rule: SpoofCheckRule) throws(NetlinkError) {
        let chains = SpoofChains(rule.id)
        let stale = try handles(in: chains.prerouting) { $0 == chains.comment }
        let room = 8192 + stale.count * 128
        try transaction("add the MAC spoof check of \(rule.port)", capacity: room) { transaction in
            transaction.addTable(of: chains.prerouting)
            // NF_BR_PRI_NAT_DST_BRIDGED.
            transaction.addChain(chains.prerouting, type: "filter", hook: 0, priority: -300)
            for handle in stale { transaction.deleteRule(handle, in: chains.prerouting) }
            for chain in [chains.interface, chains.mac] {
                transaction.addChain(chain)
                transaction.flush(chain)
            }
            transaction.addRule(in: chains.prerouting, comment: chains.comment) {
                $0.matchInterface(rule.port)
                $0.jump(chains.interface.name)
            }
            transaction.addRule(in: chains.interface, comment: chains.comment) { $0.jump(chains.mac.name) }
            transaction.addRule(in: chains.mac, comment: chains.comment) {
                $0.matchSource(rule.mac)
                $0.returnVerdict()
            }
            transaction.addRule(in: chains.mac, comment: chains.comment) { $0.drop() }
        }
    }

    /// The ids of all checks, with the ports that they are of; empty for chains that nothing jumps to.
    package mutating func spoofChecks() throws(NetlinkError) -> [(id: String, port: String)] {
        let base = SpoofChains("")
        var found: [(id: String, port: String)] = []
        for rule in try rules(in: base.prerouting) where rule.comment.hasPrefix(base.comment) {
            found.append((String(rule.comment.dropFirst(base.comment.count)), rule.interface))
        }
        for name in try chains(
            of: base.prerouting.table, base.prerouting.family, beginning: base.interface.name)
        {
            let id = name.dropFirst(base.interface.name.count)
            if !id.hasSuffix("-mac"), !found.contains(where: { $0.id == id }) {
                found.append((String(id), ""))
            }
        }
        return found
    }

    /// Removes the check of `id`, and nothing else; the table and its base chain are shared and stay.
    package mutating func removeSpoofCheck(id: String) throws(NetlinkError) {
        let chains = SpoofChains(id)
        let handles = try handles(in: chains.prerouting) { $0 == chains.comment }
        // In the order in which they refer to each other.
        var found: [NftChain] = []
        for chain in [chains.interface, chains.mac] where try exists(chain) { found.append(chain) }
        guard !handles.isEmpty || !found.isEmpty else { return }
        let room = 4096 + handles.count * 128
        try transaction("remove the MAC spoof check of \(id)", capacity: room) { transaction in
            for handle in handles { transaction.deleteRule(handle, in: chains.prerouting) }
            for chain in found { transaction.deleteChain(chain) }
        }
    }
}
