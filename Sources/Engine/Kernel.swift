package import CNI
import Linux
import Netlink
package import Networking
import Plans

/// The two namespaces of an attachment, each with its netlink socket: the process's own, and the pod's.
///
/// The sockets stay bound to the namespace that they were opened in, so work is "which socket" and never "where
/// am I"; only sysctl files, and sockets that are opened later, need the thread to go there.
package final class Kernel {
    private var host: RouteSocket
    private let home: Namespace
    /// The inode number of the process's own namespace.
    let number: UInt64
    private var sandbox: Sandbox?
    private var nft: NftSocket?
    /// False when the thread could not leave the sandbox: then nothing may run that depends on the thread's namespace.
    package private(set) var isHome = true
    static let stranded = "the thread could not leave the pod's namespace"

    var links = LinkCache()
    /// The thread is in the sandbox: `inside` joins several visits.
    private var isInside = false

    private struct Sandbox: ~Copyable {
        let namespace: Namespace
        var socket: RouteSocket

        func identity() throws(SystemError) -> NamespaceIdentity {
            guard namespace.number != 0 else {
                throw SystemError(refusing: "the pod's network namespace has no number")
            }
            return NamespaceIdentity(
                boot: try NamespaceIdentity.currentBoot(), device: namespace.device, inode: namespace.number,
                cookie: socket.namespaceCookie())
        }

        mutating func use<R: ~Copyable>(
            _ body: (inout RouteSocket) throws(SystemError) -> R
        ) throws(SystemError) -> R {
            try body(&socket)
        }
    }

    package var hasSandbox: Bool { sandbox != nil }

    private static let noSandbox = SystemError(
        operation: "reach the pod's namespace", code: .noSuchDevice, text: "it is gone")

    /// What tells the sandbox from every other namespace; nil without one.
    package func sandboxIdentity() throws(Failure) -> NamespaceIdentity? {
        do throws(SystemError) { return try sandbox?.identity() } catch { throw Failure(.io, "\(error)") }
    }

    /// What the sandbox calls this process's namespace in IFLA_LINK_NETNSID; nil when none of its links is tied to it.
    func hostID() throws(SystemError) -> Int32? {
        let descriptor = home.raw
        return try with(.sandbox) { socket throws(SystemError) in try socket.id(ofNamespace: descriptor) }
    }

    private init(host: consuming RouteSocket, home: consuming Namespace) {
        self.host = host
        number = home.number
        self.home = home
        self.sandbox = nil
        self.nft = nil
    }

    /// The host's side alone, without a sandbox.
    package static func ofHost() throws(Failure) -> Kernel {
        do throws(SystemError) {
            let host = try RouteSocket.open()
            let home = try host.namespace()
            return Kernel(host: host, home: home)
        } catch {
            throw Failure(
                .generic, "\(error)",
                details: error.code == .notPermitted ? "Plexus runs as root: it needs CAP_NET_ADMIN" : "")
        }
    }

    /// - Parameters:
    ///   - path: CNI_NETNS; empty or gone is accepted only with `mayBeGone`, and leaves no sandbox.
    ///   - mayBeOwn: CNI_NETNS_OVERRIDE.
    package static func open(
        sandbox path: String, mayBeGone: Bool = false, mayBeOwn: Bool = false
    ) throws(Failure) -> Kernel {
        let kernel = try ofHost()
        if path.isEmpty, mayBeGone { return kernel }
        guard let namespace = try namespace(path, mayBeGone: mayBeGone) else { return kernel }
        guard mayBeOwn || namespace.number != kernel.number else { throw Failure.ownNamespace(path) }
        do throws(SystemError) { try kernel.enter(namespace) } catch {
            // On DEL whatever a deleted pod leaves at the path, such as an empty file, counts as no namespace.
            if mayBeGone, isNoNamespace(error) { return kernel }
            throw unusable(path, error)
        }
        return kernel
    }

    private static func namespace(_ path: String, mayBeGone: Bool) throws(Failure) -> Namespace? {
        do throws(SystemError) { return try Namespace.open(path) } catch {
            if mayBeGone, isMissing(error) { return nil }
            throw unusable(path, error)
        }
    }

    private static func isMissing(_ error: SystemError) -> Bool { error.isNotFound || error.isNoDirectory }

    /// As setns(2) refuses what is none.
    private static func isNoNamespace(_ error: SystemError) -> Bool { error.code == .invalid }

    private static func unusable(_ path: String, _ error: SystemError) -> Failure {
        let message = "failed to open netns \"\(path)\": "
        let fix =
            "CNI_NETNS is the path of the pod's network namespace, as /run/netns/NAME: the runtime removed it, or"
            + " names another file"
        if isMissing(error) {
            return Failure(.generic, message + "\(path): no such file or directory", details: fix)
        }
        guard isNoNamespace(error) else {
            return Failure(.generic, message + "\(error)", details: error.hint)
        }
        return Failure(
            .generic, message + "\(path) is no network namespace: unknown FS magic", details: fix)
    }

    private func enter(_ namespace: consuming Namespace) throws(SystemError) {
        var isStranded = false
        defer { if isStranded { isHome = false } }
        let socket = try namespace.run(from: home, isStranded: &isStranded) { () throws(SystemError) in
            try RouteSocket.open()
        }
        sandbox = Sandbox(namespace: namespace, socket: socket)
    }

    /// Runs `body` with the socket of one side. Without a sandbox its side answers "no such device".
    func with<R: ~Copyable>(
        _ place: Place, _ body: (inout RouteSocket) throws(SystemError) -> R
    ) throws(SystemError) -> R {
        switch place {
        case .host: return try body(&host)
        case .sandbox:
            guard let result = try sandbox?.use(body) else {
                throw Self.noSandbox
            }
            return result
        }
    }

    /// Runs `body` with the host's nftables socket. It stays open, as during an undo the thread may be in another
    /// namespace.
    func nftables(_ body: (inout NftSocket) throws(SystemError) -> Void) throws(SystemError) {
        if nft == nil {
            guard isHome else {
                throw SystemError(refusing: Self.stranded)
            }
            nft = try NftSocket.open()
        }
        try nft?.use(body)
    }

    /// A veth pair across the two namespaces, in one request; what the kernel says of the host's end.
    func add(_ veth: VethSpec, controller: Int32?) throws(SystemError) -> LinkInfo? {
        guard let descriptor = sandbox?.namespace.raw else {
            throw Self.noSandbox
        }
        return try host.add(veth, sandbox: descriptor, controller: controller)
    }

    /// A link in the sandbox that sits on one of the host's.
    func addInSandbox(_ spec: LinkSpec, parent: Int32) throws(SystemError) {
        guard let descriptor = sandbox?.namespace.raw else {
            throw Self.noSandbox
        }
        try host.add(spec, parent: parent, into: descriptor)
    }

    /// Moves a link from the other side to `place`.
    func move(
        _ index: Int32, to place: Place, name: String, alias: String, isUp: Bool
    ) throws(SystemError) {
        guard let descriptor = sandbox?.namespace.raw else {
            throw Self.noSandbox
        }
        let target = place == .sandbox ? descriptor : home.raw
        try with(place == .sandbox ? .host : .sandbox) { socket throws(SystemError) in
            try socket.move(index: index, to: target, name: name, alias: alias, isUp: isUp)
        }
    }

    /// Runs `body` with the thread in the namespace of one side.
    func at<R: ~Copyable>(
        _ place: Place, _ body: () throws(SystemError) -> R
    ) throws(SystemError) -> R {
        guard isHome else {
            throw SystemError(refusing: Self.stranded)
        }
        if place == .host || isInside { return try body() }
        var isStranded = false
        defer { if isStranded { isHome = false } }
        guard let result = try sandbox?.namespace.run(from: home, isStranded: &isStranded, body) else {
            throw Self.noSandbox
        }
        return result
    }

    /// Stays in the sandbox while `body` runs, which must use nothing of the host that depends on the thread's
    /// namespace.
    func inside(_ body: () throws(SystemError) -> Void) throws(SystemError) {
        try at(.sandbox) { () throws(SystemError) in
            isInside = true
            defer { isInside = false }
            try body()
        }
    }
}
