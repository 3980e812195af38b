/// What a new link is to be; one RTM_NEWLINK makes it.
package struct LinkSpec: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case bridge
        /// - Parameter broadcastQueue: length of the parent's queue of broadcasts; nil leaves it to the kernel.
        case macvlan(MACVLANMode, broadcastQueue: UInt32? = nil)
        case ipvlan(IPVLANMode)
        /// A kind without settings of its own that are needed here: dummy, ifb, vrf-less test links.
        case other(String)

        /// IFLA_INFO_KIND.
        package var name: String {
            switch self {
            case .bridge: "bridge"
            case .macvlan: "macvlan"
            case .ipvlan: "ipvlan"
            case .other(let name): name
            }
        }
    }

    package var name: String
    package var kind: Kind
    /// nil leaves the choice to the kernel.
    package var mtu: UInt32?
    package var mac: MAC?
    /// What it may be called until `name` can be had; nil for a link that needs no such detour.
    package var temporaryName: String?

    package init(
        _ name: String, _ kind: Kind, mtu: UInt32? = nil, mac: MAC? = nil, temporaryName: String? = nil
    ) {
        self.temporaryName = temporaryName
        self.name = name
        self.kind = kind
        self.mtu = mtu
        self.mac = mac
    }
}

/// linux/if_link.h, `enum macvlan_mode`.
package enum MACVLANMode: UInt32, Sendable, CaseIterable {
    case `private` = 1
    case vepa = 2
    case bridge = 4
    case passthru = 8

    package var name: String { "\(self)" }
}

/// linux/if_link.h, `enum ipvlan_mode`. It is the parent's: all of its children have one.
package enum IPVLANMode: UInt16, Sendable, CaseIterable {
    case l2, l3, l3s

    package var name: String { "\(self)" }
}

/// What veth pairs, bridges and links on others take: linux/if_ether.h, ETH_MIN_MTU and ETH_MAX_MTU.
package let linkMTUs: ClosedRange<Int64> = 68...65535

/// A veth pair: one end in the sandbox, the peer in the host as a port of a bridge.
package struct VethSpec: Hashable, Sendable {
    /// Name of the end in the sandbox, and of the one in the host.
    package var name: String
    package var peer: String
    package var mtu: UInt32?
    package var mac: MAC
    package var peerMAC: MAC
    /// The bridge whose port the host end becomes; nil leaves it free.
    package var controller: String?

    package init(
        _ name: String, peer: String, mtu: UInt32? = nil, mac: MAC, peerMAC: MAC, controller: String? = nil
    ) {
        self.name = name
        self.peer = peer
        self.mtu = mtu
        self.mac = mac
        self.peerMAC = peerMAC
        self.controller = controller
    }
}

/// Flags of a bridge port; nil leaves one alone. linux/if_link.h, IFLA_BRPORT_MODE and IFLA_BRPORT_ISOLATED.
package struct PortSettings: Hashable, Sendable {
    package var hairpin: Bool?
    package var isolated: Bool?

    package init(hairpin: Bool? = nil, isolated: Bool? = nil) {
        self.hairpin = hairpin
        self.isolated = isolated
    }
}

/// The VLANs that a bridge port is to carry. linux/if_bridge.h, `struct bridge_vlan_info`.
package struct PortVLANs: Hashable, Sendable {
    /// Frames without a tag belong to it, both ways: PVID and untagged.
    package var native: UInt16
    package var tagged: [ClosedRange<UInt16>]
    /// Keeps what a new port has by itself, the bridge's default VLAN.
    package var keepsDefault: Bool

    package init(native: UInt16, tagged: [ClosedRange<UInt16>] = [], keepsDefault: Bool = false) {
        self.native = native
        self.tagged = tagged
        self.keepsDefault = keepsDefault
    }
}

/// A link of the host that carries one VLAN of a bridge: `<bridge>.<vid>`, the end of a veth pair whose peer is a port.
package struct VLANInterface: Hashable, Sendable {
    package var bridge: String
    package var vid: UInt16
    /// Name of the end that is the bridge's port.
    package var peer: String
    package var mtu: UInt32?
    package var keepsDefault: Bool

    package init(bridge: String, vid: UInt16, peer: String, mtu: UInt32?, keepsDefault: Bool) {
        self.bridge = bridge
        self.vid = vid
        self.peer = peer
        self.mtu = mtu
        self.keepsDefault = keepsDefault
    }

    package var name: String { "\(bridge).\(vid)" }
    package var portVLANs: PortVLANs { PortVLANs(native: vid, keepsDefault: keepsDefault) }
}
