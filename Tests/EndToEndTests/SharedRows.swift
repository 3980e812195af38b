import Foundation
import Support
import Testing

/// What every reference plugin shares: the process's envelope, results, CNI_ARGS, IPAM delegation, addressing.
@Suite struct SharedRows {
    private let node: Node
    private let v4 = Node.ipam("10.1.2.0/24")

    init() throws {
        node = try Node()
        _ = try node.pod("a")
    }

    /// A call with exactly these variables.
    private func raw(_ role: String, _ variables: [String: String], _ input: String) throws -> Answer {
        let words = ["ip", "netns", "exec", node.name, "\(node.directory)/bin/\(role)"]
        return Answer(ran: try Shell.run(words, input: input, environment: variables))
    }

    private func refused(_ answer: Answer, _ code: Int, _ fragments: String...) {
        #expect(answer.status == 1)
        #expect(answer.code == code, "\(answer.ran)")
        for fragment in fragments { #expect(answer.ran.output.contains(fragment), "\(answer.ran.output)") }
    }

    // MARK: Envelope

    @Test("SK-01: VERSION, and no command at all", arguments: ["plexus", "bridge", "host-local", "static"])
    func version(role: String) throws {
        let answer = try raw(role, ["CNI_COMMAND": "VERSION"], "")
        #expect(answer.ran.output.hasSuffix("\n") && !answer.ran.output.dropLast().contains("\n"))
        #expect(answer.json["cniVersion"].string == "1.1.0")
        let versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
        #expect(answer.json["supportedVersions"].list.compactMap(\.string) == versions)
        let none = try raw(role, [:], "")
        #expect(none.status == 0 && none.ran.output.isEmpty && none.ran.errors.contains("1.1.0"))
    }

    @Test("SK-02, SK-03, SK-04, SK-05: the environment is checked before stdin is read")
    func environment() throws {
        let good = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/x", "CNI_IFNAME": "eth0",
            "CNI_PATH": "/x",
        ]
        func call(_ changes: [String: String] = [:], without: Set<String> = []) throws -> Answer {
            var variables = good
            for (name, value) in changes { variables[name] = value }
            for name in without { variables[name] = nil }
            return try raw("bridge", variables, "garbage")
        }
        refused(try call(without: ["CNI_NETNS", "CNI_IFNAME"]), 4, "CNI_NETNS,CNI_IFNAME")
        refused(try call(without: ["CNI_PATH"]), 4, "required env variables [CNI_PATH] missing")
        for id in ["a/b", "-a", "a b", "../a", "ä"] { refused(try call(["CNI_CONTAINERID": id]), 4, id) }
        for name in ["sixteen-bytes-ab", "a/b", ".", "..", "a b", "a:b"] {
            refused(try call(["CNI_IFNAME": name]), 4, name)
        }
        refused(try call(["CNI_IFNAME": "a\u{a0}b"]), 4, #"a\\u{a0}b"#)
        refused(try call(["CNI_COMMAND": "FOO"]), 4, "unknown CNI_COMMAND")
        let fifteen = try node.plugin("ADD", "bridge", interface: "a23456789012345")
        #expect(fifteen.status == 0, "\(fifteen.ran)")
        #expect(try node.links(pod: "a") == ["a23456789012345"])
    }

    @Test("SK-06, SK-07, SK-08, SK-09, SK-10, SK-14: name, JSON, versions and verbs")
    func documents() throws {
        func call(_ verb: String, _ config: String) throws -> Answer {
            try node.call(verb, role: "bridge", netns: "/run/netns/\(node.name)-a", config)
        }
        refused(try call("ADD", #"{"cniVersion":"1.0.0","type":"bridge"}"#), 7, "missing network name")
        refused(try call("ADD", #"{"cniVersion":"1.0.0","name":"a b","type":"bridge"}"#), 7, "a b")
        for text in ["", "{", #"{"name":"n"}}"#, "[]", "nul", #"{"name":'n'}"#, "{\"name\":\"n\",}"] {
            refused(try call("ADD", text), 6)
        }
        refused(try call("ADD", #"{"cniVersion":"9.9","name":"n"}"#), 1, "incompatible CNI versions", "9.9")
        refused(try node.plugin("CHECK", "bridge", version: "0.3.1"), 1, "does not allow CHECK")
        for verb in ["GC", "STATUS"] {
            refused(try node.plugin(verb, "bridge"), 1, "does not allow \(verb)")
            let answer = try node.plugin(verb, "bridge", version: "1.1.0")
            #expect(answer.status == 0 && answer.ran.output.isEmpty, "\(answer.ran)")
        }
    }

    @Test("SK-11: the plugin's own namespace is refused, unless overridden")
    func ownNamespace() throws {
        let config = #"{"cniVersion":"1.0.0","name":"net","type":"bridge"}"#
        var variables = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/\(node.name)",
            "CNI_IFNAME": "eth0", "CNI_PATH": "/x",
        ]
        refused(try raw("bridge", variables, config), 8)
        #expect(try node.links().isEmpty)
        variables["CNI_NETNS_OVERRIDE"] = "1"
        let answer = try raw("bridge", variables, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links().contains("eth0"))
    }

    @Test("SK-12, SK-13: keys match in any case, unknown ones pass, types are strict, the last of a key wins")
    func decoding() throws {
        let keys =
            #""Bridge":"br8","RUNTIMECONFIG":{"mac":"02:00:00:00:00:08"},"unheardOf":[{}],"mtu":1300,"MTU":1400"#
        let answer = try node.plugin("ADD", "bridge", keys)
        #expect(answer.json["interfaces"][2]["mac"].string == "02:00:00:00:00:08", "\(answer.ran)")
        #expect(try node.links().contains("br8"))
        #expect(try node.ip("link show eth0", pod: "a")[0]["mtu"].int == 1400)
        for bad in [
            #""mtu":"1500""#, #""mtu":1500.0"#, #""mtu":99999999999999999999"#, #""isGateway":1"#,
            #""bridge":5"#, #""ipam":[]"#, #""ipMasq":"true""#, #""vlanTrunk":{}"#, #""vlanTrunk":[5]"#,
            #""args":{"cni":[]}"#, #""runtimeConfig":"x""#, #""dns":{"nameservers":"x"}"#,
        ] {
            let answer = try node.plugin("ADD", "bridge", bad, id: "c2", interface: "eth1")
            #expect(
                answer.status == 1 && answer.message.contains("cannot unmarshal"), "\(bad): \(answer.ran)")
        }
        #expect(try node.links(pod: "a") == ["eth0"])
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        refused(try node.plugin("ADD", "bridge", "\"x\":\(deep)"), 6, "128")
        let wide = (0..<20000).map { "\"k\($0)\":0" }.joined(separator: ",")
        let large = try node.plugin("ADD", "bridge", wide, id: "c3", interface: "eth3")
        #expect(large.status == 0, "\(large.ran.output.prefix(300))")
    }

    // MARK: Results

    @Test(
        "RS-01, RS-02, RS-03: the result in the configuration's version",
        arguments: [
            "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
        ])
    func versions(version: String) throws {
        let section = Node.ipam(
            "10.1.2.0/24", "2001:db8:1::/64",
            extra: #","routes":[{"dst":"10.9.0.0/16"},{"dst":"2001:db8:9::/48"}]"#)
        let answer = try node.plugin("ADD", "bridge", "\"isGateway\":true,\(section)", version: version)
        let json = answer.json
        #expect(json["cniVersion"].string == version, "\(answer.ran)")
        if version < "0.3" {
            #expect(!json["interfaces"].exists && !json["ips"].exists)
            #expect(
                json["ip4"]["ip"].string == "10.1.2.2/24" && json["ip6"]["ip"].string == "2001:db8:1::2/64")
            #expect(json["ip4"]["routes"].list.map { $0["dst"].string } == ["10.9.0.0/16"])
            #expect(json["ip6"]["routes"].list.map { $0["dst"].string } == ["2001:db8:9::/48"])
        } else {
            #expect(
                json["ips"].list.map { $0["version"].string } == (version < "1" ? ["4", "6"] : [nil, nil]))
            #expect(json["dns"].exists == (version < "1"))
        }
        if version >= "1" {
            let order = ["cniVersion", "interfaces", "ips", "routes"].map {
                answer.ran.output.range(of: "\"\($0)\"")!
            }
            #expect(order.map(\.lowerBound) == order.map(\.lowerBound).sorted())
        }
        #expect(try node.plugin("DEL", "bridge", section, version: version).status == 0)
    }

    @Test("RS-04: a result that the version cannot express is undone")
    func inexpressible() throws {
        refused(try node.plugin("ADD", "bridge", version: "0.2.0"), 999, "no valid IP addresses")
        #expect(try node.links().isEmpty)
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("RS-05: sandbox is CNI_NETNS as given")
    func sandbox() throws {
        let path = "\(node.directory)/link"
        try Shell.sh("ln -s /run/netns/\(node.name)-a \(path)")
        let config = #"{"cniVersion":"1.0.0","name":"net","type":"bridge"}"#
        let answer = try node.call("ADD", role: "bridge", netns: path, config)
        #expect(answer.json["interfaces"][2]["sandbox"].string == path)
    }

    @Test("RS-06, RS-07: prevResult is of the configuration's family, and passes unchanged")
    func previous() throws {
        let result =
            #"{"cniVersion":"VERSION","interfaces":[{"name":"eth0","sandbox":"/s"}],"ips":[{"address":"10.0.0.2/24","interface":0}],"routes":[{"dst":"10.9.0.0/16","gw":"10.0.0.1","mtu":1400,"advmss":1300,"priority":50,"table":100,"scope":0}]}"#
        let sysctl = #""sysctl":{"net.core.somaxconn":"512"},"prevResult":"#
        for version in ["0.3.1", "0.4.0"] {
            let answer = try node.plugin("ADD", "tuning", sysctl + result.replacing("VERSION", with: version))
            refused(answer, 999, "could not parse prevResult", version)
            #expect(try node.sh("cat /proc/sys/net/core/somaxconn", pod: "a") == "4096\n")
        }
        let passed = try node.plugin("ADD", "tuning", sysctl + result.replacing("VERSION", with: "1.1.0"))
        let route = passed.json["routes"][0]
        #expect(
            ["mtu", "advmss", "priority", "table", "scope"].map { route[$0].int } == [1400, 1300, 50, 100, 0])
        #expect(passed.json["cniVersion"].string == "1.0.0")
    }

    // MARK: CNI_ARGS

    @Test("AR-01: CNI_ARGS are strict under a plugin's name")
    func arguments() throws {
        for (args, fragment) in [
            ("MAC", "invalid pair"), ("IgnoreUnknown=1;", "invalid pair"), ("MAC=a=b", "invalid pair"),
            ("FOO=1", "unknown args"), ("IgnoreUnknown=0;FOO=1", "unknown args"),
            ("IgnoreUnknown=maybe", "IgnoreUnknown"),
        ] {
            for role in ["bridge", "host-local", "static"] {
                let keys = role == "static" ? #""ipam":{"type":"static"}"# : v4
                let answer = try node.plugin("ADD", role, keys, args: args)
                #expect(
                    answer.status == 1 && answer.message.contains(fragment), "\(role) \(answer.ran.output)")
            }
        }
        let ignored = try node.plugin("ADD", "bridge", v4, args: "FOO=1;IgnoreUnknown=true")
        #expect(ignored.status == 0, "\(ignored.ran)")
    }

    // MARK: IPAM

    @Test("IP-01, IP-02, IP-04: an IPAM plugin that is missing, refuses, gives nothing, prints nonsense")
    func ipamFailures() throws {
        try node.script(
            "refusing", #"[ "$CNI_COMMAND" = ADD ] && echo '{"code":11,"msg":"later"}' && exit 1; exit 0"#)
        try node.script("empty", "[ $CNI_COMMAND = ADD ] && echo '{}'; exit 0")
        try node.script("silent", "[ $CNI_COMMAND = ADD ] && echo sorry >&2 && exit 3; exit 0")
        try node.script("nonsense", "echo nonsense; exit 0")
        for (type, code, fragment) in [
            ("nosuch", 999, "failed to find plugin"), ("a/b", 999, "invalid plugin name"),
            ("refusing", 11, "later"),
            ("empty", 999, "missing IP config"), ("silent", 0, "sorry"), ("nonsense", 999, "nonsense"),
        ] {
            refused(try node.plugin("ADD", "bridge", "\"ipam\":{\"type\":\"\(type)\"}"), code, fragment)
            #expect(try node.links().isEmpty && node.links(pod: "a").isEmpty)
        }
        // Whatever an IPAM plugin may have given out is taken back.
        #expect(try Shell.sh("cat \(node.directory)/empty.log") == "ADD\nDEL\n")
    }

    @Test("IP-03, IP-05: an external IPAM plugin gets the whole configuration and the call's environment")
    func externalIPAM() throws {
        try node.script(
            "mine",
            #"[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.3.0.9/24","gateway":"10.3.0.1"}]}'; exit 0"#
        )
        let keys =
            #""ipam":{"type":"mine","own":[1,2]},"runtimeConfig":{"x":{"y":"z"}},"args":{"cni":{"q":1}},"unknown":null"#
        let answer = try node.plugin("ADD", "bridge", keys, args: "IgnoreUnknown=1;K=v")
        #expect(answer.json["ips"][0]["address"].string == "10.3.0.9/24", "\(answer.ran)")
        let seen = try Tree(parsing: try Shell.sh("cat \(node.directory)/mine.stdin"))
        #expect(seen.keys == ["cniVersion", "name", "type", "ipam", "runtimeConfig", "args", "unknown"])
        #expect(seen["ipam"]["own"].list.map(\.int) == [1, 2])
        let environment = try Shell.sh("grep ^CNI_ \(node.directory)/mine.env | sort")
        for line in [
            "CNI_ARGS=IgnoreUnknown=1;K=v", "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0",
        ] {
            #expect(environment.contains(line + "\n"), "\(environment)")
        }
        #expect(
            try node.plugin("CHECK", "bridge", keys, previous: answer, args: "IgnoreUnknown=1").status == 0)
        #expect(try node.plugin("DEL", "bridge", keys, args: "IgnoreUnknown=1").status == 0)
        #expect(try Shell.sh("cat \(node.directory)/mine.log") == "ADD\nCHECK\nDEL\n")
    }

    // MARK: Addresses and routes

    @Test("IF-01, IF-02, IF-03, IF-05, IF-08, IF-13: addresses and routes as the result has them")
    func addressing() throws {
        let routes =
            #"[{"dst":"10.9.0.0/16"},{"dst":"10.10.0.0/16","gw":"10.1.2.9","priority":77},{"dst":"10.11.0.0/16","table":5000},{"dst":"10.1.9.0/24","scope":253},{"dst":"10.12.0.0/16","gw":"10.1.2.8"},{"dst":"10.12.0.0/16","gw":"10.1.2.9"},{"dst":"2001:db8:9::/48","gw":"2001:db8:1::8"},{"dst":"2001:db8:9::/48","gw":"2001:db8:1::9"},{"dst":"10.13.0.0/16","mtu":1300}]"#
        let section = Node.ipam("10.1.2.0/24", "2001:db8:1::/64", extra: ",\"routes\":\(routes)")
        // A route with link scope takes no gateway of the addresses.
        let keys = section.replacing(#"{"dst":"10.1.9.0/24","scope":253},"#, with: "")
        let answer = try node.plugin("ADD", "bridge", keys)
        #expect(answer.status == 0, "\(answer.ran)")
        let address = try node.ip("addr show dev eth0", pod: "a")[0]["addr_info"].list[0]
        #expect(address["local"].string == "10.1.2.2" && address["broadcast"].string == "10.1.2.255")
        let all = try node.sh("ip route show table all; ip -6 route show table all", pod: "a")
        for line in [
            "10.9.0.0/16 via 10.1.2.1 dev eth0", "10.10.0.0/16 via 10.1.2.9 dev eth0 metric 77",
            "10.11.0.0/16 via 10.1.2.1 dev eth0 table 5000", "10.12.0.0/16 via 10.1.2.8 dev eth0",
            "10.12.0.0/16 via 10.1.2.9 dev eth0", "nexthop via 2001:db8:1::8", "nexthop via 2001:db8:1::9",
            "10.13.0.0/16 via 10.1.2.1 dev eth0",
        ] { #expect(all.contains(line), "\(line)\n\(all)") }
        #expect(try node.plugin("CHECK", "bridge", keys, previous: answer).status == 0)
        try node.sh("ip link set eth0 down && ip link set eth0 up", pod: "a")
        #expect(try node.addresses("eth0", pod: "a").contains("2001:db8:1::2/64"))
    }

    @Test("IF-03: an explicit scope; IF-13: CHECK of a /32")
    func narrow() throws {
        let section =
            #""ipam":{"type":"static","addresses":[{"address":"10.1.2.5/32"}],"routes":[{"dst":"10.1.9.0/24","scope":253}]}"#
        let answer = try node.plugin("ADD", "bridge", section)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.sh("ip route", pod: "a").contains("10.1.9.0/24 dev eth0 scope link"))
        #expect(try node.plugin("CHECK", "bridge", section, previous: answer).status == 0)
    }

    @Test(
        "IF-04, IF-06: routes that the kernel refuses, and everything is given back",
        arguments: [
            (#"[{"dst":"10.9.0.0/16"},{"dst":"10.9.0.0/16"}]"#, "File exists"),
            (#"[{"dst":"10.9.0.0/16","gw":"192.0.2.1"}]"#, "unreachable"),
            (#"[{"dst":"10.9.1.0/16"}]"#, "Invalid"),
        ])
    func badRoutes(routes: String, fragment: String) throws {
        let answer = try node.plugin(
            "ADD", "bridge", Node.ipam("10.1.2.0/24", extra: ",\"routes\":\(routes)"))
        refused(answer, 999, fragment)
        #expect(try node.leases().isEmpty && node.links().isEmpty && node.links(pod: "a").isEmpty)
    }

    @Test("IF-07: an IPv6 address turns IPv6 on")
    func enablesIPv6() throws {
        try node.sh(
            "echo 1 | tee /proc/sys/net/ipv6/conf/default/disable_ipv6 /proc/sys/net/ipv6/conf/lo/disable_ipv6",
            pod: "a")
        let answer = try node.plugin("ADD", "bridge", Node.ipam("2001:db8:1::/64"))
        #expect(answer.status == 0, "\(answer.ran)")
        let files =
            "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 /proc/sys/net/ipv6/conf/lo/disable_ipv6 /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down"
        #expect(try node.sh(files, pod: "a") == "0\n0\n1\n")
        #expect(try node.addresses("eth0", pod: "a") == ["2001:db8:1::2/64"])
    }

    @Test("IF-10: an IPv6 address that a neighbour has is refused with enabledad")
    func duplicateAddress() throws {
        let keys =
            #""enabledad":true,"ipam":{"type":"static","addresses":[{"address":"2001:db8:1::5/64","gateway":"2001:db8:1::1"}]}"#
        _ = try node.pod("b")
        let first = try node.plugin("ADD", "bridge", keys, id: "c2", pod: "b")
        #expect(first.status == 0, "\(first.ran)")
        refused(try node.plugin("ADD", "bridge", keys), 999, "DADFAILED")
        #expect(try node.links(pod: "a").isEmpty)
    }
}
