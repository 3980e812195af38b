internal import CLinux
internal import CMnl
internal import Glibc
package import Network

extension NftSocket {
    /// Adds the check; one of the same id is replaced.
    package mutating func ensureSpoofCheck(_ rule: SpoofCheckRule) throws(NetlinkError) {
        let chains = SpoofChains(rule.id)
        let stale = try handles(in: chains.prerouting) { $0 == chains.comment }
        let room = 8192 + stale.count * 128
        try transaction("add the MAC spoof check of \(rule.port)", capacity: room) { transaction in
            for handle in stale { transaction.deleteRule(handle, in: chains.prerouting) }
            for change in rule.changes { transaction.add(change) }
        }
    }

    /// The ids of all checks, with the ports that they are of; empty for chains that nothing jumps to.
    package mutating func spoofChecks() throws(NetlinkError) -> [(id: String, port: String)] {
        let base = SpoofChains("")
        var found: [(id: String, port: String)] = []
        for rule in try rules(in: base.prerouting) where rule.comment.hasPrefix(base.comment) {
            found.append((String(rule.comment.dropFirst(base.comment.count)), rule.interface))
        }
        for name in try chains(like: base.interface) {
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
