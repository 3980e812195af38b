internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
import Networking

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
    static func iptables(_ name: String, _ family: IPAddress.Family) -> NftChain {
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
