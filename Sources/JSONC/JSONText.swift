/// Finds where JSON documents and the elements of their `items` begin and end; what is in them is the parser's matter. A
/// cluster's list is many times what one document may be.
package struct JSONText: Sendable {
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The documents, one after the other.
    package var documents: [Range<Int>] {
        var found: [Range<Int>] = []
        var position = 0
        while let start = bytes[position...].firstIndex(where: { $0 > 0x20 }) {
            position = end(of: start)
            found.append(start..<position)
        }
        return found
    }

    /// Behind the value that begins here; behind everything, when it has no end.
    private func end(of start: Int) -> Int {
        var depth = 0
        var position = start
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position = endOfText(position)
                if depth == 0 { return position }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth <= 0 { return position + 1 }
            case 0...0x20, UInt8(ascii: ","): if depth == 0 { return max(position, start + 1) }
            default: break
            }
            position += 1
        }
        return bytes.count
    }

    private func endOfText(_ start: Int) -> Int {
        var position = start + 1
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\\"): position += 2
            case UInt8(ascii: "\""): return position + 1
            default: position += 1
            }
        }
        return bytes.count
    }

    /// The elements of the member `items` of the object there; nil for one without such a list.
    package func items(_ object: Range<Int>) -> [Range<Int>]? {
        guard let list = list(object) else { return nil }
        // As Go prints a list without elements.
        return bytes[list.lowerBound] == UInt8(ascii: "[") ? elements(list) : []
    }

    /// The object there without the elements of its `items`.
    package func withoutItems(_ object: Range<Int>) -> [UInt8] {
        guard let list = list(object) else { return Array(bytes[object]) }
        return Array(bytes[object.lowerBound..<list.lowerBound]) + "[]".utf8
            + bytes[list.upperBound..<object.upperBound]
    }

    /// Its `items`: a list, or null.
    private func list(_ object: Range<Int>) -> Range<Int>? {
        guard bytes[object.lowerBound] == UInt8(ascii: "{") else { return nil }
        var position = object.lowerBound + 1
        while let key = next(position, object.upperBound), bytes[key] == UInt8(ascii: "\"") {
            let colon = next(endOfText(key), object.upperBound)
            guard let colon, let value = next(colon + 1, object.upperBound) else { return nil }
            if bytes[key..<endOfText(key)].elementsEqual("\"items\"".utf8) {
                let isList = bytes[value] == UInt8(ascii: "[") || bytes[value...].starts(with: "null".utf8)
                return isList ? value..<end(of: value) : nil
            }
            position = end(of: value)
        }
        return nil
    }

    private func elements(_ list: Range<Int>) -> [Range<Int>] {
        var found: [Range<Int>] = []
        var position = list.lowerBound + 1
        while let start = next(position, list.upperBound), bytes[start] != UInt8(ascii: "]") {
            found.append(start..<end(of: start))
            position = end(of: start)
        }
        return found
    }

    /// The next byte that is neither white space nor a comma.
    private func next(_ position: Int, _ end: Int) -> Int? {
        guard position < end else { return nil }
        return bytes[position..<end].firstIndex { $0 > 0x20 && $0 != UInt8(ascii: ",") }
    }
}
