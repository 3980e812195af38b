import CNI
import Linux
import Netlink
package import Plans

/// The two namespaces of an attachment, each with its netlink socket: the process's own, and the pod's.
///
/// The sockets stay bound to the namespace that they were opened in, so work is "which socket" and never "where
/// am I"; only sysctl files need the thread to go there.
package final class Kernel {
    private var host: RouteSocket
    private var sandbox: Sandbox?
    /// False once the thread could not come back from the sandbox: then nothing that depends on where it is may run.
    package private(set) var isHome = true

    private struct Sandbox: ~Copyable {
        let namespace: Namespace
        var socket: RouteSocket
    }

    package var hasSandbox: Bool { sandbox != nil }

    private init(host: consuming RouteSocket) {
        self.host = host
        self.sandbox = nil
    }

    /// - Parameter path: CNI_NETNS; empty or gone is accepted only with `mayBeGone`, and leaves no sandbox.
    package static func open(
        sandbox path: String, mayBeGone: Bool = false, mayBeOwn: Bool = false
    ) throws(Failure) -> Kernel {
        let kernel: Kernel
        do throws(NetlinkError) { kernel = Kernel(host: try RouteSocket.open()) } catch {
            throw Failure(.generic, "\(error)")
        }
        if path.isEmpty, mayBeGone { return kernel }
        do throws(NamespaceError) {
            try kernel.enter(Namespace.open(path), mayBeOwn: mayBeOwn)
        } catch {
            // What a torn-down pod leaves behind, an empty file included, counts as gone on DEL.
            switch error {
            case .missing where mayBeGone, .notANamespace where mayBeGone: return kernel
            case .own:
                throw Failure(
                    .ownNamespace, "plugin's netns and netns from CNI_NETNS should not be the same",
                    details: "CNI_NETNS=\(path) is this process's own namespace")
            default: throw Failure(.generic, "failed to open netns \"\(path)\": \(error)")
            }
        }
        return kernel
    }

    private func enter(_ namespace: consuming Namespace, mayBeOwn: Bool) throws(NamespaceError) {
        if !mayBeOwn {
            let home: Namespace
            do throws(SystemError) { home = try Namespace.current() } catch { throw .system(error) }
            if namespace.isSame(as: home) { throw .own }
        }
        let socket: RouteSocket
        do throws(NamespaceRunError<NetlinkError>) {
            socket = try namespace.run { () throws(NetlinkError) in try RouteSocket.open() }
        } catch {
            if case .stranded = error { isHome = false }
            throw .system(SystemError(operation: "open a netlink socket in the pod: \(error)", code: 0))
        }
        sandbox = Sandbox(namespace: namespace, socket: socket)
    }

    /// Runs `body` with the socket of one side. Without a sandbox its side answers "no such device".
    func with<R: ~Copyable>(
        _ place: Place, _ body: (inout RouteSocket) throws(NetlinkError) -> R
    ) throws(NetlinkError) -> R {
        switch place {
        case .host: return try body(&host)
        case .sandbox:
            guard sandbox != nil else {
                throw NetlinkError(operation: "reach the pod's namespace", code: noSuchDevice, text: "it is gone")
            }
            return try body(&sandbox!.socket)
        }
    }
}
