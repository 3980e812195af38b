package import CNI
import Linux
import Netlink
package import Networking
package import Plans

/// An attachment's link in the pod.
package final class SandboxLink: LinkAccess {
    let kernel: Kernel
    private let name: LinkName
    package let sandbox: String
    /// Of a link that is known; no other counts.
    private var index: Int32?

    /// - Parameter sandbox: the path of the kernel's sandbox.
    package init(_ kernel: Kernel, _ interface: String, at sandbox: String) {
        self.kernel = kernel
        name = .sandbox(interface)
        self.sandbox = sandbox
    }

    /// By its index, which the pod cannot change.
    package convenience init(_ kernel: Kernel, _ interface: String, index: Int32, at sandbox: String) {
        kernel.links.note(KnownLink(place: .sandbox, index: index), for: .sandbox(interface))
        self.init(kernel, interface, at: sandbox)
        self.index = index
    }

    package var namespace: NamespaceIdentity? {
        get throws(Failure) { try kernel.sandboxIdentity() }
    }

    package func facts() throws(Failure) -> LinkFacts? {
        try attempt { () throws(SystemError) in
            guard let found = try kernel.link(name), index == nil || found.info.index == index else {
                return nil
            }
            return LinkFacts(found.info)
        }
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

    package func hasCarrier() throws(Failure) -> Bool {
        try attempt { () throws(SystemError) in
            guard let link = try kernel.link(name)?.info, link.isRunning else { return false }
            // A bridge drops what comes before its port has seen the carrier too.
            guard link.kind == "veth", let peer = link.parentIndex, let place = link.parentNamespaceID,
                try kernel.hostID() == place
            else { return true }
            return try kernel.with(.host) { socket throws(SystemError) in
                try socket.link(index: peer)?.isRunning ?? true
            }
        }
    }

    package func watch() throws(Failure) -> any LinkWatch {
        try attempt { () throws(SystemError) in
            SandboxWatch(try kernel.monitor(.sandbox), try kernel.monitor(.host))
        }
    }

    package func inside(_ body: () throws(Failure) -> Void) throws(Failure) {
        var refused: Failure?
        try attempt { () throws(SystemError) in
            try kernel.at(.sandbox) { () throws(SystemError) in
                do throws(Failure) { try body() } catch { refused = error }
            }
        }
        if let refused { throw refused }
    }

    // MARK: A lease that goes on

    package func has(_ cidr: CIDR) throws(Failure) -> Bool {
        var isThere = false
        try onLink { socket, index throws(SystemError) in
            isThere = try socket.addresses(index: index).contains { $0.cidr == cidr }
        }
        return isThere
    }

    /// Gives the address another lifetime, or adds it.
    package func renew(_ cidr: CIDR, lifetime: Lifetime?) throws(Failure) {
        try onLink { socket, index throws(SystemError) in
            try socket.renew(cidr, index: index, lifetime: lifetime)
        }
    }

    /// Takes what a lease gave off the link, as far as it is there.
    package func remove(_ lease: Lease) throws(Failure) {
        try onLink { socket, index throws(SystemError) in
            for route in lease.routes {
                try ignoring { () throws(SystemError) in try socket.remove(route, index: index) }
            }
            for ip in lease.ips {
                try ignoring { () throws(SystemError) in try socket.remove(ip.address, index: index) }
            }
        }
    }

    /// All that can be: the first one that cannot is thrown afterwards.
    package func add(_ routes: [Route]) throws(Failure) {
        try onLink { socket, index throws(SystemError) in
            var problem: SystemError?
            for route in routes {
                do throws(SystemError) {
                    try ignoring { () throws(SystemError) in try socket.add(route, index: index) }
                } catch {
                    problem = problem ?? error
                }
            }
            if let problem { throw problem }
        }
    }

    package func remove(_ routes: [Route]) throws(Failure) {
        try onLink { socket, index throws(SystemError) in
            for route in routes {
                try ignoring { () throws(SystemError) in try socket.remove(route, index: index) }
            }
        }
    }

    func onLink<R>(_ body: (inout RouteSocket, Int32) throws(SystemError) -> R) throws(Failure) -> R {
        guard let facts = try facts() else {
            throw Failure(.generic, "there is no link \(name.name) in \(sandbox)")
        }
        return try attempt { () throws(SystemError) in
            try kernel.with(.sandbox) { socket throws(SystemError) in try body(&socket, facts.index) }
        }
    }

    func attempt<R: ~Copyable>(_ body: () throws(SystemError) -> R) throws(Failure) -> R {
        do throws(SystemError) { return try body() } catch { throw Failure(.generic, "\(error)") }
    }
}

private final class SandboxWatch: LinkWatch {
    private let sandbox: Monitor
    private let host: Monitor

    init(_ sandbox: consuming Monitor, _ host: consuming Monitor) {
        self.sandbox = sandbox
        self.host = host
    }

    var descriptors: [CInt] { [sandbox.descriptor, host.descriptor] }

    func clear() {
        sandbox.clear()
        host.clear()
    }
}

/// What is there, or gone, already.
func ignoring(_ body: () throws(SystemError) -> Void) throws(SystemError) {
    do throws(SystemError) { try body() } catch
        where [.alreadyExists, .noSuchProcess, .noSuchAddress].contains(error.code)
    {}
}
