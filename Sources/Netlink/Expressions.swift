internal import CLinux
internal import CMnl
internal import Glibc
internal import Networking

/// What a rule does, expression by expression, as the kernel's virtual machine takes it.
struct Expressions {
    private let builder: Builder<ExpressionListSpace>
    private let register = UInt32(NFT_REG_1.rawValue)

    init(_ builder: Builder<ExpressionListSpace>) { self.builder = builder }

    func put(_ statement: NftStatement) {
        switch statement {
        case .family(let family): matchFamily(family)
        case .source(let cidr): match(.source, cidr, equal: true)
        case .destination(let cidr, let isIn): match(.destination, cidr, equal: isIn)
        case .fromLink(let name): matchInterface(name)
        case .sourceMAC(let mac): matchSource(mac)
        case .masquerade: put("masq") { _ in }
        case .returns: verdict(NFT_RETURN.rawValue, chain: nil)
        case .drop: verdict(Int32(NF_DROP), chain: nil)
        case .jump(let chain): verdict(NFT_JUMP.rawValue, chain: chain)
        case .goTo(let chain): verdict(NFT_GOTO.rawValue, chain: chain)
        }
    }

    private func put(_ name: String, _ body: (Builder<DataSpace>) -> Void) {
        builder.put(.nest(NFTA_LIST_ELEM.rawValue) as Attribute<ExpressionListSpace, Nest<ExpressionSpace>>) {
            $0.put(.text(NFTA_EXPR_NAME.rawValue), name)
            $0.put(.nest(NFTA_EXPR_DATA.rawValue) as Attribute<ExpressionSpace, Nest<DataSpace>>, body)
        }
    }

    /// The packet's family in an inet table: `meta nfproto`.
    private func matchFamily(_ family: IPAddress.Family) {
        put("meta") {
            $0.put(.word(NFTA_META_DREG.rawValue), register)
            $0.put(.word(NFTA_META_KEY.rawValue), UInt32(NFT_META_NFPROTO.rawValue))
        }
        compare([UInt8(family == .v4 ? NFPROTO_IPV4 : NFPROTO_IPV6)], equal: true)
    }

    private enum Side { case source, destination }

    /// `ip saddr ADDRESS`, `ip6 daddr != NETWORK`.
    private func match(_ side: Side, _ cidr: CIDR, equal: Bool) {
        let size = cidr.family.width / 8
        let start = cidr.family == .v4 ? 12 : 8
        put("payload") {
            $0.put(.word(NFTA_PAYLOAD_DREG.rawValue), register)
            $0.put(.word(NFTA_PAYLOAD_BASE.rawValue), UInt32(NFT_PAYLOAD_NETWORK_HEADER.rawValue))
            $0.put(.word(NFTA_PAYLOAD_OFFSET.rawValue), UInt32(start + (side == .source ? 0 : size)))
            $0.put(.word(NFTA_PAYLOAD_LEN.rawValue), UInt32(size))
        }
        if cidr.length < cidr.family.width {
            mask(CIDR(IPAddress(cidr.family, bits: .max).masked, cidr.length))
        }
        compare(cidr.network.address.bytes, equal: equal)
    }

    private func mask(_ cidr: CIDR) {
        let size = cidr.family.width / 8
        put("bitwise") {
            $0.put(.word(NFTA_BITWISE_SREG.rawValue), register)
            $0.put(.word(NFTA_BITWISE_DREG.rawValue), register)
            $0.put(.word(NFTA_BITWISE_LEN.rawValue), UInt32(size))
            value($0, NFTA_BITWISE_MASK.rawValue, cidr.network.address.bytes)
            value($0, NFTA_BITWISE_XOR.rawValue, Array(repeating: 0, count: size))
        }
    }

    private func compare(_ bytes: [UInt8], equal: Bool) {
        put("cmp") {
            $0.put(.word(NFTA_CMP_SREG.rawValue), register)
            $0.put(.word(NFTA_CMP_OP.rawValue), UInt32(equal ? NFT_CMP_EQ.rawValue : NFT_CMP_NEQ.rawValue))
            value($0, NFTA_CMP_DATA.rawValue, bytes)
        }
    }

    private func value(_ builder: Builder<DataSpace>, _ number: UInt32, _ bytes: [UInt8]) {
        builder.put(.nest(number) as Attribute<DataSpace, Nest<VerdictSpace>>) {
            $0.put(.bytes(NFTA_DATA_VALUE.rawValue), bytes)
        }
    }

    /// `iifname NAME`.
    private func matchInterface(_ name: String) {
        put("meta") {
            $0.put(.word(NFTA_META_DREG.rawValue), register)
            $0.put(.word(NFTA_META_KEY.rawValue), UInt32(NFT_META_IIFNAME.rawValue))
        }
        // IFNAMSIZ bytes, as nft compares a whole name.
        compare(Array((Array(name.utf8) + Array(repeating: 0, count: 16)).prefix(16)), equal: true)
    }

    /// `ether saddr MAC`.
    private func matchSource(_ mac: MAC) {
        put("payload") {
            $0.put(.word(NFTA_PAYLOAD_DREG.rawValue), register)
            $0.put(.word(NFTA_PAYLOAD_BASE.rawValue), UInt32(NFT_PAYLOAD_LL_HEADER.rawValue))
            $0.put(.word(NFTA_PAYLOAD_OFFSET.rawValue), 6)
            $0.put(.word(NFTA_PAYLOAD_LEN.rawValue), UInt32(mac.bytes.count))
        }
        compare(mac.bytes, equal: true)
    }

    private func verdict(_ code: Int32, chain: String?) {
        put("immediate") {
            $0.put(.word(NFTA_IMMEDIATE_DREG.rawValue), UInt32(NFT_REG_VERDICT.rawValue))
            $0.put(.nest(NFTA_IMMEDIATE_DATA.rawValue) as Attribute<DataSpace, Nest<VerdictSpace>>) {
                $0.put(.nest(NFTA_DATA_VERDICT.rawValue) as Attribute<VerdictSpace, Nest<DataSpace>>) {
                    $0.put(.word(NFTA_VERDICT_CODE.rawValue), UInt32(bitPattern: code))
                    if let chain { $0.put(.text(NFTA_VERDICT_CHAIN.rawValue), chain) }
                }
            }
        }
    }
}

extension IPAddress {
    /// This number cut to the family's width.
    fileprivate var masked: IPAddress { offset(by: 0) }
}
