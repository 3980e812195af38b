import Foundation
import Support
import Testing

/// The rows of tuning and route-override, which follow another plugin in a chain.
@Suite struct ChainRows {
    private let node: Node

    init() throws {
        node = try Node()
        _ = try node.pod("a")
        try node.sh(
            "ip link add eth0 type veth peer name outer && ip link set eth0 up && ip link set outer up && ip link set lo up",
            pod: "a")
    }

    private let plain =
        #""prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/s","mac":"02:00:00:00:00:99"},{"name":"x"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}"#

    private func tune(_ keys: String, _ verb: String = "ADD", args: String = "") throws -> Answer {
        try node.plugin(
            verb, "tuning", "\"dataDir\":\"DIR/tuning\",\(keys)\(keys.isEmpty ? "" : ",")\(plain)", args: args
        )
    }

    private func link() throws -> Tree { try node.ip("link show eth0", pod: "a")[0] }

    private func flags() throws -> Set<String> { Set(try link()["flags"].list.compactMap(\.string)) }

    @Test("TU-01, TU-02: sysctls of the pod alone, IFNAME standing for the interface")
    func sysctls() throws {
        let answer = try tune(#""sysctl":{"net.core.somaxconn":"512","net/ipv4/conf/IFNAME/rp_filter":"2"}"#)
        #expect(answer.status == 0, "\(answer.ran)")
        let files =
            "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/conf/eth0/rp_filter /proc/sys/net/ipv4/conf/lo/rp_filter"
        #expect(try node.sh(files, pod: "a") == "512\n2\n0\n")
        #expect(try node.sh("cat /proc/sys/net/core/somaxconn") == "4096\n")
        #expect(answer.json["ips"][0]["address"].string == "10.0.0.2/24")
        #expect(try node.files("tuning").isEmpty)
        try node.sh("ip link add e0.5 type veth peer name outer5", pod: "a")
        let dotted = try node.plugin(
            "ADD", "tuning", "\"sysctl\":{\"net.ipv4.conf.IFNAME.rp_filter\":\"1\"},\(plain)",
            interface: "e0.5")
        #expect(dotted.status == 0, "\(dotted.ran)")
        #expect(try node.sh("cat /proc/sys/net/ipv4/conf/e0.5/rp_filter", pod: "a") == "1\n")
    }

    @Test("TU-03, TU-04, TU-14: what makes no sense is refused and changes nothing")
    func refuses() throws {
        for (keys, fragment) in [
            (#""sysctl":{"kernel.hostname":"x"}"#, "invalid net sysctl key"),
            (#""sysctl":{"net/../kernel/hostname":"x"}"#, "invalid net sysctl key"),
            (#""sysctl":{"net.core.none":"1"}"#, "does not exist"),
            (#""sysctl":{"net.core.somaxconn":"1","net.core.somaxconn":"2"}"#, "duplicated sysctl keys"),
            (#""sysctl":{"net.core.somaxconn":5}"#, "cannot unmarshal"), (#""mac":"x""#, "invalid args"),
            (#""mtu":20,"promisc":true"#, "set link"), (#""dataDir":"relative""#, "no absolute path"),
        ] {
            let answer = try node.plugin("ADD", "tuning", "\"dataDir\":\"DIR/tuning\",\(keys),\(plain)")
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(keys): \(answer.ran.output)")
        }
        #expect(try node.sh("cat /proc/sys/net/core/somaxconn", pod: "a") == "4096\n")
        #expect(try !flags().contains("PROMISC"))
        #expect(try node.files("tuning").isEmpty)
        #expect(try node.plugin("ADD", "tuning").message.contains("Required prevResult missing"))
    }

    @Test("TU-06: the MAC of configuration, CNI_ARGS, runtimeConfig, args.cni, the later the stronger")
    func macs() throws {
        let conf = #""mac":"02:00:00:00:00:01""#
        let runtime = #","runtimeConfig":{"mac":"02:00:00:00:00:03"}"#
        let args = #","args":{"cni":{"mac":"02:00:00:00:00:0D"}}"#
        for (keys, cni, mac) in [
            (conf, "", "02:00:00:00:00:01"), (conf, "MAC=02:00:00:00:00:02", "02:00:00:00:00:02"),
            (conf + runtime, "MAC=02:00:00:00:00:02", "02:00:00:00:00:03"),
            (conf + runtime + args, "MAC=02:00:00:00:00:02", "02:00:00:00:00:0D"),
        ] {
            let answer = try tune(keys, args: cni)
            #expect(answer.json["interfaces"][0]["mac"].string == mac, "\(answer.ran)")
            #expect(try link()["address"].string == mac.lowercased())
        }
    }

    @Test("TU-07, TU-08, TU-09, TU-11, TU-12: link properties, their originals in a file, CHECK, DEL")
    func properties() throws {
        let before = try link()
        let keys = #""mac":"02:00:00:00:00:0A","mtu":1300,"promisc":true,"allmulti":true,"txQLen":77"#
        let answer = try tune(keys)
        #expect(answer.status == 0, "\(answer.ran)")
        let after = try link()
        #expect(after["mtu"].int == 1300 && after["txqlen"].int == 77)
        #expect(try flags().isSuperset(of: ["PROMISC", "ALLMULTI"]))
        let file = try Shell.sh("cat \(node.directory)/tuning/c1_eth0.json")
        let saved = try Tree(parsing: file)
        #expect(saved["mac"].string == before["address"].string)
        #expect(saved["mtu"].int == 1500 && saved["txQLen"].int == 1000)
        #expect(saved["promisc"].bool == false && saved["allmulti"].bool == false)
        #expect(try Shell.sh("stat -c %a \(node.directory)/tuning/c1_eth0.json") == "600\n")
        #expect(try tune(keys, "CHECK").status == 0)
        for (change, repair) in [
            ("ip link set eth0 mtu 1400", "ip link set eth0 mtu 1300"),
            ("ip link set eth0 promisc off", "ip link set eth0 promisc on"),
            ("ip link set eth0 allmulticast off", "ip link set eth0 allmulticast on"),
            ("ip link set eth0 txqueuelen 5", "ip link set eth0 txqueuelen 77"),
            ("ip link set eth0 address 02:00:00:00:00:0b", "ip link set eth0 address 02:00:00:00:00:0a"),
        ] {
            try node.sh(change, pod: "a")
            #expect(try tune(keys, "CHECK").message.contains("doesn't match"), "\(change)")
            try node.sh(repair, pod: "a")
        }
        #expect(try tune(keys, "DEL").status == 0)
        let restored = try link()
        for key in ["address", "mtu", "txqlen"] { #expect("\(restored[key])" == "\(before[key])") }
        #expect(try flags().isDisjoint(with: ["PROMISC", "ALLMULTI"]))
        #expect(try node.files("tuning").isEmpty)
    }

    @Test("TU-07, TU-13: explicit false and zero; args.cni alone")
    func explicit() throws {
        try node.sh("ip link set eth0 allmulticast on", pod: "a")
        #expect(
            try tune(
                #""allmulti":true,"args":{"cni":{"allmulti":false,"txQLen":0,"sysctl":{"net.core.somaxconn":"99"}}}"#
            ).status == 0)
        #expect(try !flags().contains("ALLMULTI"))
        #expect(try link()["txqlen"].int ?? 0 == 0)
        #expect(try tune(#""promisc":true,"mtu":1300,"args":{"cni":{"promisc":false,"mtu":0}}"#).status == 0)
        #expect(try !flags().contains("PROMISC"))
        #expect(try link()["mtu"].int == 1500)
        #expect(try node.sh("cat /proc/sys/net/core/somaxconn", pod: "a") == "99\n")
    }

    @Test("TU-10: DEL with a broken file, a hand-written one, without the link, without the namespace")
    func deletes() throws {
        let keys = #""mtu":1300"#
        #expect(try tune(keys, "DEL").status == 0)
        try node.write("tuning/c1_eth0.json", "{broken")
        #expect(try tune(keys, "DEL").status == 0)
        try node.write("tuning/c1_eth0.json", #"{"mtu":1234,"promisc":true}"#)
        #expect(try tune("", "DEL").status == 0)
        #expect(try link()["mtu"].int == 1234)
        #expect(try flags().contains("PROMISC"))
        #expect(try tune(keys).status == 0)
        try node.sh("ip link del eth0", pod: "a")
        #expect(try tune(keys, "DEL").status == 0)
        #expect(try node.files("tuning").isEmpty)
        #expect(try node.plugin("DEL", "tuning", "\(keys),\(plain)", pod: nil).status == 0)
    }

    @Test("TU-10: what cannot be restored is logged, and the file stays")
    func unrestorable() throws {
        let file = "\(node.directory)/data/c1_eth0.json"
        try node.write("data/c1_eth0.json", #"{"mtu":99999999,"txQLen":44}"#)
        let answer = try tune(#""dataDir":"DIR/data""#, "DEL")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("mtu"))
        #expect(try link()["txqlen"].int == 44)
        #expect(try Shell.run(["test", "-e", file]).status == 0)
    }

    @Test("TU-08: an ADD that fails leaves an earlier one's originals in the file")
    func earlierOriginals() throws {
        let keys = #""dataDir":"DIR/data""#
        #expect(try tune("\(keys),\"mtu\":1400").status == 0)
        #expect(try tune("\(keys),\"mtu\":99999999").status == 1)
        #expect(try node.ip("link show eth0", pod: "a")[0]["mtu"].int == 1400)
        #expect(try tune(keys, "DEL").status == 0)
        #expect(try node.ip("link show eth0", pod: "a")[0]["mtu"].int == 1500)
    }

    @Test("TU-05: the administrator's list decides")
    func allowList() throws {
        let list = "/etc/cni/tuning/allowlist.conf"
        func call(_ content: String) throws -> Answer {
            try node.write("allow", content)
            let config =
                #"{"cniVersion":"1.0.0","name":"net","type":"tuning","sysctl":{"net.core.somaxconn":"512"},"#
                + plain + "}"
            try node.write("tuning.conf", config)
            let ran = try Shell.run([
                "unshare", "--mount", "sh", "-c",
                """
                mkdir -p /etc/cni && mount -t tmpfs tmpfs /etc/cni && mkdir /etc/cni/tuning && cp \(node.directory)/allow \(list)
                ip netns exec \(node.name) env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/\(node.name)-a \
                  CNI_IFNAME=eth0 CNI_PATH=/x \(node.directory)/bin/tuning <\(node.directory)/tuning.conf
                """,
            ])
            return Answer(ran: ran)
        }
        #expect(try call("^net\\.ipv4\\.\n").message.contains("is not allowed"))
        #expect(try call("").message.contains("is not allowed"))
        #expect(try node.sh("cat /proc/sys/net/core/somaxconn", pod: "a") == "4096\n")
        for lines in ["# x\n^net\\.core\\.somaxconn$\n", "  \\bcore\\b \n", "^net\\.(ipv4|core)\\.[a-z]{9}$"]
        {
            let allowed = try call(lines)
            #expect(allowed.status == 0, "\(lines) \(allowed.ran)")
        }
    }

    // MARK: route-override

    /// Gives eth0 addresses and routes as a plugin before would, and the result that it would print.
    private func routed(_ family: Int) throws -> String {
        let (ip, lines, routes) =
            family == 4
            ? (
                "10.0.0.2/24",
                ["default via 10.0.0.1", "10.8.0.0/16 via 10.0.0.1", "10.9.0.0/16 via 10.0.0.3"],
                [("0.0.0.0/0", "10.0.0.1"), ("10.8.0.0/16", "10.0.0.1"), ("10.9.0.0/16", "10.0.0.3")]
            )
            : (
                "fd00::2/64", ["default via fd00::1", "fd00:8::/64 via fd00::1", "fd00:9::/64 via fd00::3"],
                [("::/0", "fd00::1"), ("fd00:8::/64", "fd00::1"), ("fd00:9::/64", "fd00::3")]
            )
        try node.sh("ip addr add \(ip) dev eth0 \(family == 6 ? "nodad" : "")", pod: "a")
        for line in lines { try node.sh("ip -\(family) route add \(line)", pod: "a") }
        let list = routes.map { "{\"dst\":\"\($0.0)\",\"gw\":\"\($0.1)\"}" }.joined(separator: ",")
        let gateway = family == 4 ? "10.0.0.1" : "fd00::1"
        return """
            "prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/\(node.name)-a"}],\
            "ips":[{"address":"\(ip)","gateway":"\(gateway)","interface":0}],"routes":[\(list)]}
            """
    }

    private func destinations(_ family: Int) throws -> [String] {
        try node.ip("-\(family) route show dev eth0", pod: "a").list.compactMap { $0["dst"].string }
            .filter { !$0.hasPrefix("fe80") && !$0.hasPrefix("ff00") && $0 != "multicast" }.sorted()
    }

    @Test(
        "RO-01, RO-02, RO-03, RO-04, RO-05, RO-10: each change, in the kernel and in the result",
        arguments: [4, 6])
    func overrides(family: Int) throws {
        let previous = try routed(family)
        let net = family == 4 ? "10.0.0.0/24" : "fd00::/64"
        let eight = family == 4 ? "10.8.0.0/16" : "fd00:8::/64"
        let nine = family == 4 ? "10.9.0.0/16" : "fd00:9::/64"
        let more = family == 4 ? "10.7.0.0/16" : "fd00:7::/64"
        let any = family == 4 ? "0.0.0.0/0" : "::/0"
        let zero = family == 4 ? "0.0.0.0" : "::"
        // A link of somebody else's keeps its routes.
        try node.sh(
            "ip link add other type veth peer name rehto && ip link set other up && ip link set rehto up",
            pod: "a")
        try node.sh("ip -\(family) route add \(eight) dev other metric 5", pod: "a")
        let all = try destinations(family)
        #expect(all == [net, eight, nine, "default"].sorted())

        let untouched = try node.plugin("ADD", "route-override", previous)
        #expect(untouched.json["routes"].list.count == 3, "\(untouched.ran)")
        #expect(try destinations(family) == all)

        let deleted = try node.plugin(
            "ADD", "route-override", "\"delroutes\":[{\"dst\":\"\(nine)\"}],\(previous)")
        #expect(deleted.json["routes"].list.map { $0["dst"].string } == [any, eight])
        #expect(try destinations(family) == [net, eight, "default"].sorted())

        let gateway = family == 4 ? "10.0.0.1" : "fd00::1"
        let add = "\"addroutes\":[{\"dst\":\"\(more)\",\"gw\":\"\(gateway)\",\"priority\":7}]"
        let added = try node.plugin("ADD", "route-override", "\(add),\(previous)")
        #expect(added.json["routes"].list.last?["dst"].string == more)
        #expect(try destinations(family).contains(more))
        #expect(try node.sh("ip -\(family) route show \(more)", pod: "a").contains("metric 7"))

        let flushed = try node.plugin("ADD", "route-override", "\"flushgateway\":true,\(previous)")
        #expect(flushed.json["ips"][0]["gateway"].string == zero)
        #expect(!flushed.json["routes"].list.contains { $0["dst"].string == any })
        #expect(try !destinations(family).contains("default"))

        let none = try node.plugin("ADD", "route-override", "\"flushroutes\":true,\(previous)")
        #expect(none.json["routes"].list.isEmpty)
        #expect(try destinations(family) == [net])
        #expect(
            try node.ip("-\(family) route show dev other", pod: "a").list.contains {
                $0["dst"].string == eight
            })
    }

    @Test(
        "RO-02, RO-03: whoever made a route, it goes, and comes back whole when the ADD fails",
        arguments: [
            (4, "default via 10.0.0.1 proto dhcp src 10.0.0.2 mtu 1400", "flushgateway"),
            (4, "default nexthop via 10.0.0.1 nexthop via 10.0.0.254", "flushgateway"),
            (6, "default via fd00::1 proto ra mtu 1400", "flushgateway"),
            (6, "default nexthop via fd00::1 nexthop via fd00::254", "flushroutes"),
            (4, "default via 192.0.2.1 onlink proto static", "flushroutes"),
        ])
    func foreignRoutes(family: Int, route: String, key: String) throws {
        let previous = try routed(family)
        try node.sh("ip -\(family) route flush default; ip -\(family) route add \(route) dev eth0", pod: "a")
        let before = try node.sh("ip -\(family) route show default", pod: "a")
        #expect(!before.isEmpty)
        let gateway = family == 4 ? "203.0.113.1" : "2001:db8:99::1"
        let destination = family == 4 ? "10.5.0.0/16" : "fd00:5::/64"
        let refused = try node.plugin(
            "ADD", "route-override",
            "\"\(key)\":true,\"addroutes\":[{\"dst\":\"\(destination)\",\"gw\":\"\(gateway)\"}],\(previous)")
        #expect(refused.status == 1, "\(refused.ran)")
        #expect(try node.sh("ip -\(family) route show default", pod: "a") == before)
        let answer = try node.plugin("ADD", "route-override", "\"\(key)\":true,\(previous)")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.sh("ip -\(family) route show default", pod: "a").isEmpty)
    }

    @Test("RO-02: the kernel lists IPv6 routes of several links as one; only the chain's own goes")
    func mergedRoutes() throws {
        let previous = try routed(6)
        try node.sh(
            """
            ip link add third type veth peer name driht && ip link set third up && ip link set driht up && ip addr add fd00:99::2/64 dev third nodad
            ip -6 route append default via fd00:99::1 dev third
            """, pod: "a")
        func gateways() throws -> [String] {
            try node.sh("ip -6 route show default", pod: "a").split(separator: " ").map(String.init)
                .filter { $0.hasSuffix("::1") }.sorted()
        }
        #expect(try gateways() == ["fd00:99::1", "fd00::1"])
        let keys = #""addroutes":[{"dst":"fd00:5::/64","gw":"2001:db8:99::1"}]"#
        let refused = try node.plugin(
            "ADD", "route-override", "\"flushgateway\":true,\(keys),\(previous)")
        #expect(refused.status == 1, "\(refused.ran)")
        #expect(try gateways() == ["fd00:99::1", "fd00::1"])
        let flushed = try node.plugin("ADD", "route-override", "\"flushgateway\":true,\(previous)")
        #expect(flushed.status == 0, "\(flushed.ran)")
        #expect(try gateways() == ["fd00:99::1"])
    }

    @Test("RO-05: a route that is there already is no failure")
    func presentRoute() throws {
        let previous = try routed(4)
        let answer = try node.plugin(
            "ADD", "route-override", "\"addroutes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.0.0.1\"}],\(previous)"
        )
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.ip("-4 route show default", pod: "a").list.count == 1)
    }

    @Test("RO-04: delroutes takes a default route out of the kernel too")
    func deletesDefault() throws {
        let answer = try node.plugin(
            "ADD", "route-override", "\"delroutes\":[{\"dst\":\"0.0.0.0/0\"}],\(try routed(4))")
        #expect(answer.json["routes"].list.count == 2)
        #expect(try !destinations(4).contains("default"))
    }

    @Test("RO-06: args.cni replaces the configuration's lists")
    func arguments() throws {
        let keys =
            #""delroutes":[{"dst":"10.8.0.0/16"}],"args":{"cni":{"delroutes":[{"dst":"10.9.0.0/16"}]}}"#
        let answer = try node.plugin("ADD", "route-override", "\(keys),\(try routed(4))")
        #expect(answer.json["routes"].list.map { $0["dst"].string } == ["0.0.0.0/0", "10.8.0.0/16"])
    }

    @Test(
        "RO-07, RO-08: CHECK compares with the kernel, unless skipcheck; every version",
        arguments: ["0.4.0", "1.0.0", "1.1.0"])
    func check(version: String) throws {
        let previous = try routed(4).replacing("\"1.0.0\"", with: "\"\(version)\"")
        let keys = #""delroutes":[{"dst":"10.9.0.0/16"}]"#
        let added = try node.plugin("ADD", "route-override", "\(keys),\(previous)", version: version)
        #expect(added.status == 0, "\(added.ran)")
        #expect(
            try node.plugin("CHECK", "route-override", keys, version: version, previous: added).status == 0)
        try node.sh("ip route del 10.8.0.0/16", pod: "a")
        #expect(
            try node.plugin("CHECK", "route-override", keys, version: version, previous: added).status == 1)
        let skipped = try node.plugin(
            "CHECK", "route-override", "\(keys),\"skipcheck\":true", version: version, previous: added)
        #expect(skipped.status == 0)
        #expect(try node.plugin("DEL", "route-override", keys, version: version).status == 0)
    }

    @Test("RO-09: without prevResult, with empty args, and a route that the kernel refuses")
    func refusals() throws {
        #expect(try node.plugin("ADD", "route-override").message.contains("Required prevResult missing"))
        let previous = try routed(4)
        #expect(try node.plugin("ADD", "route-override", "\"args\":{},\(previous)").status == 0)
        let before = try destinations(4)
        let keys = #""flushroutes":true,"addroutes":[{"dst":"10.5.0.0/16","gw":"192.0.2.1"}]"#
        let answer = try node.plugin("ADD", "route-override", "\(keys),\(previous)")
        #expect(answer.message.contains("unreachable"))
        #expect(try destinations(4) == before)
    }
}
