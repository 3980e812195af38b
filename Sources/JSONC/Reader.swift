/// Typed access to an object's members, with the path in every error. Keys match as in Go's decoder, and `null`
/// counts as absent.
package struct Reader: Sendable {
    package let value: JSON
    private let location: Location

    /// Built into text only when an error happens.
    private indirect enum Location: Sendable {
        case root(String)
        case key(Location, String)
        case index(Location, Int)

        var text: String {
            switch self {
            case .root(let text): text
            case .key(let parent, let key): parent.text.isEmpty ? key : "\(parent.text).\(key)"
            case .index(let parent, let index): "\(parent.text)[\(index)]"
            }
        }
    }

    package init(_ value: JSON, path: String = "") { self.init(value, .root(path)) }

    private init(_ value: JSON, _ location: Location) {
        self.value = value
        self.location = location
    }

    package var path: String { location.text }

    /// The key is there, even as `null`.
    package func present(_ key: String) -> Bool { value.object?.find(key) != nil }

    /// The key is there and not `null`.
    package func has(_ key: String) -> Bool { member(key) != nil }

    package func string(_ key: String) throws(JSONError) -> String? {
        guard let member = try find(key) else { return nil }
        return try member.asString()
    }

    package func bool(_ key: String) throws(JSONError) -> Bool? {
        guard let member = try find(key) else { return nil }
        return try member.asBool()
    }

    package func int(_ key: String, in range: ClosedRange<Int64>? = nil) throws(JSONError) -> Int64? {
        guard let member = try find(key) else { return nil }
        guard let value = member.value.int else { throw member.mismatch("an integer") }
        if let range, !range.contains(value) {
            throw member.error(
                nil, "cannot unmarshal: \(value) is outside \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    package func strings(_ key: String) throws(JSONError) -> [String]? {
        guard let elements = try list(key) else { return nil }
        var strings: [String] = []
        for element in elements { strings.append(try element.asString()) }
        return strings
    }

    package func object(_ key: String) throws(JSONError) -> Reader? {
        guard let member = try find(key) else { return nil }
        try member.requireObject()
        return member
    }

    package func list(_ key: String) throws(JSONError) -> [Reader]? {
        guard let member = try find(key) else { return nil }
        return try member.elements()
    }

    /// The elements of this value, a list.
    package func elements() throws(JSONError) -> [Reader] {
        guard let values = value.array else { throw mismatch("a list") }
        return values.enumerated().map { Reader($0.element, .index(location, $0.offset)) }
    }

    /// The members of this value, an object.
    package func members() throws(JSONError) -> [(key: String, value: Reader)] {
        guard let object = value.object else { throw mismatch("an object") }
        return object.members.map { ($0.key, Reader($0.value, .key(location, $0.key))) }
    }

    package func asString() throws(JSONError) -> String {
        guard let text = value.string else { throw mismatch("a string") }
        return text
    }

    /// false for `null`.
    package func asBool() throws(JSONError) -> Bool {
        guard value != .null else { return false }
        guard let value = value.bool else { throw mismatch("true or false") }
        return value
    }

    package func requireObject() throws(JSONError) {
        guard value.object != nil else { throw mismatch("an object") }
    }

    /// - Parameter key: the member that is meant; nil for this value itself.
    package func error(_ key: String?, _ problem: String) -> JSONError {
        JSONError(path: key.map { Location.key(location, $0).text } ?? path, problem: problem)
    }

    func member(_ key: String) -> Reader? {
        guard let found = value.object?.find(key), found.value != .null else { return nil }
        return Reader(found.value, .key(location, found.key))
    }

    /// The member to be read; a value that is no object is an error, not an object without that member.
    private func find(_ key: String) throws(JSONError) -> Reader? {
        if value != .null { try requireObject() }
        return member(key)
    }

    private func mismatch(_ wanted: String) -> JSONError {
        let found =
            switch value {
            case .null: "null"
            case .bool(let value): value ? "true" : "false"
            case .int, .unsigned, .double: "the number \(value.print())"
            case .string(let text): "the string \"\(text.prefix(60))\""
            case .array: "a list"
            case .object: "an object"
            }
        return error(nil, "cannot unmarshal: expected \(wanted), found \(found)")
    }
}
