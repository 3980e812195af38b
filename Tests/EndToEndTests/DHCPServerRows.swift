import Support
import Testing

/// dhcp against the servers that networks have: Kea, ISC dhcpd, and busybox's.
@Suite struct DHCPServerRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private static let macvlan = #""type":"macvlan","master":"eth1""#

    @discardableResult
    private func add(_ keys: String = #""priority":9"#, plugin: String = macvlan, extra: String = "") throws
        -> String
    {
        try node.define("lan", plugin, keys)
        let answer = try node.call("ADD", extra.isEmpty ? "lan" : extra)
        try #require(answer.status == 0, "\(answer.ran)")
        return try #require(try node.addresses().first)
    }

    /// Until the daemon has said so often again that a lease was renewed.
    private func untilRenewed(_ address: String, times: Int = 1) throws {
        let known = try node.log("daemon").ranges(of: " renewed ").count
        try node.until("\(times) renewals") {
            try #require(try node.addresses() == [address])
            return try node.log("daemon").ranges(of: " renewed ").count >= known + times
        }
    }

    private func bare(_ address: String) -> String { String(address.prefix { $0 != "/" }) }

    @Test(
        "DH-01, DH-20, DH-24: a life with each server: ADD, renewals that it counts, CHECK, and DEL that it hears",
        arguments: [DHCPServer.kea, .dhcpd])
    func life(server: DHCPServer) throws {
        try node.serve(server)
        let address = try add()
        #expect(try node.given(server) == [bare(address)])
        try node.daemon()
        // Twice the lease's time: it could not be there any more.
        try untilRenewed(address, times: 5)
        #expect(try node.given(server) == [bare(address)])
        let log = try node.log("\(server)")
        #expect(log.ranges(of: server == .kea ? "DHCP4_LEASE_ALLOC" : "DHCPREQUEST for").count > 5)
        #expect(try node.call("CHECK").status == 0)
        #expect(try node.call("DEL").status == 0)
        let words =
            server == .kea ? "DHCP4_RELEASE " : "DHCPRELEASE of \(bare(address)) from"
        try node.until("the release is heard") {
            try node.log("\(server)").contains(words) && node.given(server).isEmpty
        }
        if server == .dhcpd { #expect(try node.log("dhcpd").contains("(found)")) }
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
    }

    @Test(
        "DH-15, DL-04: a reservation by MAC address, with each identity of the client, and one by client ID",
        arguments: [DHCPServer.kea, .dhcpd], ["container", "pod", "mac"])
    func reservation(server: DHCPServer, identity: String) throws {
        var pool = DHCPPool()
        let byPod = "00" + "default/pod-a/net1".utf8.map { ":" + String($0, radix: 16) }.joined()
        pool.reservations = [(.mac("02:00:00:00:00:77"), 77)]
        if identity == "pod" { pool.reservations = [(.client(byPod), 78)] }
        try node.serve(server, pool)
        let address = try add(
            #""priority":9,"clientID":"\#(identity)""#,
            plugin: Self.macvlan + #","capabilities":{"mac":true}"#,
            extra: #"[{"name":"lan","mac":"02:00:00:00:00:77"}]"#)
        #expect(address == (identity == "pod" ? "192.0.2.78/24" : "192.0.2.77/24"))
        try node.daemon()
        try untilRenewed(address)
        #expect(try node.call("DEL").status == 0)
    }

    @Test("DH-16: of an exhausted pool an ADD says so; a DEL makes room", arguments: DHCPServer.allCases)
    func exhausted(server: DHCPServer) throws {
        try node.serve(server, DHCPPool(lease: 600, addresses: 100...100))
        try node.define("lan", Self.macvlan, #""priority":9"#, timeout: 4)
        _ = try node.node.pod("b")
        #expect(try node.call("ADD").status == 0)
        let second = try node.call("ADD", id: "c2", pod: "b")
        #expect(second.message.contains("no OFFER on net1 in 4 s"), "\(second.ran)")
        #expect(try node.node.links(pod: "b").isEmpty && node.records() == ["c1@net1.json"])
        #expect(try node.call("DEL").status == 0)
        try node.until("it is free again") { try node.given(server).isEmpty }
        let third = try node.call("ADD", id: "c2", pod: "b")
        #expect(try third.status == 0 && node.given(server) == ["192.0.2.100"], "\(third.ran)")
    }

    @Test(
        "DH-14, DH-22: a pool that has moved takes the address away, and gives another one",
        arguments: DHCPServer.allCases)
    func moved(server: DHCPServer) throws {
        try node.serve(server)
        let old = try add()
        try node.daemon()
        try untilRenewed(old)
        try node.stop("\(server)")
        try node.serve(server, DHCPPool(addresses: 210...219))
        try node.until("another address") { try node.addresses().first?.hasPrefix("192.0.2.21") == true }
        let new = try #require(try node.addresses().first)
        #expect(try node.addresses() == [new])
        #expect(try node.log("daemon").contains("instead of \(bare(old))"))
        try node.until("the status says so") { try node.status()[1]["ips"][0].string == bare(new) }
        try untilRenewed(new)
        #expect(try node.given(server).contains(bare(new)))
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try node.call("DEL").status == 0)
    }

    @Test(
        "DH-14, DL-02: a server that is asked for an address of a pool that has moved refuses it",
        arguments: [DHCPServer.kea, .udhcpd])
    func refused(server: DHCPServer) throws {
        try node.serve(server, DHCPPool(lease: 600))
        let old = try add()
        try node.stop("\(server)")
        try Shell.sh("rm \(node.directory)/\(server).leases")
        try node.serve(server, DHCPPool(lease: 600, addresses: 210...219))
        // As after its link was made anew.
        try Shell.sh("sed -i 's/\"version\":1/&,\"unconfirmed\":true/' \(node.directory)/leases/*.json")
        try node.daemon()
        try node.until("another address") { try node.addresses().first?.hasPrefix("192.0.2.21") == true }
        #expect(try node.log("daemon").contains("refused \(bare(old)) (NAK)"))
        #expect(try node.addresses().count == 1 && node.given(server) == Set(node.addresses().map(bare)))
    }

    @Test("DH-03: without a mask there is no address")
    func noMask() throws {
        // Kea and dhcpd know the mask of a subnet, and send it in any case.
        let server = DHCPServer.udhcpd
        try node.serve(server, DHCPPool(hasMask: false))
        try node.define(timeout: 4)
        let answer = try node.call("ADD")
        #expect(answer.message.contains("without a mask: Subnet Mask not found"), "\(answer.ran)")
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
        try node.until("what was granted is given back") { try node.given(server).isEmpty }
    }

    @Test("of two servers one gives the lease, and has it back; the other keeps none")
    func two() throws {
        try node.neighbour()
        try node.serve(.kea)
        try node.serve(.dhcpd, DHCPPool(addresses: 210...219, link: "eth0"), pod: "second")
        let address = bare(try add())
        let isKea = !address.hasPrefix("192.0.2.21")
        #expect(try node.given(.kea) == (isKea ? [address] : []))
        #expect(try node.given(.dhcpd) == (isKea ? [] : [address]))
        #expect(try node.record()?["server"].string == (isKea ? "192.0.2.1" : "192.0.2.2"))
        try node.daemon()
        try untilRenewed("\(address)/24", times: 3)
        // Its server goes. The other one is authoritative: it does not know the address, and gives one of its own.
        try node.stop(isKea ? "kea" : "dhcpd")
        try node.until("an address of the other") {
            try node.addresses().first?.hasPrefix("192.0.2.21") == isKea
        }
        let other = try #require(try node.addresses().first)
        #expect(try node.given(isKea ? .dhcpd : .kea) == [bare(other)] && node.addresses() == [other])
        #expect(try node.record()?["server"].string == (isKea ? "192.0.2.2" : "192.0.2.1"))
        #expect(try node.call("DEL").status == 0)
        try node.until("it is given back") { try node.given(isKea ? .dhcpd : .kea).isEmpty }
    }

    @Test("DH-21: when a lease's server is gone another one that knows the network goes on with it")
    func rebound() throws {
        try node.serve(.kea, DHCPPool(lease: 20))
        let address = try add()
        try node.daemon()
        try node.neighbour()
        // It takes over leases that it does not know.
        try node.start(
            "dnsmasq",
            """
            dnsmasq -k -C /dev/null -u root --port=0 --log-dhcp --log-facility=- --no-ping --dhcp-authoritative \
            --pid-file= -i eth0 -l \(node.directory)/leasefile -F 192.0.2.100,192.0.2.199,120s --dhcp-option=3,192.0.2.1
            """, pod: "second")
        try node.until("dnsmasq listens") { try node.log("dnsmasq").contains("DHCP, IP range") }
        try node.stop("kea")
        try untilRenewed(address)
        #expect(try node.log("daemon").contains("192.0.2.2 renewed \(bare(address)) for 120 s"))
        #expect(try node.record()?["server"].string == "192.0.2.2")
        #expect(!(try node.log("dnsmasq").contains("DHCPDISCOVER")))
        #expect(try node.call("DEL").status == 0)
        try node.until("the new server has it back") { try node.leasefile().isEmpty }
    }

    @Test(
        "a server that has lost its leases: the pod ends with an address that the server knows",
        arguments: DHCPServer.allCases)
    func forgetful(server: DHCPServer) throws {
        try node.serve(server)
        let address = try add()
        try node.daemon()
        try untilRenewed(address)
        try node.stop("\(server)", "KILL")
        try Shell.sh("rm \(node.directory)/\(server).leases")
        try node.serve(server)
        try node.until("both agree") {
            let given = try node.given(server)
            return try !given.isEmpty && Set(node.addresses().map(bare)) == given
        }
        try untilRenewed(try #require(try node.addresses().first))
        #expect(try node.call("CHECK").status == 0)
    }

    @Test(
        "DL-01, DL-03: over a relay: ADD, renewals straight to the server, rebinding over the relay when those are lost, DEL",
        arguments: [DHCPServer.kea, .dhcpd])
    func relay(server: DHCPServer) throws {
        try node.separate()
        try node.serve(server, DHCPPool(lease: 12, link: "far0"), pod: "far")
        try node.start("relay", "dhcrelay -4 -d --no-pid -id br0 -iu up0 198.51.100.2")
        try node.until("the relay listens") { try node.log("relay").contains("Sending on   LPF/br0") }
        try node.capture("up0")
        let address = try add()
        #expect(try node.given(server) == [bare(address)])
        #expect(try node.record()?["server"].string == "198.51.100.2")
        try node.daemon()
        try untilRenewed(address, times: 2)
        try node.until("the renewal is captured") {
            try node.log("capture-up0").contains("\(bare(address)).68 > 198.51.100.2.67")
        }
        // Straight ones are lost; what the relay passes on is not.
        try node.node.sh(
            """
            nft add table ip lossy; nft add chain ip lossy f '{ type filter hook forward priority 0; }'
            nft add rule ip lossy f udp dport 67 counter drop
            """)
        try untilRenewed(address, times: 2)
        #expect(try node.node.sh("nft list table ip lossy").contains("packets 0") == false)
        try node.node.sh("nft delete table ip lossy")
        #expect(try node.call("CHECK").status == 0)
        #expect(try node.call("DEL").status == 0)
        try node.until("the lease is given back") { try node.given(server).isEmpty }
    }
}
