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

    package init(address: IPAddress, network: CIDR, comment: String) {
        self.address = address
        self.network = network
        self.comment = comment
    }
}

/// The table and chains of the reference plugins, so that either program removes the other's rules.
private enum Names {
    static let table = "cni_plugins_masquerade"
    static let checks = "masq_checks"
    static let postrouting = "postrouting"
    static let family = CInt(NFPROTO_INET)
}

extension NftSocket {
    /// Adds the rules, and takes out those whose comment begins with `instancePrefix`.
    package mutating func ensureMasquerade(rules: [MasqueradeRule], instancePrefix: String)
        throws(NetlinkError)
    {
        let stale = try handles(prefix: instancePrefix)
        let room = Self.room(rules.count, stale.count)
        try transaction("add masquerade rules", capacity: room) { transaction in
            Self.addFrame(&transaction)
            for handle in stale { Self.deleteRule(handle, &transaction) }
            for rule in rules { Self.add(rule, &transaction) }
        }
    }

    /// - Returns: how many rules there were.
    package mutating func removeMasquerade(prefix: String) throws(NetlinkError) -> Int {
        let found = try handles(prefix: prefix)
        guard !found.isEmpty else { return 0 }
        try transaction("remove masquerade rules", capacity: Self.room(0, found.count)) { transaction in
            for handle in found { Self.deleteRule(handle, &transaction) }
        }
        return found.count
    }

    // MARK: Transaction parts

    /// Bytes for the frame, and for rules to add (712 at most, IPv6) and to delete (76).
    private static func room(_ added: Int, _ deleted: Int) -> Int { 4096 + added * 1024 + deleted * 96 }

    static func add(_ rule: MasqueradeRule, _ transaction: inout Transaction) {
        addRule(Names.checks, comment: rule.comment, &transaction) {
            $0.matchFamily(rule.address.family)
            $0.match(.source, .host(rule.address), equal: true)
            $0.match(.destination, rule.network, equal: false)
            $0.masquerade()
        }
    }

    /// Table and chains, and the jump between them written anew.
    private static func addFrame(_ transaction: inout Transaction) {
        transaction.add(NFT_MSG_NEWTABLE.rawValue, NLM_F_CREATE, family: Names.family, TableSpace.self) {
            $0.put(.text(NFTA_TABLE_NAME.rawValue), Names.table)
            $0.put(
                .bytes(NFTA_TABLE_USERDATA.rawValue), comment("Plexus: source translation of CNI attachments")
            )
        }
        transaction.add(NFT_MSG_NEWCHAIN.rawValue, NLM_F_CREATE, family: Names.family, ChainSpace.self) {
            $0.put(.text(NFTA_CHAIN_TABLE.rawValue), Names.table)
            $0.put(.text(NFTA_CHAIN_NAME.rawValue), Names.checks)
            $0.put(.bytes(NFTA_CHAIN_USERDATA.rawValue), comment("Plexus: one rule for each address"))
        }
        transaction.add(NFT_MSG_NEWCHAIN.rawValue, NLM_F_CREATE, family: Names.family, ChainSpace.self) {
            $0.put(.text(NFTA_CHAIN_TABLE.rawValue), Names.table)
            $0.put(.text(NFTA_CHAIN_NAME.rawValue), Names.postrouting)
            $0.put(.nest(NFTA_CHAIN_HOOK.rawValue) as Attribute<ChainSpace, Nest<HookSpace>>) {
                $0.put(.word(NFTA_HOOK_HOOKNUM.rawValue), UInt32(NF_INET_POST_ROUTING.rawValue))
                $0.put(.word(NFTA_HOOK_PRIORITY.rawValue), 100)
            }
            $0.put(.text(NFTA_CHAIN_TYPE.rawValue), "nat")
        }
        transaction.add(NFT_MSG_DELRULE.rawValue, 0, family: Names.family, RuleSpace.self) {
            $0.put(.text(NFTA_RULE_TABLE.rawValue), Names.table)
            $0.put(.text(NFTA_RULE_CHAIN.rawValue), Names.postrouting)
        }
        for (family, first, length) in [
            (IPAddress.Family.v4, UInt128(0xe0) << 24, 4), (.v6, UInt128(0xff) << 120, 8),
        ] {
            addRule(Names.postrouting, comment: nil, &transaction) {
                $0.matchFamily(family)
                $0.match(.destination, CIDR(IPAddress(family, bits: first), length), equal: true)
                $0.returnVerdict()
            }
        }
        addRule(Names.postrouting, comment: nil, &transaction) { $0.goTo(Names.checks) }
    }

    private static func addRule(
        _ chain: String, comment text: String?, _ transaction: inout Transaction,
        _ body: (Expressions) -> Void
    ) {
        transaction.add(
            NFT_MSG_NEWRULE.rawValue, NLM_F_CREATE | NLM_F_APPEND, family: Names.family, RuleSpace.self
        ) {
            $0.put(.text(NFTA_RULE_TABLE.rawValue), Names.table)
            $0.put(.text(NFTA_RULE_CHAIN.rawValue), chain)
            $0.put(.nest(NFTA_RULE_EXPRESSIONS.rawValue) as Attribute<RuleSpace, Nest<ExpressionListSpace>>) {
                body(Expressions($0))
            }
            if let text { $0.put(.bytes(NFTA_RULE_USERDATA.rawValue), comment(text)) }
        }
    }

    private static func deleteRule(_ handle: UInt64, _ transaction: inout Transaction) {
        transaction.add(NFT_MSG_DELRULE.rawValue, 0, family: Names.family, RuleSpace.self) {
            $0.put(.text(NFTA_RULE_TABLE.rawValue), Names.table)
            $0.put(.text(NFTA_RULE_CHAIN.rawValue), Names.checks)
            $0.put(.long(NFTA_RULE_HANDLE.rawValue), handle)
        }
    }

    /// User data as nft writes a comment: type 0, length with the NUL, text. Cut to nft's 127 bytes between two
    /// characters, because `nft -j` refuses a ruleset whose text is no UTF-8.
    static func comment(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars {
            let next = UTF8.encode(scalar).map { Array($0) } ?? []
            guard bytes.count + next.count <= 127 else { break }
            bytes += next
        }
        bytes.append(0)
        return [0, UInt8(bytes.count)] + bytes
    }

    // MARK: Looking

    /// Handles of the rules whose comment begins with `prefix`; none when there is no such table.
    private mutating func handles(prefix: String) throws(NetlinkError) -> [UInt64] {
        let request = Request(Self.type(NFT_MSG_GETRULE.rawValue), 0)
        request.extra(Self.header(Names.family))
        request.attributes(of: RuleSpace.self) {
            $0.put(.text(NFTA_RULE_TABLE.rawValue), Names.table)
            $0.put(.text(NFTA_RULE_CHAIN.rawValue), Names.checks)
        }
        var found: [UInt64] = []
        do throws(NetlinkError) {
            try socket.converse(request, "list masquerade rules", NLM_F_DUMP, restart: { found = [] }) {
                _, payload throws(NetlinkError) in
                guard payload.count >= 4 else { return }
                var handle: UInt64?
                var comment = ""
                try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[4...])).forEach {
                    if UInt32($0) == NFTA_RULE_HANDLE.rawValue { handle = $1.asBigEndian64 }
                    if UInt32($0) == NFTA_RULE_USERDATA.rawValue { comment = Self.comment(in: $1) }
                }
                if let handle, comment.hasPrefix(prefix) { found.append(handle) }
            }
        } catch  where error.code == ENOENT {
            return []
        }
        return found
    }

    private static func comment(in data: UnsafeRawBufferPointer) -> String {
        var rest = data
        while rest.count >= 2, rest.count >= 2 + Int(rest[1]) {
            let value = UnsafeRawBufferPointer(rebasing: rest[2..<2 + Int(rest[1])])
            if rest[0] == 0 { return value.asString }
            rest = UnsafeRawBufferPointer(rebasing: rest[(2 + Int(rest[1]))...])
        }
        return ""
    }
}
