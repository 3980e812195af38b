import Foundation
import Support
import Testing

/// The protocol between runtime and meta-plugin: verbs, variables, errors and the shapes of results.
@Suite struct MultusProtocolRows {
    private let pod: RecordedNode

    init() throws { pod = try RecordedNode("second") }

    /// A call with exactly these variables.
    private func raw(
        _ variables: [String: String], _ input: String, role: String = "plexus", redirection: String = ""
    ) throws -> Answer {
        let line = "exec ip netns exec \(pod.node.name) \(pod.directory)/bin/\(role) \(redirection)"
        return Answer(ran: try Shell.run(["sh", "-c", line], input: input, environment: variables))
    }

    private var variables: [String: String] {
        [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": pod.netns, "CNI_IFNAME": "eth0",
            "CNI_PATH": "/none", "CNI_ARGS": MetaEndToEnd.pod,
        ]
    }

    private func call(_ changes: [String: String?] = [:], _ config: String? = nil) throws -> Answer {
        let all = variables.merging(changes.compactMapValues { $0 }) { _, new in new }
        return try raw(all.filter { changes[$0.key] != .some(nil) }, config ?? pod.config())
    }

    // MARK: Verbs

    @Test(
        "P01: VERSION prints one line with the versions, with stdin closed",
        arguments: ["plexus", "multus", "multus-shim"])
    func version(role: String) throws {
        if role == "multus-shim" { try Shell.sh("ln -s multus \(pod.directory)/bin/multus-shim") }
        let answer = try raw(["CNI_COMMAND": "VERSION"], "", role: role, redirection: "<&-")
        #expect(answer.status == 0 && answer.ran.output.filter { $0 == "\n" }.count == 1, "\(answer.ran)")
        #expect(answer.json["cniVersion"].string == "1.1.0")
        #expect(
            answer.json["supportedVersions"].list.map(\.string)
                == ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    }

    @Test("P02: without CNI_COMMAND there is a text on stderr, and no error")
    func bare() throws {
        let answer = try raw([:], "")
        #expect(answer.status == 0 && answer.ran.output.isEmpty, "\(answer.ran)")
        #expect(answer.ran.errors.contains("CNI"), "\(answer.ran)")
    }

    @Test(
        "P03, P04, P10: variables that are missing or make no sense",
        arguments: [
            (["CNI_COMMAND": "FOO"], ["unknown CNI_COMMAND: FOO"]),
            (["CNI_NETNS": nil, "CNI_IFNAME": nil], ["CNI_NETNS", "CNI_IFNAME"]),
            (["CNI_CONTAINERID": nil, "CNI_NETNS": nil], ["CNI_CONTAINERID", "CNI_NETNS"]),
            (["CNI_CONTAINERID": "a/b"], ["a/b"]), (["CNI_IFNAME": "sixteen-bytes-ab"], ["sixteen-bytes-ab"]),
            (["CNI_IFNAME": "e:h"], ["e:h"]),
        ] as [([String: String?], [String])])
    func variables(changes: [String: String?], words: [String]) throws {
        let answer = try call(changes)
        #expect(answer.status == 1 && answer.code == 4, "\(answer.ran)")
        for word in words { #expect(answer.ran.output.contains(word), "\(answer.ran)") }
        #expect(try pod.calls().isEmpty)
    }

    @Test("P05: DEL does without CNI_NETNS")
    func deleteWithoutNamespace() throws {
        #expect(try call().status == 0)
        let answer = try call(["CNI_COMMAND": "DEL", "CNI_NETNS": nil])
        #expect(answer.status == 0 && answer.ran.output.isEmpty, "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "DEL master eth0"])
    }

    // MARK: Errors

    /// What is called with which configuration, and the code of the error.
    static let refusals: [(verb: String, config: String, code: Int)] = [
        ("ADD", "", 6), ("ADD", "{", 6), ("ADD", "{}x", 6), ("ADD", "GOODx", 6), ("ADD", "[]", 6),
        ("ADD", #"{"cniVersion":"9.9.9","name":"n","type":"plexus"}"#, 1),
        ("ADD", #"{"cniVersion":"1.0.0","type":"plexus"}"#, 7),
        ("ADD", #"{"cniVersion":"1.0.0","name":"","type":"plexus"}"#, 7),
        ("ADD", #"{"cniVersion":"1.0.0","name":"a b","type":"plexus"}"#, 7),
        ("CHECK", #"{"cniVersion":"0.3.1","name":"n","type":"plexus"}"#, 1),
        ("GC", #"{"cniVersion":"1.0.0","name":"n","type":"plexus"}"#, 1),
        ("STATUS", #"{"cniVersion":"1.0.0","name":"n","type":"plexus"}"#, 1),
    ]

    @Test(
        "P06, P07, P09, P11, P12: an error is one JSON object on stdout, the log is not", arguments: refusals)
    func refused(verb: String, config: String, code: Int) throws {
        let good = pod.config(extra: #","logLevel":"debug""#)
        let answer = try call(["CNI_COMMAND": verb], config.replacing("GOOD", with: good))
        #expect(answer.status == 1 && answer.code == code, "\(answer.ran)")
        #expect(answer.json.keys.isSubset(of: ["cniVersion", "code", "msg", "details"]), "\(answer.ran)")
        #expect(!answer.message.isEmpty)
        #expect(try pod.calls().isEmpty)
        if config.contains("9.9.9") {
            for version in ["0.1.0", "0.4.0", "1.1.0"] {
                #expect(answer.details.contains(version), "\(answer.ran)")
            }
        }
    }

    @Test("P06: what a plugin or the log says on stderr stays off stdout")
    func streams() throws {
        try pod.plugin("second", #"{"code":101,"msg":"no"}"#, "echo noise >&2")
        try pod.define("second")
        let answer = try pod.call("ADD", networks: "second", extra: #","logLevel":"debug""#)
        #expect(answer.status == 1 && answer.code == 101, "\(answer.ran)")
        #expect(
            answer.ran.errors.contains("[error]") && answer.ran.errors.contains("[verbose]"), "\(answer.ran)")
    }

    @Test("P13: the meta-plugin's own namespace is refused, unless overridden")
    func ownNamespace() throws {
        let own = ["CNI_NETNS": "/proc/self/ns/net"]
        let refused = try call(own)
        #expect(refused.status == 1 && refused.code == 8, "\(refused.ran)")
        #expect(try pod.calls().isEmpty)
        let answer = try call(own.merging(["CNI_NETNS_OVERRIDE": "True"]) { own, _ in own })
        #expect(answer.status == 0, "\(answer.ran)")
    }

    @Test(
        "P14: an argument that is not known, without IgnoreUnknown and with it at any place",
        arguments: [
            ("COLOUR=red", false), ("IgnoreUnknown=0;COLOUR=red", false),
            ("IgnoreUnknown=1;COLOUR=red", true),
            ("COLOUR=red;IgnoreUnknown=1", true), ("COLOUR=red;IgnoreUnknown=true;FORM=round", true),
            ("COLOUR=red;IgnoreUnknown=TRUE", true), ("COLOUR=red;IgnoreUnknown=maybe", false),
        ])
    func arguments(args: String, passes: Bool) throws {
        let answer = try call(["CNI_ARGS": args])
        #expect((answer.status == 0) == passes, "\(answer.ran)")
        #expect(try pod.calls().isEmpty == !passes)
    }

    @Test("P15: DEL, CHECK, GC and STATUS print nothing when they succeed")
    func silent() throws {
        let config = pod.config(
            version: "1.1.0", extra: #","cni.dev/valid-attachments":[],"logLevel":"debug""#)
        #expect(try call([:], config).status == 0)
        for verb in ["CHECK", "STATUS", "GC", "DEL"] {
            let answer = try pod.call(verb, config)
            #expect(answer.status == 0 && answer.ran.output.isEmpty, "\(verb): \(answer.ran)")
        }
    }

    @Test(
        "P16: an ADD that is killed has written its result wholly or not at all",
        arguments: ["write", "renameat", "close"])
    func killed(call name: String) throws {
        var outcomes: Set<String> = []
        for count in stride(from: 1, through: 400, by: name == "close" ? 7 : 1) {
            let trace = "\(pod.directory)/trace"
            let answer = try pod.call(
                "ADD", pod.config(), id: "c\(count)",
                prefix: [
                    "strace", "-o", trace, "-e", "trace=\(name)", "-e",
                    "inject=\(name):signal=KILL:when=\(count)",
                ])
            #expect(
                answer.ran.output.isEmpty || answer.json["ips"].exists || answer.json["interfaces"].exists)
            outcomes.insert(answer.ran.output.isEmpty ? "none" : "whole")
            if try !Shell.sh("cat \(trace)").contains("killed by SIGKILL") { break }
        }
        #expect(outcomes == ["none", "whole"])
    }

    // MARK: Results

    /// What the plugin of the default network prints, in the answer of a call in another version.
    @Test(
        "R01, R02, R03, R05: the result in the call's version, whatever the plugin's",
        arguments: [
            (
                "0.4.0", "0.2.0",
                #"{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.1.0.2/24","gateway":"10.1.0.1"},{"version":"4","address":"10.2.0.2/24"},{"version":"6","address":"fd00::2/64"}],"routes":[{"dst":"10.9.0.0/16"},{"dst":"fd09::/48","gw":"fd00::1"}]}"#,
                #"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24","gateway":"10.1.0.1","routes":[{"dst":"10.9.0.0/16"}]},"ip6":{"ip":"fd00::2/64","routes":[{"dst":"fd09::/48","gw":"fd00::1"}]},"dns":{}}"#
            ),
            (
                "0.2.0", "1.0.0",
                #"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]}}"#,
                #"{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1"}],"routes":[{"dst":"0.0.0.0/0"}]}"#
            ),
            (
                "1.1.0", "0.4.0",
                #"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/s","mtu":1400,"socketPath":"/x","pciID":"0000:00:01.0"}],"ips":[{"address":"10.1.0.2/24","interface":0}]}"#,
                #"{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","sandbox":"/s"}],"ips":[{"version":"4","address":"10.1.0.2/24","interface":0}],"dns":{}}"#
            ),
            (
                "0.3.1", "1.0.0",
                #"{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.0.2/24"}],"dns":{}}"#,
                #"{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24"}]}"#
            ),
        ])
    func converted(from: String, to: String, printed: String, expected: String) throws {
        try pod.plugin("master", printed)
        let delegates = #""delegates":[{"cniVersion":"\#(from)","name":"first","type":"master"}]"#
        let answer = try call([:], pod.config(version: to, delegates: delegates))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(
            answer.json.value as? NSDictionary == (try Tree(parsing: expected)).value as? NSDictionary,
            "\(answer.ran)")
        #expect(try pod.calls().first?.input["cniVersion"].string == from)
    }

    @Test("R04: a result without addresses cannot be said in 0.2.0, and is undone")
    func inexpressible() throws {
        let delegates = #""delegates":[{"cniVersion":"0.4.0","name":"first","type":"master"}]"#
        try pod.plugin("master", RecordedNode.result("0.4.0"))
        let answer = try call([:], pod.config(version: "0.2.0", delegates: delegates))
        #expect(answer.status == 1 && answer.message.contains("no valid IP addresses"), "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "DEL master eth0"])
        #expect(try pod.node.files("state").isEmpty)
    }

    @Test("R06: prevResult is in the version of the list, whatever the plugin before printed")
    func previous() throws {
        try pod.plugin(
            "master", RecordedNode.result("1.0.0", #""ips":[{"address":"10.1.0.2/24","interface":0}]"#))
        let list =
            #""delegates":[{"cniVersion":"0.4.0","name":"first","plugins":[{"type":"master"},{"type":"second"}]}]"#
        try pod.plugin("second", RecordedNode.result("0.4.0"))
        #expect(try call([:], pod.config(delegates: list)).status == 0)
        let given = try pod.calls()[1].input["prevResult"]
        #expect(given["cniVersion"].string == "0.4.0" && given["ips"][0]["version"].string == "4", "\(given)")
    }

    @Test("R07, P08: a result without a version is in its configuration's, and one without is 0.1.0")
    func unversioned() throws {
        let (old, new) = (#"{"ip4":{"ip":"10.1.0.2/24"}}"#, #"{"ips":[{"address":"10.1.0.2/24"}]}"#)
        for (version, printed) in [("", old), (#""cniVersion":"1.0.0","#, new)] {
            try pod.plugin("master", printed)
            let delegates = #""delegates":[{\#(version)"name":"first","type":"master"}]"#
            for call in ["", "0.4.0", "1.0.0"] {
                let config = pod.config(version: call, delegates: delegates)
                let answer = try pod.call(
                    "ADD",
                    call.isEmpty
                        ? config.replacing(#""cniVersion":"","name":"node"#, with: #""name":"node"#) : config)
                #expect(answer.status == 0, "\(answer.ran)")
                let address = call.isEmpty ? answer.json["ip4"]["ip"] : answer.json["ips"][0]["address"]
                #expect(address.string == "10.1.0.2/24", "\(answer.ran)")
                #expect(try pod.call("DEL", config).status == 0)
            }
        }
    }

    @Test(
        "R08: nothing on stdout is an error, null is an empty result",
        arguments: [("", false), (" ", false), ("null", true)])
    func empty(printed: String, passes: Bool) throws {
        try pod.plugin("second", printed)
        try pod.define("second")
        let answer = try pod.call("ADD", networks: "second")
        #expect((answer.status == 0) == passes, "\(answer.ran)")
        #expect(answer.message.contains("no valid result") != passes)
    }
}
