internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

// MARK: Making

extension RouteSocket {
    /// A link of this namespace, up from its first moment on.
    ///
    /// - Returns: the new link; nil from kernels before 6.2.
    @discardableResult
    package mutating func addUp(_ spec: LinkSpec) throws(SystemError) -> LinkInfo? {
        try make(Self.link(spec, isUp: true), "add \(spec.kind.name) \(spec.name)")
    }

    /// Asks for what was made along with the ACK (NLM_F_ECHO), which saves a question.
    private mutating func make(
        _ request: borrowing Request, _ operation: @autoclosure () -> String
    ) throws(SystemError) -> LinkInfo? {
        var made: LinkInfo?
        try socket.converse(request, operation(), NLM_F_ACK | NLM_F_ECHO) {
            type, payload throws(SystemError) in
            if type == UInt16(RTM_NEWLINK) { made = try LinkInfo(payload) }
        }
        return made
    }

    /// - Parameters:
    ///   - parent: index of the link that a macvlan or ipvlan sits on.
    ///   - namespace: descriptor of the namespace to make it in; nil is this one.
    package mutating func add(
        _ spec: LinkSpec, parent: Int32? = nil, into namespace: CInt? = nil
    ) throws(SystemError) {
        try socket.acknowledge(
            Self.link(spec, parent: parent, into: namespace), "add \(spec.kind.name) \(spec.name)")
    }

    static func link(
        _ spec: LinkSpec, isUp: Bool = false, parent: Int32? = nil, into namespace: CInt? = nil
    ) -> Request {
        let request = newLink(up: isUp)
        request.attributes(of: LinkSpace.self) {
            $0.put(.name, spec.name)
            if let mtu = spec.mtu { $0.put(.mtu, mtu) }
            if let mac = spec.mac { $0.put(.mac, mac) }
            if let parent { $0.put(.parent, parent) }
            if let namespace { $0.put(.namespace, namespace) }
            $0.put(.info) { info in
                info.put(.kind, spec.kind.name)
                spec.kind.encode(with: InfoEncoder(info: info))
            }
        }
        return request
    }

    /// Both ends of a veth pair in this namespace, the first one up. The kernel makes the peer first, so that its
    /// index is the lower one.
    package mutating func addPair(name: String, peer: String, mtu: UInt32?) throws(SystemError) {
        let request = Self.newLink(up: true)
        request.attributes(of: LinkSpace.self) {
            $0.put(.name, name)
            if let mtu { $0.put(.mtu, mtu) }
            $0.put(.info) { info in
                info.put(.kind, "veth")
                info.put(.veth) { data in
                    data.putPeer(flags: 0) { end in
                        end.put(.name, peer)
                        if let mtu { end.put(.mtu, mtu) }
                    }
                }
            }
        }
        try socket.acknowledge(request, "add veth \(name)")
    }

    /// A veth pair in place: this end in the host, a bridge's port and up; the other in the sandbox, down. A refused
    /// request leaves neither.
    ///
    /// - Parameter sandbox: descriptor of the pod's namespace.
    /// - Returns: the end in the host; nil from kernels before 6.2.
    @discardableResult
    package mutating func add(
        _ veth: VethSpec, sandbox: CInt, controller: Int32?
    ) throws(SystemError) -> LinkInfo? {
        try make(Self.pair(veth, sandbox: sandbox, controller: controller), "add veth \(veth.name)")
    }

    static func pair(_ veth: VethSpec, sandbox: CInt, controller: Int32?) -> Request {
        let request = newLink(up: true)
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
        return request
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
    /// Sends a request for one link; a refusal has the link's name, which is looked up only then.
    private mutating func acknowledge(
        _ request: borrowing Request, of index: Int32, _ operation: (_ name: String) -> String
    ) throws(SystemError) {
        do throws(SystemError) { try socket.acknowledge(request, "") } catch {
            // It may be in another namespace by now.
            let name = (try? link(index: index)?.name) ?? "\(index)"
            throw error.renamed(operation(name))
        }
    }

    package mutating func change(index: Int32, _ change: LinkChange) throws(SystemError) {
        try acknowledge(Self.changing(index, change), of: index) { "set link \($0) \(change)" }
    }

    static func changing(_ index: Int32, _ change: LinkChange) -> Request {
        let request = Request(RTM_SETLINK, 0)
        var message = ifinfomsg.of(index: index)
        switch change {
        case .up(let up): message.set(UInt32(IFF_UP), up)
        case .promiscuous(let on): message.set(UInt32(IFF_PROMISC), on)
        case .allMulticast(let on): message.set(UInt32(IFF_ALLMULTI), on)
        case .arp(let on): message.set(UInt32(IFF_NOARP), !on)
        case .multicast(let on): message.set(UInt32(IFF_MULTICAST), on)
        default: break
        }
        request.extra(message)
        request.attributes(of: LinkSpace.self) {
            switch change {
            case .up, .promiscuous, .allMulticast, .arp, .multicast: break
            case .mtu(let bytes): $0.put(.mtu, bytes)
            case .mac(let mac): $0.put(.mac, mac)
            case .name(let name): $0.put(.name, name)
            case .controller(let controller): $0.put(.controller, controller ?? 0)
            case .queueLength(let packets): $0.put(.queueLength, packets)
            case .group(let group): $0.put(.group, group)
            case .gsoSize(let bytes): $0.put(.gsoSize, bytes)
            case .gsoSegments(let count): $0.put(.gsoSegments, count)
            case .groSize(let bytes): $0.put(.groSize, bytes)
            case .dormant(let on): $0.put(.linkMode, UInt8(on ? 1 : 0))
            case .withoutXDP(let mode):
                $0.put(.xdp) {
                    $0.put(.program, UInt32.max)  // -1: none
                    $0.put(.flags, mode.rawValue)
                }
            }
        }
        return request
    }

    /// Moves a link to another namespace, where it has this name and alias, and is up or down from its first moment on.
    ///
    /// The kernel moves first: a name that is taken there is refused when the link has arrived.
    package mutating func move(
        index: Int32, to namespace: CInt, name: String, alias: String, isUp: Bool
    ) throws(SystemError) {
        let request = Request(RTM_SETLINK, 0)
        var message = ifinfomsg.of(index: index)
        if isUp { message.set(UInt32(IFF_UP), true) }
        request.extra(message)
        request.attributes(of: LinkSpace.self) {
            $0.put(.namespace, namespace)
            $0.put(.name, name)
            $0.put(.alias, alias)
        }
        try socket.acknowledge(request, "failed to move link \(alias) and call it \(name)")
    }

    /// A link that is down gets this name.
    package mutating func rename(index: Int32, _ name: String) throws(SystemError) {
        let request = Request(RTM_SETLINK, 0)
        request.extra(ifinfomsg.of(index: index))
        request.attributes(of: LinkSpace.self) { $0.put(.name, name) }
        try acknowledge(request, of: index) { "rename link \($0) to \(name)" }
    }

    /// Takes alternative names off a link. Linux 5.5.
    package mutating func remove(alternativeNames names: [String], index: Int32) throws(SystemError) {
        for name in names {
            let request = Request(RTM_DELLINKPROP, 0)
            request.extra(ifinfomsg.of(index: index))
            request.attributes(of: LinkSpace.self) {
                $0.put(.properties) { $0.put(.alternativeName, name) }
            }
            try acknowledge(request, of: index) { "remove the alternative name \(name) of link \($0)" }
        }
    }

    package mutating func clearAlias(index: Int32) throws(SystemError) {
        let request = Request(RTM_SETLINK, 0)
        request.extra(ifinfomsg.of(index: index))
        request.attributes(of: LinkSpace.self) { $0.put(.alias, "") }
        try acknowledge(request, of: index) { "clear the alias of link \($0)" }
    }

    /// Flags of a bridge port.
    package mutating func setPort(index: Int32, _ settings: PortSettings) throws(SystemError) {
        try acknowledge(Self.port(index, settings), of: index) { "set bridge port \($0)" }
    }

    static func port(_ index: Int32, _ settings: PortSettings) -> Request {
        let request = Request(RTM_SETLINK, 0)
        request.extra(ifinfomsg.of(index: index, family: AF_BRIDGE))
        request.attributes(of: LinkSpace.self) {
            $0.put(.port) { port in
                if let hairpin = settings.hairpin { port.put(.hairpin, hairpin ? 1 : 0) }
                if let isolated = settings.isolated { port.put(.isolated, isolated ? 1 : 0) }
            }
        }
        return request
    }

    /// Gives a bridge port its VLANs: one message takes off what it had, one adds.
    package mutating func setVLANs(index: Int32, _ vlans: PortVLANs) throws(SystemError) {
        if !vlans.keepsDefault {
            // A VLAN of the range that the port does not have is passed over (net/bridge/br_netlink.c).
            let all = Self.portVLANs(RTM_DELLINK, index, [(1...4094, 0)])
            try acknowledge(all, of: index) { "clear the VLANs of bridge port \($0)" }
        }
        let native = (vlans.native...vlans.native, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED)
        let wanted = [native] + vlans.tagged.map { ($0, 0) }
        try acknowledge(Self.portVLANs(RTM_SETLINK, index, wanted), of: index) {
            "set the VLANs of bridge port \($0)"
        }
    }

    /// Makes a bridge keep VLANs apart that mixes them.
    package mutating func keepVLANsApart(index: Int32) throws(SystemError) {
        let request = Request(RTM_NEWLINK, 0)
        request.extra(ifinfomsg.of(index: index))
        request.attributes(of: LinkSpace.self) {
            $0.put(.info) { info in
                info.put(.kind, BridgeKind.name)
                BridgeKind(vlanFiltering: true).encode(with: InfoEncoder(info: info))
            }
        }
        try acknowledge(request, of: index) { "make bridge \($0) keep VLANs apart" }
    }

    static func portVLANs(
        _ message: Int, _ index: Int32, _ vlans: [(ids: ClosedRange<UInt16>, flags: CInt)]
    ) -> Request {
        let request = Request(message, 0)
        request.extra(ifinfomsg.of(index: index, family: AF_BRIDGE))
        request.attributes(of: LinkSpace.self) {
            $0.put(.bridgeFamily) { family in
                func put(_ flags: CInt, _ vid: UInt16) {
                    family.put(.vlan, [UInt16(flags), vid].flatMap { withUnsafeBytes(of: $0, Array.init) })
                }
                for (ids, flags) in vlans {
                    guard ids.count > 1 else {
                        put(flags, ids.lowerBound)
                        continue
                    }
                    put(flags | BRIDGE_VLAN_INFO_RANGE_BEGIN, ids.lowerBound)
                    put(flags | BRIDGE_VLAN_INFO_RANGE_END, ids.upperBound)
                }
            }
        }
        return request
    }

    /// - Parameter namespace: as IFLA_LINK_NETNSID has it; nil for this one.
    package mutating func delete(index: Int32, namespace: Int32? = nil) throws(SystemError) {
        let request = Request(RTM_DELLINK, 0)
        request.extra(ifinfomsg.of(index: index))
        if let namespace {
            request.attributes(of: LinkSpace.self) { $0.put(.targetNamespace, namespace) }
        }
        try acknowledge(request, of: index) { "delete link \($0)" }
    }

    /// All links of a group at once, or none when one of them cannot be deleted.
    package mutating func delete(group: UInt32) throws(SystemError) {
        try socket.acknowledge(Self.deleting(group: group), "delete links of group \(group)")
    }

    static func deleting(group: UInt32) -> Request {
        let request = Request(RTM_DELLINK, 0)
        request.extra(ifinfomsg.of())
        request.attributes(of: LinkSpace.self) { $0.put(.group, group) }
        return request
    }

    /// Puts links into a group, 128 messages at a time: more answers may overflow the receive buffer.
    package mutating func setGroup(_ indexes: [Int32], _ group: UInt32) throws(SystemError) {
        var rest = indexes[...]
        while let first = rest.first {
            let part = rest.prefix(128)
            rest = rest.dropFirst(part.count)
            var request = Request(RTM_SETLINK, 0)
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
