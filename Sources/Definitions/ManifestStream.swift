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
        var input = isJSON ? json(bytes) : yaml(bytes)
        if first == nil { input.problem = "it is empty: what wrote it failed" }
        if input.pieces.count == 1 { input.pieces[0].place = "" }
        return input
    }

    private static func json(_ bytes: [UInt8]) -> Input {
        let text = JSONText(bytes)
        var input = Input()
        for (number, document) in text.documents.enumerated() {
            let items = text.items(document)
            if items != nil { input.isList = true }
            for (index, item) in (items ?? [document]).enumerated() {
                let place = items == nil ? "document \(number + 1)" : "items[\(index)]"
                input.pieces.append(Piece(place: place, text: bytes[item], isJSON: true))
            }
        }
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
