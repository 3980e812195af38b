import Foundation
import Support
import Testing

/// The pod's default routes, and the annotation that says what the pod got.
@Suite struct MultusStatusRows {
    // MARK: Default routes

    /// A default network and two others, each with a gateway of both families.
    private static func node() throws -> (Node, (String, String) throws -> Answer) {
        let node = try Node()
        let netns = try node.pod("a")
        func keys(_ number: Int, _ more: String = "") -> String {
            """
            "cniVersion":"1.0.0","type":"bridge","bridge":"br\(number)","isGateway":true\(more),"ipam":{"type":"host-local",\
            "dataDir":"\(node.directory)/ipam","ranges":[[{"subnet":"10.\(number).0.0/24"}],[{"subnet":"fd00:\(number)::/64"}]]}
            """
        }
        try node.define("one", "{\(keys(1))}")
        try node.define("own", "{\(keys(2, #","isDefaultGateway":true"#))}")
        let config = { (networks: String) in
            MetaEndToEnd.config(node, networks: networks).replacing(
                #""delegates":["#,
                with: #""delegates":[{"name":"first",\#(keys(0, #","isDefaultGateway":true"#))}],"unused":["#)
        }
        return (
            node,
            { verb, networks in try node.call(verb, netns: netns, args: StatusRows.args(), config(networks)) }
        )
    }

    /// `eth0 10.0.0.1` of each default route, IPv4 first.
    private static func defaults(_ node: Node) throws -> [String] {
        try ["-4", "-6"].flatMap { family in
            try node.ip("\(family) route show default", pod: "a").list.map {
                "\($0["dev"].string ?? "") \($0["gateway"].string ?? "")"
            }
        }
    }

    /// What is asked for, and the default routes that the pod has then.
    @Test(
        "F01, F02, F04, F06, F07: the default route of a family moves to who asks for it, and the other family stays",
        arguments: [
            (#"[{"name":"one"}]"#, ["eth0 10.0.0.1", "eth0 fd00::1"]),
            (#"[{"name":"one","default-route":["10.1.0.1"]}]"#, ["net1 10.1.0.1", "eth0 fd00::1"]),
            (#"[{"name":"one","default-route":["fd00:1::1"]}]"#, ["eth0 10.0.0.1", "net1 fd00:1::1"]),
            (
                #"[{"name":"one","default-route":["10.1.0.1","fd00:1::1"]}]"#,
                ["net1 10.1.0.1", "net1 fd00:1::1"]
            ),
            (#"[{"name":"one","default-route":[]}]"#, ["eth0 10.0.0.1", "eth0 fd00::1"]),
            (#"[{"name":"own","default-route":[]}]"#, ["net1 10.2.0.1", "net1 fd00:2::1"]),
            (
                #"[{"name":"one","default-route":["10.1.0.1"]},{"name":"own","default-route":["fd00:2::1"]}]"#,
                ["net1 10.1.0.1", "net2 fd00:2::1"]
            ),
        ])
    func moved(networks: String, expected: [String]) throws {
        let (node, call) = try Self.node()
        let answer = try call("ADD", networks)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try Self.defaults(node) == expected)
        // What is printed and published says the same.
        func gateways(of interface: String) -> [String] {
            expected.filter { $0.hasPrefix(interface + " ") }.map { String($0.split(separator: " ")[1]) }
        }
        let printed = answer.json["routes"].list.filter { ["0.0.0.0/0", "::/0"].contains($0["dst"].string) }
        #expect(printed.count == gateways(of: "eth0").count, "\(answer.ran.output)")
        let status = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
        for entry in status.list {
            let interface = entry["interface"].string ?? ""
            #expect(entry["gateway"].list.map(\.string) == gateways(of: interface), "\(status)")
        }
        #expect(try call("CHECK", networks).status == 0)
        #expect(try call("DEL", networks).status == 0)
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test(
        "F03: two gateways of one family are refused before anything is attached",
        arguments: [
            #"[{"name":"one","default-route":["10.1.0.1","10.1.0.2"]}]"#,
            #"[{"name":"one","default-route":["10.1.0.1"]},{"name":"own","default-route":["10.2.0.1"]}]"#,
            #"[{"name":"one","default-route":["fd00:1::1","fd00:1::2"]}]"#,
        ])
    func twice(networks: String) throws {
        let (node, call) = try Self.node()
        let answer = try call("ADD", networks)
        #expect(answer.code == 7 && answer.message.contains("default-route"), "\(answer.ran)")
        #expect(try node.links().isEmpty && node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    // MARK: The annotation

    @Test("S01, S05: the text of the annotation, to the letter")
    func text() throws {
        let pod = try RecordedNode("one", "two")
        try pod.define("one")
        try pod.define("two")
        try pod.plugin(
            "master",
            #"{"cniVersion":"1.0.0","interfaces":[{"name":"IF","mac":"02:00:00:00:00:01","sandbox":"NS"}],"ips":[{"address":"10.1.0.2/24","gateway":"10.1.0.1","interface":0}],"routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}],"dns":{"nameservers":["10.1.0.53"],"search":["a"]}}"#
        )
        try pod.plugin(
            "one",
            #"{"cniVersion":"1.1.0","interfaces":[{"name":"IF","mtu":1400,"sandbox":"NS"}],"ips":[{"address":"fd00::2/64"}]}"#
        )
        #expect(try pod.call("ADD", networks: "one,two").status == 0)
        #expect(
            try Shell.sh("cat \(pod.directory)/state/status/*") == """
                [{
                    "name": "first",
                    "interface": "eth0",
                    "ips": [
                        "10.1.0.2"
                    ],
                    "mac": "02:00:00:00:00:01",
                    "default": true,
                    "dns": {
                        "nameservers": [
                            "10.1.0.53"
                        ],
                        "search": [
                            "a"
                        ]
                    },
                    "gateway": [
                        "10.1.0.1"
                    ]
                },{
                    "name": "default/one",
                    "interface": "net1",
                    "ips": [
                        "fd00::2"
                    ],
                    "mtu": 1400,
                    "dns": {}
                },{
                    "name": "default/two",
                    "interface": "net2",
                    "dns": {}
                }]
                """)
    }

    /// A result, and name and addresses of each entry of its network.
    @Test(
        "S02, S03: a network's entries: one for a single interface or for none with addresses, else one for each in the pod",
        arguments: [
            (
                #"{"interfaces":[{"name":"net1","sandbox":"NS"}],"ips":[{"address":"10.1.0.2/24"},{"address":"10.1.0.3/24","interface":0}]}"#,
                ["net1 10.1.0.2 10.1.0.3"]
            ),
            (
                #"{"interfaces":[{"name":"br0"},{"name":"veth1"},{"name":"net1","sandbox":"NS"}],"ips":[{"address":"10.1.0.2/24","interface":2}]}"#,
                ["net1 10.1.0.2"]
            ),
            (
                #"{"interfaces":[{"name":"net1","sandbox":"NS"},{"name":"veth1"},{"name":"net1b","sandbox":"NS"}],"ips":[{"address":"10.1.0.2/24","interface":0},{"address":"10.1.0.3/24"},{"address":"10.1.0.4/24","interface":1}]}"#,
                ["net1 10.1.0.2", "net1b 10.1.0.3"]
            ),
            (#"{"ips":[{"address":"10.1.0.2/24"},{"address":"fd00::2/64"}]}"#, ["net1 10.1.0.2 fd00::2"]),
            ("{}", []),
        ])
    func entries(result: String, expected: [String]) throws {
        let pod = try RecordedNode("one")
        try pod.define("one")
        try pod.plugin(
            "one", result.replacing("{\"i", with: "{\"cniVersion\":\"1.0.0\",\"i", maxReplacements: 1))
        let answer = try pod.call("ADD", networks: "one")
        #expect(answer.status == 0, "\(answer.ran)")
        let found = try pod.status().list.filter { $0["name"].string == "default/one" }.map { entry in
            ([entry["interface"].string ?? ""] + entry["ips"].list.compactMap(\.string)).joined(
                separator: " ")
        }
        #expect(found == expected)
    }

    @Test(
        "S04: a default route without a gateway has that of its family's address, or none",
        arguments: [(#","gateway":"10.1.0.1""#, ["10.1.0.1"]), ("", [])])
    func gateway(keys: String, expected: [String]) throws {
        let pod = try RecordedNode("one")
        try pod.define("one")
        try pod.plugin(
            "one",
            RecordedNode.result(
                "1.0.0",
                #""ips":[{"address":"10.1.0.2/24","interface":0\#(keys)}],"routes":[{"dst":"0.0.0.0/0"}]"#))
        #expect(try pod.call("ADD", networks: "one").status == 0)
        let text = try Shell.sh("cat \(pod.directory)/state/status/*")
        #expect(!text.contains("nil"))
        #expect(try pod.status()[1]["gateway"].list.map(\.string) == expected)
    }

    @Test("S08: a pod that asks for nothing has a status of one entry")
    func plain() throws {
        let pod = try RecordedNode()
        let answer = try pod.call("ADD", pod.config())
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.status().list.map { $0["name"].string } == ["first"])
        #expect(try pod.node.files("state/status") == ["default_pod-a_.json"])
    }
}
