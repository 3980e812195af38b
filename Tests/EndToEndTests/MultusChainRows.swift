import Foundation
import Support
import Testing

/// Lists of plugins as libcni runs them, and where plugins and configurations are found.
@Suite struct MultusChainRows {
    private let pod: RecordedNode

    init() throws { pod = try RecordedNode("one", "two", "three") }

    /// A network `chain` of the three plugins.
    private func define(
        _ keys: String = "", version: String = #""cniVersion":"1.0.0","#, one: String = "", two: String = ""
    ) throws {
        try pod.node.define(
            "chain",
            #"{\#(version)"name":"chained"\#(keys),"plugins":[{"type":"one"\#(one)},{"type":"two"\#(two)},{"type":"three"}]}"#
        )
    }

    private func calls(_ verb: String) throws -> [RecordedNode.Call] {
        try pod.calls().filter { $0.verb == verb && $0.plugin != "master" }
    }

    // MARK: Lists

    @Test("X01, X02: ADD goes forward with the result before, DEL backward with the last one")
    func order() throws {
        for name in ["one", "two", "three"] {
            try pod.plugin(
                name,
                RecordedNode.result("1.0.0", #""routes":[{"dst":"10.9.0.0/16"}],"from":"\#(name)""#)
                    .replacing("10.9", with: ["one": "10.1", "two": "10.2", "three": "10.3"][name] ?? ""))
        }
        try define()
        #expect(try pod.call("ADD", networks: "chain").status == 0)
        let added = try calls("ADD")
        #expect(added.map(\.words) == ["ADD one net1", "ADD two net1", "ADD three net1"])
        #expect(!added[0].input["prevResult"].exists)
        func routes(_ call: RecordedNode.Call) -> String? {
            call.input["prevResult"]["routes"][0]["dst"].string
        }
        #expect(added.map(routes) == [nil, "10.1.0.0/16", "10.2.0.0/16"])
        #expect(try pod.call("CHECK", networks: "chain").status == 0)
        #expect(try calls("CHECK").map(\.words) == ["CHECK one net1", "CHECK two net1", "CHECK three net1"])
        #expect(try calls("CHECK").map(routes) == ["10.3.0.0/16", "10.3.0.0/16", "10.3.0.0/16"])
        #expect(try pod.call("DEL", networks: "chain").status == 0)
        #expect(try calls("DEL").map(\.words) == ["DEL three net1", "DEL two net1", "DEL one net1"])
        #expect(try calls("DEL").map(routes) == ["10.3.0.0/16", "10.3.0.0/16", "10.3.0.0/16"])
    }

    /// libcni ends the list there, and keeps its file. The record stays here too; the others of the list have had their DEL.
    @Test("X02: a DEL that fails in a list does not keep the plugins before it, unlike libcni's")
    func goesOn() throws {
        try define()
        #expect(try pod.call("ADD", networks: "chain").status == 0)
        try pod.plugin("two", "", RecordedNode.refusing("DEL"))
        let answer = try pod.call("DEL", networks: "chain")
        #expect(answer.status == 1 && answer.code == 100, "\(answer.ran)")
        #expect(answer.message.contains("default/chain on net1: two: no luck"), "\(answer.ran)")
        #expect(
            try pod.words().filter { $0.hasPrefix("DEL") }
                == ["DEL three net1", "DEL two net1", "DEL one net1", "DEL master eth0"])
        #expect(try pod.node.files("state/attachments").contains("c1@eth0.json"))
    }

    @Test("X03: each plugin gets its keys as they are, with the list's name and version")
    func keys() throws {
        let keys =
            #","cniVersion":"0.3.0","big":9007199254740993,"float":0.1,"list":[null,true,{"a/b":"é"}],"null":null,"unheard":{}"#
        try define(one: keys)
        #expect(try pod.call("ADD", networks: "chain").status == 0)
        let input = try calls("ADD")[0].input
        #expect(
            input.keys
                == ["cniVersion", "name", "type", "big", "float", "list", "null", "unheard"])
        #expect(input["name"].string == "chained" && input["cniVersion"].string == "1.0.0")
        let text = try Shell.sh("cat \(pod.directory)/calls")
        #expect(text.contains(#""big":9007199254740993"#) && text.contains(#""float":0.1"#), "\(text)")
        #expect(input["list"][2]["a/b"].string == "é" && input["list"][1].bool == true)
    }

    @Test("X04: a plugin gets the capabilities that it declares, and no empty runtimeConfig")
    func capabilities() throws {
        try define(
            one: #","capabilities":{"mac":true,"ips":false}"#,
            two: #","capabilities":{"ips":true,"dns":true}"#)
        let networks = #"[{"name":"chain","mac":"02:00:00:00:00:01","ips":["10.1.0.2/24"]}]"#
        #expect(try pod.call("ADD", networks: networks).status == 0)
        let added = try calls("ADD")
        #expect(added[0].input["runtimeConfig"].keys == ["mac"])
        #expect(added[0].input["runtimeConfig"]["mac"].string == "02:00:00:00:00:01")
        #expect(added[1].input["runtimeConfig"].keys == ["ips"])
        #expect(!added[2].input["runtimeConfig"].exists)
    }

    @Test(
        "X05: disableCheck and disableGC, as values and as texts",
        arguments: ["true", #""true""#, #""TRUE""#, "false", #""false""#])
    func disabled(value: String) throws {
        let isOff = value.lowercased().contains("true")
        try define(#","disableCheck":\#(value),"disableGC":\#(value)"#, version: #""cniVersion":"1.1.0","#)
        let valid = #","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]"#
        for verb in ["ADD", "CHECK", "GC"] {
            let answer = try pod.call(
                verb, networks: "chain", version: "1.1.0", extra: verb == "GC" ? valid : "")
            #expect(answer.status == 0, "\(answer.ran)")
        }
        #expect(try calls("CHECK").count == (isOff ? 0 : 3))
        #expect(try calls("GC").count == (isOff ? 0 : 3))
    }

    @Test(
        "X06: of cniVersions the highest that is known",
        arguments: [
            (#""cniVersions":["0.4.0","1.0.0","2.0.0"],"#, "1.0.0"),
            (#""cniVersion":"0.3.1","cniVersions":["0.4.0"],"#, "0.4.0"),
            (#""cniVersion":"1.1.0","cniVersions":["0.4.0"],"#, "1.1.0"),
        ])
    func versions(keys: String, expected: String) throws {
        try define(version: keys)
        let answer = try pod.call("ADD", networks: "chain")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try calls("ADD").map { $0.input["cniVersion"].string } == [expected, expected, expected])
        #expect(try calls("ADD").allSatisfy { !$0.input["cniVersions"].exists })
    }

    @Test(
        "X07: files beside a list are chained behind its plugins, unless it says otherwise",
        arguments: [false, true])
    func extensions(isAlone: Bool) throws {
        let alone = isAlone ? #","loadOnlyInlinedPlugins":true"# : ""
        try pod.node.write(
            "net.d/10-a.conflist",
            #"{"cniVersion":"1.0.0","name":"main"\#(alone),"plugins":[{"type":"master"}]}"#)
        try pod.node.write("net.d/main/20.conf", #"{"type":"two","name":"x"}"#)
        try pod.node.write("net.d/main/10.conf", #"{"type":"one","key":5}"#)
        try pod.node.write("net.d/main/30.json", #"{"type":"three"}"#)
        let config = pod.config(delegates: #""clusterNetwork":"\#(pod.directory)/net.d/10-a.conflist""#)
        #expect(try pod.call("ADD", config).status == 0)
        let words = ["ADD master eth0"] + (isAlone ? [] : ["ADD one eth0", "ADD two eth0"])
        #expect(try pod.words() == words)
        if isAlone { return }
        #expect(try pod.calls()[1].input["key"].int == 5)
        #expect(try pod.calls().map { $0.input["name"].string } == ["main", "main", "main"])
        #expect(try pod.call("DEL", config).status == 0)
        #expect(try pod.words().suffix(3) == ["DEL two eth0", "DEL one eth0", "DEL master eth0"])
        #expect(try calls("DEL")[1].input["key"].int == 5, "DEL has all that ADD had")
    }

    // MARK: Programs

    @Test("X08, X09: binDir comes before CNI_PATH, for us and for plugins")
    func search() throws {
        try pod.define("one")
        try pod.node.write(
            "elsewhere/one", "#!/bin/sh\necho '{\"code\":77,\"msg\":\"the wrong one\"}'; exit 1\n")
        try pod.node.write("elsewhere/only", try Shell.sh("cat \(pod.directory)/plugins/two"))
        try Shell.sh("chmod +x \(pod.directory)/elsewhere/*")
        try pod.node.define("only", #"{"cniVersion":"1.0.0","type":"only"}"#)
        let config = pod.config(["k8s.v1.cni.cncf.io/networks": "one,only"])
        let answer = try pod.call("ADD", config, path: "\(pod.directory)/elsewhere:/none")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "ADD one net1", "ADD two net2"])
        let path = "\(pod.directory)/plugins:\(pod.directory)/elsewhere:/none"
        #expect(try pod.calls().map(\.path) == [path, path, path])
    }

    @Test("X10: a program that is being replaced is waited for")
    func busy() throws {
        try pod.define("one")
        try pod.node.write(
            "hold", "#!/bin/sh\nexec 9>>\(pod.directory)/plugins/one\ntouch \(pod.directory)/held\nsleep 2\n")
        try Shell.sh("chmod +x \(pod.directory)/hold")
        _ = try Shell.background("\(pod.directory)/hold")
        try Shell.sh("until [ -e \(pod.directory)/held ]; do sleep 0.05; done")
        // Otherwise the test would prove nothing.
        #expect(try Shell.run(["sh", "-c", "\(pod.directory)/plugins/one"]).errors.contains("busy"))
        let answer = try pod.call("ADD", networks: "one")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "ADD one net1"])
    }

    @Test("X11: what a plugin says on stderr when it fails is in the log, and in the error")
    func errors() throws {
        try pod.plugin(
            "two", "", "echo 'reason on stderr' >&2; \(RecordedNode.refusing("ADD", 105, "refused"))")
        try define()
        let answer = try pod.call("ADD", networks: "chain")
        #expect(answer.code == 105 && answer.message.hasSuffix("two: refused"), "\(answer.ran)")
        #expect(answer.ran.errors.contains("reason on stderr"), "\(answer.ran)")
        #expect(answer.details.contains("stderr: reason on stderr"), "\(answer.ran)")
    }

    /// The deadline of 50 s is below every runtime's limit. Here a wait that the kernel refuses stands for one that took so long.
    @Test("X12: a plugin that never ends is killed, the error says which, and the others are undone")
    func hanging() throws {
        let node = try MetaEndToEnd.node()
        try node.define("mine", #"{"cniVersion":"1.0.0","type":"mine"}"#)
        try node.script(
            "mine", "[ $CNI_COMMAND != ADD ] || { echo $$ > \(node.directory)/pid; exec sleep 600; }")
        // The first one is of the process's start.
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod,
            prefix: [
                "strace", "-o", "/dev/null", "-e", "trace=poll", "-e", "inject=poll:error=ENOMEM:when=2",
            ],
            MetaEndToEnd.config(node, networks: "net-a,mine"))
        #expect(answer.status == 1, "\(answer.ran)")
        #expect(answer.message.hasPrefix("default/mine on net2: plugin mine did not end"), "\(answer.ran)")
        #expect(try Shell.sh("cat \(node.directory)/mine.log").hasSuffix("DEL\n"))
        #expect(
            try Shell.run(["sh", "-c", "kill -0 $(cat \(node.directory)/pid 2>/dev/null) 2>/dev/null"]).status
                != 0)
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    // MARK: Configuration

    @Test("C01: keys in any letter case")
    func letterCase() throws {
        let config = """
            {"CNIVERSION":"1.0.0","Name":"node-network","TYPE":"plexus","CniDir":"\(pod.directory)/state",\
            "CACHEDIR":"\(pod.directory)/cache","Bindir":"\(pod.directory)/plugins","LogLevel":"verbose",\
            "RuntimeConfig":{"io.kubernetes.cri.pod-annotations":{"k8s.v1.cni.cncf.io/networks":"one"}},\
            "DELEGATES":[{"CniVersion":"1.0.0","NAME":"first","Type":"master"}]}
            """
        try pod.node.define("one", #"{"cniVersion":"1.0.0","Type":"one"}"#)
        let answer = try pod.call("ADD", config)
        #expect(answer.status == 0 && answer.ran.errors.contains("[verbose]"), "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "ADD one net1"])
        #expect(try pod.node.files("state/attachments").contains("c1@eth0.json"))
    }

    @Test(
        "C02, C05, C06: a configuration that makes no sense is an error that names the key",
        arguments: [
            (#""x":1"#, ["delegates", "clusterNetwork"]), (#""delegates":[]"#, ["delegates"]),
            (#""delegates":{}"#, ["delegates"]), (#""delegates":null"#, ["delegates"]),
            (#""delegates":[null]"#, ["delegates[0]"]), (#""delegates":[[]]"#, ["delegates[0]"]),
            (#""delegates":[{}]"#, ["type"]), (#""delegates":[{"name":"n","type":5}]"#, ["type"]),
            (#""delegates":[{"name":"n","plugins":[]}]"#, ["plugins"]),
            (#""delegates":[{"name":"n","plugins":{}}]"#, ["plugins"]),
            (#""delegates":[{"name":"n","plugins":[null]}]"#, ["plugins[0]"]),
            (#""delegates":[{"name":"n","plugins":[{}]}]"#, ["type"]),
            (#""delegates":[{"name":"n","type":"a/b"}]"#, ["a/b"]),
            (#""clusterNetwork":5"#, ["clusterNetwork"]),
            (#""clusterNetwork":"/none","defaultNetworks":"x""#, ["defaultNetworks"]),
            (#""clusterNetwork":"/none","defaultNetworks":[null]"#, ["defaultNetworks"]),
            (
                #""delegates":[{"name":"n","type":"master"}],"namespaceIsolation":"yes""#,
                ["namespaceIsolation"]
            ),
            (#""delegates":[{"name":"n","type":"master"}],"cniDir":7"#, ["cniDir"]),
        ])
    func nonsense(keys: String, words: [String]) throws {
        let answer = try pod.call("ADD", pod.config(delegates: keys))
        #expect(answer.status == 1 && answer.code == 7, "\(answer.ran)")
        for word in words { #expect(answer.ran.output.contains(word), "\(answer.ran)") }
        #expect(try pod.calls().isEmpty)
        // Such a file does not keep a pod from going.
        let gone = try pod.call("DEL", pod.config(delegates: keys))
        #expect(gone.status == 0 || gone.code == 7, "\(gone.ran)")
    }

    @Test("C03: clusterNetwork makes delegates ignored")
    func clusterNetwork() throws {
        try pod.node.write("net.d/10-a.conf", #"{"cniVersion":"1.0.0","name":"main","type":"one"}"#)
        let config = pod.config(
            delegates:
                #""clusterNetwork":"\#(pod.directory)/net.d/10-a.conf","delegates":[{"name":"n","type":"master"}]"#
        )
        #expect(try pod.call("ADD", config).status == 0)
        #expect(try pod.words() == ["ADD one eth0"])
    }

    @Test("C04: every directory has a default, which depends on the name", arguments: ["multus", "plexus"])
    func defaults(role: String) throws {
        let root = "\(pod.directory)/root"
        try Shell.sh(
            "mkdir -p \(root)/var \(root)/etc/\(role)/net.d \(root)/opt/bin && cp -r \(pod.directory)/plugins/* \(root)/opt/bin"
        )
        try pod.node.write(
            "root/etc/\(role)/net.d/10-named.conf", #"{"cniVersion":"1.0.0","name":"named","type":"one"}"#)
        try pod.node.write(
            "root/var/plexus/cache/net-attach-def/default/named.yaml",
            "kind: NetworkAttachmentDefinition\nmetadata: {name: named, namespace: default}\n")
        let config = """
            {"cniVersion":"1.0.0","name":"node-network","type":"\(role)",\
            "runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"k8s.v1.cni.cncf.io/networks":"named"}},\
            "delegates":[{"cniVersion":"1.0.0","name":"first","type":"master"}]}
            """
        let mounts =
            "mkdir -p /var/lib/cni /etc/cni /opt/cni && mount --bind \(root)/var /var/lib/cni"
            + " && mount --bind \(root)/etc /etc/cni && mount --bind \(root)/opt /opt/cni && exec $0"
        let answer = try pod.call(
            "ADD", config, role: role, path: "/none", prefix: ["unshare", "--mount", "sh", "-c", mounts])
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "ADD one net1"])
        #expect(try pod.calls()[0].path == "/opt/cni/bin:/none")
        let files = try pod.node.files("root/var")
        #expect(files.contains("\(role)/attachments/c1@eth0.json"), "\(files)")
        #expect(files.contains("multus/results/first-c1-eth0") == (role == "multus"), "\(files)")
    }

    @Test(
        "C07: logFile, logLevel and logToStderr",
        arguments: [
            (#""logLevel":"verbose""#, true, false),
            (#""logLevel":"verbose","logToStderr":false"#, false, false),
            (#""logLevel":"verbose","logFile":"DIR/log/x""#, true, true),
            (#""logLevel":"verbose","logFile":"DIR/log/x","logToStderr":false"#, false, true),
            (#""logLevel":"error","logFile":"DIR/log/x""#, false, false),
        ])
    func logging(keys: String, onStderr: Bool, inFile: Bool) throws {
        try Shell.sh("mkdir \(pod.directory)/log")
        let config = pod.config(extra: "," + keys.replacing("DIR", with: pod.directory))
        let answer = try pod.call("ADD", config)
        #expect(answer.status == 0, "\(answer.ran)")
        let line = #/[0-9]{4}-[0-9-]+T[0-9:]+Z \[verbose\] ADD of /#
        #expect(answer.ran.errors.contains(line) == onStderr, "\(answer.ran)")
        let text = try Shell.sh("cat \(pod.directory)/log/* 2>/dev/null || true")
        #expect(text.contains(line) == inFile, "\(text)")
    }

    @Test(
        "C07: a level that is unknown, and a log that cannot be written, are said and stop nothing",
        arguments: [
            (#""logLevel":"loud""#, "loud"),
            (#""logFile":"/none/such/x","logLevel":"verbose","logToStderr":false"#, "/none/such/x"),
        ])
    func badLog(keys: String, words: String) throws {
        let answer = try pod.call("ADD", pod.config(extra: "," + keys))
        #expect(answer.status == 0 && answer.ran.errors.contains(words), "\(answer.ran)")
    }

    @Test("C09, C10: without the readiness file ADD is to be tried again, STATUS says so, and DEL goes")
    func readiness() throws {
        let file = "\(pod.directory)/ready"
        let config = pod.config(version: "1.1.0", extra: #","readinessindicatorfile":"\#(file)""#)
        let early = try pod.call("ADD", config)
        #expect(early.status == 1 && early.code == 11 && early.message.contains(file), "\(early.ran)")
        let status = try pod.call("STATUS", config)
        #expect(status.status == 1 && status.code == 50 && status.message.contains(file), "\(status.ran)")
        #expect(try pod.call("DEL", config).status == 0)
        #expect(try pod.calls().filter { $0.verb == "ADD" }.isEmpty)
        try pod.node.write("ready", "")
        #expect(try pod.call("ADD", config).status == 0)
        #expect(try pod.call("STATUS", config).status == 0)
        try Shell.sh("rm \(file)")
        #expect(try pod.call("DEL", config).status == 0)
        #expect(try pod.words().last == "DEL master eth0")
    }

    @Test("C09, C10: the file is looked for once, and nothing waits for it")
    func readinessIsLookedForOnce() throws {
        let trace = "\(pod.directory)/trace"
        for verb in ["ADD", "STATUS"] {
            let answer = try pod.call(
                verb, pod.config(version: "1.1.0", extra: #","readinessindicatorfile":"/none/ready""#),
                prefix: ["strace", "-f", "-o", trace])
            #expect(answer.status == 1)
            let lines = try Shell.sh("cat \(trace)").split(separator: "\n")
            #expect(lines.filter { $0.contains("\"/none/ready\"") }.count == 1)
            #expect(!lines.contains { $0.contains("nanosleep(") || $0.contains("inotify") })
        }
    }

    @Test("C11: without a pod, a cache and credentials the delegates run in their order")
    func delegatesAlone() throws {
        try Shell.sh("rm -r \(pod.directory)/cache")
        let delegates = ["master", "one", "two"].map {
            #"{"cniVersion":"1.0.0","name":"n-\#($0)","type":"\#($0)"}"#
        }
        let config = pod.config(nil, delegates: "\"delegates\":[\(delegates.joined(separator: ","))]")
        let answer = try pod.call("ADD", config, args: "")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0", "ADD one net1", "ADD two net2"])
        #expect(answer.json["interfaces"][0]["name"].string == "eth0")
    }

    @Test(
        "C12: a network that leads back here is refused",
        arguments: ["plexus", "multus", "multus-shim", "plexus-2"])
    func itself(type: String) throws {
        try Shell.sh("ln -sf \(Node.executable) \(pod.directory)/plugins/\(type)")
        try pod.node.define(
            "loop", #"{"cniVersion":"1.0.0","type":"\#(type)","delegates":[{"type":"master"}]}"#)
        try pod.node.define("list", #"{"cniVersion":"1.0.0","plugins":[{"type":"one"},{"type":"\#(type)"}]}"#)
        for name in ["loop", "list"] {
            let answer = try pod.call("ADD", networks: name)
            #expect(answer.status == 1 && answer.code == 7, "\(answer.ran)")
            #expect(answer.message.contains(type), "\(answer.ran)")
            #expect(try pod.calls().isEmpty)
        }
    }
}
