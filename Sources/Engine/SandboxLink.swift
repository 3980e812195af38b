package import CNI
import Linux
import Netlink
import Network
package import Plans

/// An attachment's link in the pod.
package final class SandboxLink: LinkAccess {
    private let kernel: Kernel
    private let name: LinkName
    package let sandbox: String

    /// - Parameter sandbox: the path of the kernel's sandbox.
    package init(_ kernel: Kernel, _ interface: String, at sandbox: String) {
        self.kernel = kernel
        name = .sandbox(interface)
        self.sandbox = sandbox
    }

    package var namespace: NamespaceTraits? {
        get throws(Failure) {
            try kernel.sandboxIdentity().map {
                NamespaceTraits(boot: $0.boot, device: $0.device, inode: $0.inode, cookie: $0.cookie)
            }
        }
    }

    package func facts() throws(Failure) -> LinkFacts? {
        try attempt { () throws(SystemError) in try kernel.link(name).map { LinkFacts($0.info) } }
    }

    package func setUp() throws(Failure) {
        try attempt { () throws(SystemError) in
            guard let (link, place) = try kernel.link(name) else {
                throw SystemError(operation: "find link \(name.name)", code: .noSuchDevice)
            }
            try kernel.with(place) { socket throws(SystemError) in
                try socket.change(index: link.index, .up(true))
            }
        }
    }

    package func awaitCarrier(until deadline: Int64) throws(Failure) -> Bool {
        try attempt { () throws(SystemError) in
            if try hasCarrier() { return true }
            let monitor = try kernel.monitor(.sandbox)
            repeat {
                if try hasCarrier() { return true }
            } while monitor.wait(until: deadline)
            return try hasCarrier()
        }
    }

    private func hasCarrier() throws(SystemError) -> Bool { try kernel.link(name)?.info.isRunning ?? false }

    package func inside(_ body: () throws(Failure) -> Void) throws(Failure) {
        var refused: Failure?
        try attempt { () throws(SystemError) in
            try kernel.at(.sandbox) { () throws(SystemError) in
                do throws(Failure) { try body() } catch { refused = error }
            }
        }
        if let refused { throw refused }
    }

    private func attempt<R>(_ body: () throws(SystemError) -> R) throws(Failure) -> R {
        do throws(SystemError) { return try body() } catch { throw Failure(.generic, "\(error)") }
    }
}
