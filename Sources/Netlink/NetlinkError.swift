internal import Linux

/// A request that the kernel refused, with its own words where it has any.
package struct NetlinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `add veth eth0`.
    package let operation: String
    /// errno.
    package let code: CInt
    /// The kernel's extended ACK text.
    package let text: String?
    /// No answer came: the kernel may have done it all the same.
    package let isUnanswered: Bool

    package init(operation: String, code: CInt, text: String? = nil, isUnanswered: Bool = false) {
        self.operation = operation
        self.code = code
        self.text = text
        self.isUnanswered = isUnanswered
    }

    package var description: String {
        let cause = code == 0 ? "" : errorText(code)
        // The kernel's own words may be those of the number.
        let words = text.flatMap { $0 == cause ? nil : " (\($0))" } ?? ""
        return operation + (cause.isEmpty ? "" : ": \(cause)") + words
    }
}
