import CNI
import Definitions
import JSONC
import Plans
import Testing

@testable import Meta
@testable import Records

@Suite struct HotPlugTests {
    /// `NETWORK@INTERFACE`; a `!` in front for one that the pod has not by its annotation.
    private static func record(_ has: [String], missing: [String] = []) throws -> PodRecord {
        let list = try NetworkList.decode(
            JSON.parse(#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}"#).value,
            defaultName: nil)
        func entry(_ text: String) -> PodRecord.Entry {
            let parts = text.trimmingPrefix("!").split(separator: "@").map(String.init)
            var spec = AttachmentSpec(
                name: parts[0], id: AttachmentID(containerID: "c1", interface: parts[1]),
                sandbox: "/run/netns/a", args: "", list: list, searchPath: [])
            spec.isAsked = !text.hasPrefix("!")
            return PodRecord.Entry(spec: spec)
        }
        var record = PodRecord(
            id: AttachmentID(containerID: "c1", interface: "eth0"), network: "top", sandbox: "/run/netns/a",
            entries: (["!d@eth0"] + has).map(entry))
        record.missing = missing.map { MissingNetwork(name: $0, problem: "") }
        return record
    }

    private static func changes(
        _ wanted: String, _ has: [String], missing: [String] = []
    ) throws -> [HotPlug.Change] {
        HotPlug(try Selection.parse(wanted, source: "test"), in: "ns", try record(has, missing: missing))
            .changes
    }

    @Test(
        "HP-01, HP-02: what is wanted and not there comes, what is there and not wanted goes",
        arguments: [
            ("a@net1", ["ns/a@net1"], []),
            ("", ["ns/a@net1"], [.detach("net1")]),
            ("a@net1,b@net2", ["ns/a@net1"], [.attach(1)]),
            ("a,b", ["ns/a@net1", "ns/b@net2"], []),
            ("b", ["ns/a@net1", "ns/b@net2"], [.detach("net1")]),
            ("a,a", ["ns/a@net1"], [.attach(1)]),
            ("a", ["ns/a@net1", "ns/a@net2"], [.detach("net2")]),
            ("a@net2", ["ns/a@net1", "ns/a@net2"], [.detach("net1")]),
            ("other/a", ["ns/a@net1"], [.attach(0), .detach("net1")]),
            ("", ["!kube-system/x@net1"], []),
        ] as [(String, [String], [HotPlug.Change])])
    func differences(wanted: String, has: [String], changes: [HotPlug.Change]) throws {
        #expect(try Self.changes(wanted, has) == changes)
    }

    @Test("a record of an earlier release, which does not say who asked, stays as it is")
    func unknown() throws {
        var record = try Self.record(["ns/a@net1"])
        record.entries[1].spec.isAsked = nil
        #expect(HotPlug(try Selection.parse("b", source: "test"), in: "ns", record).changes.isEmpty)
    }

    @Test("HP-04: an interface whose name is wanted again goes first, the others last")
    func order() throws {
        let changes = try Self.changes("b@net1,c", ["ns/a@net1", "ns/d@net2"])
        #expect(changes == [.detach("net1"), .attach(0), .attach(1), .detach("net2")])
    }

    @Test("an optional network that the pod started without is not tried again")
    func optional() throws {
        let wanted = #"[{"name":"a","optional":true},{"name":"b"}]"#
        #expect(try Self.changes(wanted, ["ns/b@net2"], missing: ["ns/a"]).isEmpty)
        #expect(try Self.changes(wanted, ["ns/b@net2"]) == [.attach(0)])
    }

    @Test(
        "each element of an annotation is an annotation by itself",
        arguments: [
            ("a@net1, other/b", ["a@net1", "other/b"]),
            (
                #"[{"name":"a","ips":["10.0.0.1/8"]},{"name":"b"}]"#,
                [#"[{"name":"a","ips":["10.0.0.1/8"]}]"#, #"[{"name":"b"}]"#]
            ),
            ("", []),
        ])
    func texts(annotation: String, elements: [String]) throws {
        #expect(Selection.texts(annotation) == elements)
        let whole = try Selection.parse(annotation, source: "test")
        let single = try elements.flatMap { try Selection.parse($0, source: "test") }
        #expect(whole.map(\.name) == single.map(\.name) && whole.map(\.ips) == single.map(\.ips))
    }
}
