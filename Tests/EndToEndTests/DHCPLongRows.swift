import Support
import Testing

/// What may become of a lease's link, server and daemon while its pod lives.
@Suite struct DHCPLongRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private func untilRenewed(_ address: String) throws {
        let known = try node.log("daemon").ranges(of: " renewed ").count
        try node.until("a renewal") {
            try #require(try node.addresses() == [address])
            return try node.log("daemon").ranges(of: " renewed ").count > known
        }
    }

    @Test("a plugin of the chain that gives the link another MAC address ends no lease")
    func anotherMAC() throws {
        try node.server("", lease: 8)
        try node.node.define(
            "lan",
            """
            {"cniVersion":"1.0.0","plugins":[{"type":"macvlan","master":"eth1",\(node.ipam(#""priority":9"#))},
             {"type":"tuning","mac":"02:00:00:00:00:99"}]}
            """)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        let address = try #require(try node.addresses().first)
        #expect(try node.node.ip("link show net1", pod: "a")[0]["address"].string == "02:00:00:00:00:99")
        try node.daemon()
        try untilRenewed(address)
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty && node.node.links(pod: "a").isEmpty)
    }

    @Test("a lease of a plugin under its own name is renewed, also when the pod renames its link")
    func ownName() throws {
        try node.udhcpd(lease: 8)
        let answer = try node.plugin("ADD", #""priority":9"#)
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.record()?["cniDir"].exists == false)
        try node.daemon()
        try untilRenewed(try #require(answer.json["ips"][0]["address"].string))
        try node.node.sh("ip link set net1 down; ip link set net1 name data0; ip link set data0 up", pod: "a")
        let granted = try node.record()?["granted"]["milliseconds"].int ?? 0
        try node.until("a renewal") { try node.record()?["granted"]["milliseconds"].int ?? 0 > granted }
        #expect(try node.addresses("data0") == [answer.json["ips"][0]["address"].string])
    }

    @Test("DH-23: a link that is down for a while, and a server that is away, lose no lease that goes on")
    func away() throws {
        try node.udhcpd(lease: 20)
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9"#)
        #expect(try node.call("ADD").status == 0)
        let address = try #require(try node.addresses().first)
        try node.daemon()
        try node.stop("udhcpd")
        try node.node.sh("ip link set eth1p down")
        // Half of the lease, and the first question.
        try node.until("it is asked for") {
            try #require(try node.addresses() == [address])
            return try node.plexus("leases", "--lease-dir", "\(node.directory)/leases").output.contains(
                "renewing")
        }
        try node.node.sh("ip link set eth1p up")
        try node.start("udhcpd", "busybox udhcpd -f -a 20 \(node.directory)/udhcpd.conf")
        try untilRenewed(address)
    }

    @Test("DL-01: over a relay, with the server in another network: ADD and DEL reach it")
    func relay() throws {
        _ = try node.node.pod("far")
        let far = "\(node.node.name)-far"
        try node.node.sh(
            """
            ip link add up0 type veth peer name far0 && ip link set far0 netns \(far)
            ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up && sysctl -qw net.ipv4.ip_forward=1
            """)
        try node.node.sh(
            "ip addr add 198.51.100.2/24 dev far0; ip link set far0 up; ip route add 192.0.2.0/24 via 198.51.100.1",
            pod: "far")
        try node.start(
            "dnsmasq",
            """
            dnsmasq -k -C /dev/null -u root --port=0 --log-dhcp --log-facility=- --no-ping --pid-file= -i far0 \
            -l \(node.directory)/leasefile -F 192.0.2.100,192.0.2.199,255.255.255.0,120s --dhcp-option=3,192.0.2.1
            """, pod: "far")
        try node.start(
            "relay",
            "dnsmasq -k -C /dev/null -u root --port=0 --log-facility=- --pid-file= --dhcp-relay=192.0.2.1,198.51.100.2"
        )
        try node.until("the relay listens") { try node.log("relay").contains("DHCP relay from") }
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9"#)
        let answer = try node.call("ADD")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.leasefile().map { $0[2] + "/24" } == node.addresses())
        #expect(try node.record()?["server"].string == "198.51.100.2")
        #expect(try node.call("DEL").status == 0)
        try node.until("the lease is given back") { try node.leasefile().isEmpty }
    }

    @Test("systemd passes the daemon its socket, and keeps it")
    func activation() throws {
        try node.node.write(
            "activate.py",
            """
            import os, socket, sys
            s = socket.socket(socket.AF_UNIX)
            s.bind(sys.argv[1])
            s.listen()
            os.dup2(s.fileno(), 3)
            os.set_inheritable(3, True)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])
            os.execv(sys.argv[3], [sys.argv[3], "daemon", "-leasedir", sys.argv[4], "-loglevel", "verbose"])
            """)
        let socket = "\(node.directory)/passed.sock"
        func activate(_ count: Int) throws {
            try node.start(
                "daemon",
                "python3 \(node.directory)/activate.py \(socket) \(count) \(node.directory)/bin/dhcp \(node.directory)/leases"
            )
        }
        try activate(1)
        try node.until("it answers") {
            try node.plugin("STATUS", #""x":1"#, "dhcp", "", version: "1.1.0").code == 50
                && Shell.sh("ls \(node.directory)").contains("passed.sock")
        }
        let asked = try node.node.plugin(
            "STATUS", "dhcp", "\"ipam\":{\"type\":\"dhcp\",\"daemonSocketPath\":\"\(socket)\"}",
            version: "1.1.0")
        #expect(asked.status == 0, "\(asked.ran)")
        try node.udhcpd(lease: 8)
        let answer = try node.plugin("ADD", #""priority":9"#)
        #expect(answer.status == 0, "\(answer.ran)")
        try untilRenewed(try #require(answer.json["ips"][0]["address"].string))
        try node.stop("daemon")
        #expect(try Shell.sh("ls \(node.directory)").contains("passed.sock"))
        try Shell.sh("rm \(socket)")
        try activate(2)
        try node.until("it ends") { try !node.isRunning("daemon") }
        #expect(try node.log("daemon").contains("systemd passes 2 sockets, expected one"))
    }

    @Test("where records are elsewhere for the daemon, -cnidir says so")
    func elsewhere() throws {
        try node.server("", lease: 8)
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9"#)
        #expect(try node.call("ADD").status == 0)
        try Shell.sh(
            "ln -s \(node.directory)/state \(node.directory)/moved; sed -i 's/\"cniDir\":\"[^\"]*\"/\"cniDir\":\"\\/none\"/' \(node.directory)/leases/*.json"
        )
        try node.daemon("-cnidir \(node.directory)/moved")
        try node.behave("192.0.2.150")
        try node.until("another address") { try node.addresses() == ["192.0.2.150/24"] }
        try node.until("the status says so") { try node.status()[1]["ips"][0].string == "192.0.2.150" }
        #expect(try node.call("CHECK").status == 0)
    }

    @Test("externalPlugins keeps another program's client and daemon")
    func external() throws {
        try node.node.script(
            "dhcp",
            #"""
            [ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.77/24"}]}'
            """#)
        try node.define()
        let extra = #","externalPlugins":["dhcp"]"#
        let answer = try node.call("ADD", extra: extra)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses() == ["192.0.2.77/24"] && node.records().isEmpty)
        #expect(try node.call("CHECK", extra: extra).status == 0)
        #expect(try node.call("DEL", extra: extra).status == 0)
        #expect(try Shell.sh("cat \(node.directory)/dhcp.log") == "ADD\nCHECK\nDEL\n")
        // A node that goes over with such a pod: its DEL finds no lease, and needs none.
        #expect(try node.call("ADD", extra: extra).status == 0)
        let gone = try node.call("DEL")
        #expect(try gone.status == 0 && node.node.links(pod: "a").isEmpty, "\(gone.ran)")
    }
}
