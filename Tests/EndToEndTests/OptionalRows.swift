import Support
import Testing

/// Networks that a pod may start without, and those that it does without.
@Suite struct OptionalRows {
    private let node: Node

    init() throws {
        node = try MetaEndToEnd.node()
        _ = try node.pod("a")
    }

    private func call(_ verb: String, _ networks: String, extra: String = "") throws -> Answer {
        try node.call(
            verb, netns: "/run/netns/\(node.name)-a", args: StatusRows.args(),
            MetaEndToEnd.config(node, networks: networks, extra: extra))
    }

    private func status() throws -> Tree {
        try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
    }

    private static func asking(_ element: String) -> String {
        #"[{"name":"bad","optional":true\#(element)},{"name":"net-a"}]"#
    }

    /// What is wrong with it, found at each stage of an ADD.
    private static let faults: [(config: String?, element: String, words: String)] = [
        (nil, "", "cannot find a network-attachment-definition"),
        ("{", "", "spec.config"), (#"{"type":"bridge","vlanId":5}"#, "", "vlanId"),
        (#"{"type":"nowhere"}"#, "", "failed to find plugin"),
        (
            #"{"type":"bridge","bridge":"b2","ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"10.9.0.0/31"}}"#,
            "", "10.9.0.0/31"
        ),
        (
            #"{"type":"bridge","bridge":"b2","ipam":{"type":"static","addresses":[{"address":"10.9.0.2/24"}]},"isGateway":true}"#,
            #","ips":["10.0.0.0"]"#, "bad"
        ),
        (#"{"type":"macvlan","master":"nowhere0"}"#, "", "nowhere0"),
        (#"{"plugins":[{"type":"bridge","bridge":"b2"},{"type":"fails"}]}"#, "", "no luck"),
    ]

    @Test(
        "a name that the pod has, and a default route that cannot be",
        arguments: [
            (#","interface":"lo""#, "lo is every pod's own"),
            (#","interface":"own0""#, "interface \"own0\" already exists"),
            (#","default-route":["203.0.113.1"]"#, "default-route"),
        ])
    func late(element: String, words: String) throws {
        try node.sh("ip link add own0 type veth peer own1", pod: "a")
        try node.define(
            "bad",
            #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2","ipam":{"type":"static","addresses":[{"address":"10.9.0.2/24"}]}}"#
        )
        let answer = try call("ADD", Self.asking(element))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains(words), "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net2", "own0", "own1"])
        #expect(
            try status().list.map { $0["name"].string } == [
                "default-network", "default/net-a", "default/bad",
            ])
        #expect(try node.sh("ip route show default", pod: "a").contains("dev eth0"))
        #expect(try !node.links().contains("b2"))
        #expect(try call("CHECK", "").status == 0)
        #expect(try call("DEL", "").status == 0)
        #expect(try node.links(pod: "a") == ["own0", "own1"] && node.files("state").isEmpty)
    }

    @Test(
        "the pod starts without it; log and status say so, and nothing of it stays", arguments: faults.indices
    )
    func missing(index: Int) throws {
        let fault = Self.faults[index]
        if let config = fault.config {
            try node.define(
                "bad",
                config.replacing("DIR", with: node.directory).replacing(
                    "{\"type\":\"", with: "{\"cniVersion\":\"1.0.0\",\"type\":\""
                )
                .replacing("[{\"cniVersion\":\"1.0.0\",", with: "[{").replacing(
                    ",{\"cniVersion\":\"1.0.0\",", with: ",{"
                )
                .replacing("{\"plugins", with: "{\"cniVersion\":\"1.0.0\",\"plugins"))
        }
        try node.script(
            "fails", #"[ $CNI_COMMAND = DEL ] || { echo '{"code":100,"msg":"no luck"}'; exit 1; }"#)
        // The same network is an error without the word.
        let strict = try call(
            "ADD", Self.asking(fault.element).replacing(#""optional":true"#, with: #""optional":false"#))
        #expect(strict.status == 1, "\(strict.ran)")
        #expect(try node.files("state").isEmpty && node.links(pod: "a").isEmpty)

        let answer = try call("ADD", Self.asking(fault.element))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(
            answer.ran.errors.contains("it starts without the optional network default/bad: "),
            "\(answer.ran)")
        #expect(answer.ran.errors.contains(fault.words), "\(answer.ran)")
        // By its place in the list, as if the other one were there.
        #expect(try node.links(pod: "a") == ["eth0", "net2"])
        #expect(try node.links().filter { $0 == "b2" }.isEmpty)
        let status = try status().list
        #expect(status.map { $0["name"].string } == ["default-network", "default/net-a", "default/bad"])
        #expect(
            status[2]["error"].string?.contains(fault.words) == true && status[2]["interface"].string == nil)
        #expect(try call("CHECK", Self.asking(fault.element)).status == 0)
        #expect(try call("DEL", Self.asking(fault.element)).status == 0)
        #expect(try node.files("state").isEmpty && node.links(pod: "a").isEmpty)
        #expect(try node.files("ipam").filter { $0.contains("/10.") || $0.contains("/192.") }.isEmpty)
    }

    @Test("one that can be had is as any other")
    func attached() throws {
        let answer = try call("ADD", #"[{"name":"net-a","optional":true}]"#)
        #expect(answer.status == 0 && answer.ran.errors.isEmpty, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try status().list.allSatisfy { $0["error"].string == nil })
    }

    @Test(
        "a network that a pod must not name, and a word that is none, stay errors",
        arguments: [
            (#"[{"name":"net-a","namespace":"other","optional":true}]"#, "namespace isolation"),
            (#"[{"name":"net-a","optional":"yes"}]"#, "optional"),
        ])
    func refused(networks: String, words: String) throws {
        let answer = try call("ADD", networks, extra: #","namespaceIsolation":true"#)
        #expect(answer.code == 7 && answer.message.contains(words), "\(answer.ran)")
    }

    @Test("explain says what the pod would start without")
    func explained() throws {
        try node.write("config", MetaEndToEnd.config(node, networks: nil))
        let ran = try Shell.run([
            "ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "explain", "--config",
            "\(node.directory)/config",
            "--networks", Self.asking(""),
        ])
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.contains("# without the optional network default/bad: cannot find"), "\(ran)")
        #expect(ran.output.contains("net2  default/net-a"))
    }

    // MARK: Refused networks

    @Test(
        "D07: DEL does not run for a network that ADD refused",
        arguments: [
            (#"[{"name":"rec","namespace":"other","cni-args":{"evil":1}}]"#, #","namespaceIsolation":true"#),
            ("rec@eth0", ""), (#"[{"name":"rec","ips":["224.0.0.1"]}]"#, ""),
        ])
    func refusedStaysAlone(networks: String, extra: String) throws {
        let config = #"{"cniVersion":"1.0.0","type":"rec"}"#
        try node.define("rec", config)
        try node.define("rec", namespace: "other", config)
        try node.script("rec", #"echo '{"cniVersion":"1.0.0"}'"#)
        let refused = try call("ADD", networks, extra: extra)
        #expect(refused.status == 1, "\(refused.ran)")
        let gone = try call("DEL", networks, extra: extra)
        #expect(gone.status == 0, "\(gone.ran)")
        #expect(
            try Shell.sh("[ -e \(node.directory)/rec.log ] && cat \(node.directory)/rec.log || true").isEmpty)
    }

    @Test("E09: containerd is not told that a DEL which must be repeated is done")
    func words() throws {
        try node.script(
            "rec",
            #"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0"}' || { echo '{"code":999,"msg":"link not found"}'; exit 1; }"#
        )
        try node.define("rec", #"{"cniVersion":"1.0.0","type":"rec"}"#)
        #expect(try call("ADD", "rec").status == 0)
        let gone = try call("DEL", "rec")
        #expect(gone.status == 1 && !gone.ran.output.contains("not found"), "\(gone.ran)")
        #expect(
            gone.message.contains("link not-found") && gone.ran.errors.contains("link not found"),
            "\(gone.ran)")
    }

    // MARK: defaultNetworks

    @Test(
        "a pod leaves out the networks that every pod gets",
        arguments: [
            ("", ["eth0", "net1"]), (#","plexus/default-networks":"none""#, ["eth0"]),
        ])
    func optsOut(annotation: String, links: [String]) throws {
        try node.write(
            "net.d/10-net.conf",
            #"{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":"cni0"}"#)
        let config = """
            {"cniVersion":"1.0.0","name":"node-network","type":"plexus","cniDir":"\(node.directory)/state",\
            "cacheDir":"\(node.directory)/cache","multusNamespace":"default","defaultNetworks":["net-a"],\
            "clusterNetwork":"\(node.directory)/net.d/10-net.conf",\
            "runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":"b"\(annotation)}}}
            """
        let answer = try node.call("ADD", netns: "/run/netns/\(node.name)-a", args: StatusRows.args(), config)
        #expect(answer.status == 0 && answer.ran.errors.isEmpty, "\(answer.ran)")
        #expect(try node.links(pod: "a") == Set(links))
        if annotation.isEmpty { return }
        #expect(
            try node.call("DEL", netns: "/run/netns/\(node.name)-a", args: StatusRows.args(), config).status
                == 0)
        let wrong = try node.call(
            "ADD", netns: "/run/netns/\(node.name)-a", args: StatusRows.args(),
            config.replacing("\"none\"", with: "\"no\""))
        #expect(wrong.code == 7 && wrong.message.contains("plexus/default-networks"), "\(wrong.ran)")
    }
}
