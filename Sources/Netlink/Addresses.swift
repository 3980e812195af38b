internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

/// An address of a link. linux/if_addr.h.
package struct AddressInfo: Equatable, Sendable {
    package var cidr: CIDR
    package var index: Int32
    var flags: UInt32
    /// IFA_PROTO; nil where the kernel does not say.
    var origin: UInt8?

    /// Duplicate address detection is not through.
    package var isTentative: Bool {
        flags & UInt32(IFA_F_TENTATIVE) != 0 && flags & UInt32(IFA_F_OPTIMISTIC) == 0
    }
    /// Somebody else has it.
    package var isDuplicate: Bool { flags & UInt32(IFA_F_DADFAILED) != 0 }
    /// Duplicate address detection goes on, also of one that may be used meanwhile (RFC 4429).
    package var isBeingProbed: Bool { flags & UInt32(IFA_F_TENTATIVE) != 0 }
    /// Configured from a router's advertisement, for more than a while (RFC 8981), and not deprecated.
    package var isAdvertised: Bool {
        let foreign = IFA_F_PERMANENT | IFA_F_TEMPORARY | IFA_F_DEPRECATED
        guard flags & UInt32(foreign) == 0, cidr.family == .v6, !cidr.address.isLinkLocal else {
            return false
        }
        // Kernels before 5.18 do not say who made it; those of a DHCP client have no network.
        return origin.map { $0 == UInt8(IFAPROT_KERNEL_RA) } ?? (cidr.length < 128)
    }
}

extension RouteSocket {
    /// Addresses of one link, both families; ENODEV when there is no such link.
    package mutating func addresses(index: Int32) throws(SystemError) -> [AddressInfo] {
        try listAddresses(index: index)
    }

    /// Addresses of every link, both families, by the link's index: links come and go while one asks for each.
    package mutating func addressesByLink() throws(SystemError) -> [Int32: [IPAddress]] {
        Dictionary(grouping: try listAddresses(index: nil), by: \.index).mapValues { $0.map(\.cidr.address) }
    }

    private mutating func listAddresses(index: Int32?) throws(SystemError) -> [AddressInfo] {
        let request = Request(RTM_GETADDR, 0)
        var message = ifaddrmsg()
        message.ifa_index = UInt32(index ?? 0)
        request.extra(message)
        var found: [AddressInfo] = []
        try socket.converse(request, "list addresses", NLM_F_DUMP, isFiltered: true, restart: { found = [] })
        {
            type, payload throws(SystemError) in
            guard type == UInt16(RTM_NEWADDR), let address = try AddressInfo(payload),
                index == nil || address.index == index
            else { return }
            found.append(address)
        }
        return found
    }

    /// - Parameters:
    ///   - nodad: without duplicate address detection, which only IPv6 has.
    ///   - lifetime: after which the kernel removes it; nil for one that stays.
    package mutating func add(
        _ cidr: CIDR, index: Int32, nodad: Bool = false, lifetime: Lifetime? = nil
    ) throws(SystemError) {
        try socket.acknowledge(
            Self.adding(cidr, index: index, nodad: nodad, lifetime: lifetime), "add address \(cidr)")
    }

    /// Adds an IPv6 address that may be used while duplicate address detection goes on, where the link's `optimistic_dad`
    /// permits that. RFC 4429.
    package mutating func probe(_ cidr: CIDR, index: Int32, lifetime: Lifetime) throws(SystemError) {
        try socket.acknowledge(
            Self.adding(cidr, index: index, lifetime: lifetime, isOptimistic: true), "add address \(cidr)")
    }

    /// Adds it, or gives the one that is there another lifetime.
    package mutating func renew(_ cidr: CIDR, index: Int32, lifetime: Lifetime?) throws(SystemError) {
        try socket.acknowledge(
            Self.adding(cidr, index: index, lifetime: lifetime ?? .endless, isNew: false),
            "renew address \(cidr)")
    }

    static func adding(
        _ cidr: CIDR, index: Int32, nodad: Bool = false, lifetime: Lifetime? = nil, isNew: Bool = true,
        isOptimistic: Bool = false
    ) -> Request {
        let request = Request(RTM_NEWADDR, isNew ? create : NLM_F_CREATE | NLM_F_REPLACE)
        var message = ifaddrmsg.of(cidr, index)
        if nodad, cidr.family == .v6 { message.ifa_flags |= UInt8(IFA_F_NODAD) }
        if isOptimistic { message.ifa_flags |= UInt8(IFA_F_OPTIMISTIC) }
        request.extra(message)
        request.attributes(of: AddressSpace.self) {
            $0.put(.local, cidr.address)
            $0.put(.address, cidr.address)
            if cidr.family == .v4, cidr.length < 31 { $0.put(.broadcast, cidr.last) }
            if let lifetime {
                let info = ifa_cacheinfo(
                    ifa_prefered: lifetime.preferred, ifa_valid: lifetime.valid, cstamp: 0, tstamp: 0)
                $0.put(.cacheInfo, withUnsafeBytes(of: info) { Array($0) })
            }
        }
        return request
    }

    package mutating func remove(_ cidr: CIDR, index: Int32) throws(SystemError) {
        let request = Request(RTM_DELADDR, 0)
        request.extra(ifaddrmsg.of(cidr, index))
        request.attributes(of: AddressSpace.self) { $0.put(.local, cidr.address) }
        try socket.acknowledge(request, "remove address \(cidr)")
    }
}

extension ifaddrmsg {
    fileprivate static func of(_ cidr: CIDR, _ index: Int32) -> ifaddrmsg {
        var message = ifaddrmsg()
        message.ifa_family = UInt8(cidr.family == .v4 ? AF_INET : AF_INET6)
        message.ifa_prefixlen = UInt8(cidr.length)
        message.ifa_index = UInt32(index)
        return message
    }
}

extension AddressInfo {
    /// The payload of RTM_NEWADDR; nil for a family that is not IP's.
    init?(_ payload: UnsafeRawBufferPointer) throws(SystemError) {
        let size = MemoryLayout<ifaddrmsg>.size
        guard payload.count >= size else {
            throw SystemError(refusing: "read an address: the reply is short")
        }
        let message = payload.loadUnaligned(as: ifaddrmsg.self)
        var (local, address): (IPAddress?, IPAddress?)
        var flags = UInt32(message.ifa_flags)
        var origin: UInt8?
        try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[size...])).forEach {
            type, value throws(SystemError) in
            switch Int(type) {
            case Int(IFA_LOCAL): local = value.asAddress
            case Int(IFA_ADDRESS): address = value.asAddress
            case Int(IFA_FLAGS): flags = value.asUInt32 ?? flags
            case Int(IFA_PROTO): origin = value.asUInt8
            default: break
            }
        }
        guard let own = local ?? address, Int(message.ifa_prefixlen) <= own.family.width else { return nil }
        self.init(
            cidr: CIDR(own, Int(message.ifa_prefixlen)), index: Int32(bitPattern: message.ifa_index),
            flags: flags, origin: origin)
    }
}
