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
        ("DH", 29),  // dhcp
        ("D6", 7),  // DHCPv6 and SLAAC
        ("HD", 13), ("IV", 8), ("MV", 11), ("TU", 14), ("RO", 10),
        ("DU", 4),
        ("SW", 4),  // switching over
    ]

    /// Those of the meta-plugin, which are written without a hyphen: A09.
    static let multusRows: [(area: String, count: Int)] = [
        ("P", 16), ("R", 8),  // protocol, results
        ("X", 13),  // running plugins
        ("C", 12),  // configuration
        ("A", 36),  // annotations
        ("N", 12),  // definitions and devices
        ("D", 10), ("E", 11),  // ADD and its rollback, DEL
        ("H", 3), ("T", 2), ("G", 4),  // CHECK, STATUS, GC
        ("F", 7),  // default routes
        ("S", 8),  // network-status
        ("L", 4),  // load and log
    ]

    @Test func everyRowHasItsTest() throws {
        let folder = "\(Node.repository)/Tests/EndToEndTests"
        let names = try Shell.sh(
            "grep -hE '^ *(@Test\\()?\"[^\"]*[A-Z][A-Z0-9]-[0-9]{2}' \(folder)/*Rows.swift")
        for (area, count) in Self.rows {
            for row in 1...count {
                let id = "\(area)-\(row < 10 ? "0" : "")\(row)"
                #expect(names.contains(id), "no test names \(id)")
            }
        }
    }

    @Test func everyRowOfMultusHasItsTest() throws {
        let folder = "\(Node.repository)/Tests/EndToEndTests"
        // A display name begins with its rows, or has further ones behind a semicolon; other texts do not count.
        let names = try Shell.sh("grep -hE '^ *(@Test\\()?\"[^\"]*\\b[A-Z][0-9]{2}[,:]' \(folder)/*.swift")
        for (area, count) in Self.multusRows {
            for row in 1...count {
                let id = "\(area)\(row < 10 ? "0" : "")\(row)"
                #expect(try names.contains(Regex("\\b\(id)[,:]")), "no test names \(id)")
            }
        }
    }
}
