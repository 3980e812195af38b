import Support
import Testing

/// What a daemon makes of the leases that it finds, and of a link or a boot that are others than the lease's.
@Suite struct DHCPRestartRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private func add(lease: Int = 7200) throws {
        try node.server("", lease: lease)
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
    }

    /// Makes the lease so many seconds older.
    private func age(_ seconds: Int) throws {
        let granted = try node.record()?["granted"]["milliseconds"].int ?? 0
        try change("\"milliseconds\":\(granted)", "\"milliseconds\":\(granted - seconds * 1000)")
    }

    private func change(_ old: String, _ new: String) throws {
        try Shell.sh("sed -i 's/\(old)/\(new)/' \(node.directory)/leases/c1@net1.json")
    }

    private func granted() throws -> Int { try node.record()?["granted"]["milliseconds"].int ?? 0 }

    private func isWhole(_ address: String = "192.0.2.100/24") throws {
        #expect(try node.addresses() == [address])
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
    }

    @Test(
        "DX-05: a daemon that starts goes on where each lease is",
        arguments: ["bound", "renewing", "rebinding", "ended"])
    func stages(stage: String) throws {
        try add()
        // T1 is at 3600 s, T2 at 6120 s.
        try age(["bound": 3000, "renewing": 4000, "rebinding": 7000, "ended": 9000][stage] ?? 0)
        let before = try granted()
        // By another lease, which is due, one sees that the daemon has been through all.
        let other = try node.plugin("ADD", id: "c2", interface: "net2")
        #expect(other.status == 0, "\(other.ran)")
        let asked = try node.heard().count
        let other2 = try node.record("c2", "net2")?["granted"]["milliseconds"].int ?? 0
        try Shell.sh(
            "sed -i 's/\"milliseconds\":\(other2)/\"milliseconds\":\(other2 - 4000_000)/' \(node.directory)/leases/c2@net2.json"
        )
        try node.daemon()
        try node.until("the other one is renewed") {
            try node.record("c2", "net2")?["granted"]["milliseconds"].int ?? 0 >= other2
        }
        if stage == "bound" {
            #expect(try granted() == before)
            #expect(try node.heard().count == asked + 1)
        } else {
            try node.until("it is renewed") { try granted() > before }
            let id = try node.record()?["clientID"].string
            let first = try #require(
                try node.heard().dropFirst(asked).first { $0["options"]["61"].string == id })
            switch stage {
            case "ended":
                #expect(first["kind"].string == "DISCOVER" && first["client"].string == "0.0.0.0")
                #expect(first["options"]["50"].string == "c0000264", "the old address is asked for")
            default:
                #expect(first["kind"].string == "REQUEST" && first["client"].string == "192.0.2.100")
                #expect(first["from"].string == "192.0.2.100")
                #expect(!first["options"]["50"].exists && !first["options"]["54"].exists)
            }
        }
        try isWhole()
    }

    @Test("DX-05: a namespace that is another one at the same path has no lease")
    func otherNamespace() throws {
        try add()
        try node.node.removePod("a")
        _ = try node.node.pod("a")
        try node.daemon()
        try node.until("the record goes") { try node.records().isEmpty }
        #expect(try node.log("daemon").contains("its pod is gone"))
        #expect(try node.heard("RELEASE").isEmpty)
    }

    @Test("a lease that is written down only, and whose link is gone, keeps no daemon busy")
    func halfDoneWithoutLink() throws {
        try add()
        try node.node.sh("ip link del net1", pod: "a")
        try change(
            "\"version\":1",
            "\"version\":1,\"former\":{\"address\":\"192.0.2.77\",\"server\":\"192.0.2.1\",\"options\":{\"1\":\"ffffff00\"}}"
        )
        try node.daemon()
        let other = try node.plugin("ADD", id: "c2", interface: "net2")
        #expect(other.status == 0, "\(other.ran)")
        let number = try Shell.sh("cat \(node.directory)/processes/daemon")
        func ticks() throws -> Int {
            let words = try Shell.sh("cat /proc/\(number)/stat").split(separator: " ")
            return (Int(words[13]) ?? 0) + (Int(words[14]) ?? 0)
        }
        let before = try ticks()
        try Shell.sh("sleep 2")
        // Hundredths of a second of the processor's time.
        #expect(try ticks() - before < 50)
        #expect(try node.records() == ["c1@net1.json", "c2@net2.json"])
    }

    @Test("DX-05: a link that is gone keeps its lease until that ends")
    func otherLink() throws {
        try add()
        try node.node.sh("ip link del net1", pod: "a")
        try age(4000)
        try node.daemon()
        try node.until("the daemon has looked") {
            try node.plexus("leases", "--lease-dir", "\(node.directory)/leases").output.contains("renewing")
        }
        #expect(try node.records() == ["c1@net1.json"])
        try node.stop("daemon")
        try age(9000)
        try node.daemon()
        try node.until("the record goes") { try node.records().isEmpty }
        #expect(try node.log("daemon").contains("its link is gone"))
    }

    // MARK: INIT-REBOOT

    @Test(
        "DL-02, DX-05: a lease of another boot, or of a link that was made anew, is confirmed: option 50, no 54, no ciaddr",
        arguments: ["boot", "link"])
    func confirmed(what: String) throws {
        try add()
        let boot = try node.record()?["granted"]["boot"].string ?? ""
        if what == "boot" {
            try change("\"granted\":{\"boot\":\"[^\"]*\"", "\"granted\":{\"boot\":\"x\"")
        } else {
            try change("\"version\":1", "\"version\":1,\"unconfirmed\":true")
        }
        let before = try granted()
        try node.daemon()
        try node.until("it is confirmed") { try granted() > before }
        #expect(try node.record()?["granted"]["boot"].string == boot)
        #expect(try node.record()?["unconfirmed"].exists == false)
        let request = try #require(try node.heard("REQUEST").last)
        #expect(request["options"]["50"].string == "c0000264" && !request["options"]["54"].exists)
        #expect(request["client"].string == "0.0.0.0" && request["from"].string == "0.0.0.0")
        #expect(try node.heard("DISCOVER").count == 1)
        try isWhole()
    }

    @Test(
        "DL-02, DX-05: one that is refused gives way to another; one that nobody answers for stays, and is asked for again"
    )
    func unconfirmed() throws {
        try add()
        let before = try granted()
        try change("\"version\":1", "\"version\":1,\"unconfirmed\":true")
        try node.behave("silent")
        try node.daemon()
        let asked = try node.heard("REQUEST").count
        try node.until("it is asked for twice") { try node.heard("REQUEST").count > asked + 1 }
        let listed = try node.plexus("leases", "--lease-dir", "\(node.directory)/leases")
        #expect(listed.output.contains("confirming"), "\(listed)")
        try isWhole()
        try node.behave("")
        try node.until("it is confirmed") { try granted() > before }
        try isWhole()
        try node.stop("daemon")
        try change("\"version\":1", "\"version\":1,\"unconfirmed\":true")
        try node.behave("nak 192.0.2.150")
        try node.daemon()
        try node.until("the address goes") { try node.addresses().isEmpty }
        try node.behave("192.0.2.150")
        try node.until("another address") { try node.addresses() == ["192.0.2.150/24"] }
        try node.until("the status says so") { try node.status()[1]["ips"][0].string == "192.0.2.150" }
    }

    @Test(
        "a daemon that was killed before an address was on the link puts it there",
        arguments: ["192.0.2.77", "192.0.2.100"])
    func halfDone(former: String) throws {
        try add()
        try node.node.sh("ip addr flush dev net1; ip addr add 192.0.2.77/24 dev net1", pod: "a")
        // As `Keeper` writes it before it touches the link.
        try change(
            "\"version\":1",
            "\"version\":1,\"former\":{\"address\":\"\(former)\",\"server\":\"192.0.2.1\",\"options\":{\"1\":\"ffffff00\"}}"
        )
        let asked = try node.heard().count
        try node.daemon()
        try node.until("the address is there") { try node.addresses().contains("192.0.2.100/24") }
        try node.until("its route is") {
            try node.node.sh("ip route show default dev net1", pod: "a").contains("via 192.0.2.1")
        }
        try node.until("the record says so") { try node.record()?["former"].exists == false }
        #expect(try node.addresses().contains("192.0.2.77/24") == (former == "192.0.2.100"))
        #expect(try node.heard().count == asked)
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
    }

    @Test("an address that somebody took away comes back with the next renewal, and its routes with it")
    func flushed() throws {
        try add()
        try node.node.sh("ip addr flush dev net1", pod: "a")
        try age(4000)
        try node.daemon()
        try node.until("the address is there") { try node.addresses() == ["192.0.2.100/24"] }
        try node.until("its route is") {
            try node.node.sh("ip route show default dev net1", pod: "a").contains("via 192.0.2.1")
        }
        try isWhole()
    }

    // MARK: Clocks

    @Test("a calendar that is set ends no lease and keeps none", arguments: [0, 4_000_000_000])
    func calendar(time: Int) throws {
        try add(lease: 8)
        let before = try granted()
        try change("\"time\":[0-9]*", "\"time\":\(time)")
        let listed = try node.plexus("leases", "--lease-dir", "\(node.directory)/leases")
        #expect(listed.output.contains("bound") || listed.output.contains("renewing"), "\(listed)")
        try node.daemon()
        try node.until("a renewal") { try granted() > before }
        try isWhole()
        #expect(!(try node.log("daemon").contains("has ended")))
    }

    @Test("a machine that slept past the end of a lease asks anew, for the same address")
    func slept() throws {
        try add()
        try node.behave("silent")
        // A clock that goes on while the machine sleeps is so much further then. time_namespaces(7)
        try node.start(
            "daemon",
            """
            unshare -T --boottime 9000 \(node.directory)/bin/dhcp daemon -socketpath \(node.directory)/run/dhcp.sock \
            -leasedir \(node.directory)/leases -loglevel verbose
            """)
        try node.until("it is asked for") { try node.heard("DISCOVER").count > 1 }
        #expect(try node.heard("DISCOVER")[1]["options"]["50"].string == "c0000264")
        // The kernel's time for addresses does not go on meanwhile: it has most of the lease to come.
        #expect(try node.addresses().isEmpty)
        try node.behave("")
        try node.until("it is there again") { try node.log("daemon").contains("it has 192.0.2.100") }
        #expect(try node.addresses() == ["192.0.2.100/24"])
    }
}
