/// What a document may be, JSON or YAML: a value costs up to a hundred times the memory of its text.
extension JSON {
    /// Bytes.
    package static let maximumSize = 6 << 20
    /// Values: texts, numbers, lists, objects.
    package static let maximumCount = 32768
    package static let maximumDepth = 128
}

/// A JSON value. Objects keep the order and the spelling of their keys.
package indirect enum JSON: Equatable, Sendable {
    case null
    case bool(Bool)
    case int(Int64)
    /// Only numbers above `Int64.max`.
    case unsigned(UInt64)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)

    package subscript(key: String) -> JSON? { object?[key] }

    package var string: String? { if case .string(let value) = self { value } else { nil } }
    package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    package var int: Int64? { if case .int(let value) = self { value } else { nil } }
    package var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    package var object: JSONObject? { if case .object(let value) = self { value } else { nil } }
}

extension JSON {
    /// Levels of arrays and objects.
    package var depth: Int {
        switch self {
        case .array(let values): 1 + values.reduce(0) { max($0, $1.depth) }
        case .object(let object): 1 + object.members.reduce(0) { max($0, $1.value.depth) }
        default: 0
        }
    }

    /// Itself and all that is in it.
    package var count: Int {
        switch self {
        case .array(let values): values.reduce(1) { $0 + $1.count }
        case .object(let object): object.members.reduce(1) { $0 + $1.value.count }
        default: 1
        }
    }

    /// Whether `parse` takes it back when it is written in so many bytes.
    package func isReadable(in bytes: Int) -> Bool {
        bytes <= Self.maximumSize && count <= Self.maximumCount && isReadable(levels: Self.maximumDepth)
    }

    /// JSON cannot write infinity: 1e999 is read as infinity.
    private func isReadable(levels: Int) -> Bool {
        switch self {
        case .double(let number): number.isFinite
        case .array(let values): levels > 0 && values.allSatisfy { $0.isReadable(levels: levels - 1) }
        case .object(let object):
            levels > 0 && object.members.allSatisfy { $0.value.isReadable(levels: levels - 1) }
        default: true
        }
    }
}

extension JSON {
    /// What Go's decoder does with a value that is given twice: `null` changes nothing, and objects are merged.
    fileprivate func completed(by later: JSON) -> JSON {
        switch (self, later) {
        case (_, .null): return self
        case (.object(var object), .object(let other)):
            object.merge(other) { $0.completed(by: $1) }
            return .object(object)
        default: return later
        }
    }
}

/// Members of a JSON object, in order.
package struct JSONObject: Sendable {
    package var members: [(key: String, value: JSON)]

    package init(_ members: [(key: String, value: JSON)] = []) { self.members = members }

    /// The member spelled exactly so, the last of several; setting nil removes it.
    package subscript(key: String) -> JSON? {
        get { members.last { $0.key == key }?.value }
        set {
            let index = members.lastIndex { $0.key == key }
            switch (index, newValue) {
            case (let index?, let value?): members[index].value = value
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append((key, value))
            case (nil, nil): break
            }
        }
    }

    /// Takes in all members of another object; what both have is `combined`.
    package mutating func merge(_ other: JSONObject, combined: (JSON, JSON) -> JSON = { $1 }) {
        // Objects have few keys: comparing them is faster than hashing.
        guard other.members.count > 32 else {
            for (key, value) in other.members {
                let index = members.lastIndex { $0.key == key }
                if let index {
                    members[index].value = combined(members[index].value, value)
                } else {
                    members.append((key, value))
                }
            }
            return
        }
        var places: [String: Int] = [:]
        for (index, member) in members.enumerated() { places[member.key] = index }
        for (key, value) in other.members {
            if let index = places[key] {
                members[index].value = combined(members[index].value, value)
            } else {
                places[key] = members.count
                members.append((key, value))
            }
        }
    }

    /// What Go's decoder would take for `key`, spelled in any letter case: of several the last one that is not `null`;
    /// objects one after another, so that a member that the later one lacks stays.
    package func find(_ key: String) -> (key: String, value: JSON)? {
        var found: (key: String, value: JSON)?
        for member in members where isSame(member.key, key) {
            found = (member.key, found?.value.completed(by: member.value) ?? member.value)
        }
        return found
    }

    /// Adds a member; one of that name is completed.
    mutating func add(_ key: String, _ value: JSON) {
        merge(JSONObject([(key, value)])) { $0.completed(by: $1) }
    }
}

/// As Go's decoder compares keys: the letter case of ASCII does not matter.
package func isSame(_ a: String, _ b: String) -> Bool {
    guard a.utf8.count == b.utf8.count else { return false }
    return a == b || a.utf8.elementsEqual(b.utf8) { lowercase($0) == lowercase($1) }
}

/// ASCII letters in lower case.
func folded(_ key: String) -> [UInt8] {
    key.utf8.map(lowercase)
}

private func lowercase(_ byte: UInt8) -> UInt8 { (0x41...0x5a).contains(byte) ? byte | 0x20 : byte }

extension JSONObject: Equatable {
    /// The order of members does not matter.
    package static func == (a: JSONObject, b: JSONObject) -> Bool {
        a.members.count == b.members.count
            && (a.members.elementsEqual(b.members, by: ==)
                || a.members.sorted { $0.key < $1.key }.elementsEqual(
                    b.members.sorted { $0.key < $1.key }, by: ==))
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    package init(dictionaryLiteral elements: (String, JSON)...) {
        self.init(elements.map { (key: $0.0, value: $0.1) })
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSON...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(JSONObject(elements.map { (key: $0.0, value: $0.1) }))
    }
}

/// What is wrong with a document, and where: `plugins[0].ipam.type`; an empty path is the whole document.
package struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
    package let path: String
    package let problem: String

    package init(path: String, problem: String) {
        self.path = path
        self.problem = problem
    }

    /// The problem comes first: people who know the reference plugins search for its words.
    package var description: String {
        if path.isEmpty { return problem }
        return problem.hasPrefix("is ") ? "\(path) \(problem)" : "\(problem) (key \(path))"
    }
}
