/// Kernel: net/bridge/br_netlink.c.
package struct BridgeKind: LinkKind {
    package static let name = "bridge"
    package var vlanFiltering: Bool

    package init(vlanFiltering: Bool = false) { self.vlanFiltering = vlanFiltering }

    package var words: [String] { vlanFiltering ? ["vlan_filtering", "1"] : [] }
    package func encode(with encoder: some LinkKindEncoder) { encoder.encode(self) }
}
