import Foundation
import Support
import Testing

/// What `plexus explain` prints, typed line by line into a fresh node and pod, makes what ADD makes.
@Suite struct ExplainedPlans {
    private static let folder = "\(Node.repository)/conf/net-attach-def/default"
    private static let bridge = #""type":"bridge","bridge":"br-x""#
    private static let v4 =
        #""ipam":{"type":"host-local","dataDir":"DIR/ipam","ranges":[[{"subnet":"10.7.0.0/24"}]]}"#
    private static let dual =
        #""ipam":{"type":"host-local","dataDir":"DIR/ipam","ranges":[[{"subnet":"10.7.0.0/24"}],[{"subnet":"fd00:7::/64"}]],"routes":[{"dst":"10.9.0.0/16"},{"dst":"fd00:9::/64"}]}"#

    /// Plugins of a list, beside the files in conf/.
    private static let lists = [
        "ipv6": "{\(bridge),\"isGateway\":true,\"isDefaultGateway\":true,\(dual)}",
        "dad": "{\(bridge),\"isGateway\":true,\"enabledad\":true,\(dual)}",
        "masquerade": "{\(bridge),\"isGateway\":true,\"ipMasq\":true,\(dual)}",
        "iptables": "{\(bridge),\"isGateway\":true,\"ipMasq\":true,\"ipMasqBackend\":\"iptables\",\(dual)}",
        "spoof": "{\(bridge),\"macspoofchk\":true,\(v4)}",
        "port":
            "{\(bridge),\"hairpinMode\":true,\"portIsolation\":true,\"mtu\":1400,\(v4)}",
        "promisc": "{\(bridge),\"promiscMode\":true,\(v4)}",
        "layer2": "{\(bridge)}", "down": "{\(bridge),\"disableContainerInterface\":true}",
        "macvlan": "{\"type\":\"macvlan\",\"master\":\"ens4\",\"mode\":\"vepa\",\"bcqueuelen\":2000,\(dual)}",
        "passthru":
            "{\"type\":\"macvlan\",\"master\":\"ens4\",\"mode\":\"passthru\",\"mac\":\"02:00:00:00:00:55\"}",
        "device": "{\"type\":\"host-device\",\"device\":\"ens4\",\(dual)}",
        "tuned":
            "{\(bridge),\(v4)},{\"type\":\"tuning\",\"mac\":\"02:00:00:00:00:66\",\"mtu\":1300,\"promisc\":true,\"allmulti\":true,\"txQLen\":77,\"sysctl\":{\"net.core.somaxconn\":\"512\",\"net.ipv4.conf.IFNAME.log_martians\":\"1\"}}",
        "tuned-device": "{\"type\":\"host-device\",\"device\":\"ens4\"},{\"type\":\"tuning\",\"mtu\":1300}",
        "routes":
            "{\(bridge),\"isGateway\":true,\"isDefaultGateway\":true,\(dual)},{\"type\":\"route-override\",\"flushgateway\":true,\"delroutes\":[{\"dst\":\"10.9.0.0/16\"}],\"addroutes\":[{\"dst\":\"10.8.0.0/16\",\"gw\":\"10.7.0.1\",\"priority\":50,\"mtu\":1300}]}",
    ]
    private static let ofVLANs = [
        "vlan":
            "{\(bridge),\"vlan\":100,\"vlanTrunk\":[{\"minID\":200,\"maxID\":210},{\"id\":300}],\"isGateway\":true,\(v4)}"
    ]

    @Test(arguments: lists.keys.sorted())
    func ofAList(name: String) throws { try compare(name, Self.lists[name] ?? "") }

    @Test(.enabled(if: Feature.vlanFiltering, "this kernel's bridges have no VLANs; the VM's have"))
    func ofVLANs() throws {
        for (name, plugins) in Self.ofVLANs { try compare(name, plugins) }
    }

    // What only a server knows is no plan.
    @Test(arguments: ConfFiles.names.filter { !(ConfFiles.gated + ConfFiles.ofDHCP).contains($0) })
    func ofAFile(file: String) throws { try compare(String(file.prefix { $0 != "." }), nil) }

    @Test(
        .enabled(
            if: ConfFiles.gated.contains { ConfFiles.isPossible($0) }, "this kernel lacks what they need"),
        arguments: ConfFiles.gated.filter { ConfFiles.isPossible($0) })
    func ofAFileThatNeedsMore(file: String) throws {
        try compare(String(file.prefix { $0 != "." }), nil)
    }

    @Test("the default route that moves")
    func ofADefaultRoute() throws {
        try compare("ipv6", Self.lists["ipv6"], selection: #","default-route":["10.7.0.1"]"#)
    }

    // MARK: Typing and comparing

    private func compare(_ name: String, _ plugins: String?, selection: String = "") throws {
        let (typed, added) = (try node(name, plugins), try node(name, plugins))
        let asked = ConfFiles.asked["\(name).yaml"].map { ",\"ips\":[\"\($0)\"]" } ?? ""
        let networks = "[{\"name\":\"\(name)\"\(asked)\(selection)}]"
        try typed.write("plexus.conf", MetaEndToEnd.config(typed, networks: networks))
        let plan = try Shell.run([
            "ip", "netns", "exec", typed.name, "\(typed.directory)/bin/plexus", "explain", "-c",
            "\(typed.directory)/plexus.conf",
        ])
        try #require(plan.status == 0, "\(plan)")
        let script = plan.output.replacing("POD", with: "\(typed.name)-a").replacing("HOST", with: typed.name)
            .replacing("# wait until ", with: "sleep 0.5 # ")
        try typed.write("plan", script)
        let ran = try Shell.run(["ip", "netns", "exec", typed.name, "bash", "-e", "\(typed.directory)/plan"])
        try #require(ran.status == 0 && ran.errors.isEmpty, "\(ran)\n\(plan.output)")
        let answer = try added.call(
            "ADD", id: "example", netns: "/run/netns/\(added.name)-a", args: MetaEndToEnd.pod,
            MetaEndToEnd.config(added, networks: networks))
        try #require(answer.status == 0, "\(answer.ran)")
        for pod in [nil, "a"] {
            var (missing, extra): ([String], [String]) = ([], [])
            // Carriers and tentative addresses take their time.
            for _ in 0..<30 {
                let (one, other) = (try state(typed, pod, plan.output), try state(added, pod, plan.output))
                (missing, extra) = (other.subtracting(one).sorted(), one.subtracting(other).sorted())
                if missing.isEmpty, extra.isEmpty { break }
                Thread.sleep(forTimeInterval: 0.2)
            }
            #expect(
                missing.isEmpty && extra.isEmpty,
                "\(pod ?? "host"): \(missing) instead of \(extra)\n\(plan.output)")
        }
    }

    private func node(_ name: String, _ plugins: String?) throws -> Node {
        let node = try MetaEndToEnd.node()
        _ = try node.pod("a")
        try ConfFiles.uplink(node)
        if let plugins {
            let list = "{\"cniVersion\":\"1.0.0\",\"plugins\":[\(plugins)]}"
            try node.define(name, list.replacing("DIR", with: node.directory))
        } else {
            let text = try String(contentsOfFile: "\(Self.folder)/\(name).yaml", encoding: .utf8)
            try node.write(
                "cache/net-attach-def/default/\(name).yaml",
                text.replacing(
                    "\"type\": \"host-local\"",
                    with: "\"type\": \"host-local\", \"dataDir\": \"\(node.directory)/ipam\""))
        }
        return node
    }

    /// Links, addresses, routes, rules, settings and rulesets of one side, one line for each property, without what chance or
    /// the order of creation decides.
    private func state(_ node: Node, _ pod: String?, _ plan: String) throws -> Set<String> {
        var lines: Set<String> = []
        func add(_ prefix: String, _ command: String, without keys: [String] = []) throws {
            let text = try node.sh(command, pod: pod)
            guard !text.isEmpty else { return }
            var list = try JSONSerialization.jsonObject(with: Data(text.utf8))
            if let object = list as? [String: Any] { list = object["nftables"] ?? [] }
            for entry in list as? [Any] ?? [] { flatten(entry, prefix, keys, &lines) }
        }
        let chance = [
            "ifindex", "link_index", "link_netnsid", "iflink", "stats", "stats64", "gc_timer", "hello_timer",
            "group_addr", "bridge_id", "root_id", "designated_root", "designated_bridge", "message_age_timer",
            "forward_delay_timer", "hold_timer", "tcn_timer", "topology_change_timer", "valid_life_time",
            "preferred_life_time", "tentative", "handle", "pos", "port_id", "port_no", "no", "id", "metainfo",
            "timer", "promiscuity", "parentdev",
        ]
        try add("link", "ip -j -d link", without: chance)
        try add("addr", "ip -j addr", without: chance)
        try add("route", "ip -j route show table all", without: ["nhid"])
        try add("route6", "ip -6 -j route show table all", without: ["nhid", "expires"])
        try add("rule", "ip -j rule")
        try add("port", "bridge -j -d link", without: chance)
        try add("vlan", "bridge -j vlan")
        if pod == nil { try add("nft", "nft -j list ruleset", without: chance) }
        let settings = try node.sh(
            "cd /proc/sys/net && grep -rs '' core/somaxconn ipv4/ip_forward ipv4/conf ipv6/conf | grep -v stable_secret; true",
            pod: pod)
        for line in settings.split(separator: "\n") { lines.insert("sysctl \(line)") }
        // Addresses that the kernel made from a MAC address of chance, and those MAC addresses that no step gives.
        return lines.filter { line in
            if line.contains("fe80") || line.contains("ff0") { return false }
            guard let mac = line.firstMatch(of: #/ address (..:..:..:..:..:..)$/#)?.1 else { return true }
            return plan.contains(mac)
        }
    }

    private func flatten(_ value: Any, _ path: String, _ keys: [String], _ lines: inout Set<String>) {
        if let object = value as? [String: Any] {
            let name = ["ifname", "dst", "table", "name"].compactMap { object[$0] as? String }.first ?? ""
            // The test's own far end has an address of chance.
            if object["ifname"] as? String == "far" { return }
            // The kernel makes a link-local address when there was a carrier for a moment.
            if object["family"] as? String == "inet6", object["scope"] as? String == "link" { return }
            for (key, value) in object where !keys.contains(key) {
                flatten(value, "\(path) \(name) \(key)", keys, &lines)
            }
        } else if let list = value as? [Any] {
            for value in list { flatten(value, path, keys, &lines) }
        } else {
            lines.insert("\(path) \(value)")
        }
    }
}
