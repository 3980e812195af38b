extension JSON {
    /// - Parameter indent: spaces for each level; 0 prints one compact line.
    package func print(indent: Int = 0) -> String {
        var text = ""
        write(to: &text, indent, 0)
        return text
    }

    private func write(to text: inout String, _ indent: Int, _ level: Int) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .int(let value): text += String(value)
        case .unsigned(let value): text += String(value)
        case .double(let value): text += "\(value)"
        case .string(let value): Self.write(value, to: &text)
        case .array(let values):
            Self.write(values.isEmpty, "[", "]", &text, indent, level) { text, line in
                for (index, value) in values.enumerated() {
                    text += (index == 0 ? "" : ",") + line
                    value.write(to: &text, indent, level + 1)
                }
            }
        case .object(let object):
            Self.write(object.members.isEmpty, "{", "}", &text, indent, level) { text, line in
                for (index, member) in object.members.enumerated() {
                    text += (index == 0 ? "" : ",") + line
                    Self.write(member.key, to: &text)
                    text += indent > 0 ? ": " : ":"
                    member.value.write(to: &text, indent, level + 1)
                }
            }
        }
    }

    private static func write(
        _ isEmpty: Bool, _ opening: String, _ closing: String, _ text: inout String, _ indent: Int,
        _ level: Int,
        _ body: (inout String, String) -> Void
    ) {
        text += opening
        if !isEmpty {
            body(&text, indent > 0 ? "\n" + String(repeating: " ", count: indent * (level + 1)) : "")
            if indent > 0 { text += "\n" + String(repeating: " ", count: indent * level) }
        }
        text += closing
    }

    /// As Go writes strings: `<`, `>` and `&` escaped, `/` not.
    private static func write(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "<", ">", "&", "\u{0}"..."\u{1f}", "\u{2028}", "\u{2029}":
                let hex = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
