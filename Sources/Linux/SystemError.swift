internal import Glibc

/// What the kernel refused, a file or a request; or what we refuse of either.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `open /run/netns/x`, `add veth eth0`; the whole message of what we refuse.
    package let operation: String
    /// nil of what we refuse ourselves.
    package let code: Errno?
    /// The kernel's own words, where it has any: a netlink answer's extended ACK.
    package let text: String?
    /// What helps, as a command line; empty where that depends.
    package let fix: String
    /// No answer came: the kernel may have done it all the same.
    package let isUnanswered: Bool

    package init(
        operation: String, code: Errno, text: String? = nil, fix: String = "", isUnanswered: Bool = false
    ) {
        self.init(
            operation: operation, code: Optional(code), text: text, fix: fix, isUnanswered: isUnanswered)
    }

    /// - Parameter problem: why, as a whole message.
    package init(refusing problem: String, fix: String = "") {
        self.init(operation: problem, code: nil, text: nil, fix: fix, isUnanswered: false)
    }

    /// The same, of an operation that a caller knows better.
    package func renamed(_ operation: String) -> SystemError {
        SystemError(
            operation: operation, code: code, text: text, fix: fix, isUnanswered: isUnanswered)
    }

    private init(operation: String, code: Errno?, text: String?, fix: String, isUnanswered: Bool) {
        self.operation = operation
        self.code = code
        self.text = text
        self.fix = fix
        self.isUnanswered = isUnanswered
    }

    /// With the errno of the last call.
    package init(_ operation: String) { self.init(operation: operation, code: .last) }

    package var description: String {
        let cause = code.map { "\($0)" } ?? ""
        // The kernel's own words may be those of the number.
        let words = text.flatMap { $0 == cause ? nil : " (\($0))" } ?? ""
        return operation + (cause.isEmpty ? "" : ": \(cause)") + words
    }

    /// A name that is too long cannot exist either.
    package var isNotFound: Bool { code == .noSuchFile || code == .nameTooLong }
    /// Something is there, but no regular file: a link, a directory, a pipe; or one that we refuse.
    package var isNoFile: Bool {
        code == nil || code == .symbolicLinkLoop || code == .isDirectory || code == .noSuchDeviceOrAddress
    }
    /// This user has no permission.
    package var isForbidden: Bool { code == .accessDenied || code == .notPermitted }
    /// Something is there, but no directory.
    package var isNoDirectory: Bool { code == .notDirectory }
    /// The disk takes nothing new: it is full or read-only.
    package var hasNoRoom: Bool { code == .noSpace || code == .readOnly || code == .quotaExceeded }
    /// The file exists but cannot be read: it is write-only, or has no value yet.
    package var isUntold: Bool { isForbidden || code == .inputOutput }
    /// What helps whatever was to be done.
    package var hint: String {
        if !fix.isEmpty { return fix }
        if hasNoRoom { return "the disk is full or read-only: make room on it, or mount it writable" }
        return isForbidden ? "this user may not do it: Plexus runs as root" : ""
    }
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
