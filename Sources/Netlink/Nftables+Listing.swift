internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

// MARK: Looking

/// A rule as a chain lists it.
struct ListedRule {
    var handle: UInt64
    /// Empty without one.
    var comment = ""
    var owner = ""
    /// The name of the interface that its first comparison is with, if it is one.
    var interface = ""
    /// Where it sends a packet, or what becomes of one; nil for a rule that does something else.
    var verdict: NftStatement?
}

extension NftSocket {
    /// Type of a rule's user data that nft and the reference plugins pass over (libnftnl/udata.h has 0 and 1).
    static let ownerMark: UInt8 = 113

    /// Handles of a chain's rules with such a comment; none when there is no such table.
    mutating func handles(
        in chain: NftChain, where isWanted: (String) -> Bool
    ) throws(SystemError) -> [UInt64] {
        try rules(in: chain).filter { isWanted($0.comment) }.map(\.handle)
    }

    /// The chain's rules; none when there is no such table.
    mutating func rules(in chain: NftChain) throws(SystemError) -> [ListedRule] {
        let request = Request(Self.type(NFT_MSG_GETRULE.rawValue), 0)
        request.extra(Self.header(chain.family.number))
        request.attributes(of: RuleSpace.self) {
            $0.put(.text(NFTA_RULE_TABLE.rawValue), chain.table)
            $0.put(.text(NFTA_RULE_CHAIN.rawValue), chain.name)
        }
        var found: [ListedRule] = []
        do throws(SystemError) {
            let operation = "list rules of chain \(chain.name)"
            try socket.converse(request, operation, NLM_F_DUMP, restart: { found = [] }) {
                _, payload throws(SystemError) in
                if let rule = try ListedRule(payload) { found.append(rule) }
            }
        } catch  where error.code == .noSuchFile {
            return []
        }
        return found
    }

    static func comment(in data: UnsafeRawBufferPointer) -> String { userdata(0, in: data) }

    fileprivate static func userdata(_ type: UInt8, in data: UnsafeRawBufferPointer) -> String {
        var rest = data
        while rest.count >= 2, rest.count >= 2 + Int(rest[1]) {
            let value = UnsafeRawBufferPointer(rebasing: rest[2..<2 + Int(rest[1])])
            if rest[0] == type { return value.asString }
            rest = UnsafeRawBufferPointer(rebasing: rest[(2 + Int(rest[1]))...])
        }
        return ""
    }

    /// Names of chains in the table of `first` that begin as its name does; none when there is no such table.
    mutating func chains(like first: NftChain) throws(SystemError) -> [String] {
        let request = Request(Self.type(NFT_MSG_GETCHAIN.rawValue), 0)
        request.extra(Self.header(first.family.number))
        var found: [String] = []
        try socket.converse(request, "list chains", NLM_F_DUMP, restart: { found = [] }) {
            _, payload throws(SystemError) in
            guard payload.count >= 4 else { return }
            var (table, name) = ("", "")
            try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[4...])).forEach {
                if UInt32($0) == NFTA_CHAIN_TABLE.rawValue { table = $1.asString }
                if UInt32($0) == NFTA_CHAIN_NAME.rawValue { name = $1.asString }
            }
            if table == first.table, name.hasPrefix(first.name) { found.append(name) }
        }
        return found
    }

    mutating func exists(_ chain: NftChain) throws(SystemError) -> Bool { try isBase(chain) != nil }

    /// Whether the kernel calls the chain itself; nil without such a chain.
    private mutating func isBase(_ chain: NftChain) throws(SystemError) -> Bool? {
        let request = Request(Self.type(NFT_MSG_GETCHAIN.rawValue), 0)
        request.extra(Self.header(chain.family.number))
        request.attributes(of: ChainSpace.self) {
            $0.put(.text(NFTA_CHAIN_TABLE.rawValue), chain.table)
            $0.put(.text(NFTA_CHAIN_NAME.rawValue), chain.name)
        }
        var isBase = false
        do throws(SystemError) {
            try socket.converse(request, "look for chain \(chain.name)", 0) {
                _, payload throws(SystemError) in
                guard payload.count >= 4 else { return }
                try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[4...])).forEach {
                    type, _ in
                    if UInt32(type) == NFTA_CHAIN_HOOK.rawValue { isBase = true }
                }
            }
        } catch  where error.code == .noSuchFile {
            return nil
        }
        return isBase
    }

    /// Whether what these changes make is there: base chains, and rules by their comment, their link and their end.
    mutating func has(_ changes: [NftChange]) throws(SystemError) -> Bool {
        var listed: [NftChain: [ListedRule]] = [:]
        for change in changes {
            switch change {
            case .addBaseChain(let chain, _, _, _): if try isBase(chain) != true { return false }
            case .add(let rule):
                var rules: [ListedRule]
                if let known = listed[rule.chain] {
                    rules = known
                } else {
                    rules = try self.rules(in: rule.chain)
                }
                guard let place = rules.firstIndex(where: { $0.isLike(rule) }) else { return false }
                rules.remove(at: place)
                listed[rule.chain] = rules
            case .addTable, .addChain, .flush: break
            }
        }
        return true
    }

    /// Chains of attachments that iptables, of the nf_tables kind, has in its nat table.
    package mutating func iptablesChains(_ family: IPAddress.Family) throws(SystemError) -> [String] {
        try chains(like: .iptables("CNI-", family))
    }

    /// Whether iptables, of the nf_tables kind, has such a chain in its nat table.
    package mutating func hasIptablesChain(_ name: String, _ family: IPAddress.Family) throws(SystemError)
        -> Bool
    {
        try exists(.iptables(name, family))
    }
}

extension ListedRule {
    /// The payload of NFT_MSG_NEWRULE.
    init?(_ payload: UnsafeRawBufferPointer) throws(SystemError) {
        guard payload.count >= 4 else { return nil }
        var rule = ListedRule(handle: 0)
        var isNamed = false
        try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[4...])).forEach {
            type, value throws(SystemError) in
            switch UInt32(type) {
            case NFTA_RULE_HANDLE.rawValue:
                rule.handle = value.asBigEndian64 ?? 0
                isNamed = true
            case NFTA_RULE_USERDATA.rawValue:
                rule.comment = NftSocket.comment(in: value)
                rule.owner = NftSocket.userdata(NftSocket.ownerMark, in: value)
            case NFTA_RULE_EXPRESSIONS.rawValue:
                rule.interface = try Self.interface(in: value)
                rule.verdict = try Self.verdict(in: value)
            default: break
            }
        }
        guard isNamed else { return nil }
        self = rule
    }

    fileprivate func isLike(_ rule: NftRule) -> Bool {
        if let wanted = rule.comment, comment != NftChange.cut(wanted, limit: 127) { return false }
        if case .fromLink(let name)? = rule.statements.first, interface != name { return false }
        return verdict == rule.statements.last
    }

    /// That of the `immediate` which sets one.
    private static func verdict(in expressions: UnsafeRawBufferPointer) throws(SystemError) -> NftStatement? {
        var (code, chain): (Int32?, String) = (nil, "")
        /// Into the nests that lead to it.
        func visit(_ bytes: UnsafeRawBufferPointer, _ path: ArraySlice<UInt32>) throws(SystemError) {
            try AttributeReader(bytes: bytes).forEach { type, value throws(SystemError) in
                if path.isEmpty {
                    if UInt32(type) == NFTA_VERDICT_CODE.rawValue { code = value.asBigEndian32 }
                    if UInt32(type) == NFTA_VERDICT_CHAIN.rawValue { chain = value.asString }
                } else if UInt32(type) == path.first {
                    try visit(value, path.dropFirst())
                }
            }
        }
        try AttributeReader(bytes: expressions).forEach { _, expression throws(SystemError) in
            var name = ""
            try AttributeReader(bytes: expression).forEach { type, value throws(SystemError) in
                if UInt32(type) == NFTA_EXPR_NAME.rawValue { name = value.asString }
                guard UInt32(type) == NFTA_EXPR_DATA.rawValue, name == "immediate" else { return }
                try visit(value, [NFTA_IMMEDIATE_DATA.rawValue, NFTA_DATA_VERDICT.rawValue])
            }
        }
        return switch code {
        case NFT_RETURN.rawValue?: .returns
        case Int32(NF_DROP)?: .drop
        case NFT_JUMP.rawValue?: .jump(chain)
        case NFT_GOTO.rawValue?: .goTo(chain)
        default: nil
        }
    }

    /// What the first `cmp` of the expressions compares with, as text.
    private static func interface(in expressions: UnsafeRawBufferPointer) throws(SystemError) -> String {
        var found = ""
        try AttributeReader(bytes: expressions).forEach { _, expression throws(SystemError) in
            var name = ""
            try AttributeReader(bytes: expression).forEach { type, value throws(SystemError) in
                if UInt32(type) == NFTA_EXPR_NAME.rawValue { name = value.asString }
                guard UInt32(type) == NFTA_EXPR_DATA.rawValue, name == "cmp", found.isEmpty else { return }
                try AttributeReader(bytes: value).forEach { type, value throws(SystemError) in
                    guard UInt32(type) == NFTA_CMP_DATA.rawValue else { return }
                    try AttributeReader(bytes: value).forEach { type, value in
                        if UInt32(type) == NFTA_DATA_VALUE.rawValue { found = value.asString }
                    }
                }
            }
        }
        return found
    }
}
