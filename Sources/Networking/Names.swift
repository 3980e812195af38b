/// Checks of names that become paths or kernel names.
package enum Names {
    /// CNI 1.1, "Parameters": container IDs and network names.
    package static func isIdentifier(_ text: String) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first) else { return false }
        return text.utf8.allSatisfy { isAlphanumeric($0) || "_.-".utf8.contains($0) }
    }

    /// Why `text` must not name a link, or nil when it may: what the kernel takes, and a person can see.
    package static func interfaceProblem(_ text: String) -> String? {
        if ["all", "default"].contains(text) { return "is a name of the kernel's own, in net.ipv4.conf" }
        return kernelProblem(text)
            ?? (text.unicodeScalars.contains(where: \.isHidden) ? "contains an invisible character" : nil)
    }

    /// Why no link can have this name: 1 to 15 bytes, not `.` or `..`, without `/`, `:` and space. Nor with `%`:
    /// the kernel would put a number of its own choice there (net/core/dev.c). What DEL goes by.
    package static func kernelProblem(_ text: String) -> String? {
        if text.isEmpty { return "is empty" }
        if text.utf8.count > 15 { return "has \(text.utf8.count) bytes, the kernel takes 15" }
        if text == "." || text == ".." { return "is a directory name" }
        if text.unicodeScalars.contains(where: {
            "/:".unicodeScalars.contains($0) || $0.properties.isWhitespace
        }) {
            return "contains '/', ':' or white space"
        }
        if text.utf8.contains(UInt8(ascii: "%")) { return "contains '%', which the kernel replaces" }
        if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) { return "contains a control character" }
        return nil
    }

    /// One DNS-1123 label: lower-case letters, digits and inner hyphens.
    package static func isLabel(_ text: String) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last else { return false }
        return isLowerAlphanumeric(first) && isLowerAlphanumeric(last)
            && text.utf8.allSatisfy { isLowerAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }

    /// A DNS-1123 subdomain of at most 253 bytes: labels joined by dots.
    package static func isSubdomain(_ text: String) -> Bool {
        text.utf8.count <= 253
            && text.parts(by: ".").allSatisfy { isLabel(String($0)) }
    }

    private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
        (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isLowerAlphanumeric(byte) || (0x41...0x5a).contains(byte)
    }
}

extension Substring {
    /// Splits at an ASCII character and keeps empty parts. By bytes: finding the bounds of Characters costs more than
    /// all other work with a short text.
    package func parts(by separator: Unicode.Scalar, maxSplits: Int = .max) -> [Substring] {
        var parts: [Substring] = []
        var start = startIndex
        while parts.count < maxSplits, let end = self[start...].utf8.firstIndex(of: UInt8(ascii: separator)) {
            parts.append(self[start..<end])
            start = utf8.index(after: end)
        }
        parts.append(self[start...])
        return parts
    }
}

extension String {
    package func parts(by separator: Unicode.Scalar, maxSplits: Int = .max) -> [Substring] {
        self[...].parts(by: separator, maxSplits: maxSplits)
    }
}

/// `text` without white space around it.
package func trimmed(_ text: String) -> String { trimmed(text[...]) }

package func trimmed(_ text: Substring) -> String {
    if let first = text.utf8.first, let last = text.utf8.last, isPlain(first), isPlain(last) {
        return String(text)
    }
    var part = text
    while part.first?.isWhitespace == true { part = part.dropFirst() }
    while part.last?.isWhitespace == true { part = part.dropLast() }
    return String(part)
}

/// ASCII, and no white space.
private func isPlain(_ byte: UInt8) -> Bool { (0x21..<0x7f).contains(byte) }
