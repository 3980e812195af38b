package import JSONC
import YAML

/// What `kubectl get -o json|yaml` prints: objects, documents of objects, or a List, taken apart before they are parsed. A
/// cluster's List is many times what one document may be.
package enum ManifestStream {
    /// One object's text, and where it is: `items[3]` or `document 2`; empty for the only one.
    package struct Piece {
        package var place: String
        fileprivate var text: ArraySlice<UInt8>
        fileprivate var isJSON: Bool

        package func parse() throws(JSONError) -> JSON {
            isJSON ? try JSON.parse(Array(text)).value : try YAML.parse(Array(text))
        }
    }

    /// All of an input.
    package struct Input {
        package fileprivate(set) var pieces: [Piece] = []
        /// Whether it is a List: of its kinds there is nothing else then.
        package fileprivate(set) var isList = false
        /// Why it cannot be all that was printed; nil where nothing shows that. JSON shows it when it is parsed.
        package fileprivate(set) var problem: String?
    }

    package static func read(_ bytes: [UInt8]) -> Input {
        let first = bytes.first { $0 > 0x20 }
        let isJSON = first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
        var input = isJSON ? JSONSplitter(bytes).input() : yaml(bytes)
        if first == nil { input.problem = "it is empty: what wrote it failed" }
        if input.pieces.count == 1 { input.pieces[0].place = "" }
        return input
    }

    // MARK: YAML

    private static func yaml(_ bytes: [UInt8]) -> Input {
        var input = Input()
        if bytes.last != UInt8(ascii: "\n") { input.problem = "its last line has no end: it was cut off" }
        let documents = documents(lines(bytes[...]))
        for (index, lines) in documents.enumerated() {
            if let items = items(lines) {
                input.isList = true
                // kubectl prints the kind behind the items.
                if !lines.contains(where: { isKindOfList($0) }) {
                    input.problem = "its items are of no List: it was cut off"
                }
                for (place, item) in items.enumerated() {
                    input.pieces.append(Piece(place: "items[\(place)]", text: item[...], isJSON: false))
                }
            } else if lines.contains(where: { !isBlank($0) }) {
                if lines.contains(where: isKindOfList) { input.isList = true }
                let text = Array(lines.joined(separator: [UInt8(ascii: "\n")]))
                input.pieces.append(Piece(place: "document \(index + 1)", text: text[...], isJSON: false))
            }
        }
        return input
    }

    private static func isKindOfList(_ line: Line) -> Bool {
        line.starts(with: Array("kind: ".utf8))
            && line.reversed().drop { $0 <= 0x20 }.starts(with: Array("tsiL".utf8))
    }

    private typealias Line = ArraySlice<UInt8>

    private static func lines(_ bytes: Line) -> [Line] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    }

    private static func isBlank(_ line: Line) -> Bool {
        line.first { $0 > 0x20 }.map { $0 == UInt8(ascii: "#") } ?? true
    }

    private static func documents(_ lines: [Line]) -> [[Line]] {
        // What is between two of them is indented, also in a block of text.
        lines.split(omittingEmptySubsequences: false) {
            $0.starts(with: Array("---".utf8)) && $0.dropFirst(3).allSatisfy { $0 <= 0x20 }
        }.map(Array.init)
    }

    /// The elements of a List's `items`, each indented as a document of its own; nil for another document.
    private static func items(_ lines: [Line]) -> [[UInt8]]? {
        guard let start = lines.firstIndex(where: { $0.starts(with: Array("items:".utf8)) }),
            lines[start].dropFirst(6).allSatisfy({ $0 <= 0x20 })
        else { return nil }
        let rest = lines[(start + 1)...]
        guard let first = rest.first(where: { !isBlank($0) }) else { return nil }
        let indent = first.prefix { $0 == UInt8(ascii: " ") }.count
        guard first.dropFirst(indent).starts(with: Array("- ".utf8)) else { return nil }
        var items: [[UInt8]] = []
        for line in rest {
            let depth = line.prefix { $0 == UInt8(ascii: " ") }.count
            let begins = depth == indent && line.dropFirst(indent).first == UInt8(ascii: "-")
            // The List's own further keys.
            if !begins, !isBlank(line), depth <= indent { break }
            if begins { items.append([]) }
            guard !items.isEmpty else { continue }
            items[items.count - 1] += line.dropFirst(indent + 2) + [UInt8(ascii: "\n")]
        }
        return items
    }
}

/// Finds where JSON documents and the elements of their `items` begin and end; what is in them is the parser's matter.
private struct JSONSplitter {
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func input() -> ManifestStream.Input {
        var input = ManifestStream.Input()
        var position = 0
        var number = 1
        while let start = bytes[position...].firstIndex(where: { $0 > 0x20 }) {
            let end = self.end(of: start)
            let items = self.items(start..<end)
            if items != nil { input.isList = true }
            for (index, item) in (items ?? [start..<end]).enumerated() {
                let place = items == nil ? "document \(number)" : "items[\(index)]"
                input.pieces.append(.init(place: place, text: bytes[item], isJSON: true))
            }
            number += 1
            position = end
        }
        return input
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
    private func items(_ object: Range<Int>) -> [Range<Int>]? {
        guard bytes[object.lowerBound] == UInt8(ascii: "{") else { return nil }
        var position = object.lowerBound + 1
        while let key = next(position, object.upperBound), bytes[key] == UInt8(ascii: "\"") {
            let colon = next(endOfText(key), object.upperBound)
            guard let colon, let value = next(colon + 1, object.upperBound) else { return nil }
            if bytes[key..<endOfText(key)].elementsEqual("\"items\"".utf8) {
                // As Go prints a list without elements.
                if bytes[value...].starts(with: "null".utf8) { return [] }
                return bytes[value] == UInt8(ascii: "[") ? elements(value..<end(of: value)) : nil
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
