import Foundation
import Support
import Testing

/// A node whose uplink is one end of a veth pair; the other end, `far`, is another machine.
private func nodeWithUplink() throws -> Node {
    let node = try Node()
    _ = try node.pod("a")
    try node.sh("ip link add uplink type veth peer name far && ip link set uplink up && ip link set far up")
    return node
}

/// The reference macvlan's rows.
@Suite struct MacvlanRows {
    private let node: Node
    private let v4 = Node.ipam("10.1.2.0/24")

    init() throws { node = try nodeWithUplink() }

    private func add(
        _ keys: String, id: String = "c1", pod: String = "a", interface: String = "eth0", args: String = ""
    )
        throws -> Answer
    {
        let answer = try node.plugin(
            "ADD", "macvlan", keys, id: id, pod: pod, interface: interface, args: args)
        #expect(answer.status == 0, "\(answer.ran)")
        return answer
    }

    @Test(
        "MV-01, MV-05: modes and the broadcast queue",
        arguments: ["", "bridge", "private", "vepa", "passthru"])
    func modes(mode: String) throws {
        let keys = "\"master\":\"uplink\",\"mode\":\"\(mode)\",\"bcqueuelen\":2000"
        let answer = try add(keys)
        let link = try node.ip("link show eth0", pod: "a")[0]
        #expect(link["linkinfo"]["info_data"]["mode"].string == (mode.isEmpty ? "bridge" : mode))
        #expect(link["address"].string == answer.json["interfaces"][0]["mac"].string)
        #expect(link["flags"].list.contains { $0.string == "UP" })
        #expect(try node.plugin("CHECK", "macvlan", keys, previous: answer).status == 0)
        for _ in 1...2 { #expect(try node.plugin("DEL", "macvlan", keys).status == 0) }
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("MV-03: in passthru mode the result has the address that the link has")
    func passthruAddress() throws {
        let keys = #""master":"uplink","mode":"passthru","mac":"02:00:00:00:00:55""#
        let answer = try add(keys)
        let link = try node.ip("link show eth0", pod: "a")[0]
        #expect(answer.json["interfaces"][0]["mac"].string == link["address"].string)
        #expect(try node.plugin("CHECK", "macvlan", keys, previous: answer).status == 0)
    }

    @Test("MV-04: a version that cannot express the result fails, and leaves the link as the reference does")
    func oldLayer2() throws {
        let keys = #""master":"uplink","ipam":{}"#
        let answer = try node.plugin("ADD", "macvlan", keys, version: "0.2.0")
        #expect(answer.message.contains("no valid IP addresses"), "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0"])
        #expect(try node.plugin("DEL", "macvlan", keys, version: "0.2.0").status == 0)
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("MV-09: DEL does not follow an alternative name to another link")
    func alternativeName() throws {
        try node.sh("ip link add eth1 type bridge && ip link property add dev eth1 altname eth0", pod: "a")
        #expect(try node.plugin("DEL", "macvlan", #""master":"uplink""#).status == 0)
        #expect(try node.links(pod: "a") == ["eth1"])
    }

    @Test("MV-01, MV-02, MV-03: what makes no sense is refused")
    func refuses() throws {
        for (keys, fragment) in [
            (#""master":"uplink","mode":"x""#, "unknown macvlan mode"),
            (#""master":"uplink","mtu":9000"#, "invalid MTU"),
            (#""master":"uplink","mtu":-1"#, "invalid MTU"),
            (#""master":"uplink","mac":"x""#, "for MAC addr"), (#""master":"none""#, "Link not found"),
            ("", "no default route interface found"), (#""master":"a/b""#, "invalid interface name"),
            (#""master":"uplink","linkInContainer":true"#, "Link not found"),
            (#""master":"uplink","ipam":{"type":"static"}"#, "missing IP config"),
        ] {
            let answer = try node.plugin("ADD", "macvlan", keys)
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(keys): \(answer.ran.output)")
        }
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.links() == ["uplink", "far"])
    }

    @Test("MV-02, MV-04: the master's MTU or a smaller one; layer 2 without IPAM")
    func mtu() throws {
        try node.sh("ip link set uplink mtu 1400")
        let answer = try add(#""master":"uplink""#)
        #expect(!answer.json["ips"].exists)
        #expect(try node.ip("link show eth0", pod: "a")[0]["mtu"].int == 1400)
        _ = try add(#""master":"uplink","mtu":1300"#, interface: "eth1")
        #expect(try node.ip("link show eth1", pod: "a")[0]["mtu"].int == 1300)
    }

    @Test(
        "MV-03: the MAC of the configuration, CNI_ARGS, runtimeConfig, the later the stronger; args.cni is not read"
    )
    func requestedMAC() throws {
        let base = #""master":"uplink","mac":"02:00:00:00:00:01","args":{"cni":{"mac":"02:00:00:00:00:09"}}"#
        let runtime = #","runtimeConfig":{"mac":"02:00:00:00:00:03"}"#
        for (interface, keys, args, mac) in [
            ("e1", base, "", "02:00:00:00:00:01"), ("e2", base, "MAC=02:00:00:00:00:02", "02:00:00:00:00:02"),
            ("e3", base + runtime, "MAC=02:00:00:00:00:02", "02:00:00:00:00:03"),
        ] {
            let answer = try add(keys, interface: interface, args: args)
            #expect(answer.json["interfaces"][0]["mac"].string == mac)
            #expect(try node.ip("link show \(interface)", pod: "a")[0]["address"].string == mac)
        }
    }

    @Test("MV-06, IF-09: the neighbours hear of it, and IPv6 addresses have settled")
    func announces() throws {
        let answer = try add(
            "\"master\":\"uplink\",\(Node.ipam("10.1.2.0/24", "2001:db8:1::/64", extra: #","routes":[{"dst":"0.0.0.0/0"}]"#))"
        )
        #expect(answer.json["ips"].list.map { $0["interface"].int } == [0, 0])
        let files = "cat /proc/sys/net/ipv4/conf/eth0/arp_notify /proc/sys/net/ipv6/conf/eth0/ndisc_notify"
        #expect(try node.sh(files, pod: "a") == "1\n1\n")
        #expect(!(try node.sh("ip -6 addr show dev eth0", pod: "a").contains("tentative")))
        try node.sh("ip addr add 10.1.2.1/24 dev far && ip addr add 2001:db8:1::1/64 dev far nodad")
        try node.sh("ping -c 1 -w 10 10.1.2.1 && ping -c 1 -W 3 2001:db8:1::1", pod: "a")
        // A MAC address of its own, which the other machine sees.
        let neighbour = try node.ip("neigh show 10.1.2.2 dev far")[0]["lladdr"].string
        #expect(neighbour == answer.json["interfaces"][0]["mac"].string)
        #expect(neighbour != (try node.ip("link show uplink")[0]["address"].string))
    }

    @Test("IF-10: an address that a neighbour has")
    func duplicate() throws {
        try node.sh("ip addr add 2001:db8:1::5/64 dev far nodad")
        let section =
            #""ipam":{"type":"static","addresses":[{"address":"2001:db8:1::5/64","gateway":"2001:db8:1::1"}]}"#
        let answer = try node.plugin("ADD", "macvlan", "\"master\":\"uplink\",\(section)")
        #expect(answer.message.contains("DADFAILED"), "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("IF-11: a master without carrier does not fail it")
    func noCarrier() throws {
        try node.sh("ip link set far down")
        let answer = try add("\"master\":\"uplink\",\(Node.ipam("2001:db8:1::/64"))")
        #expect(try node.addresses("eth0", pod: "a") == ["2001:db8:1::2/64"], "\(answer.ran)")
    }

    @Test("MV-07: the master is in the host, in the pod, or where the default route goes")
    func masters() throws {
        try node.sh("ip addr add 192.0.2.2/24 dev uplink && ip route add default via 192.0.2.1")
        _ = try add(#""linkInContainer":false"#, interface: "net1")
        let own = try node.ip("link show uplink")[0]["ifindex"].int
        #expect(try node.ip("link show net1", pod: "a")[0]["link_index"].int == own)
        try node.sh("ip link add inner type veth peer name renni && ip link set inner up", pod: "a")
        _ = try add(#""master":"inner","linkInContainer":true"#, interface: "net2")
        #expect(try node.ip("link show net2", pod: "a")[0]["link"].string == "inner")
        #expect(
            try node.plugin("DEL", "macvlan", #""master":"inner","linkInContainer":true"#, interface: "net2")
                .status == 0)
        #expect(try node.links(pod: "a") == ["net1", "inner", "renni"])
    }

    @Test("MV-08: a name that the pod has is refused; one that the host has is not")
    func names() throws {
        try node.sh("ip link add eth0 type veth peer name other")
        _ = try add(#""master":"uplink""#)
        let again = try node.plugin("ADD", "macvlan", #""master":"uplink""#, id: "c2")
        #expect(again.message.contains("already exists"))
        #expect(try node.links(pod: "a") == ["eth0"])
        _ = try add(#""master":"uplink""#, interface: "a23456789012345")
    }

    @Test("MV-09, MV-10: DEL needs no master and no namespace; nothing is left of a failure")
    func deletes() throws {
        let keys = "\"master\":\"uplink\",\(v4)"
        _ = try add(keys)
        try node.sh("ip link del far")
        #expect(try node.plugin("DEL", "macvlan", "\"mode\":\"x\",\(v4)").status == 0)
        #expect(try node.leases().isEmpty)
        #expect(try node.plugin("DEL", "macvlan", v4, pod: nil).status == 0)
        try node.sh("ip link add uplink type veth peer name far && ip link set uplink up")
        let failing = Node.ipam("10.1.2.0/24", extra: #","routes":[{"dst":"10.8.0.0/16","gw":"192.0.2.1"}]"#)
        #expect(try node.plugin("ADD", "macvlan", "\"master\":\"uplink\",\(failing)").status == 1)
        #expect(try node.links(pod: "a").isEmpty && node.leases().isEmpty)
    }

    @Test("MV-11: CHECK finds what changed")
    func check() throws {
        let keys = "\"master\":\"uplink\",\(v4)"
        let added = try add(keys)
        #expect(try node.plugin("CHECK", "macvlan", keys, previous: added).status == 0)
        let other = try node.plugin("CHECK", "macvlan", "\"mode\":\"vepa\",\(keys)", previous: added)
        #expect(other.message.contains("mode"))
        #expect(
            try node.plugin("CHECK", "macvlan", "\"master\":\"none\",\(v4)", previous: added).message
                .contains("not found"))
        try node.sh("ip link set eth0 address 02:00:00:00:00:66", pod: "a")
        #expect(try node.plugin("CHECK", "macvlan", keys, previous: added).message.contains("MAC"))
        let old = try node.plugin("CHECK", "macvlan", keys, version: "0.3.1")
        #expect(old.message.contains("does not allow CHECK"))
    }

    @Test("two attachments to one master reach each other; DEL in any order")
    func two() throws {
        _ = try node.pod("b")
        let keys = "\"master\":\"uplink\",\(Node.ipam("10.1.2.0/24", "fd00:1::/64"))"
        _ = try add(keys)
        _ = try add(keys, id: "c2", pod: "b")
        try node.sh("ping -c 1 -w 10 10.1.2.3 && ping -c 1 -W 3 fd00:1::3", pod: "a")
        #expect(try node.plugin("DEL", "macvlan", keys).status == 0)
        #expect(try node.plugin("DEL", "macvlan", keys, id: "c2", pod: "b").status == 0)
        #expect(try node.leases().isEmpty)
    }
}

/// The reference ipvlan's rows.
@Suite(.enabled(if: Feature.ipvlan, "this kernel has no ipvlan; the VM's has"))
struct IpvlanRows {
    private let node: Node
    private let v4 = Node.ipam("10.1.2.0/24")

    init() throws { node = try nodeWithUplink() }

    @Test("IV-01, IV-05, IV-06: modes, the master's MAC, CHECK", arguments: ["l2", "l3", "l3s"])
    func modes(mode: String) throws {
        let keys = "\"master\":\"uplink\",\"mode\":\"\(mode)\",\(v4)"
        let answer = try node.plugin("ADD", "ipvlan", keys)
        #expect(answer.status == 0, "\(answer.ran)")
        let link = try node.ip("link show eth0", pod: "a")[0]
        #expect(link["linkinfo"]["info_data"]["mode"].string == mode)
        #expect(
            answer.json["interfaces"][0]["mac"].string
                == (try node.ip("link show uplink")[0]["address"].string))
        #expect(link["address"].string == answer.json["interfaces"][0]["mac"].string)
        #expect(try node.addresses("eth0", pod: "a") == ["10.1.2.2/24"])
        #expect(try node.plugin("CHECK", "ipvlan", keys, previous: answer).status == 0)
        let other = mode == "l2" ? "l3" : "l2"
        let changed = try node.plugin(
            "CHECK", "ipvlan", keys.replacing("\"\(mode)\"", with: "\"\(other)\""), previous: answer)
        #expect(changed.message.contains("mode"))
        for _ in 1...2 { #expect(try node.plugin("DEL", "ipvlan", keys).status == 0) }
        #expect(try node.links(pod: "a").isEmpty && node.leases().isEmpty)
    }

    @Test("IV-01, IV-02, IV-08: what makes no sense is refused, and leaves nothing")
    func refuses() throws {
        for (keys, fragment) in [
            ("\"master\":\"uplink\",\"mode\":\"l4\",\(v4)", "unknown ipvlan mode"),
            ("\"master\":\"none\",\(v4)", "failed to lookup master"),
            (v4, "no default route interface found"),
            (#""master":"uplink""#, "no plugin name provided"),
            (#""master":"uplink","ipam":{"type":"static"}"#, "missing IP config"),
            (
                "\"master\":\"uplink\",\(Node.ipam("10.1.2.0/24", extra: #","routes":[{"dst":"10.8.0.0/16","gw":"192.0.2.1"}]"#))",
                "unreachable"
            ),
        ] {
            let answer = try node.plugin("ADD", "ipvlan", keys)
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(keys): \(answer.ran.output)")
        }
        #expect(try node.links(pod: "a").isEmpty && node.leases().isEmpty)
    }

    @Test("IV-02, IV-04: the master of the default route, and one in the pod")
    func masters() throws {
        try node.sh("ip addr add 192.0.2.2/24 dev uplink && ip route add default via 192.0.2.1")
        #expect(try node.plugin("ADD", "ipvlan", v4).status == 0)
        try node.sh("ip link add inner type veth peer name renni && ip link set inner up", pod: "a")
        let keys = "\"master\":\"inner\",\"linkInContainer\":true,\(v4)"
        let answer = try node.plugin("ADD", "ipvlan", keys, interface: "net1")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.ip("link show net1", pod: "a")[0]["link"].string == "inner")
    }

    @Test("IV-03: behind another plugin, its link is the master and its addresses are taken over")
    func chained() throws {
        let previous =
            #""prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"uplink"}],"ips":[{"address":"10.1.2.2/24","interface":0}],"routes":[{"dst":"10.9.0.0/16"}]}"#
        let answer = try node.plugin(
            "ADD", "ipvlan", previous.replacing(#","routes":[{"dst":"10.9.0.0/16"}]"#, with: ""))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses("eth0", pod: "a") == ["10.1.2.2/24"])
        #expect(answer.json["interfaces"].list.count == 1)
        #expect(try node.plugin("CHECK", "ipvlan", previous: answer).status == 0)
        #expect(try node.plugin("DEL", "ipvlan", previous: answer).status == 0)
        let two = previous.replacing(#"[{"name":"uplink"}]"#, with: #"[{"name":"uplink"},{"name":"far"}]"#)
        #expect(try node.plugin("ADD", "ipvlan", two).message.contains("chained master failure"))
    }

    @Test("IV-07: DEL without the master")
    func deletes() throws {
        let keys = "\"master\":\"uplink\",\(Node.ipam("2001:db8:1::/64"))"
        let added = try node.plugin("ADD", "ipvlan", keys)
        #expect(added.status == 0, "\(added.ran)")
        try node.sh("ip link del far")
        #expect(try node.plugin("DEL", "ipvlan", keys).status == 0)
        #expect(try node.leases().isEmpty)
    }

    @Test("an older kernel's host that has the name itself")
    func nameOfTheHost() throws {
        try node.sh("ip link add eth0 type veth peer name other")
        let answer = try node.plugin("ADD", "ipvlan", "\"master\":\"uplink\",\(v4)")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0"])
        #expect(try node.plugin("ADD", "macvlan", #""master":"far""#, interface: "other").status == 0)
        #expect(try node.links(pod: "a") == ["eth0", "other"])
    }
}

/// A node that goes over with macvlan pods running.
@Suite struct MacvlanSwitchOver {
    @Test("SW: attached by one, checked and deleted by the other", arguments: ["debian", "plexus"])
    func switches(first: String) throws {
        let node = try nodeWithUplink()
        let keys = "\"master\":\"uplink\",\(Node.ipam("10.1.2.0/24", "2001:db8:1::/64"))"
        func call(_ verb: String, _ side: String, previous: Answer? = nil) throws -> Answer {
            guard side == "debian" else { return try node.plugin(verb, "macvlan", keys, previous: previous) }
            let result = previous.map { ",\"prevResult\":\($0.ran.output)" } ?? ""
            let config = "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"macvlan\",\(keys)\(result)}"
            return Answer(
                ran: try Shell.run(
                    ["ip", "netns", "exec", node.name, "/usr/lib/cni/macvlan"],
                    input: config.replacing("DIR", with: node.directory),
                    environment: [
                        "CNI_COMMAND": verb, "CNI_CONTAINERID": "c1",
                        "CNI_NETNS": "/run/netns/\(node.name)-a",
                        "CNI_IFNAME": "eth0", "CNI_PATH": "/usr/lib/cni",
                    ]))
        }
        let second = first == "debian" ? "plexus" : "debian"
        let added = try call("ADD", first)
        #expect(added.status == 0, "\(added.ran)")
        #expect(try call("CHECK", second, previous: added).status == 0)
        let deleted = try call("DEL", second, previous: added)
        #expect(deleted.status == 0, "\(deleted.ran)")
        #expect(try node.links(pod: "a").isEmpty && node.leases().isEmpty)
    }
}

/// The reference dummy's rows.
@Suite(.enabled(if: Feature.dummy, "this kernel has no dummy; the VM's has"))
struct DummyRows {
    private let node: Node
    private let v4 = Node.ipam("10.1.2.0/24")

    init() throws { node = try nodeWithUplink() }

    @Test("DU-01, CH-15: the link is in the pod, whatever the host has of that name")
    func link() throws {
        try node.sh("ip link add eth0 type dummy")
        let answer = try node.plugin("ADD", "dummy", v4)
        #expect(answer.status == 0, "\(answer.ran)")
        let link = try node.ip("link show eth0", pod: "a")[0]
        #expect(link["linkinfo"]["info_kind"].string == "dummy")
        #expect(link["flags"].list.contains { $0.string == "UP" })
        #expect(link["address"].string == answer.json["interfaces"][0]["mac"].string)
        #expect(try node.addresses("eth0", pod: "a") == ["10.1.2.2/24"])
        let checked = try node.plugin("CHECK", "dummy", v4, previous: answer)
        #expect(checked.status == 0, "\(checked.ran)")
        for _ in 1...2 { #expect(try node.plugin("DEL", "dummy", v4).status == 0) }
        #expect(try node.links(pod: "a").isEmpty && node.leases().isEmpty)
        #expect(try node.links().contains("eth0"))
    }

    @Test("DU-02, DU-03: what is refused leaves nothing")
    func refuses() throws {
        for (keys, fragment) in [
            ("", "requires an IPAM configuration"), (#""ipam":{}"#, "requires an IPAM configuration"),
            (#""ipam":{"type":"static"}"#, "missing IP config"),
        ] {
            let answer = try node.plugin("ADD", "dummy", keys)
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(answer.ran)")
            #expect(try node.links(pod: "a").isEmpty)
        }
    }

    @Test("DU-04: CHECK of a link that is down")
    func isDown() throws {
        let answer = try node.plugin("ADD", "dummy", v4)
        try node.sh("ip link set eth0 down", pod: "a")
        #expect(try node.plugin("CHECK", "dummy", v4, previous: answer).message.contains("is down"))
    }
}
