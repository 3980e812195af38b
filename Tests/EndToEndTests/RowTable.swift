import Foundation
import Support
import Testing

/// Which rows of the reference checklists this part of the program answers for. Each is named in the display name of
/// the test that proves it, so that `grep -rn BR-21 Tests` finds the proof.
@Suite struct RowTable {
    static let rows: [(area: String, count: Int)] = [
        ("SK", 14),  // process envelope, verbs, decoding
        ("RS", 7),  // results and prevResult
        ("AR", 2),  // CNI_ARGS
        ("IP", 6),  // IPAM delegation
        ("IF", 13),  // addresses and routes
        ("BR", 40), ("HL", 23), ("ST", 5), ("LO", 5),
        ("HD", 13), ("IV", 8), ("MV", 11), ("TU", 14), ("RO", 10),
        ("DU", 4),
        ("SW", 4),  // switching over
    ]

    @Test func everyRowHasItsTest() throws {
        let folder = "\(Node.repository)/Tests/EndToEndTests"
        let names = try Shell.sh("grep -hE '^ *(@Test\\()?\"[^\"]*[A-Z]{2}-[0-9]{2}' \(folder)/*Rows.swift")
        for (area, count) in Self.rows {
            for row in 1...count {
                let id = "\(area)-\(row < 10 ? "0" : "")\(row)"
                #expect(names.contains(id), "no test names \(id)")
            }
        }
    }
}
