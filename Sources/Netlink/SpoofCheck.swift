internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

extension NftSocket {
    /// Adds the check; one of the same name is replaced.
    package mutating func ensureSpoofCheck(_ check: SpoofCheck) throws(SystemError) {
        let chains = SpoofChains(check.name)
        let stale = try handles(in: chains.prerouting) { $0 == chains.comment }
        try transaction("add the MAC spoof check of \(check.port)") { transaction in
            for handle in stale { transaction.deleteRule(handle, in: chains.prerouting) }
            for change in check.changes { transaction.add(change) }
        }
    }

    /// The names of all checks, with the ports that they are of; empty for chains that nothing jumps to.
    package mutating func spoofChecks() throws(SystemError) -> [(name: String, port: String)] {
        let base = SpoofChains("")
        var found: [(name: String, port: String)] = []
        for rule in try rules(in: base.prerouting) where rule.comment.hasPrefix(base.comment) {
            found.append((String(rule.comment.dropFirst(base.comment.count)), rule.interface))
        }
        for chain in try chains(like: base.interface) {
            let name = chain.dropFirst(base.interface.name.count)
            if !name.hasSuffix("-mac"), !found.contains(where: { $0.name == name }) {
                found.append((String(name), ""))
            }
        }
        return found
    }

    /// Whether it is there, with all its chains and rules.
    package mutating func has(_ check: SpoofCheck) throws(SystemError) -> Bool { try has(check.changes) }

    /// nil without a check of that name.
    package mutating func port(ofSpoofCheck name: String) throws(SystemError) -> String? {
        let chains = SpoofChains(name)
        return try rules(in: chains.prerouting).first { $0.comment == chains.comment }?.interface
    }

    /// Removes the check of that name, and nothing else; the table and its base chain are shared and stay.
    package mutating func removeSpoofCheck(_ name: String) throws(SystemError) {
        let chains = SpoofChains(name)
        let handles = try handles(in: chains.prerouting) { $0 == chains.comment }
        // In the order in which they refer to each other.
        var found: [NftChain] = []
        for chain in [chains.interface, chains.mac] where try exists(chain) { found.append(chain) }
        guard !handles.isEmpty || !found.isEmpty else { return }
        try transaction("remove the MAC spoof check of \(name)") { transaction in
            for handle in handles { transaction.deleteRule(handle, in: chains.prerouting) }
            for chain in found { transaction.deleteChain(chain) }
        }
    }
}
