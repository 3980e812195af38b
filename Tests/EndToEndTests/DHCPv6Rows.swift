import Support
import Testing

/// DHCPv6 and SLAAC with the servers of Debian, one ADD after the other.
@Suite struct DHCPv6Rows {
    private let v6: DHCPv6Node
    private var node: DHCPNode { v6.node }

    init() throws { v6 = try DHCPv6Node() }

    private static let bridge = #""type":"bridge","bridge":"br0""#
    private static let macvlan = #""type":"macvlan","master":"eth1""#

    enum Server: String, CaseIterable { case dnsmasq, kea, isc }

    private func start(_ server: Server) throws {
        switch server {
        case .dnsmasq: try v6.dnsmasq("--enable-ra")
        case .kea: try v6.kea(valid: 600)
        case .isc: try v6.isc()
        }
    }

    @Test(
        "D6-06, D6-07: an address of each server, which CHECK knows and DEL gives back; without a daemon",
        arguments: Server.allCases, [bridge, macvlan])
    func life(server: Server, plugin: String) throws {
        try start(server)
        try v6.define(plugin)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let address = try #require(try v6.record()?["address"].string)
        #expect(address.hasPrefix("2001:db8::1"))
        #expect(try v6.addresses() == ["\(address)/128"])
        #expect(try node.status()[1]["ips"].list.map(\.string) == [address])
        let shown = try node.node.ip("-6 addr show dev net1 scope global", pod: "a")[0]["addr_info"][0]
        #expect(shown["dynamic"].bool == true && shown["tentative"].bool != true)
        let left = shown["valid_life_time"].int ?? 0
        #expect((60...600).contains(left), "as long as the lease")
        #expect(try node.records() == ["c1@net1:v6.json"])
        for _ in 1...2 {
            let check = try node.call("CHECK")
            #expect(check.status == 0, "\(check.ran)")
        }
        let gone = try node.call("DEL")
        #expect(gone.status == 0, "\(gone.ran)")
        switch server {
        case .dnsmasq:
            try node.until("the lease is given back") { try v6.given().isEmpty }
            #expect(try node.log("dnsmasq6").contains("DHCPRELEASE"))
        case .kea:
            try node.until("the lease is given back") {
                try node.log("kea").contains("DHCP6_RELEASE_NA") && node.log("kea").contains(address)
            }
        case .isc:
            try node.until("the lease is given back") { try node.log("isc").contains("Release message from") }
        }
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        #expect(try node.node.files("state").isEmpty)
        #expect(try node.call("DEL").status == 0)
    }

    @Test("D6-06: a host's device, which comes back to the host without the address")
    func device() throws {
        try v6.dnsmasq("--enable-ra")
        try v6.define(#""type":"host-device","device":"eth1""#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try v6.addresses().map { String($0.dropLast(4)) } == v6.given())
        #expect(try node.call("CHECK").status == 0)
        #expect(try node.call("DEL").status == 0)
        try node.until("the lease is given back") { try v6.given().isEmpty }
        #expect(try node.node.links().contains("eth1") && node.records().isEmpty)
        #expect(try !node.node.addresses("eth1").contains { $0.hasSuffix("/128") })
    }

    @Test("D6-03: two networks of a pod ask at once, and have a lease each, also with one DUID")
    func twoNetworks() throws {
        try v6.server()
        let ipam = DHCPv6Node.v6 + #","clientID":"pod""#
        try node.define("lan", Self.macvlan, ipam)
        try node.define("lan2", Self.bridge, ipam)
        let answer = try node.call("ADD", "lan,lan2")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(
            try Set(v6.addresses("net1") + v6.addresses("net2")) == [
                "2001:db8::100/128", "2001:db8::101/128",
            ])
        #expect(Set(try node.heard().map { $0["options"]["1"].string }).count == 1)
        #expect(Set(try node.heard().map { $0["iaid"].string }).count == 2)
        #expect(try node.records() == ["c1@net1:v6.json", "c1@net2:v6.json"])
        #expect(try node.call("CHECK", "lan,lan2").status == 0)
        #expect(try node.call("DEL", "lan,lan2").status == 0)
        #expect(try node.heard("RELEASE").count == 2 && node.records().isEmpty)
    }

    @Test("a link that was lost with its master is made again with both leases, which are renewed on it")
    func repaired() throws {
        try node.udhcpd(lease: 30)
        try v6.server("", valid: 30)
        try v6.define(Self.macvlan, #""family":"dual""#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let before = try node.addresses().sorted()
        #expect(before.count == 2)
        try node.node.sh(
            """
            ip link del eth1 && ip link add eth1 type veth peer name eth1p && ip link set eth1p master br0
            ip link set eth1p up && ip link set eth1 up
            """)
        try node.node.write("conf.json", MetaEndToEnd.config(node.node, networks: "lan"))
        let repair = try node.plexus("repair", "--config", "\(node.directory)/conf.json")
        #expect(repair.status == 0 && repair.output.contains("interface net1"), "\(repair)")
        #expect(try node.addresses().sorted() == before)
        try node.daemon()
        try node.until("both are renewed") {
            let log = try node.log("daemon")
            return before.allSatisfy { log.contains("renewed \($0.prefix { $0 != "/" })") }
        }
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty && !node.heard("RELEASE").isEmpty)
    }

    @Test("D6-06: rapid commit takes two messages, and four without", arguments: [true, false])
    func rapid(isRapid: Bool) throws {
        try v6.kea(valid: 600, rapid: isRapid)
        try v6.define()
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let log = try node.log("kea")
        #expect(log.contains("DHCPV6_SOLICIT") || log.contains("SOLICIT"))
        #expect(log.contains("(type 2)") == !isRapid || log.contains("ADVERTISE") == !isRapid, "\(log)")
        #expect(try v6.addresses().count == 1)
    }

    @Test(
        "D6-04: a host's address alone: the router is the kernel's, by its advertisement, and reaches the pod"
    )
    func router() throws {
        try v6.dnsmasq("--enable-ra")
        try v6.define()
        let answer = try node.plugin("ADD", DHCPv6Node.v6)
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["ips"].list.count == 1)
        #expect(answer.json["ips"][0]["address"].string?.hasSuffix("/128") == true)
        #expect(!answer.json["ips"][0]["gateway"].exists && answer.json["routes"].list.isEmpty)
        #expect(answer.json["dns"].keys.isEmpty)
        try node.until("the router is known") {
            try node.node.sh("ip -6 route show default dev net1", pod: "a").contains("proto ra")
        }
        let address = try #require(answer.json["ips"][0]["address"].string).dropLast(4)
        try node.node.sh("ping -c 1 -W 5 -I \(address) 2001:db8::1", pod: "a")
        try node.node.sh("ping -c 1 -W 5 \(address)")
        #expect(try node.plugin("CHECK", DHCPv6Node.v6, previous: answer).status == 0)
    }

    @Test("D6-04: routes of the configuration, for a network without a router that advertises itself")
    func routes() throws {
        try v6.kea(valid: 600)
        try v6.define(
            Self.macvlan,
            DHCPv6Node.v6
                + #","routes":[{"dst":"2001:db8::/64"},{"dst":"2001:db8:9::/48","gw":"2001:db8::1"}]"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let shown = try node.node.sh("ip -6 route show dev net1", pod: "a")
        #expect(shown.contains("2001:db8::/64 ") && shown.contains("2001:db8:9::/48 via 2001:db8::1"))
        try node.node.sh("ping -c 1 -W 5 2001:db8::1", pod: "a")
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
    }

    @Test("D6-01: both families of one network, as one attachment, and both go back")
    func dual() throws {
        try v6.dnsmasq("-F 192.0.2.100,192.0.2.199,120s")
        try v6.define(Self.bridge, #""family":"dual","accept":["dns"]"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let v4 = try #require(try node.record()?["address"].string)
        let own = try #require(try v6.record()?["address"].string)
        #expect(try node.addresses().sorted() == ["\(v4)/24", "\(own)/128"])
        #expect(try node.status()[1]["ips"].list.map(\.string) == [v4, own])
        #expect(try node.call("CHECK").status == 0)
        let list = try node.plexus("leases", "--lease-dir", "\(node.directory)/leases")
        #expect(list.status == 0 && list.output.contains(v4) && list.output.contains(own), "\(list)")
        #expect(try node.call("DEL").status == 0)
        try node.until("both are given back") {
            try Shell.sh("cat \(node.directory)/leasefile6").split(separator: "\n").allSatisfy {
                $0.hasPrefix("duid")
            }
        }
        #expect(try node.records().isEmpty)
    }

    @Test("D6-01: of two families one that fails fails both, and the other's lease goes back")
    func half() throws {
        try node.dnsmasq()
        try v6.define(Self.macvlan, #""family":"dual""#, timeout: 3)
        let answer = try node.call("ADD")
        #expect(answer.message.contains("no ADVERTISE on net1 in 3 s"), "\(answer.ran)")
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        try node.until("the IPv4 lease is given back") { try node.leasefile().isEmpty }
    }

    @Test(
        "D6-05: addresses by a router's advertisement are reported with the router, and stay the kernel's",
        arguments: ["", #""family":"ipv6","#, #""family":"dual","#])
    func slaac(family: String) throws {
        try v6.dnsmasq(
            "--enable-ra -F 192.0.2.100,192.0.2.199,120s", range: "2001:db8::100,2001:db8::1ff,slaac,64,120s")
        try v6.define(Self.macvlan, family + #""reportSlaac":true"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let shown = try node.node.ip("-6 addr show dev net1 scope global", pod: "a")[0]["addr_info"].list
        let own = try #require(shown.first { $0["prefixlen"].int == 64 })
        #expect(own["mngtmpaddr"].bool == true || own["protocol"].string == "kernel_ra", "the kernel's own")
        let count = family.isEmpty || family.contains("ipv6") ? 2 : 3
        let ips = try node.status()[1]["ips"].list.map(\.string)
        #expect(ips.count == count && ips.last == own["local"].string)
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty)
    }

    @Test(
        "D6-05: without an advertisement the ADD fails, and says what the pod lacks",
        arguments: [false, true])
    func noAdvertisement(isOff: Bool) throws {
        try node.dnsmasq()
        if isOff { try node.node.sh("sysctl -qw net.ipv6.conf.default.accept_ra=0", pod: "a") }
        try v6.define(Self.macvlan, #""reportSlaac":true"#, timeout: 3)
        let answer = try node.call("ADD")
        #expect(
            answer.message.contains("no address by a router's advertisement (reportSlaac) on net1 in 3 s"))
        let words =
            isOff ? "net.ipv6.conf.net1.accept_ra is 0 in the pod" : "no router on this network advertises"
        #expect(answer.details.contains(words), "\(answer.ran)")
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        try node.until("the IPv4 lease is given back") { try node.leasefile().isEmpty }
    }

    @Test(
        "D6-05: the gateway of a reported address is the router; setting the bridge's gateway leaves both alone"
    )
    func gateway() throws {
        try v6.dnsmasq("--enable-ra", range: "2001:db8::100,2001:db8::1ff,slaac,64,120s")
        let before = try node.node.sh("ip -6 -br addr show dev br0")
        let answer = try node.plugin(
            "ADD", DHCPv6Node.v6 + #","reportSlaac":true"#, "bridge",
            #""bridge":"br0","isGateway":true,"isDefaultGateway":true"#)
        try #require(answer.status == 0, "\(answer.ran)")
        let ips = answer.json["ips"].list
        #expect(ips.count == 2 && !ips[0]["gateway"].exists)
        let router = try v6.linkLocal("br0")
        #expect(ips[1]["gateway"].string == router)
        #expect(try node.node.sh("ip -6 -br addr show dev br0") == before)
        #expect(answer.json["routes"].list.isEmpty)
    }

    @Test("D6-06: an exhausted pool is said in the server's words")
    func exhausted() throws {
        try v6.kea(valid: 600, pool: "2001:db8::100-2001:db8::100")
        try v6.define(timeout: 3)
        _ = try node.node.pod("b")
        #expect(try node.call("ADD").status == 0)
        let second = try node.call("ADD", id: "c2", pod: "b")
        #expect(
            second.message.contains("gives no address on net1: NoAddrsAvail")
                && second.details.contains("SOLICIT sent"), "\(second.ran)")
        #expect(try node.node.links(pod: "b").isEmpty && node.records() == ["c1@net1:v6.json"])
        #expect(try node.call("DEL").status == 0)
        #expect(try node.call("ADD", id: "c2", pod: "b").status == 0)
    }

    @Test(
        "D6-06: an address that somebody else has is declined, and another one taken",
        arguments: [true, false])
    func conflict(isKea: Bool) throws {
        // The first that is given, and the only other one.
        if isKea {
            try v6.kea(valid: 600, pool: "2001:db8::100-2001:db8::101")
        } else {
            try v6.server()
        }
        try v6.neighbour("2001:db8::100")
        try v6.define()
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try v6.addresses() == ["2001:db8::101/128"])
        if isKea {
            #expect(try node.log("kea").contains("DHCP6_DECLINE_LEASE"))
        } else {
            let declined = try node.heard("DECLINE")
            #expect(declined.first?["addresses"].list.map(\.string) == ["2001:db8::100"])
            #expect(declined.first?["codes"].list.map(\.int) == [1, 2, 8, 3])
        }
    }

    @Test("D6-06: when others have all addresses that a server gives, the ADD says so")
    func conflicts() throws {
        try v6.server("2001:db8::100")
        try v6.neighbour("2001:db8::100")
        try v6.define()
        let answer = try node.call("ADD")
        #expect(
            answer.message.contains("have the 3 addresses that were granted, at last 2001:db8::100"),
            "\(answer.ran)")
        #expect(try node.heard("DECLINE").count >= 3 && node.heard("RELEASE").isEmpty)
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
    }
}
