import Engine
import Linux
import Netlink
import Networking
import Plans
import Support
import Testing

/// Links on a real kernel; `ip` says what happened, and makes what is to be read.
@Suite(.serialized) struct NetlinkOnAKernel {
    static let inside = EngineOnAKernel.inside

    static func mac(_ last: UInt8) throws -> MAC { try #require(MAC(bytes: [2, 0, 0, 0, 0, last])) }

    /// A pair up in the node, `a0` with 10.9.0.2/24 and fd09::2/64.
    static func pair(_ node: String) throws {
        try Shell.sh(
            """
            ip -n \(node) link add a0 type veth peer name b0
            ip -n \(node) addr add 10.9.0.2/24 dev a0 && ip -n \(node) addr add fd09::2/64 dev a0 nodad
            ip -n \(node) link set a0 up && ip -n \(node) link set b0 up
            """)
    }

    // MARK: Links

    @Test func aPairIsMadeInPlaceOrNotAtAll() throws {
        try Self.inside { node, pod in
            try Shell.sh("ip -n \(node) link add br9 type bridge")
            var socket = try RouteSocket.open()
            let bridge = try #require(try socket.link(named: "br9"))
            let sandbox = try Namespace.open("/run/netns/\(pod)")
            let veth = VethSpec(
                "eth0", peer: "veth9", mtu: 1400, mac: try Self.mac(1), peerMAC: try Self.mac(2))
            try socket.add(veth, sandbox: sandbox.raw, controller: bridge.index)
            let host = try Tree(parsing: try Shell.sh("ip -n \(node) -j -d link show veth9"))[0]
            #expect(host["master"].string == "br9")
            #expect(host["mtu"].int == 1400)
            #expect(host["address"].string == "02:00:00:00:00:02")
            #expect(host["flags"].list.contains { $0.string == "UP" })
            let end = try Tree(parsing: try Shell.sh("ip -n \(pod) -j -d link show eth0"))[0]
            #expect(end["linkinfo"]["info_kind"].string == "veth")
            #expect(end["mtu"].int == 1400)
            #expect(end["address"].string == "02:00:00:00:00:01")
            #expect(!end["flags"].list.contains { $0.string == "UP" })
            #expect(end["link_index"].int == host["ifindex"].int)
            // The name in the sandbox is taken: the host end must not stay behind.
            let again = VethSpec("eth0", peer: "veth8", mac: try Self.mac(3), peerMAC: try Self.mac(4))
            let error = #expect(throws: SystemError.self) {
                try socket.add(again, sandbox: sandbox.raw, controller: bridge.index)
            }
            #expect(error?.code == .alreadyExists)
            #expect(try socket.link(named: "veth8") == nil)
        }
    }

    /// In one dump, as a link that goes meanwhile would fail a request of its own.
    @Test func addressesOfAllLinksAreListedAtOnce() throws {
        try Self.inside { node, _ in
            try Self.pair(node)
            try Shell.sh(
                "ip -n \(node) addr add 10.9.1.2/24 dev b0 && ip -n \(node) link add bare type bridge")
            var socket = try RouteSocket.open()
            let found = try socket.addressesByLink()
            for link in try Tree(parsing: try Shell.sh("ip -n \(node) -j addr show")).list {
                // Link-local ones come when the kernel likes.
                let told = link["addr_info"].list.filter { $0["scope"].string != "link" }
                let index = try #require(link["ifindex"].int)
                let listed = found[Int32(index), default: []].map { "\($0)" }.filter { !$0.hasPrefix("fe80") }
                #expect(listed.sorted() == told.compactMap { $0["local"].string }.sorted())
            }
            #expect(found.values.joined().contains { "\($0)" == "10.9.1.2" })
            #expect(found.values.joined().contains { "\($0)" == "fd09::2" })
        }
    }

    @Test func aLinkIsReadAsIPShowsIt() throws {
        try Self.inside { node, pod in
            try Shell.sh(
                """
                ip -n \(node) link add br9 mtu 1400 type bridge && ip -n \(node) link set br9 up
                ip -n \(node) link add v0 mtu 1400 address 02:00:00:00:00:05 type veth peer name eth0 netns \(pod)
                ip -n \(node) link set v0 master br9 group 9 promisc on
                ip -n \(node) link set v0 up && ip -n \(pod) link set eth0 up
                """)
            var socket = try RouteSocket.open()
            let link = try #require(try socket.link(named: "v0"))
            let shown = try Tree(parsing: try Shell.sh("ip -n \(node) -j -d link show v0"))[0]
            #expect(Int(link.index) == shown["ifindex"].int)
            #expect(link.kind == "veth")
            #expect(link.mac == MAC(bytes: [2, 0, 0, 0, 0, 5]))
            #expect(link.mtu == 1400)
            #expect(link.group == 9)
            #expect(link.isUp && link.isPromiscuous && link.isOperational)
            #expect(link.controllerIndex == (try socket.link(named: "br9")?.index))
            #expect(link.parentIndex.map { Int($0) } == shown["link_index"].int)
            #expect(link.parentNamespaceID.map { Int($0) } == shown["link_netnsid"].int)
            #expect(try socket.link(index: link.index) == link)
            #expect(try socket.links().contains(link))
            #expect(try socket.link(index: 4242) == nil)
        }
    }

    /// A change of `a0`, and how `ip -j -d link` then shows it.
    @Test(arguments: [
        (LinkChange.up(true), "flags", "UP"), (.promiscuous(true), "promiscuity", "1"),
        (.mtu(1300), "mtu", "1300"),
        (.group(70000), "group", "70000"), (.name("c0"), "ifname", "c0"),
    ])
    func aChangeIsWhatIPShows(change: LinkChange, key: String, value: String) throws {
        try Self.inside { node, _ in
            try Shell.sh("ip -n \(node) link add a0 type veth peer name b0")
            var socket = try RouteSocket.open()
            let index = try #require(try socket.link(named: "a0")).index
            try socket.change(index: index, change)
            let all = try Tree(parsing: try Shell.sh("ip -n \(node) -j -d link")).list
            let shown = try #require(all.first { $0["ifindex"].int == Int(index) })[key]
            #expect(
                shown.string == value || shown.int.map(String.init) == value
                    || shown.list.contains { $0.string == value })
        }
    }

    @Test func portsAndAddressesChangeAndComeBack() throws {
        try Self.inside { node, _ in
            try Shell.sh(
                "ip -n \(node) link add br9 type bridge; ip -n \(node) link add a0 type veth peer name b0")
            var socket = try RouteSocket.open()
            let index = try #require(try socket.link(named: "a0")).index
            let bridge = try #require(try socket.link(named: "br9")).index
            func shown() throws -> Tree {
                try Tree(parsing: try Shell.sh("ip -n \(node) -j -d link show a0"))[0]
            }
            try socket.change(index: index, .mac(try Self.mac(7)))
            try socket.change(index: index, .controller(bridge))
            try socket.setPort(index: index, PortSettings(hairpin: true))
            #expect(try shown()["address"].string == "02:00:00:00:00:07")
            #expect(try shown()["master"].string == "br9")
            #expect(try shown()["linkinfo"]["info_slave_data"]["hairpin"].bool == true)
            #expect(try shown()["linkinfo"]["info_slave_data"]["isolated"].bool == false)
            try socket.change(index: index, .controller(nil))
            #expect(!(try shown()["master"].exists))
            try socket.change(index: index, .up(true))
            try socket.change(index: index, .up(false))
            #expect(!(try shown()["flags"].list.contains { $0.string == "UP" }))
        }
    }

    @Test func aGroupWithALinkThatMustStayIsRefusedAsAWhole() throws {
        try Self.inside { node, _ in
            try Self.pair(node)
            var socket = try RouteSocket.open()
            let own = try ["lo", "a0"].map { try #require(try socket.link(named: $0)).index }
            try socket.setGroup(own, 70001)
            #expect(throws: SystemError.self) { try socket.delete(group: 70001) }
            #expect(try socket.links().map(\.name).sorted() == ["a0", "b0", "lo"])
            // A link that is gone is named at once, and the socket is as good as before.
            let error = #expect(throws: SystemError.self) {
                try socket.setGroup([4242, own[1], 4243], 70002)
            }
            #expect(error?.code == .noSuchDevice)
            #expect(try socket.link(named: "a0")?.index == own[1])
        }
    }

    // MARK: Events

    @Test func aWaitEndsWithAChangeOrAtItsDeadline() throws {
        try Self.inside { node, _ in
            let monitor = try Monitor.open()
            let quiet = monitor.wait(until: monotonicMilliseconds() + 50)
            let late = monitor.wait(until: monotonicMilliseconds() - 1)
            #expect(!quiet && !late)
            try Shell.sh("ip -n \(node) link add a0 type veth peer name b0")
            let added = monitor.wait(until: monotonicMilliseconds() + 2000)
            #expect(added)
            try Shell.sh("ip -n \(node) addr add fd09::2/64 dev a0 nodad && ip -n \(node) link set a0 up")
            let raised = monitor.wait(until: monotonicMilliseconds() + 2000)
            #expect(raised)
        }
    }

    /// Duplicate address detection takes about a second and is over without another request.
    @Test func settlingEndsWithTheDetection() throws {
        try Self.inside { node, pod in
            try Shell.sh(
                """
                ip -n \(node) link add b0 type veth peer name eth0 netns \(pod) && ip -n \(node) link set b0 up
                ip -n \(pod) link set eth0 up && ip -n \(pod) addr add fd09::2/64 dev eth0
                """)
            let executor = Executor(try Kernel.open(sandbox: "/run/netns/\(pod)"))
            var journal = Journal()
            #expect(executor.run([.settle(.sandbox("eth0"))], &journal) == nil)
            let shown = try Tree(parsing: try Shell.sh("ip -n \(pod) -j addr show eth0"))[0]["addr_info"].list
            #expect(!shown.contains { $0["tentative"].exists })
        }
    }
}
