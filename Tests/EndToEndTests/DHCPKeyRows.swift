import Support
import Testing

/// Keys of dhcp that the reference plugin does not have: probe, requireAgent, and what `accept` takes of routes.
@Suite struct DHCPKeyRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    /// Another host takes an address; its MAC address is returned.
    private func occupy(_ address: Int) throws -> String {
        try node.node.sh("ip addr add 192.0.2.\(address)/24 dev eth0", pod: "second")
        return try node.node.ip("link show eth0", pod: "second")[0]["address"].string ?? ""
    }

    // MARK: probe

    @Test(
        "DX-11: of an address that another host uses a server is told, by probe; the error names who has it",
        arguments: [DHCPServer.kea, .dhcpd, .udhcpd])
    func occupied(server: DHCPServer) throws {
        try node.neighbour()
        let holder = try occupy(100)
        // udhcpd looks itself, with a ping.
        if server == .udhcpd {
            try node.node.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=1", pod: "second")
            try node.server("192.0.2.100")
        } else {
            try node.serve(server, DHCPPool(lease: 600, addresses: 100...100))
        }
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""probe":true"#, timeout: 5)
        let answer = try node.call("ADD")
        #expect(
            answer.message.contains(
                "dhcp: 192.0.2.100, which 192.0.2.1 granted on net1, is used by \(holder): no more tries"),
            "\(answer.ran)")
        #expect(answer.details.contains("declined"))
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        switch server {
        case .kea: #expect(try node.log("kea").contains("DHCP4_DECLINE_LEASE"))
        case .dhcpd: #expect(try node.log("dhcpd").contains("DHCPDECLINE of 192.0.2.100"))
        case .udhcpd:
            let decline = try #require(try node.heard("DECLINE").first)
            #expect(decline["options"]["50"].string == "c0000264")
            #expect(decline["options"]["54"].string == "c0000201")
            #expect(decline["client"].string == "0.0.0.0" && decline["from"].string == "0.0.0.0")
            #expect(try decline["options"]["61"].string == node.heard("DISCOVER")[0]["options"]["61"].string)
        }
        // Without the key nobody looks, as with the reference.
        if server == .udhcpd {
            try node.define(timeout: 5)
            #expect(try node.call("ADD").status == 0)
        }
    }

    @Test("a probe finds an address that is free, and takes the next one when it is not")
    func next() throws {
        try node.neighbour()
        _ = try occupy(100)
        try node.serve(.kea, DHCPPool(lease: 600))
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""probe":true"#)
        let answer = try node.call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses() == ["192.0.2.101/24"])
        #expect(try node.record()?["address"].string == "192.0.2.101")
        #expect(try node.call("CHECK").status == 0 && node.call("DEL").status == 0)
    }

    @Test("what was granted without time to probe it is given back")
    func late() throws {
        try node.server("")
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""probe":true"#, timeout: 1)
        let answer = try node.call("ADD")
        #expect(
            answer.message.contains(
                "192.0.2.100, which 192.0.2.1 granted on net1, could not be probed in 1 s"))
        #expect(answer.details.contains("raise timeout"), "\(answer.ran)")
        try node.until("it is given back") { try !node.heard("RELEASE").isEmpty }
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
    }

    @Test("the daemon probes another address too before it is used")
    func daemon() throws {
        try node.neighbour()
        let holder = try occupy(150)
        try node.server("", lease: 8)
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9,"probe":true"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses() == ["192.0.2.100/24"])
        try node.daemon()
        try node.behave("nak 192.0.2.150")
        try node.until("the address goes") { try node.addresses().isEmpty }
        try node.behave("192.0.2.150")
        try node.until("it is declined") {
            try #require(try !node.addresses().contains("192.0.2.150/24"))
            return try !node.heard("DECLINE").isEmpty
        }
        try node.behave("192.0.2.151")
        try node.until("another address") { try node.addresses() == ["192.0.2.151/24"] }
        try node.until("it is said") {
            try node.log("daemon").contains("192.0.2.150, which 192.0.2.1 granted, is used by \(holder)")
        }
    }

    @Test(
        "hosts that remember who had the address before learn who has it now, from the ADD and from the daemon"
    )
    func announced() throws {
        func remember(_ address: String) throws {
            try node.node.sh("ip neigh replace \(address) lladdr 02:00:00:00:00:55 dev br0 nud stale")
        }
        func neighbour(_ address: String) throws -> String? {
            try node.node.ip("neigh show \(address) dev br0")[0]["lladdr"].string
        }
        try node.server("", lease: 8)
        try remember("192.0.2.100")
        try remember("192.0.2.150")
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9"#)
        #expect(try node.call("ADD").status == 0)
        let mac = try node.node.ip("link show net1", pod: "a")[0]["address"].string
        try node.until("the ADD is heard") { try neighbour("192.0.2.100") == mac }
        try node.daemon()
        try node.behave("nak 192.0.2.150")
        try node.until("the address goes") { try node.addresses().isEmpty }
        #expect(try neighbour("192.0.2.150") == "02:00:00:00:00:55")
        try node.behave("192.0.2.150")
        try node.until("the daemon is heard") { try neighbour("192.0.2.150") == mac }
    }

    // MARK: requireAgent

    @Test("DX-08: with requireAgent an ADD needs the daemon, and asks nobody without it")
    func agent() throws {
        try node.server("")
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""requireAgent":true"#)
        let without = try node.call("ADD")
        #expect(without.code == 11, "\(without.ran)")
        #expect(
            without.message.contains(
                "no daemon listens at \(node.directory)/run/dhcp.sock, and requireAgent is set"))
        #expect(without.details.contains("start dhcp daemon"))
        #expect(try node.heard().isEmpty && node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        #expect(try node.node.files("state").isEmpty)
        try node.daemon()
        let with = try node.call("ADD")
        #expect(with.status == 0, "\(with.ran)")
        // What is attached stays so without it.
        try node.stop("daemon")
        #expect(try node.call("CHECK").status == 0 && node.call("DEL").status == 0)
    }

    // MARK: accept

    /// 10.1.0.0/16 via 192.0.2.7, and 10.2.0.0/16 via 192.0.2.8, as options 249 and 121 have them.
    private static let one = "100a01c0000207"
    private static let two = "100a02c0000208"

    @Test(
        "DH-08: option 249 gives the routes where 121 does not and it is accepted; by default nobody asks for it",
        arguments: [
            ("", "249=\(one)", "0301", ["default 192.0.2.1"]),
            (#""request":[{"option":"249"}]"#, "249=\(one)", "f90301", ["default 192.0.2.1"]),
            (#""accept":["msroutes"]"#, "249=\(one)", "030179f9", ["10.1.0.0/16 192.0.2.7"]),
            (
                #""accept":["msroutes"]"#, "249=\(one) 121=\(two)", "030179f9", ["10.2.0.0/16 192.0.2.8"]
            ),
            (#""accept":["msroutes"]"#, "249=\(one)07", "030179f9", ["default 192.0.2.1"]),
        ])
    func microsoft(keys: String, ways: String, asked: String, wanted: [String]) throws {
        try node.server(ways)
        try node.define(
            "lan", #""type":"macvlan","master":"eth1""#, (keys.isEmpty ? "" : keys + ",") + #""priority":9"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.heard("DISCOVER")[0]["options"]["55"].string == asked)
        let routes = try node.node.ip("route show dev net1", pod: "a").list.filter {
            $0["protocol"].string != "kernel"
        }
        #expect(routes.map { "\($0["dst"].string ?? "") \($0["gateway"].string ?? "")" } == wanted)
    }

    // MARK: What changes with a lease

    @Test("DX-07: another DNS server of a renewed lease is in network-status, and other routes in the kernel")
    func otherDNS() throws {
        try node.server("6=c0000235", lease: 8)
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9,"accept":["dns"]"#)
        #expect(try node.call("ADD").status == 0)
        #expect(try node.status()[1]["dns"]["nameservers"].list.map(\.string) == ["192.0.2.53"])
        try node.daemon()
        try node.behave("6=c0000236 15=6578616d706c65")
        try node.until("the status says so") {
            try node.status()[1]["dns"]["nameservers"].list.map(\.string) == ["192.0.2.54"]
        }
        #expect(try node.status()[1]["dns"]["domain"].string == "example")
        #expect(try node.log("daemon").contains("with other routes or DNS"))
        #expect(try node.addresses() == ["192.0.2.100/24"])
        #expect(try node.call("CHECK").status == 0)
    }

    @Test("DH-22, DX-07: what plugins behind made of the routes comes back with a lease that was lost")
    func othersRoutes() throws {
        try node.server("", lease: 6)
        try node.node.define(
            "lan",
            """
            {"cniVersion":"1.0.0","plugins":[{"type":"macvlan","master":"eth1",\(node.ipam(#""priority":9"#))},
             {"type":"route-override","flushgateway":true,"addroutes":[{"dst":"10.5.0.0/16","gw":"192.0.2.9"}]}]}
            """)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        func routes() throws -> [String] {
            try node.node.ip("route show dev net1", pod: "a").list.filter {
                $0["protocol"].string != "kernel"
            }.map { "\($0["dst"].string ?? "") \($0["gateway"].string ?? "")" }
        }
        #expect(try routes() == ["10.5.0.0/16 192.0.2.9"])
        try node.daemon()
        try node.behave("silent")
        try node.until("the address goes") { try node.addresses().isEmpty }
        #expect(try routes().isEmpty)
        try node.behave("")
        try node.until("it is there again") { try node.addresses() == ["192.0.2.100/24"] }
        try node.until("its routes are") { try routes() == ["10.5.0.0/16 192.0.2.9"] }
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        // Another address has them as well.
        try node.behave("nak 192.0.2.150")
        try node.until("the address goes") { try node.addresses().isEmpty }
        try node.behave("192.0.2.150")
        try node.until("another address") { try node.addresses() == ["192.0.2.150/24"] }
        try node.until("its routes are") { try routes() == ["10.5.0.0/16 192.0.2.9"] }
        #expect(try node.call("CHECK").status == 0 && node.call("DEL").status == 0)
    }
}
