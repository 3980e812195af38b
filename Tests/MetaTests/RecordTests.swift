import CNI
import JSONC
import Networking
import Plans
import Testing

@testable import Meta
@testable import Records

/// A record's file: a line that says what is to be attached, and lines that say what was.
@Suite struct Records {
    private static let id = AttachmentID(containerID: "c1", interface: "eth0")

    private static func record(_ interfaces: String...) throws -> PodRecord {
        let list = try NetworkList.decode(
            JSON.parse(#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}"#).value,
            defaultName: nil)
        return PodRecord(
            id: id, network: "top", sandbox: "/run/netns/a",
            entries: interfaces.map { interface in
                let spec = AttachmentSpec(
                    name: "net", id: AttachmentID(containerID: "c1", interface: interface),
                    sandbox: "/run/netns/a", args: "", list: list, searchPath: ["/opt/cni/bin"])
                return PodRecord.Entry(spec: spec)
            })
    }

    private static func attached(_ address: String) -> Attached {
        var attached = Attached(
            result: CNIResult(), saved: ["net/ipv4/x": "1"],
            given: IPAddress(parsing: address).map { [$0] })
        attached.index = 7
        return attached
    }

    private static func line(_ record: PodRecord, _ entries: Range<Int>) throws -> [UInt8] {
        try record.json(of: entries).sealed()
    }

    @Test func aLaterLineSaysWhatBecameOfSomeEntries() throws {
        var record = try Self.record("eth0", "net1", "net2")
        var bytes = try record.json().sealed()
        #expect(try PodRecord(sealed: bytes, Self.id).entries.allSatisfy { $0.attached == nil })
        record.entries[1].attached = Attached(saved: ["net/ipv4/y": "2"])
        bytes += try Self.line(record, 1..<2)
        #expect(
            try PodRecord(sealed: bytes, Self.id).entries.map(\.attached) == record.entries.map(\.attached))
        for index in 0...2 { record.entries[index].attached = Self.attached("10.0.0.\(index + 2)") }
        bytes += try Self.line(record, 0..<3)
        let read = try PodRecord(sealed: bytes, Self.id)
        #expect(read.entries.map(\.attached) == record.entries.map(\.attached))
        #expect(read.entries.map(\.spec.id.interface) == ["eth0", "net1", "net2"])
    }

    /// As a process leaves it that is killed while it writes, wherever that is.
    @Test func aLineWithoutItsEndWasNotWritten() throws {
        var record = try Self.record("eth0")
        let first = try record.json().sealed()
        record.entries[0].attached = Self.attached("10.0.0.2")
        let second = try Self.line(record, 0..<1)
        for count in second.indices {
            #expect(
                try PodRecord(sealed: first + second[..<count], Self.id).entries[0].attached == nil,
                "\(count)")
        }
        #expect(try PodRecord(sealed: first + second, Self.id).entries[0].attached != nil)
    }

    @Test func aChangedBitAnywhereMakesItUnusable() throws {
        var record = try Self.record("eth0")
        record.entries[0].attached = Self.attached("10.0.0.2")
        let whole = try record.json().sealed() + (try Self.line(record, 0..<1))
        // But that of the last end, without which there is no last line.
        for index in whole.indices.dropLast() {
            var bytes = whole
            bytes[index] ^= 4
            #expect(throws: JSONError.self, "\(index)") { try PodRecord(sealed: bytes, Self.id) }
        }
    }

    @Test func aLineOfOtherEntriesIsRefused() throws {
        var record = try Self.record("eth0", "net1")
        let first = try record.json().sealed()
        record.entries[1].attached = Self.attached("10.0.0.2")
        for text in ["-1", "1", "2", "9223372036854775807", "\"0\"", "null"] {
            let line = try JSON.parse("{\"first\":\(text),\"attached\":[{},{}]}").value.sealed()
            #expect(throws: JSONError.self, "\(text)") { try PodRecord(sealed: first + line, Self.id) }
        }
    }

    /// Written by an earlier release: one line without an end, which has all.
    @Test func anEarlierReleasesRecordIsRead() throws {
        var record = try Self.record("eth0")
        record.entries[0].attached = Self.attached("10.0.0.2")
        let bytes = try record.json().sealed().dropLast()
        #expect(
            try PodRecord(sealed: Array(bytes), Self.id).entries[0].attached == record.entries[0].attached)
    }
}
