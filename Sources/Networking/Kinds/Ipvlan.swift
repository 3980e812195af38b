/// Kernel: drivers/net/ipvlan/ipvlan_main.c.
package struct IpvlanKind: LinkKind {
    package static let name = "ipvlan"
    package var mode: IPVLANMode

    package init(_ mode: IPVLANMode) { self.mode = mode }

    package var words: [String] { ["mode", mode.name] }
    package func encode(with encoder: some LinkKindEncoder) { encoder.encode(self) }
}

extension LinkKind where Self == IpvlanKind {
    package static func ipvlan(_ mode: IPVLANMode) -> IpvlanKind { IpvlanKind(mode) }
}

/// linux/if_link.h, `enum ipvlan_mode`. It is the parent's: all of its children have one.
package enum IPVLANMode: UInt16, Sendable, CaseIterable {
    case l2, l3, l3s

    package var name: String { "\(self)" }
}
