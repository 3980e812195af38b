/// nf_tables as values. They have two forms: the words of `nft` here, and netlink messages in Netlink/Nftables.
package enum NftFamily: String, Hashable, Sendable { case inet, bridge, ip, ip6 }

/// A chain, by its place.
package struct NftChain: Hashable, Sendable {
    package var family: NftFamily
    package var table: String
    package var name: String

    package init(_ family: NftFamily, _ table: String, _ name: String) {
        self.family = family
        self.table = table
        self.name = name
    }

    /// The bare names, as nft's grammar has no quotes for them.
    fileprivate var words: String { "\(family.rawValue) \(table) \(name)" }
}

/// Where the kernel calls a base chain. The numbers are of the chain's family: linux/netfilter.h, linux/netfilter_bridge.h.
package enum NftHook: UInt32, Hashable, Sendable {
    case prerouting = 0
    case postrouting = 4
}

/// What a rule asks or does, one after another.
package enum NftStatement: Hashable, Sendable {
    /// The packet's family, in an inet table. nft says so by itself before it looks at addresses.
    case family(IPAddress.Family)
    case source(CIDR)
    case destination(CIDR, isIn: Bool = true)
    /// The link that a packet comes in by.
    case fromLink(String)
    case sourceMAC(MAC)
    case masquerade
    case returns
    case drop
    case jump(String)
    case goTo(String)

    fileprivate var words: String? {
        switch self {
        case .family: nil
        case .source(let cidr): "\(cidr.nftFamily) saddr \(cidr.nftWord)"
        case .destination(let cidr, let isIn): "\(cidr.nftFamily) daddr \(isIn ? "" : "!= ")\(cidr.nftWord)"
        case .fromLink(let name): "iifname \"\(name)\""
        case .sourceMAC(let mac): "ether saddr \(mac)"
        case .masquerade: "masquerade"
        case .returns: "return"
        case .drop: "drop"
        case .jump(let chain): "jump \(chain)"
        case .goTo(let chain): "goto \(chain)"
        }
    }
}

package struct NftRule: Hashable, Sendable {
    package var chain: NftChain
    package var statements: [NftStatement]
    /// At most 127 bytes count; without `"`.
    package var comment: String?
    /// A mark beside the comment that other programs pass over; empty for none.
    package var owner: String

    package init(_ chain: NftChain, _ statements: [NftStatement], comment: String? = nil, owner: String = "")
    {
        self.chain = chain
        self.statements = statements
        self.comment = comment
        self.owner = owner
    }
}

/// One change of a ruleset. What is added and exists already is accepted, but a rule is added once more.
package enum NftChange: Hashable, Sendable {
    case addTable(of: NftChain, comment: String? = nil)
    case addChain(NftChain, comment: String? = nil)
    /// A base chain, whose policy is to accept.
    case addBaseChain(NftChain, type: String, NftHook, priority: Int32)
    /// Deletes all rules of the chain.
    case flush(NftChain)
    case add(NftRule)

    /// Equivalent in the words of nft, for the shell.
    package var command: String {
        switch self {
        case .addTable(let chain, let comment):
            "nft add table \(chain.family.rawValue) \(chain.table)\(Self.block(comment))"
        case .addChain(let chain, let comment): "nft add chain \(chain.words)\(Self.block(comment))"
        case .addBaseChain(let chain, let type, let hook, let priority):
            "nft add chain \(chain.words) '{ type \(type) hook \(hook) priority \(priority); }'"
        case .flush(let chain): "nft flush chain \(chain.words)"
        case .add(let rule):
            "nft add rule \(rule.chain.words) "
                + shellQuoted(
                    (rule.statements.compactMap(\.words)
                        + (rule.comment.map { ["comment \"\(Self.cut($0))\""] } ?? [])).joined(separator: " ")
                )
        }
    }

    private static func block(_ comment: String?) -> String {
        comment.map { " " + shellQuoted("{ comment \"\(cut($0))\"; }") } ?? ""
    }

    /// nft takes 127 bytes; cut between two characters, because `nft -j` refuses what is no UTF-8.
    package static func cut(_ text: String, limit: Int = 127) -> String {
        var cut = String.UnicodeScalarView()
        var count = 0
        for scalar in text.unicodeScalars {
            count += UTF8.width(scalar)
            guard count <= limit else { break }
            cut.append(scalar)
        }
        return String(cut)
    }
}

extension CIDR {
    fileprivate var nftFamily: String { family == .v4 ? "ip" : "ip6" }
    /// An address by itself is not a network to nft.
    fileprivate var nftWord: String { length == family.width ? "\(address)" : "\(network)" }
}
