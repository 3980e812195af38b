internal import Networking

extension JSON {
    /// - Parameters:
    ///   - indent: spaces for each level; 0 prints one compact line.
    ///   - escapesHTML: as Go does in what runtimes and plugins exchange and compare; people read `<` better.
    package func print(indent: Int = 0, escapesHTML: Bool = true) -> String {
        String(decoding: bytes(indent: indent, escapesHTML: escapesHTML), as: UTF8.self)
    }

    /// The same as UTF-8. Stops soon after the largest size of a document: one character may become an escape of six
    /// bytes, and nobody could read the whole.
    package func bytes(indent: Int = 0, escapesHTML: Bool = true) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(1024)
        write(to: &text, Style(indent: indent, escapesHTML: escapesHTML), 0)
        return text
    }

    private struct Style {
        var indent: Int
        var escapesHTML: Bool
    }

    private func write(to text: inout [UInt8], _ style: Style, _ level: Int) {
        switch self {
        case .null: text += "null".utf8
        case .bool(let value): text += (value ? "true" : "false").utf8
        case .int(let value): text += String(value).utf8
        case .unsigned(let value): text += String(value).utf8
        case .double(let value): text += value.description.utf8
        case .string(let value): Self.write(value, to: &text, style)
        case .array(let values):
            text.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                Self.startMember(index, to: &text, style.indent, level)
                value.write(to: &text, style, level + 1)
            }
            if !values.isEmpty { Self.startLine(&text, style.indent, level) }
            text.append(UInt8(ascii: "]"))
        case .object(let object):
            text.append(UInt8(ascii: "{"))
            for (index, member) in object.members.enumerated() {
                Self.startMember(index, to: &text, style.indent, level)
                Self.write(member.key, to: &text, style)
                text.append(UInt8(ascii: ":"))
                if style.indent > 0 { text.append(UInt8(ascii: " ")) }
                member.value.write(to: &text, style, level + 1)
            }
            if !object.members.isEmpty { Self.startLine(&text, style.indent, level) }
            text.append(UInt8(ascii: "}"))
        }
    }

    private static func startMember(_ index: Int, to text: inout [UInt8], _ indent: Int, _ level: Int) {
        if index > 0 { text.append(UInt8(ascii: ",")) }
        startLine(&text, indent, level + 1)
    }

    private static func startLine(_ text: inout [UInt8], _ indent: Int, _ level: Int) {
        guard indent > 0 else { return }
        text.append(UInt8(ascii: "\n"))
        for _ in 0..<indent * level { text.append(UInt8(ascii: " ")) }
    }

    /// As Go writes strings: `<`, `>` and `&` escaped where Go's bytes are wanted, `/` not; nor is anything hidden in
    /// them.
    private static func write(_ value: String, to text: inout [UInt8], _ style: Style) {
        guard text.count <= JSON.maximumSize else { return }
        text.append(UInt8(ascii: "\""))
        var value = value
        value.withUTF8 { bytes in
            if bytes.allSatisfy(isPlain) {
                text += bytes
            } else {
                escape(String(decoding: bytes, as: UTF8.self), to: &text, style)
            }
        }
        text.append(UInt8(ascii: "\""))
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
            false
        default: (0x20..<0x80).contains(byte)
        }
    }

    private static func escape(_ value: String, to text: inout [UInt8], _ style: Style) {
        for scalar in value.unicodeScalars where text.count <= JSON.maximumSize {
            switch scalar {
            case "\"", "\\": text += [UInt8(ascii: "\\"), UInt8(ascii: scalar)]
            case "\n": text += "\\n".utf8
            case "\r": text += "\\r".utf8
            case "\t": text += "\\t".utf8
            case "<" where style.escapesHTML, ">" where style.escapesHTML, "&" where style.escapesHTML:
                escape(UInt16(scalar.value), to: &text)
            case _ where scalar.isHidden:
                for unit in UTF16.encode(scalar) ?? .init() { escape(unit, to: &text) }
            default: text += String(scalar).utf8
            }
        }
    }

    private static func escape(_ unit: UInt16, to text: inout [UInt8]) {
        text += "\\u".utf8
        for shift in [12, 8, 4, 0] { text.append(hexDigit(UInt8(unit >> UInt16(shift) & 15))) }
    }
}

private func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
}
