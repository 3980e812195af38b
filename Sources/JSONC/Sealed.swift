import Networking

/// Lines of JSON that carry a checksum: a disk may change a bit and leave JSON that says something else. The first member
/// is a checksum of all that follows it: `{"sum":"<16 hexadecimal digits>",...`.
extension JSON {
    private static let head = Array("{\"sum\":\"".utf8)
    private static let digits = 16
    package static let lineEnd = UInt8(ascii: "\n")

    /// The line of an object that has a member or more.
    package func sealed() -> [UInt8] {
        let body = bytes().dropFirst()
        return Self.head + Self.checksum(body) + Array("\",".utf8) + body + [Self.lineEnd]
    }

    /// Whether a text begins as such a line does: those of earlier releases have no checksum.
    package static func isSealed(_ bytes: ArraySlice<UInt8>) -> Bool { bytes.starts(with: head) }

    /// - Parameter line: without its end.
    package static func parse(sealed line: ArraySlice<UInt8>) throws(JSONError) -> JSON {
        let body = line.dropFirst(head.count + digits + 2)
        guard isSealed(line), !body.isEmpty,
            checksum(body).elementsEqual(line.dropFirst(head.count).prefix(digits))
        else {
            throw JSONError(path: "sum", problem: "is not that of the record: it was damaged")
        }
        return try parse(Array(line)).value
    }

    /// FNV-1a: it detects accidents. Against people the directory's permissions protect.
    private static func checksum(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return hexadecimal(
            stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: hash >> UInt64($0)) })
    }
}
