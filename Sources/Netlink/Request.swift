internal import CLinux
internal import CMnl
internal import Network

/// One or more netlink messages in a buffer that the value owns; attributes go to the last one.
///
/// Overflow of the buffer is a mistake of ours, not of the input's: names and numbers are checked before.
struct Request: ~Copyable {
    private let buffer: UnsafeMutableRawPointer
    private let capacity: Int
    /// Bytes of the finished messages.
    private var finished = 0
    private(set) var header: UnsafeMutablePointer<nlmsghdr>

    init(_ type: some BinaryInteger, _ flags: CInt, capacity: Int = 1024) {
        self.capacity = capacity
        buffer = .allocate(byteCount: capacity, alignment: 8)
        buffer.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
        header = mnl_nlmsg_put_header(buffer)
        start(type, flags)
    }

    deinit { buffer.deallocate() }

    private func start(_ type: some BinaryInteger, _ flags: CInt) {
        header.pointee.nlmsg_type = UInt16(type)
        header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST) | UInt16(flags)
    }

    /// Ends the message at hand and begins another behind it.
    mutating func next(_ type: some BinaryInteger, _ flags: CInt) {
        finished += (Int(header.pointee.nlmsg_len) + 3) & ~3
        precondition(finished + 256 <= capacity)
        header = mnl_nlmsg_put_header(buffer + finished)
        start(type, flags)
    }

    /// The fixed part behind the header: ifinfomsg, ifaddrmsg, rtmsg, nfgenmsg.
    func extra<Header: BitwiseCopyable>(_ value: Header) {
        mnl_nlmsg_put_extra_header(header, MemoryLayout<Header>.size)?.storeBytes(of: value, as: Header.self)
    }

    /// What stands behind the header of a message of the kernel's.
    func payload(_ bytes: [UInt8]) {
        mnl_nlmsg_put_extra_header(header, bytes.count)?.copyMemory(from: bytes, byteCount: bytes.count)
    }

    var sequence: UInt32 {
        get { header.pointee.nlmsg_seq }
        nonmutating set { header.pointee.nlmsg_seq = newValue }
    }

    /// All messages.
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        body(UnsafeRawBufferPointer(start: buffer, count: finished + Int(header.pointee.nlmsg_len)))
    }

    private var room: Int { capacity - finished }

    /// What attributes of one space are put through.
    func attributes<Space>(of _: Space.Type, _ body: (Builder<Space>) -> Void) { body(Builder(header, room)) }
}

/// Puts attributes of one space; a wrong value or another space's attribute does not compile.
struct Builder<Space> {
    private let header: UnsafeMutablePointer<nlmsghdr>
    private let room: Int

    init(_ header: UnsafeMutablePointer<nlmsghdr>, _ room: Int) {
        self.header = header
        self.room = room
    }

    private func put(_ number: UInt16, _ bytes: [UInt8]) {
        precondition(mnl_attr_put_check(header, room, number, bytes.count, bytes))
    }

    func put(_ attribute: Attribute<Space, UInt8>, _ value: UInt8) { put(attribute.number, [value]) }

    func put(_ attribute: Attribute<Space, UInt16>, _ value: UInt16) {
        put(attribute.number, withUnsafeBytes(of: value, Array.init))
    }

    func put(_ attribute: Attribute<Space, UInt32>, _ value: some BinaryInteger) {
        precondition(
            mnl_attr_put_u32_check(header, room, attribute.number, UInt32(truncatingIfNeeded: value)))
    }

    func put(_ attribute: Attribute<Space, BigEndian<UInt32>>, _ value: UInt32) {
        precondition(mnl_attr_put_u32_check(header, room, attribute.number, value.bigEndian))
    }

    func put(_ attribute: Attribute<Space, BigEndian<UInt64>>, _ value: UInt64) {
        precondition(mnl_attr_put_u64_check(header, room, attribute.number, value.bigEndian))
    }

    /// Text ends with NUL, but for an empty one: that has no bytes at all.
    func put(_ attribute: Attribute<Space, String>, _ value: String) {
        put(attribute.number, value.isEmpty ? [] : Array(value.utf8) + [0])
    }
    func put(_ attribute: Attribute<Space, [UInt8]>, _ value: [UInt8]) { put(attribute.number, value) }
    func put(_ attribute: Attribute<Space, MAC>, _ value: MAC) { put(attribute.number, value.bytes) }
    func put(_ attribute: Attribute<Space, IPAddress>, _ value: IPAddress) {
        put(attribute.number, value.bytes)
    }

    func put<Inner>(_ attribute: Attribute<Space, Nest<Inner>>, _ body: (Builder<Inner>) -> Void) {
        let flag = UInt16(NLA_F_NESTED)
        guard let nest = mnl_attr_nest_start_check(header, room, attribute.number & ~flag) else {
            preconditionFailure("netlink request too long")
        }
        // libmnl sets the flag on every nest; rtnetlink takes both forms.
        body(Builder<Inner>(header, room))
        mnl_attr_nest_end(header, nest)
    }

    /// A veth's peer: its ifinfomsg stands between the attribute's header and its attributes.
    func putPeer(flags: UInt32, _ body: (Builder<LinkSpace>) -> Void) where Space == VethSpace {
        guard let nest = mnl_attr_nest_start_check(header, room, UInt16(VETH_INFO_PEER)) else {
            preconditionFailure("netlink request too long")
        }
        let message = ifinfomsg.of(flags: flags, change: flags)
        mnl_nlmsg_put_extra_header(header, MemoryLayout<ifinfomsg>.size)?.storeBytes(
            of: message, as: ifinfomsg.self)
        body(Builder<LinkSpace>(header, room))
        mnl_attr_nest_end(header, nest)
    }
}

extension ifinfomsg {
    static func of(index: Int32 = 0, flags: UInt32 = 0, change: UInt32 = 0, family: CInt = 0) -> ifinfomsg {
        var message = ifinfomsg()
        message.ifi_family = UInt8(family)
        message.ifi_index = index
        message.ifi_flags = flags
        message.ifi_change = change
        return message
    }
}
