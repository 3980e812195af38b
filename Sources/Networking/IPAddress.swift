/// An IPv4 or IPv6 address. IPv4-mapped IPv6 addresses are IPv4 addresses, as in Go's `net.IP`.
package struct IPAddress: Hashable, Comparable, Sendable {
    package enum Family: Comparable, Sendable, CaseIterable {
        case v4, v6

        /// Bits of an address: 32 or 128.
        package var width: Int { self == .v4 ? 32 : 128 }
    }

    package let family: Family
    /// The address as a number; IPv4 fills the low 32 bits.
    package let bits: UInt128

    package init(_ family: Family, bits: UInt128) {
        self.family = family
        self.bits = bits
    }

    /// Network byte order, 4 or 16 bytes.
    package init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        let number = bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
        if bytes.count == 4 {
            self.init(.v4, bits: number)
        } else if number >> 32 == 0xffff {
            self.init(.v4, bits: number & 0xffff_ffff)
        } else {
            self.init(.v6, bits: number)
        }
    }

    /// Network byte order, 4 or 16 bytes.
    package var bytes: [UInt8] {
        stride(from: family.width - 8, through: 0, by: -8).map {
            UInt8(truncatingIfNeeded: bits >> UInt128($0))
        }
    }

    package static func < (a: IPAddress, b: IPAddress) -> Bool {
        (a.family, a.bits) < (b.family, b.bits)
    }

    /// The address after this one; wraps at the end of the family's space.
    package var next: IPAddress { offset(by: 1) }

    package func offset(by count: UInt128) -> IPAddress {
        let all: UInt128 = family == .v4 ? 0xffff_ffff : .max
        return IPAddress(family, bits: (bits &+ count) & all)
    }

    /// 127.0.0.0/8 or ::1.
    package var isLoopback: Bool { family == .v4 ? bits >> 24 == 127 : bits == 1 }
    /// 224.0.0.0/4 or ff00::/8.
    package var isMulticast: Bool { family == .v4 ? bits >> 28 == 14 : bits >> 120 == 0xff }
    /// Why no pod can be reached by this address; nil for one that a link may have.
    package var hostProblem: String? {
        let range: String
        if isLoopback {
            range = "a loopback address, which every host has for itself"
        } else if isMulticast {
            range = "a multicast address, which is a group's"
        } else if bits == 0 {
            range = "no address: it stands for any"
        } else if family == .v4, bits == 0xffff_ffff {
            range = "the broadcast address of every network"
        } else {
            return nil
        }
        return "\(self) can be no pod's: it is \(range)"
    }
    /// 169.254.0.0/16 or fe80::/10.
    package var isLinkLocal: Bool { family == .v4 ? bits >> 16 == 0xa9fe : bits >> 118 == 0x3fa }
}

// MARK: Text

extension IPAddress: CustomStringConvertible {
    /// Dotted IPv4 without leading zeros, or RFC 4291 §2.2 IPv6; nil for anything else.
    package init?(parsing text: String) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let bits = Self.parseV6(text) else { return nil }
            if bits >> 32 == 0xffff {
                self.init(.v4, bits: bits & 0xffff_ffff)
            } else {
                self.init(.v6, bits: bits)
            }
        } else {
            guard let bits = Self.parseV4(Substring(text)) else { return nil }
            self.init(.v4, bits: UInt128(bits))
        }
    }

    private static func parseV4(_ text: Substring) -> UInt32? {
        var bits: UInt32 = 0
        var octet: UInt32?
        var dots = 0
        for byte in text.utf8 {
            switch (byte, octet) {
            case (UInt8(ascii: "."), let whole?):
                bits = bits << 8 | whole
                octet = nil
                dots += 1
            case (0x30...0x39, let whole) where whole != 0:  // no digit after a leading zero
                octet = (whole ?? 0) * 10 + UInt32(byte - 0x30)
            default: return nil
            }
            guard dots <= 3, octet ?? 0 <= 255 else { return nil }
        }
        guard dots == 3, let octet else { return nil }
        return bits << 8 | octet
    }

    private static func parseV6(_ text: String) -> UInt128? {
        var halves: [[Substring]] = []
        if let gap = text.utf8Range(of: "::") {
            let tail = text[gap.upperBound...]
            guard tail.utf8Range(of: "::") == nil, tail.utf8.first != UInt8(ascii: ":") else { return nil }
            halves = [groups(text[..<gap.lowerBound]), groups(tail)]
        } else {
            halves = [groups(text[...])]
        }
        guard let head = words(halves[0], mayEndDotted: halves.count == 1),
            let tail = halves.count == 2 ? words(halves[1], mayEndDotted: true) : []
        else { return nil }
        let missing = 8 - head.count - tail.count
        guard halves.count == 2 ? missing >= 1 : missing == 0 else { return nil }
        return (head + Array(repeating: 0, count: missing) + tail).reduce(0) { $0 << 16 | UInt128($1) }
    }

    private static func groups(_ text: Substring) -> [Substring] {
        text.isEmpty ? [] : text.parts(by: ":")
    }

    /// Hexadecimal groups as 16-bit words; the last one may be a dotted IPv4 address.
    private static func words(_ groups: [Substring], mayEndDotted: Bool) -> [UInt16]? {
        var words: [UInt16] = []
        for (index, group) in groups.enumerated() {
            if mayEndDotted, index == groups.count - 1, let v4 = parseV4(group) {
                words += [UInt16(v4 >> 16), UInt16(truncatingIfNeeded: v4)]
            } else {
                guard (1...4).contains(group.utf8.count), group.utf8.allSatisfy(isHexDigit),
                    let word = UInt16(group, radix: 16)
                else { return nil }
                words.append(word)
            }
        }
        return words
    }

    private var dotted: String {
        var text: [UInt8] = []
        text.reserveCapacity(15)
        for shift in stride(from: 24, through: 0, by: -8) {
            let octet = UInt8(truncatingIfNeeded: bits >> UInt128(shift))
            if octet >= 100 { text.append(0x30 + octet / 100) }
            if octet >= 10 { text.append(0x30 + octet / 10 % 10) }
            text.append(0x30 + octet % 10)
            if shift > 0 { text.append(UInt8(ascii: ".")) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Dotted IPv4, or RFC 5952 IPv6 in lower case.
    package var description: String {
        if family == .v4 { return dotted }
        let words = (0..<8).map { UInt16(truncatingIfNeeded: bits >> UInt128(112 - 16 * $0)) }
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, words[end] == 0 { end += 1 }
            if end - start > max(best.count, 1) { best = start..<end }
            start = max(end, start + 1)
        }
        func hex(_ range: Range<Int>) -> String {
            words[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty ? hex(0..<8) : hex(0..<best.lowerBound) + "::" + hex(best.upperBound..<8)
    }
}

extension StringProtocol {
    /// The first place of `needle`, compared byte by byte.
    fileprivate func utf8Range(of needle: String) -> Range<Index>? {
        let wanted = Array(needle.utf8)
        var start = startIndex
        while start < endIndex {
            if self[start...].utf8.starts(with: wanted) {
                return start..<utf8.index(start, offsetBy: wanted.count)
            }
            start = utf8.index(after: start)
        }
        return nil
    }
}
