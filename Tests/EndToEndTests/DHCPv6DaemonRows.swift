import Support
import Testing

/// The daemon with IPv6 leases of some seconds.
@Suite struct DHCPv6DaemonRows {
    private let v6: DHCPv6Node
    private var node: DHCPNode { v6.node }

    init() throws { v6 = try DHCPv6Node() }

    private func add() throws -> String {
        try v6.define()
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        return try #require(try v6.addresses().first)
    }

    private func untilRenewed(_ address: String, times: Int = 1) throws {
        let known = try node.log("daemon").ranges(of: " renewed ").count
        try node.until("a renewal") {
            try #require(try v6.addresses() == [address])
            return try node.log("daemon").ranges(of: " renewed ").count >= known + times
        }
    }

    @Test("D6-06: a lease of Kea is renewed at T1, again and again, and after a restart of the daemon")
    func renews() throws {
        try v6.kea(valid: 12)
        let address = try add()
        try node.daemon()
        try untilRenewed(address, times: 3)
        #expect(try node.log("kea").contains("RENEW"))
        try node.stop("daemon", "KILL")
        try node.daemon()
        try untilRenewed(address)
        #expect(try node.call("CHECK").status == 0)
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty && node.isRunning("daemon"))
    }

    @Test("D6-06: RENEW names the server, REBIND asks all; what both carry")
    func wire() throws {
        try v6.server("", valid: 16)
        let address = try add()
        try node.daemon()
        try node.until("a RENEW") { try !node.heard("RENEW").isEmpty }
        try untilRenewed(address)
        try node.behave("norenew")
        try node.until("a REBIND") { try !node.heard("REBIND").isEmpty }
        try node.behave("")
        let renew = try #require(try node.heard("RENEW").first)
        let rebind = try #require(try node.heard("REBIND").first)
        #expect(renew["codes"].list.map(\.int) == [1, 2, 8, 3, 6])
        #expect(rebind["codes"].list.map(\.int) == [1, 8, 3, 6])
        for message in [renew, rebind] {
            #expect(message["addresses"].list.map { "\($0.string ?? "")/128" } == [address])
            #expect(message["to"].string == "ff02::1:2" && message["port"].int == 546)
            #expect(try message["options"]["1"].string == node.heard("SOLICIT")[0]["options"]["1"].string)
            #expect(try message["iaid"].string == node.heard("SOLICIT")[0]["iaid"].string)
        }
    }

    @Test("D6-06: a server that has lost its leases gives the same address again")
    func lostLeases() throws {
        try v6.kea(valid: 16)
        let address = try add()
        try node.stop("kea")
        try Shell.sh("rm -f \(node.directory)/kea.leases*")
        try v6.kea(valid: 16)
        try node.daemon()
        try untilRenewed(address)
        let own = String(address.dropLast(4))
        #expect(try Shell.sh("cat \(node.directory)/kea.leases").contains(own), "Kea has it again")
        #expect(try v6.record()?["address"].string == own)
    }

    @Test("D6-06: NoBinding in answer to a RENEW leads to a REQUEST")
    func noBinding() throws {
        try v6.server("nobinding", valid: 16)
        let address = try add()
        try node.daemon()
        try untilRenewed(address)
        #expect(
            try node.heard().map { $0["kind"].string }.prefix(3) == ["SOLICIT", "RENEW", "REQUEST"])
        #expect(try node.heard("REQUEST")[0]["addresses"].list.map(\.string) == ["2001:db8::100"])
    }

    @Test(
        "D6-06: an address that the server takes back goes at once, and another one is asked for",
        arguments: ["zero", "2001:db8::177"])
    func another(way: String) throws {
        try v6.server("", valid: 16)
        let old = try add()
        try node.daemon()
        try node.behave(way == "zero" ? "zero 2001:db8::177" : way)
        try node.until("another address") { try v6.addresses() == ["2001:db8::177/128"] && old != "" }
        try node.until("the status says so") {
            try node.status()[1]["ips"].list.map(\.string) == ["2001:db8::177"]
        }
        try node.behave("2001:db8::177")
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try node.log("daemon").contains("it has 2001:db8::177/128"))
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
    }

    @Test("D6-06: another address that somebody else has is declined")
    func declined() throws {
        try v6.server("", valid: 12)
        try v6.neighbour("2001:db8::177")
        let old = try add()
        try node.daemon()
        try node.behave("2001:db8::177")
        try node.until("a DECLINE") { try !node.heard("DECLINE").isEmpty }
        #expect(try node.heard("DECLINE")[0]["addresses"].list.map(\.string) == ["2001:db8::177"])
        try node.behave("2001:db8::178")
        try node.until("an address of its own") { try v6.addresses() == ["2001:db8::178/128"] }
        #expect(try node.log("daemon").contains("somebody else has 2001:db8::177") && old != "")
        try node.until("the status says so") {
            try node.status()[1]["ips"].list.map(\.string) == ["2001:db8::178"]
        }
    }

    @Test("D6-06: a server that goes takes the address with it at its end; one that comes gives another one")
    func serverGone() throws {
        try v6.server("", valid: 8)
        let address = try add()
        try node.daemon()
        try node.behave("silent")
        try node.until("the address goes") { try v6.addresses().isEmpty }
        #expect(try node.call("CHECK").message.contains("has ended"))
        try node.behave("")
        try node.until("the address comes again") { try v6.addresses() == [address] }
        #expect(try node.log("daemon").contains("did not renew it"))
        try node.until("CHECK knows it") { try node.call("CHECK").status == 0 }
    }

    @Test("D6-06: a link that is down for a while, and a pod that is gone without DEL")
    func gone() throws {
        try v6.server("", valid: 16)
        let address = try add()
        try node.daemon()
        try node.node.sh("ip link set eth1p down")
        try node.until("it is asked for") {
            try node.plexus("leases", "--lease-dir", "\(node.directory)/leases").output.contains("renewing")
        }
        try node.node.sh("ip link set eth1p up")
        try untilRenewed(address)
        try node.node.removePod("a")
        try node.until("the record goes") { try node.records().isEmpty }
        #expect(try node.log("daemon").contains("its pod is gone"))
        #expect(try node.call("DEL", pod: nil).status == 0)
    }

    @Test(
        "D6-01: of a dual attachment both leases are renewed, and the address of one leaves the other's alone"
    )
    func dual() throws {
        try node.udhcpd(lease: 8)
        try v6.server("", valid: 16)
        try v6.define(#""type":"macvlan","master":"eth1""#, #""family":"dual""#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let v4 = try #require(try node.record()?["address"].string)
        try node.daemon()
        try node.behave("2001:db8::177")
        try node.until("the status says so") {
            try node.status()[1]["ips"].list.map(\.string) == [v4, "2001:db8::177"]
        }
        let log = try node.log("daemon")
        #expect(log.contains("renewed \(v4)") || log.contains("it has 2001:db8::177"))
        #expect(try node.addresses().sorted() == ["\(v4)/24", "2001:db8::177/128"])
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty && !node.heard("RELEASE").isEmpty)
    }
}
