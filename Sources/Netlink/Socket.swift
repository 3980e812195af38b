internal import CLinux
internal import CMnl
internal import Glibc
internal import Linux

/// A netlink socket of any protocol, bound to the namespace that it was opened in.
struct Socket: ~Copyable {
    private let handle: OpaquePointer
    private var sequence: UInt32
    private var isStrict = false
    /// Bytes for one receive. A link of which a pod made several hundred alternative names takes more than a page or eight:
    /// up to 64 KB of names.
    private var room = 32768
    private static let greatestRoom = 1 << 18
    /// How often a dump is started over: for a second in all.
    private static let dumps = 60

    static func open(_ protocolNumber: CInt, _ name: String) throws(SystemError) -> Socket {
        guard let handle = mnl_socket_open2(protocolNumber, Int32(SOCK_CLOEXEC.rawValue)) else {
            throw SystemError(operation: "open a \(name) socket", code: .last)
        }
        let socket = Socket(handle: handle, sequence: UInt32(truncatingIfNeeded: clinux_milliseconds()))
        var on: CInt = 1
        // Refused by kernels that lack it, which then answer with less.
        mnl_socket_setsockopt(handle, CInt(NETLINK_EXT_ACK), &on, socklen_t(MemoryLayout<CInt>.size))
        // No time limit: the kernel answers within the call that sends, and says ENOBUFS if the answer was lost.
        // Not bound by hand: the kernel does that with the first message. A listener, which sends none, has to.
        return socket
    }

    private init(handle: OpaquePointer, sequence: UInt32) {
        self.handle = handle
        self.sequence = sequence
    }

    deinit { mnl_socket_close(handle) }

    var descriptor: CInt { mnl_socket_get_fd(handle) }

    /// Gives the socket its port: without one it hears no group.
    func bind() throws(SystemError) {
        guard mnl_socket_bind(handle, 0, 0) == 0 else {
            throw SystemError(operation: "bind a netlink socket", code: .last)
        }
    }

    func join(group: CInt) throws(SystemError) {
        var group = group
        let status = mnl_socket_setsockopt(
            handle, CInt(NETLINK_ADD_MEMBERSHIP), &group, socklen_t(MemoryLayout<CInt>.size))
        guard status == 0 else {
            throw SystemError(operation: "listen to netlink group \(group)", code: .last)
        }
    }

    /// Sends one request and waits for its ACK.
    mutating func acknowledge(
        _ request: borrowing Request, _ operation: @autoclosure () -> String
    ) throws(SystemError) {
        try converse(request, operation(), NLM_F_ACK) { _, _ in }
    }

    /// Sends one request and hands each of its replies to `visit`: message type, and payload with its fixed header.
    ///
    /// - Parameters:
    ///   - operation: names the request in errors; nothing is written out for one that is granted.
    ///   - flags: 0 for one object, `NLM_F_DUMP` for all, `NLM_F_ACK` for none; a dump that the kernel interrupted
    ///     starts over.
    ///   - isFiltered: what the request asks for must hold; before Linux 4.20 a dump lists everything.
    mutating func converse(
        _ request: borrowing Request, _ operation: @autoclosure () -> String, _ flags: CInt,
        isFiltered: Bool = false, restart: () -> Void = {},
        _ visit: (UInt16, UnsafeRawBufferPointer) throws(SystemError) -> Void
    ) throws(SystemError) {
        request.header.pointee.nlmsg_flags |= UInt16(flags)
        if isFiltered { checkStrictly() }
        for attempt in 0..<Self.dumps {
            // Two hundred pods that go at once change their common table every few hundred microseconds.
            if attempt > 2 { usleep(useconds_t(min(attempt, 20)) * 1000) }
            sequence = sequence == .max ? 1 : sequence + 1
            request.sequence = sequence
            try send(request, operation())
            switch try receive(operation(), isQuestion: flags == 0, visit) {
            case .whole: return
            case .changed: break
            case .cut:
                // What was asked for an ACK is done.
                guard flags & NLM_F_ACK == 0 else { return }
                guard room < Self.greatestRoom else {
                    throw SystemError(refusing: "\(operation()): the answer has more than \(room) bytes")
                }
                room = Self.greatestRoom
            }
            restart()
        }
        throw SystemError(
            operation: operation(), code: .interrupted, text: "the dump was interrupted \(Self.dumps) times")
    }

    /// Makes the kernel honour what a dump asks for.
    private mutating func checkStrictly() {
        guard !isStrict else { return }
        isStrict = true
        var on: CInt = 1
        mnl_socket_setsockopt(handle, CInt(NETLINK_GET_STRICT_CHK), &on, socklen_t(MemoryLayout<CInt>.size))
    }

    private func send(
        _ request: borrowing Request, _ operation: @autoclosure () -> String
    ) throws(SystemError) {
        let sent = request.withBytes { bytes in
            retrying { mnl_socket_sendto(handle, bytes.baseAddress, bytes.count) }
        }
        guard sent < 0 else { return }
        let code = Errno.last
        throw SystemError(operation: operation(), code: code)
    }

    private enum Answer {
        case whole
        /// Objects changed while they were listed.
        case changed
        /// A message did not fit.
        case cut
    }

    private func receive(
        _ operation: @autoclosure () -> String, isQuestion: Bool,
        _ visit: (UInt16, UnsafeRawBufferPointer) throws(SystemError) -> Void
    ) throws(SystemError) -> Answer {
        let buffer = Buffer(room)
        var answer = Answer.whole
        while true {
            guard var rest = try buffer.fill(handle, operation()) else {
                // The rest of a list is on its way, and in the way of the next request.
                answer = .cut
                if isQuestion { return answer }
                continue
            }
            while let message = Message(&rest) {
                guard message.sequence == sequence else { continue }
                if message.flags & UInt16(NLM_F_DUMP_INTR) != 0, answer == .whole { answer = .changed }
                switch message.type {
                case UInt16(NLMSG_ERROR):
                    try message.throwIfRefused(operation())
                    return answer
                case UInt16(NLMSG_DONE):
                    // A dump that failed says so here, and only here.
                    try message.throwIfRefused(operation())
                    return answer
                case UInt16(NLMSG_NOOP): continue
                default:
                    try visit(message.type, message.payload)
                    // The answer to a question for one object is one message, unless an ACK was asked for.
                    if isQuestion { return answer }
                }
            }
        }
    }

    /// Sends messages that were built in one buffer, of which the last that can fail asks for an ACK.
    ///
    /// Errors come unasked and in order, so the first answer tells how the batch went. Its messages bear the sequence
    /// number 0, which no single request has.
    mutating func batch(
        _ request: borrowing Request, _ operation: @autoclosure () -> String
    ) throws(SystemError) {
        try send(request, operation())
        let buffer = Buffer(room)
        do throws(SystemError) {
            while true {
                guard var rest = try buffer.fill(handle, operation()) else { continue }
                while let message = Message(&rest) {
                    guard message.sequence == 0, message.type == UInt16(NLMSG_ERROR) else { continue }
                    // Without an error it was the ACK, and the last word.
                    return try message.throwIfRefused(operation())
                }
            }
        } catch {
            drain()
            throw error
        }
    }

    /// Drops what else was said about a refused batch, so that the next answer is the next request's.
    private func drain() {
        var scrap = [UInt8](repeating: 0, count: 4096)
        while recv(descriptor, &scrap, scrap.count, CInt(MSG_DONTWAIT)) > 0 {}
    }
}

/// A receive buffer.
private struct Buffer: ~Copyable {
    private let bytes: UnsafeMutableRawBufferPointer

    init(_ room: Int) { bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 8) }

    deinit { bytes.deallocate() }

    /// - Returns: nil for a message that does not fit: it is lost.
    func fill(
        _ handle: OpaquePointer, _ operation: @autoclosure () -> String
    ) throws(SystemError) -> UnsafeRawBufferPointer? {
        let count = retrying { Int(mnl_socket_recvfrom(handle, bytes.baseAddress, bytes.count)) }
        guard count >= 0 else {
            let code = Errno.last
            // libmnl's word for it.
            if code == .noSpace { return nil }
            throw SystemError(operation: operation(), code: code, isUnanswered: true)
        }
        return UnsafeRawBufferPointer(rebasing: bytes[..<count])
    }
}

/// One message of a reply.
struct Message {
    let type: UInt16
    let flags: UInt16
    let sequence: UInt32
    let payload: UnsafeRawBufferPointer

    /// Takes the first message off `rest`; nil when there is none.
    init?(_ rest: inout UnsafeRawBufferPointer) {
        guard rest.count >= 16 else { return nil }
        let length = Int(rest.loadUnaligned(as: UInt32.self))
        guard length >= 16, length <= rest.count else { return nil }
        type = rest.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
        flags = rest.loadUnaligned(fromByteOffset: 6, as: UInt16.self)
        sequence = rest.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        payload = UnsafeRawBufferPointer(rebasing: rest[16..<length])
        rest = UnsafeRawBufferPointer(rebasing: rest[min((length + 3) & ~3, rest.count)...])
    }

    /// NLMSG_ERROR and NLMSG_DONE: a negative errno or 0 comes first.
    func throwIfRefused(_ operation: @autoclosure () -> String) throws(SystemError) {
        guard let code = payload.asInt32, code < 0 else { return }
        var text: String?
        if flags & UInt16(NLM_F_ACK_TLVS) != 0, textStart <= payload.count {
            try AttributeReader(bytes: UnsafeRawBufferPointer(rebasing: payload[textStart...])).forEach {
                if $0 == UInt16(NLMSGERR_ATTR_MSG.rawValue) { text = $1.asString }
            }
        }
        throw SystemError(operation: operation(), code: Errno(rawValue: 0 &- code), text: text)
    }

    /// Where the attributes begin. nlmsgerr: errno, the echoed header, with NLM_F_CAPPED nothing else of the request.
    private var textStart: Int {
        if type == UInt16(NLMSG_DONE) { return 4 }
        guard payload.count >= 20, flags & UInt16(NLM_F_CAPPED) == 0 else { return 20 }
        return 4 + ((Int(payload.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) + 3) & ~3)
    }
}
