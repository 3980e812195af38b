import Foundation
import Support
import Testing

/// ADD that fails, DEL, CHECK, STATUS and GC of a pod with several networks.
@Suite struct MultusLifeRows {
    private let pod: RecordedNode

    init() throws {
        pod = try RecordedNode("one", "two", "three")
        for name in ["one", "two", "three"] { try pod.define(name) }
    }

    private func calls(_ verb: String) throws -> [RecordedNode.Call] {
        try pod.calls().filter { $0.verb == verb }
    }

    private func words(_ verb: String) throws -> [String] { try calls(verb).map(\.words) }

    // MARK: ADD

    /// Multus' own record lists the networks that are to be attached.
    @Test(
        "D01: what is to be attached is written down before the first plugin runs", arguments: [true, false])
    func recordedFirst(forMultus: Bool) throws {
        let file = forMultus ? "c1" : "attachments/c1@eth0.json"
        try pod.plugin(
            "master", RecordedNode.result("1.0.0"),
            "[ $CNI_COMMAND != ADD ] || (cd \(pod.directory)/state && stat -c '%a %s' \(file) > ../seen 2>&1)"
        )
        let answer = try pod.call("ADD", networks: "one", extra: #","multusFiles":\#(forMultus)"#)
        #expect(answer.status == 0, "\(answer.ran)")
        let seen = try Shell.sh("cat \(pod.directory)/seen").split(whereSeparator: \.isWhitespace)
        #expect(seen.count == 2 && seen[0] == "600" && Int(seen[1]) ?? 0 > 0, "\(seen)")
    }

    /// After a power cut a file may be empty or cut off: whoever reads it takes it for lost, and goes by other traces.
    @Test("D02: files of the state are written beside and renamed; without fsync, as readers know a torn one")
    func renamed() throws {
        let trace = "\(pod.directory)/trace"
        let answer = try pod.call(
            "ADD", pod.config(["k8s.v1.cni.cncf.io/networks": "one"], extra: #","multusFiles":true"#),
            prefix: ["strace", "-o", trace, "-e", "trace=openat,renameat,renameat2,rename"])
        #expect(answer.status == 0, "\(answer.ran)")
        let lines = try Shell.sh("cat \(trace)").split(separator: "\n").map(String.init)
        let renames = lines.filter { $0.contains("rename") && $0.hasSuffix("= 0") }
        for name in ["c1@eth0.json", "default_pod-a_.json", "c1", "first-c1-eth0", "one-c1-net1"] {
            #expect(renames.contains { $0.contains(", \"\(name)\"") }, "\(name): \(renames)")
            #expect(
                !lines.contains { $0.contains("\"\(name)\", O_WRONLY|O_CREAT") },
                "\(name) is never half there")
        }
    }

    @Test("D05, S05: the printed result is the default network's, and the status says which that is")
    func printed() throws {
        let ips =
            #""ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.1.0.53"]}"#
        try pod.plugin("master", RecordedNode.result("1.0.0", ips))
        try pod.plugin("one", RecordedNode.result("1.0.0", ips.replacing("10.1.", with: "10.2.")))
        let answer = try pod.call("ADD", networks: "one,two")
        let printed = RecordedNode.result("1.0.0", ips).replacing("IF", with: "eth0").replacing(
            "NS", with: pod.netns)
        #expect(
            answer.json.value as? NSDictionary == (try Tree(parsing: printed)).value as? NSDictionary,
            "\(answer.ran)")
        let status = try pod.status().list
        #expect(status.map { $0["default"].bool } == [true, nil, nil])
        #expect(status.map { $0["name"].string } == ["first", "default/one", "default/two"])
    }

    @Test(
        "D06, D07, D09: a network that fails is undone with those before it, and the error has its name and code",
        arguments: [("master", 11), ("one", 7), ("two", 11), ("three", 103)])
    func failing(plugin: String, code: Int) throws {
        let all = ["master", "one", "two", "three"]
        try pod.plugin(plugin, "", RecordedNode.refusing("ADD", code))
        let answer = try pod.call("ADD", networks: "one,two,three")
        #expect(answer.status == 1 && answer.code == code, "\(answer.ran)")
        #expect(
            answer.message.contains(plugin == "master" ? "first on eth0" : "default/\(plugin) on net"),
            "\(answer.ran)")
        let started = all[...(all.firstIndex(of: plugin) ?? 0)]
        #expect(try calls("ADD").map(\.plugin) == Array(started))
        #expect(
            try calls("DEL").map(\.plugin) == started.reversed(), "who was never started has nothing to undo")
        for call in try calls("DEL").dropFirst() {
            #expect(
                call.input["prevResult"]["interfaces"][0]["name"].string == call.interface,
                "E02: who was attached is told what it had given")
        }
        #expect(try pod.node.files("state").isEmpty)
        // The runtime's DEL finds nothing to do.
        #expect(try pod.call("DEL", networks: "one,two,three").status == 0)
        #expect(try pod.node.files("state").isEmpty)
    }

    @Test("D08, F05: a failure behind the last network undoes all: a gateway that nobody reaches")
    func failingLast() throws {
        let node = try MetaEndToEnd.node()
        let networks = #"[{"name":"net-a","default-route":["203.0.113.1"]}]"#
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: StatusRows.args(),
            MetaEndToEnd.config(node, networks: networks))
        #expect(answer.status == 1, "\(answer.ran)")
        for word in ["203.0.113.1", "net1", "unreachable"] {
            #expect(answer.ran.output.contains(word), "\(answer.ran)")
        }
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
        #expect(
            try node.files("ipam").filter { !$0.contains("last_reserved") && !$0.hasSuffix("lock") }.isEmpty)
    }

    @Test(
        "N04, X13: what is invalid is found before the first network is attached",
        arguments: [
            #"{"cniVersion":"1.0.0","name":"a b","type":"one"}"#, #"{"cniVersion":"1.0.0"}"#,
            #"{"cniVersion":"1.0.0","type":""}"#, #"{"cniVersion":"1.0.0","type":"../one"}"#,
            #"{"cniVersion":"1.0.0","plugins":[{"type":"one"},{"x":1}]}"#,
            #"{"cniVersion":"1.0.0","plugins":[{"type":"one"},{"type":"a/b"}]}"#,
            #"{"cniVersion":"1.0.0","plugins":[]}"#, #"{"cniVersion":"9.9.9","type":"one"}"#,
            #"{"cniVersion":"1.0.0","type":"nowhere"}"#, "[]", "text", "null", "{",
        ])
    func invalid(config: String) throws {
        try pod.node.define("bad", config)
        let answer = try pod.call("ADD", networks: "one,bad")
        #expect(answer.status == 1 && answer.message.contains("bad"), "\(answer.ran)")
        #expect(try pod.calls().isEmpty && pod.node.files("state").isEmpty)
    }

    // MARK: Definitions

    @Test(
        "N01, N02: a definition without a configuration is the file of its name, whatever lies beside it",
        arguments: ["10-b.conf", "10-b.json", "10-b.conflist"])
    func byFile(file: String) throws {
        try pod.node.define("b", "")
        let plugin = #"{"type":"one","own":1}"#
        try pod.node.write(
            "conf/\(file)",
            file.hasSuffix("list")
                ? #"{"cniVersion":"1.0.0","name":"b","plugins":[\#(plugin)]}"#
                : #"{"cniVersion":"1.0.0","name":"b",\#(plugin.dropFirst())"#)
        try pod.node.write("conf/00-broken.conf", "{")
        try pod.node.write("conf/05-other.conf", #"{"cniVersion":"1.0.0","name":"other","type":"two"}"#)
        let answer = try pod.call("ADD", networks: "b")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "ADD one net1"])
        #expect(try calls("ADD")[1].input["own"].int == 1)
        #expect(try pod.status()[1]["name"].string == "default/b")
    }

    @Test(
        "N03, N05: the name of a single plugin and of a list",
        arguments: [
            (#"{"cniVersion":"1.0.0","type":"one"}"#, "n"),
            (#"{"cniVersion":"1.0.0","name":"","type":"one"}"#, "n"),
            (#"{"cniVersion":"1.0.0","name":"own","type":"one"}"#, "own"),
            (#"{"cniVersion":"1.0.0","plugins":[{"type":"one"}]}"#, "n"),
            (#"{"cniVersion":"1.0.0","name":"own","plugins":[{"type":"one","name":"inner"}]}"#, "own"),
            (#"{"cniVersion":"1.0.0","type":"one","plugins":[]}"#, "n"),
        ])
    func named(config: String, name: String) throws {
        try pod.node.define("n", config)
        let answer = try pod.call("ADD", networks: "n")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try calls("ADD").map { $0.input["name"].string } == ["first", name])
        #expect(try pod.status()[1]["name"].string == "default/n")
    }

    @Test(
        "N06: a list without a version has the same one at every verb",
        arguments: ["", #""cniVersions":["0.4.0"],"#])
    func unversioned(keys: String) throws {
        try pod.node.define("old", #"{\#(keys)"plugins":[{"type":"one"},{"type":"two"}]}"#)
        try pod.plugin("one", #"{"ip4":{"ip":"10.1.0.2/24"}}"#)
        try pod.plugin("two", #"{"ip4":{"ip":"10.1.0.2/24"}}"#)
        if !keys.isEmpty {
            for name in ["one", "two"] { try pod.plugin(name, RecordedNode.result("0.4.0")) }
        }
        for verb in ["ADD", "CHECK", "DEL"] {
            let answer = try pod.call(verb, networks: "old")
            #expect(answer.status == 0, "\(answer.ran)")
        }
        let versions = Set(
            try pod.calls().filter { $0.plugin != "master" }.map { $0.input["cniVersion"].string ?? "" })
        #expect(
            versions.count == 1 && (keys.isEmpty ? ["", "0.1.0"] : ["0.4.0"]).contains(versions.first),
            "\(versions)")
        #expect(try calls("DEL").count == 3)
    }

    // MARK: DEL

    @Test("E01, E02, E03: DEL goes backward with what ADD had, tries all, and says what failed of each")
    func deleted() throws {
        try pod.node.define(
            "chain",
            #"{"cniVersion":"1.0.0","plugins":[{"type":"one","own":{"a":[1]},"capabilities":{"portMappings":true}},{"type":"two"}]}"#
        )
        let networks =
            #"[{"name":"chain","portMappings":[{"hostPort":80,"containerPort":8080}],"cni-args":{"x":1}},{"name":"three"}]"#
        let runtime = #""portMappings":[{"hostPort":443,"containerPort":8443}]"#
        let master =
            #""delegates":[{"cniVersion":"1.0.0","name":"first","type":"master","capabilities":{"portMappings":true}}]"#
        let config = pod.config(
            ["k8s.v1.cni.cncf.io/networks": networks], runtime: runtime, delegates: master)
        #expect(try pod.call("ADD", config, args: MetaEndToEnd.pod + ";K8S_POD_UID=7").status == 0)
        for name in ["one", "three"] {
            try pod.plugin(name, "", RecordedNode.refusing("DEL", 100, "\(name) refuses"))
        }
        // The runtime and the cache know less by then.
        try Shell.sh("rm -r \(pod.directory)/cache")
        let answer = try pod.call("DEL", pod.config(nil), args: "")
        #expect(answer.status == 1 && answer.code == 100, "\(answer.ran)")
        for words in [
            "default/three on net2: three: three refuses", "default/chain on net1: one: one refuses",
        ] {
            #expect(answer.ran.output.contains(words), "\(answer.ran)")
        }
        let (added, gone) = (try calls("ADD"), try calls("DEL"))
        #expect(gone.map(\.words) == ["DEL three net2", "DEL two net1", "DEL one net1", "DEL master eth0"])
        for (before, after) in zip(added, gone.reversed()) {
            var input = after.input.value as? [String: Any] ?? [:]
            #expect(input.removeValue(forKey: "prevResult") != nil)
            var given = before.input.value as? [String: Any] ?? [:]
            given["prevResult"] = nil
            #expect(NSDictionary(dictionary: input) == NSDictionary(dictionary: given), "\(before.words)")
            #expect(
                before.args == after.args && before.path == after.path && before.container == after.container)
        }
        #expect(gone[3].input["runtimeConfig"]["portMappings"][0]["hostPort"].int == 443)
        #expect(gone[2].input["runtimeConfig"]["portMappings"][0]["hostPort"].int == 80)
    }

    @Test("E04: what a DEL left undone is kept, and a second one succeeds")
    func retried() throws {
        #expect(try pod.call("ADD", networks: "one,two").status == 0)
        try pod.plugin("one", "", RecordedNode.refusing("DEL"))
        #expect(try pod.call("DEL", networks: "one,two").status == 1)
        #expect(try words("DEL") == ["DEL two net2", "DEL one net1", "DEL master eth0"])
        #expect(try pod.node.files("state/attachments").contains("c1@eth0.json"))
        try pod.forget()
        try pod.plugin("one")
        #expect(try pod.call("DEL", networks: "one,two").status == 0)
        #expect(try words("DEL") == ["DEL one net1"])
        #expect(try pod.node.files("state").isEmpty)
    }

    @Test(
        "E05: DEL needs neither the cache nor a valid configuration",
        arguments: [
            #""delegates":[{"type":5}]"#, #""delegates":[]"#, #""clusterNetwork":"/none""#, #""x":1"#,
        ])
    func deletedByItsRecord(keys: String) throws {
        #expect(try pod.call("ADD", networks: "one").status == 0)
        try Shell.sh("rm -r \(pod.directory)/cache \(pod.directory)/conf 2>/dev/null || true")
        let answer = try pod.call("DEL", pod.config(nil, extra: #","kubeconfig":"/none""#, delegates: keys))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try words("DEL") == ["DEL one net1", "DEL master eth0"])
    }

    @Test(
        "E06: with a truncated record DEL goes by Multus' files, its results, or what the pod asks for",
        arguments: [0, 1, 2])
    func truncated(lost: Int) throws {
        let extra = #","multusFiles":true"#
        #expect(try pod.call("ADD", networks: "one", extra: extra).status == 0)
        try Shell.sh("cd \(pod.directory)/state && truncate -s 40 attachments/c1@eth0.json")
        if lost > 0 { try Shell.sh("cd \(pod.directory)/state && truncate -s 20 c1") }
        if lost > 1 { try Shell.sh("rm -r \(pod.directory)/state/results") }
        let answer = try pod.call("DEL", networks: "one", extra: extra)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("is unusable"), "\(answer.ran)")
        // What is not sure to be all is looked for among the pod's networks as well.
        #expect(try Set(words("DEL")) == ["DEL one net1", "DEL master eth0"])
        let known = try calls("DEL").filter { $0.input["prevResult"].exists }
        #expect(known.count == (lost < 2 ? 2 : 0), "\(known.map(\.words))")
        #expect(try pod.node.files("state").isEmpty)
    }

    /// A pod must not stay for ever on a node whose disk lost its files.
    @Test("E06: with all of it lost the log says so, and the pod goes")
    func lostAll() throws {
        #expect(try pod.call("ADD", networks: "one").status == 0)
        try Shell.sh("cd \(pod.directory) && truncate -s 40 state/attachments/c1@eth0.json && rm -r cache")
        let answer = try pod.call("DEL", pod.config(nil))
        #expect(
            answer.status == 0 && answer.ran.errors.contains("[error] the record of container c1 eth0"),
            "\(answer.ran)")
        #expect(answer.ran.errors.contains("is unusable"), "\(answer.ran)")
        #expect(try words("DEL").allSatisfy { $0 == "DEL master eth0" })
    }

    @Test("E07: DEL of what was never attached, and a second one, succeed and call nobody")
    func nothing() throws {
        let config = pod.config(["k8s.v1.cni.cncf.io/networks": "one"])
        #expect(try pod.call("ADD", config).status == 0)
        for round in 1...3 {
            let answer = try pod.call("DEL", config)
            #expect(answer.status == 0 && answer.ran.output.isEmpty, "\(answer.ran)")
            #expect(try words("DEL").count >= 2, "\(round)")
            #expect(try pod.node.files("state").isEmpty)
        }
        #expect(try pod.call("DEL", config, id: "never").status == 0)
    }

    @Test("E08: DEL of a pod whose namespace is gone runs the plugins", arguments: ["gone", "none", "file"])
    func vanished(what: String) throws {
        #expect(try pod.call("ADD", networks: "one").status == 0)
        try pod.node.removePod("a")
        if what == "file" { try Shell.sh("touch \(pod.netns)") }
        defer { _ = try? Shell.sh("rm -f \(pod.netns)") }
        let answer = try pod.call("DEL", pod.config(), netns: what == "none" ? "" : pod.netns)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try words("DEL") == ["DEL one net1", "DEL master eth0"])
    }

    @Test("E10: nothing is left after DEL: no record, no results, no status")
    func leftovers() throws {
        let extra = #","multusFiles":true"#
        #expect(try pod.call("ADD", networks: "one,two", extra: extra).status == 0)
        let files = try pod.node.files("state")
        for file in ["c1", "results/one-c1-net1", "attachments/c1@eth0.json", "status/default_pod-a_.json"] {
            #expect(files.contains(file), "\(files)")
        }
        #expect(try pod.call("DEL", networks: "one,two", extra: extra).status == 0)
        #expect(try pod.node.files("state").isEmpty)
    }
}
