internal import CLinux
internal import CMnl
internal import Glibc
package import Linux

/// Notifications of changes to links and IPv6 addresses, so that a wait ends when its cause does.
package struct Monitor: ~Copyable {
    private var socket: Socket

    /// Listens in the calling thread's namespace from now on: look at the state after opening it.
    package static func open() throws(SystemError) -> Monitor {
        let socket = try Socket.open(NETLINK_ROUTE, "rtnetlink")
        try socket.bind()
        try socket.join(group: CInt(RTNLGRP_LINK.rawValue))
        try socket.join(group: CInt(RTNLGRP_IPV6_IFADDR.rawValue))
        return Monitor(socket: socket)
    }

    /// Waits until something changed, or until `deadline`, in milliseconds of the monotonic clock.
    ///
    /// - Returns: false at the deadline.
    package func wait(until deadline: Int64) -> Bool {
        var poller = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
        let left = deadline - clinux_milliseconds()
        guard left > 0 else { return false }
        let ready = poll(&poller, 1, CInt(clamping: left))
        // After a signal the caller looks once more, and waits for what is left.
        if ready < 0 { return errno == EINTR }
        guard ready > 0 else { return false }
        clear()
        return true
    }

    /// For poll(2): readable after a change.
    package var descriptor: CInt { socket.descriptor }

    /// Makes it quiet until the next change.
    package func clear() {
        var scrap = [UInt8](repeating: 0, count: 8192)
        while recv(socket.descriptor, &scrap, scrap.count, CInt(MSG_DONTWAIT)) > 0 {}
    }
}
