internal import Glibc

/// An error number of the kernel: errno(3).
package struct Errno: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: CInt

    package init(rawValue: CInt) { self.rawValue = rawValue }

    /// Of the last call that failed in this thread.
    package static var last: Self { .init(rawValue: errno) }

    /// The C library's text.
    package var description: String {
        strerror(rawValue).map { String(cString: $0) } ?? "error \(rawValue)"
    }
}

extension Errno {
    package static var notPermitted: Self { .init(rawValue: EPERM) }
    package static var noSuchFile: Self { .init(rawValue: ENOENT) }
    package static var noSuchProcess: Self { .init(rawValue: ESRCH) }
    package static var interrupted: Self { .init(rawValue: EINTR) }
    package static var inputOutput: Self { .init(rawValue: EIO) }
    package static var noSuchDeviceOrAddress: Self { .init(rawValue: ENXIO) }
    package static var accessDenied: Self { .init(rawValue: EACCES) }
    package static var busy: Self { .init(rawValue: EBUSY) }
    package static var alreadyExists: Self { .init(rawValue: EEXIST) }
    package static var noSuchDevice: Self { .init(rawValue: ENODEV) }
    package static var notDirectory: Self { .init(rawValue: ENOTDIR) }
    package static var isDirectory: Self { .init(rawValue: EISDIR) }
    package static var invalid: Self { .init(rawValue: EINVAL) }
    package static var noSpace: Self { .init(rawValue: ENOSPC) }
    package static var readOnly: Self { .init(rawValue: EROFS) }
    package static var outOfRange: Self { .init(rawValue: ERANGE) }
    package static var nameTooLong: Self { .init(rawValue: ENAMETOOLONG) }
    package static var notEmpty: Self { .init(rawValue: ENOTEMPTY) }
    package static var symbolicLinkLoop: Self { .init(rawValue: ELOOP) }
    package static var exchangeFull: Self { .init(rawValue: EXFULL) }
    package static var noSuchProtocol: Self { .init(rawValue: EPROTONOSUPPORT) }
    package static var notSupported: Self { .init(rawValue: EOPNOTSUPP) }
    package static var noSuchFamily: Self { .init(rawValue: EAFNOSUPPORT) }
    package static var addressInUse: Self { .init(rawValue: EADDRINUSE) }
    package static var noSuchAddress: Self { .init(rawValue: EADDRNOTAVAIL) }
    package static var networkUnreachable: Self { .init(rawValue: ENETUNREACH) }
    package static var hostUnreachable: Self { .init(rawValue: EHOSTUNREACH) }
    package static var quotaExceeded: Self { .init(rawValue: EDQUOT) }
}
