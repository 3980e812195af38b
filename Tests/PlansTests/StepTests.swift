import CNI
import Networking
import Plans
import Testing

private let eth0 = LinkName.sandbox("eth0")
private let br0 = LinkName.host("br0")
private let mac = MAC(parsing: "02:00:00:00:00:01") ?? .zero
private let other = MAC(parsing: "02:00:00:00:00:02") ?? .zero
private let id = AttachmentID(containerID: "c1", interface: "eth0")
private let v4 = CIDR(IPAddress(.v4, bits: 0x0a01_0203), 24)
private let v6 = CIDR(IPAddress(.v6, bits: 0xfd00 << 112 | 3), 64)
private let gateway = IPAddress(.v4, bits: 0x0a01_0201)
private let pair = VethSpec("eth0", peer: "veth1", mtu: 1400, mac: mac, peerMAC: other, controller: "br0")
private let device = Device(name: "eth9", interface: "eth0", wasUp: true)
private let sandboxRoute = SandboxRoute(Route(.everywhere(.v4), via: gateway), "eth0")

/// Each kernel object's steps: their words for `explain`, and what facts are after them. A new object has its rows here.
@Suite struct StepTests {
    // MARK: Words

    static let addresses: [(Step, [String])] = [
        (.addAddress(v6, eth0), ["ip -n POD addr add fd00::3/64 dev eth0"]),
        (
            .addAddress(v6, eth0, lifetime: Lifetime(preferred: 60, valid: .max), nodad: true),
            ["ip -n POD addr add fd00::3/64 dev eth0 valid_lft forever preferred_lft 60 nodad"]
        ),
        (
            .addAddress(v4, eth0, lifetime: Lifetime(90), nodad: true),
            ["ip -n POD addr add 10.1.2.3/24 brd + dev eth0 valid_lft 90 preferred_lft 90"]
        ),
        (.removeAddress(v4, eth0), ["ip -n POD addr delete 10.1.2.3/24 dev eth0"]),
        (.addAddress(v4, eth0), ["ip -n POD addr add 10.1.2.3/24 brd + dev eth0"]),
        (.addAddress(.host(gateway), eth0), ["ip -n POD addr add 10.1.2.1/32 dev eth0"]),
        (.ensureAddress(v6, br0), ["ip addr replace fd00::3/64 dev br0"]),
        (.ensureAddress(v6, br0, nodad: true), ["ip addr replace fd00::3/64 dev br0 nodad"]),
    ]

    static let bridges: [(Step, [String])] = [
        (.setPort("veth1", PortSettings(hairpin: true)), ["bridge link set dev veth1 hairpin on"]),
        (
            .setPort("veth1", PortSettings(hairpin: false, isolated: true)),
            ["bridge link set dev veth1 hairpin off isolated on"]
        ),
        (
            .setVLANs("veth1", PortVLANs(native: 100, tagged: [5...5, 7...9])),
            [
                "bridge vlan delete dev veth1 vid 1-4094", "bridge vlan add dev veth1 vid 100 pvid untagged",
                "bridge vlan add dev veth1 vid 5", "bridge vlan add dev veth1 vid 7-9",
            ]
        ),
        (
            .setVLANs("veth1", PortVLANs(native: 1, keepsDefault: true)),
            ["bridge vlan add dev veth1 vid 1 pvid untagged"]
        ),
        (
            .ensureVLANInterface(
                VLANInterface(bridge: "br0", vid: 100, peer: "veth2", mtu: 1400, keepsDefault: true)),
            [
                "ip link add name veth2 mtu 1400 master br0 up type veth peer name br0.100 mtu 1400  # unless it exists",
                "bridge vlan add dev veth2 vid 100 pvid untagged", "ip link set dev br0.100 up",
            ]
        ),
        (.keepVLANsApart("br0"), ["ip link set dev br0 type bridge vlan_filtering 1"]),
    ]

    static let links: [(Step, [String])] = [
        (.addLink(LinkSpec("eth0", .dummy), .sandbox), ["ip -n POD link add name eth0 type dummy"]),
        (
            .addLink(LinkSpec("eth0", .dummy, mtu: 1400, mac: mac), .host),
            ["ip link add name eth0 address 02:00:00:00:00:01 mtu 1400 type dummy"]
        ),
        (
            .addLink(LinkSpec("eth0", .macvlan(.vepa)), .sandbox, parent: .host("eth9")),
            ["ip link add link eth9 name eth0 netns POD type macvlan mode vepa"]
        ),
        (
            .addLink(LinkSpec("eth0", .ipvlan(.l3)), .sandbox, parent: .sandbox("eth9")),
            ["ip -n POD link add link eth9 name eth0 type ipvlan mode l3"]
        ),
        (
            .addVeth(pair),
            [
                "ip link add name veth1 address 02:00:00:00:00:02 mtu 1400 master br0 up type veth"
                    + " peer name eth0 address 02:00:00:00:00:01 mtu 1400 netns POD"
            ]
        ),
        (.deleteLink(eth0), ["ip -n POD link delete dev eth0"]),
        (.deleteLink(br0), ["ip link delete dev br0"]),
        (.change(eth0, .up(true)), ["ip -n POD link set dev eth0 up"]),
        (.change(eth0, .up(false)), ["ip -n POD link set dev eth0 down"]),
        (.change(br0, .mtu(1400)), ["ip link set dev br0 mtu 1400"]),
        (.change(br0, .mac(mac)), ["ip link set dev br0 address 02:00:00:00:00:01"]),
        (.change(br0, .promiscuous(true)), ["ip link set dev br0 promisc on"]),
        (.change(br0, .allMulticast(false)), ["ip link set dev br0 allmulticast off"]),
        (.change(br0, .queueLength(5)), ["ip link set dev br0 txqueuelen 5"]),
    ]

    static let devices: [(Step, [String])] = [
        (.takeDevice(device), ["ip link set dev eth9 netns POD name eth0 alias eth9"]),
        (
            .returnDevice(device),
            ["ip -n POD link set dev eth0 netns HOST name eth9 alias ''", "ip link set dev eth9 up"]
        ),
        (
            .returnDevice(Device(name: "eth9", interface: "eth0", wasUp: false)),
            ["ip -n POD link set dev eth0 netns HOST name eth9 alias ''"]
        ),
        (.renameDevice("dev3", device), ["ip link set dev dev3 name eth9 alias ''"]),
    ]

    static let routes: [(Step, [String])] = [
        (
            .addRoute(Route(v4.network, via: gateway), eth0),
            ["ip -n POD route prepend 10.1.2.0/24 via 10.1.2.1 dev eth0"]
        ),
        (
            .addRoute(
                Route(.everywhere(.v6), mtu: 1400, advmss: 1300, priority: 5, table: 100, scope: 253), eth0),
            ["ip -n POD route prepend default metric 5 table 100 scope 253 mtu 1400 advmss 1300 dev eth0"]
        ),
        (Step(RouteStep.remove(Route(v4.network), eth0)), ["ip -n POD route delete 10.1.2.0/24 dev eth0"]),
        (.removeFound(sandboxRoute), ["ip -n POD route delete default via 10.1.2.1 dev eth0"]),
        (
            Step(RouteStep.restoreFound(sandboxRoute)),
            ["ip -n POD route append default via 10.1.2.1 dev eth0"]
        ),
        (.addRule(RoutingRule(from: v4, table: 100)), ["ip -n POD rule add from 10.1.2.3/24 table 100"]),
        (
            .removeRule(RoutingRule(from: v6, table: 100, priority: 5), .host),
            ["ip -6 rule delete from fd00::3/64 table 100 priority 5"]
        ),
    ]

    static let settings: [(Step, [String])] = [
        (
            .sysctl(SysctlChange(.sandbox, "net/core/somaxconn", "5")),
            ["ip netns exec POD sysctl -w net/core/somaxconn=5"]
        ),
        (
            .sysctl(SysctlChange(.host, "net/ipv4/ip_forward", "1", .ensured)),
            ["sysctl -w net/ipv4/ip_forward=1"]
        ),
        (
            .sysctl(SysctlChange(.sandbox, "net/ipv4/x", "1", isOptional: true)),
            ["ip netns exec POD sysctl -e -w net/ipv4/x=1"]
        ),
        (
            .writeFile("/run/a b/c", "it's\n"),
            ["mkdir -p '/run/a b'", #"printf %s $'it\'s\x0a' >'/run/a b/c'"#]
        ),
        (.removeFile("/run/c"), ["rm /run/c"]),
        (.settle(eth0), ["# wait until no address of eth0 is tentative"]),
        (.awaitCarrier(.host("veth1")), ["# wait until veth1 is operational"]),
    ]

    @Test(
        "each step as a person would type it",
        arguments: [addresses, bridges, links, devices, routes, settings])
    func words(rows: [(step: Step, commands: [String])]) {
        for (step, commands) in rows { #expect(step.kind.commands == commands, "\(step.kind.name)") }
    }

    @Test("a bridge is made unless it is there; rules are told by what they match")
    func longerWords() {
        for (step, fragments) in [
            (
                .ensureBridge(BridgeSpec(name: "br0", mtu: 1400, mac: mac, vlanFiltering: true)),
                [
                    "ip link add name br0 address 02:00:00:00:00:01 mtu 1400 up type bridge vlan_filtering 1",
                    "unless it exists", "sysctl -e -w net/ipv6/conf/br0/accept_ra=0",
                ]
            ),
            (
                .masquerade(Masquerade(networkName: "net", id: id, addresses: [v4, v6])),
                [
                    "nft add table inet cni_plugins_masquerade",
                    "ip saddr 10.1.2.3 ip daddr != 10.1.2.0/24 masquerade comment",
                    "ip6 saddr fd00::3 ip6 daddr != fd00::/64 masquerade comment",
                ]
            ),
            (
                .masquerade(
                    Masquerade(networkName: "net", id: id, addresses: [v4, v6], backend: .iptables)),
                ["iptables -t nat -N CNI-", "-s 10.1.2.3/32", "ip6tables -t nat", "-j MASQUERADE"]
            ),
            (.removeMasquerade(Masquerade(networkName: "net", id: id, addresses: [])), ["c1"]),
            (
                .spoofCheck(SpoofCheck(id: id, port: "veth1", mac: mac)),
                [
                    "iifname \"veth1\" jump cni-br-iface-c1-eth0", "ether saddr 02:00:00:00:00:01 return",
                    "drop",
                ]
            ),
            (
                .removeSpoofCheck(SpoofCheck.name(of: id), ports: []),
                ["nft delete chain bridge nat cni-br-iface-c1-eth0"]
            ),
        ] as [(Step, [String])] {
            let commands = step.kind.commands
            for fragment in fragments {
                #expect(commands.contains { $0.contains(fragment) }, "\(fragment) in \(commands)")
            }
        }
    }

    @Test("a name that a pod's author chose stays one word of the shell")
    func quoting() {
        let bad = "a;b"
        let link = LinkName.sandbox(bad)
        let badID = AttachmentID(containerID: "c1", interface: bad)
        let steps: [Step] = [
            .addAddress(v4, link), .removeAddress(v4, link), .ensureAddress(v4, link),
            .ensureBridge(BridgeSpec(name: bad, mac: mac)), .setPort(bad, PortSettings(hairpin: true)),
            .setVLANs(bad, PortVLANs(native: 1)), .keepVLANsApart(bad),
            .addLink(LinkSpec(bad, .dummy), .sandbox),
            .addLink(LinkSpec("x", .ipvlan(.l2)), .sandbox, parent: link),
            .addVeth(VethSpec(bad, peer: "x", mac: mac, peerMAC: other)),
            .addVeth(VethSpec("x", peer: bad, mac: mac, peerMAC: other)),
            .addVeth(VethSpec("x", peer: "y", mac: mac, peerMAC: other, controller: bad)),
            .deleteLink(link), .change(link, .up(true)),
            .takeDevice(Device(name: bad, interface: "x", wasUp: false)),
            .takeDevice(Device(name: "x", interface: bad, wasUp: false)),
            .returnDevice(Device(name: bad, interface: bad, wasUp: true)), .renameDevice(bad, device),
            .addRoute(Route(v4), link), .removeFound(SandboxRoute(Route(v4), bad)), .removeFile(bad),
            .writeFile(bad, ""), .settle(link), .awaitCarrier(link),
            .sysctl(SysctlChange(.sandbox, "net/ipv4/conf/\(bad)/rp_filter", "1")),
            .masquerade(Masquerade(networkName: "net", id: badID, addresses: [v4])),
            .spoofCheck(SpoofCheck(id: badID, port: "veth1", mac: mac)),
            .removeSpoofCheck(SpoofCheck.referenceName(of: badID), ports: []),
        ]
        for step in steps {
            let commands = step.kind.commands.joined(separator: "\n")
            let unquoted = commands.replacing(#/'[^']*'|#.*/#, with: "")
            #expect(!unquoted.contains(";"), "\(commands)")
            #expect(commands.contains(";"))
        }
    }

    // MARK: Effects on facts

    @Test("a link that is made is there, with what its parent gives it")
    func made() {
        var facts = Facts()
        facts.links[.host("eth9")] = LinkFacts(kind: "", mac: mac, mtu: 1300, isUp: true)
        let ipvlan = facts.after([.addLink(LinkSpec("eth0", .ipvlan(.l2)), .sandbox, parent: .host("eth9"))])
        #expect(ipvlan.links[eth0] == LinkFacts(kind: "ipvlan", mac: mac, mtu: 1300))
        let macvlan = facts.after([
            .addLink(
                LinkSpec("eth0", .macvlan(.bridge), mtu: 1200, mac: other), .sandbox, parent: .host("eth9"))
        ])
        #expect(macvlan.links[eth0] == LinkFacts(kind: "macvlan", mac: other, mtu: 1200))
        let veth = facts.after([.addVeth(pair)])
        #expect(veth.links[eth0] == LinkFacts(kind: "veth", mac: mac, mtu: 1400, peerIndex: 0))
        #expect(
            veth.links[.host("veth1")]
                == LinkFacts(
                    kind: "veth", mac: other, mtu: 1400, isUp: true, controller: "br0", peerIndex: 0))
    }

    @Test("a bridge that is there stays as it is, and comes up")
    func ensured() {
        var facts = Facts()
        let step = Step.ensureBridge(BridgeSpec(name: "br0", mtu: 1400, mac: mac))
        #expect(facts.after([step]).links[br0] == LinkFacts(kind: "bridge", mac: mac, mtu: 1400, isUp: true))
        facts.links[br0] = LinkFacts(kind: "bridge", mac: other, mtu: 1300)
        #expect(
            facts.after([step]).links[br0] == LinkFacts(kind: "bridge", mac: other, mtu: 1300, isUp: true))
    }

    @Test("each change of a link is seen, and none of a link that is not there")
    func changed() {
        var facts = Facts()
        facts.links[eth0] = LinkFacts(kind: "veth")
        let changes: [(LinkChange, (LinkFacts) -> Bool)] = [
            (.up(true), { $0.isUp }), (.mtu(1400), { $0.mtu == 1400 }), (.mac(mac), { $0.mac == mac }),
            (.promiscuous(true), { $0.isPromiscuous }), (.allMulticast(true), { $0.isAllMulticast }),
            (.queueLength(5), { $0.queueLength == 5 }), (.group(7), { $0.group == 7 }),
            (.arp(false), { !$0.usesARP }), (.multicast(false), { !$0.isMulticast }),
            (.gsoSize(4096), { $0.gsoSize == 4096 }), (.gsoSegments(3), { $0.gsoSegments == 3 }),
            (.groSize(9), { $0.groSize == 9 }), (.dormant(true), { $0.isDormant }),
        ]
        for (change, isSeen) in changes {
            #expect(facts.after([.change(eth0, change)]).links[eth0].map(isSeen) == true, "\(change)")
            #expect(facts.after([.change(br0, change)]) == facts)
        }
    }

    @Test("addresses come once and go")
    func addressed() {
        var facts = Facts()
        facts.links[eth0] = LinkFacts(kind: "veth")
        let there = facts.after([.addAddress(v4, eth0), .ensureAddress(v4, eth0), .addAddress(v6, eth0)])
        #expect(there.links[eth0]?.addresses == [v4, v6])
        #expect(there.after([.removeAddress(v4, eth0)]).links[eth0]?.addresses == [v6])
        #expect(facts.after([.addAddress(v4, br0)]) == facts)
    }

    @Test("routes go one by one, or with their link")
    func routed() {
        let route = Route(v4.network)
        let there = Facts().after([
            .addRoute(route, eth0), .addRoute(route, .sandbox("net1")),
            Step(RouteStep.restoreFound(sandboxRoute)),
        ])
        #expect(there.routes == [SandboxRoute(route, "eth0"), SandboxRoute(route, "net1"), sandboxRoute])
        #expect(there.after([.removeFound(sandboxRoute)]).routes.count == 2)
        #expect(
            there.after([Step(RouteStep.remove(route, eth0))]).routes
                == [SandboxRoute(route, "net1"), sandboxRoute])
        #expect(there.after([.deleteLink(eth0)]).routes == [SandboxRoute(route, "net1")])
        #expect(there.after([.deleteLink(.host("eth0"))]) == there)
    }

    @Test("a device is on one side, down and under its alias while the pod has it")
    func moved() {
        var facts = Facts()
        facts.links[.host("eth9")] = LinkFacts(kind: "", mac: mac, isUp: true)
        let taken = facts.after([.takeDevice(device)])
        #expect(taken.links[.host("eth9")] == nil)
        #expect(taken.links[eth0]?.isUp == false)
        #expect(taken.links[eth0]?.alias == "eth9")
        let home = taken.after([.returnDevice(device)])
        #expect(home.links[eth0] == nil)
        #expect(home.links[.host("eth9")]?.alias == "")
        let renamed = home.after([.renameDevice("eth9", Device(name: "eth8", interface: "", wasUp: false))])
        #expect(renamed.links[.host("eth8")]?.mac == mac)
    }

    @Test("settings and files have their new values")
    func written() {
        let facts = Facts().after([
            .sysctl(SysctlChange(.sandbox, "net/core/somaxconn", "5")), .writeFile("/run/c", "text"),
        ])
        #expect(facts.sysctls[SysctlName(.sandbox, "net/core/somaxconn")] == "5")
        #expect(facts.sysctls[SysctlName(.host, "net/core/somaxconn")] == nil)
        #expect(facts.files["/run/c"] == "text")
        #expect(facts.after([.removeFile("/run/c")]).files["/run/c"] == nil)
    }

    // MARK: What the engine asks of a step

    @Test("a link that may have been made is deleted; a pair takes a derived name")
    func unanswered() {
        for (step, inverse) in [
            (.addLink(LinkSpec("eth0", .dummy), .sandbox), .deleteLink(eth0)),
            (.addVeth(pair), .deleteLink(eth0)), (.deleteLink(eth0), nil), (.change(eth0, .up(true)), nil),
            (.addAddress(v4, eth0), nil),
        ] as [(Step, Step?)] { #expect(step.kind.inverseIfUnanswered == inverse) }
        #expect(Step.addVeth(pair).kind.takesDerivedName)
        #expect(!Step.addLink(LinkSpec("eth0", .dummy), .sandbox).kind.takesDerivedName)
    }

    @Test("the links whose facts a step hands on must be looked at before it")
    func basis() {
        for (step, basis) in [
            (.addLink(LinkSpec("eth0", .ipvlan(.l2)), .sandbox, parent: .host("eth9")), [.host("eth9")]),
            (.addLink(LinkSpec("eth0", .dummy), .sandbox), []), (.takeDevice(device), [.host("eth9")]),
            (.returnDevice(device), [eth0]), (.renameDevice("dev3", device), [.host("dev3")]),
            (.deleteLink(eth0), []),
        ] as [(Step, [LinkName])] { #expect(step.kind.basis == basis, "\(step.kind.name)") }
    }

    @Test("the pod's sysctls share a visit; what a failed restore needs waits")
    func flags() {
        #expect(Step.sysctl(SysctlChange(.sandbox, "net/x", "1")).kind.needsVisit)
        #expect(!Step.sysctl(SysctlChange(.host, "net/x", "1")).kind.needsVisit)
        for (step, waits, holds) in [
            (.removeFile("/x"), true, false), (.writeFile("/x", ""), false, false),
            (.returnDevice(device), true, true), (.takeDevice(device), false, false),
            (.removeSpoofCheck(SpoofCheck.name(of: id), ports: []), false, false),
        ] as [(Step, Bool, Bool)] {
            #expect(step.kind.waitsForRestore == waits, "\(step.kind.name)")
            #expect(step.kind.holdsAddresses == holds, "\(step.kind.name)")
        }
    }

    @Test("steps are equal by what they say, and are found by their object")
    func identity() {
        #expect(Step.addAddress(v4, eth0) == .addAddress(v4, eth0))
        #expect(Step.addAddress(v4, eth0) != .addAddress(v4, br0))
        #expect(Step.removeFile("/x") != .deleteLink(eth0))
        #expect(Step.deleteLink(eth0).of(LinkStep.self) == .delete(eth0))
        #expect(Step.deleteLink(eth0).of(RouteStep.self) == nil)
    }
}
