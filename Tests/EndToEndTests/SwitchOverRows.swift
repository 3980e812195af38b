import Foundation
import Support
import Testing

/// A node that goes over from Debian's plugins to Plexus, and back, while pods run.
@Suite struct SwitchOverRows {
    private let node: Node

    init() throws {
        node = try Node()
        _ = try node.pod("a")
    }

    enum Side: String { case debian, plexus }

    private func call(
        _ verb: String, _ side: Side, _ keys: String, previous: Answer? = nil, pod: String? = "a"
    )
        throws -> Answer
    {
        guard side == .debian else {
            return try node.plugin(verb, "bridge", keys, previous: previous, pod: pod)
        }
        let config = [
            #""cniVersion":"1.0.0","name":"net","type":"bridge""#, keys,
            previous.map { "\"prevResult\":\($0.ran.output)" } ?? "",
        ].filter { !$0.isEmpty }.joined(separator: ",").replacing("DIR", with: node.directory)
        let ran = try Shell.run(
            ["ip", "netns", "exec", node.name, "/usr/lib/cni/bridge"], input: "{\(config)}",
            environment: [
                "CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0",
                "CNI_NETNS": pod.map { "/run/netns/\(node.name)-\($0)" } ?? "", "CNI_PATH": "/usr/lib/cni",
            ])
        return Answer(ran: ran)
    }

    /// Links, addresses and rules that an attachment leaves; the bridge stays. The host's end of a pair whose other
    /// namespace died goes within a moment.
    private func leftovers() throws -> [String] {
        for _ in 0..<100 where try !node.links().subtracting(["cni0"]).isEmpty {
            Thread.sleep(forTimeInterval: 0.05)
        }
        let rules = try node.sh("nft list ruleset; iptables-save -t nat; ip6tables-save -t nat")
        return try node.links().subtracting(["cni0"]).sorted() + node.links(pod: "a").sorted()
            + node.leases().sorted()
            + rules.split(separator: "\n").map(String.init).filter {
                $0.contains("c1") || $0.contains("CNI-")
            }
    }

    @Test(
        "SW-01, SW-03: attached by Debian's bridge, checked and deleted by ours",
        arguments: [
            "", #""ipMasq":true"#, #""macspoofchk":true,"ipMasq":true"#, #""hairpinMode":true,"mtu":1400"#,
        ])
    func toPlexus(keys: String) throws {
        let all = ["\"isDefaultGateway\":true", keys, Node.ipam("10.1.2.0/24", "2001:db8:1::/64")].filter {
            !$0.isEmpty
        }
        .joined(separator: ",")
        let added = try call("ADD", .debian, all)
        #expect(added.status == 0, "\(added.ran)")
        #expect(try call("CHECK", .plexus, all, previous: added).status == 0)
        let deleted = try call("DEL", .plexus, all, previous: added)
        #expect(deleted.status == 0, "\(deleted.ran)")
        #expect(try leftovers().isEmpty)
    }

    @Test("SW-01: the namespace died between Debian's ADD and our DEL", arguments: ["with", "without"])
    func toPlexusWithoutNamespace(result: String) throws {
        let all = "\"isDefaultGateway\":true,\"ipMasq\":true,\"macspoofchk\":true,\(Node.ipam("10.1.2.0/24"))"
        let added = try call("ADD", .debian, all)
        #expect(added.status == 0, "\(added.ran)")
        try node.removePod("a")
        let deleted = try call("DEL", .plexus, all, previous: result == "with" ? added : nil)
        #expect(deleted.status == 0, "\(deleted.ran)")
        _ = try node.pod("a")
        #expect(try leftovers().isEmpty)
    }

    @Test(
        "SW-02, SW-03: attached by ours, checked and deleted by Debian's bridge",
        arguments: [
            "", #""macspoofchk":true"#, #""ipMasq":true,"ipMasqBackend":"iptables""#,
        ])
    func toDebian(keys: String) throws {
        let all = ["\"isDefaultGateway\":true", keys, Node.ipam("10.1.2.0/24", "2001:db8:1::/64")].filter {
            !$0.isEmpty
        }
        .joined(separator: ",")
        let added = try call("ADD", .plexus, all)
        #expect(added.status == 0, "\(added.ran)")
        let checked = try call("CHECK", .debian, all, previous: added)
        #expect(checked.status == 0, "\(checked.ran)")
        let deleted = try call("DEL", .debian, all, previous: added)
        #expect(deleted.status == 0, "\(deleted.ran)")
        #expect(try leftovers().isEmpty)
    }

    @Test("SW-01: rules of old releases, which name the address's network, go as well")
    func oldRules() throws {
        let all =
            "\"ipMasq\":true,\"ipMasqBackend\":\"iptables\",\"isGateway\":true,\(Node.ipam("10.1.2.0/24"))"
        let added = try call("ADD", .plexus, all)
        #expect(added.status == 0, "\(added.ran)")
        try node.sh(
            """
            c=$(iptables -t nat -S POSTROUTING | grep -o 'CNI-[0-9a-f]*'); jump=$(iptables -t nat -S POSTROUTING | grep CNI)
            eval "iptables -t nat $(echo "$jump" | sed 's/^-A/-D/')"
            iptables -t nat -A POSTROUTING -s 10.1.2.0/24 -m comment --comment 'name: "net" id: "c1"' -j $c
            """)
        #expect(try call("DEL", .plexus, all, previous: added).status == 0)
        #expect(try leftovers().isEmpty)
    }

    @Test("SW-01: rules of the legacy iptables go as well")
    func legacyRules() throws {
        let all = "\"ipMasq\":true,\"isGateway\":true,\(Node.ipam("10.1.2.0/24"))"
        let added = try call("ADD", .plexus, all)
        let chain = try Shell.sh("printf netc1 | sha512sum | cut -c1-24").trimmingCharacters(in: .newlines)
        try node.sh(
            """
            i="iptables-legacy -w -t nat"; $i -N CNI-\(chain) && $i -A CNI-\(chain) -d 10.1.2.0/24 -j ACCEPT &&
            $i -A POSTROUTING -s 10.1.2.2/32 -m comment --comment 'name: "net" id: "c1"' -j CNI-\(chain)
            """)
        #expect(try call("DEL", .plexus, all, previous: added).status == 0)
        #expect(!(try node.sh("iptables-legacy-save -t nat").contains("CNI-")))
        #expect(try leftovers().isEmpty)
    }
}

/// A node that goes over from Multus: its scratch file says what a pod has.
@Suite struct MultusSwitchOver {
    @Test(arguments: [true, false])
    func whatMultusAttachedIsDetached(namespaceLives: Bool) throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        let config = MetaEndToEnd.config(node)
        try node.script("outsider", #"[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.0.0","ips":[]}'"#)
        // Attached as Multus's delegates would be: Debian's bridge for eth0 and net1, a plugin of somebody's for net2.
        let bridge = """
            {"cniVersion":"1.0.0","name":"NAME","type":"bridge","bridge":"br-m","ipam":{"type":"host-local",\
            "dataDir":"\(node.directory)/ipam","subnet":"10.77.0.0/24"}}
            """
        let lists = [
            bridge.replacing("NAME", with: "first"), bridge.replacing("NAME", with: "second"),
            #"{"cniVersion":"1.0.0","name":"third","plugins":[{"type":"outsider"}]}"#,
        ]
        for (index, list) in lists.prefix(2).enumerated() {
            let environment = [
                "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": netns, "CNI_PATH": "/usr/lib/cni",
                "CNI_IFNAME": ["eth0", "data0"][index],
            ]
            let ran = try Shell.run(
                ["ip", "netns", "exec", node.name, "/usr/lib/cni/bridge"], input: list,
                environment: environment)
            #expect(ran.status == 0, "\(ran)")
        }
        let entries = lists.enumerated().map { index, list in
            let name = ["first", "default/second", "default/third"][index]
            let bytes = Data(list.utf8).base64EncodedString()
            return
                "{\"Name\":\"\(name)\",\"ifnameRequest\":\"\(index == 1 ? "data0" : "")\",\"Bytes\":\"\(bytes)\"}"
        }
        try node.write("state/c1", "[\(entries.joined(separator: ","))]")
        let result = #"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.9/24"}]}"#
        try node.write(
            "state/results/third-c1-net2",
            #"{"kind":"cniCacheV1","containerId":"c1","ifName":"net2","networkName":"third","result":"#
                + result + "}")
        if !namespaceLives { try node.removePod("a") }

        let answer = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.files("ipam").filter { $0.contains("/10.77") }.isEmpty)
        #expect(try node.files("state").isEmpty)
        if namespaceLives { #expect(try node.links(pod: "a").isEmpty) }
        let seen = try Tree(parsing: try Shell.sh("cat \(node.directory)/outsider.stdin"))
        #expect(seen["prevResult"]["ips"][0]["address"].string == "10.0.0.9/24")
        #expect(try Shell.sh("grep CNI_IFNAME \(node.directory)/outsider.env") == "CNI_IFNAME=net2\n")
    }
}
