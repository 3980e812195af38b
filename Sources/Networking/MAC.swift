/// A 48-bit hardware address.
package struct MAC: Hashable, Sendable, CustomStringConvertible {
    /// Six octets, in the order in which they are written.
    package let bytes: [UInt8]

    package init?(bytes: [UInt8]) {
        guard bytes.count == 6 else { return nil }
        self.bytes = bytes
    }

    /// `02:00:00:00:00:01`, `02-00-…` or `0200.0000.0001`, in any case (Go's `net.ParseMAC`, 48 bits only).
    package init?(parsing text: String) {
        guard let bytes = octets(parsing: text) else { return nil }
        self.init(bytes: bytes)
    }

    /// Lower case with colons, as the kernel prints it.
    package var description: String {
        var text: [UInt8] = []
        for byte in bytes {
            if !text.isEmpty { text.append(UInt8(ascii: ":")) }
            text.append(hexDigit(byte >> 4))
            text.append(hexDigit(byte & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// A multicast address cannot be a link's own.
    package var isMulticast: Bool { bytes[0] & 1 == 1 }
}

extension MAC {
    /// 00:00:00:00:00:00, the address of `lo`.
    package static let zero = MAC(sixBytes: Array(repeating: 0, count: 6))

    private init(sixBytes: [UInt8]) { bytes = sixBytes }
}

/// Rejects `+` and `-`, which `UInt16(_:radix:)` accepts.
func isHexDigit(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
}

/// Two lower-case digits for each byte, in ASCII.
package func hexadecimal(_ bytes: [UInt8]) -> [UInt8] {
    var text: [UInt8] = []
    for byte in bytes {
        text.append(hexDigit(byte >> 4))
        text.append(hexDigit(byte & 15))
    }
    return text
}

private func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }

/// The octets of a hardware address in one of the three forms, of whatever length; nil for another text.
private func octets(parsing text: String) -> [UInt8]? {
    let separator: Unicode.Scalar =
        text.utf8.contains(UInt8(ascii: ":")) ? ":" : text.utf8.contains(UInt8(ascii: "-")) ? "-" : "."
    let digits = separator == "." ? 4 : 2
    // The longest has 20 octets.
    guard text.utf8.count < 64 else { return nil }
    var bytes: [UInt8] = []
    for group in text.parts(by: separator) {
        guard group.utf8.count == digits, group.utf8.allSatisfy(isHexDigit),
            let value = UInt16(group, radix: 16)
        else { return nil }
        if digits == 4 { bytes.append(UInt8(value >> 8)) }
        bytes.append(UInt8(truncatingIfNeeded: value))
    }
    return bytes
}

/// Whether `text` is a hardware address of 6 octets (MAC), 8 (EUI-64, InfiniBand's GUID) or 20 (IP over InfiniBand), as
/// Go's `net.ParseMAC` takes them.
package func isHardwareAddress(_ text: String) -> Bool {
    [6, 8, 20].contains(octets(parsing: text)?.count)
}
