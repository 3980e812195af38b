internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

/// A link as the kernel has it. linux/if_link.h.
package struct LinkInfo: Equatable, Sendable {
    package var index: Int32 = 0
    package var name = ""
    /// IFLA_INFO_KIND; nil for a device.
    package var kind: String?
    package var mac: MAC?
    package var mtu: UInt32 = 0
    /// IFLA_MIN_MTU and IFLA_MAX_MTU; 0 for no bound, or from a kernel that does not say.
    package var leastMTU: UInt32 = 0
    package var greatestMTU: UInt32 = 0
    var flags: UInt32 = 0
    /// RFC 2863: 6 is up, 0 unknown.
    package var operationalState: UInt8 = 0
    /// IFLA_MASTER.
    package var controllerIndex: Int32?
    /// IFLA_LINK: for a veth its peer's index, in the peer's namespace.
    package var parentIndex: Int32?
    /// IFLA_LINK_NETNSID: an id for the namespace that IFLA_LINK counts in; nil for this one.
    package var parentNamespaceID: Int32?
    package var group: UInt32 = 0
    /// nil for kinds whose settings nobody needs, and where the kernel does not tell them.
    package var settings: KindSettings?
    /// Packets: IFLA_TXQLEN.
    package var queueLength: UInt32 = 0
    /// IFLA_GSO_MAX_SIZE in bytes, and IFLA_GSO_MAX_SEGS; 0 from a kernel that does not say.
    package var gsoSize: UInt32 = 0
    package var gsoSegments: UInt32 = 0
    /// IFLA_GRO_MAX_SIZE, since Linux 5.19; 0 before.
    package var groSize: UInt32 = 0
    /// IFLA_LINKMODE.
    package var isDormant = false
    /// The XDP programs on it.
    package var xdp: [XDPProgram] = []
    /// IFLA_IFALIAS; empty without one.
    package var alias = ""
    /// IFLA_ALT_IFNAME: further names, by which it is found as well.
    package var alternativeNames: [String] = []
    /// IFLA_PERM_ADDRESS; empty for a link that was made with a random address.
    package var permanentAddress: [UInt8] = []
    /// IFLA_PARENT_DEV_BUS_NAME and IFLA_PARENT_DEV_NAME, since Linux 5.14: `pci` and `0000:00:04.0`.
    package var busName = ""
    package var busAddress = ""
    /// IFLA_INFO_SLAVE_DATA of a bridge's port; nil for others.
    package var port: PortSettings?

    package var isLoopback: Bool { flags & UInt32(IFF_LOOPBACK) != 0 }
    package var isUp: Bool { flags & UInt32(IFF_UP) != 0 }
    package var isPromiscuous: Bool { flags & UInt32(IFF_PROMISC) != 0 }
    package var isAllMulticast: Bool { flags & UInt32(IFF_ALLMULTI) != 0 }
    package var usesARP: Bool { flags & UInt32(IFF_NOARP) == 0 }
    package var isMulticast: Bool { flags & UInt32(IFF_MULTICAST) != 0 }
    package var isOperational: Bool { operationalState == 6 }
    package var hasOwnAddress: Bool { !kindsSharingAddresses.contains(kind ?? "") }
    /// IFF_RUNNING: it is up and has a carrier, as far as its driver tells.
    package var isRunning: Bool { flags & UInt32(IFF_RUNNING) != 0 }
    /// False for one that is down, and for one whose cable or lower link is; "unknown" counts as up.
    package var hasCarrier: Bool { !(1...4).contains(operationalState) }
}

// MARK: Looking

extension RouteSocket {
    /// nil when the namespace has no link of that name.
    package mutating func link(named name: String) throws(SystemError) -> LinkInfo? {
        // A result of another program's may name what no link can be called.
        guard name.utf8.count < Int(IFNAMSIZ) else { return nil }
        let request = Self.question()
        request.attributes(of: LinkSpace.self) { $0.put(.name, name) }
        return try one(request, "look for link \(name)")
    }

    /// - Parameter namespace: as IFLA_LINK_NETNSID has it; nil looks in this one.
    package mutating func link(index: Int32, namespace: Int32? = nil) throws(SystemError) -> LinkInfo? {
        let request = Self.question(index: index)
        if let namespace {
            request.attributes(of: LinkSpace.self) { $0.put(.targetNamespace, namespace) }
        }
        return try one(request, "look for link \(index)")
    }

    /// Without counters, which are a third of an answer. The mask also makes the kernel measure its links before it lists
    /// them: otherwise it silently leaves out one whose alternative names do not fit into a page (rtnl_calcit).
    private static func question(index: Int32 = 0) -> Request {
        let request = Request(RTM_GETLINK, 0)
        request.extra(ifinfomsg.of(index: index))
        request.attributes(of: LinkSpace.self) { $0.put(.extensionMask, UInt32(RTEXT_FILTER_SKIP_STATS)) }
        return request
    }

    /// Whether a namespace that a link's peer is in can still be reached: one that is being torn down cannot.
    ///
    /// - Parameter namespace: IFLA_LINK_NETNSID; -1, NETNSA_NSID_NOT_ASSIGNED, once it is gone.
    package mutating func isAlive(namespace: Int32) throws(SystemError) -> Bool {
        guard namespace >= 0 else { return false }
        // lo is number 1 in every namespace.
        do throws(SystemError) { return try link(index: 1, namespace: namespace) != nil } catch
            where error.code == .invalid
        {
            return false
        }
    }

    /// What this namespace calls another one in IFLA_LINK_NETNSID; nil when it has no id for it.
    ///
    /// - Parameter descriptor: of the other namespace.
    package mutating func id(ofNamespace descriptor: CInt) throws(SystemError) -> Int32? {
        let request = Request(RTM_GETNSID, 0)
        request.extra(rtgenmsg(rtgen_family: UInt8(AF_UNSPEC)))
        request.attributes(of: NamespaceSpace.self) { $0.put(.descriptor, UInt32(bitPattern: descriptor)) }
        return try ids(request, "ask for a namespace's id", 0).first { $0 >= 0 }
    }

    /// The namespaces that this one has an id for: those that links of it are tied to, or were moved to.
    package mutating func namespaceIDs() throws(SystemError) -> [Int32] {
        let request = Request(RTM_GETNSID, 0)
        request.extra(rtgenmsg(rtgen_family: UInt8(AF_UNSPEC)))
        return try ids(request, "list namespaces", NLM_F_DUMP)
    }

    private mutating func ids(
        _ request: borrowing Request, _ operation: @autoclosure () -> String, _ flags: CInt
    ) throws(SystemError) -> [Int32] {
        var ids: [Int32] = []
        try socket.converse(request, operation(), flags, restart: { ids = [] }) {
            type, payload throws(SystemError) in
            // The header is one byte, padded to four.
            guard type == UInt16(RTM_NEWNSID), payload.count >= 4 else { return }
            try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[4...])).forEach {
                if $0 == UInt16(NETNSA_NSID), let id = $1.asInt32 { ids.append(id) }
            }
        }
        return ids
    }

    private mutating func one(
        _ request: borrowing Request, _ operation: @autoclosure () -> String
    ) throws(SystemError) -> LinkInfo? {
        var found: LinkInfo?
        do throws(SystemError) {
            try socket.converse(request, operation(), 0) { type, payload throws(SystemError) in
                if type == UInt16(RTM_NEWLINK) { found = try LinkInfo(payload) }
            }
        } catch  where error.code == .noSuchDevice {
            return nil
        }
        return found
    }

    /// The VLANs of a bridge port, by number; none from a kernel that keeps none apart.
    package mutating func vlans(index: Int32) throws(SystemError) -> [UInt16: PortVLAN] {
        let request = Request(RTM_GETLINK, 0)
        request.extra(ifinfomsg.of(family: AF_BRIDGE))
        request.attributes(of: LinkSpace.self) {
            $0.put(.extensionMask, UInt32(RTEXT_FILTER_BRVLAN_COMPRESSED))
        }
        var vlans: [UInt16: PortVLAN] = [:]
        try socket.converse(request, "list the VLANs of bridge ports", NLM_F_DUMP, restart: { vlans = [:] }) {
            type, payload throws(SystemError) in
            let size = MemoryLayout<ifinfomsg>.size
            // The kernel lists the ports of all bridges.
            guard type == UInt16(RTM_NEWLINK), payload.count >= size,
                payload.loadUnaligned(as: ifinfomsg.self).ifi_index == index
            else { return }
            try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[size...])).forEach {
                type, value throws(SystemError) in
                guard type == UInt16(IFLA_AF_SPEC) else { return }
                var first: UInt16?
                try AttributeReader(bytes: value).forEach { type, value in
                    // struct bridge_vlan_info: flags, number.
                    guard type == UInt16(IFLA_BRIDGE_VLAN_INFO), value.count >= 4 else { return }
                    let flags = CInt(value.loadUnaligned(as: UInt16.self))
                    let id = value.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
                    if flags & BRIDGE_VLAN_INFO_RANGE_BEGIN != 0 {
                        first = id
                        return
                    }
                    for number in min(first ?? id, id)...id {
                        vlans[number] = PortVLAN(
                            isNative: flags & BRIDGE_VLAN_INFO_PVID != 0,
                            isUntagged: flags & BRIDGE_VLAN_INFO_UNTAGGED != 0)
                    }
                    first = nil
                }
            }
        }
        return vlans
    }

    /// Every link of the namespace, or the ports of a bridge.
    package mutating func links(controller: Int32? = nil) throws(SystemError) -> [LinkInfo] {
        let request = Self.question()
        if let controller { request.attributes(of: LinkSpace.self) { $0.put(.controller, controller) } }
        var links: [LinkInfo] = []
        try socket.converse(request, "list links", NLM_F_DUMP, restart: { links = [] }) {
            type, payload throws(SystemError) in
            if type == UInt16(RTM_NEWLINK) { links.append(try LinkInfo(payload)) }
        }
        // Kernels before 4.6 do not choose.
        return controller.map { index in links.filter { $0.controllerIndex == index } } ?? links
    }
}

extension LinkInfo {
    /// The payload of RTM_NEWLINK.
    init(_ payload: UnsafeRawBufferPointer) throws(SystemError) {
        let size = MemoryLayout<ifinfomsg>.size
        guard payload.count >= size else {
            throw SystemError(refusing: "read a link: the reply is short")
        }
        let message = payload.loadUnaligned(as: ifinfomsg.self)
        var link = LinkInfo()
        link.index = message.ifi_index
        link.flags = message.ifi_flags
        try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[size...])).forEach {
            type, value throws(SystemError) in
            switch Int(type) {
            case Int(IFLA_IFNAME): link.name = value.asString
            case Int(IFLA_ADDRESS): link.mac = value.asMAC
            case Int(IFLA_MTU): link.mtu = value.asUInt32 ?? 0
            case Int(IFLA_MIN_MTU): link.leastMTU = value.asUInt32 ?? 0
            case Int(IFLA_MAX_MTU): link.greatestMTU = value.asUInt32 ?? 0
            case Int(IFLA_OPERSTATE): link.operationalState = value.asUInt8 ?? 0
            case Int(IFLA_MASTER): link.controllerIndex = value.asInt32
            case Int(IFLA_LINK): link.parentIndex = value.asInt32
            case Int(IFLA_LINK_NETNSID): link.parentNamespaceID = value.asInt32
            case Int(IFLA_IFALIAS): link.alias = value.asString
            case Int(IFLA_TXQLEN): link.queueLength = value.asUInt32 ?? 0
            case Int(IFLA_GSO_MAX_SIZE): link.gsoSize = value.asUInt32 ?? 0
            case Int(IFLA_GSO_MAX_SEGS): link.gsoSegments = value.asUInt32 ?? 0
            case Int(IFLA_GRO_MAX_SIZE): link.groSize = value.asUInt32 ?? 0
            case Int(IFLA_XDP):
                try AttributeReader(bytes: value).forEach { type, value in
                    guard let id = value.asUInt32 else { return }
                    switch Int(type) {
                    case Int(IFLA_XDP_SKB_PROG_ID): link.xdp.append(XDPProgram(mode: .generic, id: id))
                    case Int(IFLA_XDP_DRV_PROG_ID): link.xdp.append(XDPProgram(mode: .driver, id: id))
                    case Int(IFLA_XDP_HW_PROG_ID): link.xdp.append(XDPProgram(mode: .hardware, id: id))
                    default: break
                    }
                }
            case Int(IFLA_LINKMODE): link.isDormant = value.asUInt8 == 1
            case Int(IFLA_PROP_LIST):
                try AttributeReader(bytes: value).forEach { type, value in
                    if type == UInt16(IFLA_ALT_IFNAME) { link.alternativeNames.append(value.asString) }
                }
            case Int(IFLA_PERM_ADDRESS): link.permanentAddress = Array(value)
            case Int(IFLA_PARENT_DEV_BUS_NAME): link.busName = value.asString
            case Int(IFLA_PARENT_DEV_NAME): link.busAddress = value.asString
            case Int(IFLA_GROUP): link.group = value.asUInt32 ?? 0
            case Int(IFLA_LINKINFO):
                try AttributeReader(bytes: value).forEach { type, value throws(SystemError) in
                    if type == UInt16(IFLA_INFO_KIND) { link.kind = value.asString }
                    if type == UInt16(IFLA_INFO_SLAVE_KIND), value.asString == BridgeKind.name {
                        link.port = PortSettings()
                    }
                    if type == UInt16(IFLA_INFO_SLAVE_DATA), link.port != nil {
                        try AttributeReader(bytes: value).forEach { type, value in
                            let isOn = value.asUInt8 == 1
                            if type == UInt16(IFLA_BRPORT_MODE) { link.port?.hairpin = isOn }
                            if type == UInt16(IFLA_BRPORT_ISOLATED) { link.port?.isolated = isOn }
                        }
                    }
                    // The kind comes first.
                    if type == UInt16(IFLA_INFO_DATA) {
                        link.settings = try readableKind(named: link.kind)?.read(
                            AttributeReader(bytes: value)
                        )
                        .map { KindSettings($0) }
                    }
                }
            default: break
            }
        }
        self = link
    }
}
