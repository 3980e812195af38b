import Foundation
import Support
import Testing

/// `plexus explain` for people.
@Suite struct Explaining {
    private func node() throws -> Node {
        let node = try MetaEndToEnd.node()
        try node.define(
            "guarded",
            """
            {"cniVersion":"1.0.0","plugins":[{"type":"bridge","bridge":"br-g","macspoofchk":true,"isGateway":true,"ipMasq":true,
             "ipam":{"type":"host-local","dataDir":"\(node.directory)/ipam","ranges":[[{"subnet":"10.7.0.0/24"}],
             [{"subnet":"fd00:7::/64"}]]}},{"type":"tuning","mtu":1400,"sysctl":{"net.core.somaxconn":"512"}}]}
            """)
        try node.write("plexus.conf", MetaEndToEnd.config(node, networks: "net-a,guarded"))
        return node
    }

    private func explain(_ node: Node, _ words: String) throws -> Ran {
        try Shell.run([
            "ip", "netns", "exec", node.name, "bash", "-c", "\(node.directory)/bin/plexus explain \(words)",
        ])
    }

    @Test func thePlanCanBeTyped() throws {
        let node = try node()
        let plan = try explain(node, "--config \(node.directory)/plexus.conf")
        #expect(plan.status == 0, "\(plan)")
        #expect(!plan.output.contains("<"))
        // Each command by itself: a plan says nothing of what fails.
        _ = try node.pod("a")
        try node.write("plan", plan.output.replacing("POD", with: "\(node.name)-a"))
        try node.sh("set -e; . \(node.directory)/plan")
        #expect(try node.links(pod: "a") == ["eth0", "net1", "net2"])
        #expect(try node.addresses("net1", pod: "a") == ["192.168.12.10/24"])
        #expect(try node.addresses("net2", pod: "a") == ["10.7.0.2/24", "fd00:7::2/64"])
        #expect(try node.sh("ip route show default", pod: "a").contains("via 10.244.0.1 dev eth0"))
        #expect(try node.ip("link show net2", pod: "a")[0]["mtu"].int == 1400)
        try node.sh("ping -c 1 -W 5 10.7.0.1 && ping -c 1 -W 5 10.244.0.1", pod: "a")
        // And it is what an ADD makes.
        let rules = try node.sh("nft list ruleset")
        try node.sh(
            "for l in eth0 net1 net2; do ip -n \(node.name)-a link del $l; done; ip link del cni0; ip link del mybr0; ip link del br-g; nft flush ruleset"
        )
        _ = try node.pod("b")
        let answer = try node.call(
            "ADD", id: "example", netns: "/run/netns/\(node.name)-b", args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, networks: "net-a,guarded"))
        #expect(answer.status == 0, "\(answer.ran)")
        func bare(_ text: String) -> [String] {
            text.replacing(#/ comment "[^"]*"/#, with: "").split(separator: "\n").map(String.init)
                .filter { !$0.contains("comment") }
        }
        #expect(bare(try node.sh("nft list ruleset")) == bare(rules))
    }

    /// Whatever a link is called: ip has words of its own, and so have the shell and nft.
    @Test(arguments: [
        "-h", "help", "dev", "group", "name", "type", "up", "link", "peer", "netns", "master", "via", "scope",
        "0",
        "$(id)", "a'b", "#", ";", "*", "~", "a@b", "a\\b",
    ])
    func thePlanCanBeTypedWithAnyName(name: String) throws {
        let node = try node()
        func quoted(_ value: Any) throws -> String {
            try String(decoding: JSONSerialization.data(withJSONObject: value), as: UTF8.self)
        }
        let ipam: [String: Any] = ["type": "static", "addresses": [["address": "10.7.0.2/24"]]]
        try node.define(
            "odd",
            try quoted([
                "cniVersion": "1.0.0",
                "plugins": [
                    ["type": "bridge", "bridge": name, "isGateway": true, "macspoofchk": true, "ipam": ipam],
                    ["type": "tuning", "mtu": 1400],
                ],
            ]))
        try node.define("below", try quoted(["cniVersion": "1.0.0", "type": "macvlan", "master": name]))
        try node.define("taken", try quoted(["cniVersion": "1.0.0", "type": "host-device", "device": name]))
        _ = try node.pod("a")
        func type(_ network: String, _ interface: String) throws {
            try node.write("selection", try quoted([["name": network, "interface": interface]]))
            let plan = try explain(
                node, "-c \(node.directory)/plexus.conf --networks \"$(cat \(node.directory)/selection)\"")
            #expect(plan.status == 0, "\(plan)")
            let part = plan.output.components(separatedBy: "\n# \(interface)  ").last ?? ""
            try node.write("plan", "# " + part.replacing("POD", with: "\(node.name)-a"))
            let typed = try Shell.run(
                ["ip", "netns", "exec", node.name, "bash", "-e", "\(node.directory)/plan"])
            #expect(typed.status == 0 && typed.errors.isEmpty, "\(typed)\n\(part)")
            #expect(try node.links(pod: "a").contains(interface), "\(part)")
        }
        try type("odd", name)
        #expect(try node.links().contains(name))
        try type("below", "m0")
        try node.define("taken", try quoted(["cniVersion": "1.0.0", "type": "host-device", "device": name]))
        _ = try Shell.run(["ip", "-n", node.name, "link", "delete", "dev", name])
        _ = try Shell.run([
            "ip", "-n", node.name, "link", "add", "name", name, "type", "veth", "peer", "name", "far",
        ])
        try type("taken", "t0")
    }

    @Test func aSlowPipeIsReadToItsEnd() throws {
        let node = try node()
        let plan = try explain(node, "-c <(sleep 0.3; cat \(node.directory)/plexus.conf)")
        #expect(plan.status == 0 && plan.output.contains("# net1  default/net-a\n"), "\(plan)")
    }

    @Test func signsAreReadable() throws {
        let node = try node()
        try node.define("odd", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"<&>","mtu":"<&>"}"#)
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, networks: "odd"))
        #expect(answer.ran.output.contains("<&>"), "\(answer.ran)")
        try node.define("odd", #"{"cniVersion":"1.0.0","type":"tuning","sysctl":{"net.core.x":"<&>"}}"#)
        let plan = try explain(node, "-c \(node.directory)/plexus.conf --networks net-a,guarded -o json")
        #expect(!plan.output.contains("\\u003"), "\(plan)")
    }
}
