import Support
import Testing

/// `plexus attach` and `plexus detach`: the networks of a pod that runs.
@Suite struct RunningPodRows {
    private let node: Node
    private let config: String

    init() throws {
        node = try MetaEndToEnd.node()
        try node.define(
            "net-b",
            MetaEndToEnd.article.replacing("DIR", with: node.directory).replacing(
                "192.168.12", with: "192.168.13"
            )
            .replacing("mybr0", with: "mybr1").replacing(
                "\"type\":\"bridge\",", with: "\"type\":\"bridge\",\"capabilities\":{\"ips\":true},"))
        config = MetaEndToEnd.config(node)
        try node.write("conf.json", config)
        let answer = try node.call("ADD", netns: try node.pod("a"), args: StatusRows.args(), config)
        try #require(answer.status == 0, "\(answer.ran)")
    }

    private func plexus(_ words: String...) throws -> Ran {
        try Shell.run(
            ["ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus"] + words
                + ["--config", "\(node.directory)/conf.json"])
    }

    private func call(_ verb: String) throws -> Answer {
        try node.call(verb, netns: "/run/netns/\(node.name)-a", args: StatusRows.args(), config)
    }

    private func names() throws -> [String?] {
        try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*")).list.map { $0["name"].string }
    }

    @Test("a network more, with record, CHECK, status, and the pod's DEL")
    func attach() throws {
        let ran = try plexus("attach", "default/pod-a", #"[{"name":"net-b","ips":["192.168.13.77/24"]}]"#)
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.errors == "attached net2 on default/net-b with 192.168.13.77/24\n")
        #expect(try Tree(parsing: ran.output)["ips"][0]["address"].string == "192.168.13.77/24")
        #expect(try node.addresses("net2", pod: "a") == ["192.168.13.77/24"])
        #expect(try names() == ["default-network", "default/net-a", "default/net-b"])
        #expect(try call("CHECK").status == 0)
        let named = try plexus("attach", "pod-a", "net-b@data0")
        #expect(named.status == 0, "\(named)")
        #expect(try node.links(pod: "a") == ["eth0", "net1", "net2", "data0"])
        #expect(try call("DEL").status == 0)
        #expect(try node.files("state").isEmpty && node.links(pod: "a").isEmpty)
        #expect(try node.files("ipam").filter { $0.contains("/192.") || $0.contains("/10.") }.isEmpty)
    }

    @Test(
        "a network less, by its interface or its name, and the name is free again",
        arguments: ["net1", "default/net-a", "net-a"])
    func detach(name: String) throws {
        let ran = try plexus("detach", "pod-a", name)
        #expect(
            ran.status == 0 && ran.errors == "detached net1 on default/net-a with 192.168.12.10/24\n",
            "\(ran)")
        #expect(try node.links(pod: "a") == ["eth0"])
        #expect(try node.files("ipam").filter { $0.contains("/192.168.12.1") }.isEmpty)
        #expect(try names() == ["default-network"])
        #expect(try call("CHECK").status == 0)
        #expect(try plexus("attach", "pod-a", "net-b").status == 0)
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try call("DEL").status == 0)
        #expect(try node.files("state").isEmpty && node.links(pod: "a").isEmpty)
    }

    @Test(
        "what cannot be is said, and changes nothing",
        arguments: [
            (["attach", "pod-a", "nowhere"], "cannot find a network-attachment-definition"),
            (["attach", "pod-a", "net-a@eth0"], "the pod has an interface eth0"),
            (["attach", "pod-a", "net-a@lo"], "lo is every pod's own"),
            (["attach", "pod-a", "net-a,net-b"], "2 networks, expected one"),
            (["attach", "pod-a", ""], "0 networks, expected one"),
            (
                ["attach", "pod-a", #"[{"name":"net-b","default-route":["192.168.13.1"]}]"#],
                "default-route moves nothing"
            ),
            (
                ["attach", "pod-a", #"[{"name":"net-b","ips":["10.1.1.1"]}]"#],
                "failed to allocate all requested IPs"
            ),
            (["attach", "pod-b", "net-b"], "no pod default/pod-b runs here"),
            (["attach", "A/b", "net-b"], "is no pod"),
            (["detach", "pod-a", "eth0"], "is the pod's default network"),
            (["detach", "pod-a", "net7"], "it has net1 (default/net-a)"),
        ])
    func refused(words: [String], problem: String) throws {
        let before = try (
            node.links(), node.links(pod: "a"), node.files("state"), names(), node.files("ipam")
        )
        let ran = try Shell.run(
            ["ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus"] + words
                + ["--config", "\(node.directory)/conf.json"])
        #expect(ran.status == 1 && ran.errors.contains(problem), "\(ran)")
        let after = try (node.links(), node.links(pod: "a"), node.files("state"), names(), node.files("ipam"))
        #expect(before == after)
        #expect(try call("CHECK").status == 0)
    }

    @Test("the network that has the pod's only default route stays; one that brings another is named")
    func defaultRoute() throws {
        #expect(try call("DEL").status == 0)
        let asking = MetaEndToEnd.config(
            node, networks: #"[{"name":"net-a","default-route":["192.168.12.1"]}]"#)
        let answer = try node.call(
            "ADD", netns: "/run/netns/\(node.name)-a", args: StatusRows.args(), asking)
        #expect(answer.status == 0, "\(answer.ran)")
        let ran = try plexus("detach", "pod-a", "net1")
        #expect(
            ran.status == 1 && ran.errors.contains("net1 has the pod's only default route for IPv4"), "\(ran)"
        )
        try node.define(
            "out",
            #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b9","ipam":{"type":"static","addresses":[{"address":"10.9.0.2/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.9.0.1","priority":900}]}}"#
        )
        let more = try plexus("attach", "pod-a", "out")
        #expect(more.status == 0 && !more.errors.contains("the pod has two now"), "\(more)")
        #expect(try plexus("detach", "pod-a", "net1").status == 0)
    }

    @Test("two interfaces on one network are told apart; one that fails half-way is undone")
    func ambiguous() throws {
        #expect(try plexus("attach", "pod-a", "net-a").status == 0)
        let both = try plexus("detach", "pod-a", "net-a")
        #expect(both.status == 1 && both.errors.contains("2 interfaces on net-a"), "\(both)")
        #expect(try plexus("detach", "pod-a", "net2").status == 0)
        try node.script(
            "fails", #"[ $CNI_COMMAND = DEL ] || { echo '{"code":100,"msg":"no luck"}'; exit 1; }"#)
        try node.define(
            "chain", #"{"cniVersion":"1.0.0","plugins":[{"type":"bridge","bridge":"b9"},{"type":"fails"}]}"#)
        let ran = try plexus("attach", "pod-a", "chain")
        #expect(ran.status == 1 && ran.errors.contains("no luck"), "\(ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"] && !node.links().contains("b9"))
        #expect(try names() == ["default-network", "default/net-a"])
        #expect(try call("DEL").status == 0)
        #expect(try node.files("state").isEmpty)
    }

    /// A network whose second plugin, while it runs, sends its parent a signal.
    private func defineSignalling(_ signal: String) throws {
        try node.script(
            "signals",
            "[ $CNI_COMMAND != ADD ] || { kill -\(signal) $PPID; sleep 20; }; echo '{\"cniVersion\":\"1.0.0\"}'"
        )
        try node.define(
            "chain",
            "{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"bridge\",\"bridge\":\"b9\",IPAM},{\"type\":\"signals\"}]}"
                .replacing("IPAM", with: Node.ipam("192.168.19.0/24")).replacing("DIR", with: node.directory))
    }

    @Test("one that a signal ends is undone", arguments: ["INT", "TERM", "HUP"])
    func ended(signal: String) throws {
        try defineSignalling(signal)
        let ran = try plexus("attach", "pod-a", "chain")
        #expect(ran.status == 1 && ran.errors.contains("signals was killed, as a signal ended"), "\(ran)")
        #expect(try Shell.sh("cat \(node.directory)/signals.log") == "ADD\nDEL\n")
        #expect(try node.links(pod: "a") == ["eth0", "net1"] && !node.links().contains("b9"))
        #expect(try node.files("ipam").filter { $0.contains("/192.168.19.") }.isEmpty)
        #expect(try names() == ["default-network", "default/net-a"])
        #expect(try call("CHECK").status == 0)
    }

    @Test("one that is killed is named by CHECK and repair, with its cure")
    func killed() throws {
        try defineSignalling("KILL")
        #expect(try plexus("attach", "pod-a", "chain").status != 0)
        let check = try call("CHECK")
        #expect(
            check.message.contains("its attach was interrupted")
                && check.ran.output.contains("plexus detach default/pod-a net2"), "\(check.ran)")
        let ran = try plexus("repair")
        #expect(
            ran.status == 1 && ran.output.contains("interrupted")
                && ran.errors.contains("plexus detach default/pod-a net2"), "\(ran)")
        #expect(try plexus("detach", "pod-a", "net2").status == 0)
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try node.files("ipam").filter { $0.contains("/192.168.19.") }.isEmpty)
        #expect(try call("CHECK").status == 0)
        #expect(try plexus("repair").status == 0)
    }

    @Test("a pod whose own ADD was killed gets nothing more")
    func halfAdded() throws {
        try defineSignalling("KILL")
        let asking = MetaEndToEnd.config(node, networks: "chain")
        let answer = try node.call(
            "ADD", id: "c7", netns: node.pod("b"),
            args: StatusRows.args().replacing("pod-a", with: "pod-b"), asking)
        #expect(answer.status != 0)
        let ran = try plexus("attach", "pod-b", "net-b")
        #expect(
            ran.status == 1 && ran.errors.contains("the ADD of default/pod-b was interrupted"), "\(ran)")
    }

    @Test("a default route more, with a metric of its own")
    func routeMore() throws {
        let before = try node.sh("ip route show default", pod: "a")
        let ran = try plexus(
            "attach", "pod-a",
            #"[{"name":"net-b","default-route":["192.168.13.1"],"default-route-metric":500}]"#)
        #expect(ran.status == 0, "\(ran)")
        let after = try node.sh("ip route show default", pod: "a")
        #expect(
            after.hasPrefix(before) && after.contains("via 192.168.13.1 dev net2 metric 500"), "\(after)")
        #expect(try call("CHECK").status == 0)
        let twice = try plexus(
            "attach", "pod-a",
            #"[{"name":"net-b","default-route":["192.168.13.1"],"default-route-metric":500}]"#)
        #expect(twice.status == 1 && twice.errors.contains("default-route"), "\(twice)")
        #expect(try node.links(pod: "a") == ["eth0", "net1", "net2"])
        #expect(try plexus("detach", "pod-a", "net2").status == 0)
        #expect(try node.sh("ip route show default", pod: "a") == before)
    }

    @Test("a pod that Multus attached is called that")
    func ofMultus() throws {
        try node.write(
            "state/results/default-network-m1-eth0",
            #"{"kind":"cniCacheV1","containerId":"m1","config":"","ifName":"eth0","networkName":"default-network","cniArgs":[["K8S_POD_NAMESPACE","default"],["K8S_POD_NAME","pod-m"]],"result":{"cniVersion":"1.0.0"}}"#
        )
        for words in [["repair", "pod-m"], ["attach", "pod-m", "net-b"], ["detach", "pod-m", "net1"]] {
            let ran = try Shell.run(
                ["ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus"] + words
                    + ["--config", "\(node.directory)/conf.json"])
            #expect(
                ran.status == 1
                    && ran.errors.contains("pod default/pod-m was attached by Multus: container m1"),
                "\(ran)")
        }
        let status = try Shell.run(
            ["\(node.directory)/bin/plexus", "status", "pod-m", "--cni-dir", "\(node.directory)/state"])
        #expect(
            status.status == 1 && status.errors.contains("pod default/pod-m was attached by Multus"),
            "\(status)"
        )
        let ran = try plexus("repair")
        #expect(ran.status == 0 && ran.output == "2 looked at, 0 had lost something\n", "\(ran)")
        #expect(ran.errors.contains("attached by Multus, and not looked at: default/pod-m"), "\(ran)")
    }
}
