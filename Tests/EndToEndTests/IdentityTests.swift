import Foundation
import Support
import Testing

/// What is believed of links, namespaces, records and rules goes by what they are, and never by what a pod can write or
/// what another one has by now.
@Suite struct IdentityTests {
    private let node: Node
    private let netns: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
        try node.sh(
            "ip link add ens4 address 02:00:00:00:00:e4 type veth peer name far && ip link set ens4 up")
        try node.define("card", #"{"cniVersion":"1.0.0","type":"host-device","device":"ens4"}"#)
        try node.define(
            "tuned",
            """
            {"cniVersion":"1.0.0","plugins":[{"type":"host-device","device":"ens4"},
             {"type":"tuning","mac":"02:00:00:00:00:aa","mtu":1300,"promisc":true,"allmulti":true,"txQLen":77}]}
            """)
        try node.define(
            "vlan",
            """
            {"cniVersion":"1.0.0","type":"macvlan","master":"far","ipam":{"type":"host-local",
             "dataDir":"\(node.directory)/ipam","subnet":"192.168.50.0/24"}}
            """)
    }

    private func call(
        _ verb: String, _ networks: String? = "net-a", id: String? = nil, pod: String? = "a",
        version: String = "1.0.0", name: String = "node-network", extra: String = "", delegate: String = ""
    ) throws -> Answer {
        let config = MetaEndToEnd.config(
            node, version: version, networks: networks, extra: extra, delegate: delegate)
        return try node.call(
            verb, id: id ?? node.name, netns: pod.map { "/run/netns/\(node.name)-\($0)" } ?? "",
            args: "IgnoreUnknown=1", config.replacing("\"node-network\"", with: "\"\(name)\""))
    }

    private func add(
        _ networks: String? = "net-a", id: String? = nil, pod: String = "a", name: String = "node-network",
        delegate: String = ""
    ) throws {
        let answer = try call("ADD", networks, id: id, pod: pod, name: name, delegate: delegate)
        try #require(answer.status == 0, "\(answer.ran)")
    }

    private func collect(_ valid: [String], name: String = "node-network", delegate: String = "") throws
        -> Answer
    {
        let list = valid.map { "{\"containerID\":\"\($0)\",\"ifname\":\"eth0\"}" }.joined(separator: ",")
        return try call(
            "GC", nil, id: "", pod: nil, version: "1.1.0", name: name,
            extra: ",\"cni.dev/valid-attachments\":[\(list)]", delegate: delegate)
    }

    private func leases() throws -> Set<String> {
        try node.files("ipam").filter { !$0.contains("last") && !$0.hasSuffix("lock") }
    }

    private func loseEverything() throws {
        try Shell.sh("rm -rf \(node.directory)/state \(node.directory)/cache")
    }

    private func isHome(mac: String = "02:00:00:00:00:e4") throws -> Bool {
        let link = try node.ip("link show ens4")[0]
        let flags = Set(link["flags"].list.compactMap(\.string))
        let packets = try node.ip("-d link show ens4")[0]
        return packets["gso_max_size"].int == 65536 && packets["gso_max_segs"].int == 65535
            && packets["gro_max_size"].int == 65536 && link["linkmode"].string == "DEFAULT"
            && link["group"].string == "default" && flags.contains("MULTICAST")
            && link["address"].string == mac && link["mtu"].int == 1500 && link["txqlen"].int == 1000
            && flags.contains("UP") && flags.isDisjoint(with: ["PROMISC", "ALLMULTI", "NOARP"])
            && !link["ifalias"].exists
    }

    // MARK: Devices

    @Test(
        "what comes home is the device that left, whatever the pod calls its links",
        arguments: [
            "ip link set net1 alias uplink",
            "ip link set net1 alias ''; ip link add bait type bridge; ip link set bait alias ens4",
            "ip link set net1 alias ''; ip link add bait type veth; ip link set bait alias ens4",
            "ip link set net1 down; ip link set net1 name other; ip link set other alias ''",
            "ip link set net1 down; ip link set net1 name other; ip link add net1 type veth; ip link set net1 alias ens4",
            "ip link set net1 address 02:00:00:00:00:99; ip link property add dev net1 altname ens4",
            "ip link set net1 address 02:00:00:00:00:99 mtu 1300 txqueuelen 5 promisc on allmulticast on",
            "ip link set net1 arp off multicast off; ip link set net1 group 7 gso_max_size 4096 gso_max_segs 8",
            "ip link set net1 mode dormant; ip link set net1 gro_max_size 4096",
        ])
    func device(trick: String) throws {
        for network in ["card", "tuned"] {
            try add(network)
            try node.sh(trick, pod: "a")
            let answer = try call("DEL", network)
            #expect(answer.status == 0, "\(network): \(answer.ran)")
            #expect(try node.links().contains("ens4"), "\(network)")
            #expect(try isHome(), "\(network)")
            #expect(try node.links().isDisjoint(with: ["bait", "net1", "other"]))
            try node.sh("ip link set ens4 address 02:00:00:00:00:e4")
            try node.sh("ip link del bait 2>/dev/null; ip link del net1 2>/dev/null; true", pod: "a")
        }
        try add("card")
        #expect(try call("DEL", "card").status == 0)
    }

    @Test(
        "a device that the pod moved away: DEL says so and keeps what it knows, until the device can come home"
    )
    func movedAway() throws {
        let elsewhere = try node.pod("elsewhere")
        let ipam = #""ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"10.8.0.0/24"}"#
        try node.define(
            "card",
            #"{"cniVersion":"1.0.0","type":"host-device","device":"ens4",\#(ipam)}"#
                .replacing("DIR", with: node.directory))
        try add("card")
        try node.sh("ip link set net1 netns \(node.name)-elsewhere", pod: "a")
        for _ in 1...2 {
            let answer = try call("DEL", "card")
            #expect(answer.status == 1 && answer.message.contains("ens4"), "\(answer.ran)")
            #expect(answer.json["details"].string?.contains("/run/plexus/host-device/") == true)
        }
        #expect(try !node.files("state").isEmpty)
        #expect(try leases() == ["card/10.8.0.2"])
        try Shell.sh("ip -n \(node.name)-elsewhere link set net1 netns \(node.name)-a")
        #expect(!elsewhere.isEmpty)
        #expect(try node.links(pod: "a").contains("net1"))
        #expect(try call("DEL", "card").status == 0)
        #expect(try isHome())
        #expect(try node.files("state").isEmpty)
    }

    @Test("with record and definitions lost the device still comes home")
    func lostDevice() throws {
        try add("card")
        try node.sh("ip link set net1 down; ip link set net1 name other; ip link set other alias x", pod: "a")
        try loseEverything()
        let answer = try call("DEL", "card")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isHome())
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("with record and definitions lost a tuned device is home as it was, and nothing is kept of it")
    func lostTunedDevice() throws {
        try add("tuned")
        try node.sh("ip link set net1 down; ip link set net1 name other; ip link set other alias x", pod: "a")
        try loseEverything()
        let answer = try call("DEL", "tuned")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isHome())
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try Shell.sh("ls /run/cni/tuning /run/plexus/host-device | grep \(node.name); true").isEmpty)
    }

    @Test(
        "a tuned device that is back after a DEL in vain still comes home as it was",
        arguments: [true, false])
    func tunedMovedAway(isRecorded: Bool) throws {
        _ = try node.pod("elsewhere")
        try add("tuned")
        if !isRecorded { try loseEverything() }
        try node.sh("ip link set net1 netns \(node.name)-elsewhere", pod: "a")
        #expect(try call("DEL", "tuned").status == 1)
        try Shell.sh("ip -n \(node.name)-elsewhere link set net1 netns \(node.name)-a")
        let answer = try call("DEL", "tuned")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isHome())
    }

    @Test("a device made by software that the pod moved to a namespace of its own is not given up")
    func softwareMovedAway() throws {
        try node.sh("ip link add soft link far type macvlan")
        try node.define("soft", #"{"cniVersion":"1.0.0","type":"host-device","device":"soft"}"#)
        try add("soft")
        try movingAway("net1") {
            let answer = try call("DEL", "soft")
            #expect(answer.status == 1 && answer.message.contains("device soft of the host"), "\(answer.ran)")
            try Shell.sh("nsenter --net=\($0) ip link set net1 netns \(node.name)-a")
        }
        #expect(try call("DEL", "soft").status == 0)
        #expect(try node.links().contains("soft"))
    }

    /// Moves a link of the pod's to a namespace that nothing but a process of the pod's has, and runs `body` with its path.
    private func movingAway(_ link: String, _ body: (String) throws -> Void) throws {
        let holder = try Shell.background("ip netns exec \(node.name)-a unshare -n sleep 60")
        defer { _ = try? Shell.sh("kill \(holder)") }
        let path = "/proc/\(holder)/ns/net"
        let outside = Set([
            try Shell.sh("readlink /proc/self/ns/net"), try Shell.sh("stat -Lc 'net:[%i]' \(netns)"),
        ])
        for _ in 0..<100 where try outside.contains(Shell.sh("readlink \(path)")) {
            Thread.sleep(forTimeInterval: 0.05)
        }
        try node.sh("ip link set \(link) netns \(holder)", pod: "a")
        try body(path)
    }

    @Test(
        "a restore that fails keeps the record: the next DEL finishes it on the device that is home",
        arguments: 1...8, ["ENOBUFS", "EPERM"])
    func restoreFollowsHome(k: Int, error: String) throws {
        try add("tuned")
        let config = MetaEndToEnd.config(node, networks: "tuned")
        let refusing = [
            "strace", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e",
            "inject=sendto:error=\(error):when=\(k + 3)",
        ]
        let first = try node.call(
            "DEL", id: node.name, netns: netns, args: "IgnoreUnknown=1", prefix: refusing, config)
        if first.status != 0 { #expect(try call("DEL", "tuned").status == 0) }
        #expect(try isHome(), "\(error) at call \(k)")
        #expect(try node.files("state").isEmpty)
    }

    @Test(
        "with the device's own record lost the pod's has it",
        arguments: ["alias lo", "alias cni0", "alias ''"])
    func lostDeviceRecord(trick: String) throws {
        try add("tuned")
        try Shell.sh("rm /run/plexus/host-device/\(node.name)_net1.json")
        try node.sh("ip link set net1 down; ip link set net1 name foo; ip link set foo \(trick)", pod: "a")
        let answer = try call("DEL", "tuned")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isHome())
    }

    @Test("the pod's record goes before the note beside it, which nothing protects")
    func damagedNote() throws {
        try add("tuned")
        let note = "/run/plexus/host-device/\(node.name)_net1.json"
        try Shell.sh("sed -i 's/ens4/ens5/; s/1500/1350/' \(note) /run/cni/tuning/\(node.name)_net1.json")
        let answer = try call("DEL", "tuned")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isHome())
    }

    @Test("with tuning's file lost the device still comes home as it left")
    func lostOriginals() throws {
        try add("tuned")
        try Shell.sh("rm /run/cni/tuning/\(node.name)_net1.json")
        #expect(try call("DEL", "tuned").status == 0)
        #expect(try isHome())
    }

    @Test(
        "what has no note of ours goes by the result and the configuration, not by the alias",
        arguments: ["alias ''", "alias far", "alias up1", "alias a/b"])
    func unnotedDevice(trick: String) throws {
        let keys = "\"device\":\"ens4\""
        let added = try node.plugin("ADD", "host-device", keys, id: node.name)
        try Shell.sh("rm /run/plexus/host-device/\(node.name)_eth0.json")
        try node.sh(
            "ip link set eth0 down; ip link set eth0 name other; ip link set other \(trick)", pod: "a")
        let answer = try node.plugin("DEL", "host-device", keys, previous: added, id: node.name)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links().contains("ens4") && node.links(pod: "a").isEmpty)
    }

    @Test("a device that is neither in reach nor home is kept in mind")
    func outOfReach() throws {
        let keys = "\"device\":\"ens4\""
        _ = try node.plugin("ADD", "host-device", keys, id: node.name)
        for _ in 1...2 {
            let answer = try node.plugin("DEL", "host-device", keys, id: node.name, pod: nil)
            #expect(answer.status == 1 && answer.message.contains("ens4"), "\(answer.ran)")
        }
        #expect(try node.plugin("DEL", "host-device", keys, id: node.name).status == 0)
        #expect(try isHome())
    }

    @Test("with the record lost and no path a device comes home from the namespace that the pod's links tell")
    func lostRecordAndPath() throws {
        try add("tuned")
        try Shell.sh("rm -rf \(node.directory)/state")
        let answer = try call("DEL", "tuned", pod: nil)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isHome())
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test(
        "a device that came home while DEL was killed is as it was at once: the next pod notes that",
        arguments: 1...14)
    func killedOnTheWayHome(k: Int) throws {
        try add("card")
        let killing = [
            "strace", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e",
            "inject=sendto:signal=KILL:when=\(k)",
        ]
        _ = try node.call(
            "DEL", id: node.name, netns: netns, args: "IgnoreUnknown=1", prefix: killing,
            MetaEndToEnd.config(node, networks: "card"))
        if try node.links().contains("ens4") {
            let flags = try node.ip("link show ens4")[0]["flags"].list.compactMap(\.string)
            #expect(flags.contains("UP"), "killed at call \(k)")
        }
        #expect(try call("DEL", "card").status == 0)
        #expect(try isHome(), "killed at call \(k)")
    }

    @Test(
        "an XDP program that the pod put on a device stays behind; the host's own comes back",
        arguments: ["xdpgeneric", "xdp"])
    func programs(mode: String) throws {
        // bpf(2): BPF_PROG_LOAD of an XDP program that drops all, BPF_OBJ_PIN.
        let program = """
            import ctypes, struct
            text = struct.pack('<BBhi', 0xb7, 0, 0, 1) + struct.pack('<BBhi', 0x95, 0, 0, 0)
            code, license = ctypes.create_string_buffer(text), ctypes.create_string_buffer(b'GPL')
            load = struct.pack('<IIQQ', 6, 2, ctypes.addressof(code), ctypes.addressof(license)) + bytes(112)
            libc = ctypes.CDLL(None, use_errno=True)
            fd = libc.syscall(321, 5, ctypes.create_string_buffer(load), len(load))
            assert fd >= 0, ctypes.get_errno()
            path = ctypes.create_string_buffer(b'\(node.directory)/bpf/x')
            pin = struct.pack('<QI', ctypes.addressof(path), fd) + bytes(36)
            assert libc.syscall(321, 6, ctypes.create_string_buffer(pin), len(pin)) == 0, ctypes.get_errno()
            """
        try node.write("load.py", program)
        try add("card")
        try Shell.sh(
            """
            unshare -m sh -ec 'mkdir -p \(node.directory)/bpf; mount -t bpf none \(node.directory)/bpf; python3 \(node.directory)/load.py
            nsenter --net=\(netns) ip link set dev net1 \(mode) pinned \(node.directory)/bpf/x'; rmdir \(node.directory)/bpf
            """)
        #expect(try node.ip("-d link show net1", pod: "a")[0]["xdp"].exists)
        #expect(try call("DEL", "card").status == 0)
        #expect(try isHome() && !node.ip("-d link show ens4")[0]["xdp"].exists)
    }

    @Test("a note that was left when its device came home says nothing once another pod has the device")
    func takenByTheNext() throws {
        _ = try node.pod("b")
        try add("card")
        try node.sh("ip link set net1 down; ip link set net1 name ens4", pod: "a")
        try Shell.sh("ip -n \(node.name)-a link set ens4 netns \(node.name)")
        try node.sh("ip link set ens4 up")
        try add("card", id: "\(node.name)-b", pod: "b")
        for pod in ["a", nil] {
            let answer = try call("DEL", "card", pod: pod)
            #expect(answer.status == 0, "\(answer.ran)")
        }
        #expect(try node.links(pod: "b").contains("net1"))
        #expect(try call("DEL", "card", id: "\(node.name)-b", pod: "b").status == 0)
        #expect(try isHome())
    }

    @Test(
        "under its own name too a path that is another pod's by now does not lead to that one's device",
        arguments: [true, false])
    func devicePathOfOthers(isNoted: Bool) throws {
        let keys = "\"device\":\"ens4\""
        let old = "\(node.name)-old"
        let added = try node.plugin("ADD", "host-device", keys, id: old)
        try #require(added.status == 0, "\(added.ran)")
        let note = "/run/plexus/host-device/\(old)_eth0.json"
        try Shell.sh("cp -p \(note) \(note).kept")
        #expect(try node.plugin("DEL", "host-device", keys, previous: added, id: old).status == 0)
        try Shell.sh(isNoted ? "mv \(note).kept \(note)" : "rm \(note).kept")
        let new = try node.plugin("ADD", "host-device", keys, id: node.name)
        try #require(new.status == 0, "\(new.ran)")
        let stale = try node.plugin("DEL", "host-device", keys, previous: added, id: old)
        #expect(stale.status == 0, "\(stale.ran)")
        #expect(try node.links(pod: "a").contains("eth0"))
        #expect(try node.plugin("DEL", "host-device", keys, previous: new, id: node.name).status == 0)
        #expect(try isHome())
    }

    @Test(
        "a device may be named by an alternative name, and comes home under its own",
        arguments: [true, false])
    func alternativeName(isNoted: Bool) throws {
        try node.sh("ip link property add dev ens4 altname slot4")
        let keys = "\"device\":\"slot4\""
        let added = try node.plugin("ADD", "host-device", keys, id: node.name)
        try #require(added.status == 0, "\(added.ran)")
        if !isNoted { try Shell.sh("rm /run/plexus/host-device/\(node.name)_eth0.json") }
        let answer = try node.plugin("DEL", "host-device", keys, previous: added, id: node.name)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links().contains("ens4") && node.links(pod: "a").isEmpty)
    }

    @Test("the pod's name as an alternative name of the device is named as what is in the way")
    func ownAlternativeName() throws {
        try node.sh("ip link property add dev ens4 altname eth0")
        let answer = try node.plugin("ADD", "host-device", "\"device\":\"ens4\"")
        #expect(
            answer.message.contains("failed to move link ens4 and call it eth0")
                && answer.message.contains("alternative name of ens4 itself"), "\(answer.ran)")
        #expect(try isHome())
    }

    @Test("notes of containers whose IDs and interfaces read alike are told apart")
    func alikeNotes() throws {
        _ = try node.pod("b")
        try node.sh(
            "ip link add ens5 address 02:00:00:00:00:e5 type veth peer name far5 && ip link set ens5 up")
        let (first, second) = (node.name, "\(node.name)_x")
        for (id, pod, device, interface) in [(first, "a", "ens4", "x_net1"), (second, "b", "ens5", "net1")] {
            let keys = "\"device\":\"\(device)\""
            #expect(
                try node.plugin("ADD", "host-device", keys, id: id, pod: pod, interface: interface).status
                    == 0)
        }
        let keys = "\"device\":\"ens4\""
        #expect(try node.plugin("DEL", "host-device", keys, id: first, interface: "x_net1").status == 0)
        #expect(try isHome() && node.links(pod: "b").contains("net1"))
        let other = "\"device\":\"ens5\""
        #expect(
            try node.plugin("DEL", "host-device", other, id: second, pod: "b", interface: "net1").status == 0)
        #expect(try node.links().contains("ens5"))
    }

    @Test(
        "hundreds of alternative names, on the link or on another one, hide nothing",
        arguments: ["vlan", "card"], ["net1", "bait"])
    func manyNames(network: String, link: String) throws {
        try add("\(network),net-a")
        if link == "bait" { try node.sh("ip link add bait type bridge", pod: "a") }
        try node.write(
            "names",
            (0..<600).map {
                "link property add dev \(link) altname x\(String(repeating: "y", count: 100))\($0)"
            }.joined(separator: "\n"))
        // The kernel takes some 500.
        try node.sh("ip -force -batch \(node.directory)/names 2>/dev/null; true", pod: "a")
        let answer = try call("DEL", "\(network),net-a")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").subtracting(["bait"]).isEmpty && leases().isEmpty)
        #expect(try isHome())
    }

    // MARK: Links

    @Test(
        "a link that the pod renamed goes all the same, before its address is free",
        arguments: ["vlan", "net-a"])
    func renamed(network: String) throws {
        try add(network)
        try node.sh(
            "ip link set net1 down; ip link set net1 name foo; ip link set eth0 down; ip link set eth0 name bar",
            pod: "a")
        let answer = try call("DEL", network)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try leases().isEmpty)
    }

    @Test("links whose names the pod exchanged")
    func exchanged() throws {
        try add("vlan,net-a")
        try node.sh(
            """
            ip link set net1 down; ip link set net2 down; ip link set net1 name x
            ip link set net2 name net1; ip link set x name net2
            """, pod: "a")
        #expect(try call("DEL", "vlan,net-a").status == 0)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try leases().isEmpty)
    }

    @Test("a link that the pod moved to a namespace of its own goes before its address is free")
    func linkMovedAway() throws {
        try add("vlan")
        try movingAway("net1") {
            let answer = try call("DEL", "vlan")
            #expect(answer.status == 0, "\(answer.ran)")
            #expect(try !Shell.sh("nsenter --net=\($0) ip -br link").contains("net1"))
            #expect(try leases().isEmpty)
        }
    }

    @Test(
        "under a plugin's own name the result of ADD tells which link it is",
        arguments: [
            ("macvlan", ""), ("macvlan", "ip link add eth0 type bridge"),
            ("macvlan", "ip link set other address 02:00:00:00:00:77"), ("bridge", ""),
        ] + (Feature.ipvlan ? [("ipvlan", ""), ("ipvlan", "ip link add eth0 type bridge")] : []))
    func renamedUnderOwnName(plugin: String, trick: String) throws {
        let keys = Node.ipam("10.7.0.0/24") + (plugin == "bridge" ? "" : ",\"master\":\"far\"")
        let first = try node.plugin("ADD", plugin, keys)
        let second = try node.plugin("ADD", plugin, keys, interface: "eth1")
        try #require(first.status == 0 && second.status == 0, "\(first.ran) \(second.ran)")
        try node.sh("ip link set eth0 down; ip link set eth0 name other; \(trick)", pod: "a")
        let answer = try node.plugin("DEL", plugin, keys, previous: first)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").subtracting(["eth0"]) == ["eth1"])
        #expect(try node.leases() == ["10.7.0.3"])
        #expect(try node.plugin("DEL", plugin, keys, previous: second, interface: "eth1").status == 0)
        #expect(try node.leases().isEmpty)
    }

    @Test("under its own name tuning finds the link that the pod renamed")
    func tunedUnderOwnName() throws {
        let card = try node.plugin("ADD", "host-device", "\"device\":\"ens4\"")
        let keys = "\"mac\":\"02:00:00:00:00:ab\",\"mtu\":1400"
        let tuned = try node.plugin("ADD", "tuning", keys, previous: card)
        try #require(tuned.status == 0, "\(tuned.ran)")
        try node.sh("ip link set eth0 down; ip link set eth0 name other", pod: "a")
        for plugin in ["tuning", "host-device"] {
            let answer = try node.plugin(
                "DEL", plugin, plugin == "tuning" ? keys : "\"device\":\"ens4\"", previous: tuned)
            #expect(answer.status == 0, "\(answer.ran)")
        }
        #expect(try isHome())
    }

    @Test(
        "with record, definitions and the runtime's result lost, the links tell whose they are",
        arguments: ["path", "no path", "GC"])
    func lostEverything(way: String) throws {
        try add("vlan,net-a")
        try node.sh("ip link set net1 down; ip link set net1 name foo", pod: "a")
        try Shell.sh("rm -rf \(node.directory)/cache")
        if way == "GC" {
            try Shell.sh(
                "find \(node.directory)/state -name '\(node.name)*' ! -name '*lock*' -exec truncate -s 3 {} +"
            )
        } else {
            try Shell.sh("rm -rf \(node.directory)/state")
        }
        let answer = way == "GC" ? try collect([]) : try call("DEL", nil, pod: way == "path" ? "a" : nil)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try leases().isEmpty)
    }

    @Test("GC of one configuration spares another's pod that has nothing but macvlans, with all records lost")
    func lostMacvlans() throws {
        let below =
            #"{"cniVersion":"1.1.0","name":"m","type":"macvlan","master":"far","ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"10.31.0.0/24"}}"#
        func config(_ name: String, _ extra: String) -> String {
            """
            {"cniVersion":"1.1.0","name":"\(name)","type":"plexus","cniDir":"\(node.directory)/state",\
            "cacheDir":"\(node.directory)/cache","delegates":[\(below.replacing("DIR", with: node.directory))]\(extra)}
            """
        }
        let added = try node.call("ADD", id: node.name, netns: netns, config("other", ""))
        try #require(added.status == 0, "\(added.ran)")
        try Shell.sh("rm -rf \(node.directory)/state")
        let answer = try node.call(
            "GC", id: "", netns: "", config("own", ",\"cni.dev/valid-attachments\":[]"))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try leases() == ["m/10.31.0.2"])
    }

    // MARK: Namespaces

    @Test("a namespace that is mounted elsewhere by now", arguments: [true, false])
    func mountedElsewhere(isRecorded: Bool) throws {
        try add("vlan,card")
        if !isRecorded { try Shell.sh("rm -rf \(node.directory)/state") }
        try Shell.sh(
            "touch /run/netns/\(node.name)-z; mount --bind \(netns) /run/netns/\(node.name)-z; ip netns del \(node.name)-a"
        )
        let answer = try call("DEL", "vlan,card")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "z").isEmpty)
        #expect(try leases().isEmpty)
        #expect(try isHome())
    }

    @Test("DEL without CNI_NETNS finds the namespace that ADD got, while it lives")
    func withoutPath() throws {
        try add("vlan")
        let answer = try call("DEL", "vlan", pod: nil)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try leases().isEmpty)
    }

    @Test(
        "with the record lost too, the result that the runtime kept tells the namespace",
        arguments: [true, false])
    func withoutPathAndRecord(isDefined: Bool) throws {
        let added = try call("ADD", "vlan")
        try #require(added.status == 0, "\(added.ran)")
        try Shell.sh("rm -rf \(node.directory)/state")
        if !isDefined { try Shell.sh("rm -rf \(node.directory)/cache") }
        let config = MetaEndToEnd.config(node, networks: "vlan", extra: ",\"prevResult\":\(added.ran.output)")
        let answer = try node.call("DEL", id: node.name, netns: "", args: "IgnoreUnknown=1", config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && leases().isEmpty)
    }

    @Test(
        "under its own name without CNI_NETNS a plugin goes by the result's namespace, if what ADD made is in it",
        arguments: ["macvlan", "host-device"])
    func withoutPathUnderOwnName(plugin: String) throws {
        let keys =
            Node.ipam("10.7.0.0/24") + (plugin == "macvlan" ? #","master":"far""# : #","device":"ens4""#)
        let added = try node.plugin("ADD", plugin, keys, id: node.name)
        try #require(added.status == 0, "\(added.ran)")
        let answer = try node.plugin("DEL", plugin, keys, previous: added, id: node.name, pod: nil)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && node.leases().isEmpty)
        #expect(try isHome())
    }

    @Test(
        "with the record lost a link goes by its address, when the pod has changed all that it can be known by",
        arguments: [true, false])
    func disguised(isDefined: Bool) throws {
        try add("vlan")
        try node.sh(
            "ip link set net1 down; ip link set net1 name foo address 02:00:00:00:00:99; ip link set foo up",
            pod: "a")
        try Shell.sh("rm -rf \(node.directory)/state")
        if !isDefined { try node.define("other", "{\"type\":\"tuning\"}") }
        let answer = try call("DEL", isDefined ? "vlan" : nil)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && leases().isEmpty)
    }

    @Test(
        "a path that leads to another namespace by now is somebody else's", arguments: ["GC", "DEL", "ADD"])
    func reusedPath(verb: String) throws {
        try add("vlan", id: "old")
        try node.removePod("a")
        _ = try node.pod("a")
        try add("vlan", id: "new")
        let before = try (node.links(pod: "a"), node.addresses("net1", pod: "a"))
        switch verb {
        case "GC": #expect(try collect(["new"]).status == 0)
        case "DEL": #expect(try call("DEL", "vlan", id: "old").status == 0)
        default:
            // A container that starts anew, with a namespace of its own.
            _ = try node.pod("b")
            try add("vlan", id: "old", pod: "b")
            #expect(try call("DEL", "vlan", id: "old", pod: "b").status == 0)
        }
        #expect(try node.links(pod: "a") == before.0 && node.addresses("net1", pod: "a") == before.1)
        #expect(try call("CHECK", "vlan", id: "new").status == 0)
        #expect(try leases().count == 2)
    }

    @Test("a path that is another container's namespace is not touched for one of which nothing is known")
    func pathOfOthers() throws {
        try add("vlan,card", id: "new")
        let before = try node.links(pod: "a")
        let answer = try call("DEL", "vlan,card", id: "nobody")
        #expect(
            answer.status == 0 && answer.ran.errors.contains("namespace of container new"), "\(answer.ran)")
        #expect(try node.links(pod: "a") == before && leases().count == 2)
        #expect(try call("CHECK", "vlan,card", id: "new").status == 0)
        #expect(try call("DEL", "vlan,card", id: "new").status == 0)
        #expect(try isHome())
    }

    @Test("a namespace whose path went and that a process still holds")
    func heldNamespace() throws {
        try add("vlan,card")
        let holder = try Shell.background("ip netns exec \(node.name)-a sleep 60")
        defer { _ = try? Shell.sh("kill \(holder)") }
        let inside = "nsenter --net=/proc/\(holder)/ns/net ip -br link | cut -d' ' -f1"
        for _ in 0..<100 where try !Shell.sh(inside).contains("net1") { Thread.sleep(forTimeInterval: 0.05) }
        try node.removePod("a")
        let answer = try call("DEL", "vlan,card")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try Shell.sh(inside).trimmingCharacters(in: .whitespacesAndNewlines) == "lo")
        #expect(try isHome() && leases().isEmpty)
    }

    @Test("CHECK of a namespace that took the path of the one that was attached")
    func checkedElsewhere() throws {
        try add("vlan")
        try node.removePod("a")
        _ = try node.pod("a")
        let answer = try call("CHECK", "vlan")
        #expect(answer.status == 1 && answer.message.contains("is not the namespace"), "\(answer.ran)")
    }

    // MARK: Networks beside each other

    private let masquerading = #","ipMasq":true,"macspoofchk":true"#

    @Test(
        "GC of one configuration leaves another's pods alone, also those whose record is damaged",
        arguments: [false, true])
    func neighbours(isDamaged: Bool) throws {
        _ = try node.pod("b")
        try add(id: "a", name: "k8s", delegate: masquerading)
        try add(id: "b", pod: "b", name: "podman", delegate: masquerading)
        if isDamaged {
            try Shell.sh("sed -i 's/bridge/brigde/' \(node.directory)/state/attachments/b@eth0.json")
        }
        let before = try (node.links(pod: "b"), node.sh("nft list ruleset"), leases())
        #expect(try collect(["a"], name: "k8s", delegate: masquerading).status == 0)
        #expect(try node.links(pod: "b") == before.0)
        #expect(try node.sh("nft list ruleset") == before.1)
        #expect(try leases() == before.2)
        #expect(try collect([], name: "k8s", delegate: masquerading).status == 0)
        #expect(try node.links(pod: "a").isEmpty && node.links(pod: "b") == before.0)
        #expect(try leases().count == 2)
        if !isDamaged { #expect(try call("CHECK", id: "b", pod: "b", name: "podman").status == 0) }
        let deleted = try call("DEL", id: "b", pod: "b", name: "podman", delegate: masquerading)
        #expect(deleted.status == 0, "\(deleted.ran)")
        #expect(try node.links(pod: "b").isEmpty && leases().isEmpty)
        #expect(try !node.sh("nft list ruleset").contains("masquerade comment"))
    }

    @Test("with all records lost, GC of one configuration frees no address of another's living pods")
    func neighboursLost() throws {
        _ = try node.pod("b")
        try add("vlan", id: "a", name: "k8s")
        try add("vlan", id: "b", pod: "b", name: "podman")
        try Shell.sh("rm -rf \(node.directory)/state")
        let before = try leases()
        #expect(try collect(["a"], name: "k8s").status == 0)
        #expect(try leases() == before && node.links(pod: "b") == ["eth0", "net1"])
    }

    @Test(
        "half an entry of the living makes nobody dead",
        arguments: ["[null]", #"[{"containerID":"a"}]"#, #"[{"ifname":"eth0"}]"#, #"["a"]"#])
    func halfAnEntry(list: String) throws {
        try add(id: "a")
        let answer = try call(
            "GC", nil, id: "", pod: nil, version: "1.1.0", extra: ",\"cni.dev/valid-attachments\":\(list)")
        #expect(answer.status == 1 && answer.code == 7, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
    }

    // MARK: Records

    @Test(
        "a record with a flipped bit counts as lost",
        arguments: ["\"bridge\"", "\"sandbox\"", "192.168.12.10", "\"version\":2", "\"given\""])
    func flipped(word: String) throws {
        try add()
        let file = "\(node.directory)/state/attachments/\(node.name)@eth0.json"
        let text = try Shell.sh("cat \(file)")
        #expect(text.contains(word))
        let damaged = word.replacing("i", with: "j").replacing("2", with: "3").replacing("x", with: "y")
        try node.write("state/attachments/\(node.name)@eth0.json", text.replacing(word, with: damaged))
        let answer = try call("DEL")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("unusable"))
        #expect(try node.links(pod: "a").isEmpty && leases().isEmpty && node.files("state").isEmpty)
    }

    @Test("a record whose last line lacks its end is that of an ADD that was interrupted")
    func cutShort() throws {
        try add()
        let file = "\(node.directory)/state/attachments/\(node.name)@eth0.json"
        #expect(try Shell.sh("cat \(file)").split(separator: "\n").count == 2)
        try Shell.sh("truncate -s -1 \(file)")
        let checked = try call("CHECK")
        #expect(checked.message.contains("its ADD was interrupted"), "\(checked.ran)")
        let answer = try call("DEL")
        #expect(answer.status == 0 && !answer.ran.errors.contains("unusable"), "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && leases().isEmpty && node.files("state").isEmpty)
    }

    enum Loss: String, CaseIterable { case record, damage, directory }

    @Test("a container whose record was lost gets no second addresses", arguments: Loss.allCases, [1, 2])
    func lostRecord(loss: Loss, pods: Int) throws {
        let ids = (0..<pods).map { "\(node.name)-\($0)" }
        for (index, id) in ids.enumerated() {
            if index > 0 { _ = try node.pod("p\(index)") }
            try add(id: id, pod: index == 0 ? "a" : "p\(index)")
        }
        switch loss {
        case .record: try Shell.sh("rm \(node.directory)/state/attachments/*.json")
        case .damage:
            try Shell.sh("for f in \(node.directory)/state/attachments/*.json; do echo '{}' > $f; done")
        case .directory: try Shell.sh("rm -rf \(node.directory)/state")
        }
        for (index, id) in ids.enumerated() {
            let pod = index == 0 ? "a" : "p\(index)"
            try node.removePod(pod)
            _ = try node.pod(pod)
            try add(id: id, pod: pod)
        }
        #expect(try leases().count == 2 * pods)
        for (index, id) in ids.enumerated() {
            #expect(try call("DEL", id: id, pod: index == 0 ? "a" : "p\(index)").status == 0)
        }
        #expect(try leases().isEmpty)
    }

    @Test("a container whose record was lost, and whose links are there, is attached already")
    func lostRecordOfTheLiving() throws {
        try add()
        try Shell.sh("rm \(node.directory)/state/attachments/*.json")
        let answer = try call("ADD")
        #expect(answer.status == 1 && answer.message.contains("attached already"), "\(answer.ran)")
        #expect(try leases().count == 2 && node.links(pod: "a") == ["eth0", "net1"])
        #expect(try call("DEL").status == 0)
        #expect(try leases().isEmpty && node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    @Test(
        "GC spares the address of a pod that another program attached to a network that the cache has as well"
    )
    func addressOfOthers() throws {
        try node.define(
            "net",
            #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b9",\#(Node.ipam("10.7.0.0/24"))}"#.replacing(
                "DIR", with: node.directory))
        let keys = "\"device\":\"ens4\",\(Node.ipam("10.7.0.0/24"))"
        let added = try node.plugin("ADD", "host-device", keys, id: node.name)
        try #require(added.status == 0, "\(added.ran)")
        let held = try node.leases()
        let answer = try collect([])
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try !held.isEmpty && node.leases() == held)
        #expect(try node.plugin("DEL", "host-device", keys, previous: added, id: node.name).status == 0)
        #expect(try node.leases().isEmpty)
    }

    @Test(
        "a plugin that refuses its own configuration keeps neither its pod nor GC; after some minutes no refusal does",
        arguments: [7, 999])
    func refusedByPlugin(code: Int) throws {
        try node.script(
            "picky", "echo '{\"cniVersion\":\"1.0.0\",\"code\":\(code),\"msg\":\"no such rate\"}'; exit 1")
        try node.define(
            "picky",
            #"{"cniVersion":"1.0.0","plugins":[{"type":"macvlan","master":"far"},{"type":"picky","rate":"1M"}]}"#
        )
        for verb in ["DEL", "GC", "ADD"] {
            let failed = try call("ADD", "picky")
            #expect(failed.status == 1 && failed.message.contains("no such rate"), "\(failed.ran)")
            if code != 7 {
                #expect(
                    try call("DEL", "picky").message.contains("no such rate"), "it may work the next time")
                try age(seconds: 301)
            }
            let answer = verb == "GC" ? try collect([]) : try call(verb, verb == "ADD" ? "net-a" : "picky")
            #expect(answer.status == 0, "\(verb): \(answer.ran)")
            #expect(answer.ran.errors.contains("whose ADD failed: no such rate"), "\(answer.ran)")
        }
        #expect(try call("DEL", "net-a").status == 0)
        #expect(try node.files("state").isEmpty && node.links(pod: "a").isEmpty)
    }

    /// Makes the refusal in the pod's record older.
    private func age(seconds: Int) throws {
        try Shell.sh(
            """
            python3 - \(node.directory)/state/attachments/\(node.name)@eth0.json <<'END'
            import json, sys
            lines = open(sys.argv[1]).read().splitlines()
            def seal(text):
                body, hash = text[text.index('",') + 2:], 0xcbf29ce484222325
                for byte in body.encode(): hash = (hash ^ byte) * 0x100000001b3 % 2**64
                return '{"sum":"%016x",%s' % (hash, body)
            import re
            lines = [seal(re.sub(r'("time": ?)(\\d+)', lambda m: m[1] + str(int(m[2]) - \(seconds)), line)) for line in lines]
            open(sys.argv[1], "w").write("".join(line + "\\n" for line in lines))
            END
            """)
    }

    @Test("an external IPAM plugin that gave an address has to take it back, however the ADD ended")
    func undoneLater() throws {
        try node.script(
            "xi",
            """
            if [ $CNI_COMMAND = ADD ]; then echo '{"cniVersion":"1.0.0","ips":[{"address":"10.82.0.9/24"}]}'; exit; fi
            [ -e \(node.directory)/answers ] || { echo '{"code":11,"msg":"API server: connection refused"}'; exit 1; }
            """)
        try node.define(
            "xi",
            #"""
            {"cniVersion":"1.0.0","plugins":[{"type":"macvlan","master":"far","ipam":{"type":"xi"}},
             {"type":"route-override","addroutes":[{"dst":"10.1.0.0/16","gw":"10.99.0.1"}]}]}
            """#)
        #expect(try call("ADD", "xi").status == 1)
        for _ in 1...2 {
            let answer = try call("DEL", "xi")
            #expect(answer.status == 1 && answer.message.contains("connection refused"), "\(answer.ran)")
        }
        try node.write("answers", "")
        #expect(try call("DEL", "xi").status == 0)
        #expect(try node.files("state").isEmpty)
    }

    // MARK: Rules

    @Test("with everything lost a rule goes that an annotation's interface name is in")
    func lostRuleOfANamedInterface() throws {
        try node.define(
            "masked",
            """
            {"cniVersion":"1.0.0","type":"bridge","bridge":"br-m","isGateway":true,"ipMasq":true,\
            "ipam":{"type":"host-local","dataDir":"\(node.directory)/ipam","subnet":"10.9.0.0/24"}}
            """)
        try add("masked@data0")
        #expect(try node.sh("nft list ruleset").contains("if: data0"))
        try loseEverything()
        #expect(try call("DEL", nil).status == 0)
        #expect(try !node.sh("nft list ruleset").contains("if: data0"))
    }

    @Test("spoof checks of interfaces and containers whose names read alike are told apart")
    func alikeChecks() throws {
        _ = try node.pod("b")
        try node.define(
            "guarded",
            """
            {"cniVersion":"1.0.0","type":"bridge","bridge":"br-g","isGateway":true,"macspoofchk":true,\
            "ipam":{"type":"host-local","dataDir":"\(node.directory)/ipam","subnet":"10.9.0.0/24"}}
            """)
        let alike =
            #"[{"name":"guarded"},{"name":"guarded","interface":"net1-mac"},{"name":"guarded","interface":"x-net1"}]"#
        try add(alike)
        func count(_ name: String) throws -> Int {
            try node.sh("nft list ruleset").components(separatedBy: "comment \"macspoofchk-\(name)\"").count
                - 1
        }
        #expect(try count("\(node.name)-net1") == 4 && count("\(node.name)-net1-/6dac") == 4)
        // That one has the name of another container's.
        let taken = try call("ADD", "guarded", id: "\(node.name)-x", pod: "b")
        #expect(
            taken.status == 1 && taken.message.contains("container ID and interface of both read alike"),
            "\(taken.ran)")
        #expect(try count("\(node.name)-x-net1") == 4)
        for interface in ["net1", "net1-mac", "x-net1"] {
            try node.sh("ping -c 1 -w 10 -I \(interface) 10.9.0.1", pod: "a")
        }
        #expect(try call("DEL", "guarded", id: "\(node.name)-x", pod: "b").status == 0)
        #expect(try count("\(node.name)-x-net1") == 4)
        let answer = try call("DEL", alike)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try !node.sh("nft list ruleset").contains("macspoofchk"))
    }

    private var rules: String {
        get throws { try node.sh("nft list ruleset; iptables-save -t nat; ip6tables-save -t nat") }
    }

    @Test(
        "rules go by the container that they name, with record and definitions lost",
        arguments: ["DEL", "GC"], ["nftables", "iptables"])
    func lostRules(verb: String, backend: String) throws {
        let guarded = """
            {"cniVersion":"1.0.0","type":"bridge","bridge":"br-g","isGateway":true,"ipMasq":true,"ipMasqBackend":"\(backend)",\
            "macspoofchk":true,"ipam":{"type":"host-local","dataDir":"\(node.directory)/ipam","subnet":"10.9.0.0/24"}}
            """
        try node.define("guarded", guarded)
        _ = try node.pod("b")
        try add("guarded", id: node.name)
        try add("guarded", id: "\(node.name)-x", pod: "b")
        let other = try rules.split(separator: "\n").count { $0.contains("\(node.name)-x") }
        try loseEverything()
        if verb == "DEL" {
            let answer = try call("DEL", nil)
            #expect(answer.status == 0, "\(answer.ran)")
        } else {
            try node.removePod("a")
            _ = try node.pod("a")
            for _ in 0..<100 where try node.links().count(where: { $0.hasPrefix("veth") }) > 2 {
                Thread.sleep(forTimeInterval: 0.05)
            }
            // The living one's record is lost as well: the runtime names its first interface alone.
            #expect(try collect(["\(node.name)-x"]).status == 0)
        }
        let left = try rules.replacing("\(node.name)-x", with: "NEIGHBOUR")
        // A collection does not know whose rules of the iptables programs are.
        if verb == "DEL" || backend == "nftables" { #expect(!left.contains(node.name), "\(left)") }
        #expect(left.split(separator: "\n").count { $0.contains("NEIGHBOUR") } == other)
    }
}
