import Support
import Testing

/// The executable as a runtime calls it: environment, stdin, stdout, exit status; the kernel is asked by `ip`.
@Suite struct MetaEndToEnd {
    static let article = """
        {"cniVersion":"1.0.0","type":"bridge","bridge":"mybr0","ipam":{"type":"host-local","dataDir":"DIR/ipam",\
        "subnet":"192.168.12.0/24","rangeStart":"192.168.12.10","rangeEnd":"192.168.12.200"}}
        """
    static let pod = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-a;IgnoreUnknown=1"

    static func node() throws -> Node {
        let node = try Node()
        try node.define("net-a", article.replacing("DIR", with: node.directory))
        return node
    }

    static func config(
        _ node: Node, version: String = "1.0.0", networks: String? = "net-a", extra: String = "",
        delegate: String = ""
    ) -> String {
        let annotations = networks.map {
            "{\"k8s.v1.cni.cncf.io/networks\":\"\($0.replacing("\"", with: "\\\""))\"}"
        }
        let runtime =
            annotations.map { ",\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":\($0)}" } ?? ""
        return """
            {"cniVersion":"\(version)","name":"node-network","type":"plexus","cniDir":"\(node.directory)/state",\
            "cacheDir":"\(node.directory)/cache","confDir":"\(node.directory)/conf","binDir":"\(node.directory)/plugins",\
            "capabilities":{"io.kubernetes.cri.pod-annotations":true}\(runtime)\(extra),\
            "delegates":[{"cniVersion":"\(version)","name":"default-network","type":"bridge","bridge":"cni0",\
            "isDefaultGateway":true,"ipam":{"type":"host-local","dataDir":"\(node.directory)/ipam",\
            "ranges":[[{"subnet":"10.244.0.0/24"}]]}\(delegate)}]}
            """
    }

    @Test func theArticlesBridgeGivesNet1BesideEth0() throws {
        let node = try Self.node()
        let netns = try node.pod("a")
        let answer = try node.call("ADD", netns: netns, args: Self.pod, Self.config(node))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses("net1", pod: "a") == ["192.168.12.10/24"])
        #expect(try node.addresses("eth0", pod: "a") == ["10.244.0.2/24"])
        #expect(answer.json["interfaces"][2]["name"].string == "eth0")
        #expect(answer.json["ips"][0]["address"].string == "10.244.0.2/24")
        #expect(try Shell.sh("ip netns exec \(node.name) cat /proc/sys/net/ipv4/ip_forward") == "1\n")
        let ports = try node.ip("link show master mybr0").list
        #expect(ports.count == 1)
        let gateway = try node.ip("route", pod: "a").list.first { $0["dst"].string == "default" }
        #expect(gateway?["gateway"].string == "10.244.0.1")
        #expect(gateway?["dev"].string == "eth0")
    }

    @Test func twoPodsPingEachOther() throws {
        let node = try Self.node()
        for pod in ["a", "b"] {
            let answer = try node.call(
                "ADD", id: "c-\(pod)", netns: try node.pod(pod), args: Self.pod, Self.config(node))
            #expect(answer.status == 0, "\(answer.ran)")
        }
        for address in ["192.168.12.11", "10.244.0.3", "10.244.0.1"] {
            try Shell.sh("ip netns exec \(node.name)-a ping -c 1 -w 10 \(address)")
        }
    }

    @Test("R05: the result is in the version of the call", arguments: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    func theResultIsInTheCallsVersion(version: String) throws {
        let node = try Self.node()
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: Self.pod, Self.config(node, version: version))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["cniVersion"].string == version)
        #expect(answer.json["ips"][0]["version"].string == (version < "1" ? "4" : nil))
    }

    @Test func addingTwiceFailsAndDamagesNothing() throws {
        let node = try Self.node()
        let netns = try node.pod("a")
        #expect(try node.call("ADD", netns: netns, args: Self.pod, Self.config(node)).status == 0)
        let before = try (node.links(), node.links(pod: "a"), node.files("ipam"), node.files("state"))
        let again = try node.call("ADD", netns: netns, args: Self.pod, Self.config(node))
        #expect(again.status == 1)
        #expect(again.message.contains("attached already"))
        let after = try (node.links(), node.links(pod: "a"), node.files("ipam"), node.files("state"))
        #expect(before == after)
        #expect(try node.call("CHECK", netns: netns, args: Self.pod, Self.config(node)).status == 0)
    }

    enum Loss: String, CaseIterable { case nothing, namespace, state, tornState, cache, stateAndNamespace }

    @Test("E05, E06, E07, E08: DEL, twice, with anything lost", arguments: Loss.allCases)
    func deleteFreesEverything(loss: Loss) throws {
        let node = try Self.node()
        let netns = try node.pod("a")
        let config = Self.config(node)
        #expect(try node.call("ADD", netns: netns, args: Self.pod, config).status == 0)
        switch loss {
        case .nothing: break
        case .namespace: try node.removePod("a")
        case .state: try Shell.sh("rm -rf \(node.directory)/state")
        case .tornState: try Shell.sh("for f in \(node.directory)/state/attachments/*.json; do : > $f; done")
        case .cache: try Shell.sh("rm -rf \(node.directory)/cache")
        case .stateAndNamespace:
            try Shell.sh("rm -rf \(node.directory)/state")
            try node.removePod("a")
        }
        for _ in 1...2 {
            let answer = try node.call("DEL", netns: netns, args: Self.pod, config)
            #expect(answer.status == 0, "\(answer.ran)")
            #expect(answer.ran.output.isEmpty)
        }
        #expect(try node.links() == ["cni0", "mybr0"])
        #expect(
            try node.files("ipam").filter { !$0.contains("last_reserved_ip") && !$0.hasSuffix("lock") }
                .isEmpty)
        #expect(try node.files("state").isEmpty)
        if loss != .namespace, loss != .stateAndNamespace { #expect(try node.links(pod: "a").isEmpty) }
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let networks: String?
        var extra = ""
        var delegate = ""
        let code: Int
        let words: [String]
        var testDescription: String { words[0] }
    }

    @Test(arguments: [
        Refusal(networks: "net-none", code: 7, words: ["net-none", "default"]),
        Refusal(networks: nil, code: 11, words: ["default/pod-a", "unknown"]),
        Refusal(
            networks: "net-a", extra: ",\"clusterNetwrok\":\"x\"", code: 7,
            words: ["clusterNetwrok", "clusterNetwork"]),
        Refusal(networks: "net-a", delegate: ",\"isGatway\":true", code: 7, words: ["isGatway"]),
        Refusal(networks: "a/b/c", code: 7, words: ["a/b/c", "more than one '/'"]),
        Refusal(networks: "[{\"name\":\"net-a\",\"ips\":\"1\"}]", code: 7, words: ["networks[0].ips"]),
        Refusal(networks: "[null]", code: 7, words: ["networks[0]"]),
        Refusal(networks: "net-a@eth0", code: 7, words: ["eth0", "asked for by both"]),
        Refusal(
            networks: "net-a", extra: ",\"logOptions\":{\"maxSize\":-1}", code: 7,
            words: ["logOptions.maxSize"]),
        Refusal(networks: "net-a", delegate: ",\"vlan\":5000", code: 7, words: ["vlan", "5000"]),
    ])
    func badInputIsNamedAndChangesNothing(refusal: Refusal) throws {
        let node = try Self.node()
        let netns = try node.pod("a")
        let config = Self.config(
            node, networks: refusal.networks, extra: refusal.extra, delegate: refusal.delegate)
        let answer = try node.call("ADD", netns: netns, args: Self.pod, config)
        #expect(answer.status == 1)
        #expect(answer.code == refusal.code, "\(answer.ran.output)")
        for word in refusal.words { #expect(answer.ran.output.contains(word), "\(answer.ran.output)") }
        #expect(try node.links().isEmpty)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.files("ipam").isEmpty)
        #expect(try node.files("state").isEmpty)
    }

    @Test("A14, A15, A23, F01: ips, mac, interface, default-route and namespace reach the kernel")
    func selectionsKeysReachTheAttachment() throws {
        let node = try Self.node()
        let netns = try node.pod("a")
        try node.define(
            "plain", namespace: "other",
            Self.article.replacing("DIR", with: node.directory).replacing("mybr0", with: "br-b"))
        let networks = """
            [{"name":"net-a","ips":["192.168.12.77"],"mac":"02:00:00:00:00:77","interface":"data0",\
            "default-route":["192.168.12.1"]},{"name":"plain","namespace":"other"}]
            """
        let answer = try node.call("ADD", netns: netns, args: Self.pod, Self.config(node, networks: networks))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses("data0", pod: "a") == ["192.168.12.77/24"])
        #expect(try node.ip("link show data0", pod: "a")[0]["address"].string == "02:00:00:00:00:77")
        #expect(try node.links(pod: "a") == ["eth0", "data0", "net2"])
        let defaults = try node.ip("route", pod: "a").list.filter { $0["dst"].string == "default" }
        #expect(defaults.count == 1)
        #expect(defaults.first?["gateway"].string == "192.168.12.1")
        #expect(defaults.first?["dev"].string == "data0")
        #expect(answer.json["routes"].list.isEmpty)
        #expect(
            try node.call("CHECK", netns: netns, args: Self.pod, Self.config(node, networks: networks)).status
                == 0)
    }

    /// What ADD returns is usable: no address is still being checked for a duplicate.
    @Test func enabledadReturnsWithSettledAddresses() throws {
        let node = try Node()
        try node.define(
            "dad",
            """
            {"cniVersion":"1.0.0","type":"bridge","bridge":"br-dad","isGateway":true,"enabledad":true,
             "ipam":{"type":"host-local","dataDir":"\(node.directory)/ipam","subnet":"fd00:77::/64"}}
            """)
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: Self.pod, Self.config(node, networks: "dad"))
        #expect(answer.status == 0, "\(answer.ran)")
        let addresses = try node.ip("addr show dev net1", pod: "a")[0]["addr_info"].list
        #expect(addresses.contains { $0["local"].string == "fd00:77::2" })
        #expect(!addresses.contains { $0["tentative"].bool == true })
    }

    @Test func aListMayHaveItsPluginsInADirectory() throws {
        let node = try Node()
        try node.write("conf/spread.conflist", #"{"cniVersion":"1.0.0","name":"spread","plugins":[]}"#)
        try node.write("conf/spread/10.conf", #"{"type":"bridge","bridge":"br-spread"}"#)
        try node.define("spread", "")
        let config = Self.config(node, networks: "spread")
        #expect(try node.call("ADD", netns: try node.pod("a"), args: Self.pod, config).status == 0)
        #expect(try node.links().contains("br-spread"))
        try node.write("conf/spread/20.conf", #"{"type":"../x"}"#)
        let refused = try node.call("ADD", id: "c2", netns: try node.pod("b"), args: Self.pod, config)
        #expect(refused.status == 1)
        #expect(try node.links(pod: "b").isEmpty)
    }

    @Test func namespaceIsolationRefusesForeignNetworks() throws {
        let node = try Self.node()
        let config = Self.config(node, networks: "other/secret", extra: ",\"namespaceIsolation\":true")
        let answer = try node.call("ADD", netns: try node.pod("a"), args: Self.pod, config)
        #expect(answer.code == 7)
        #expect(answer.message.contains("namespace isolation enabled"))
    }

    @Test("A34: the cache knows the pod, or an earlier one of its name") func podsInTheCacheAreCheckedByUID()
        throws
    {
        let node = try Self.node()
        let netns = try node.pod("a")
        try node.write(
            "cache/pods/default/pod-a.yaml",
            "metadata:\n  name: pod-a\n  uid: one\n  annotations:\n    k8s.v1.cni.cncf.io/networks: net-a\n")
        let config = Self.config(node, networks: nil)
        let wrong = try node.call("ADD", netns: netns, args: Self.pod + ";K8S_POD_UID=two", config)
        #expect(wrong.code == 11)
        #expect(wrong.message.contains("expected pod UID"))
        let right = try node.call("ADD", netns: netns, args: Self.pod + ";K8S_POD_UID=one", config)
        #expect(right.status == 0, "\(right.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
    }

    @Test("G01: of two pods the one that the list does not name goes")
    func garbageCollectionDetachesWhatTheRuntimeForgot() throws {
        let node = try Self.node()
        for pod in ["a", "b"] {
            let config = Self.config(node, version: "1.1.0")
            let answer = try node.call(
                "ADD", id: "c-\(pod)", netns: try node.pod(pod), args: Self.pod, config)
            #expect(answer.status == 0, "\(answer.ran)")
        }
        let valid = ",\"cni.dev/valid-attachments\":[{\"containerID\":\"c-b\",\"ifname\":\"eth0\"}]"
        let answer = try node.call(
            "GC", netns: "", Self.config(node, version: "1.1.0", networks: nil, extra: valid))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.links(pod: "b") == ["eth0", "net1"])
        let state = try node.files("state").filter { $0.hasPrefix("attachments/") }
        #expect(state == ["attachments/c-b@eth0.json", "attachments/c-b@eth0.json.lock"])
        let leases = try node.files("ipam").filter { !$0.contains("last") && !$0.hasSuffix("lock") }
        #expect(leases == ["default-network/10.244.0.3", "net-a/192.168.12.11"])
    }

    @Test func collectionKeepsWhatAnotherProgramGaveToTheLiving() throws {
        let node = try Self.node()
        let valid = ",\"cni.dev/valid-attachments\":[{\"containerID\":\"c-b\",\"ifname\":\"eth0\"}]"
        try node.write("ipam/default-network/10.244.0.7", "c-b\r\nnet1")
        try node.write("ipam/default-network/10.244.0.8", "c-dead\r\nnet1")
        let config = Self.config(node, version: "1.1.0", networks: nil, extra: valid)
        #expect(try node.call("GC", netns: "", config).status == 0)
        let leases = try node.files("ipam").filter { !$0.hasSuffix("lock") }
        #expect(leases == ["default-network/10.244.0.7"])
    }

    /// What ADD would refuse, and what DEL no longer needs, must not keep a pod from going.
    @Test(
        "E05: DEL without record by a configuration that changed",
        arguments: [
            #""vlan":5000"#, #""isGatway":true"#, #""ipam":{"type":"none-such"}"#, #""cniVersion":"0.1.0""#,
            #""ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"oops"}"#,
        ])
    func deleteWorksWithAConfigurationThatChanged(change: String) throws {
        let node = try Self.node()
        let netns = try node.pod("a")
        #expect(try node.call("ADD", netns: netns, args: Self.pod, Self.config(node)).status == 0)
        try Shell.sh("rm -rf \(node.directory)/state")
        let changed = """
            {"cniVersion":"1.0.0","type":"bridge","bridge":"mybr0",\(change.replacing("DIR", with: node.directory))}
            """
        try node.define("net-a", changed)
        let answer = try node.call("DEL", netns: netns, args: Self.pod, Self.config(node))
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.links() == ["cni0", "mybr0"])
        #expect(answer.status == 0, "\(answer.ran)")
        let leases = try node.files("ipam").filter { !$0.contains("last") && !$0.hasSuffix("lock") }
        #expect(leases.isEmpty)
    }

    @Test func aLayer2NetworkOfTheOldestVersionGoesAgain() throws {
        let node = try Node()
        let netns = try node.pod("a")
        try node.define("old", #"{"type":"bridge","bridge":"br-old"}"#)
        let config = Self.config(node, networks: "old")
        let answer = try node.call("ADD", netns: netns, args: Self.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.call("DEL", netns: netns, args: Self.pod, config).status == 0)
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test func statusNamesWhatIsMissing() throws {
        let node = try Self.node()
        let good = Self.config(node, version: "1.1.0", networks: nil)
        #expect(try node.call("STATUS", netns: "", good).status == 0)
        let bad = Self.config(
            node, version: "1.1.0", networks: nil, extra: ",\"readinessindicatorfile\":\"/none/such\"")
        let answer = try node.call("STATUS", netns: "", bad)
        #expect(answer.code == 50)
        #expect(answer.message.contains("/none/such"))
    }
}
