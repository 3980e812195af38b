import Foundation
import Support
import Testing

/// Every definition in conf/ attaches, is checked and goes again.
@Suite struct ConfFiles {
    private static let folder = "\(Node.repository)/conf/net-attach-def/default"
    static let names: [String] = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    /// Those that need what this kernel may lack.
    private static let ofVLANs = ["vlan100.yaml"]
    private static let ofIpvlan = ["ipvlan-l2.yaml", "ipvlan-l3.yaml", "ipvlan-l3s.yaml"]
    private static let ofDummy = ["dummy.yaml"]
    static let gated = ofVLANs + ofIpvlan + ofDummy
    /// Those that need a server.
    static let ofDHCP = ["host-device-dhcp.yaml", "macvlan-dual.yaml"]
    /// Addresses that the pod's annotation asks for.
    static let asked = ["macvlan-tuned.yaml": "192.168.12.50/24"]

    /// Whether this kernel has what the file needs.
    static func isPossible(_ file: String) -> Bool {
        !(ofVLANs.contains(file) && !Feature.vlanFiltering) && !(ofIpvlan.contains(file) && !Feature.ipvlan)
            && !(ofDummy.contains(file) && !Feature.dummy)
    }

    @Test(arguments: names.filter { !gated.contains($0) })
    func attaches(file: String) throws { try run(file) }

    @Test(
        .enabled(if: Feature.vlanFiltering, "this kernel's bridges have no VLANs; the VM's have"),
        arguments: ofVLANs)
    func attachesWithVLANs(file: String) throws { try run(file) }

    @Test(
        .enabled(if: Feature.ipvlan, "this kernel has no ipvlan; the VM's has"), arguments: ofIpvlan)
    func attachesWithIpvlan(file: String) throws { try run(file) }

    @Test(.enabled(if: Feature.dummy, "this kernel has no dummy; the VM's has"), arguments: ofDummy)
    func attachesWithDummy(file: String) throws { try run(file) }

    private func run(_ file: String) throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        try Self.uplink(node)
        let server = Self.ofDHCP.contains(file) ? try Self.server(node) : nil
        defer { if let server { _ = try? Shell.sh("kill \(server)") } }
        let text = try String(contentsOfFile: "\(Self.folder)/\(file)", encoding: .utf8)
        // Addresses are written down in the test's own folder.
        let own = text.replacing(
            "\"type\": \"host-local\"",
            with: "\"type\": \"host-local\", \"dataDir\": \"\(node.directory)/ipam\""
        ).replacing(
            "\"type\": \"dhcp\"", with: "\"type\": \"dhcp\", \"leaseDir\": \"\(node.directory)/leases\"")
        try node.write("cache/net-attach-def/default/\(file)", own)
        let name = String(file.prefix { $0 != "." })
        let selection = Self.asked[file].map { "[{\"name\":\"\(name)\",\"ips\":[\"\($0)\"]}]" } ?? name
        let config = MetaEndToEnd.config(node, networks: selection)
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try !node.addresses("net1", pod: "a").isEmpty)
        #expect(try node.call("CHECK", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        #expect(try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.files("ipam").allSatisfy { $0.hasSuffix("/lock") || $0.contains("last_reserved") })
        #expect(try node.files("leases").allSatisfy { $0 == "lock" })
    }

    /// One of DHCP, on the other machine; its number.
    private static func server(_ node: Node) throws -> String {
        try node.sh("ip addr add 192.168.12.1/24 dev far && ip addr add fd00:12::1/64 dev far nodad")
        return try Shell.background(
            "ip netns exec \(node.name) dnsmasq -k -C /dev/null -u root --port=0 --no-ping -i far --bind-interfaces"
                + " --pid-file= -l \(node.directory)/leasefile -F 192.168.12.100,192.168.12.199"
                + " -F fd00:12::100,fd00:12::1ff,slaac,64 --enable-ra")
    }

    /// What the files call the node's second card; `far` is another machine.
    static func uplink(_ node: Node) throws {
        try node.sh(
            "ip link add ens4 address 02:00:00:00:00:e4 type veth peer name far && ip link set ens4 up && ip link set far up"
        )
    }
}

/// The article's networks as an operator looks at them.
@Suite struct OperatorsView {
    private func attach(_ node: Node, _ file: String, _ networks: [String: String]) throws -> String {
        let text = try String(
            contentsOfFile: "\(Node.repository)/conf/net-attach-def/default/\(file).yaml", encoding: .utf8)
        let own = text.replacing(
            "\"type\": \"host-local\"",
            with: "\"type\": \"host-local\", \"dataDir\": \"\(node.directory)/ipam\"")
        try node.write("cache/net-attach-def/default/\(file).yaml", own)
        for (pod, selection) in networks.sorted(by: { $0.key < $1.key }) {
            let answer = try node.call(
                "ADD", id: "\(node.name)-\(pod)", netns: try node.pod(pod), args: MetaEndToEnd.pod,
                MetaEndToEnd.config(node, networks: selection))
            #expect(answer.status == 0, "\(answer.ran)")
        }
        return MetaEndToEnd.config(node, networks: networks["a"])
    }

    private func selection(_ ip: String) -> String { "[{\"name\":\"macvlan-tuned\",\"ips\":[\"\(ip)\"]}]" }

    @Test("a chain of macvlan, tuning and route-override: the seed scenario")
    func macvlanChain() throws {
        let node = try MetaEndToEnd.node()
        try ConfFiles.uplink(node)
        try node.sh("ip addr add 192.168.12.1/24 dev far")
        let pods = ["a": selection("192.168.12.50/24"), "b": selection("192.168.12.51/24")]
        let config = try attach(node, "macvlan-tuned", pods)
        #expect(try node.sh("ip -o link show type macvlan", pod: "a").contains("net1@"))
        #expect(try node.addresses("net1", pod: "a") == ["192.168.12.50/24"])
        #expect(try node.sh("ip route", pod: "a").contains("192.168.9.0/24 via 192.168.12.1 dev net1"))
        #expect(try node.sh("cat /proc/sys/net/core/somaxconn", pod: "a") == "512\n")
        try node.sh("ping -c 1 -w 10 -I net1 192.168.12.51 && ping -c 1 -W 3 -I net1 192.168.12.1", pod: "a")
        // Each has a MAC address of its own.
        let seen = try node.ip("neigh show 192.168.12.50 dev far")[0]["lladdr"].string
        #expect(seen == (try node.ip("link show net1", pod: "a")[0]["address"].string))
        #expect(seen != "02:00:00:00:00:e4")
        let netns = "/run/netns/\(node.name)-a"
        #expect(
            try node.call("CHECK", id: "\(node.name)-a", netns: netns, args: MetaEndToEnd.pod, config).status
                == 0)
        #expect(
            try node.call("DEL", id: "\(node.name)-a", netns: netns, args: MetaEndToEnd.pod, config).status
                == 0)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.sh("cat /proc/sys/net/core/somaxconn", pod: "a") == "4096\n")
    }

    @Test(
        "ipvlan: the pods are reached at the master's MAC address",
        .enabled(if: Feature.ipvlan, "this kernel has no ipvlan; the VM's has"),
        arguments: ["l2", "l3", "l3s"])
    func ipvlan(mode: String) throws {
        let node = try MetaEndToEnd.node()
        try ConfFiles.uplink(node)
        try node.sh("ip addr add 192.168.17.1/24 dev far")
        let name = "ipvlan-\(mode)"
        let config = try attach(node, name, ["a": name, "b": name])
        #expect(try node.sh("ip -o link show type ipvlan", pod: "a").contains("net1@"))
        try node.sh("ping -c 1 -w 10 -I net1 192.168.17.11", pod: "a")
        if mode == "l2" {
            try node.sh("ping -c 1 -w 10 -I net1 192.168.17.1", pod: "a")
            #expect(
                try node.ip("neigh show 192.168.17.10 dev far")[0]["lladdr"].string == "02:00:00:00:00:e4")
        }
        for pod in ["b", "a"] {
            let netns = "/run/netns/\(node.name)-\(pod)"
            #expect(
                try node.call("DEL", id: "\(node.name)-\(pod)", netns: netns, args: MetaEndToEnd.pod, config)
                    .status == 0
            )
        }
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("host-device: before and after, with its MAC address", arguments: [true, false])
    func hostDevice(stateLives: Bool) throws {
        let node = try MetaEndToEnd.node()
        try ConfFiles.uplink(node)
        let config = try attach(node, "host-device", ["a": "host-device"])
        #expect(try node.ip("link show net1", pod: "a")[0]["address"].string == "02:00:00:00:00:e4")
        #expect(try !node.links().contains("ens4"))
        if !stateLives { try Shell.sh("rm -rf \(node.directory)/state") }
        let answer = try node.call(
            "DEL", id: "\(node.name)-a", netns: "/run/netns/\(node.name)-a", args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        let back = try node.ip("link show ens4")[0]
        #expect(back["address"].string == "02:00:00:00:00:e4")
        #expect(back["flags"].list.contains { $0.string == "UP" })
        #expect(try node.links(pod: "a").isEmpty)
    }
}
