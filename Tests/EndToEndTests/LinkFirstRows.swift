import Foundation
import Support
import Testing

/// External IPAM plugins may look at the link, or talk over it: it is there at their ADD, CHECK and DEL, as the reference
/// plugins have it.
@Suite struct LinkFirstRows {
    private let node: Node

    /// Plugins that make a link, with the keys that they need.
    static let plugins =
        [
            ("bridge", #""bridge":"br0","isGateway":true"#), ("macvlan", #""master":"uplink""#),
            ("host-device", #""device":"card""#),
        ] + (Feature.ipvlan ? [("ipvlan", #""master":"uplink""#)] : [])

    init() throws {
        node = try MetaEndToEnd.node()
        _ = try node.pod("a")
        try node.sh(
            """
            ip link add uplink type veth peer name far && ip link set uplink up && ip link set far up
            ip link add card type veth peer name other && ip link set card up && ip link set other up
            """)
        try node.script(
            "onlooker",
            """
            nsenter --net=$CNI_NETNS ip link show $CNI_IFNAME >/dev/null 2>&1 && seen=yes || seen=no
            echo "$CNI_COMMAND $seen" >>\(node.directory)/seen
            [ "$CNI_COMMAND" = ADD ] || exit 0
            if [ -e \(node.directory)/exhausted ]; then echo '{"code":11,"msg":"no address left"}'; exit 1; fi
            echo '{"cniVersion":"1.0.0","ips":[{"address":"10.6.0.7/24","gateway":"10.6.0.1"}]}'
            """)
    }

    private var seen: [String] {
        get throws {
            let text = try Shell.sh("cat \(node.directory)/seen; rm \(node.directory)/seen")
            return text.split(separator: "\n").map(String.init)
        }
    }

    @Test("the link is there at every verb", arguments: Self.plugins)
    func looks(plugin: String, keys: String) throws {
        let keys = "\(keys),\"ipam\":{\"type\":\"onlooker\"}"
        let added = try node.plugin("ADD", plugin, keys)
        #expect(added.status == 0, "\(added.ran)")
        #expect(try node.addresses("eth0", pod: "a") == ["10.6.0.7/24"])
        let checked = try node.plugin("CHECK", plugin, keys, previous: added)
        #expect(checked.status == 0, "\(checked.ran)")
        #expect(try node.plugin("DEL", plugin, keys, previous: added).status == 0)
        #expect(try seen == ["ADD yes", "CHECK yes", "DEL yes"])
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("what an exhausted one leaves: nothing", arguments: Self.plugins)
    func exhausted(plugin: String, keys: String) throws {
        let keys = "\(keys),\"ipam\":{\"type\":\"onlooker\"}"
        try node.write("exhausted", "")
        let before = try node.links()
        let answer = try node.plugin("ADD", plugin, keys)
        #expect(answer.status == 1 && answer.message.contains("no address left"), "\(answer.ran)")
        // Its own DEL is not asked for: the address might be one of before.
        #expect(try seen == ["ADD yes"])
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.links().subtracting(["br0"]) == before)
    }

    @Test("in the meta role: several networks, each with its link first", arguments: [true, false])
    func networks(isExhausted: Bool) throws {
        let ipam = #""ipam":{"type":"onlooker"}"#
        for (plugin, keys) in Self.plugins {
            try node.define(plugin, "{\"cniVersion\":\"1.0.0\",\"type\":\"\(plugin)\",\(keys),\(ipam)}")
        }
        let networks = Self.plugins.map(\.0).filter { $0 != "ipvlan" }.joined(separator: ",")
        let config = MetaEndToEnd.config(node, networks: networks)
        if isExhausted { try node.write("exhausted", "") }
        let netns = "/run/netns/\(node.name)-a"
        let before = try node.links()
        let added = try node.call("ADD", id: node.name, netns: netns, args: "IgnoreUnknown=1", config)
        if isExhausted {
            #expect(added.status == 1 && added.message.contains("no address left"), "\(added.ran)")
            #expect(try seen == ["ADD yes"])
        } else {
            #expect(added.status == 0, "\(added.ran)")
            #expect(
                try node.call("CHECK", id: node.name, netns: netns, args: "IgnoreUnknown=1", config).status
                    == 0)
            #expect(
                try node.call("DEL", id: node.name, netns: netns, args: "IgnoreUnknown=1", config).status == 0
            )
            let count = networks.split(separator: ",").count
            let verbs = ["ADD", "CHECK", "DEL"].flatMap { Array(repeating: "\($0) yes", count: count) }
            #expect(try seen == verbs)
        }
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.links().subtracting(["br0", "cni0"]) == before)
        #expect(try node.files("state").isEmpty)
    }

    @Test("a built-in source that is exhausted leaves nothing touched", arguments: Self.plugins)
    func builtinFirst(plugin: String, keys: String) throws {
        let keys =
            "\(keys),\"ipam\":{\"type\":\"host-local\",\"dataDir\":\"DIR/ipam\",\"ranges\":[[{\"subnet\":\"10.6.0.0/30\",\"rangeStart\":\"10.6.0.2\"}]]}"
        try node.write("ipam/net/10.6.0.2", "other\r\neth0")
        let events = "\(node.directory)/events"
        let monitor = try Shell.background("ip -n \(node.name) monitor link", output: events)
        try Shell.sh("sleep 0.3")
        let added = try node.plugin("ADD", plugin, keys)
        #expect(added.status == 1 && added.message.contains("no IP addresses available"), "\(added.ran)")
        try Shell.sh("kill \(monitor)")
        #expect(try Shell.sh("cat \(events)").isEmpty)
    }
}

/// A real DHCP server, and Debian's `dhcp` daemon, which talks over the pod's link.
@Suite struct DHCPTests {
    private let node: Node
    private let processes: [String]

    init() throws {
        node = try MetaEndToEnd.node()
        _ = try node.pod("a")
        try node.sh(
            """
            ip link add lan type bridge && ip addr add 192.0.2.1/24 dev lan && ip link set lan up
            ip link add port type veth peer name uplink && ip link set port master lan up && ip link set uplink up
            """)
        processes = [
            try Shell.background(
                """
                ip netns exec \(node.name) dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --port=0 \
                --interface=lan --bind-interfaces --except-interface=lo --no-hosts --no-resolv --no-ping \
                --dhcp-authoritative --dhcp-range=192.0.2.100,192.0.2.109,255.255.255.0,120 \
                --dhcp-option=option:router,192.0.2.1 --dhcp-leasefile=\(node.directory)/leases \
                --pid-file=\(node.directory)/pid
                """),
            try Shell.background(
                "ip netns exec \(node.name) /usr/lib/cni/dhcp daemon -socketpath \(node.directory)/dhcp.sock"),
        ]
        for _ in 0..<100 where try Shell.sh("ls \(socket) \(node.directory)/pid 2>/dev/null | wc -l") != "2\n"
        {
            Thread.sleep(forTimeInterval: 0.05)
        }
    }

    private var socket: String { "\(node.directory)/dhcp.sock" }

    @Test(
        "a pod gets its lease, and gives it back",
        arguments: [
            ("bridge", #""bridge":"lan""#), ("macvlan", #""master":"uplink""#),
            ("host-device", #""device":"uplink""#),
        ])
    func lease(plugin: String, keys: String) throws {
        defer { _ = try? Shell.sh("kill \(processes.joined(separator: " "))") }
        try node.define(
            "lan",
            """
            {"cniVersion":"1.0.0","type":"\(plugin)",\(keys),"ipam":{"type":"dhcp","daemonSocketPath":"\(socket)"}}
            """)
        let config = MetaEndToEnd.config(node, networks: "lan")
        let netns = "/run/netns/\(node.name)-a"
        let added = try node.call("ADD", id: node.name, netns: netns, args: "IgnoreUnknown=1", config)
        #expect(added.status == 0, "\(added.ran)")
        let addresses = try node.addresses("net1", pod: "a")
        #expect(addresses.count == 1 && addresses.allSatisfy { $0.hasPrefix("192.0.2.10") })
        #expect(try Shell.sh("cat \(node.directory)/leases").contains("192.0.2.10"))
        try node.sh("ping -c 1 -W 3 192.0.2.1", pod: "a")
        for verb in ["CHECK", "DEL"] {
            let answer = try node.call(verb, id: node.name, netns: netns, args: "IgnoreUnknown=1", config)
            #expect(answer.status == 0, "\(answer.ran)")
        }
        for _ in 0..<100 where try Shell.sh("cat \(node.directory)/leases").contains("192.0.2.10") {
            Thread.sleep(forTimeInterval: 0.05)
        }
        #expect(try !Shell.sh("cat \(node.directory)/leases").contains("192.0.2.10"))
    }
}
