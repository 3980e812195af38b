internal import CLinux
internal import Glibc
package import Linux

/// An rtnetlink socket; its verbs, by object, are in extensions: links, addresses, routes.
package struct RouteSocket: ~Copyable {
    var socket: Socket

    /// Opens it in the calling thread's namespace, where it stays.
    package static func open() throws(SystemError) -> RouteSocket {
        RouteSocket(socket: try Socket.open(NETLINK_ROUTE, "rtnetlink"))
    }

    /// The namespace that it is in.
    package func namespace() throws(SystemError) -> Namespace { try Namespace.of(socket: socket.descriptor) }

    /// A number of the namespace that no other one of this boot has or had; 0 before Linux 5.14.
    package func namespaceCookie() -> UInt64 {
        var cookie: UInt64 = 0
        var size = socklen_t(MemoryLayout<UInt64>.size)
        // SO_NETNS_COOKIE, asm-generic/socket.h.
        let status = getsockopt(socket.descriptor, SOL_SOCKET, 71, &cookie, &size)
        return status == 0 ? cookie : 0
    }

    static let create = CInt(NLM_F_CREATE | NLM_F_EXCL)
}
