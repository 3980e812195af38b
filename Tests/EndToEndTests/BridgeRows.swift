import Foundation
import Support
import Testing

/// The reference bridge's rows, by the plugin's own name. `ip`, `bridge`, `nft` and the sysctl files are the oracle.
@Suite struct BridgeRows {
    private let node: Node
    private let v4 = Node.ipam("10.1.2.0/24")
    private let dual = Node.ipam("10.1.2.0/24", "2001:db8:1::/64")

    init() throws {
        node = try Node()
        _ = try node.pod("a")
    }

    private func add(_ keys: String, version: String = "1.0.0", id: String = "c1", pod: String = "a")
        throws -> Answer
    {
        let answer = try node.plugin("ADD", "bridge", keys, version: version, id: id, pod: pod)
        #expect(answer.status == 0, "\(answer.ran)")
        return answer
    }

    private func port(_ answer: Answer) -> String { answer.json["interfaces"][1]["name"].string ?? "none" }

    @Test("BR-01: creates the bridge, or keeps one that is there")
    func creates() throws {
        _ = try add("")
        let made = try node.ip("link show cni0")[0]
        #expect(made["linkinfo"]["info_kind"].string == "bridge")
        #expect(made["flags"].list.contains { $0.string == "UP" })
        try node.sh("ip link add br7 address 02:00:00:00:07:07 type bridge; ip link set br7 mtu 1300")
        let before = try node.ip("link show br7")[0]
        _ = try node.plugin("ADD", "bridge", #""bridge":"br7""#, id: "c2", interface: "eth1")
        let after = try node.ip("link show br7")[0]
        #expect(after["ifindex"].int == before["ifindex"].int)
        #expect(after["address"].string == before["address"].string)
        #expect(after["mtu"].int == 1300)
    }

    @Test("BR-02: refuses a link of another kind, BR-23: a bad MAC, BR-39: an unknown backend")
    func refuses() throws {
        try node.sh("ip link add other type veth peer name rehto")
        for (keys, fragment) in [
            (#""bridge":"other""#, "already exists but is not a bridge"),
            (#""runtimeConfig":{"mac":"x"}"#, "invalid MAC address"),
            (#""ipMasq":true,"ipMasqBackend":"pf",\#(v4)"#, "unknown ipmasq backend"),
            (#""bridge":"""#, "is empty"), (#""bridge":"sixteen-bytes-ab""#, "16 bytes"),
        ] {
            let answer = try node.plugin("ADD", "bridge", keys)
            #expect(answer.status == 1)
            #expect(answer.message.contains(fragment), "\(answer.ran.output)")
        }
        #expect(try node.links() == ["other", "rehto"])
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.leases().isEmpty)
    }

    @Test("BR-03, BR-04, BR-28: three interfaces, the host end a port of the bridge and up")
    func result() throws {
        let answer = try add("\"isGateway\":true,\(v4)")
        let interfaces = answer.json["interfaces"].list
        #expect(interfaces.count == 3)
        #expect(interfaces[0]["name"].string == "cni0")
        #expect(port(answer).hasPrefix("veth"))
        #expect(interfaces[2]["sandbox"].string == "/run/netns/\(node.name)-a")
        #expect(interfaces.allSatisfy { $0["mac"].string?.count == 17 })
        #expect(answer.json["ips"][0]["interface"].int == 2)
        for (index, link) in [
            try node.ip("link show cni0"), try node.ip("link show \(port(answer))"),
            try node.ip("link show eth0", pod: "a"),
        ].enumerated() {
            #expect(link[0]["address"].string == interfaces[index]["mac"].string)
        }
        let host = try node.ip("link show \(port(answer))")[0]
        #expect(host["master"].string == "cni0")
        #expect(host["operstate"].string == "UP")
    }

    @Test("BR-05: mtu is the bridge's and both ends'")
    func mtu() throws {
        let answer = try add("\"mtu\":1400")
        for link in ["cni0", port(answer)] { #expect(try node.ip("link show \(link)")[0]["mtu"].int == 1400) }
        #expect(try node.ip("link show eth0", pod: "a")[0]["mtu"].int == 1400)
    }

    @Test(
        "BR-06, BR-07, BR-08: the gateway's address, computed when IPAM has none; default routes; forwarding")
    func gateway() throws {
        let section =
            #""ipam":{"type":"static","addresses":[{"address":"10.9.0.7/16"},{"address":"fd00:9::7/64"}]}"#
        let answer = try add("\"isDefaultGateway\":true,\(section)")
        #expect(try Set(node.addresses("cni0")) == ["10.9.0.1/16", "fd00:9::1/64"])
        #expect(answer.json["ips"].list.map { $0["gateway"].string } == ["10.9.0.1", "fd00:9::1"])
        #expect(answer.json["routes"].list.map { $0["dst"].string } == ["0.0.0.0/0", "::/0"])
        for words in ["route", "-6 route"] {
            let gateways = try node.ip("\(words) show default", pod: "a").list
            #expect(gateways.count == 1)
            #expect(["10.9.0.1", "fd00:9::1"].contains(gateways[0]["gateway"].string))
        }
        let files = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
        #expect(try node.sh(files) == "1\n1\n")
    }

    /// A flag, so that no moment has to be met.
    @Test(
        "In the meta role the gateway's IPv6 address is not looked for among the neighbours, and answers at once"
    )
    func instantGateway() throws {
        let section = #""ipam":{"type":"static","addresses":[{"address":"fd00:9::7/64"}]}"#
        _ = try add("\"isGateway\":true,\(section)")
        func flag(_ bridge: String) throws -> Bool {
            try node.sh("ip -6 addr show dev \(bridge)").split(separator: "\n").contains {
                $0.contains("fd00:9::1/64") && $0.contains("nodad")
            }
        }
        #expect(try !flag("cni0"))
        let delegate = "{\"name\":\"d\",\"type\":\"bridge\",\"bridge\":\"b1\",\"isGateway\":true,\(section)}"
        let config =
            "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"plexus\",\"cniDir\":\"\(node.directory)/state\",\"delegates\":[\(delegate)]}"
        let netns = try node.pod("b")
        let answer = try node.call("ADD", id: "c2", netns: netns, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try flag("b1"))
        #expect(try !node.sh("ip -6 addr show dev b1 to fd00:9::1").contains("tentative"))
        try node.sh("ping -6 -c 1 -W 5 fd00:9::1", pod: "b")
    }

    @Test("BR-09: a default route of IPAM's, with a gateway or without, is not doubled")
    func defaultRouteGiven() throws {
        for (id, route) in [
            ("c1", #"{"dst":"0.0.0.0/0","gw":"10.1.2.1"}"#), ("c2", #"{"dst":"0.0.0.0/0"}"#),
        ] {
            _ = try node.pod(id)
            let section = Node.ipam("10.1.2.0/24", extra: ",\"routes\":[\(route)]")
            let answer = try add("\"isDefaultGateway\":true,\(section)", id: id, pod: id)
            #expect(answer.json["routes"].list.count == 1)
            #expect(
                try node.ip("route show default", pod: id).list.map { $0["gateway"].string } == ["10.1.2.1"])
        }
    }

    @Test("BR-10, BR-11: an address in the way is refused or replaced; disjoint IPv6 networks live together")
    func conflicts() throws {
        try node.sh(
            "ip link add cni0 up type bridge; ip addr add 10.0.0.1/8 dev cni0; ip addr add fd00:1::1/64 dev cni0"
        )
        let keys = "\"isGateway\":true,\(Node.ipam("10.1.2.0/24", "fd00:2::/64"))"
        let refused = try node.plugin("ADD", "bridge", keys)
        #expect(refused.message.contains("already has an IP address different from"))
        #expect(try node.leases().isEmpty)
        #expect(try node.links(pod: "a").isEmpty)
        _ = try add("\"forceAddress\":true,\(keys)")
        #expect(try Set(node.addresses("cni0")) == ["10.1.2.1/24", "fd00:1::1/64", "fd00:2::1/64"])
        _ = try node.pod("b")
        let overlapping = try node.plugin(
            "ADD", "bridge", "\"isGateway\":true,\(Node.ipam("fd00:2::/48"))", id: "c2", pod: "b")
        #expect(overlapping.message.contains("already has an IP address different from"))
    }

    @Test("BR-12: the bridge keeps its MAC")
    func bridgeMAC() throws {
        var macs: Set<String?> = []
        for pod in ["x", "y", "z"] {
            _ = try node.pod(pod)
            _ = try add("\"isGateway\":true,\(v4)", id: pod, pod: pod)
            macs.insert(try node.ip("link show cni0")[0]["address"].string)
        }
        #expect(try node.plugin("DEL", "bridge", "\"isGateway\":true,\(v4)", id: "x", pod: "x").status == 0)
        macs.insert(try node.ip("link show cni0")[0]["address"].string)
        #expect(macs.count == 1)
    }

    @Test("BR-13, BR-14, BR-15: promiscMode, hairpinMode, portIsolation")
    func flags() throws {
        let both = try node.plugin("ADD", "bridge", #""hairpinMode":true,"promiscMode":true"#)
        #expect(both.message.contains("hairpin mode and promiscuous mode"))
        #expect(try node.links().isEmpty)
        let plain = try add("")
        func setting(_ answer: Answer, _ file: String) throws -> String {
            try node.sh("cat /sys/class/net/\(port(answer))/brport/\(file)")
        }
        // /sys of the node's own namespace is mounted by `ip netns exec`.
        #expect(try setting(plain, "hairpin_mode") == "0\n")
        #expect(try setting(plain, "isolated") == "0\n")
        #expect(try node.ip("link show cni0")[0]["promiscuity"].int == 0)
        _ = try node.pod("b")
        let set = try add(#""hairpinMode":true,"portIsolation":true"#, id: "c2", pod: "b")
        #expect(try setting(set, "hairpin_mode") == "1\n")
        #expect(try setting(set, "isolated") == "1\n")
        _ = try node.pod("d")
        _ = try add(#""promiscMode":true"#, id: "c3", pod: "d")
        #expect(try node.ip("link show cni0")[0]["flags"].list.contains { $0.string == "PROMISC" })
    }

    @Test(
        "BR-19, BR-20: VLANs that make no sense are refused on every verb",
        arguments: ["ADD", "DEL", "CHECK"])
    func badVLANs(verb: String) throws {
        for (keys, fragment) in [
            (#""vlan":-1"#, "invalid VLAN ID"), (#""vlan":4095"#, "invalid VLAN ID"),
            (#""vlanTrunk":[{"minID":10}]"#, "configured simultaneously"),
            (#""vlanTrunk":[{"maxID":10}]"#, "configured simultaneously"),
            (#""vlanTrunk":[{"minID":0,"maxID":10}]"#, "incorrect trunk minID"),
            (#""vlanTrunk":[{"minID":10,"maxID":4095}]"#, "incorrect trunk maxID"),
            (#""vlanTrunk":[{"minID":20,"maxID":10}]"#, "minID is greater than maxID"),
            (#""vlanTrunk":[{"id":-3}]"#, "incorrect trunk id"),
            (#""vlanTrunk":[{"id":4095}]"#, "incorrect trunk id"),
        ] {
            let previous = verb == "CHECK" ? #","prevResult":{"cniVersion":"1.0.0"}"# : ""
            let answer = try node.plugin(verb, "bridge", keys + previous)
            #expect(answer.status == 1)
            #expect(answer.message.contains(fragment), "\(answer.ran.output)")
        }
        #expect(try node.links().isEmpty)
    }

    @Test("BR-22: the MAC of CNI_ARGS, args.cni, runtimeConfig, the later the stronger")
    func requestedMAC() throws {
        let args = #""args":{"cni":{"mac":"02:00:00:00:00:02"}}"#
        let runtime = #""runtimeConfig":{"mac":"02:00:00:00:00:03"}"#
        for (pod, keys, mac) in [
            ("x", "", "02:00:00:00:00:01"), ("y", args, "02:00:00:00:00:02"),
            ("z", "\(args),\(runtime)", "02:00:00:00:00:03"),
        ] {
            _ = try node.pod(pod)
            let answer = try node.plugin(
                "ADD", "bridge", keys, id: pod, pod: pod, args: "MAC=02:00:00:00:00:01")
            #expect(answer.json["interfaces"][2]["mac"].string == mac)
            #expect(try node.ip("link show eth0", pod: pod)[0]["address"].string == mac)
        }
    }

    @Test("BR-24, BR-25: macspoofchk drops other sources; DEL removes one's own rules alone")
    func spoofCheck() throws {
        for (id, pod) in [("c1", "a"), ("c2", "b")] {
            if pod == "b" { _ = try node.pod("b") }
            _ = try add("\"macspoofchk\":true,\"isGateway\":true,\(v4)", id: id, pod: pod)
        }
        let rules = try Tree(parsing: try node.sh("nft -j list table bridge nat"))["nftables"].list
        let ours = rules.filter { $0["rule"]["comment"].string == "macspoofchk-c1-eth0" }
        #expect(
            ours.map { $0["rule"]["chain"].string } == [
                "PREROUTING", "cni-br-iface-c1-eth0", "cni-br-iface-c1-eth0-mac", "cni-br-iface-c1-eth0-mac",
            ])
        try node.sh("ping -c 1 -w 10 10.1.2.1", pod: "a")
        // The same pod with another source address is heard no more; its neighbour still is.
        try node.sh("ip link set eth0 address 02:00:00:00:00:99", pod: "a")
        #expect(throws: ShellError.self) { try node.sh("ping -c 1 -W 1 10.1.2.1", pod: "a") }
        try node.sh("ping -c 1 -w 10 10.1.2.1", pod: "b")
        #expect(try node.plugin("DEL", "bridge", "\"macspoofchk\":true,\(v4)").status == 0)
        let left = try node.sh("nft list ruleset")
        #expect(!left.contains("c1-eth0"))
        #expect(left.components(separatedBy: "macspoofchk-c2-eth0").count == 5)
    }

    @Test("BR-26: disableContainerInterface leaves the pod's end down; with IPAM it is refused")
    func disabled() throws {
        _ = try add(#""disableContainerInterface":true"#)
        #expect(try node.ip("link show eth0", pod: "a")[0]["operstate"].string == "DOWN")
        let answer = try node.plugin(
            "ADD", "bridge", "\"disableContainerInterface\":true,\(v4)", interface: "eth1")
        #expect(answer.message.contains("cannot use IPAM when DisableContainerInterface"))
    }

    @Test("BR-27: duplicate address detection as asked", arguments: [false, true])
    func duplicateDetection(enabled: Bool) throws {
        _ = try add("\"enabledad\":\(enabled),\"isGateway\":true,\(dual)")
        let conf = "/proc/sys/net"
        let files = "cat \(conf)/ipv6/conf/eth0/accept_dad \(conf)/ipv4/conf/eth0/arp_notify"
        #expect(try node.sh(files, pod: "a") == (enabled ? "1\n1\n" : "0\n1\n"))
        if enabled { #expect(try node.sh("cat \(conf)/ipv6/conf/eth0/enhanced_dad", pod: "a") == "1\n") }
        #expect(!(try node.sh("ip -6 addr show dev eth0", pod: "a").contains("tentative")))
    }

    @Test("BR-29: an interface of that name stays as it is")
    func nameTaken() throws {
        try node.sh("ip link add eth0 type veth peer name peer0", pod: "a")
        let answer = try node.plugin("ADD", "bridge", v4)
        #expect(answer.message.contains("already exists"))
        #expect(try node.links(pod: "a") == ["eth0", "peer0"])
        #expect(try node.links().isEmpty)
        #expect(try node.leases().isEmpty)
    }

    @Test("BR-30: nothing is left of an ADD that fails")
    func rollback() throws {
        let full = try node.plugin("ADD", "bridge", Node.ipam("10.1.2.0/30"))
        #expect(full.status == 0)
        _ = try node.pod("b")
        for keys in [
            Node.ipam("10.1.2.0/30"),
            Node.ipam("10.7.0.0/24", extra: #","routes":[{"dst":"10.8.0.0/16","gw":"192.0.2.1"}]"#),
        ] {
            let links = try node.links()
            let leases = try node.leases()
            let answer = try node.plugin("ADD", "bridge", keys, id: "c2", pod: "b")
            #expect(answer.status == 1)
            #expect(try node.links() == links)
            #expect(try node.links(pod: "b").isEmpty)
            #expect(try node.leases() == leases)
        }
    }

    @Test("BR-31, BR-32: DEL, twice, and without ADD")
    func deletes() throws {
        for keys in ["", v4] {
            #expect(try node.plugin("DEL", "bridge", keys).status == 0)
            _ = try add(keys)
            for _ in 1...2 { #expect(try node.plugin("DEL", "bridge", keys).status == 0) }
            #expect(try node.links() == ["cni0"])
            #expect(try node.links(pod: "a").isEmpty)
            #expect(try node.leases().isEmpty)
        }
    }

    @Test(
        "BR-33: DEL without the namespace removes links, addresses and rules",
        arguments: ["empty", "gone", "file"])
    func namespaceGone(what: String) throws {
        let keys = "\"ipMasq\":true,\"macspoofchk\":true,\"isGateway\":true,\(v4)"
        let added = try add(keys)
        try node.removePod("a")
        if what == "file" { try Shell.sh("touch /run/netns/\(node.name)-a") }
        let answer = try node.plugin("DEL", "bridge", keys, previous: added, pod: what == "empty" ? nil : "a")
        if what == "file" { try Shell.sh("rm /run/netns/\(node.name)-a") }
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.leases().isEmpty)
        #expect(try node.links() == ["cni0"])
        #expect(!(try node.sh("nft list ruleset").contains("c1")))
    }

    @Test("BR-34, BR-35, IF-12: CHECK finds what changed, and nothing on an L2 network")
    func check() throws {
        _ = try node.pod("b")
        let layer2 = try add("", id: "c2", pod: "b")
        #expect(try node.plugin("CHECK", "bridge", previous: layer2, id: "c2", pod: "b").status == 0)
        let keys = "\"isDefaultGateway\":true,\(dual)"
        let added = try add(keys)
        let mac = added.json["interfaces"][2]["mac"].string ?? ""
        for (change, place, repair, fragment) in [
            ("ip link set eth0 address 02:00:00:00:00:77", "a", "ip link set eth0 address \(mac)", "MAC"),
            (
                "ip link set \(port(added)) nomaster", nil, "ip link set \(port(added)) master cni0",
                "not a port"
            ),
            ("ip link set cni0 promisc on", nil, "ip link set cni0 promisc off", "promisc"),
            (
                "ip addr del 10.1.2.2/24 dev eth0", "a",
                "ip addr add 10.1.2.2/24 dev eth0 && ip route add default via 10.1.2.1",
                "Failed to match addr"
            ),
            ("ip route del default", "a", "ip route add default via 10.1.2.1", "Failed to find route"),
            ("ip link del eth0", "a", "true", "does not exist"),
        ] as [(String, String?, String, String)] {
            #expect(try node.plugin("CHECK", "bridge", keys, previous: added).status == 0)
            try node.sh(change, pod: place)
            let answer = try node.plugin("CHECK", "bridge", keys, previous: added)
            #expect(answer.status == 1, "\(change)")
            #expect(answer.message.contains(fragment), "\(answer.ran.output)")
            try node.sh(repair, pod: place)
        }
    }

    @Test("BR-34: CHECK compares MAC addresses, not letters")
    func checkOfLetters() throws {
        let keys = #""bridge":"br0""#
        let added = try node.plugin("ADD", "bridge", keys)
        var shouted = added.ran.output
        for link in added.json["interfaces"].list {
            let mac = try #require(link["mac"].string)
            shouted = shouted.replacing(mac, with: mac.uppercased())
        }
        #expect(shouted != added.ran.output)
        let answer = try node.plugin("CHECK", "bridge", "\(keys),\"prevResult\":\(shouted)")
        #expect(answer.status == 0, "\(answer.message)")
    }

    @Test("BR-36, BR-38: iptables masquerade; two interfaces of a container share a chain to the last DEL")
    func iptables() throws {
        let keys = "\"ipMasq\":true,\"ipMasqBackend\":\"iptables\",\"isGateway\":true,\(dual)"
        let first = try add(keys)
        let second = try node.plugin("ADD", "bridge", keys, interface: "eth1")
        #expect(second.status == 0, "\(second.ran)")
        let rules = try node.sh("iptables-save -t nat")
        let chain = try #require(rules.split(separator: "\n").first { $0.hasPrefix(":CNI-") }).dropFirst()
            .prefix { $0 != " " }
        #expect(chain.count == 28)
        let comment = #"-m comment --comment "name: \"net\" id: \"c1\"""#
        for line in [
            "-A POSTROUTING -s 10.1.2.2/32 \(comment) -j \(chain)",
            "-A POSTROUTING -s 10.1.2.3/32 \(comment) -j \(chain)",
            "-A \(chain) -d 10.1.2.0/24 \(comment) -j ACCEPT",
            "-A \(chain) ! -d 224.0.0.0/4 \(comment) -j MASQUERADE",
        ] { #expect(rules.components(separatedBy: line + "\n").count == 2, "\(line)\n\(rules)") }
        #expect(try node.sh("ip6tables-save -t nat").contains("-s 2001:db8:1::2/128"))
        #expect(try node.plugin("DEL", "bridge", keys, previous: first).status == 0)
        let left = try node.sh("iptables-save -t nat")
        #expect(!left.contains("10.1.2.2") && left.contains("10.1.2.3"))
        #expect(try node.plugin("DEL", "bridge", keys, previous: second, interface: "eth1").status == 0)
        #expect(!(try node.sh("iptables-save -t nat; ip6tables-save -t nat").contains("CNI-")))
    }

    @Test("BR-37, BR-38: nftables masquerade; DEL removes one's own rules alone")
    func nftables() throws {
        let keys = "\"ipMasq\":true,\"isGateway\":true,\(dual)"
        for (id, interface) in [("c1", "eth0"), ("c1", "eth1")] {
            let answer = try node.plugin("ADD", "bridge", keys, id: id, interface: interface)
            #expect(answer.status == 0, "\(answer.ran)")
        }
        let rules = try node.sh("nft list table inet cni_plugins_masquerade")
        #expect(rules.contains("ip saddr 10.1.2.2 ip daddr != 10.1.2.0/24 masquerade comment"))
        #expect(rules.contains("ip6 saddr 2001:db8:1::3 ip6 daddr != 2001:db8:1::/64 masquerade"))
        #expect(rules.contains("net: net, if: eth0, id: c1"))
        #expect(try node.plugin("DEL", "bridge", keys).status == 0)
        let left = try node.sh("nft list ruleset")
        #expect(!left.contains("if: eth0") && left.contains("if: eth1"))
        #expect(try node.plugin("DEL", "bridge", keys, interface: "eth1").status == 0)
        #expect(!(try node.sh("nft list ruleset").contains("saddr")))
    }

    @Test("BR-40: ten ADDs at once on a bridge that is not there")
    func crowd() throws {
        for pod in 0..<10 { _ = try node.pod("p\(pod)") }
        let config =
            "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"bridge\",\"isGateway\":true,\(v4)}"
            .replacing("DIR", with: node.directory)
        try node.write("net.conf", config)
        let one = "CNI_CONTAINERID=p$1 CNI_NETNS=/run/netns/\(node.name)-p$1 bin/bridge <net.conf"
        try node.sh(
            """
            cd \(node.directory); export CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_PATH=/x
            seq 0 9 | xargs -P 10 -n 1 sh -c '\(one)' sh
            """)
        #expect(try node.leases().count == 10)
        #expect(try node.links().count == 11)
    }

    @Test("IP-06: dns of the configuration replaces IPAM's when it says anything, even with an empty list")
    func dns() throws {
        try node.write("resolv.conf", "nameserver 192.0.2.53\n")
        let section = Node.ipam("10.1.2.0/24", extra: #","resolvConf":"DIR/resolv.conf""#)
        for (pod, keys, expected) in [
            ("x", "", ["192.0.2.53"]), ("y", #""dns":{},"#, ["192.0.2.53"]),
            ("z", #""dns":{"nameservers":[]},"#, []),
            ("w", #""dns":{"nameservers":["192.0.2.1"]},"#, ["192.0.2.1"]),
        ] {
            _ = try node.pod(pod)
            let answer = try add(keys + section, id: pod, pod: pod)
            #expect(answer.json["dns"]["nameservers"].list.map { $0.string } == expected)
        }
    }
}
