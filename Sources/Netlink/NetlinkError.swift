internal import Linux

/// A request that the kernel refused, with its own words where it has any.
package struct NetlinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `add veth eth0`.
    package let operation: String
    /// errno.
    package let code: CInt
    /// The kernel's extended ACK text.
    package let text: String?

    package init(operation: String, code: CInt, text: String? = nil) {
        self.operation = operation
        self.code = code
        self.text = text
    }

    package var description: String {
        let cause = code == 0 ? "" : ": \(errorText(code))"
        return operation + cause + (text.map { " (\($0))" } ?? "")
    }
}
