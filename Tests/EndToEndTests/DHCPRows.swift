import Support
import Testing

/// The address source dhcp against servers, one ADD after the other.
@Suite struct DHCPRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private static let bridge = #""type":"bridge","bridge":"br0""#
    private static let macvlan = #""type":"macvlan","master":"eth1""#
    private static let device = #""type":"host-device","device":"eth1""#

    @Test(
        "DH-01, DH-24, DX-01, DX-06: address, mask and router of a server, without a daemon; DEL gives it back",
        arguments: [bridge, macvlan, device])
    func life(plugin: String) throws {
        try node.dnsmasq()
        try node.define("lan", plugin)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let address = try #require(try node.leasefile().first?[2])
        #expect(try node.addresses() == ["\(address)/24"])
        #expect(answer.json["ips"][0]["address"].string == "10.244.0.2/24", "the default network's")
        let status = try node.status()
        #expect(status[1]["name"].string == "default/lan")
        #expect(status[1]["ips"].list.map(\.string) == [address])
        #expect(try node.record()?["address"].string == address)
        try node.node.sh("ping -c 1 -W 5 -I net1 192.0.2.1", pod: "a")
        for _ in 1...2 {
            let check = try node.call("CHECK")
            #expect(check.status == 0, "\(check.ran)")
        }
        #expect(try node.call("DEL").status == 0)
        try node.until("the lease is given back") { try node.leasefile().isEmpty }
        #expect(try node.log("dnsmasq").contains("DHCPRELEASE"))
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        #expect(try node.node.files("state").isEmpty)
        #expect(try node.node.links().contains("eth1"))
        #expect(try node.call("DEL").status == 0)
    }

    @Test(
        "DH-02: one address without an interface's number of its own, the router as gateway and route, no dns; as every version has it",
        arguments: ["0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    func versions(version: String) throws {
        try node.dnsmasq("--dhcp-option=6,192.0.2.53")
        let answer = try node.plugin("ADD", "", "dhcp", "", version: version, interface: try link())
        try #require(answer.status == 0, "\(answer.ran)")
        let address = try #require(try node.leasefile().first?[2])
        #expect(answer.json["cniVersion"].string == version)
        if version == "0.2.0" {
            #expect(answer.json["ip4"]["ip"].string == "\(address)/24")
            #expect(answer.json["ip4"]["gateway"].string == "192.0.2.1")
            #expect(answer.json["ip4"]["routes"][0]["dst"].string == "0.0.0.0/0")
        } else {
            #expect(answer.json["ips"].list.count == 1)
            #expect(answer.json["ips"][0]["address"].string == "\(address)/24")
            #expect(answer.json["ips"][0]["gateway"].string == "192.0.2.1")
            #expect(!answer.json["ips"][0]["interface"].exists)
            #expect(answer.json["ips"][0]["version"].string == (version < "1" ? "4" : nil))
            #expect(answer.json["routes"].list.map { $0["dst"].string } == ["0.0.0.0/0"])
            #expect(answer.json["routes"][0]["gw"].string == "192.0.2.1")
        }
        #expect(answer.json["dns"].keys.isEmpty)
    }

    /// A link in the pod, as a third-party plugin makes one that then calls dhcp.
    private func link() throws -> String {
        try node.node.sh("ip link add own0 type veth peer name net7 && ip link set own0 master br0 up")
        try node.node.sh("ip link set net7 netns \(node.node.name)-a")
        return "net7"
    }

    @Test("DH-18, DH-19, DH-25, DH-29: under its own name, as a plugin calls it that others have written")
    func ownName() throws {
        try node.dnsmasq()
        let interface = try link()
        func call(_ verb: String, _ keys: String = "") throws -> Answer {
            try node.plugin(verb, keys, "dhcp", "", version: "1.1.0", interface: interface)
        }
        #expect(try call("DEL").status == 0, "nothing is known yet")
        #expect(try call("CHECK").message.contains("there is no lease of net7"))
        let first = try call("ADD")
        try #require(first.status == 0, "\(first.ran)")
        let asked = try node.log("dnsmasq").ranges(of: "DHCPDISCOVER(").count
        let again = try call("ADD")
        #expect(again.ran.output == first.ran.output, "the same address")
        #expect(try node.log("dnsmasq").ranges(of: "DHCPDISCOVER(").count == asked)
        #expect(try call("CHECK").status == 0)
        // The link is made anew: another MAC address, the same client.
        try node.node.sh("ip link del net7", pod: "a")
        _ = try link()
        let anew = try call("ADD")
        #expect(anew.status == 0 && anew.json["ips"][0]["address"].exists, "\(anew.ran)")
        #expect(try node.leasefile().count == 1)
        let kept = try node.plugin(
            "GC", "", "dhcp", #""cni.dev/valid-attachments":[{"containerID":"c1","ifname":"net7"}]"#,
            version: "1.1.0")
        #expect(try kept.status == 0 && node.records() == ["c1@net7.json"], "\(kept.ran)")
        try node.node.sh("ip addr add \(anew.json["ips"][0]["address"].string ?? "") dev net7", pod: "a")
        for _ in 1...3 { #expect(try call("DEL").status == 0) }
        try node.until("the lease is given back") { try node.leasefile().isEmpty }
        #expect(try node.records().isEmpty)
        #expect(try call("CHECK").message.contains("there is no lease of net7"))
        #expect(try call("ADD").status == 0)
        let collected = try node.plugin(
            "GC", "", "dhcp", #""cni.dev/valid-attachments":[]"#, version: "1.1.0")
        #expect(try collected.status == 0 && node.records().isEmpty, "\(collected.ran)")
    }

    @Test("DH-04: two networks of a pod have a lease each, of one server")
    func twoNetworks() throws {
        try node.dnsmasq()
        try node.define("lan")
        try node.define("lan2", Self.bridge)
        let answer = try node.call("ADD", "lan,lan2")
        try #require(answer.status == 0, "\(answer.ran)")
        let leases = try node.leasefile()
        #expect(leases.count == 2 && Set(leases.map { $0[2] }).count == 2)
        #expect(Set(try node.addresses("net1") + node.addresses("net2")) == Set(leases.map { $0[2] + "/24" }))
        #expect(try node.records() == ["c1@net1.json", "c1@net2.json"])
        #expect(try node.call("CHECK", "lan,lan2").status == 0)
        #expect(try node.call("DEL", "lan,lan2").status == 0)
        try node.until("both are given back") { try node.leasefile().isEmpty }
    }

    @Test("DH-12, DU-05: the pod's name is known to the server, by host-name from CNI_ARGS")
    func hostName() throws {
        try node.dnsmasq()
        try node.define(
            "lan", Self.macvlan, #""provide":[{"option":"host-name","value":"x","fromArg":"K8S_POD_NAME"}]"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.leasefile().first?[3] == "pod-a")
    }

    @Test("DH-15: a MAC address that the pod asks for gets its reservation")
    func reservation() throws {
        try node.dnsmasq("--dhcp-host=02:00:00:00:00:77,192.0.2.177")
        try node.define("lan", Self.macvlan + #","capabilities":{"mac":true}"#)
        let answer = try node.call("ADD", #"[{"name":"lan","mac":"02:00:00:00:00:77"}]"#)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses() == ["192.0.2.177/24"])
    }

    @Test(
        "DH-05, DH-06, DH-07: classless routes alone, or classful ones and the default; the metric is of each",
        arguments: [
            (
                #""request":[{"option":"121"}]"#, "121,10.1.0.0/16,192.0.2.7,10.2.0.0/16,0.0.0.0",
                ["10.1.0.0/16 192.0.2.7", "10.2.0.0/16 "]
            ),
            (
                // Two pairs and a half.
                #""request":[{"option":"33"}]"#,
                "33,10.9.9.9,192.0.2.8,192.168.77.5,192.0.2.9,10.10.0.0",
                ["10.0.0.0/8 192.0.2.8", "192.168.77.0/24 192.0.2.9", "default 192.0.2.1"]
            ),
            (
                #""request":[{"option":"33"}]"#, "33,10.9.9.9,192.0.2.8,192.168.77.5,192.0.2.9",
                ["10.0.0.0/8 192.0.2.8", "192.168.77.0/24 192.0.2.9", "default 192.0.2.1"]
            ),
            ("", "3,192.0.2.1,192.0.2.2,192.0.2.3", ["default 192.0.2.1"]),
        ])
    func routes(keys: String, option: String, wanted: [String]) throws {
        try node.dnsmasq("--dhcp-option=\(option)")
        try node.define("lan", Self.macvlan, (keys.isEmpty ? "" : keys + ",") + #""priority":321"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let routes = try node.node.ip("route show dev net1", pod: "a").list.filter {
            $0["protocol"].string != "kernel"
        }
        #expect(
            routes.map { "\($0["dst"].string ?? "") \($0["gateway"].string ?? "")" }.sorted()
                == wanted.sorted())
        #expect(routes.allSatisfy { $0["metric"].int == 321 })
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
    }

    @Test("DH-08, DH-09: dns, MTU and further routers are used when they are asked for")
    func accepted() throws {
        try node.dnsmasq(
            "--dhcp-option=6,192.0.2.53,192.0.2.54 --dhcp-option=15,example.org --dhcp-option=119,a.example.org,b.example.org"
                + " --dhcp-option=26,1400 --dhcp-option=3,192.0.2.1,192.0.2.2")
        let interface = try link()
        let answer = try node.plugin(
            "ADD", #""accept":["dns","mtu","routers"],"priority":9"#, "dhcp", "", version: "1.1.0",
            interface: interface)
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["dns"]["nameservers"].list.map(\.string) == ["192.0.2.53", "192.0.2.54"])
        #expect(answer.json["dns"]["domain"].string == "example.org")
        #expect(answer.json["dns"]["search"].list.map(\.string) == ["a.example.org", "b.example.org"])
        let routes = answer.json["routes"].list
        #expect(routes.map { $0["gw"].string } == ["192.0.2.1", "192.0.2.2"])
        #expect(routes.map { $0["priority"].int } == [9, 10])
        #expect(routes.map { $0["mtu"].int } == [1400, 1400])
    }

    @Test("dns of a server is that of a pod's network, and routes have its MTU")
    func acceptedByAPod() throws {
        try node.dnsmasq("--dhcp-option=6,192.0.2.53 --dhcp-option=26,1400")
        try node.define("lan", Self.macvlan, #""accept":["dns","mtu"],"priority":9"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.status()[1]["dns"]["nameservers"].list.map(\.string) == ["192.0.2.53"])
        #expect(try node.node.sh("ip route show default dev net1", pod: "a").contains("mtu 1400"))
        #expect(try node.call("CHECK").status == 0)
    }

    @Test(
        "DH-10, DH-11: what is wrong in ipam is refused before anything is sent",
        arguments: [
            (#""provide":[{"option":"doNotparseMe","value":"x"}]"#, "Can not parse option \"doNotparseMe\""),
            (#""request":[{"option":"256"}]"#, "Can not parse option"),
            (
                "\"provide\":[{\"option\":\"12\",\"value\":\"\(String(repeating: "x", count: 256))\"}]",
                "value too long"
            ),
            (#""provide":[{"value":"x"}]"#, "ipam.provide[0].option is missing"),
            (#""accept":["ntp"]"#, "write dns, mtu, routers, msroutes"),
            (#""clientID":"duid""#, "write container, pod, mac"),
            (#""timeout":0"#, "timeout"), (#""metric":3"#, "\"priority\""),
            (#""subnet":"192.0.2.0/24""#, "subnet"),
            (#""leaseDir":"leases""#, "no absolute path"), (#""priority":-1"#, "priority"),
        ])
    func refused(keys: String, words: String) throws {
        try node.server("")
        // A key may stand there only once.
        let keys =
            keys.contains("leaseDir") || keys.contains("timeout")
            ? keys : "\"leaseDir\":\"\(node.directory)/leases\"," + keys
        try node.node.define(
            "lan", #"{"cniVersion":"1.0.0",\#(Self.macvlan),"ipam":{"type":"dhcp",\#(keys)}}"#)
        let answer = try node.call("ADD")
        #expect(answer.status == 1 && (answer.message + answer.details).contains(words), "\(answer.ran)")
        #expect(try node.heard().isEmpty && node.node.links(pod: "a").isEmpty && node.records().isEmpty)
        #expect(try node.node.files("state").isEmpty)
    }

    @Test("option names of the reference plugin and numbers are accepted", arguments: ["host-name", "12"])
    func optionNames(name: String) throws {
        try node.server("")
        let answer = try node.plugin(
            "ADD",
            "\"provide\":[{\"option\":\"\(name)\",\"value\":\"box\"},{\"option\":\"60\",\"value\":\"v\"}]")
        #expect(answer.status == 0, "\(answer.ran)")
        let options = try node.heard("DISCOVER")[0]["options"]
        #expect(options["12"].string == "626f78" && options["60"].string == "76")
    }

    @Test(
        "DH-01: a section that has nothing but the type works, and one with a key that nobody knows",
        arguments: ["", #","nonsense":{"x":1}"#])
    func bare(keys: String) throws {
        // In the directory that tests share, an ID of its own.
        try node.dnsmasq()
        func call(_ verb: String) throws -> Answer {
            try node.node.call(
                verb, role: "macvlan", id: node.node.name, netns: node.netns, interface: "net1",
                """
                {"cniVersion":"0.3.1","name":"bare","type":"macvlan","master":"eth1","ipam":{"type":"dhcp"\(keys)}}
                """)
        }
        let answer = try call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses() == ["\(try node.leasefile()[0][2])/24"])
        let gone = try call("DEL")
        #expect(gone.status == 0, "\(gone.ran)")
        try node.until("the lease is given back") { try node.leasefile().isEmpty }
    }

    @Test("DH-04: a client ID is cut to 254 bytes, and has its type in front")
    func longNames() throws {
        try node.server("")
        let id = String(repeating: "c", count: 200)
        let name = String(repeating: "n", count: 60)
        func add(_ interface: String) throws -> String? {
            let answer = try node.node.call(
                "ADD", role: "macvlan", id: id, netns: node.netns, interface: interface,
                "{\"cniVersion\":\"1.0.0\",\"name\":\"\(name)\",\(Self.macvlan),\(node.ipam())}")
            try #require(answer.status == 0, "\(answer.ran)")
            return try node.heard("DISCOVER").last?["options"]["61"].string
        }
        let text = "\(id)/\(name)/net1".utf8.prefix(254)
        #expect(try add("net1") == "00" + text.map { String($0, radix: 16) }.joined())
    }
}
