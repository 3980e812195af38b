internal import CLinux
internal import Glibc

/// Why a network namespace cannot be used.
package enum NamespaceError: Error, Equatable, Sendable, CustomStringConvertible {
    case missing(String)
    case notANamespace(String)
    /// The calling process's own, where the pod's was expected.
    case own
    case system(SystemError)

    package var description: String {
        switch self {
        case .missing(let path): "\(path): no such file or directory"
        case .notANamespace(let path): "\(path) is no network namespace: unknown FS magic"
        case .own: "the namespace is this process's own"
        case .system(let error): "\(error)"
        }
    }
}

/// What running inside a namespace ended with.
package enum EnteringError<Body: Error>: Error {
    case enter(SystemError)
    case body(Body)
    /// The thread is still inside: nothing may run that depends on the thread's namespace.
    case stranded(SystemError)
}

/// An open network namespace.
package struct Namespace: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The kernel's number for it, unique among the namespaces that live; 0 if it cannot be told.
    package let number: UInt64
    /// The device number of the file system that the number belongs to.
    package let device: UInt64

    package init(adopting raw: CInt) {
        descriptor = Descriptor(adopting: raw)
        var info = stat()
        let isKnown = fstat(raw, &info) == 0
        number = isKnown ? UInt64(info.st_ino) : 0
        device = isKnown ? UInt64(info.st_dev) : 0
    }

    package var raw: CInt { descriptor.raw }

    /// What is no namespace shows when it is entered: EINVAL.
    package static func open(_ path: String) throws(NamespaceError) -> Namespace {
        let raw = retrying { clinux_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) }
        guard raw >= 0 else {
            let error = SystemError("open \(path)")
            throw error.isNotFound || error.isNoDirectory ? .missing(path) : .system(error)
        }
        return Namespace(adopting: raw)
    }

    /// The calling thread's.
    package static func current() throws(SystemError) -> Namespace {
        let raw = clinux_openat(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC, 0)
        guard raw >= 0 else { throw SystemError("open the current network namespace") }
        return try Namespace(adopting: raw).numbered()
    }

    /// The one that a socket was opened in, at a tenth of what /proc takes to name it; wants CAP_NET_ADMIN.
    /// SIOCGSKNS, linux/sockios.h.
    package static func of(socket: CInt) throws(SystemError) -> Namespace {
        let raw = clinux_socket_namespace(socket)
        guard raw >= 0 else { throw SystemError("open the host's network namespace") }
        return try Namespace(adopting: raw).numbered()
    }

    /// Locks are named by the number: without it nobody else would take the same.
    private consuming func numbered() throws(SystemError) -> Namespace {
        guard number != 0 else { throw SystemError("number the host's network namespace") }
        return self
    }

    /// Runs `body` with the calling thread inside, and comes back to `home`.
    package func run<R: ~Copyable, E: Error>(
        from home: borrowing Namespace, _ body: () throws(E) -> R
    ) throws(EnteringError<E>) -> R {
        guard clinux_setns_net(raw) == 0 else {
            throw .enter(SystemError("enter the pod's network namespace"))
        }
        let result: R
        do throws(E) { result = try body() } catch {
            try comeBack(to: home, E.self)
            throw .body(error)
        }
        try comeBack(to: home, E.self)
        return result
    }

    private func comeBack<E: Error>(to home: borrowing Namespace, _: E.Type) throws(EnteringError<E>) {
        guard clinux_setns_net(home.raw) == 0 else {
            throw .stranded(SystemError("return to the host's network namespace"))
        }
    }
}
