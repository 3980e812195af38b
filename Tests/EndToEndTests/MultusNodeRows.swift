import Foundation
import Support
import Testing

/// What concerns a node: kills, CHECK, STATUS and GC of its pods, and many of them at once.
@Suite struct MultusNodeRows {
    private static let key = "k8s.v1.cni.cncf.io/networks"

    private func collect(_ pod: RecordedNode, _ valid: String?, _ extra: String = "") throws -> Answer {
        let list = valid.map { ",\"cni.dev/valid-attachments\":[\($0)]" } ?? ""
        return try pod.call("GC", pod.config(version: "1.1.0", extra: list + extra))
    }

    private static func valid(_ id: String) -> String { #"{"containerID":"\#(id)","ifname":"eth0"}"# }

    // MARK: Kills

    @Test(
        "E11: an ADD or a DEL that was killed anywhere is deleted wholly, and attached again",
        arguments: ["ADD", "DEL"], ["sendto", "renameat", "openat", "setns", "unlinkat", "write"])
    func killed(verb: String, call: String) throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        let config = MetaEndToEnd.config(node)
        func run(_ verb: String, _ prefix: [String] = []) throws -> Answer {
            try node.call(verb, netns: netns, args: StatusRows.args(), prefix: prefix, config)
        }
        var killed = 0
        for count in stride(from: 1, through: 300, by: call == "openat" ? 5 : 2) {
            if verb == "DEL" { #expect(try run("ADD").status == 0, "\(count)") }
            let answer = try run(
                verb,
                [
                    "strace", "-o", "/dev/null", "-e", "trace=\(call)", "-e",
                    "inject=\(call):signal=KILL:when=\(count)",
                ])
            if answer.status == 0 { break }
            killed += 1
            // What the runtime does: DEL, until it succeeds.
            let gone = try run("DEL")
            #expect(gone.status == 0, "\(count): \(gone.ran)")
            #expect(
                try node.links(pod: "a").isEmpty && node.links().isSubset(of: ["cni0", "mybr0"]), "\(count)")
            #expect(
                try node.files("ipam").filter { !$0.contains("last_reserved") && !$0.hasSuffix("lock") }
                    .isEmpty,
                "\(count)")
            #expect(try node.files("state").isEmpty, "\(count)")
        }
        // ADD removes nothing, and DEL makes nothing.
        #expect(killed > 0 || (verb == "ADD" ? ["unlinkat"] : ["renameat", "write"]).contains(call))
        _ = try run("DEL")
        let again = try run("ADD")
        #expect(again.status == 0, "\(again.ran)")
        #expect(try node.addresses("net1", pod: "a").count == 1)
    }

    @Test("E11: a second ADD after one that was killed converges, or says that DEL must come first")
    func killedTwice() throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        let config = MetaEndToEnd.config(node)
        func run(_ verb: String, _ prefix: [String] = []) throws -> Answer {
            try node.call(verb, netns: netns, args: StatusRows.args(), prefix: prefix, config)
        }
        for count in 1...60 {
            let kill = ["-e", "trace=sendto", "-e", "inject=sendto:signal=KILL:when=\(count)"]
            if try run("ADD", ["strace", "-o", "/dev/null"] + kill).status == 0 { break }
            #expect(count < 60)
            var again = try run("ADD")
            if again.status != 0 {
                #expect(again.message.contains("attached already"), "\(count): \(again.ran)")
                #expect(try run("DEL").status == 0)
                again = try run("ADD")
            }
            #expect(again.status == 0, "\(count): \(again.ran)")
            #expect(try node.links(pod: "a") == ["eth0", "net1"])
            #expect(try run("CHECK").status == 0, "\(count)")
            let leases = try node.files("ipam").filter {
                !$0.contains("last_reserved") && !$0.hasSuffix("lock")
            }
            #expect(leases.count == 2, "one address for each network: \(leases)")
            #expect(try run("DEL").status == 0)
        }
    }

    // MARK: CHECK

    @Test("H01, H02: CHECK covers every network of the pod, but for old versions and those that want none")
    func checked() throws {
        let pod = try RecordedNode("one", "two", "three", "four")
        try pod.define("one")
        try pod.node.define("two", #"{"cniVersion":"1.0.0","disableCheck":true,"plugins":[{"type":"two"}]}"#)
        try pod.node.define("three", #"{"cniVersion":"0.3.1","type":"three"}"#)
        try pod.plugin("three", RecordedNode.result("0.3.1"))
        try pod.define("four")
        let unknown = try pod.call("CHECK", networks: "one")
        #expect(unknown.status == 1 && unknown.code == 3, "\(unknown.ran)")
        #expect(try pod.call("ADD", networks: "one,two,three,four").status == 0)
        let answer = try pod.call("CHECK", pod.config(nil))
        #expect(answer.status == 0, "\(answer.ran)")
        let words = try pod.words().filter { $0.hasPrefix("CHECK") }
        #expect(words == ["CHECK master eth0", "CHECK one net1", "CHECK four net4"])
        try pod.plugin("four", "", RecordedNode.refusing("CHECK", 104, "it is gone"))
        let failed = try pod.call("CHECK", pod.config(nil))
        #expect(failed.code == 104 && failed.message.contains("default/four on net4"), "\(failed.ran)")
    }

    @Test("H03, F06: CHECK knows that the default route moved to a macvlan, and so do result and status")
    func checkedRoute() throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        try node.sh(
            "ip link add uplink type veth peer name far && ip link set uplink up && ip link set far up")
        try node.define(
            "mac",
            """
            {"cniVersion":"1.0.0","type":"macvlan","master":"uplink","ipam":{"type":"static",\
            "addresses":[{"address":"10.5.0.9/24","gateway":"10.5.0.1"}],"routes":[{"dst":"10.6.0.0/16"}]}}
            """)
        let networks = #"[{"name":"mac","default-route":["10.5.0.1"]}]"#
        func call(_ verb: String) throws -> Answer {
            try node.call(
                verb, role: "multus", netns: netns, args: StatusRows.args(),
                MetaEndToEnd.config(node, networks: networks))
        }
        let answer = try call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        let routes = try node.ip("route show default", pod: "a").list
        #expect(routes.map { $0["dev"].string } == ["net1"] && routes[0]["gateway"].string == "10.5.0.1")
        #expect(!answer.json["routes"].list.contains { $0["dst"].string == "0.0.0.0/0" })
        let cached = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/results/mac-c1-net1"))[
            "result"]
        #expect(
            cached["routes"].list.contains {
                $0["dst"].string == "0.0.0.0/0" && $0["gw"].string == "10.5.0.1"
            })
        let own = try Tree(
            parsing: try Shell.sh("cat \(node.directory)/state/results/default-network-c1-eth0"))["result"]
        #expect(!own["routes"].list.contains { $0["dst"].string == "0.0.0.0/0" })
        let status = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
        #expect(status.list.map { $0["gateway"].list.map(\.string) } == [[], ["10.5.0.1"]])
        let good = try call("CHECK")
        #expect(good.status == 0, "\(good.ran)")
        try node.sh("ip route del default", pod: "a")
        #expect(try call("CHECK").status == 1)
    }

    // MARK: STATUS

    @Test(
        "T01: STATUS asks the default network's plugin, if it knows the verb, and passes its code",
        arguments: [("1.1.0", 50, 50), ("1.1.0", 51, 51), ("1.1.0", 0, -1), ("1.0.0", 50, -1)])
    func status(version: String, code: Int, expected: Int) throws {
        let pod = try RecordedNode("one")
        try pod.node.define("one", #"{"cniVersion":"1.1.0","type":"one"}"#)
        if code > 0 { try pod.plugin("master", "", RecordedNode.refusing("STATUS", code)) }
        let delegates = #""delegates":[{"cniVersion":"\#(version)","name":"first","type":"master"}]"#
        let answer = try pod.call("STATUS", pod.config(nil, version: "1.1.0", delegates: delegates))
        #expect(answer.code == expected && (answer.status == 0) == (expected < 0), "\(answer.ran)")
        #expect(try pod.words() == (version == "1.1.0" ? ["STATUS master"] : []))
    }

    /// What may take time it does not do: its only bound is that of a plugin's call.
    @Test("T02: STATUS waits for nothing: it sleeps, connects and starts no program")
    func statusWaitsForNothing() throws {
        let node = try MetaEndToEnd.node()
        let trace = "\(node.directory)/trace"
        let answer = try node.call(
            "STATUS", id: "", netns: "", interface: "", prefix: ["strace", "-f", "-o", trace],
            MetaEndToEnd.config(node, version: "1.1.0", networks: nil))
        #expect(answer.status == 0, "\(answer.ran)")
        let lines = try Shell.sh("cat \(trace)").split(separator: "\n").map(String.init)
        let start = lines.lastIndex { $0.contains("read(0,") } ?? 0
        for word in ["nanosleep(", "connect(", "clone(", "clone3(", "vfork(", "execve("] {
            #expect(!lines[start...].contains { $0.contains(word) }, "\(word)")
        }
    }

    // MARK: GC

    @Test("G01, G02: GC deletes the dead and asks each network once, with those that live on it")
    func collected() throws {
        let pod = try RecordedNode("one", "two", "three")
        for name in ["one", "two", "three"] {
            try pod.node.define(name, #"{"cniVersion":"1.1.0","type":"\#(name)"}"#)
        }
        _ = try pod.node.pod("b")
        let networks = pod.config([Self.key: "one,two@data0"])
        #expect(try pod.call("ADD", networks, id: "c1").status == 0)
        #expect(
            try pod.call(
                "ADD", pod.config([Self.key: "one,one"]), id: "c2", netns: "/run/netns/\(pod.node.name)-b"
            ).status == 0)
        try pod.forget()
        let answer = try collect(pod, Self.valid("c1"))
        #expect(answer.status == 0 && answer.ran.output.isEmpty, "\(answer.ran)")
        let calls = try pod.calls()
        let gone = calls.filter { $0.verb == "DEL" }
        #expect(gone.map(\.words) == ["DEL one net2", "DEL one net1", "DEL master eth0"])
        #expect(gone.allSatisfy { $0.container == "c2" && $0.input["prevResult"].exists })
        let asked = calls.filter { $0.verb == "GC" }
        #expect(
            asked.map(\.plugin).sorted() == ["one", "three", "two"], "the default network's version is 1.0.0")
        for call in asked {
            let pairs = call.input["cni.dev/valid-attachments"].list.map {
                "\($0["containerID"].string ?? "") \($0["ifname"].string ?? "")"
            }
            #expect(
                pairs == ["one": ["c1 net1"], "two": ["c1 data0"], "three": []][call.plugin], "\(call.plugin)"
            )
            #expect(call.input["cni.dev/attachments"].list.count == pairs.count)
            #expect(
                call.container.isEmpty && call.netns.isEmpty && call.interface.isEmpty && call.args.isEmpty)
        }
        #expect(try pod.node.files("state/attachments") == ["c1@eth0.json", "c1@eth0.json.lock"])
        #expect(try pod.call("CHECK", networks).status == 0)
    }

    @Test("G03: an empty list means that all are dead, none means nothing, and a new node succeeds")
    func collectedNone() throws {
        let pod = try RecordedNode("one")
        try pod.define("one")
        for list in [nil, ""] {
            let fresh = try collect(pod, list)
            #expect(fresh.status == 0, "\(fresh.ran)")
        }
        #expect(try pod.call("ADD", networks: "one").status == 0)
        #expect(try collect(pod, nil).status == 0)
        #expect(try pod.words().count == 2, "no list, no action")
        #expect(try collect(pod, "").status == 0)
        #expect(try pod.words().suffix(2) == ["DEL one net1", "DEL master eth0"])
        #expect(try pod.node.files("state").isEmpty)
    }

    /// The specification forbids a runtime to do both at once.
    @Test("G04: GC waits for an ADD that is going on, and spares it when the list names it; orphans go")
    func collectedMeanwhile() throws {
        let pod = try RecordedNode("one")
        try pod.define("one")
        let list = #","cni.dev/valid-attachments":[\#(Self.valid("c1"))]"#
        try pod.node.write("gc.json", pod.config(version: "1.1.0", extra: list))
        // Device information is in a place that all tests share.
        let (orphan, devinfo) = (pod.node.name, "/var/run/k8s.cni.cncf.io/devinfo/cni")
        try pod.node.write("state/\(orphan)", "[]")
        let config = Data(#"{"cniVersion":"1.0.0","name":"one","plugins":[{"type":"one"}]}"#.utf8)
        try pod.node.write(
            "state/results/one-\(orphan)-net1",
            """
            {"kind":"cniCacheV1","containerId":"\(orphan)","ifName":"net1","networkName":"one",\
            "config":"\(config.base64EncodedString())","result":{"cniVersion":"1.0.0"}}
            """)
        try Shell.sh("mkdir -p -m 755 \(devinfo) && echo '{}' > \(devinfo)/default-one-\(orphan)_net1")
        try Shell.sh("chmod 700 \(pod.directory)/state")
        try pod.node.write(
            "collect",
            """
            #!/bin/sh
            export CNI_COMMAND=GC CNI_PATH=/none
            unset CNI_CONTAINERID CNI_NETNS CNI_IFNAME CNI_ARGS
            \(pod.directory)/bin/plexus < \(pod.directory)/gc.json > \(pod.directory)/gc.out 2>&1
            echo $? > \(pod.directory)/gc.status
            """)
        try Shell.sh("chmod +x \(pod.directory)/collect")
        try pod.plugin(
            "one", RecordedNode.result("1.0.0"),
            "[ $CNI_COMMAND != ADD ] || { setsid \(pod.directory)/collect >/dev/null 2>&1 </dev/null & sleep 1; ls \(pod.directory) > \(pod.directory)/meanwhile; }"
        )
        let answer = try pod.call("ADD", networks: "one", extra: #","multusFiles":true"#)
        #expect(answer.status == 0, "\(answer.ran)")
        try Shell.sh("for i in $(seq 200); do [ -s \(pod.directory)/gc.status ] && break; sleep 0.1; done")
        let said = try Shell.sh("cat \(pod.directory)/gc.status \(pod.directory)/gc.out")
        #expect(said.hasPrefix("0\n"), "\(said)")
        #expect(try !Shell.sh("cat \(pod.directory)/meanwhile").contains("gc.status"), "it waits")
        let gone = try pod.calls().filter { $0.verb == "DEL" }
        #expect(!gone.isEmpty && gone.allSatisfy { $0.container == orphan })
        let files = try pod.node.files("state")
        #expect(
            files.contains("attachments/c1@eth0.json") && files.contains("results/one-c1-net1"), "\(files)")
        #expect(!files.contains { $0.contains(orphan) }, "\(files)")
        #expect(try !Shell.sh("ls \(devinfo)").contains(orphan))
    }

    // MARK: Load

    @Test("L01: a hundred pods at once, in little memory, with no word of one in another's calls")
    func crowd() throws {
        let pod = try RecordedNode("one")
        try pod.define("one")
        let count = 100
        try pod.node.write("config", pod.config([Self.key: #"[{"name":"one","cni-args":{"a":1}}]"#]))
        // Each call has a file of its own: lines of many writers would mix.
        try pod.node.script(
            "one",
            """
            tr -d '\\n' < /dev/stdin >/dev/null
            echo "$CNI_COMMAND $CNI_IFNAME $CNI_CONTAINERID $CNI_NETNS $CNI_ARGS" >> \(pod.directory)/of-$CNI_CONTAINERID
            [ $CNI_COMMAND = ADD ] || exit 0
            echo '{"cniVersion":"1.0.0","interfaces":[{"name":"'$CNI_IFNAME'","sandbox":"'$CNI_NETNS'"}]}'
            """)
        try pod.node.script(
            "master",
            #"[ $CNI_COMMAND = ADD ] || exit 0; echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"'$CNI_CONTAINERID'"}]}'"#
        )
        for index in 1...count { try Shell.sh("ln -s \(pod.netns) \(pod.directory)/ns-\(index)") }
        func all(_ verb: String) throws {
            try Shell.sh(
                """
                seq \(count) | CNI_COMMAND=\(verb) CNI_IFNAME=eth0 CNI_PATH=/none xargs -P 16 -I %% \
                sh -c 'CNI_CONTAINERID=c%% CNI_NETNS=\(pod.directory)/ns-%% CNI_ARGS="K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-%%;IgnoreUnknown=1" \
                ip netns exec \(pod.node.name) prlimit --as=134217728 \(pod.directory)/bin/plexus \
                < \(pod.directory)/config > \(pod.directory)/\(verb)-%%.out'
                """)
        }
        try all("ADD")
        for index in 1...count {
            let answer = try Tree(parsing: try Shell.sh("cat \(pod.directory)/ADD-\(index).out"))
            #expect(answer["interfaces"][0]["sandbox"].string == "c\(index)")
        }
        #expect(try pod.node.files("state/status").count == count)
        try all("DEL")
        for index in 1...count {
            let rest =
                "net1 c\(index) \(pod.directory)/ns-\(index) IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-\(index)\n"
            #expect(try Shell.sh("cat \(pod.directory)/of-c\(index)") == "ADD \(rest)DEL \(rest)")
        }
        #expect(try pod.node.files("state").isEmpty)
    }

    @Test("L02: ADD with many networks connects to nobody")
    func connects() throws {
        let node = try MetaEndToEnd.node()
        let trace = "\(node.directory)/trace"
        let networks = (1...5).map { "net-a@e\($0)" }.joined(separator: ",")
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: StatusRows.args(),
            prefix: ["strace", "-f", "-o", trace, "-e", "trace=socket,connect"],
            MetaEndToEnd.config(node, networks: networks))
        #expect(answer.status == 0, "\(answer.ran)")
        let lines = try Shell.sh("cat \(trace)").split(separator: "\n").filter { $0.contains("(") }
        #expect(!lines.isEmpty && !lines.contains { $0.contains("connect(") }, "\(lines)")
        #expect(lines.allSatisfy { $0.contains("AF_NETLINK") || $0.contains("+++") }, "\(lines)")
        #expect(try node.links(pod: "a").count == 6)
    }
}
