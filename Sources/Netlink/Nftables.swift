internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Network

// linux/netfilter/nf_tables.h
enum TableSpace {}
enum ChainSpace {}
enum HookSpace {}
enum RuleSpace {}
enum ExpressionListSpace {}
enum ExpressionSpace {}
enum DataSpace {}
enum VerdictSpace {}

extension Attribute where Value == String {
    static func text(_ number: some BinaryInteger) -> Self { .init(number) }
}
extension Attribute where Value == [UInt8] {
    static func bytes(_ number: some BinaryInteger) -> Self { .init(number) }
}
extension Attribute where Value == BigEndian<UInt32> {
    static func word(_ number: some BinaryInteger) -> Self { .init(number) }
}
extension Attribute where Value == BigEndian<UInt64> {
    static func long(_ number: some BinaryInteger) -> Self { .init(number) }
}
extension Attribute {
    static func nest<Inner>(_ number: some BinaryInteger) -> Attribute<Space, Nest<Inner>>
    where Value == Nest<Inner> {
        .init(number)
    }
}

extension NftFamily {
    /// linux/netfilter.h.
    var number: CInt {
        switch self {
        case .inet: CInt(NFPROTO_INET)
        case .bridge: CInt(NFPROTO_BRIDGE)
        case .ip: CInt(NFPROTO_IPV4)
        case .ip6: CInt(NFPROTO_IPV6)
        }
    }
}

extension NftChain {
    /// The nat table of the iptables programs, of their nf_tables kind.
    fileprivate static func iptables(_ name: String, _ family: IPAddress.Family) -> NftChain {
        NftChain(family == .v4 ? .ip : .ip6, "nat", name)
    }
}

/// An nfnetlink socket for nf_tables. Changes go as one transaction: all or nothing.
package struct NftSocket: ~Copyable {
    var socket: Socket

    /// Opens it in the calling thread's namespace, where it stays.
    package static func open() throws(SystemError) -> NftSocket {
        NftSocket(socket: try Socket.open(NETLINK_NETFILTER, "nfnetlink"))
    }

    /// The same socket, for a property that may have none.
    package mutating func use(_ body: (inout NftSocket) throws(SystemError) -> Void) throws(SystemError) {
        try body(&self)
    }

    static func type(_ message: some BinaryInteger) -> Int { Int(NFNL_SUBSYS_NFTABLES) << 8 | Int(message) }

    static func header(_ family: CInt, resource: UInt16 = 0) -> nfgenmsg {
        nfgenmsg(nfgen_family: UInt8(family), version: UInt8(NFNETLINK_V0), res_id: resource.bigEndian)
    }

    /// Runs a transaction of the messages that `body` adds.
    mutating func transaction(
        _ operation: String, _ body: (inout Transaction) -> Void
    ) throws(SystemError) {
        var transaction = Transaction()
        body(&transaction)
        transaction.close()
        try socket.batch(transaction.request, operation)
    }
}

/// Messages between NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
struct Transaction: ~Copyable {
    var request: Request

    init() {
        request = Request(NFNL_MSG_BATCH_BEGIN, 0, capacity: 4096)
        request.extra(NftSocket.header(AF_UNSPEC, resource: UInt16(NFNL_SUBSYS_NFTABLES)))
    }

    /// The last message asks for an ACK, the transaction's.
    mutating func close() {
        request.header.pointee.nlmsg_flags |= UInt16(NLM_F_ACK)
        request.next(NFNL_MSG_BATCH_END, 0)
        request.extra(NftSocket.header(AF_UNSPEC, resource: UInt16(NFNL_SUBSYS_NFTABLES)))
    }

    mutating func add<Space>(
        _ message: some BinaryInteger, _ flags: CInt, _ chain: NftChain, _: Space.Type,
        _ body: (Builder<Space>) -> Void
    ) {
        request.next(NftSocket.type(message), flags)
        request.extra(NftSocket.header(chain.family.number))
        request.attributes(of: Space.self, body)
    }

    mutating func add(_ change: NftChange) {
        switch change {
        case .addTable(let chain, let comment):
            add(NFT_MSG_NEWTABLE.rawValue, NLM_F_CREATE, chain, TableSpace.self) {
                $0.put(.text(NFTA_TABLE_NAME.rawValue), chain.table)
                if let comment { $0.put(.bytes(NFTA_TABLE_USERDATA.rawValue), Self.comment(comment)) }
            }
        case .addChain(let chain, let comment):
            add(NFT_MSG_NEWCHAIN.rawValue, NLM_F_CREATE, chain, ChainSpace.self) {
                $0.put(.text(NFTA_CHAIN_TABLE.rawValue), chain.table)
                $0.put(.text(NFTA_CHAIN_NAME.rawValue), chain.name)
                if let comment { $0.put(.bytes(NFTA_CHAIN_USERDATA.rawValue), Self.comment(comment)) }
            }
        case .addBaseChain(let chain, let type, let hook, let priority):
            add(NFT_MSG_NEWCHAIN.rawValue, NLM_F_CREATE, chain, ChainSpace.self) {
                $0.put(.text(NFTA_CHAIN_TABLE.rawValue), chain.table)
                $0.put(.text(NFTA_CHAIN_NAME.rawValue), chain.name)
                $0.put(.nest(NFTA_CHAIN_HOOK.rawValue) as Attribute<ChainSpace, Nest<HookSpace>>) {
                    $0.put(.word(NFTA_HOOK_HOOKNUM.rawValue), hook.rawValue)
                    $0.put(.word(NFTA_HOOK_PRIORITY.rawValue), UInt32(bitPattern: priority))
                }
                $0.put(.text(NFTA_CHAIN_TYPE.rawValue), type)
            }
        case .flush(let chain):
            add(NFT_MSG_DELRULE.rawValue, 0, chain, RuleSpace.self) {
                $0.put(.text(NFTA_RULE_TABLE.rawValue), chain.table)
                $0.put(.text(NFTA_RULE_CHAIN.rawValue), chain.name)
            }
        case .add(let rule): add(rule)
        }
    }

    private mutating func add(_ rule: NftRule) {
        let chain = rule.chain
        add(NFT_MSG_NEWRULE.rawValue, NLM_F_CREATE | NLM_F_APPEND, chain, RuleSpace.self) {
            $0.put(.text(NFTA_RULE_TABLE.rawValue), chain.table)
            $0.put(.text(NFTA_RULE_CHAIN.rawValue), chain.name)
            $0.put(.nest(NFTA_RULE_EXPRESSIONS.rawValue) as Attribute<RuleSpace, Nest<ExpressionListSpace>>) {
                let expressions = Expressions($0)
                for statement in rule.statements { expressions.put(statement) }
            }
            if let text = rule.comment {
                let owner = rule.owner
                let mark = owner.isEmpty ? [] : Self.userdata(NftSocket.ownerMark, owner, limit: 64)
                $0.put(.bytes(NFTA_RULE_USERDATA.rawValue), Self.comment(text) + mark)
            }
        }
    }

    /// Deletes a chain that nothing jumps to any more, with its rules.
    mutating func deleteChain(_ chain: NftChain) {
        add(NFT_MSG_DELCHAIN.rawValue, 0, chain, ChainSpace.self) {
            $0.put(.text(NFTA_CHAIN_TABLE.rawValue), chain.table)
            $0.put(.text(NFTA_CHAIN_NAME.rawValue), chain.name)
        }
    }

    mutating func deleteRule(_ handle: UInt64, in chain: NftChain) {
        add(NFT_MSG_DELRULE.rawValue, 0, chain, RuleSpace.self) {
            $0.put(.text(NFTA_RULE_TABLE.rawValue), chain.table)
            $0.put(.text(NFTA_RULE_CHAIN.rawValue), chain.name)
            $0.put(.long(NFTA_RULE_HANDLE.rawValue), handle)
        }
    }

    /// User data as nft writes a comment: type 0, length with the NUL, text. Cut to nft's 127 bytes between two
    /// characters, because `nft -j` refuses a ruleset whose text is no UTF-8.
    static func comment(_ text: String) -> [UInt8] { userdata(0, text, limit: 127) }

    fileprivate static func userdata(_ type: UInt8, _ text: String, limit: Int) -> [UInt8] {
        var bytes = Array(NftChange.cut(text, limit: limit).utf8)
        bytes.append(0)
        return [type, UInt8(bytes.count)] + bytes
    }
}

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
