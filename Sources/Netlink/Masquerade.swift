internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

extension NftSocket {
    /// Adds the rules, and takes out those whose comment begins with `instancePrefix`.
    package mutating func ensureMasquerade(rules: [MasqueradeRule], instancePrefix: String)
        throws(SystemError)
    {
        let stale = try handles(in: MasqueradeRule.checks) { $0.hasPrefix(instancePrefix) }
        try transaction("add masquerade rules") { transaction in
            for change in MasqueradeRule.frame { transaction.add(change) }
            for handle in stale { transaction.deleteRule(handle, in: MasqueradeRule.checks) }
            for rule in rules { transaction.add(rule.change) }
        }
    }

    /// How many rules have such a comment, and are reached by packets.
    package mutating func masqueradeCount(prefix: String) throws(SystemError) -> Int {
        guard try has(MasqueradeRule.frame) else { return 0 }
        return try handles(in: MasqueradeRule.checks) { $0.hasPrefix(prefix) }.count
    }

    /// - Returns: how many rules there were.
    package mutating func removeMasquerade(prefix: String) throws(SystemError) -> Int {
        try removeMasquerade { comment, _ in comment.hasPrefix(prefix) }
    }

    /// The same by comment and owner.
    @discardableResult
    package mutating func removeMasquerade(
        where isWanted: (_ comment: String, _ owner: String) -> Bool
    ) throws(SystemError) -> Int {
        let found = try rules(in: MasqueradeRule.checks).filter { isWanted($0.comment, $0.owner) }.map(
            \.handle)
        guard !found.isEmpty else { return 0 }
        try transaction("remove masquerade rules") { transaction in
            for handle in found { transaction.deleteRule(handle, in: MasqueradeRule.checks) }
        }
        return found.count
    }
}
