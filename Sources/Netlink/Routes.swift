internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

/// A unicast route of the main table and the link it leaves by.
package struct RouteInfo: Equatable, Sendable {
    package var route: Route
    package var index: Int32
    /// The kernel's own description, all of it: rtmsg and attributes.
    package var original: [UInt8] = []

    /// Whether the kernel has it from a router's advertisement.
    package var isAdvertised: Bool {
        original.count > MemoryLayout<rtmsg>.size
            && original[5] == UInt8(RTPROT_RA)
    }
}

extension RouteSocket {
    /// Routes of the main table; each next hop of a multipath route counts as one.
    package mutating func routes(family: IPAddress.Family) throws(SystemError) -> [RouteInfo] {
        let request = Request(RTM_GETROUTE, 0)
        var message = rtmsg()
        message.rtm_family = UInt8(family == .v4 ? AF_INET : AF_INET6)
        message.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
        request.extra(message)
        var found: [RouteInfo] = []
        do throws(SystemError) {
            try socket.converse(request, "list routes", NLM_F_DUMP, isFiltered: true, restart: { found = [] })
            {
                type, payload throws(SystemError) in
                if type == UInt16(RTM_NEWROUTE) { found += try RouteInfo.read(payload, family) }
            }
        } catch  where error.code == .noSuchFile {
            // The main table comes into being with its first route.
            return []
        }
        return found
    }

    /// Adds a route beside those that exist for other gateways; the same one again is EEXIST.
    package mutating func add(_ route: Route, index: Int32) throws(SystemError) {
        let via = route.gateway.map { " via \($0)" } ?? ""
        try socket.acknowledge(Self.adding(route, index: index), "add route \(route.destination)\(via)")
    }

    static func adding(_ route: Route, index: Int32) -> Request {
        let request = Request(RTM_NEWROUTE, NLM_F_CREATE)
        request.extra(message(route, scope: route.scope ?? UInt8(RT_SCOPE_UNIVERSE.rawValue)))
        put(route, index, request)
        return request
    }

    package mutating func remove(_ route: Route, index: Int32) throws(SystemError) {
        let request = Request(RTM_DELROUTE, 0)
        request.extra(Self.message(route, scope: route.scope ?? UInt8(RT_SCOPE_NOWHERE.rawValue)))
        Self.put(route, index, request)
        try socket.acknowledge(request, "remove route \(route.destination)")
    }

    /// Removes a route as it was listed, whoever made it and with however many next hops.
    package mutating func remove(original: [UInt8], _ destination: CIDR) throws(SystemError) {
        try socket.acknowledge(Self.repeating(RTM_DELROUTE, original), "remove route \(destination)")
    }

    /// Puts a route back as it was listed.
    package mutating func restore(original: [UInt8], _ destination: CIDR) throws(SystemError) {
        let request = Self.repeating(RTM_NEWROUTE, original)
        request.header.pointee.nlmsg_flags |= UInt16(NLM_F_CREATE)
        try socket.acknowledge(request, "restore route \(destination)")
    }

    private static func repeating(_ type: Int, _ original: [UInt8]) -> Request {
        let request = Request(type, 0)
        request.payload(original)
        return request
    }

    private static func message(_ route: Route, scope: UInt8) -> rtmsg {
        var message = rtmsg()
        message.rtm_family = UInt8(route.family == .v4 ? AF_INET : AF_INET6)
        message.rtm_dst_len = UInt8(route.destination.length)
        message.rtm_table = UInt8(truncatingIfNeeded: min(route.table ?? UInt32(RT_TABLE_MAIN.rawValue), 255))
        message.rtm_protocol = UInt8(RTPROT_BOOT)
        message.rtm_scope = scope
        message.rtm_type = UInt8(RTN_UNICAST)
        return message
    }

    private static func put(_ route: Route, _ index: Int32, _ request: borrowing Request) {
        request.attributes(of: RouteSpace.self) {
            $0.put(.destination, route.destination.address)
            $0.put(.link, index)
            if let gateway = route.gateway { $0.put(.gateway, gateway) }
            if let priority = route.priority { $0.put(.priority, priority) }
            if let table = route.table, table > 255 { $0.put(.table, table) }
            guard route.mtu != nil || route.advmss != nil else { return }
            $0.put(.metrics) { metrics in
                if let mtu = route.mtu { metrics.put(.mtu, mtu) }
                if let advmss = route.advmss { metrics.put(.advmss, advmss) }
            }
        }
    }
}

extension RouteInfo {
    /// The payload of RTM_NEWROUTE; empty for what is no unicast route of the main table.
    static func read(_ payload: UnsafeRawBufferPointer, _ family: IPAddress.Family) throws(SystemError)
        -> [RouteInfo]
    {
        let size = MemoryLayout<rtmsg>.size
        guard payload.count >= size else {
            throw SystemError(refusing: "read a route: the reply is short")
        }
        let message = payload.loadUnaligned(as: rtmsg.self)
        guard Int(message.rtm_type) == Int(RTN_UNICAST), message.rtm_flags & UInt32(RTM_F_CLONED) == 0,
            Int(message.rtm_dst_len) <= family.width
        else { return [] }
        var destination = IPAddress(family, bits: 0)
        var table = UInt32(message.rtm_table)
        var hops: [(gateway: IPAddress?, index: Int32)] = []
        var single: (gateway: IPAddress?, index: Int32) = (nil, 0)
        var priority: UInt32?
        try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[size...])).forEach {
            type, value throws(SystemError) in
            switch UInt32(type) {
            case RTA_DST.rawValue: destination = value.asAddress ?? destination
            case RTA_GATEWAY.rawValue: single.gateway = value.asAddress
            case RTA_OIF.rawValue: single.index = value.asInt32 ?? 0
            case RTA_PRIORITY.rawValue: priority = value.asUInt32
            case RTA_TABLE.rawValue: table = value.asUInt32 ?? table
            case RTA_MULTIPATH.rawValue: hops = try nextHops(value)
            default: break
            }
        }
        guard table == UInt32(RT_TABLE_MAIN.rawValue), destination.family == family else { return [] }
        let cidr = CIDR(destination, Int(message.rtm_dst_len))
        // 1024 is what the kernel gives an IPv6 route that asks for none.
        // Universe is what a route has that says nothing; IPv6 knows no other.
        let isNarrow = family == .v4 && message.rtm_scope != UInt8(RT_SCOPE_UNIVERSE.rawValue)
        let scope = isNarrow ? message.rtm_scope : nil
        let metric = family == .v6 && priority == 1024 ? nil : priority
        // The kernel refuses flags that tell of a route's state, but for that of an on-link gateway.
        var stated = message
        stated.rtm_flags &= UInt32(RTNH_F_ONLINK)
        let head = withUnsafeBytes(of: stated, Array.init)
        let whole = head + payload[size...]
        return try (hops.isEmpty ? [single] : hops).map { hop throws(SystemError) in
            // IPv6 lists routes of their own, which may be other links', as one with several next hops.
            let original =
                hops.isEmpty || family == .v4 ? whole : head + (try alone(payload[size...], hop))
            return RouteInfo(
                route: Route(cidr, via: hop.gateway, priority: metric, scope: scope), index: hop.index,
                original: original)
        }
    }

    /// The attributes of a route with one of its next hops in the place of all.
    private static func alone(
        _ attributes: Slice<UnsafeRawBufferPointer>, _ hop: (gateway: IPAddress?, index: Int32)
    ) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        func put(_ type: UInt32, _ value: some Sequence<UInt8>) {
            let value = Array(value)
            withUnsafeBytes(of: (UInt16(4 + value.count), UInt16(type))) { bytes += $0 }
            bytes += value
            while bytes.count % 4 != 0 { bytes.append(0) }
        }
        try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: attributes)).forEach {
            if UInt32($0) != RTA_MULTIPATH.rawValue { put(UInt32($0), $1) }
        }
        if let gateway = hop.gateway { put(RTA_GATEWAY.rawValue, gateway.bytes) }
        withUnsafeBytes(of: hop.index) { put(RTA_OIF.rawValue, $0) }
        return bytes
    }

    /// RTA_MULTIPATH: rtnexthop structures, each with attributes.
    private static func nextHops(
        _ value: UnsafeRawBufferPointer
    ) throws(SystemError) -> [(gateway: IPAddress?, index: Int32)] {
        var hops: [(gateway: IPAddress?, index: Int32)] = []
        var rest = value
        while rest.count >= 8 {
            let length = Int(rest.loadUnaligned(as: UInt16.self))
            guard length >= 8, length <= rest.count else { break }
            var hop: (gateway: IPAddress?, index: Int32) = (
                nil, rest.loadUnaligned(fromByteOffset: 4, as: Int32.self)
            )
            try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: rest[8..<length])).forEach {
                if UInt32($0) == RTA_GATEWAY.rawValue { hop.gateway = $1.asAddress }
            }
            hops.append(hop)
            rest = UnsafeRawBufferPointer(rebasing: rest[min((length + 3) & ~3, rest.count)...])
        }
        return hops
    }
}
