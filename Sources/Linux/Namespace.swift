internal import CLinux
internal import Glibc

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
    package static func open(_ path: String) throws(SystemError) -> Namespace {
        let raw = retrying { clinux_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) }
        guard raw >= 0 else { throw SystemError("open \(path)") }
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
    ///
    /// - Parameter isStranded: set when the thread is still inside: then nothing may run that depends on its namespace.
    package func run<R: ~Copyable>(
        from home: borrowing Namespace, isStranded: inout Bool, _ body: () throws(SystemError) -> R
    ) throws(SystemError) -> R {
        guard clinux_setns_net(raw) == 0 else { throw SystemError("enter the pod's network namespace") }
        let result: R
        do throws(SystemError) { result = try body() } catch {
            try comeBack(to: home, &isStranded)
            throw error
        }
        try comeBack(to: home, &isStranded)
        return result
    }

    private func comeBack(
        to home: borrowing Namespace, _ isStranded: inout Bool
    ) throws(SystemError) {
        guard clinux_setns_net(home.raw) == 0 else {
            isStranded = true
            throw SystemError("return to the host's network namespace")
        }
    }
}
