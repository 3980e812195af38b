internal import CLinux
internal import CMnl
internal import Networking

/// The bytes of a request, which grow with what is put into them.
private final class Buffer {
    private(set) var bytes: UnsafeMutableRawPointer
    private var capacity: Int
    /// Where the message at hand begins.
    private(set) var start = 0

    init(capacity: Int) {
        self.capacity = capacity
        bytes = .allocate(byteCount: capacity, alignment: 8)
        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
        mnl_nlmsg_put_header(bytes)
    }

    deinit { bytes.deallocate() }

    var header: UnsafeMutablePointer<nlmsghdr> {
        (bytes + start).assumingMemoryBound(to: nlmsghdr.self)
    }

    var count: Int { start + Int(header.pointee.nlmsg_len) }

    /// Makes room for so many bytes more, with the header and the padding that they need.
    func reserve(_ more: Int) {
        let needed = count + more + 64
        guard needed > capacity else { return }
        let used = count
        let larger = UnsafeMutableRawPointer.allocate(byteCount: needed * 2, alignment: 8)
        larger.initializeMemory(as: UInt8.self, repeating: 0, count: needed * 2)
        larger.copyMemory(from: bytes, byteCount: used)
        bytes.deallocate()
        bytes = larger
        capacity = needed * 2
    }

    /// Begins another message behind the one at hand.
    func next() {
        reserve(0)
        start = (count + 3) & ~3
        mnl_nlmsg_put_header(bytes + start)
    }

    func putExtra<Header: BitwiseCopyable>(_ value: Header) {
        reserve(MemoryLayout<Header>.size)
        mnl_nlmsg_put_extra_header(header, MemoryLayout<Header>.size)?.storeBytes(of: value, as: Header.self)
    }

    /// - Returns: where the nest begins, for `endNest`.
    func startNest(_ type: UInt16) -> Int {
        reserve(0)
        // libmnl sets the flag on every nest; rtnetlink takes both forms.
        return mnl_attr_nest_start(header, type).map { UnsafeMutableRawPointer($0) - bytes } ?? 0
    }

    func endNest(_ place: Int) {
        mnl_attr_nest_end(header, (bytes + place).assumingMemoryBound(to: nlattr.self))
    }
}

/// One or more netlink messages in a buffer that the value owns; attributes go to the last one.
struct Request: ~Copyable {
    private let buffer: Buffer
    var header: UnsafeMutablePointer<nlmsghdr> { buffer.header }

    init(_ type: some BinaryInteger, _ flags: CInt, capacity: Int = 1024) {
        buffer = Buffer(capacity: capacity)
        start(type, flags)
    }

    private func start(_ type: some BinaryInteger, _ flags: CInt) {
        header.pointee.nlmsg_type = UInt16(type)
        header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST) | UInt16(flags)
    }

    /// Ends the message at hand and begins another behind it.
    mutating func next(_ type: some BinaryInteger, _ flags: CInt) {
        buffer.next()
        start(type, flags)
    }

    /// The fixed part behind the header: ifinfomsg, ifaddrmsg, rtmsg, nfgenmsg.
    func extra<Header: BitwiseCopyable>(_ value: Header) { buffer.putExtra(value) }

    /// What stands behind the header of a message of the kernel's.
    func payload(_ bytes: [UInt8]) {
        buffer.reserve(bytes.count)
        mnl_nlmsg_put_extra_header(header, bytes.count)?.copyMemory(from: bytes, byteCount: bytes.count)
    }

    var sequence: UInt32 {
        get { header.pointee.nlmsg_seq }
        nonmutating set { header.pointee.nlmsg_seq = newValue }
    }

    /// All messages.
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        body(UnsafeRawBufferPointer(start: buffer.bytes, count: buffer.count))
    }

    /// What attributes of one space are put through.
    func attributes<Space>(of _: Space.Type, _ body: (Builder<Space>) -> Void) { body(Builder(buffer)) }
}

/// Puts attributes of one space; a wrong value or another space's attribute does not compile.
struct Builder<Space> {
    private let buffer: Buffer

    fileprivate init(_ buffer: Buffer) { self.buffer = buffer }

    private func put(_ number: UInt16, _ bytes: [UInt8]) {
        buffer.reserve(bytes.count)
        mnl_attr_put(buffer.header, number, bytes.count, bytes)
    }

    func put(_ attribute: Attribute<Space, UInt8>, _ value: UInt8) { put(attribute.number, [value]) }

    func put(_ attribute: Attribute<Space, UInt16>, _ value: UInt16) {
        put(attribute.number, withUnsafeBytes(of: value, Array.init))
    }

    func put(_ attribute: Attribute<Space, UInt32>, _ value: some BinaryInteger) {
        buffer.reserve(4)
        mnl_attr_put_u32(buffer.header, attribute.number, UInt32(truncatingIfNeeded: value))
    }

    func put(_ attribute: Attribute<Space, BigEndian<UInt16>>, _ value: UInt16) {
        buffer.reserve(2)
        mnl_attr_put_u16(buffer.header, attribute.number, value.bigEndian)
    }

    func put(_ attribute: Attribute<Space, BigEndian<UInt32>>, _ value: UInt32) {
        buffer.reserve(4)
        mnl_attr_put_u32(buffer.header, attribute.number, value.bigEndian)
    }

    func put(_ attribute: Attribute<Space, BigEndian<UInt64>>, _ value: UInt64) {
        buffer.reserve(8)
        mnl_attr_put_u64(buffer.header, attribute.number, value.bigEndian)
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
        let nest = buffer.startNest(attribute.number & ~flag)
        body(Builder<Inner>(buffer))
        buffer.endNest(nest)
    }

    /// A veth's peer: its ifinfomsg stands between the attribute's header and its attributes.
    func putPeer(flags: UInt32, _ body: (Builder<LinkSpace>) -> Void) where Space == VethSpace {
        let nest = buffer.startNest(UInt16(VETH_INFO_PEER))
        buffer.putExtra(ifinfomsg.of(flags: flags, change: flags))
        body(Builder<LinkSpace>(buffer))
        buffer.endNest(nest)
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
