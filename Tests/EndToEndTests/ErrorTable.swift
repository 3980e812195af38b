import Foundation
import Support
import Testing

/// Every row of the documentation's table of errors, run.
@Suite struct ErrorTable {
    struct Row: Sendable, CustomTestStringConvertible {
        let plugin: String
        let verb: String
        let keys: String
        let given: String
        let code: Int
        let message: String
        let fix: String
        var testDescription: String { "\(plugin) \(verb): \(message)" }

        /// A line of the page; nil for one that is no row.
        init?(_ line: Substring) {
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            guard cells.count == 8, let code = Int(cells[4]) else { return nil }
            let words = cells[1].split(separator: " ").map(String.init)
            (plugin, verb) = (words[0], words[1])
            keys = cells[2].trimmingCharacters(in: ["`"])
            given = cells[3].trimmingCharacters(in: ["`"])
            (self.code, message, fix) = (code, cells[5], cells[6])
        }
    }

    static let rows: [Row] = {
        let page = "\(Node.repository)/Sources/plexus/Documentation.docc/Errors.md"
        let text = (try? String(contentsOfFile: page, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { Row($0) }
    }()

    @Test func thereAreRows() { #expect(Self.rows.count > 50) }

    @Test(arguments: rows)
    func refusesAsWritten(row: Row) throws {
        let node = try Node()
        _ = try node.pod("a")
        if !row.given.isEmpty {
            let line = row.given.replacing("DIR", with: node.directory).replacing(
                "POD", with: "\(node.name)-a")
            try node.sh(line)
        }
        let before = try (node.links(), node.links(pod: "a"), node.leases())
        let version = row.keys.contains("\"cniVersion\":\"0.2.0\"") ? "0.2.0" : "1.0.0"
        let config = """
            {"cniVersion":"\(version)","name":"net","type":"\(row.plugin)"\(row.keys.isEmpty ? "" : ",")\(row.keys)}
            """
        let answer = try node.call(
            row.verb, role: row.plugin, netns: "/run/netns/\(node.name)-a", path: "/none",
            config.replacing("DIR", with: node.directory))
        #expect(answer.status == 1)
        #expect(answer.code == row.code, "\(answer.ran.output)")
        #expect(matches(answer.message, row.message), "\(answer.message)")
        #expect(
            !row.fix.isEmpty && matches(answer.json["details"].string ?? "", row.fix), "\(answer.ran.output)")
        #expect(try before == (node.links(), node.links(pod: "a"), node.leases()))
    }

    /// `...` in the pattern stands for anything.
    private func matches(_ text: String, _ pattern: String) -> Bool {
        var rest = text[...]
        for (index, part) in pattern.components(separatedBy: "...").enumerated() {
            guard let range = part.isEmpty ? rest.startIndex..<rest.startIndex : rest.range(of: part) else {
                return false
            }
            if index == 0, range.lowerBound != rest.startIndex { return false }
            rest = rest[range.upperBound...]
        }
        return pattern.hasSuffix("...") || rest.isEmpty
    }
}
