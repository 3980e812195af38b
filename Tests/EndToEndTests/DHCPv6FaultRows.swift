import Foundation
import Support
import Testing

/// DHCPv6 where something goes wrong, and on the wire.
@Suite struct DHCPv6FaultRows {
    private let v6: DHCPv6Node
    private var node: DHCPNode { v6.node }

    init() throws { v6 = try DHCPv6Node() }

    private func nothingIsLeft() throws {
        #expect(try node.node.links(pod: "a").isEmpty && node.records().isEmpty)
        #expect(try node.node.files("state").isEmpty)
    }

    // MARK: Configuration

    @Test(
        "D6-01: what is wrong in ipam is refused before anything is sent",
        arguments: [
            (#""family":"ipv5""#, "ipam.family", "write ipv4, ipv6, dual"),
            (#""family":6"#, "ipam.family", "expected a string"),
            (#""reportSlaac":"yes""#, "ipam.reportSlaac", "expected true or false"),
            (#""family":"ipv6","provide":[{"option":"12","value":"x"}]"#, "ipam.provide", "is of DHCPv4"),
            (#""family":"ipv6","request":[]"#, "ipam.request", "is of DHCPv4"),
            (#""family":"ipv6","priority":3"#, "ipam.priority", "is of DHCPv4"),
            (#""family":"ipv6","broadcast":true"#, "ipam.broadcast", "is of DHCPv4"),
            (#""family":"ipv6","accept":["dns","mtu"]"#, "ipam.accept", "\"mtu\" is of DHCPv4"),
            (#""ipFamily":"ipv6""#, "ipam.ipFamily", "\"family\""),
            (#""routes":[{"dst":"2001:db8:9::/48"}]"#, "ipam.routes", "families ipv6 and dual"),
            (#""family":"ipv6","routes":[{"dst":"10.0.0.0/8"}]"#, "ipam.routes[0].dst", "is of IPv4"),
        ])
    func refused(keys: String, path: String, words: String) throws {
        try v6.server()
        try v6.define(#""type":"macvlan","master":"eth1""#, keys)
        let answer = try node.call("ADD")
        let text = answer.message + answer.details
        #expect(answer.status == 1 && text.contains(path) && text.contains(words), "\(answer.ran)")
        #expect(try node.heard().isEmpty)
        try nothingIsLeft()
    }

    @Test("D6-01: routes are passed over with family ipv4 under a plugin's own name, as ever")
    func routesOfOld() throws {
        try node.dnsmasq()
        let answer = try node.plugin("ADD", #""family":"ipv4","routes":[{"dst":"2001:db8:9::/48"}]"#)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["routes"].list.map { $0["dst"].string } == ["0.0.0.0/0"])
    }

    // MARK: Servers

    @Test(
        "D6-06: what a server does not do fails the ADD, says so, and leaves nothing",
        arguments: [
            ("silent", "no ADVERTISE on net1 in 4 s (", "SOLICIT sent): no more tries"),
            (
                "norapid pref=255 noreply", "offered 2001:db8::100 on net1 and gave no REPLY (",
                "REQUEST sent): no more tries"
            ),
            ("noaddrs", "gives no address on net1: NoAddrsAvail: pool", "is empty: no more tries"),
        ])
    func unserved(ways: String, first: String, second: String) throws {
        try v6.server(ways)
        try v6.define(timeout: 4)
        let answer = try node.call("ADD")
        #expect(answer.message.contains(first) && answer.message.contains(second), "\(answer.ran)")
        #expect(!answer.message.contains("\u{1b}"), "a server's text cannot steer a terminal")
        #expect(answer.message.contains("default/lan") && !answer.details.isEmpty)
        try nothingIsLeft()
        #expect(try node.call("DEL").status == 0)
    }

    @Test(
        "D6-06: damaged answers and refusals that pass are no end",
        arguments: ["damaged norapid pref=255", "norapid pref=255 notonlink", "norapid pref=255 multicast"])
    func misbehaving(ways: String) throws {
        try v6.server(ways)
        let answer = try node.plugin("ADD", DHCPv6Node.v6)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["ips"][0]["address"].string == "2001:db8::100/128")
    }

    @Test("D6-02: without a link-local address nobody can be asked, and the error says what the pod lacks")
    func noLinkLocal() throws {
        try v6.server()
        try node.node.sh("sysctl -qw net.ipv6.conf.default.addr_gen_mode=1", pod: "a")
        try v6.define(timeout: 2)
        let answer = try node.call("ADD")
        #expect(answer.message.contains("no link-local address on net1 in 2 s"), "\(answer.ran)")
        #expect(answer.details.contains("addr_gen_mode"))
        try nothingIsLeft()
    }

    @Test("D6-02: no carrier is said to be that")
    func noCarrier() throws {
        try v6.server()
        try node.node.sh("ip link set eth1p down")
        try v6.define(timeout: 2)
        #expect(try node.call("ADD").message.contains("no carrier on net1 in 2 s"))
        try nothingIsLeft()
    }

    @Test("D6-02: a pod with IPv6 switched off gets it on this link, and other settings stay")
    func switchedOff() throws {
        try v6.server()
        try node.node.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1", pod: "a")
        try v6.define()
        let answer = try node.call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try v6.addresses() == ["2001:db8::100/128"])
        let shown = try node.node.sh("cat /proc/sys/net/ipv6/conf/net1/optimistic_dad", pod: "a")
        #expect(shown == "0\n")
    }

    // MARK: On the wire

    @Test(
        "D6-02, D6-06: RFC 8415: what is sent, from where, to whom, and what is in it",
        arguments: [true, false])
    func wire(isRapid: Bool) throws {
        try v6.server(isRapid ? "" : "norapid pref=255")
        let answer = try node.plugin("ADD", DHCPv6Node.v6 + #","accept":["dns"]"#)
        try #require(answer.status == 0, "\(answer.ran)")
        let own = try v6.linkLocal("net1", pod: "a")
        let gone = try node.plugin("DEL", DHCPv6Node.v6, previous: answer)
        #expect(gone.status == 0, "\(gone.ran)")
        try node.until("a RELEASE") { try !node.heard("RELEASE").isEmpty }
        let heard = try node.heard()
        #expect(
            heard.map { $0["kind"].string }
                == (isRapid ? ["SOLICIT", "RELEASE"] : ["SOLICIT", "REQUEST", "RELEASE"]))
        for message in heard {
            #expect(message["from"].string == own && message["port"].int == 546)
            #expect(message["to"].string == "ff02::1:2")
            #expect(message["times"].string == "0000000000000000" && message["options"]["8"].string == "0000")
            #expect(message["options"]["1"].string == heard[0]["options"]["1"].string)
            #expect(message["iaid"].string == heard[0]["iaid"].string)
        }
        // Client, elapsed time, IA_NA, what is asked for (DNS and SOL_MAX_RT), rapid commit.
        #expect(heard[0]["codes"].list.map(\.int) == [1, 8, 3, 6, 14])
        #expect(heard[0]["options"]["6"].string == "001700180052" && heard[0]["addresses"].list.isEmpty)
        if !isRapid {
            #expect(heard[1]["codes"].list.map(\.int) == [1, 2, 8, 3, 6])
            #expect(heard[1]["options"]["2"].string == "000300010200000000aa")
            #expect(heard[1]["addresses"].list.map(\.string) == ["2001:db8::100"])
        }
        let release = heard[heard.count - 1]
        #expect(release["codes"].list.map(\.int) == [1, 2, 8, 3])
        #expect(release["addresses"].list.map(\.string) == ["2001:db8::100"])
        #expect(Set(heard.map { $0["xid"].string }).count == heard.count)
    }

    @Test(
        "D6-03: the server knows a container's interface, a pod or a MAC address by a DUID; the interface by the IAID",
        arguments: ["container", "pod", "mac"])
    func identity(kind: String) throws {
        try v6.server()
        func ask(_ id: String, _ interface: String) throws -> (duid: String, iaid: String, mac: String) {
            let count = try node.heard("SOLICIT").count
            let keys = DHCPv6Node.v6 + ",\"clientID\":\"\(kind)\""
            let answer = try node.plugin("ADD", keys, id: id, interface: interface)
            try #require(answer.status == 0, "\(answer.ran)")
            let solicit = try #require(try node.heard("SOLICIT").dropFirst(count).first)
            let gone = try node.plugin("DEL", keys, previous: answer, id: id, interface: interface)
            #expect(gone.status == 0, "\(gone.ran)")
            return (
                solicit["options"]["1"].string ?? "", solicit["iaid"].string ?? "",
                (answer.json["interfaces"][0]["mac"].string ?? "").replacing(":", with: "")
            )
        }
        let one = try ask("c1", "net1")
        let other = try ask("c1", "net2")
        let next = try ask("c2", "net1")
        #expect(one.iaid != other.iaid && one.iaid == next.iaid)
        switch kind {
        case "mac":
            for each in [one, other, next] { #expect(each.duid == "00030001" + each.mac) }
        case "pod":
            #expect(one.duid == other.duid && one.duid == next.duid)
            // SHA-256 of default/pod-a, as a UUID of version 8.
            let sum = try Shell.sh("printf default/pod-a | sha256sum")
            #expect(one.duid.hasPrefix("0004" + sum.prefix(12)) && one.duid.count == 36)
        default:
            #expect(one.duid != other.duid && one.duid != next.duid && one.duid.hasPrefix("0004"))
        }
    }

    @Test("D6-04: dns of a server is used when it is asked for", arguments: [true, false])
    func dns(isAsked: Bool) throws {
        try v6.server("dns")
        let answer = try node.plugin("ADD", DHCPv6Node.v6 + (isAsked ? #","accept":["dns"]"# : ""))
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["dns"]["nameservers"].list.map(\.string) == (isAsked ? ["2001:db8::53"] : []))
        #expect(answer.json["dns"]["search"].list.map(\.string) == (isAsked ? ["lan"] : []))
    }

    // MARK: DEL, CHECK, GC

    @Test("D6-06: DEL works with anything lost", arguments: DHCPNode.Loss.allCases)
    func lost(what: DHCPNode.Loss) throws {
        try v6.server()
        try v6.define()
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        try node.lose(what, "server6")
        try node.expectDeletion(after: what)
        if [.state, .definition].contains(what) {
            try node.until("the lease is given back") { try !node.heard("RELEASE").isEmpty }
        }
    }

    @Test("D6-06: an ADD that is killed while it asks has a record, which DEL takes; a renamed link is known")
    func killed() throws {
        try v6.server("silent")
        try node.startAdd("macvlan", #""master":"eth1","#, DHCPv6Node.v6)
        try node.until("it asks") { try !node.heard("SOLICIT").isEmpty }
        #expect(try v6.record()?["duid"].exists == true && v6.record()?["address"].exists == false)
        let list = try node.plexus("leases", "--lease-dir", "\(node.directory)/leases")
        #expect(list.output.contains("asking"), "\(list)")
        try node.stop("add", "KILL")
        let gone = try node.plugin("DEL", DHCPv6Node.v6)
        #expect(gone.status == 0, "\(gone.ran)")
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        try node.behave("")
        try v6.define()
        #expect(try node.call("ADD").status == 0)
        try node.node.sh("ip link set net1 down; ip link set net1 name data0; ip link set data0 up", pod: "a")
        let renamed = try node.call("DEL")
        #expect(try renamed.status == 0 && node.node.links(pod: "a").isEmpty, "\(renamed.ran)")
        try nothingIsLeft()
    }

    @Test(
        "CHECK needs the record, a lease that goes on, and the address, which the kernel removes at its end")
    func check() throws {
        try v6.server("", valid: 6)
        try v6.define()
        #expect(try node.call("ADD").status == 0)
        #expect(try node.call("CHECK").status == 0)
        try node.until("the address goes") { try v6.addresses().isEmpty }
        let ended = try node.call("CHECK")
        #expect(ended.message.contains("the lease of 2001:db8::100") && ended.message.contains("has ended"))
        try Shell.sh("rm \(node.directory)/leases/*.json")
        #expect(try node.call("CHECK").message.contains("there is no lease of net1"))
        #expect(try node.call("DEL").status == 0)
        try nothingIsLeft()
    }

    @Test("GC forgets the IPv6 leases of what is gone, and spares what lives")
    func collect() throws {
        try v6.server()
        try v6.define(version: "1.1.0")
        try node.expectCollection(":v6.json", "2001:db8::250")
    }

    @Test("under its own name dhcp leaves the address to the plugin that calls it; a second ADD asks nobody")
    func ownName() throws {
        try v6.server()
        try node.node.sh("ip link add own0 type veth peer name net7 && ip link set own0 master br0 up")
        try node.node.sh("ip link set net7 netns \(node.node.name)-a")
        func call(_ verb: String) throws -> Answer {
            try node.plugin(verb, DHCPv6Node.v6, "dhcp", "", version: "1.1.0", interface: "net7")
        }
        let first = try call("ADD")
        try #require(first.status == 0, "\(first.ran)")
        #expect(first.json["ips"][0]["address"].string == "2001:db8::100/128")
        #expect(try v6.addresses("net7").isEmpty)
        #expect(try call("ADD").ran.output == first.ran.output && node.heard().count == 1)
        #expect(try call("CHECK").status == 0)
        for _ in 1...2 { #expect(try call("DEL").status == 0) }
        #expect(try node.records().isEmpty && node.heard("RELEASE").count == 1)
    }
}
