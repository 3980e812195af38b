import Support
import Testing

/// The address source dhcp against servers that are gone, refuse, or talk nonsense; and pods that are lost half-way.
@Suite struct DHCPFaultRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private func nothingIsLeft() throws {
        #expect(try node.node.links(pod: "a").isEmpty && node.records().isEmpty)
        #expect(try node.node.files("state").isEmpty)
        #expect(
            try node.node.files("ipam").allSatisfy { $0.hasSuffix("lock") || $0.contains("last_reserved") })
        #expect(try node.node.links().contains("eth1"))
    }

    // MARK: Servers

    @Test(
        "DH-03, DH-14, DH-16, DX-11: what a server does not do fails the ADD, says so, and leaves nothing",
        arguments: [
            ("silent", "no OFFER on net1 in 4 s (", "DISCOVER sent): no more tries"),
            (
                "noack", "192.0.2.1 offered 192.0.2.100 on net1 and did not acknowledge it (",
                "REQUEST sent): no more tries"
            ),
            ("nak", "192.0.2.1 refused on net1 (NAK): pool moved: no more tries", ""),
            ("nomask", "192.0.2.1 granted 192.0.2.100 without a mask", "Subnet Mask not found"),
        ])
    func unserved(way: String, first: String, second: String) throws {
        try node.server(way)
        try node.define(timeout: 4)
        let answer = try node.call("ADD")
        #expect(answer.status == 1, "\(answer.ran)")
        #expect(answer.message.contains(first) && answer.message.contains(second), "\(answer.ran)")
        #expect(answer.message.contains("default/lan") && !answer.details.isEmpty)
        try nothingIsLeft()
        // What was granted is given back.
        if way == "nomask" { try node.until("a RELEASE") { try !node.heard("RELEASE").isEmpty } }
        #expect(try node.call("DEL").status == 0)
    }

    @Test("a lease that ends at once is refused")
    func noTime() throws {
        try node.server("", lease: 0)
        try node.define()
        let answer = try node.call("ADD")
        #expect(
            answer.message.contains("the lease of 192.0.2.100, of 192.0.2.1, ends at once"), "\(answer.ran)")
        try nothingIsLeft()
    }

    @Test("DH-16: no server, and an exhausted pool, with a VLAN in the error")
    func exhausted() throws {
        try node.dnsmasq(range: "192.0.2.100,192.0.2.100")
        try node.define(timeout: 3)
        _ = try node.node.pod("b")
        #expect(try node.call("ADD").status == 0)
        let second = try node.call("ADD", id: "c2", pod: "b")
        #expect(second.message.contains("no OFFER on net1 in 3 s"), "\(second.ran)")
        #expect(second.details.contains("its addresses are all given"))
        #expect(try node.node.links(pod: "b").isEmpty && node.records() == ["c1@net1.json"])
        #expect(try node.call("DEL").status == 0)
        try node.until("it is free again") { try node.leasefile().isEmpty }
        #expect(try node.call("ADD", id: "c2", pod: "b").status == 0)
    }

    @Test(
        "DL-08, DX-11: no carrier is said to be that, and one that comes in time is waited for",
        arguments: [false, true])
    func carrier(comes: Bool) throws {
        try node.dnsmasq()
        try node.node.sh("ip link set eth1p down")
        try node.define(timeout: comes ? 30 : 2)
        if comes {
            try node.node.write("cable.sh", "sleep 2; ip link set eth1p up")
            try node.start("cable", "sh \(node.directory)/cable.sh")
            let answer = try node.call("ADD")
            #expect(answer.status == 0, "\(answer.ran)")
        } else {
            let answer = try node.call("ADD")
            #expect(answer.message.contains("no carrier on net1 in 2 s: no more tries"), "\(answer.ran)")
            try nothingIsLeft()
        }
    }

    @Test("DH-14: after a NAK it is tried again")
    func nakOnce() throws {
        try node.server("nakonce")
        try node.define()
        let answer = try node.call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.heard("DISCOVER").count == 2)
        let numbers = try node.heard("DISCOVER").map { $0["xid"].string }
        #expect(Set(numbers).count == 2)
    }

    @Test("lost messages are sent again, damaged answers are passed over, and of two offers one is taken")
    func misbehaving() throws {
        for (way, id) in [("lose", "c1"), ("damaged two", "c2"), ("two late", "c3"), ("noid", "c4")] {
            try node.behave(way)
            if id == "c1" { try node.server(way) }
            let answer = try node.plugin("ADD", id: id)
            #expect(answer.status == 0, "\(way): \(answer.ran)")
            #expect(answer.json["ips"][0]["address"].string?.hasPrefix("192.0.2.10") == true)
            #expect(try node.plugin("DEL", previous: answer, id: id).status == 0)
        }
    }

    @Test(
        "DX-02: an ADD that is killed while it asks has a record, which DEL takes", arguments: [true, false])
    func killed(hasServer: Bool) throws {
        try node.server("silent")
        try node.startAdd("macvlan", #""master":"eth1","#)
        try node.until("it asks") { try !node.heard("DISCOVER").isEmpty }
        let record = try node.record()
        #expect(
            record?["clientID"].string == "0063312f6e65742f6e657431" && record?["address"].exists == false)
        if hasServer {
            // Somebody who comes later is not too late.
            try node.behave("")
            try node.until("the ADD has ended") { try !node.isRunning("add") }
            #expect(try Tree(parsing: node.log("add"))["ips"][0]["address"].string == "192.0.2.100/24")
            #expect(try node.record()?["address"].string == "192.0.2.100")
        } else {
            try node.stop("add", "KILL")
        }
        let gone = try node.plugin("DEL")
        #expect(
            try gone.status == 0 && node.records().isEmpty && node.node.links(pod: "a").isEmpty, "\(gone.ran)"
        )
    }

    @Test("a DEL that comes while its ADD asks ends that")
    func overtaken() throws {
        try node.server("silent")
        try node.node.sh("ip link add own0 type veth peer name net7 && ip link set own0 master br0 up")
        try node.node.sh("ip link set net7 netns \(node.node.name)-a")
        try node.startAdd("dhcp", interface: "net7")
        try node.until("it asks") { try !node.heard("DISCOVER").isEmpty }
        #expect(try node.plugin("DEL", "", "dhcp", "", interface: "net7").status == 0)
        try node.behave("")
        try node.until("the ADD has ended") { try !node.isRunning("add") }
        #expect(try node.log("add").contains("a DEL ran meanwhile"))
        try node.until("it is given back") { try !node.heard("RELEASE").isEmpty }
        #expect(try node.records().isEmpty)
    }

    // MARK: On the wire

    @Test(
        "DH-13, DL-07: what is sent: sizes, numbers, who asks; answers may come as broadcasts",
        arguments: [false, true])
    func wire(isBroadcast: Bool) throws {
        try node.server("")
        let answer = try node.plugin("ADD", isBroadcast ? #""broadcast":true"# : "")
        try #require(answer.status == 0, "\(answer.ran)")
        let mac = answer.json["interfaces"][0]["mac"].string
        let heard = try node.heard()
        #expect(heard.map { $0["kind"].string } == ["DISCOVER", "REQUEST"])
        for message in heard {
            #expect(message["mac"].string == mac && message["client"].string == "0.0.0.0")
            #expect(message["from"].string == "0.0.0.0" && (message["size"].int ?? 0) >= 300)
            #expect(message["flags"].string == (isBroadcast ? "8000" : "0000"))
            #expect(message["options"]["57"].string == "05dc")
            #expect(message["options"]["55"].string == "0301")
        }
        #expect(heard[0]["xid"].string == heard[1]["xid"].string)
        #expect(
            heard[1]["options"]["50"].string == "c0000264" && heard[1]["options"]["54"].string == "c0000201")
        let gone = try node.plugin("DEL", previous: answer)
        #expect(gone.status == 0, "\(gone.ran)")
        try node.until("a RELEASE") { try !node.heard("RELEASE").isEmpty }
        let release = try node.heard("RELEASE")[0]
        #expect(release["from"].string == "192.0.2.100" && release["client"].string == "192.0.2.100")
        #expect(release["options"]["61"].string == heard[0]["options"]["61"].string)
        #expect(release["options"]["54"].string == "c0000201" && !release["options"]["50"].exists)
    }

    @Test(
        "DL-07: an ACK to the address that is not there yet, without a checksum, or with one that the wire left undone",
        arguments: ["unicast", "unicast nosum", ""])
    func unusualAnswers(ways: String) throws {
        try node.server(ways)
        try node.capture("eth1")
        let answer = try node.plugin("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses() == ["192.0.2.100/24"])
        #expect(try node.heard("DISCOVER").count == 1)
        // The kernel leaves the checksum to a card, which is none.
        let words = ways.isEmpty ? "bad udp cksum" : ways == "unicast" ? "[udp sum ok]" : "[no cksum]"
        try node.until("it is on the wire") {
            try node.log("capture-eth1").split(separator: "192.0.2.1.67 > ").dropFirst().contains {
                $0.prefix(80).contains(words)
            }
        }
    }

    @Test("DL-07: an answer with a wrong checksum is none")
    func wrongChecksum() throws {
        try node.server("badsum")
        let answer = try node.plugin("ADD", timeout: 2)
        #expect(answer.message.contains("no OFFER on net1 in 2 s"), "\(answer.ran)")
    }

    @Test(
        "DH-04, DL-05: the client is known by container, pod or MAC address, or as the configuration says",
        arguments: [
            ("", "00", "c1/net/net1"), (#""clientID":"container""#, "00", "c1/net/net1"),
            (#""clientID":"pod""#, "00", "default/pod-a/net1"), (#""clientID":"mac""#, "01", ""),
            (#""provide":[{"option":"dhcp-client-identifier","value":"box-7"}]"#, "", "box-7"),
        ])
    func identity(keys: String, type: String, text: String) throws {
        try node.server("")
        let answer = try node.plugin("ADD", keys)
        try #require(answer.status == 0, "\(answer.ran)")
        let mac = answer.json["interfaces"][0]["mac"].string ?? ""
        let digits =
            text.isEmpty
            ? mac.replacing(":", with: "")
            : text.utf8.map { byte in
                (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }.joined()
        #expect(try node.heard("DISCOVER")[0]["options"]["61"].string == type + digits)
        #expect(try node.plugin("DEL", keys, previous: answer).status == 0)
        try node.until("a RELEASE") { try !node.heard("RELEASE").isEmpty }
        #expect(try node.heard("RELEASE")[0]["options"]["61"].string == type + digits)
    }

    // MARK: DEL and CHECK

    @Test("DH-25, DH-26, DX-06: DEL works with anything lost", arguments: DHCPNode.Loss.allCases)
    func lost(what: DHCPNode.Loss) throws {
        try node.dnsmasq()
        try node.define()
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        try node.lose(what, "dnsmasq")
        try node.expectDeletion(after: what)
        if [.state, .definition].contains(what) {
            try node.until("the lease is given back") { try node.leasefile().isEmpty }
        }
    }

    @Test("DH-25: three DELs at once, and one more")
    func atOnce() throws {
        try node.dnsmasq()
        try node.define()
        #expect(try node.call("ADD").status == 0)
        try node.node.write("config", MetaEndToEnd.config(node.node, networks: "lan"))
        let calls = (1...3).map { number in
            """
            (CNI_COMMAND=DEL CNI_CONTAINERID=c1 CNI_NETNS=\(node.netns) CNI_IFNAME=eth0 CNI_ARGS='\(StatusRows.args())' \
            CNI_PATH=/usr/lib/cni \(node.directory)/bin/plexus < \(node.directory)/config > \(node.directory)/\(number).out
            echo $? > \(node.directory)/\(number).rc) &
            """
        }
        try node.node.sh(calls.joined(separator: "\n"))
        try node.until("all have ended") {
            try Shell.sh("cat \(node.directory)/?.rc 2>/dev/null || true") == "0\n0\n0\n"
        }
        try node.until("the lease is given back") { try node.leasefile().isEmpty }
        #expect(try node.log("dnsmasq").ranges(of: "DHCPRELEASE").count == 1)
        let gone = try node.call("DEL")
        #expect(gone.status == 0, "\(gone.ran)")
        try nothingIsLeft()
    }

    @Test("DH-24: a link that the pod has renamed gives its lease back too")
    func renamed() throws {
        try node.dnsmasq()
        try node.define()
        #expect(try node.call("ADD").status == 0)
        try node.node.sh("ip link set net1 down; ip link set net1 name data0; ip link set data0 up", pod: "a")
        let gone = try node.call("DEL")
        #expect(try gone.status == 0 && node.node.links(pod: "a").isEmpty, "\(gone.ran)")
        try node.until("the lease is given back") { try node.leasefile().isEmpty }
    }

    @Test("DX-06: DEL works beside a folder of leases that others can write to, which is not looked into")
    func untrusted() throws {
        try node.dnsmasq()
        try node.define()
        #expect(try node.call("ADD").status == 0)
        try Shell.sh("chmod 777 \(node.directory)/leases")
        for _ in 1...2 {
            let gone = try node.call("DEL")
            #expect(gone.status == 0, "\(gone.ran)")
        }
        #expect(try node.node.links(pod: "a").isEmpty && node.node.files("state").isEmpty)
        #expect(try node.call("ADD").message.contains("writable by everybody"))
        try Shell.sh("chmod 700 \(node.directory)/leases && rm \(node.directory)/leases/*.json")
        try nothingIsLeft()
    }

    @Test("DH-27: CHECK needs the record, a lease that goes on, and the address")
    func check() throws {
        try node.udhcpd(lease: 4)
        try node.define()
        #expect(try node.call("ADD").status == 0)
        #expect(try node.call("CHECK").status == 0)
        // Nobody renews it: the kernel ends it.
        try node.until("the address goes") { try node.addresses().isEmpty }
        let ended = try node.call("CHECK")
        #expect(
            ended.message.contains("the lease of 192.0.2.1") && ended.message.contains("has ended"),
            "\(ended.ran)")
        #expect(ended.details.contains("dhcp daemon"))
        #expect(try node.node.ip("link show net1", pod: "a")[0]["flags"].list.contains { $0.string == "UP" })
        try Shell.sh("rm \(node.directory)/leases/*.json")
        #expect(try node.call("CHECK").message.contains("there is no lease of net1"))
        #expect(try node.call("DEL").status == 0)
        try nothingIsLeft()
    }

    @Test("DH-27, DX-04: an address has the time of its lease, and one that somebody took away fails CHECK")
    func addressGone() throws {
        try node.dnsmasq()
        try node.define()
        #expect(try node.call("ADD").status == 0)
        let shown = try node.node.ip("addr show dev net1", pod: "a")[0]["addr_info"][0]
        let left = shown["valid_life_time"].int ?? 0
        #expect((60...120).contains(left), "as long as the lease")
        try node.node.sh("ip addr flush dev net1", pod: "a")
        #expect(try node.call("CHECK").status == 1)
    }

    @Test("DH-29: GC forgets what is gone, and spares what lives")
    func collect() throws {
        try node.dnsmasq()
        try node.define(version: "1.1.0")
        try node.expectCollection(".json", "192.0.2.250")
    }
}
