import Support
import Testing

/// `plexus repair`: what the host loses of pods that run, one thing at a time.
@Suite struct RepairRows {
    private let node: Node

    init() throws {
        node = try MetaEndToEnd.node()
        _ = try node.pod("a")
        try node.sh(Self.uplink)
        try node.sh("ip link add nic0 address 02:00:00:00:00:09 type veth peer nic1")
        // Addresses are there at once, as looks are compared.
        for pod in [nil, "a"] {
            try node.sh(
                "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0", pod: pod)
        }
        try define(
            "vlan",
            #"{"plugins":[{"type":"macvlan","master":"up0",IPAM13},{"type":"tuning","mtu":1400,"sysctl":{"net.core.somaxconn":"77"}},{"type":"route-override","flushroutes":true,"addroutes":[{"dst":"172.16.0.0/12","gw":"192.168.13.1"}]}]}"#
        )
        try define(
            "guard",
            #"{"type":"bridge","bridge":"br-g","isGateway":true,"ipMasq":true,"macspoofchk":true,"hairpinMode":true,"portIsolation":true,IPAM14}"#
        )
        try define("card", #"{"type":"host-device","device":"nic0",IPAM15}"#)
    }

    private static let uplink =
        "ip link add up0 address 02:00:00:00:00:07 type veth peer up1; ip link set up0 up; ip link set up1 up"

    private func define(_ name: String, _ config: String) throws {
        var config = config.replacing("{\"", with: "{\"cniVersion\":\"1.0.0\",\"", maxReplacements: 1)
        for net in 13...18 {
            config = config.replacing(
                "IPAM\(net)", with: Node.ipam("192.168.\(net).0/24", "fd00:\(net)::/64"))
        }
        try node.define(name, config.replacing("DIR", with: node.directory))
    }

    private func add(_ networks: String, id: String = "c1") throws {
        let config = MetaEndToEnd.config(node, networks: networks, delegate: ",\"ipMasq\":true")
        try node.write("conf.json", config)
        let answer = try node.call(
            "ADD", id: id, netns: "/run/netns/\(node.name)-a", args: StatusRows.args(), config)
        try #require(answer.status == 0, "\(answer.ran)")
        // An IPv6 address of the kernel's own appears some time after the carrier.
        try Shell.sh("sleep 1.2")
    }

    private func call(_ verb: String) throws -> Answer {
        try node.call(
            verb, netns: "/run/netns/\(node.name)-a", args: StatusRows.args(),
            Shell.sh("cat \(node.directory)/conf.json"))
    }

    private func repair(_ words: String...) throws -> Ran {
        try Shell.run(
            ["ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "repair"] + words
                + ["--config", "\(node.directory)/conf.json"])
    }

    /// What pod and host have, without what the kernel numbers anew.
    private func look() throws -> Set<String> {
        let words = #"s/^[0-9]*: //; s/@if[0-9]*//; s/link-netnsid [0-9]*//; s/ qlen [0-9]*//;"#
        let bridge =
            #" s/[a-z_]*timer *[0-9.]*//g; s/(bridge_id|root_id|port_id|port_no|designated_[a-z]*) [^ ]*//g"#
        let clean = "| sed -E '\(words)\(bridge)'"
        let pod = try node.sh(
            "(ip -o addr; ip route; ip -6 route; ip -o link; sysctl net.core.somaxconn) \(clean)", pod: "a")
        let host = try node.sh(
            "(ip -o addr | grep -v ' fe80'; ip -d -o link; nft -s list ruleset; sysctl net.ipv4.ip_forward) \(clean)"
        )
        let lines = (pod + host).split(separator: "\n").map(String.init)
        let files = try node.files("ipam").filter { !$0.contains("last_reserved") }
        return files.union(lines.filter { !$0.hasPrefix("up") && !$0.hasPrefix("nic") })
    }

    private static let losses: [(name: String, break: String, words: [String])] = [
        ("the link below", "ip link del up0; " + uplink, ["interface net1"]),
        ("a bridge", "ip link del br-g", ["bridge br-g", "port veth", "address 192.168.14.1/24 of br-g"]),
        (
            "the default network's bridge", "ip link del cni0",
            ["bridge cni0", "address 10.244.0.1/24 of cni0"]
        ),
        (
            "all rules", "nft flush ruleset",
            ["masquerade of 10.244.0.2", "MAC spoof check of veth", "masquerade of 192.168.14.2, fd00:14::2"]
        ),
        ("a gateway's address", "ip addr del 10.244.0.1/24 dev cni0", ["address 10.244.0.1/24 of cni0"]),
        ("a bridge that is down", "ip link set br-g down", ["bridge br-g, which is down"]),
        (
            "the host's end", "ip link del $(ip -o link show master br-g | cut -d' ' -f2 | cut -d@ -f1)",
            ["interface net2"]
        ),
        (
            "the port of the default network",
            "ip link del $(ip -o link show master cni0 | cut -d' ' -f2 | cut -d@ -f1)", ["interface eth0"]
        ),
        ("forwarding", "sysctl -qw net.ipv4.ip_forward=0", ["sysctl net.ipv4.ip_forward=1"]),
        (
            "a port that is none",
            "ip link set $(ip -o link show master br-g | cut -d' ' -f2 | cut -d@ -f1) nomaster", ["port veth"]
        ),
        (
            "the leases", "rm -r DIR/ipam",
            ["lease of 10.244.0.2", "lease of fd00:13::2", "lease of 192.168.14.2"]
        ),
        (
            "a device", "ip link del nic1; ip link add nic0 address 02:00:00:00:00:09 type veth peer nic1",
            ["interface net3"]
        ),
        (
            "hairpin and isolation",
            "bridge link set dev $(ip -o link show master br-g | cut -d' ' -f2 | cut -d@ -f1) hairpin off isolated off",
            ["hairpin and isolation of veth"]
        ),
        (
            "the way to masquerading", "nft flush chain inet cni_plugins_masquerade postrouting",
            ["masquerade of 10.244.0.2"]
        ),
        ("the way to a spoof check", "nft flush chain bridge nat PREROUTING", ["MAC spoof check of veth"]),
        (
            "a spoof check's chain", "nft flush chain bridge nat cni-br-iface-c1-net2-mac",
            ["MAC spoof check of veth"]
        ),
        (
            "everything",
            "ip link del up0; \(uplink); ip link del br-g; ip link del cni0; nft flush ruleset; rm -r DIR/ipam",
            ["interface net1", "bridge br-g", "bridge cni0", "masquerade", "lease"]
        ),
    ]

    @Test(
        "is made again as it was: names, MAC addresses, addresses, routes, rules", arguments: losses.indices)
    func made(index: Int) throws {
        let loss = Self.losses[index]
        try add("vlan,guard,card")
        let whole = try repair()
        #expect(whole.status == 0 && whole.output == "4 looked at, 0 had lost something\n", "\(whole)")
        let before = try look()
        let status = try Shell.sh("cat \(node.directory)/state/status/*")
        try node.sh(loss.break.replacing("DIR", with: node.directory))
        try Shell.sh("sleep 1.2")
        let broken = try look()
        #expect(broken != before, "\(loss.name)")
        let dry = try repair("--dry-run")
        #expect(dry.status == 2 && loss.words.allSatisfy(dry.output.contains), "\(dry)")
        #expect(try look() == broken)
        let ran = try repair("pod-a")
        #expect(ran.status == 0 && loss.words.allSatisfy(ran.output.contains), "\(loss.name): \(ran)")
        try Shell.sh("sleep 1.2")
        let after = try look()
        #expect(
            after == before,
            "\(loss.name): +\(after.subtracting(before)) -\(before.subtracting(after))"
        )
        #expect(try repair().output == "4 looked at, 0 had lost something\n")
        #expect(try Shell.sh("cat \(node.directory)/state/status/*") == status)
        let check = try call("CHECK")
        #expect(check.status == 0, "\(loss.name): \(check.ran)")
        #expect(try call("DEL").status == 0)
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
        #expect(
            try node.links().contains("nic0") && node.files("ipam").filter { $0.contains("/192.") }.isEmpty)
        #expect(try !node.sh("nft list ruleset").contains("masquerade comment"))
    }

    @Test("what the pod changed itself is the pod's, and a link is known under any name")
    func podsOwn() throws {
        try add("vlan,guard")
        try node.sh(
            "ip route del 172.16.0.0/12; ip link set net2 down; ip link set net2 name mine; ip link set mine up; ip addr flush dev net1",
            pod: "a")
        let before = try look()
        let ran = try repair()
        #expect(ran.status == 0 && ran.output == "3 looked at, 0 had lost something\n", "\(ran)")
        #expect(try look() == before)
        try node.sh("ip link del br-g")
        let more = try repair()
        #expect(more.status == 0 && more.output.contains("port veth"), "\(more)")
        #expect(try node.ip("link show master br-g").list.count == 1)
        #expect(try node.links(pod: "a") == ["eth0", "net1", "mine"])
    }

    @Test("a link of another kind that has the bridge's name by now is said, whatever else is there")
    func anotherKind() throws {
        try add("guard")
        try node.sh("ip link del cni0; ip link add cni0 type veth peer name other")
        let before = try look()
        let ran = try repair()
        #expect(
            ran.status == 1 && ran.errors.contains("\"cni0\" already exists but is not a bridge"), "\(ran)")
        #expect(try look() == before)
        try node.sh("ip link del cni0")
        #expect(try repair().status == 0)
        #expect(try call("CHECK").status == 0)
    }

    @Test("the default route comes back to the network that had it")
    func defaultRoute() throws {
        try add(#"[{"name":"guard","default-route":["192.168.14.1"]}]"#)
        let before = try look()
        try node.sh("ip link del br-g; ip link del cni0")
        try node.sh("ip link del net1", pod: "a")
        try node.sh("ip link del eth0", pod: "a")
        let ran = try repair()
        #expect(ran.status == 0, "\(ran)")
        try Shell.sh("sleep 1.2")
        let after = try look()
        #expect(
            after == before,
            "+\(after.subtracting(before)) -\(before.subtracting(after))")
        #expect(try node.sh("ip route show default", pod: "a").contains("via 192.168.14.1 dev net1"))
    }

    @Test("what cannot be made again is said, changes nothing, and stops nothing else")
    func refused() throws {
        try add("vlan,guard")
        try node.sh("ip link del up0; ip link del br-g")
        let ran = try repair("-o", "json")
        #expect(ran.status == 1, "\(ran)")
        let found = try Tree(parsing: ran.output)["attachments"].list
        #expect(found.map { $0["state"].string } == ["whole", "failed", "made again"])
        #expect(
            found[1]["problem"].string
                == "default/vlan on net1: macvlan: failed to lookup master \"up0\": Link not found")
        #expect(
            found[1]["details"].string?.contains(
                "the link below, up0, is not in the host (any more): repair it when that is back; configured in"
            )
                == true, "\(ran)")
        try node.sh(Self.uplink)
        // Somebody in the pod has taken the name.
        try node.sh("ip link add net1 type veth peer other", pod: "a")
        let taken = try repair()
        #expect(taken.status == 1 && taken.errors.contains("\"net1\" already exists"), "\(taken)")
        try node.sh("ip link del net1", pod: "a")
        // Another pod has got the address meanwhile.
        try node.sh("printf 'c9\\r\\neth0' > \(node.directory)/ipam/vlan/192.168.13.2")
        let stolen = try repair()
        #expect(
            stolen.status == 1 && stolen.errors.contains("192.168.13.2 is container c9's by now")
                && stolen.output.contains("interface net1, its lease"), "\(stolen)"
        )
        #expect(try node.links(pod: "a") == ["eth0", "net2"])
        try node.sh("rm \(node.directory)/ipam/vlan/192.168.13.2")
        #expect(try repair().status == 0)
        #expect(try call("CHECK").status == 0)
    }

    @Test(
        "plugins that are not built in: one of a chain is asked and run again, one that makes the link is not"
    )
    func external() throws {
        try node.script(
            "extra",
            #"""
            case $CNI_COMMAND in
            ADD) touch DIR/there; sed 's/.*"prevResult"://;s/}$//' DIR/extra.stdin;;
            CHECK) [ -e DIR/there ] || { echo '{"code":100,"msg":"my rule is gone"}'; exit 1; };;
            DEL) rm -f DIR/there;;
            esac
            """#.replacing("DIR", with: node.directory))
        try node.script(
            "maker",
            "ip netns exec $(basename $CNI_NETNS) true; [ $CNI_COMMAND = ADD ] && echo '{\"cniVersion\":\"1.0.0\"}' || true"
        )
        try define("chain", #"{"plugins":[{"type":"macvlan","master":"up0",IPAM16},{"type":"extra"}]}"#)
        try define("made", #"{"type":"maker"}"#)
        try add("chain,made")
        #expect(try repair().output == "3 looked at, 0 had lost something\n")
        try Shell.sh("rm \(node.directory)/there")
        let ran = try repair()
        #expect(ran.status == 0 && ran.output.contains("extra: my rule is gone"), "\(ran)")
        #expect(try Shell.sh("tail -n 3 \(node.directory)/extra.log") == "DEL\nADD\nCHECK\n")
        try node.sh("ip link del up0; \(Self.uplink)")
        #expect(try repair().status == 0)
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try Shell.sh("tail -n 2 \(node.directory)/extra.log") == "DEL\nADD\n")
        #expect(try call("CHECK").status == 0)
    }

    @Test("E04: what a DEL took that failed elsewhere stays gone, and the next DEL finishes it")
    func halfDeleted() throws {
        try node.script(
            "maker",
            #"[ $CNI_COMMAND != DEL ] || [ -e DIR/may ] || { echo '{"code":100,"msg":"not now"}'; exit 1; }"#
                .replacing("DIR", with: node.directory) + "\necho '{\"cniVersion\":\"1.0.0\"}'")
        try define("made", #"{"type":"maker"}"#)
        try add("vlan,made")
        #expect(try call("DEL").message.contains("not now"))
        #expect(try node.links(pod: "a").isEmpty)
        let ran = try repair()
        #expect(ran.status == 0 && ran.output == "1 looked at, 0 had lost something\n", "\(ran)")
        #expect(try node.links(pod: "a").isEmpty)
        try node.write("may", "")
        #expect(try call("DEL").status == 0)
        #expect(try node.files("state").isEmpty && node.links(pod: "a").isEmpty)
        #expect(try Shell.sh("cat \(node.directory)/maker.log") == "ADD\nDEL\nDEL\n")
    }

    @Test("a host's end under another name is said, and mended once it is called so again")
    func renamedPort() throws {
        try add("guard")
        let port = try node.ip("link show master br-g")[0]["ifname"].string ?? ""
        try node.sh(
            "ip link set \(port) down; ip link set \(port) name moved0; ip link set moved0 up; ip link del br-g"
        )
        let ran = try repair()
        #expect(ran.status == 1 && ran.errors.contains("it is called moved0: ip link set"), "\(ran)")
        try node.sh(
            "ip link set dev moved0 down; ip link set dev moved0 name \(port); ip link set dev \(port) up")
        #expect(try repair().status == 0)
        #expect(try call("CHECK").status == 0)
    }

    @Test("a plugin whose CHECK never succeeds is not called mended, and one that dies has lost nothing")
    func neverRight() throws {
        let result = #"[ $CNI_COMMAND = ADD ] && sed 's/.*"prevResult"://;s/}$//' DIR/NAME.stdin"#
        for (name, check) in [
            ("never", #"echo '{"code":100,"msg":"never right"}'; exit 1"#), ("dies", "kill -9 $$"),
        ] {
            try node.script(
                name,
                "[ $CNI_COMMAND != CHECK ] || { \(check); }; \(result) || true".replacing("NAME", with: name)
                    .replacing(
                        "DIR", with: node.directory))
        }
        try define(
            "chain",
            #"{"plugins":[{"type":"macvlan","master":"up0",IPAM16},{"type":"dies"},{"type":"never"}]}"#)
        try add("chain")
        let ran = try repair()
        #expect(ran.status == 1 && ran.errors.contains("its CHECK still says: never right"), "\(ran)")
        #expect(!ran.output.contains("dies"), "\(ran)")
        #expect(try Shell.sh("cat \(node.directory)/dies.log") == "ADD\nCHECK\n")
    }

    @Test("a repair that was killed half-way is gone on with")
    func killed() throws {
        try node.script(
            "slow",
            #"[ $CNI_COMMAND != ADD ] || { [ ! -e DIR/wait ] || sleep 60; sed 's/.*"prevResult"://;s/}$//' DIR/slow.stdin; }"#
                .replacing("DIR", with: node.directory))
        try define("chain", #"{"plugins":[{"type":"macvlan","master":"up0",IPAM16},{"type":"slow"}]}"#)
        try add("chain")
        try node.sh("ip link del up0; \(Self.uplink); touch \(node.directory)/wait")
        try node.sh(
            "timeout -s KILL 2 \(node.directory)/bin/plexus repair --config \(node.directory)/conf.json || true"
        )
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        try node.sh("rm \(node.directory)/wait")
        let ran = try repair()
        #expect(ran.status == 0 && ran.output.contains("interface net1"), "\(ran)")
        #expect(try node.addresses("net1", pod: "a") == ["192.168.16.2/24", "fd00:16::2/64"])
        #expect(try call("CHECK").status == 0)
        #expect(try call("DEL").status == 0)
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("pods of other configurations, and of namespaces that are gone, are left alone")
    func others() throws {
        try add("vlan")
        try Shell.sh("sed -i 's/node-network/other-network/' \(node.directory)/conf.json")
        try node.sh("ip link del cni0")
        #expect(try repair().output == "0 looked at, 0 had lost something\n")
        let named = try repair("pod-a")
        #expect(named.status == 1 && named.errors.contains("no pod default/pod-a runs here"), "\(named)")
        #expect(try !node.links().contains("cni0"))
        try Shell.sh("sed -i 's/other-network/node-network/' \(node.directory)/conf.json")
        try node.removePod("a")
        #expect(try repair().output == "0 looked at, 0 had lost something\n")
    }

    @Test("an ipvlan's link below", .enabled(if: Feature.ipvlan, "this kernel has no ipvlan; the VM's has"))
    func ipvlan() throws {
        try define("ip", #"{"type":"ipvlan","master":"up0","mode":"l3",IPAM17}"#)
        try add("ip")
        try node.sh("ip link del up0; " + Self.uplink.replacing("00:07", with: "00:77"))
        let ran = try repair()
        #expect(ran.status == 0 && ran.output.contains("interface net1"), "\(ran)")
        #expect(try node.addresses("net1", pod: "a") == ["192.168.17.2/24", "fd00:17::2/64"])
        // It has the address of the new link below.
        #expect(try Shell.sh("cat \(node.directory)/state/status/*").contains("02:00:00:00:00:77"))
        #expect(try call("DEL").status == 0)
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test(
        "a bridge that keeps VLANs apart",
        .enabled(if: Feature.vlanFiltering, "this kernel's bridges keep no VLANs apart; the VM's do"))
    func vlans() throws {
        try define(
            "tagged",
            #"{"type":"bridge","bridge":"br-v","isGateway":true,"vlan":7,"vlanTrunk":[{"minID":20,"maxID":22}],IPAM18}"#
        )
        try add("tagged")
        // The other end of the gateway's link is in the host too.
        let port = "$(ip -o link show master br-v | grep link-netns | cut -d' ' -f2 | cut -d@ -f1)"
        let gateway = "$(ip -o link show master br-v | grep -v link-netns | cut -d' ' -f2 | cut -d@ -f1)"
        let harms = [
            ("ip link del br-v", ["bridge br-v", "port "]), ("ip link set \(gateway) nomaster", ["port "]),
            ("bridge vlan del dev \(gateway) vid 7", ["VLANs 7 of "]),
            ("bridge vlan del dev \(port) vid 7", ["VLANs 7 of veth"]),
            ("bridge vlan del dev \(port) vid 20-21", ["VLANs 20-22 of veth"]),
            ("bridge vlan add dev \(port) vid 8 pvid untagged", ["VLANs 7 of veth"]),
            ("ip link set br-v type bridge vlan_filtering 0", ["VLAN filtering of br-v"]),
        ]
        func ids() throws -> [[Int]] {
            try Tree(parsing: node.sh("bridge -j vlan")).list.filter { $0["ifname"].string != "br-v" }.map {
                $0["vlans"].list.compactMap { $0["vlan"].int }.filter { $0 != 8 }
            }.sorted { "\($0)" < "\($1)" }
        }
        let before = try (look(), ids())
        #expect(try repair().output == "2 looked at, 0 had lost something\n")
        for (harm, words) in harms {
            try node.sh(harm)
            let ran = try repair()
            #expect(ran.status == 0 && words.allSatisfy(ran.output.contains), "\(harm): \(ran)")
            try Shell.sh("sleep 1.2")
            #expect(try ids() == before.1, "\(harm)")
            #expect(
                try look().filter { $0.contains("192.168.18") }
                    == before.0.filter { $0.contains("192.168.18") }, "\(harm)")
            #expect(try repair().output == "2 looked at, 0 had lost something\n", "\(harm)")
            try node.sh("ping -c 1 -W 2 192.168.18.1", pod: "a")
        }
        // Another link that has its name by now carries nothing.
        try node.sh("ip link del br-v.7; ip link add br-v.7 type dummy; ip link set br-v.7 up")
        let taken = try repair()
        #expect(
            taken.status == 1 && taken.errors.contains("use br-v.7 for the gateway's address"), "\(taken)")
        try node.sh("ip link del br-v.7")
        #expect(try repair().status == 0)
        // What an operator added stays, and the next ADD makes the gateway's link a port again as well.
        #expect(try node.sh("bridge vlan show dev \(port)").contains("8"))
        try node.sh("ip link del br-v")
        let other = try node.call(
            "ADD", id: "c2", netns: node.pod("b"),
            args: StatusRows.args().replacing("pod-a", with: "pod-b"),
            Shell.sh("cat \(node.directory)/conf.json"))
        #expect(other.status == 0, "\(other.ran)")
        try node.sh("ping -c 1 -W 2 192.168.18.1", pod: "b")
    }
}
