internal import CLinux
internal import Glibc
package import Linux

/// An rtnetlink socket; its verbs, by object, are in extensions: links, addresses, routes.
package struct RouteSocket: ~Copyable {
    var socket: Socket

    /// Opens it in the calling thread's namespace, where it stays.
    package static func open() throws(NetlinkError) -> RouteSocket {
        RouteSocket(socket: try Socket.open(NETLINK_ROUTE, "rtnetlink"))
    }

    /// The namespace that it is in.
    package func namespace() throws(SystemError) -> Namespace { try Namespace.of(socket: socket.descriptor) }

    static let create = CInt(NLM_F_CREATE | NLM_F_EXCL)
}
