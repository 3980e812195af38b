import Foundation
import Testing

/// The page that leads newcomers through the files names files, types and functions that are there.
@Suite struct ArchitectureTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    private let page: String
    /// Paths below Sources.
    private let files: Set<String>
    /// Names that some file declares.
    private let declared: Set<String>

    init() throws {
        let sources = "\(Self.repository)/Sources"
        page = try String(
            contentsOfFile: "\(sources)/plexus/Documentation.docc/Architecture.md", encoding: .utf8)
        files = Set(
            try FileManager.default.subpathsOfDirectory(atPath: sources).filter { $0.hasSuffix(".swift") })
        let keywords: Set = ["enum", "struct", "class", "actor", "protocol", "func", "var", "let", "case"]
        var declared: Set<String> = []
        for file in files {
            let text = try Data(contentsOf: URL(fileURLWithPath: "\(sources)/\(file)"))
            var isNext = false
            let isOfName: (UInt8) -> Bool = {
                $0 >= 0x41 && $0 != 0x5b && $0 != 0x7b || (0x30...0x39).contains($0)
            }
            for word in text.split(whereSeparator: { !isOfName($0) }) {
                let word = String(decoding: word, as: UTF8.self)
                if isNext { declared.insert(word) }
                isNext = keywords.contains(word)
            }
        }
        self.declared = declared
    }

    @Test func everyFileIsThere() {
        let named = page.matches(of: #/[A-Za-z]+(?:/[A-Za-z+]+)+\.swift/#).map { String($0.output) }
            .filter { !$0.contains("NAME") }
        #expect(named.count > 30)
        for path in named where !files.contains(path) {
            #expect(FileManager.default.fileExists(atPath: "\(Self.repository)/\(path)"), "\(path)")
        }
    }

    @Test func everyTypeAndFunctionIsThere() {
        let named = page.matches(of: #/`([A-Z]+[a-z][A-Za-z]*)(?:\.([a-z][A-Za-z]+))?`/#)
        #expect(named.count > 60)
        for match in named {
            for name in [match.output.1, match.output.2].compactMap(\.self) {
                let isThere = declared.contains(String(name))
                #expect(isThere, "\(match.output.0)")
            }
        }
    }
}
