internal import Glibc

/// A system call that failed.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `open /run/netns/x`.
    package let operation: String
    /// errno; 0 when `operation` is the whole message.
    package let code: CInt
    /// What helps, as a command line; empty where that depends.
    package let fix: String

    package init(operation: String, code: CInt, fix: String = "") {
        self.operation = operation
        self.code = code
        self.fix = fix
    }

    /// With the errno of the last call.
    init(_ operation: String) { self.init(operation: operation, code: errno) }

    package var description: String { code == 0 ? operation : "\(operation): \(errorText(code))" }
    /// Nor can there be anything of a name that is too long.
    package var isNotFound: Bool { code == ENOENT || code == ENAMETOOLONG }
    /// Something is there, but no regular file: a link, a directory, a pipe.
    package var isNoFile: Bool { code == ELOOP || code == EISDIR || code == ENXIO || code == 0 }
    /// This user has no permission.
    package var isForbidden: Bool { code == EACCES || code == EPERM }
    /// Something is there, but no directory.
    package var isNoDirectory: Bool { code == ENOTDIR }
    /// The disk takes nothing new: it is full or read-only.
    package var hasNoRoom: Bool { code == ENOSPC || code == EROFS || code == EDQUOT }
    /// The file exists but cannot be read: it is write-only, or has no value yet.
    package var isUntold: Bool { code == EIO || code == EACCES || code == EPERM }
    /// What helps whatever was to be done.
    package var hint: String {
        if !fix.isEmpty { return fix }
        if hasNoRoom { return "the disk is full or read-only: make room on it, or mount it writable" }
        return isForbidden ? "this user may not do it: Plexus runs as root" : ""
    }
    /// A directory that was to be removed.
    package var isNotEmpty: Bool { code == ENOTEMPTY }
    package var isInvalid: Bool { code == EINVAL }
}

/// The C library's text for an errno.
package func errorText(_ code: CInt) -> String {
    strerror(code).map { String(cString: $0) } ?? "error \(code)"
}

/// Waits; a signal ends it early.
package func pause(milliseconds: UInt32) { usleep(milliseconds * 1000) }

/// Repeats a call that a signal interrupted.
package func retrying(_ call: () -> CInt) -> CInt {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}

package func retrying(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}
