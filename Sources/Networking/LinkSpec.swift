/// What a new link is to be; one RTM_NEWLINK makes it.
package struct LinkSpec: Equatable, Sendable {
    package var name: String
    package var kind: any LinkKind
    /// nil leaves the choice to the kernel.
    package var mtu: UInt32?
    package var mac: MAC?
    /// A name that the link may have until it can be renamed to `name`; nil when that is never needed.
    package var temporaryName: String?

    package init(
        _ name: String, _ kind: some LinkKind, mtu: UInt32? = nil, mac: MAC? = nil,
        temporaryName: String? = nil
    ) {
        self.temporaryName = temporaryName
        self.name = name
        self.kind = kind
        self.mtu = mtu
        self.mac = mac
    }

    package static func == (one: LinkSpec, other: LinkSpec) -> Bool {
        one.name == other.name && one.kind.isEqual(to: other.kind) && one.mtu == other.mtu
            && one.mac == other.mac && one.temporaryName == other.temporaryName
    }
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

/// One VLAN that a bridge port carries.
package struct PortVLAN: Hashable, Sendable {
    /// Frames without a tag belong to it.
    package var isNative: Bool
    /// Its frames leave without a tag.
    package var isUntagged: Bool

    package init(isNative: Bool, isUntagged: Bool) {
        self.isNative = isNative
        self.isUntagged = isUntagged
    }
}

extension PortVLANs {
    /// What a port that has `found` lacks; nil when it has all. Further ones are no matter.
    package func missing(from found: [UInt16: PortVLAN]) -> MissingVLANs? {
        let hasNative = found[native] == PortVLAN(isNative: true, isUntagged: true)
        let lost = tagged.filter { ids in ids.contains { found[$0]?.isUntagged != false } }
        if hasNative, lost.isEmpty { return nil }
        return MissingVLANs(
            native: hasNative ? nil : native, tagged: lost,
            step: PortVLANs(native: native, tagged: lost, keepsDefault: true))
    }
}

package struct MissingVLANs: Equatable, Sendable {
    var native: UInt16?
    var tagged: [ClosedRange<UInt16>]
    /// What brings them back, and takes none off.
    package var step: PortVLANs

    package var words: String {
        let ranges = (native.map { [$0...$0] } ?? []) + tagged
        return ranges.map { $0.count > 1 ? "\($0.lowerBound)-\($0.upperBound)" : "\($0.lowerBound)" }
            .joined(separator: ", ")
    }
}

/// A change of one property of a link, in one message.
package enum LinkChange: Hashable, Sendable {
    case up(Bool)
    case mtu(UInt32)
    case mac(MAC)
    case name(String)
    /// The index of the bridge whose port the link becomes; nil frees it.
    case controller(Int32?)
    case promiscuous(Bool)
    case allMulticast(Bool)
    /// Packets.
    case queueLength(UInt32)
    case group(UInt32)
    /// Whether it asks for its neighbours' addresses: without IFF_NOARP.
    case arp(Bool)
    case multicast(Bool)
    /// The largest packet that it is handed for segmentation: bytes, and segments.
    case gsoSize(UInt32)
    case gsoSegments(UInt32)
    /// The largest packet that received ones are joined to: bytes.
    case groSize(UInt32)
    /// Whether it is operational only when somebody says so, as after 802.1X: IF_LINK_MODE_DORMANT.
    case dormant(Bool)
    /// Takes off the program that sees each frame first.
    case withoutXDP(XDPMode)
}

/// Where an XDP program runs: XDP_FLAGS_*, linux/if_link.h.
package enum XDPMode: UInt32, Hashable, Sendable, CaseIterable {
    case generic = 2
    case driver = 4
    case hardware = 8
}

/// One on a link.
package struct XDPProgram: Hashable, Sendable {
    package var mode: XDPMode
    package var id: UInt32

    package init(mode: XDPMode, id: UInt32) {
        self.mode = mode
        self.id = id
    }
}

extension LinkChange: CustomStringConvertible {
    /// In the words of `ip link set`.
    package var description: String {
        switch self {
        case .up(let up): up ? "up" : "down"
        case .mtu(let bytes): "mtu \(bytes)"
        case .mac(let mac): "address \(mac)"
        case .name(let name): "name \(name)"
        case .controller(let index): index.map { "master \($0)" } ?? "nomaster"
        case .promiscuous(let on): "promisc \(on ? "on" : "off")"
        case .allMulticast(let on): "allmulticast \(on ? "on" : "off")"
        case .queueLength(let packets): "txqueuelen \(packets)"
        case .group(let group): "group \(group)"
        case .arp(let on): "arp \(on ? "on" : "off")"
        case .multicast(let on): "multicast \(on ? "on" : "off")"
        case .gsoSize(let bytes): "gso_max_size \(bytes)"
        case .gsoSegments(let count): "gso_max_segs \(count)"
        case .groSize(let bytes): "gro_max_size \(bytes)"
        case .dormant(let on): "mode \(on ? "dormant" : "default")"
        case .withoutXDP(.generic): "xdpgeneric off"
        case .withoutXDP(.driver): "xdpdrv off"
        case .withoutXDP(.hardware): "xdpoffload off"
        }
    }
}
