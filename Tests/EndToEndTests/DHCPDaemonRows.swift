import Foundation
import Support
import Testing

/// The daemon that renews leases, with leases of some seconds. How long something takes is nowhere compared.
@Suite struct DHCPDaemonRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private func add(_ keys: String = #""priority":9"#, _ networks: String = "lan") throws -> String {
        try node.define("lan", #""type":"macvlan","master":"eth1""#, keys)
        let answer = try node.call("ADD", networks)
        try #require(answer.status == 0, "\(answer.ran)")
        return try #require(try node.addresses().first)
    }

    private func granted() throws -> Int { try node.record()?["granted"]["milliseconds"].int ?? 0 }

    private func routes() throws -> [String] {
        try node.node.ip("route show dev net1", pod: "a").list.filter { $0["protocol"].string != "kernel" }
            .map {
                "\($0["dst"].string ?? "") \($0["gateway"].string ?? "") \($0["metric"].int ?? 0)"
            }
    }

    @Test("DH-20, DX-03: a lease is renewed before it ends, and the address stays")
    func renews() throws {
        try node.udhcpd(lease: 8)
        let address = try add()
        try node.daemon()
        let first = try granted()
        try node.until("two renewals") {
            try #require(try node.addresses() == [address])
            return try node.log("daemon").ranges(of: " renewed ").count > 1
        }
        #expect(try granted() > first && routes() == ["default 192.0.2.1 9"])
        #expect(try node.call("CHECK").status == 0)
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty && node.isRunning("daemon"))
    }

    @Test("a folder of leases that was removed and made anew is looked at again")
    func newFolder() throws {
        try node.udhcpd(lease: 8)
        try node.daemon("--broadcast=true -timeout 5s")
        try Shell.sh("rm -rf \(node.directory)/leases")
        try node.until("it says so") { try node.log("daemon").contains("was removed") }
        let address = try add()
        try node.until("it is renewed") { try node.log("daemon").contains(" renewed ") }
        #expect(try node.addresses() == [address])
    }

    @Test("an ACK that says nothing of the mask again renews the lease with the one that is known")
    func maskless() throws {
        try node.server("", lease: 8)
        let address = try add()
        try node.behave("nomask")
        try node.daemon()
        let first = try granted()
        try node.until("two renewals") {
            try #require(try node.addresses() == [address])
            return try node.log("daemon").ranges(of: " renewed ").count > 1
        }
        #expect(try granted() > first && node.call("CHECK").status == 0)
    }

    @Test(
        "DL-02: a renewal goes to the server from the address, without options 50 and 54; a rebinding to all")
    func wire() throws {
        try node.server("", lease: 8)
        _ = try add()
        try node.daemon()
        try node.until("a renewal") { try node.heard("REQUEST").count > 1 }
        let renewal = try node.heard("REQUEST")[1]
        #expect(renewal["from"].string == "192.0.2.100" && renewal["client"].string == "192.0.2.100")
        #expect(!renewal["options"]["50"].exists && !renewal["options"]["54"].exists)
        #expect(try renewal["options"]["61"].string == node.heard("DISCOVER")[0]["options"]["61"].string)
        #expect(try renewal["xid"].string != node.heard("REQUEST")[0]["xid"].string)
    }

    @Test(
        "DH-21, DH-22, DH-23, DX-07: a server that goes takes the address with it; one with another pool gives another one"
    )
    func anotherPool() throws {
        try node.udhcpd(lease: 6)
        let old = try add()
        try node.daemon()
        try node.stop("udhcpd")
        try node.until("the address goes") { try node.addresses().isEmpty }
        #expect(try node.node.ip("link show net1", pod: "a")[0]["flags"].list.contains { $0.string == "UP" })
        let ended = try node.call("CHECK")
        #expect(ended.message.contains("has ended"), "\(ended.ran)")
        try node.udhcpd(
            lease: 6, first: 160, options: "option router 192.0.2.1\nopt staticroutes 10.7.0.0/16 192.0.2.6")
        try node.until("another address") { try !node.addresses().isEmpty }
        let new = try #require(try node.addresses().first)
        #expect(new.hasPrefix("192.0.2.1") && new != old)
        try node.until("the status says so") {
            try node.status()[1]["ips"][0].string.map { $0 + "/24" } == new
        }
        try node.until("routes are there") { try routes() == ["10.7.0.0/16 192.0.2.6 9"] }
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try node.log("daemon").contains("has ended: 192.0.2.1 did not renew it"))
        #expect(try node.call("DEL").status == 0)
        #expect(
            try node.records().isEmpty && node.node.links(pod: "a").isEmpty
                && node.node.files("state").isEmpty)
    }

    @Test("DH-22: a server that refuses takes the address at once, and another one is asked for")
    func refused() throws {
        try node.server("", lease: 8)
        let old = try add()
        try node.daemon()
        try node.behave("nak 192.0.2.150")
        try node.until("the address goes") { try !node.addresses().contains(old) }
        try node.behave("192.0.2.150")
        try node.until("another address") { try node.addresses() == ["192.0.2.150/24"] }
        #expect(try node.log("daemon").contains("192.0.2.1 refused 192.0.2.100 (NAK): pool moved"))
        try node.until("the status says so") { try node.status()[1]["ips"][0].string == "192.0.2.150" }
        try node.until("routes are there") { try routes() == ["default 192.0.2.1 9"] }
        #expect(try node.call("CHECK").status == 0)
    }

    @Test("DX-05, DU-01: a daemon that was away goes on with the leases")
    func restarted() throws {
        try node.udhcpd(lease: 8)
        let address = try add()
        try node.daemon()
        try node.until("a renewal") { try node.log("daemon").contains(" renewed ") }
        try node.stop("daemon", "KILL")
        try node.daemon()
        try node.until("a renewal") {
            try #require(try node.addresses() == [address])
            return try node.log("daemon").contains(" renewed ")
        }
        #expect(try node.call("CHECK").status == 0)
    }

    @Test("DH-26: a pod that is gone without DEL is forgotten, and one whose DEL comes meanwhile too")
    func gone() throws {
        try node.udhcpd(lease: 6)
        _ = try add()
        try node.daemon()
        try node.node.removePod("a")
        try node.until("the record goes") { try node.records().isEmpty }
        #expect(try node.log("daemon").contains("its pod is gone"))
        #expect(try node.call("DEL", pod: nil).status == 0)
        _ = try node.node.pod("a")
        _ = try add()
        #expect(try node.call("DEL").status == 0)
        let lines = try node.log("daemon")
        _ = try add()
        try node.until("the next lease is renewed") { try node.log("daemon").count > lines.count }
        #expect(try node.records() == ["c1@net1.json"] && node.log("daemon").contains("renewed"))
    }

    @Test(
        "DH-28, DX-08: STATUS sees whether a daemon is there; its socket and its number go with it; there is one"
    )
    func presence() throws {
        try node.define("lan", #""type":"macvlan","master":"eth1""#, "", version: "1.1.0")
        let without = try node.plugin("STATUS", version: "1.1.0")
        #expect(
            without.code == 50
                && without.message.contains("no daemon listens at \(node.directory)/run/dhcp.sock"),
            "\(without.ran)")
        #expect(try node.plugin("STATUS", "", "dhcp", "", version: "1.1.0").code == 50)
        try node.daemon()
        for role in ["macvlan", "dhcp"] {
            let with = try node.plugin(
                "STATUS", "", role, role == "dhcp" ? "" : #""master":"eth1""#, version: "1.1.0")
            #expect(with.status == 0, "\(with.ran)")
        }
        let number = try Shell.sh("cat \(node.directory)/processes/daemon").trimmingCharacters(in: .newlines)
        #expect(try Shell.sh("cat \(node.directory)/daemon.pid") == number)
        let second = try Shell.run(
            [
                "ip", "netns", "exec", node.node.name, "\(node.directory)/bin/dhcp", "daemon", "-socketpath",
                "\(node.directory)/run/dhcp.sock",
            ])
        #expect(second.status == 1 && second.errors.contains("another daemon listens at"), "\(second)")
        try node.stop("daemon")
        #expect(
            try Shell.sh("ls \(node.directory)/run \(node.directory)/daemon.pid 2>/dev/null || true")
                .contains("dhcp.sock") == false)
        #expect(try node.node.files("run").isEmpty)
        #expect(try Shell.sh("ls \(node.directory)").contains("daemon.pid") == false)
        // A socket that a killed one leaves gives way.
        try node.daemon()
        try node.stop("daemon", "KILL")
        #expect(try node.plugin("STATUS", "", "dhcp", "", version: "1.1.0").code == 50)
        try node.daemon()
        try node.until("it listens again") {
            try node.plugin("STATUS", "", "dhcp", "", version: "1.1.0").status == 0
        }
    }

    @Test(
        "options of the daemon that make no sense are refused",
        arguments: [
            ("-pidfile run/pid", "path not absolute"), ("-loglevel loud", "error, verbose or debug"),
            ("-speed 3", "Unknown option"),
        ])
    func options(words: String, text: String) throws {
        let ran = try Shell.run(
            ["\(node.directory)/bin/dhcp", "daemon"] + words.split(separator: " ").map(String.init))
        #expect(ran.status != 0 && ran.errors.contains(text), "\(ran)")
    }

    @Test("records that cannot be read stop no daemon")
    func damaged() throws {
        try node.udhcpd(lease: 6)
        let address = try add()
        for (name, text) in [("c8@net1", "{"), ("c9@net1", ""), ("x", "{}")] {
            try node.node.write("leases/\(name).json", text)
        }
        try node.daemon()
        try node.until("a renewal") { try node.log("daemon").contains(" renewed ") }
        #expect(try node.addresses() == [address])
        #expect(try node.log("daemon").contains("c8@net1.json, is damaged"))
    }
}
