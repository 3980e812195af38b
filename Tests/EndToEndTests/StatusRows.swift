import Support
import Testing

/// The annotation network-status: in the record, in a file for whoever publishes it, and for people.
@Suite struct StatusRows {
    static func args(_ uid: String = "6a1-22") -> String {
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-a;K8S_POD_UID=\(uid)"
    }

    private static func status(_ node: Node, _ words: String...) throws -> Ran {
        try Shell.run(["\(node.directory)/bin/plexus", "status"] + words, input: "", environment: [:])
    }

    @Test("S07, S08: it is there when ADD answers, and goes with DEL")
    func lifetime() throws {
        let node = try MetaEndToEnd.node()
        let (netns, config) = (try node.pod("a"), MetaEndToEnd.config(node))
        let answer = try node.call("ADD", netns: netns, args: Self.args(), config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.files("state/status") == ["default_pod-a_6a1-22.json"])
        let text = try Shell.sh("cat \(node.directory)/state/status/*")
        let status = try Tree(parsing: text)
        #expect(status.list.map { $0["name"].string } == ["default-network", "default/net-a"])
        for (entry, interface) in zip(status.list, ["eth0", "net1"]) {
            let link = try node.ip("addr show \(interface)", pod: "a")[0]
            #expect(entry["interface"].string == interface)
            #expect(entry["mac"].string == link["address"].string)
            let own = link["addr_info"].list.filter { $0["scope"].string == "global" }
            #expect(entry["ips"].list.map(\.string) == own.map { $0["local"].string })
        }
        #expect(status[0]["default"].bool == true)
        #expect(status[0]["gateway"].list.map(\.string) == ["10.244.0.1"])
        let shown = try Self.status(node, "pod-a", "--cni-dir", "\(node.directory)/state")
        #expect(shown.status == 0 && shown.output == text + "\n", "\(shown)")
        for _ in 1...2 {
            #expect(try node.call("DEL", netns: netns, args: Self.args(), config).status == 0)
            #expect(try node.files("state").isEmpty)
        }
    }

    @Test("F06: it says which network has the default route")
    func defaultRoute() throws {
        let node = try MetaEndToEnd.node()
        let networks = #"[{"name":"net-a","default-route":["192.168.12.1"]}]"#
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: Self.args(), MetaEndToEnd.config(node, networks: networks))
        #expect(answer.status == 0, "\(answer.ran)")
        let status = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
        #expect(status[0]["gateway"].list.isEmpty)
        #expect(status[1]["gateway"].list.map(\.string) == ["192.168.12.1"])
        #expect(status[0]["default"].bool == true && status[1]["default"].bool == nil)
    }

    @Test("D10: an ADD that fails leaves none")
    func failure() throws {
        let node = try MetaEndToEnd.node()
        let config = MetaEndToEnd.config(
            node, networks: #"[{"name":"net-a","default-route":["203.0.113.1"]}]"#)
        #expect(try node.call("ADD", netns: try node.pod("a"), args: Self.args(), config).status == 1)
        #expect(try node.files("state").isEmpty)
    }

    @Test("the DEL of a pod's old sandbox leaves that of its new one")
    func secondSandbox() throws {
        let node = try MetaEndToEnd.node()
        let config = MetaEndToEnd.config(node)
        for id in ["c1", "c2"] {
            #expect(
                try node.call("ADD", id: id, netns: try node.pod(id), args: Self.args(), config).status == 0)
        }
        let text = try Shell.sh("cat \(node.directory)/state/status/*")
        #expect(
            try node.call("DEL", id: "c1", netns: "/run/netns/\(node.name)-c1", args: Self.args(), config)
                .status == 0)
        #expect(try Shell.sh("cat \(node.directory)/state/status/*") == text)
    }

    @Test("G04: GC removes those whose record is lost, and keeps those of the living")
    func orphans() throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        #expect(
            try node.call(
                "ADD", netns: netns, args: Self.args(), MetaEndToEnd.config(node, version: "1.1.0")
            ).status == 0)
        try node.write("state/status/default_pod-b_7.json", "[]")
        let valid = #","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]"#
        let answer = try node.call(
            "GC", id: "", netns: "",
            MetaEndToEnd.config(node, version: "1.1.0", networks: nil, extra: valid))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.files("state/status") == ["default_pod-a_6a1-22.json"])
    }

    @Test("S07: a folder that takes no file stops no pod")
    func unpublished() throws {
        let node = try MetaEndToEnd.node()
        try node.write("state/status", "no folder")
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: Self.args(), MetaEndToEnd.config(node))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("network-status is not published"), "\(answer.ran)")
        let shown = try Self.status(node, "default/pod-a", "--cni-dir", "\(node.directory)/state")
        #expect(shown.output.contains("\"name\": \"default/net-a\""), "the record has it too")
    }

    @Test(
        "what status cannot show is said",
        arguments: [
            ("pod-b", "no record of pod default/pod-b"), ("a/b/c", "is no pod"), ("Pod", "is no pod"),
        ])
    func unknown(pod: String, problem: String) throws {
        let node = try MetaEndToEnd.node()
        let (netns, config) = (try node.pod("a"), MetaEndToEnd.config(node))
        #expect(try node.call("ADD", netns: netns, args: Self.args(), config).status == 0)
        let shown = try Self.status(node, pod, "--cni-dir", "\(node.directory)/state")
        #expect(shown.status != 0 && shown.output.isEmpty)
        #expect(shown.errors.contains(problem), "\(shown)")
        let elsewhere = try Self.status(node, "pod-a", "--cni-dir", "/nonexistent")
        #expect(elsewhere.status == 1 && elsewhere.errors.contains("there are no records in /nonexistent"))
        #expect(try Shell.sh("ls /").contains("nonexistent") == false)
    }
}
