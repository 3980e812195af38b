import CNI
import Engine
import Linux
import Netlink
import Networking
import Plans
import Support
import Testing

/// The engine on a real kernel; `ip` says what happened. Each test works in namespaces of its own.
@Suite(.serialized) struct EngineOnAKernel {
    /// Two fresh namespaces: the thread works in the first one, and comes back at the end.
    static func inside(_ body: (_ node: String, _ pod: String) throws -> Void) throws {
        let name = "plxn\(UInt32.random(in: 0...UInt32.max))"
        try Shell.sh("ip netns add \(name) && ip netns add \(name)-p && ip -n \(name) link set lo up")
        defer { _ = try? Shell.sh("ip netns del \(name); ip netns del \(name)-p") }
        let home = try Namespace.current()
        var isStranded = false
        let outcome = try Namespace.open("/run/netns/\(name)").run(from: home, isStranded: &isStranded) {
            Result { try body(name, "\(name)-p") }
        }
        #expect(!isStranded)
        try outcome.get()
    }

    static func steps() throws -> [Step] {
        let mac = try #require(MAC(parsing: "02:00:00:00:00:01"))
        let peer = try #require(MAC(parsing: "02:00:00:00:00:02"))
        let cidr = try #require(CIDR(parsing: "10.9.0.2/24"))
        let v6 = try #require(CIDR(parsing: "fd09::2/64"))
        return [
            .ensureBridge(BridgeSpec(name: "br9", mac: peer)),
            .addVeth(VethSpec("eth0", peer: "veth9", mtu: 1400, mac: mac, peerMAC: peer, controller: "br9")),
            .setPort("veth9", PortSettings(hairpin: true, isolated: true)),
            .sysctl(SysctlChange(.sandbox, "net/core/somaxconn", "77", .saved)),
            .sysctl(SysctlChange(.sandbox, "net/ipv6/conf/eth0/accept_dad", "0")),
            .addAddress(cidr, .sandbox("eth0")), .addAddress(v6, .sandbox("eth0")),
            .change(.sandbox("eth0"), .up(true)),
            .addRoute(
                Route(.everywhere(.v4), via: IPAddress(parsing: "10.9.0.1"), mtu: 1300), .sandbox("eth0")),
            .addRule(RoutingRule(from: try #require(CIDR(parsing: "10.9.0.2/32")), table: 100)),
            .addRule(RoutingRule(from: try #require(CIDR(parsing: "fd09::2/128")), table: 1000, priority: 9)),
            .ensureAddress(try #require(CIDR(parsing: "10.9.0.1/24")), .host("br9")),
            .masquerade(
                Masquerade(
                    networkName: "n", id: AttachmentID(containerID: "c", interface: "eth0"),
                    addresses: [cidr, v6])),
            .awaitCarrier(.host("veth9")),
        ]
    }

    @Test func everyStepDoesWhatItsCommandSays() throws {
        try Self.inside { node, pod in
            let executor = Executor(try Kernel.open(sandbox: "/run/netns/\(pod)"))
            var journal = Journal()
            #expect(executor.run(try Self.steps(), &journal) == nil)
            let port = try Tree(parsing: try Shell.sh("ip -n \(node) -j -d link show veth9"))[0]
            #expect(port["master"].string == "br9")
            #expect(port["mtu"].int == 1400)
            #expect(port["operstate"].string == "UP")
            #expect(port["linkinfo"]["info_slave_data"]["hairpin"].bool == true)
            #expect(port["linkinfo"]["info_slave_data"]["isolated"].bool == true)
            let link = try Tree(parsing: try Shell.sh("ip -n \(pod) -j -d addr show eth0"))[0]
            #expect(link["address"].string == "02:00:00:00:00:01")
            #expect(link["addr_info"].list.compactMap(\.["local"].string).contains("10.9.0.2"))
            #expect(link["addr_info"][0]["broadcast"].string == "10.9.0.255")
            #expect(!link["addr_info"].list.contains { $0["tentative"].exists })
            let routes = try Tree(parsing: try Shell.sh("ip -n \(pod) -j route show default"))
            #expect(routes[0]["gateway"].string == "10.9.0.1")
            #expect(routes[0]["metrics"][0]["mtu"].int == 1300)
            let rules = try Tree(parsing: try Shell.sh("ip -n \(pod) -j rule show table 100"))
            #expect(rules[0]["src"].string == "10.9.0.2" && rules[0]["priority"].int == 32765)
            let v6Rules = try Tree(parsing: try Shell.sh("ip -n \(pod) -6 -j rule show table 1000"))
            #expect(v6Rules[0]["src"].string == "fd09::2" && v6Rules[0]["priority"].int == 9)
            #expect(try Shell.sh("ip netns exec \(pod) cat /proc/sys/net/core/somaxconn") == "77\n")
            #expect(journal.saved() == ["net/core/somaxconn": "4096"])
            #expect(try Shell.sh("ip netns exec \(node) nft -j list ruleset").contains("10.9.0.2"))
            try Shell.sh("ip netns exec \(pod) ping -c 1 -w 10 10.9.0.1")
            #expect(executor.undo(&journal).isEmpty)
        }
    }

    /// What both namespaces hold, as `ip` and `nft` tell it.
    static func look(_ node: String, _ pod: String) throws -> String {
        try Shell.sh(
            """
            for n in \(node) \(pod); do ip -n $n -br link | cut -d' ' -f1 | sort; ip -n $n route; ip -n $n -6 route; ip -n $n rule; ip -n $n -6 rule; done
            ip netns exec \(pod) cat /proc/sys/net/core/somaxconn
            ip netns exec \(node) nft list ruleset | grep saddr || true
            """)
    }

    @Test func aPlanRefusedAtAnyStepLeavesNothing() throws {
        let count = try Self.steps().count
        for refused in 0..<count {
            try Self.inside { node, pod in
                let before = try Self.look(node, pod)
                let executor = Executor(try Kernel.open(sandbox: "/run/netns/\(pod)"))
                var steps = try Self.steps()
                // A route by a link that is not there: the kernel knows no such device.
                steps[refused] = .addRoute(Route(.everywhere(.v4)), .sandbox("none"))
                var journal = Journal()
                #expect(executor.run(steps, &journal)?.isGone == true)
                #expect(executor.undo(&journal).isEmpty)
                #expect(try Self.look(node, pod) == before, "refused step \(refused)")
            }
        }
    }

    @Test func macvlansAndBridgesAreMadeAsAsked() throws {
        try Self.inside { node, pod in
            var socket = try RouteSocket.open()
            let mac = try #require(MAC(parsing: "02:00:00:00:00:07"))
            try socket.addUp(LinkSpec("br7", BridgeKind(), mtu: 1280, mac: mac))
            let bridge = try Tree(parsing: try Shell.sh("ip -n \(node) -j -d link show br7"))[0]
            #expect(bridge["mtu"].int == 1280)
            #expect(bridge["linkinfo"]["info_data"]["vlan_filtering"].int ?? 0 == 0)
            let parent = try #require(try socket.link(named: "br7"))
            #expect(parent.mac == mac)
            #expect(parent.kind == "bridge")
            let namespace = try Namespace.open("/run/netns/\(pod)")
            try socket.add(
                LinkSpec("mac0", .macvlan(.bridge), mtu: 1280), parent: parent.index,
                into: namespace.raw)
            let link = try Tree(parsing: try Shell.sh("ip -n \(pod) -j -d link show mac0"))[0]
            #expect(link["linkinfo"]["info_kind"].string == "macvlan")
            #expect(link["linkinfo"]["info_data"]["mode"].string == "bridge")
            #expect(try socket.link(named: "none") == nil)
            let error = #expect(throws: SystemError.self) { try socket.delete(index: 99999) }
            #expect(error?.code == .noSuchDevice)
        }
    }

    @Test func oneGroupDeleteTakesManyLinks() throws {
        try Self.inside { node, _ in
            try Shell.sh("for i in $(seq 150); do ip -n \(node) link add x$i type veth peer name y$i; done")
            var socket = try RouteSocket.open()
            let indexes = try socket.links().filter { $0.name.hasPrefix("x") }.map(\.index)
            #expect(indexes.count == 150)
            try socket.setGroup(indexes, 77777)
            try socket.delete(group: 77777)
            #expect(try socket.links().map(\.name) == ["lo"])
        }
    }
}
