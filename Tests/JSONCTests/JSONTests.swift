import Foundation
import JSONC
import Testing
import YAML

@Suite struct JSONDocuments {
    /// Few members are looked for one by one, many by a table.
    @Test(arguments: [1, 40]) func anObjectTakesInAnother(count: Int) {
        var object: JSONObject = ["a": 1, "k0": 2, "b": 3]
        object.merge(JSONObject((0..<count).map { (key: "k\($0)", value: .int(Int64($0))) }))
        #expect(object.members.map(\.key) == ["a", "k0", "b"] + (1..<count).map { "k\($0)" })
        #expect(object["a"] == 1 && object["k0"] == 0 && object["k\(count - 1)"] == .int(Int64(count - 1)))
        object.merge(object) { first, _ in first == 1 ? "one" : first }
        #expect(object["a"] == "one" && object.members.count == count + 2)
    }

    @Test func valuesSurviveARoundTrip() throws {
        let text =
            #"{"b":[1,-2,9007199254740993,18446744073709551615,1.5,true,false,null],"a":{"x":"\"\\\n\u0001é𝄞/"},"e":[],"o":{}}"#
        let value = try JSON.parse(text).value
        #expect(value.print() == text)
        #expect(try JSON.parse(value.print(indent: 4)).value == value)
    }

    @Test func markupIsEscapedAsGoDoes() {
        #expect(JSON.string("<a&b>\u{2028}").print() == #""\u003ca\u0026b\u003e\u2028""#)
    }

    @Test func nothingIsHiddenInWhatIsPrinted() throws {
        let value = JSON.string("\u{1b}\u{7f}\u{85}\u{202e}\u{2066}\u{61c}\u{e0041}é𝄞")
        #expect(value.print() == #""\u001b\u007f\u0085\u202e\u2066\u061c\udb40\udc41é𝄞""#)
        #expect(try JSON.parse(value.print()).value == value)
    }

    @Test(arguments: [
        ("", "empty document"), ("{}x", "unexpected 'x' after the document"), ("{'a':1}", "expected a key"),
        ("[NaN]", "expected a value, found 'N'"), ("[1,]", "expected a value"),
        (#"{"a":1,}"#, "expected a key"),
        ("[01]", "leading zero"), ("[1.]", "expected a digit"), ("[-]", "expected a digit"),
        ("[18446744073709551616]", "more than 64 bits"), ("[\"a\nb\"]", "raw control character"),
        (#"["\x"]"#, "unknown escape"), (#"["\ud800"]"#, "half a surrogate"), (#"{"a\u0000b":1}"#, "NUL"),
        ("[\"abc", "does not end"), ("{\"a\" 1}", "expected ':'"), ("[1 2]", "expected ',' or ']'"),
        ("tru", "expected true"),
        ("/* c */ {}", "expected a value, found '/': JSON has no comments (line 1, column 1)"),
        ("{\"a\": 1,\n  }", "expected a key, found '}': remove the comma before it (line 2, column 3)"),
        ("[1,\n]", "expected a value, found ']': remove the comma before it (line 2, column 1)"),
        ("{}}", "unexpected '}' after the document (line 1, column 3)"),
        ("{'a':1}", "found '\u{27}': keys and strings stand in double quotes"),
        ("{\u{201c}a\": 1}", "found '\u{201c}' (U+201C): keys and strings stand in plain double quotes"),
        ("{a: 1}", "found 'a': words stand in double quotes"), ("[True]", "found 'T': words stand"),
        ("[\u{202e}1]", "expected a value, found U+202E"), ("\u{feff}{}", "byte order mark"),
        ("{\"ä\": \"ö\" x}", "expected ',' or '}', found 'x' (line 1, column 11)"),
        ("{\"a\": \"b,\n\"c\": 1}", "a line break; does the string end?) (line 1, column 10)"),
        ("[1,\n \"abc", "a string does not end (line 2, column 2)"), ("[1", "found the end of the document"),
    ])
    func whatIsNoJSONIsRefusedWithItsPlace(text: String, problem: String) {
        let error = #expect(throws: JSONError.self) { try JSON.parse(text) }
        #expect(error?.problem.contains(problem) == true, "\(String(describing: error))")
    }

    @Test func limitsHold() throws {
        #expect(throws: JSONError.self) { try JSON.parse(String(repeating: "[", count: 129)) }
        let deep = String(repeating: "[", count: 128) + String(repeating: "]", count: 128)
        #expect(try JSON.parse(deep).duplicates.isEmpty)
        #expect(throws: JSONError.self) { try JSON.parse([UInt8](repeating: 0x20, count: 6 << 20 + 1)) }
        #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xff, 0x22]) }
    }

    @Test func aDocumentHasNotMoreValuesThanMemoryAllows() throws {
        let most = "[" + Array(repeating: "{}", count: JSON.maximumCount - 1).joined(separator: ",") + "]"
        let value = try JSON.parse(most).value
        #expect(value.count == JSON.maximumCount && value.isReadable(in: most.utf8.count))
        let more = most.dropLast() + ",0]"
        let error = #expect(throws: JSONError.self) { try JSON.parse(String(more)) }
        #expect(error?.problem.hasPrefix("document of more than 32768 values (line 1") == true)
        #expect(!JSON.array([value]).isReadable(in: most.utf8.count + 2))
        #expect(throws: JSONError.self) { try YAML.parse(Array(more.utf8)) }
        #expect(try YAML.parse(Array(most.utf8)) == value)
    }

    @Test func whatGrowsWhenItIsPrintedIsCut() {
        let text = JSON.array(Array(repeating: .string(String(repeating: "<", count: 2 << 20)), count: 8))
            .bytes()
        #expect((JSON.maximumSize + 1...JSON.maximumSize + 64).contains(text.count))
    }

    /// Each of thousands of members would otherwise be compared with all before it.
    @Test func oneKeyTwiceAmongManyKeepsItsPlace() throws {
        let many = (0..<30000).map { "\"\($0)\":\($0)" }.joined(separator: ",")
        let object = try #require(try JSON.parse("{\(many),\"7\":8}").value.object)
        #expect(object.members.count == 30000 && object.members[7].value == 8)
        #expect(object == JSONObject(object.members.reversed()))
    }

    @Test func whatWouldCostTooMuchOrCannotBeWrittenIsRefused() throws {
        let many = "{" + (0..<102).map { _ in "\"a\":0" }.joined(separator: ",") + "}"
        let error = #expect(throws: JSONError.self) { try JSON.parse(many) }
        #expect(error?.problem.hasPrefix("more than 100 keys stand twice") == true)
        #expect(throws: JSONError.self) { try JSON.parse("[1e999]") }
        #expect(try JSON.parse("[1e300]").value == .array([.double(1e300)]))
    }

    @Test func laterObjectsCompleteEarlierOnesAsInGo() throws {
        let json = try JSON.parse(#"{"a":{"b":1,"c":2},"A":{"c":3},"a":null,"d":1,"d":2}"#)
            .value
        let object = try #require(json.object)
        #expect(object.find("a")?.value["b"] == 1 && object.find("a")?.value["c"] == 3)
        #expect(object.find("d")?.value == 2)
        #expect(try JSON.parse("{\"\u{10fff1}x\":4}").value["\u{10fff1}x"] == 4)
    }

    @Test func duplicatesAreNamedAndTheLastOneCounts() throws {
        let document = try JSON.parse(#"{"a":1,"b":[{"c":1,"\u0063":2}],"a":3}"#)
        #expect(document.duplicates == ["b[0].c", "a"])
        #expect(document.value["a"] == 3)
    }
}

@Suite struct Readers {
    let reader: Reader

    init() throws {
        reader = Reader(
            try JSON.parse(#"{"Name":"x","n":7,"list":[{"a":"b"},5],"nothing":null,"o":{"b":true}}"#).value)
    }

    @Test func keysMatchAsInGo() throws {
        #expect(try reader.string("name") == "x")
        #expect(try reader.int("N") == 7)
        #expect(try reader.string("nothing") == nil)
        #expect(reader.present("nothing"))
        #expect(!reader.has("nothing"))
        #expect(try reader.object("o")?.bool("b") == true)
    }

    @Test func errorsNamePathAndValue() {
        func text(_ body: () throws -> Void) -> String {
            do { try body() } catch { return "\(error)" }
            return ""
        }
        #expect(
            text { _ = try reader.int("name") }
                == "cannot unmarshal: expected an integer, found the string \"x\" (key Name)")
        // What has no members is no object that lacks one.
        #expect(
            text { _ = try reader.list("list")?[1].string("a") }
                == "cannot unmarshal: expected an object, found the number 5 (key list[1])")
        #expect(
            text { _ = try reader.strings("list") }
                == "cannot unmarshal: expected a string, found an object (key list[0])")
        #expect(
            text { try reader.list("list")?[1].requireObject() }
                == "cannot unmarshal: expected an object, found the number 5 (key list[1])")
        #expect(
            text { _ = try reader.int("n", in: 0...5) } == "cannot unmarshal: 7 is outside 0 to 5 (key n)")
    }

    private static let route = Vocabulary(["dst", "gw"]) { key in
        key == "via" ? "gw" : key == "blackhole" ? "there are none here" : nil
    }
    private static let vocabulary = Vocabulary(
        ["bridge", "isGateway", "clusterNetwork", "mtu", "vlan", "routes", "dns"],
        members: [.init("routes", route), .init("dns", Vocabulary(["nameservers"], strictness: .lenient))]
    ) { key in key == "vlanid" ? "vlan" : nil }

    @Test(arguments: [
        (#"{"isGatway":1}"#, #"unknown key "isGatway": did you mean "isGateway"? (key isGatway)"#),
        (#"{"brigde":1}"#, #"unknown key "brigde": did you mean "bridge"? (key brigde)"#),
        (#"{"is_gateway":1}"#, #"unknown key "is_gateway": write "isGateway" (key is_gateway)"#),
        (#"{"vlanId":1}"#, #"unknown key "vlanId": write "vlan" (key vlanId)"#),
        (#"{"VLAN_ID":1,"vlan":0}"#, #"unknown key "VLAN_ID": write "vlan" (key VLAN_ID)"#),
        (#"{"routes":[[{"via":"x"}]]}"#, #"unknown key "via": write "gw" (key routes[0][0].via)"#),
        (
            #"{"routes":[{"blackhole":true}]}"#,
            #"unknown key "blackhole": there are none here (key routes[0].blackhole)"#
        ),
        (
            #"{"vlanId":1,"isGatway":true}"#,
            #"unknown key "vlanId": write "vlan" (key vlanId); unknown key "isGatway": did you mean "isGateway"?"#
                + " (key isGatway)"
        ),
    ])
    func keysThatMeanOthersAreRefused(document: String, problem: String) throws {
        let json = try JSON.parse(document).value
        let error = #expect(throws: JSONError.self) { try Reader(json).judge(Self.vocabulary) }
        #expect(error?.description == problem)
    }

    @Test(arguments: [
        (#"{"BRIDGE":1,"_note":1,"//":1,"Comment":"x"}"#, []), (#"{"volume":1}"#, ["volume"]),
        (#"{"vlanId":0,"isGatway":false,"brigde":"","volume":[],"routes":null}"#, []),
        // The key that is meant has its value already.
        (#"{"vlanId":5,"vlan":5}"#, ["vlanId"]),
        (#"{"routes":[{"dst":"x","dev":"y"},5]}"#, ["routes[0].dev"]),
        (#"{"dns":{"nameserver":["x"]}}"#, ["dns.nameserver"]), ("[]", []), ("5", []),
    ])
    func keysThatMeanNothingAreNamed(document: String, unknown: [String]) throws {
        #expect(try Reader(JSON.parse(document).value).judge(Self.vocabulary) == unknown)
        #expect(try Reader(JSON.parse(document).value).judge(Vocabulary([], strictness: .open)) == [])
    }
}

@Suite struct Manifests {
    @Test func aDefinitionAsKubectlPrintsIt() throws {
        let text = """
            apiVersion: k8s.cni.cncf.io/v1
            kind: NetworkAttachmentDefinition
            metadata:
              annotations:
                note: "true"
                empty: ""
              generation: 1
              name: net-a
            spec:
              config: |-
                {"type": "bridge",
                 "x": 1}
              list: [a, 2, 2.5, yes, null, ~, -3, 1e3]
            """
        let json = try YAML.parse(Array(text.utf8))
        #expect(json["metadata"]?["annotations"]?["note"] == "true")
        #expect(json["metadata"]?["generation"] == 1)
        #expect(json["spec"]?["config"] == "{\"type\": \"bridge\",\n \"x\": 1}")
        #expect(json["spec"]?["list"] == ["a", 2, .double(2.5), "yes", .null, .null, -3, .double(1000)])
    }

    @Test(arguments: [
        ("a: 1\na: 2", "stands twice"), ("a: &x 1", "anchors"), ("a: *x", "aliases"), ("a: !!str 1", "tags"),
        ("a: 1\n---\nb: 2", "more than one document"), ("a: [1", "did not find"),
        ("<<: {a: 1}", "merge keys"),
        ("? [a]\n: 1", "no scalar"), (String(repeating: "[", count: 65), "deeper"),
    ])
    func whatKubectlNeverPrintsIsRefused(text: String, problem: String) {
        let error = #expect(throws: JSONError.self) { try YAML.parse(Array(text.utf8)) }
        #expect(error?.problem.contains(problem) == true, "\(String(describing: error))")
    }
}

@Suite struct Base64Tests {
    @Test(arguments: ["", "f", "fo", "foo", "foob", "fooba", "foobar"])
    func bothWays(text: String) {
        let encoded = encodedBase64(Array(text.utf8))
        #expect(encoded == Data(text.utf8).base64EncodedString())
        #expect(decodedBase64(encoded) == Array(text.utf8))
    }
}
