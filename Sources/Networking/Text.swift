extension Unicode.Scalar {
    /// Controls a terminal or the direction of text, or is invisible.
    package var isHidden: Bool {
        if value < 0x7f { return value < 0x20 }
        // Latin letters, all but the soft hyphen: without a look into tables.
        if (0xa1...0x24f).contains(value) { return value == 0xad }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: return true
        // The plain one is below.
        case .spaceSeparator: return true
        // 2800 is Braille's blank.
        default: return properties.isDefaultIgnorableCodePoint || value == 0x2800
        }
    }
}

/// `text` on one line, with what is hidden spelled out: for terminals and logs, whoever wrote it.
package func visible(_ text: String) -> String {
    if text.utf8.allSatisfy({ (0x20..<0x7f).contains($0) }) { return text }
    var shown = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\n", "\r", "\t": shown.append(" ")
        case _ where scalar.isHidden: shown += "\\u{\(String(scalar.value, radix: 16))}"
        default: shown.unicodeScalars.append(scalar)
        }
    }
    return shown
}

/// `text` quoted as one word for a shell, with invisible characters spelled out.
package func shellQuoted(_ text: String) -> String {
    let isPlain = text.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
            || "_-./:@%+,=".utf8.contains($0)
    }
    if isPlain, !text.isEmpty { return text }
    guard text.unicodeScalars.contains(where: \.isHidden) else {
        return "'\(text.replacing("'", with: #"'\''"#))'"
    }
    // ANSI-C quoting, of bash and the next POSIX.
    var word = "$'"
    for scalar in text.unicodeScalars {
        if scalar.isHidden {
            for byte in String(scalar).utf8 {
                word += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        } else {
            if scalar == "'" || scalar == "\\" { word += "\\" }
            word.unicodeScalars.append(scalar)
        }
    }
    return word + "'"
}

/// `text` with another text in place of each `old`. By bytes, and without Foundation.
package func replacing(_ old: String, in text: String, by new: String) -> String {
    let (bytes, wanted) = (Array(text.utf8), Array(old.utf8))
    guard !wanted.isEmpty, bytes.count >= wanted.count else { return text }
    var result: [UInt8] = []
    var start = 0
    while start < bytes.count {
        if bytes[start...].starts(with: wanted) {
            result += new.utf8
            start += wanted.count
        } else {
            result.append(bytes[start])
            start += 1
        }
    }
    return String(decoding: result, as: UTF8.self)
}
