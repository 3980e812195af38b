internal import CLinux
internal import CMnl
internal import Glibc
package import Network

/// A link as the kernel has it. linux/if_link.h.
package struct LinkInfo: Equatable, Sendable {
    package var index: Int32 = 0
    package var name = ""
    /// IFLA_INFO_KIND; nil for a device.
    package var kind: String?
    package var mac: MAC?
    package var mtu: UInt32 = 0
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

    package var isUp: Bool { flags & UInt32(IFF_UP) != 0 }
    package var isPromiscuous: Bool { flags & UInt32(IFF_PROMISC) != 0 }
    package var isOperational: Bool { operationalState == 6 }
}

/// One property to change, in one message.
package enum LinkChange: Equatable, Sendable {
    case up(Bool)
    case mtu(UInt32)
    case mac(MAC)
    case name(String)
    /// nil frees a port.
    case controller(Int32?)
    case promiscuous(Bool)
    case group(UInt32)
}

// MARK: Looking

extension RouteSocket {
    /// nil when the namespace has no link of that name.
    package mutating func link(named name: String) throws(NetlinkError) -> LinkInfo? {
        let request = Request(RTM_GETLINK, 0)
        request.extra(ifinfomsg.of())
        request.attributes(of: LinkSpace.self) { $0.put(.name, name) }
        return try one(request, "look for link \(name)")
    }

    package mutating func link(index: Int32) throws(NetlinkError) -> LinkInfo? {
        let request = Request(RTM_GETLINK, 0)
        request.extra(ifinfomsg.of(index: index))
        return try one(request, "look for link \(index)")
    }

    private mutating func one(_ request: borrowing Request, _ operation: String) throws(NetlinkError)
        -> LinkInfo?
    {
        var found: LinkInfo?
        do throws(NetlinkError) {
            try socket.converse(request, operation, 0) { type, payload throws(NetlinkError) in
                if type == UInt16(RTM_NEWLINK) { found = try LinkInfo(payload) }
            }
        } catch  where error.code == ENODEV {
            return nil
        }
        return found
    }

    /// Every link of the namespace.
    package mutating func links() throws(NetlinkError) -> [LinkInfo] {
        let request = Request(RTM_GETLINK, 0)
        request.extra(ifinfomsg.of())
        var links: [LinkInfo] = []
        try socket.converse(request, "list links", NLM_F_DUMP, restart: { links = [] }) {
            type, payload throws(NetlinkError) in
            if type == UInt16(RTM_NEWLINK) { links.append(try LinkInfo(payload)) }
        }
        return links
    }
}

extension LinkInfo {
    /// The payload of RTM_NEWLINK.
    init(_ payload: UnsafeRawBufferPointer) throws(NetlinkError) {
        let size = MemoryLayout<ifinfomsg>.size
        guard payload.count >= size else {
            throw NetlinkError(operation: "read a link: the reply is short", code: 0)
        }
        let message = payload.loadUnaligned(as: ifinfomsg.self)
        var link = LinkInfo()
        link.index = message.ifi_index
        link.flags = message.ifi_flags
        try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[size...])).forEach {
            type, value throws(NetlinkError) in
            switch Int(type) {
            case Int(IFLA_IFNAME): link.name = value.asString
            case Int(IFLA_ADDRESS): link.mac = value.asMAC
            case Int(IFLA_MTU): link.mtu = value.asUInt32 ?? 0
            case Int(IFLA_OPERSTATE): link.operationalState = value.asUInt8 ?? 0
            case Int(IFLA_MASTER): link.controllerIndex = value.asInt32
            case Int(IFLA_LINK): link.parentIndex = value.asInt32
            case Int(IFLA_LINK_NETNSID): link.parentNamespaceID = value.asInt32
            case Int(IFLA_GROUP): link.group = value.asUInt32 ?? 0
            case Int(IFLA_LINKINFO):
                try AttributeReader(bytes: value).forEach {
                    if $0 == UInt16(IFLA_INFO_KIND) { link.kind = $1.asString }
                }
            default: break
            }
        }
        self = link
    }
}

// MARK: Making

extension RouteSocket {
    /// A bridge, up from its first moment on.
    package mutating func addBridge(
        name: String, mtu: UInt32?, mac: MAC, vlanFiltering: Bool
    ) throws(NetlinkError) {
        let request = Self.newLink(up: true)
        request.attributes(of: LinkSpace.self) {
            $0.put(.name, name)
            if let mtu { $0.put(.mtu, mtu) }
            $0.put(.mac, mac)
            $0.put(.info) { info in
                info.put(.kind, "bridge")
                if vlanFiltering { info.put(.bridge) { $0.put(.vlanFiltering, 1) } }
            }
        }
        try socket.acknowledge(request, "add bridge \(name)")
    }

    /// - Parameters:
    ///   - parent: index of the link that a macvlan sits on.
    ///   - namespace: descriptor of the namespace to make it in; nil is this one.
    package mutating func add(
        _ spec: LinkSpec, parent: Int32? = nil, into namespace: CInt? = nil
    ) throws(NetlinkError) {
        let request = Self.newLink(up: false)
        request.attributes(of: LinkSpace.self) {
            $0.put(.name, spec.name)
            if let mtu = spec.mtu { $0.put(.mtu, mtu) }
            if let mac = spec.mac { $0.put(.mac, mac) }
            if let parent { $0.put(.parent, parent) }
            if let namespace { $0.put(.namespace, namespace) }
            $0.put(.info) { info in
                info.put(.kind, spec.kind.name)
                if case .macvlan(_, let mode) = spec.kind {
                    info.put(.macvlan) { $0.put(.mode, mode.rawValue) }
                }
            }
        }
        try socket.acknowledge(request, "add \(spec.kind.name) \(spec.name)")
    }

    /// A veth pair in place: this end in the host, a bridge's port and up; the other in the sandbox, down. A refused
    /// request leaves neither.
    ///
    /// - Parameter sandbox: descriptor of the pod's namespace.
    package mutating func add(_ veth: VethSpec, sandbox: CInt, controller: Int32?) throws(NetlinkError) {
        let request = Self.newLink(up: true)
        request.attributes(of: LinkSpace.self) {
            $0.put(.name, veth.peer)
            if let mtu = veth.mtu { $0.put(.mtu, mtu) }
            $0.put(.mac, veth.peerMAC)
            if let controller { $0.put(.controller, controller) }
            $0.put(.info) { info in
                info.put(.kind, "veth")
                info.put(.veth) { data in
                    data.putPeer(flags: 0) { peer in
                        peer.put(.name, veth.name)
                        if let mtu = veth.mtu { peer.put(.mtu, mtu) }
                        peer.put(.mac, veth.mac)
                        peer.put(.namespace, sandbox)
                    }
                }
            }
        }
        try socket.acknowledge(request, "add veth \(veth.name)")
    }

    private static func newLink(up: Bool) -> Request {
        let request = Request(RTM_NEWLINK, create)
        let flags: UInt32 = up ? UInt32(IFF_UP) : 0
        request.extra(ifinfomsg.of(flags: flags, change: flags))
        return request
    }
}

// MARK: Changing and deleting

extension RouteSocket {
    package mutating func change(index: Int32, _ change: LinkChange) throws(NetlinkError) {
        let request = Request(RTM_SETLINK, 0)
        var message = ifinfomsg.of(index: index)
        switch change {
        case .up(let up): message.set(UInt32(IFF_UP), up)
        case .promiscuous(let on): message.set(UInt32(IFF_PROMISC), on)
        default: break
        }
        request.extra(message)
        request.attributes(of: LinkSpace.self) {
            switch change {
            case .up, .promiscuous: break
            case .mtu(let bytes): $0.put(.mtu, bytes)
            case .mac(let mac): $0.put(.mac, mac)
            case .name(let name): $0.put(.name, name)
            case .controller(let controller): $0.put(.controller, controller ?? 0)
            case .group(let group): $0.put(.group, group)
            }
        }
        try socket.acknowledge(request, "set link \(index) \(change)")
    }

    /// Flags of a bridge port.
    package mutating func setPort(index: Int32, _ settings: PortSettings) throws(NetlinkError) {
        let request = Request(RTM_SETLINK, 0)
        request.extra(ifinfomsg.of(index: index, family: AF_BRIDGE))
        request.attributes(of: LinkSpace.self) {
            $0.put(.port) { port in
                if let hairpin = settings.hairpin { port.put(.hairpin, hairpin ? 1 : 0) }
                if let isolated = settings.isolated { port.put(.isolated, isolated ? 1 : 0) }
            }
        }
        try socket.acknowledge(request, "set bridge port \(index)")
    }

    package mutating func delete(index: Int32) throws(NetlinkError) {
        let request = Request(RTM_DELLINK, 0)
        request.extra(ifinfomsg.of(index: index))
        try socket.acknowledge(request, "delete link \(index)")
    }

    /// All links of a group at once, or none when one of them cannot be deleted.
    package mutating func delete(group: UInt32) throws(NetlinkError) {
        let request = Request(RTM_DELLINK, 0)
        request.extra(ifinfomsg.of())
        request.attributes(of: LinkSpace.self) { $0.put(.group, group) }
        try socket.acknowledge(request, "delete links of group \(group)")
    }

    /// Puts links into a group, 128 messages at a time: more answers may overflow the receive buffer.
    package mutating func setGroup(_ indexes: [Int32], _ group: UInt32) throws(NetlinkError) {
        var rest = indexes[...]
        while let first = rest.first {
            let part = rest.prefix(128)
            rest = rest.dropFirst(part.count)
            var request = Request(RTM_SETLINK, 0, capacity: 16384)
            for index in part {
                if index != first { request.next(RTM_SETLINK, 0) }
                request.extra(ifinfomsg.of(index: index))
                request.attributes(of: LinkSpace.self) { $0.put(.group, group) }
            }
            request.header.pointee.nlmsg_flags |= UInt16(NLM_F_ACK)
            try socket.batch(request, "group links")
        }
    }
}

extension ifinfomsg {
    fileprivate mutating func set(_ flag: UInt32, _ on: Bool) {
        ifi_change |= flag
        ifi_flags |= on ? flag : 0
    }
}
