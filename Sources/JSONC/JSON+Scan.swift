/// One pass over the bytes that refuses what json-c lets through: single quotes, NaN, raw control characters, keys
/// with NUL, integers beyond 64 bits, more than a document may be; and that notes duplicate keys. RFC 8259.
struct Scanner {
    /// Keys that stand twice; each is remembered with its path.
    static let maximumDuplicates = 100

    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0
    private var count = 0
    private var path: [String] = []
    /// Paths of keys that their object had already.
    private(set) var duplicates: [String] = []
    /// Where those keys end, at the closing quote, in the order of the document.
    private(set) var duplicateEnds: [Int] = []

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func scanDocument() throws(JSONError) {
        guard bytes.count <= JSON.maximumSize else {
            throw JSONError(
                path: "", problem: "document of \(bytes.count) bytes, the limit is \(JSON.maximumSize)")
        }
        skipSpace()
        guard position < bytes.count else { throw JSONError(path: "", problem: "empty document") }
        try scanValue()
        skipSpace()
        guard position == bytes.count else { throw error("unexpected \(found) after the document") }
    }

    private mutating func scanValue() throws(JSONError) {
        count += 1
        guard count <= JSON.maximumCount else {
            throw error("document of more than \(JSON.maximumCount) values")
        }
        switch peek {
        case UInt8(ascii: "{"): try scanObject()
        case UInt8(ascii: "["): try scanArray()
        case UInt8(ascii: "\""): _ = try scanString(keeps: false)
        case UInt8(ascii: "t"): try scanWord("true")
        case UInt8(ascii: "f"): try scanWord("false")
        case UInt8(ascii: "n"): try scanWord("null")
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try scanNumber()
        default: throw error("expected a value, found \(found)\(hint)")
        }
    }

    private mutating func scanObject() throws(JSONError) {
        try enter()
        var keys: [String] = []
        var ends: [Int] = []
        skipSpace()
        if take("}") { return leave() }
        while true {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw error("expected a key, found \(found)\(hint)") }
            let key = String(decoding: try scanString(keeps: true), as: UTF8.self)
            guard !key.utf8.contains(0) else { throw error("a key contains NUL") }
            path.append(path.isEmpty ? key : "." + key)
            keys.append(key)
            ends.append(position - 1)
            skipSpace()
            guard take(":") else { throw error("expected ':', found \(found)") }
            skipSpace()
            try scanValue()
            path.removeLast()
            skipSpace()
            if take("}") {
                try noteDuplicates(keys, ends)
                return leave()
            }
            guard take(",") else { throw error("expected ',' or '}', found \(found)") }
        }
    }

    /// Notes duplicate keys of the object that ends here. Objects have few keys: comparing them is faster than hashing.
    private mutating func noteDuplicates(_ keys: [String], _ ends: [Int]) throws(JSONError) {
        var seen: Set<[UInt8]> = []
        for (index, key) in keys.enumerated() {
            let isNew =
                keys.count > 32
                ? seen.insert(Array(key.utf8)).inserted
                : !keys[..<index].contains { $0.utf8.elementsEqual(key.utf8) }
            guard !isNew else { continue }
            guard duplicates.count < Self.maximumDuplicates else {
                throw error("more than \(Self.maximumDuplicates) keys stand twice in their objects")
            }
            duplicateEnds.append(ends[index])
            duplicates.append(path.joined() + (path.isEmpty ? key : "." + key))
        }
    }

    private mutating func scanArray() throws(JSONError) {
        try enter()
        skipSpace()
        if take("]") { return leave() }
        var index = 0
        while true {
            path.append("[\(index)]")
            skipSpace()
            try scanValue()
            path.removeLast()
            index += 1
            skipSpace()
            if take("]") { return leave() }
            guard take(",") else { throw error("expected ',' or ']', found \(found)") }
        }
    }

    private mutating func enter() throws(JSONError) {
        position += 1
        depth += 1
        guard depth <= JSON.maximumDepth else { throw error("nested deeper than \(JSON.maximumDepth)") }
    }

    private mutating func leave() { depth -= 1 }

    /// The string's bytes with escapes resolved, if it `keeps` them.
    private mutating func scanString(keeps: Bool) throws(JSONError) -> [UInt8] {
        position += 1
        let start = position
        var unescaped: [UInt8] = []
        var plain = position
        var isASCII = true
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                guard isASCII || String(validating: bytes[start..<position], as: UTF8.self) != nil else {
                    throw error("invalid UTF-8 in a string")
                }
                if keeps { unescaped += bytes[plain..<position] }
                position += 1
                return unescaped
            case UInt8(ascii: "\\"):
                unescaped += bytes[plain..<position]
                try scanEscape(into: &unescaped)
                plain = position
            case 0..<0x20:
                let what = byte == 0x0a ? " (a line break; does the string end?)" : ""
                throw error("raw control character \(byte) in a string\(what)")
            default:
                if byte >= 0x80 { isASCII = false }
                position += 1
            }
        }
        position = start - 1
        throw error("a string does not end")
    }

    private mutating func scanEscape(into text: inout [UInt8]) throws(JSONError) {
        position += 1
        let simple: UInt8? =
            switch peek {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): peek
            case UInt8(ascii: "b"): 8
            case UInt8(ascii: "f"): 12
            case UInt8(ascii: "n"): 10
            case UInt8(ascii: "r"): 13
            case UInt8(ascii: "t"): 9
            default: nil
            }
        if let simple {
            text.append(simple)
            position += 1
            return
        }
        guard peek == UInt8(ascii: "u") else { throw error("unknown escape \\\(found)") }
        var unit = try scanUnit()
        if (0xd800..<0xdc00).contains(unit) {
            guard peek == UInt8(ascii: "\\") else { throw error("half a surrogate pair") }
            position += 1
            guard peek == UInt8(ascii: "u") else { throw error("half a surrogate pair") }
            let low = try scanUnit()
            guard (0xdc00..<0xe000).contains(low) else { throw error("half a surrogate pair") }
            unit = 0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(unit) else { throw error("half a surrogate pair") }
        text += String(scalar).utf8
    }

    /// The letter u and four hexadecimal digits; the position is on the u.
    private mutating func scanUnit() throws(JSONError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            position += 1
            guard let digit = Character(Unicode.Scalar(peek)).hexDigitValue else {
                throw error("expected a hex digit")
            }
            unit = unit << 4 | UInt32(digit)
        }
        position += 1
        return unit
    }

    private mutating func scanWord(_ word: String) throws(JSONError) {
        for byte in word.utf8 {
            guard peek == byte else { throw error("expected \(word), found \(found)") }
            position += 1
        }
    }

    private mutating func scanNumber() throws(JSONError) {
        let start = position
        _ = take("-")
        guard isDigit else { throw error("expected a digit, found \(found)") }
        if !take("0") { skipDigits() }
        guard !isDigit else { throw error("a number with a leading zero") }
        var isInteger = true
        if take(".") {
            guard isDigit else { throw error("expected a digit, found \(found)") }
            skipDigits()
            isInteger = false
        }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            guard isDigit else { throw error("expected a digit, found \(found)") }
            skipDigits()
            isInteger = false
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard isInteger else {
            guard Double(text)?.isFinite == true else { throw error("the number \(text) is too large") }
            return
        }
        guard Int64(text) != nil || UInt64(text) != nil else {
            throw error("cannot unmarshal: the integer \(text) needs more than 64 bits")
        }
    }

    // MARK: Bytes

    /// 0 at the end of the document.
    private var peek: UInt8 { position < bytes.count ? bytes[position] : 0 }
    private var isDigit: Bool { (0x30...0x39).contains(peek) }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func skipDigits() { while isDigit { position += 1 } }

    private mutating func skipSpace() {
        while true {
            switch peek {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            default: return
            }
        }
    }

    private var found: String {
        guard position < bytes.count else { return "the end of the document" }
        let byte = bytes[position]
        if (0x21...0x7e).contains(byte) { return "'\(Character(Unicode.Scalar(byte)))'" }
        let character = String(decoding: bytes[position...].prefix(4), as: UTF8.self).unicodeScalars.first
        guard byte >= 0x80, let character, character != "\u{fffd}" else { return "byte \(byte)" }
        let number = "U+\(String(character.value, radix: 16, uppercase: true))"
        return character.properties.isGraphemeBase ? "'\(character)' (\(number))" : number
    }

    /// What people usually mean who write such a character in place of a key or a value.
    private var hint: String {
        guard position < bytes.count else { return "" }
        let before = bytes[..<position].last { !" \t\r\n".utf8.contains($0) }
        switch bytes[position] {
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            return before == UInt8(ascii: ",") ? ": remove the comma before it" : ""
        case UInt8(ascii: "'"): return ": keys and strings stand in double quotes"
        // The block of U+2018 to U+201F, the quotes of a word processor.
        case 0xe2 where bytes[position...].starts(with: [0xe2, 0x80]):
            return ": keys and strings stand in plain double quotes"
        case UInt8(ascii: "/"), UInt8(ascii: "#"): return ": JSON has no comments"
        case 0xef where position == 0: return ": save the file without a byte order mark"
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            return ": words stand in double quotes, except true, false and null as values"
        default: return ""
        }
    }

    /// Columns are counted in characters, as editors do.
    private func error(_ problem: String) -> JSONError {
        let before = bytes[..<min(position, bytes.count)]
        let line = before.count { $0 == 0x0a } + 1
        let start = before.lastIndex(of: 0x0a).map { $0 + 1 } ?? 0
        let column = before[start...].count { $0 & 0xc0 != 0x80 } + 1
        return JSONError(path: path.joined(), problem: "\(problem) (line \(line), column \(column))")
    }
}
