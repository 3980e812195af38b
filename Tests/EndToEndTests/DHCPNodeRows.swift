import Support
import Testing

/// dhcp and the commands of a node: explain, attach, detach, repair, leases, and STATUS of the meta-plugin.
@Suite struct DHCPNodeRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private func plexus(_ words: String..., networks: String? = "lan") throws -> Ran {
        try node.node.write("conf.json", MetaEndToEnd.config(node.node, networks: networks))
        return try Shell.run(
            ["ip", "netns", "exec", node.node.name, "\(node.directory)/bin/plexus"] + words
                + ["--config", "\(node.directory)/conf.json"])
    }

    @Test("explain says what only the server knows, and asks nobody")
    func explain() throws {
        try node.server()
        try node.define()
        let ran = try plexus("explain")
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.contains("ip -n POD link") || ran.output.contains("macvlan"))
        #expect(
            ran.output.contains("the steps of macvlan depend on the addresses that dhcp will give"), "\(ran)")
        #expect(try node.heard().isEmpty && node.records().isEmpty)
    }

    @Test("a network with dhcp is attached to a pod that runs, and detached")
    func attach() throws {
        try node.dnsmasq()
        try node.define()
        #expect(try node.call("ADD", "").status == 0)
        let attached = try plexus("attach", "pod-a", "lan", networks: "")
        let address = try #require(try node.leasefile().first?[2])
        #expect(attached.status == 0 && attached.errors.contains("with \(address)/24"), "\(attached)")
        #expect(try node.addresses() == ["\(address)/24"] && node.call("CHECK", "").status == 0)
        #expect(try node.record()?["cniDir"].string == "\(node.directory)/state")
        let detached = try plexus("detach", "pod-a", "lan", networks: "")
        #expect(detached.status == 0, "\(detached)")
        try node.until("the lease is given back") { try node.leasefile().isEmpty }
        #expect(try node.records().isEmpty && node.node.links(pod: "a") == ["eth0"])
        #expect(try node.call("DEL", "").status == 0)
    }

    @Test("a link that was lost with its master is made again with its lease, which is renewed on it")
    func repair() throws {
        try node.udhcpd(lease: 20)
        try node.define("lan", #""type":"macvlan","master":"eth1""#, #""priority":9"#)
        #expect(try node.call("ADD").status == 0)
        let before = try node.record()
        let address = try node.addresses()
        try node.node.sh(
            """
            ip link del eth1 && ip link add eth1 type veth peer name eth1p && ip link set eth1p master br0
            ip link set eth1p up && ip link set eth1 up
            """)
        let ran = try plexus("repair")
        #expect(ran.status == 0 && ran.output.contains("interface net1"), "\(ran)")
        #expect(try node.addresses() == address)
        let after = try node.record()
        #expect(
            after?["address"].string == before?["address"].string
                && after?["index"].int != before?["index"].int)
        #expect(after?["unconfirmed"].bool == true, "whether it holds there a server is asked")
        #expect(after?["index"].int == (try node.node.ip("link show net1", pod: "a")[0]["ifindex"].int))
        let check = try node.call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        try node.daemon()
        try node.until("a renewal") { try node.log("daemon").contains(" renewed ") }
        #expect(try node.addresses() == address && node.record()?["unconfirmed"].exists == false)
        #expect(try node.call("DEL").status == 0)
        #expect(try node.records().isEmpty)
    }

    @Test("systemd finds nothing wrong with the daemon's units")
    func units() throws {
        try Shell.sh(
            """
            mkdir \(node.directory)/units; cp \(Node.repository)/conf/systemd/dhcp.* \(node.directory)/units
            sed -i 's,/opt/cni/bin,\(node.directory)/bin,' \(node.directory)/units/dhcp.service
            """)
        let ran = try Shell.run(
            [
                "systemd-analyze", "verify", "\(node.directory)/units/dhcp.service",
                "\(node.directory)/units/dhcp.socket",
            ])
        #expect(ran.status == 0 && ran.errors.isEmpty, "\(ran)")
    }

    @Test("DH-28: STATUS of the meta-plugin asks for the daemon")
    func status() throws {
        try node.define(version: "1.1.0")
        func status() throws -> Answer {
            try node.node.call(
                "STATUS", id: "", netns: "", interface: "",
                MetaEndToEnd.config(
                    node.node, version: "1.1.0", networks: nil,
                    delegate: ""
                ).replacing(
                    #""delegates":[{"#,
                    with:
                        #""delegates":[{"cniVersion":"1.1.0","name":"lan","type":"macvlan","master":"eth1",\#(node.ipam())},{"#
                ))
        }
        let without = try status()
        #expect(without.code == 50 && without.message.contains("no daemon listens"), "\(without.ran)")
        // The reference's daemon renews none of our leases.
        try node.start(
            "other",
            "/usr/lib/cni/dhcp daemon -socketpath \(node.directory)/run/dhcp.sock -pidfile \(node.directory)/other.pid"
        )
        try node.until("it listens") { try Shell.sh("ls \(node.directory)/run 2>/dev/null || true") != "" }
        let other = try status()
        #expect(other.code == 50 && other.message.contains("is no daemon of Plexus"), "\(other.ran)")
        try node.stop("other", "KILL")
        try node.daemon()
        let with = try status()
        #expect(with.status == 0, "\(with.ran)")
    }

    @Test(
        "DH-17: ADDs of twenty pods ask at once: a server that answers nobody before all have asked serves them all"
    )
    func many() throws {
        try node.server("await=20")
        try node.define(timeout: 120)
        for pod in 10...29 { _ = try node.node.pod("m\(pod)") }
        try node.node.write("config", MetaEndToEnd.config(node.node, networks: "lan"))
        let calls = (10...29).map { pod in
            """
            (CNI_COMMAND=ADD CNI_CONTAINERID=m\(pod) CNI_NETNS=/run/netns/\(node.node.name)-m\(pod) CNI_IFNAME=eth0 \
            CNI_ARGS='\(StatusRows.args("u\(pod)"))' CNI_PATH=/usr/lib/cni \(node.directory)/bin/plexus \
            < \(node.directory)/config > \(node.directory)/m\(pod).out; echo $? > \(node.directory)/m\(pod).rc) &
            """
        }
        try node.node.sh(calls.joined(separator: "\n"))
        try node.until("all have ended", seconds: 180) {
            try Shell.sh("cat \(node.directory)/m??.rc 2>/dev/null || true").split(separator: "\n").count
                == 20
        }
        #expect(try Shell.sh("cat \(node.directory)/m??.rc") == String(repeating: "0\n", count: 20))
        #expect(try node.records().count == 20)
        var addresses: Set<String> = []
        for pod in 10...29 { addresses.formUnion(try node.node.addresses("net1", pod: "m\(pod)")) }
        #expect(addresses.count == 20)
    }

    @Test(
        "DU-09: an ADD and its DEL on a bridge's VLAN, and an error that names it",
        .enabled(if: Feature.vlanFiltering, "this kernel's bridges have no VLANs; the VM's have"))
    func vlan() throws {
        try node.node.sh(
            "ip link set br0 type bridge vlan_filtering 1; bridge vlan add vid 7 dev br0 self; ip link add link br0 name br0.7 type vlan id 7; ip addr add 192.0.2.1/24 dev br0.7; ip addr del 192.0.2.1/24 dev br0; ip link set br0.7 up"
        )
        try node.dnsmasq("-i br0.7")
        try node.define("lan", #""type":"bridge","bridge":"br0","vlan":7"#)
        let answer = try node.call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        try node.stop("dnsmasq")
        #expect(try node.call("DEL").status == 0)
        try node.define("lan", #""type":"bridge","bridge":"br0","vlan":7"#, timeout: 2)
        #expect(try node.call("ADD").message.contains("no OFFER on net1, VLAN 7, in 2 s"))
    }
}

/// `plexus leases`.
@Suite struct DHCPLeasesRows {
    private let node: DHCPNode

    init() throws { node = try DHCPNode() }

    private func leases(_ words: String...) throws -> Ran {
        try Shell.run(
            ["\(node.directory)/bin/plexus", "leases", "--lease-dir", "\(node.directory)/leases"] + words)
    }

    @Test("leases are listed with their server, state and times, as text and as JSON")
    func list() throws {
        let none = try leases()
        #expect(none.status == 0 && none.output == "no leases in \(node.directory)/leases\n", "\(none)")
        #expect(try Tree(parsing: leases("-o", "json").output)["leases"].list.isEmpty)
        try node.server("", lease: 7200)
        try node.define()
        #expect(try node.call("ADD").status == 0)
        let own = try node.plugin("ADD", id: "c2", interface: "net2")
        #expect(own.status == 0, "\(own.ran)")
        let text = try leases().output.split(separator: "\n").map {
            $0.split(separator: " ").map(String.init)
        }
        #expect(text[0] == ["POD", "INTERFACE", "NETWORK", "ADDRESS", "SERVER", "STATE", "LEFT", "RENEWAL"])
        #expect(text[1].prefix(6) == ["default/pod-a", "net1", "lan", "192.0.2.100", "192.0.2.1", "bound"])
        #expect(
            ["1h59m", "2h"].contains(text[1][6]) && (text[1][7].hasPrefix("59m") || text[1][7] == "1h"),
            "\(text)")
        #expect(text[2].prefix(6) == ["default/pod-a", "net2", "net", "192.0.2.101", "192.0.2.1", "bound"])
        let json = try Tree(parsing: leases("-o", "json").output)
        #expect(
            json["version"].int == 1 && json["leases"].list.map { $0["containerID"].string } == ["c1", "c2"])
        #expect((7000...7200).contains(json["leases"][0]["left"].int ?? 0))
        #expect((3400...3600).contains(json["leases"][0]["renewal"].int ?? 0))
    }

    @Test(
        "the states of a lease",
        arguments: [
            ("s/\"milliseconds\":[0-9]*/\"milliseconds\":-4000000/", "confirming", true),
            ("s/\"milliseconds\":[0-9]*/\"milliseconds\":-99000000/", "ended", true),
            ("s/\"version\":1/\"version\":1,\"refused\":true/", "refused", true),
            ("s/\"granted\":{[^}]*}/\"x\":1/", "asking", true),
            ("s/\"version\":1/\"version\":2/", "of another release", false), ("s/^{/[/", "is damaged", false),
        ])
    func states(change: String, state: String, isShown: Bool) throws {
        try node.server("", lease: 7200)
        #expect(try node.plugin("ADD").status == 0)
        try Shell.sh("sed -i '\(change)' \(node.directory)/leases/*.json")
        if state == "confirming" {
            // Another boot's clock says nothing: its calendar does.
            try Shell.sh(
                "sed -i \"s/\\\"boot\\\":\\\"[^\\\"]*\\\",\\\"milliseconds\\\":[-0-9]*,\\\"time\\\":[0-9]*/\\\"boot\\\":\\\"x\\\",\\\"milliseconds\\\":0,\\\"time\\\":$(($(date +%s) - 4000))/\" \(node.directory)/leases/*.json"
            )
        }
        let ran = try leases()
        #expect((ran.status == 0) == isShown && (ran.output + ran.errors).contains(state), "\(ran)")
    }
}
