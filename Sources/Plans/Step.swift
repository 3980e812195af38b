package import Network

/// One effect on the kernel, as data. The executor runs it and knows its inverse; `commands` prints it.
///
/// Steps named `ensure…` act on what attachments share: they accept what exists and are never undone, but for
/// a bridge that this very run created.
package enum Step: Equatable, Sendable {
    case ensureBridge(BridgeSpec)
    /// A link in one of the namespaces; the second name is of the link that it sits on, maybe in the other one.
    case addLink(LinkSpec, Place, parent: LinkName? = nil)
    case addVeth(VethSpec)
    case deleteLink(LinkName)
    /// - Parameter inverse: what undoes it; nil for a change that stays or goes with its link.
    case change(LinkName, LinkChange, inverse: LinkChange? = nil)
    case setPort(String, PortSettings)
    /// VLANs of a bridge port.
    case setVLANs(String, PortVLANs)
    case ensureVLANInterface(VLANInterface)
    case addAddress(CIDR, LinkName)
    case removeAddress(CIDR, LinkName)
    /// - Parameter nodad: an IPv6 address is used without a look for others that have it.
    case ensureAddress(CIDR, LinkName, nodad: Bool = false)
    case addRoute(Route, LinkName)
    case removeRoute(Route, LinkName)
    /// A route that was there, whoever made it; one that is gone by now is no failure.
    case removeFound(SandboxRoute)
    case restoreFound(SandboxRoute)
    case sysctl(SysctlChange)
    /// Waits until no IPv6 address of the link is tentative.
    case settle(LinkName)
    /// Waits until the link is operational.
    case awaitCarrier(LinkName)
    case masquerade(Masquerade)
    case removeMasquerade(Masquerade)
    case spoofCheck(SpoofCheck)
    case removeSpoofCheck(AttachmentID)
    /// Moves a device of the host into the sandbox, where its alias keeps its name.
    case takeDevice(Device)
    case returnDevice(Device)
    /// Gives a device its name back that came home with the pod's: its namespace died. The first is what it is called.
    case renameDevice(String, Device)
    /// A small file of the node that DEL will want to read; the text is all of it.
    case writeFile(String, String)
    /// On DEL only when what came before it went well.
    case removeFile(String)
}

/// A bridge to create or to accept.
package struct BridgeSpec: Hashable, Sendable {
    package var name: String
    /// Used when the bridge is created.
    package var mtu: UInt32?
    package var mac: MAC
    package var vlanFiltering: Bool

    package init(name: String, mtu: UInt32? = nil, mac: MAC, vlanFiltering: Bool = false) {
        self.name = name
        self.mtu = mtu
        self.mac = mac
        self.vlanFiltering = vlanFiltering
    }
}

/// A change of one property of a link.
package enum LinkChange: Hashable, Sendable {
    case up(Bool)
    case mtu(UInt32)
    case mac(MAC)
    case promiscuous(Bool)
    case allMulticast(Bool)
    /// Packets.
    case queueLength(UInt32)
}

/// A value below /proc/sys.
package struct SysctlChange: Hashable, Sendable {
    package enum Lifetime: Hashable, Sendable {
        /// Goes with the link that it belongs to.
        case link
        /// Written only when it differs, never undone: what the node's attachments share, and what was there before.
        case ensured
        /// Saved before the change and put back on rollback and DEL.
        case saved
    }

    package var place: Place
    /// `net/ipv4/ip_forward`.
    package var path: String
    package var value: String
    package var lifetime: Lifetime
    /// A missing file or a refused write is no failure: old kernels lack the setting.
    package var isOptional: Bool

    package init(
        _ place: Place, _ path: String, _ value: String, _ lifetime: Lifetime = .link,
        isOptional: Bool = false
    ) {
        self.place = place
        self.path = path
        self.value = value
        self.lifetime = lifetime
        self.isOptional = isOptional
    }
}

/// Source translation for an attachment's addresses.
package struct Masquerade: Hashable, Sendable {
    package enum Backend: String, Hashable, Sendable { case nftables, iptables }

    package var networkName: String
    package var id: AttachmentID
    /// Addresses with the prefix length of the network they reach untranslated.
    package var addresses: [CIDR]
    /// Who gets the rules on ADD; on DEL those of both go.
    package var backend: Backend

    package init(networkName: String, id: AttachmentID, addresses: [CIDR], backend: Backend = .nftables) {
        self.networkName = networkName
        self.id = id
        self.addresses = addresses
        self.backend = backend
    }
}

/// Lets a bridge port send with its own source address alone.
package struct SpoofCheck: Hashable, Sendable {
    package var id: AttachmentID
    /// Name of the bridge port in the host.
    package var port: String
    /// Address of the link in the sandbox.
    package var mac: MAC

    package init(id: AttachmentID, port: String, mac: MAC) {
        self.id = id
        self.port = port
        self.mac = mac
    }
}
