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
        _ verb: String, _ side: Side, _ keys: String, previous: Answer? = nil, pod: String? = "a",
        interface: String = "eth0"
    )
        throws -> Answer
    {
        guard side == .debian else {
            return try node.plugin(verb, "bridge", keys, previous: previous, pod: pod, interface: interface)
        }
        let config = [
            #""cniVersion":"1.0.0","name":"net","type":"bridge""#, keys,
            previous.map { "\"prevResult\":\($0.ran.output)" } ?? "",
        ].filter { !$0.isEmpty }.joined(separator: ",").replacing("DIR", with: node.directory)
        let ran = try Shell.run(
            ["ip", "netns", "exec", node.name, "/usr/lib/cni/bridge"], input: "{\(config)}",
            environment: [
                "CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_IFNAME": interface,
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

    @Test(
        "SW-01, SW-02: spoof checks of interfaces that read alike go, whoever made and whoever deletes them",
        arguments: ["net-1", "net1-mac"], [Side.debian, .plexus])
    func hyphens(interface: String, side: Side) throws {
        let keys = #""macspoofchk":true"#
        let added = try call("ADD", side, keys, interface: interface)
        #expect(added.status == 0, "\(added.ran)")
        // What Debian's cannot name it does not find.
        let other = side == .debian || interface == "net1-mac" ? Side.plexus : .debian
        let deleted = try call("DEL", other, keys, previous: added, interface: interface)
        #expect(deleted.status == 0, "\(deleted.ran)")
        #expect(try !node.sh("nft list ruleset").contains("macspoofchk"))
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
    private let node: Node
    private let netns: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
        try node.script("outsider", #"[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.0.0","ips":[]}'"#)
    }

    private static let third = #"{"cniVersion":"1.1.0","name":"third","plugins":[{"type":"outsider"}]}"#

    private func list(_ name: String) -> String {
        """
        {"cniVersion":"1.0.0","name":"\(name)","type":"bridge","bridge":"br-\(name)","ipam":{"type":"host-local",\
        "dataDir":"\(node.directory)/ipam","subnet":"10.77.0.0/24"}}
        """
    }

    /// Attaches as Multus's delegates would be: Debian's bridge for eth0 and data0, a plugin of somebody's for net2. Writes
    /// what Multus and its libcni write down.
    private func attach(spoilt: String? = nil, without lost: Int? = nil) throws {
        let lists = [list("first"), list("second"), Self.third]
        for (index, list) in lists.prefix(2).enumerated() {
            let (name, interface) = [("first", "eth0"), ("second", "data0")][index]
            let environment = [
                "CNI_COMMAND": "ADD", "CNI_CONTAINERID": node.name, "CNI_NETNS": netns,
                "CNI_PATH": "/usr/lib/cni",
                "CNI_IFNAME": interface,
            ]
            let ran = try Shell.run(
                ["ip", "netns", "exec", node.name, "/usr/lib/cni/bridge"], input: list,
                environment: environment)
            try #require(ran.status == 0, "\(ran)")
            try cache(name, interface, ran.output, list)
            try node.write("\(interface).result", ran.output)
        }
        try cache("third", "net2", #"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.9/24"}]}"#)
        let entries = lists.enumerated().map { index, list in
            let name = ["first", "default/second", "default/third"][index]
            let bytes = "\"\(Data(list.utf8).base64EncodedString())\""
            return
                "{\"Name\":\"\(name)\",\"ifnameRequest\":\"\(index == 1 ? "data0" : "")\",\"Bytes\":\(index == 1 ? spoilt ?? bytes : bytes)}"
        }
        let kept = entries.indices.filter { $0 != lost }.map { entries[$0] }
        try node.write("state/\(node.name)", "[\(kept.joined(separator: ","))]")
    }

    private func cache(_ network: String, _ interface: String, _ result: String, _ config: String = third)
        throws
    {
        try node.write(
            "state/results/\(network)-\(node.name)-\(interface)",
            "{\"kind\":\"cniCacheV1\",\"containerId\":\"\(node.name)\",\"ifName\":\"\(interface)\","
                + "\"config\":\"\(Data(config.utf8).base64EncodedString())\","
                + "\"networkName\":\"\(network)\",\"result\":\(result)}")
    }

    private func call(_ verb: String, netns: String, version: String = "1.0.0", extra: String = "") throws
        -> Answer
    {
        try node.call(
            verb, id: node.name, netns: netns, args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, version: version, networks: nil, extra: extra))
    }

    /// The host's end of a pair whose other namespace died goes within a moment.
    private func isClean() throws -> Bool {
        for _ in 0..<100 where try node.links() != ["br-first", "br-second"] {
            Thread.sleep(forTimeInterval: 0.05)
        }
        return try node.files("ipam").filter { $0.contains("/10.77") }.isEmpty && node.files("state").isEmpty
            && node.links() == ["br-first", "br-second"]
    }

    @Test("D03, E05: DEL goes by the file that Multus wrote", arguments: [true, false])
    func whatMultusAttachedIsDetached(namespaceLives: Bool) throws {
        try attach()
        if !namespaceLives { try node.removePod("a") }
        let answer = try call("DEL", netns: netns)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isClean())
        if namespaceLives { #expect(try node.links(pod: "a").isEmpty) }
        let seen = try Tree(parsing: try Shell.sh("cat \(node.directory)/outsider.stdin"))
        #expect(seen["prevResult"]["ips"][0]["address"].string == "10.0.0.9/24")
        #expect(try Shell.sh("grep CNI_IFNAME \(node.directory)/outsider.env") == "CNI_IFNAME=net2\n")
    }

    @Test(
        "an entry that cannot be used counts as no record of what it was",
        arguments: ["null", "\"\"", "\"!\"", "7", "a bit flipped in the type"])
    func spoiltEntry(bytes: String) throws {
        let flipped = list("second").replacing("\"type\":\"bridge\"", with: "\"type\":\"bridgd\"")
        let isFlipped = bytes.hasPrefix("a bit")
        try attach(spoilt: isFlipped ? "\"\(Data(flipped.utf8).base64EncodedString())\"" : bytes)
        try node.define("second", list("second"))
        let annotations = #"{"k8s.v1.cni.cncf.io/networks":"second@data0"}"#
        let config = MetaEndToEnd.config(node, networks: nil).replacing(
            "\"delegates\"",
            with: "\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":\(annotations)},\"delegates\"")
        let answer = try node.call("DEL", id: node.name, netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.files("ipam").filter { $0.contains("/10.77") }.isEmpty)
        #expect(try node.files("state").filter { !$0.contains("results/second") }.isEmpty)
    }

    @Test(
        "an entry that cannot be used, of a network that the pod no longer asks for: by its interface and its lease"
    )
    func spoiltEntryOfThePast() throws {
        try attach(spoilt: "null")
        try Shell.sh("rm \(node.directory)/state/results/second-*; mkdir -p /var/lib/cni/networks")
        let answer = try call("DEL", netns: netns)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && node.links().isDisjoint(with: ["eth0", "data0"]))
        #expect(
            try node.files("ipam").filter { $0.contains("first/10.77") || $0.contains("second/10.77") }
                .isEmpty)
    }

    @Test("a record with fewer networks than the pod asks for is not all that it has", arguments: [0, 1])
    func lostEntry(index: Int) throws {
        try attach(without: index)
        try Shell.sh("rm -r \(node.directory)/state/results")
        for (name, config) in [("first", list("first")), ("second", list("second")), ("third", Self.third)] {
            try node.define(name, config)
        }
        let annotations = #"{"k8s.v1.cni.cncf.io/networks":"second@data0,third"}"#
        let config = MetaEndToEnd.config(node, networks: nil).replacing(
            "\"delegates\"",
            with: "\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":\(annotations)},\"delegates\"")
        let answer = try node.call("DEL", id: node.name, netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("it has 2 networks, and the pod asks for 3"), "\(answer.ran)")
        #expect(try isClean() && node.links(pod: "a").isEmpty)
    }

    @Test("CHECK without libcni's results: by the runtime's own, and by the links", arguments: [true, false])
    func checkedWithoutResults(isGiven: Bool) throws {
        try attach()
        try Shell.sh("rm -r \(node.directory)/state/results")
        let result = try Shell.sh("cat \(node.directory)/eth0.result")
        let extra = isGiven ? ",\"prevResult\":\(result)" : ""
        #expect(try call("CHECK", netns: netns, extra: extra).status == 0)
        func refused(_ change: String, _ words: String...) throws {
            try node.sh(change, pod: "a")
            let answer = try call("CHECK", netns: netns, extra: extra)
            #expect(answer.status == 1 && words.allSatisfy(answer.message.contains), "\(answer.ran)")
        }
        try refused("ip link del data0", "default/second on data0", "data0 does not exist")
        try refused("ip link add data0 type bridge", "default/second on data0", "is not of type veth")
        if isGiven {
            try refused("ip addr flush dev eth0", "first on eth0", "Failed to match addr")
        } else {
            try refused("ip link del eth0", "first on eth0", "eth0 does not exist")
        }
    }

    @Test(
        "the MAC address that ipvlans share tells no pod",
        .enabled(if: Feature.ipvlan, "this kernel has no ipvlan; the VM's has"))
    func whatIpvlansShare() throws {
        try attach()
        try node.removePod("a")
        _ = try node.pod("a")
        try node.sh(
            """
            ip link add uplink address 02:00:00:00:00:17 type veth peer name far && ip link set uplink up
            ip link add link uplink name eth0 netns \(node.name)-a type ipvlan mode l2
            """)
        try cache(
            "first", "eth0",
            """
            {"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:17","sandbox":"\(netns)"}]}
            """, list("first"))
        let answer = try call("DEL", netns: "")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0"])
    }

    @Test(
        "DEL without CNI_NETNS goes by the namespace of Multus' results",
        arguments: ["true", "ip link del data0"])
    func withoutPath(trick: String) throws {
        try attach()
        try node.sh(trick, pod: "a")
        let answer = try call("DEL", netns: "")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isClean())
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test(
        "a file of Multus that lists nothing goes with the pod, and what names and leases tell",
        arguments: ["torn", "[]", "{}"])
    func spoiltFile(text: String) throws {
        try attach()
        try node.write("state/\(node.name)", text)
        let answer = try call("DEL", netns: netns)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try !node.files("state").contains(node.name))
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test(
        "with Multus' file lost, or an entry of it, what its libcni noted tells what the pod has",
        arguments: ["DEL", "GC"], [true, false])
    func lostFile(verb: String, isWhole: Bool) throws {
        try attach(spoilt: isWhole ? nil : "null")
        if isWhole { try Shell.sh("rm \(node.directory)/state/\(node.name)") }
        let check = try call("CHECK", netns: netns)
        #expect(check.status == 0, "\(check.ran)")
        let answer =
            verb == "DEL"
            ? try call("DEL", netns: netns)
            : try node.call(
                "GC", id: "", netns: "",
                MetaEndToEnd.config(
                    node, version: "1.1.0", networks: nil, extra: ",\"cni.dev/valid-attachments\":[]"))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try isClean() && node.links(pod: "a").isEmpty)
    }

    @Test(
        "without results and path the addresses of a pod that lives are kept; of one that is gone they are free",
        arguments: ["DEL", "GC"], [true, false])
    func livingWithoutResults(verb: String, lives: Bool) throws {
        try attach()
        try Shell.sh("rm -r \(node.directory)/state/results")
        if !lives { try node.removePod("a") }
        // Another test's pods may have addresses of that subnet, before or meanwhile.
        var held = try Self.addressesInUse()
        let answer =
            verb == "DEL"
            ? try call("DEL", netns: "")
            : try node.call(
                "GC", id: "", netns: "",
                MetaEndToEnd.config(
                    node, version: "1.1.0", networks: nil, extra: ",\"cni.dev/valid-attachments\":[]"))
        #expect(answer.status == 0, "\(answer.ran)")
        held += try Self.addressesInUse()
        let left = try node.files("ipam").filter { $0.contains("/10.77") }
        #expect(left.allSatisfy { held.contains($0.split(separator: "/").last ?? "?") }, "\(left) \(held)")
        if lives { #expect(left.count == 2) }
    }

    private static func addressesInUse() throws -> String {
        try Shell.sh(
            """
            for n in $(ls /run/netns); do ip -n $n -br addr 2>/dev/null; done | grep -oE '10\\.77\\.0\\.[0-9]+' | sort -u
            """)
    }

    @Test("CHECK looks for the interface of an entry that nothing tells more of")
    func checkedByName() throws {
        try attach(spoilt: "null")
        try Shell.sh("rm -r \(node.directory)/state/results")
        let good = try call("CHECK", netns: netns)
        #expect(good.status == 0, "\(good.ran)")
        try node.sh("ip link del data0", pod: "a")
        let bad = try call("CHECK", netns: netns)
        #expect(bad.status == 1 && bad.message.contains("interface data0 does not exist"), "\(bad.ran)")
    }

    @Test("CHECK of a pod that Multus attached compares what Multus wrote down")
    func checked() throws {
        try attach()
        let good = try call("CHECK", netns: netns)
        #expect(good.status == 0, "\(good.ran)")
        #expect(try Shell.sh("tail -1 \(node.directory)/outsider.log") == "CHECK\n")
        try node.sh("ip addr flush dev data0", pod: "a")
        let bad = try call("CHECK", netns: netns)
        #expect(bad.status == 1 && bad.message.contains("default/second on data0"), "\(bad.ran)")
        #expect(try !node.files("state").contains { $0.contains("attachments") })
    }

    @Test(
        "GC: a pod that Multus attached and that lives keeps all it has, as plugins are told; a dead one goes",
        arguments: [true, false])
    func collected(lives: Bool) throws {
        try node.define("third", Self.third)
        try attach()
        let valid = lives ? "{\"containerID\":\"\(node.name)\",\"ifname\":\"eth0\"}" : ""
        let answer = try node.call(
            "GC", id: "", netns: "",
            MetaEndToEnd.config(
                node, version: "1.1.0", networks: nil, extra: ",\"cni.dev/valid-attachments\":[\(valid)]"))
        #expect(answer.status == 0, "\(answer.ran)")
        if lives {
            #expect(try node.links(pod: "a") == ["eth0", "data0"])
            #expect(try node.files("ipam").filter { $0.contains("/10.77") }.count == 2)
            let told = try Tree(parsing: try Shell.sh("cat \(node.directory)/outsider.stdin"))
            let names = told["cni.dev/valid-attachments"].list.compactMap { $0["ifname"].string }
            #expect(names == ["net2"])
        } else {
            #expect(try isClean())
            #expect(try node.links(pod: "a").isEmpty)
        }
    }

    @Test("GC leaves what Multus attached for another runtime's network, as libcni's cache tells")
    func collectedForOthers() throws {
        try attach()
        let results = "/var/lib/cni/results"
        let file = "\(results)/podman-\(node.name)-eth0"
        try Shell.sh(
            """
            mkdir -p \(results); echo '{"containerId":"\(node.name)","ifName":"eth0","networkName":"podman"}' > \(file)
            """)
        defer { _ = try? Shell.sh("rm \(file)") }
        let extra = ",\"cni.dev/valid-attachments\":[]"
        let answer = try node.call(
            "GC", id: "", netns: "", MetaEndToEnd.config(node, version: "1.1.0", networks: nil, extra: extra))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "data0"])
    }
}
