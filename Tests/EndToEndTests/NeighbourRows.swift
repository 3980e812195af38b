import Foundation
import Support
import Testing

/// What one attachment must not do to another: of the same container, of another pod, or of another program.
@Suite struct NeighbourRows {
    private let node: Node
    private let netns: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
    }

    private func meta(
        _ verb: String, interface: String = "eth0", networks: String? = "net-a", args: String = "",
        extra: String = "", delegate: String = ""
    ) throws -> Answer {
        try node.call(
            verb, netns: netns, interface: interface,
            args: "IgnoreUnknown=1\(args.isEmpty ? "" : ";\(args)")",
            MetaEndToEnd.config(node, networks: networks, extra: extra, delegate: delegate))
    }

    private func leases() throws -> Set<String> {
        try node.files("ipam").filter { !$0.contains("last") && !$0.hasSuffix("lock") }
    }

    @Test(
        "DEL of an interface that was never attached leaves the container's other one alone", arguments: 1...2
    )
    func sibling(times: Int) throws {
        let added = try meta("ADD")
        #expect(added.status == 0, "\(added.ran)")
        let before = try (node.links(pod: "a"), leases(), node.files("state"))
        #expect(try meta("ADD", interface: "eth1", networks: "none").code == 7)
        for _ in 0..<times { #expect(try meta("DEL", interface: "eth1").status == 0) }
        #expect(try node.links(pod: "a") == before.0)
        #expect(try leases() == before.1)
        #expect(try node.files("state") == before.2)
        #expect(try meta("CHECK").status == 0)
    }

    @Test("with a sibling's record torn, DEL touches nothing but its own interface")
    func tornSibling() throws {
        #expect(try meta("ADD").status == 0)
        try Shell.sh("echo torn > \(node.directory)/state/attachments/c1@eth0.json")
        #expect(try meta("DEL", interface: "eth1").status == 0)
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try leases().count == 2)
        #expect(try meta("DEL").status == 0)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try leases().isEmpty)
    }

    @Test(
        "with all records lost DEL of one interface leaves the container's other ones alone",
        arguments: ["eth0", "eth1"])
    func lostSibling(interface: String) throws {
        #expect(try meta("ADD", networks: "").status == 0)
        #expect(try meta("ADD", interface: "eth1", networks: "").status == 0)
        try Shell.sh("rm -rf \(node.directory)/state")
        #expect(try meta("DEL", interface: interface, networks: "").status == 0)
        #expect(try node.links(pod: "a") == [interface == "eth0" ? "eth1" : "eth0"])
        #expect(try leases().count == 1)
    }

    @Test("GC asks no executable while somebody lives whose interfaces are not known")
    func collectsNothingBlindly() throws {
        try node.script(
            "ext", #"[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.1.0","interfaces":[{"name":"x"}]}'"#)
        try node.define("x", #"{"cniVersion":"1.1.0","type":"ext"}"#)
        #expect(try meta("ADD", networks: "x@data0").status == 0)
        let valid = #","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]"#
        let config = MetaEndToEnd.config(node, version: "1.1.0", networks: nil, extra: valid)
        #expect(try node.call("GC", netns: "", config).status == 0)
        let log = "\(node.directory)/ext.log"
        #expect(try Shell.sh("tail -1 \(log)") == "GC\n")
        try node.write("state/attachments/c1@eth0.json", "torn")
        #expect(try node.call("GC", netns: "", config).status == 0)
        #expect(try Shell.sh("grep -c GC \(log)") == "1\n")
    }

    @Test("GC of a torn record spares the container's living interface")
    func collectsOne() throws {
        #expect(try meta("ADD").status == 0)
        try node.write("state/attachments/c1@eth1.json", "torn")
        let valid = #","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]"#
        let answer = try node.call(
            "GC", netns: "", MetaEndToEnd.config(node, version: "1.1.0", networks: nil, extra: valid))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try leases().count == 2)
        #expect(try node.files("state").filter { $0.contains("eth1") }.isEmpty)
    }

    @Test("DEL keeps the lease of a link that another program attached and that is still there")
    func foreignLease() throws {
        try node.sh("ip link add v9 type veth peer name eth0 netns \(node.name)-a")
        try node.write("ipam/other/10.20.0.2", "c1\r\neth0")
        #expect(try meta("DEL", interface: "eth1").status == 0)
        #expect(try node.links(pod: "a") == ["eth0"])
        #expect(try leases() == ["other/10.20.0.2"])
    }

    @Test("DEL succeeds after an ADD that was refused, and leaves no file")
    func neverAttached() throws {
        try node.define("bad", #"{"cniVersion":"1.0.0","type":"brigde"}"#)
        try node.define("odd", #"{"cniVersion":"1.0.0","type":"bridge","args":"x"}"#)
        for networks in ["bad", #"[{"name":"odd","cni-args":{"a":1}}]"#] {
            #expect(try meta("ADD", networks: networks).status == 1)
            let deleted = try meta("DEL", networks: networks)
            #expect(deleted.status == 0, "\(deleted.ran)")
        }
        #expect(try node.files("state").isEmpty)
    }

    @Test(
        "a key that became nonsense does not keep a recorded pod from going",
        arguments: [
            #""delegates":{}"#, #""logLevel":5"#, #""confDir":5"#, #""networks":5"#, #""dns":7"#,
            #""capabilities":[]"#,
            #""delegates":[{"type":"bridge","name":"x","ipam":{"type":"host-local","dataDir":5}}]"#,
        ])
    func nonsense(key: String) throws {
        #expect(try meta("ADD").status == 0)
        let deleted = try node.call(
            "DEL", netns: netns,
            #"{"cniVersion":"1.0.0","name":"n","type":"plexus","cniDir":"\#(node.directory)/state",\#(key)}"#)
        #expect(deleted.status == 0, "\(deleted.ran)")
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try leases().isEmpty)
    }

    @Test("CNI_ARGS IP and MAC are the runtime's own network's alone")
    func runtimeArguments() throws {
        let answer = try meta("ADD", args: "IP=10.244.0.99;MAC=02:00:00:00:00:77")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses("eth0", pod: "a") == ["10.244.0.99/24"])
        #expect(try node.addresses("net1", pod: "a") == ["192.168.12.10/24"])
        let macs = try ["eth0", "net1"].map { try node.ip("link show \($0)", pod: "a")[0]["address"].string }
        #expect(macs[0] == "02:00:00:00:00:77" && macs[1] != macs[0])
    }

    @Test("a name that the pod has is refused before the first network", arguments: ["net1", "lo", "a%d"])
    func presentName(name: String) throws {
        if name == "net1" { try node.sh("ip link add net1 type bridge", pod: "a") }
        try node.script("spy", #"echo '{"cniVersion":"1.0.0"}'"#)
        let networks = #"[{"name":"net-a","interface":"\#(name)"}]"#
        let config = MetaEndToEnd.config(node, networks: networks)
            .replacing(
                "\"type\":\"bridge\",\"bridge\":\"cni0\"", with: "\"type\":\"spy\",\"bridge\":\"cni0\"")
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 1 && answer.message.contains(name), "\(answer.ran)")
        #expect(try node.files("").contains("spy.log") == false)
        #expect(try node.files("state").isEmpty)
    }

    @Test("a default route that is refused names the network")
    func defaultRoute() throws {
        let answer = try meta("ADD", networks: #"[{"name":"net-a","default-route":["203.0.113.1"]}]"#)
        #expect(answer.message.hasPrefix("default/net-a on net1: default-route: "), "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test("after a reboot the container is attached again: what it had is cleared away first")
    func reboot() throws {
        #expect(try meta("ADD").status == 0)
        try node.removePod("a")
        for _ in 0..<100 where try node.links().count > 2 { Thread.sleep(forTimeInterval: 0.05) }
        _ = try node.pod("b")
        let answer = try node.call(
            "ADD", netns: "/run/netns/\(node.name)-b", args: MetaEndToEnd.pod, MetaEndToEnd.config(node))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try leases().count == 2)
        #expect(try node.links(pod: "b") == ["eth0", "net1"])
        let again = try node.call(
            "ADD", netns: "/run/netns/\(node.name)-b", args: MetaEndToEnd.pod, MetaEndToEnd.config(node))
        #expect(again.message.contains("is attached already"), "\(again.ran)")
        #expect(try node.links(pod: "b") == ["eth0", "net1"])
    }

    @Test("an address that the pod's live link has is not given back over a second ADD that was refused")
    func externalIPAM() throws {
        try node.script("pool", #"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24"}]}'"#)
        let keys = #""bridge":"cni0","ipam":{"type":"pool"}"#
        #expect(try node.plugin("ADD", "bridge", keys).status == 0)
        #expect(try node.plugin("ADD", "bridge", keys).message.contains("already exists"))
        try node.script("pool", #"echo '{"code":100,"msg":"duplicate"}'; exit 1"#)
        _ = try node.pod("b")
        #expect(try node.plugin("ADD", "bridge", keys, pod: "b").code == 100)
        #expect(try Shell.sh("cat \(node.directory)/pool.log") == "ADD\nADD\n")
    }

    @Test(
        "a plugin by its own name takes one container ID for two pods, as the reference's random names allow")
    func sameIDTwice() throws {
        _ = try node.pod("b")
        var macs: Set<String> = []
        for pod in ["a", "b"] {
            let answer = try node.plugin("ADD", "bridge", #""bridge":"cni0""#, pod: pod)
            #expect(answer.status == 0, "\(answer.ran)")
            macs.insert(try node.ip("link show eth0", pod: pod)[0]["address"].string ?? "")
        }
        #expect(macs.count == 2)
        #expect(try node.ip("link show master cni0").list.count == 2)
        for pod in ["b", "a"] {
            #expect(try node.plugin("DEL", "bridge", #""bridge":"cni0""#, pod: pod).status == 0)
            #expect(try node.links(pod: pod).isEmpty)
            #expect(try node.ip("link show master cni0").list.count == (pod == "b" ? 1 : 0))
        }
    }

    @Test("a pod that was made anew under its name at once gets its link", arguments: 1...3)
    func anewAtOnce(round: Int) throws {
        for _ in 0..<3 {
            let answer = try node.plugin("ADD", "bridge", #""bridge":"cni0""#)
            #expect(answer.status == 0, "\(answer.ran)")
            try node.sh("ip -d link")
            try node.removePod("a")
            _ = try node.pod("a")
        }
    }

    @Test("macspoofchk of c1-eth0 survives the DEL of c1-eth01, and too long names are refused")
    func spoofNames() throws {
        let keys = #""bridge":"cni0","macspoofchk":true"#
        #expect(try node.plugin("ADD", "bridge", keys, interface: "eth0").status == 0)
        #expect(try node.plugin("ADD", "bridge", keys, interface: "eth01").status == 0)
        #expect(try node.plugin("DEL", "bridge", keys, interface: "eth0").status == 0)
        let rules = try node.sh("nft list ruleset")
        #expect(
            rules.contains("comment \"macspoofchk-c1-eth01\"") && !rules.contains("macspoofchk-c1-eth0\""))
        let long = String(repeating: "b", count: 120)
        #expect(try node.plugin("ADD", "bridge", keys, id: long, interface: "eth2").status == 1)
        #expect(try node.plugin("DEL", "bridge", keys, id: long, interface: "eth2").status == 0)
    }
}
