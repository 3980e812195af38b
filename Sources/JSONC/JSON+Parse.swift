internal import CJSON

/// A parsed document, with the paths of keys that stand in it twice (the last one counts).
package struct JSONDocument: Sendable {
    package let value: JSON
    package let duplicates: [String]

    /// Keys that occur twice in an object called `name`.
    package func duplicates(within name: String) -> [String] {
        duplicates.filter { $0.hasPrefix("\(name).") || $0.contains(".\(name).") }
    }
}

extension JSON {
    package static func parse(_ text: String) throws(JSONError) -> JSONDocument {
        try parse(Array(text.utf8))
    }

    /// Strict RFC 8259, integers of 64 bits, within the limits of size, count and depth.
    package static func parse(_ bytes: [UInt8]) throws(JSONError) -> JSONDocument {
        var scanner = Scanner(bytes)
        try scanner.scanDocument()
        guard let tokener = json_tokener_new_ex(Int32(maximumDepth + 1)) else {
            throw JSONError(path: "", problem: "out of memory")
        }
        defer { json_tokener_free(tokener) }
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8)
        var root = read(marked(bytes, scanner.duplicateEnds), with: tokener)
        // The NUL ends a number that is the whole document.
        if json_tokener_get_error(tokener) == json_tokener_continue { root = read([0], with: tokener) }
        defer { json_object_put(root) }
        let status = json_tokener_get_error(tokener)
        guard status == json_tokener_success else {
            let place = "byte \(json_tokener_get_parse_end(tokener) + 1)"
            throw JSONError(
                path: "", problem: "\(String(cString: json_tokener_error_desc(status))) (\(place))")
        }
        return JSONDocument(
            value: JSON(root, isMarked: !scanner.duplicates.isEmpty), duplicates: scanner.duplicates)
    }

    private static func read(_ bytes: [UInt8], with tokener: UnsafeMutablePointer<json_tokener>)
        -> OpaquePointer?
    {
        bytes.withUnsafeBytes { buffer in
            json_tokener_parse_ex(
                tokener, buffer.bindMemory(to: CChar.self).baseAddress, Int32(buffer.count))
        }
    }

    /// The document with a mark and a number behind each key that its object had already: json-c would drop the
    /// earlier value, of which Go's decoder keeps what the later one leaves out.
    private static func marked(_ bytes: [UInt8], _ ends: [Int]) -> [UInt8] {
        guard !ends.isEmpty else { return bytes }
        var text: [UInt8] = []
        var start = 0
        for (number, end) in ends.sorted().enumerated() {
            text += bytes[start..<end] + "\(duplicateMark)\(number)".utf8
            start = end
        }
        return text + bytes[start...]
    }

    private init(_ node: OpaquePointer?, isMarked: Bool) {
        switch json_object_get_type(node) {
        case json_type_boolean: self = .bool(json_object_get_boolean(node) != 0)
        case json_type_double: self = .double(json_object_get_double(node))
        case json_type_int:
            let unsigned = json_object_get_uint64(node)
            self = unsigned > UInt64(Int64.max) ? .unsigned(unsigned) : .int(json_object_get_int64(node))
        case json_type_string:
            let count = Int(json_object_get_string_len(node))
            self = .string(
                json_object_get_string(node).map {
                    String(decoding: UnsafeRawBufferPointer(start: $0, count: count), as: UTF8.self)
                } ?? "")
        case json_type_array:
            self = .array(
                (0..<json_object_array_length(node)).map {
                    JSON(json_object_array_get_idx(node, $0), isMarked: isMarked)
                })
        case json_type_object: self = .object(Self.members(node, isMarked))
        default: self = .null
        }
    }

    private static func members(_ node: OpaquePointer?, _ isMarked: Bool) -> JSONObject {
        var object = JSONObject()
        var iterator = json_object_iter_begin(node)
        var end = json_object_iter_end(node)
        while json_object_iter_equal(&iterator, &end) == 0 {
            let key = json_object_iter_peek_name(&iterator).map { String(cString: $0) } ?? ""
            let value = JSON(json_object_iter_peek_value(&iterator), isMarked: isMarked)
            if isMarked, let mark = key.unicodeScalars.firstIndex(of: duplicateMark) {
                object.add(String(key[..<mark]), value)
            } else {
                object.members.append((key, value))
            }
            json_object_iter_next(&iterator)
        }
        return object
    }
}

/// A private-use character that no key of a configuration has.
private let duplicateMark: Unicode.Scalar = "\u{10fff1}"
