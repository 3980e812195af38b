import CNI
import Modules
import Networking
import Plans
import Testing

/// What bridge decides. A row's ID, such as BR-16, is that of the end-to-end test that shows the same on a kernel.
@Suite struct BridgeTests {
    static let ipam = #""ipam":{"type":"x"}"#
    static let veth = "veth00010203040"

    // MARK: ADD

    @Test("BR-01: a port without addresses is a bridge, a pair and nothing else")
    func layer2() throws {
        let attachment = try Pod.attachment()
        let pair = VethSpec(
            "eth0", peer: Self.veth, mac: attachment.mac(.sandbox), peerMAC: attachment.mac(.host),
            controller: "br0")
        #expect(
            try Bridge.planned(#""bridge":"br0""#, attachment) == [
                .ensureBridge(BridgeSpec(name: "br0", mac: attachment.mac(ofBridge: "br0"))), .addVeth(pair),
                .change(.eth0, .up(true)), .awaitCarrier(.host(Self.veth)),
            ])
    }

    @Test(
        "the keys of the port, each with its commands",
        arguments: [
            ("BR-05", #""mtu":1400"#, ["mtu 1400 up type bridge", "mtu 1400 master", "mtu 1400 netns POD"]),
            ("BR-13", #""promiscMode":true"#, ["ip link set dev cni0 promisc on"]),
            ("BR-14", #""hairpinMode":true"#, ["bridge link set dev \(veth) hairpin on"]),
            ("BR-15", #""portIsolation":true"#, ["bridge link set dev \(veth) isolated on"]),
            (
                "BR-16", #""vlan":100"#,
                [
                    "vlan_filtering 1", "bridge vlan delete dev \(veth) vid 1-4094",
                    "bridge vlan add dev \(veth) vid 100 pvid untagged",
                ]
            ),
            (
                "BR-18", #""vlanTrunk":[{"minID":10,"maxID":12},{"id":13},{"id":20}]"#,
                [
                    "bridge vlan add dev \(veth) vid 1 pvid untagged",
                    "bridge vlan add dev \(veth) vid 10-13", "bridge vlan add dev \(veth) vid 20",
                ]
            ),
            ("BR-18", #""vlanTrunk":[]"#, ["vlan_filtering 1"]),
            ("BR-22", #""runtimeConfig":{"mac":"02:00:00:00:00:09"}"#, ["eth0 address 02:00:00:00:00:09"]),
        ])
    func port(row: String, keys: String, expected: [String]) throws {
        let made = commands(try Bridge.made(keys, Pod.attachment()))
        for words in expected {
            #expect(made.contains { $0.contains(words) }, "\(row): \(words) is not in \(made)")
        }
    }

    @Test("what is not asked for, or is so already, has no step")
    func nothingMore() throws {
        let plain = try Bridge.made("", Pod.attachment())
        #expect(plain.count == 2)
        #expect(!commands(plain).contains { $0.contains("vlan") || $0.contains("mtu") })
        var facts = Facts([.host("cni0"): LinkFacts(kind: "bridge", isPromiscuous: true)])
        #expect(try Bridge.made(#""promiscMode":true"#, Pod.attachment(), facts).count == 2)
        // BR-17
        let kept = try Bridge.made(#""vlan":100,"preserveDefaultVlan":true"#, Pod.attachment())
        #expect(!commands(kept).contains { $0.contains("bridge vlan delete") })
        // BR-06: the address is there.
        let gateway = try Pod.cidr("10.1.2.1/24")
        facts.links.update(.host("cni0")) { $0.addresses = [gateway] }
        let again = try Bridge.planned(
            #""isGateway":true,\#(Self.ipam)"#, Pod.attachment("10.1.2.3/24"), facts)
        #expect(!again.contains(.ensureAddress(gateway, .host("cni0"))))
        #expect(again.contains(.sysctl(SysctlChange(.host, "net/ipv4/ip_forward", "1", .ensured))))
    }

    @Test("BR-24: the spoof check is of the pod's address, on the host's end")
    func spoofCheck() throws {
        let attachment = try Pod.attachment()
        let steps = try Bridge.make(Bridge.config(#""macspoofchk":true"#), attachment, Facts())
        #expect(
            steps.last
                == .spoofCheck(SpoofCheck(id: attachment.id, port: Self.veth, mac: attachment.mac(.sandbox))))
    }

    @Test("BR-06, BR-08, BR-37: a gateway has addresses, forwarding, routes and masquerade")
    func gateway() throws {
        let keys = #""isDefaultGateway":true,"ipMasq":true,\#(Self.ipam)"#
        let attachment = try Pod.attachment("10.1.2.3/24", "fd00::3/64")
        let cni0 = LinkName.host("cni0")
        let expected: [Step] = [
            .ensureAddress(try Pod.cidr("10.1.2.1/24"), cni0),
            .ensureAddress(try Pod.cidr("fd00::1/64"), cni0),
            .sysctl(SysctlChange(.host, "net/ipv4/ip_forward", "1", .ensured)),
            .sysctl(SysctlChange(.host, "net/ipv6/conf/all/forwarding", "1", .ensured)),
            .addRoute(try Pod.route("0.0.0.0/0", via: "10.1.2.1"), .eth0),
            .addRoute(try Pod.route("::/0", via: "fd00::1"), .eth0),
            .addAddress(try Pod.cidr("10.1.2.3/24"), .eth0),
        ]
        let planned = try Bridge.planned(keys, attachment)
        for step in expected { #expect(planned.contains(step), "\(step.kind.commands)") }
        let rule = Masquerade(
            networkName: "net", id: attachment.id,
            addresses: [try Pod.cidr("10.1.2.3/24"), try Pod.cidr("fd00::3/64")])
        #expect(
            try Bridge.configure(Bridge.config(keys), attachment, Facts()).steps.contains(.masquerade(rule)))
    }

    @Test("BR-07, BR-09: a gateway that IPAM names, and a default route that it gives, are left as they are")
    func givenGateway() throws {
        var attachment = try Pod.attachment("10.1.2.3/24 via 10.1.2.254")
        attachment.lease?.routes = [try Pod.route("0.0.0.0/0", via: "10.1.2.9")]
        let result = try Bridge.result(#""isDefaultGateway":true,\#(Self.ipam)"#, attachment)
        #expect(result.ips.map(\.gateway) == [try Pod.address("10.1.2.254")])
        #expect(result.routes == [try Pod.route("0.0.0.0/0", via: "10.1.2.9")])
    }

    @Test("BR-10, BR-11: another address of the bridge is in the way, or is replaced, or does not matter")
    func conflicts() throws {
        for (there, given, conflicts) in [
            ("10.0.0.1/8", "10.1.2.3/16", true), ("192.168.0.1/24", "10.1.2.3/16", true),
            ("169.254.0.1/16", "10.1.2.3/16", true), ("fd00::9/64", "fd00::3/48", true),
            ("fd01::1/64", "fd00::3/64", false), ("fe80::1/64", "fe80::3/64", false),
            ("10.0.0.1/8", "fd00::3/64", false),
        ] {
            let facts = Facts([
                .host("cni0"): LinkFacts(kind: "bridge", addresses: [try Pod.cidr(there)])
            ])
            let keys = #""isGateway":true,\#(Self.ipam)"#
            let attachment = try Pod.attachment(given)
            let refused = refusal { _ = try Bridge.planned(keys, attachment, facts) }
            #expect(refused.contains("already has an IP address different from") == conflicts, "\(there)")
            let forced = try Bridge.planned(#""forceAddress":true,\#(keys)"#, attachment, facts)
            #expect(forced.contains(.removeAddress(try Pod.cidr(there), .host("cni0"))) == conflicts)
        }
    }

    @Test("BR-12: a bridge that is there keeps its MAC address")
    func bridgeMAC() throws {
        let mac = try Pod.mac("02:00:00:00:00:01")
        let facts = Facts([.host("cni0"): LinkFacts(kind: "bridge", mac: mac)])
        let planned = try Bridge.planned(
            #""isGateway":true,\#(Self.ipam)"#, Pod.attachment("10.1.2.3/24"), facts)
        #expect(planned.contains(.change(.host("cni0"), .mac(mac))))
    }

    @Test("BR-21: the gateway of a VLAN has a link of its own, the fourth of the result")
    func vlanGateway() throws {
        let keys = #""vlan":100,"isGateway":true,\#(Self.ipam)"#
        let attachment = try Pod.attachment("10.1.2.3/24")
        let link = VLANInterface(
            bridge: "cni0", vid: 100, peer: attachment.vlanPeerName, mtu: nil, keepsDefault: false)
        let planned = try Bridge.planned(keys, attachment)
        #expect(planned.contains(.ensureVLANInterface(link)))
        #expect(planned.contains(.ensureAddress(try Pod.cidr("10.1.2.1/24"), .host("cni0.100"))))
        let plan = try Bridge.configure(Bridge.config(keys), attachment, Facts())
        #expect(plan.result.interfaces.map(\.name) == ["cni0", Self.veth, "eth0", "cni0.100"])
        #expect(plan.readBack == [0, 3])
    }

    @Test("BR-26: the pod's end stays down, and nobody waits for it")
    func disabled() throws {
        let planned = try Bridge.planned(#""disableContainerInterface":true"#, Pod.attachment())
        #expect(planned.map(\.kind.name) == ["ensureBridge", "addVeth"])
    }

    @Test("BR-27: duplicate address detection is off unless asked for")
    func duplicateAddressDetection() throws {
        for (keys, value, settles) in [("", "0", false), (#""enabledad":true,"#, "1", true)] {
            let planned = try Bridge.planned(
                "\(keys)\(Self.ipam)", Pod.attachment("fd00::3/64 via fd00::1"))
            #expect(planned.contains(.setting("ipv6/conf/eth0/accept_dad", value)))
            #expect(planned.contains(.settle(.eth0)) == settles)
        }
    }

    @Test("BR-03: the result has the bridge, the host's end and the pod's, with the addresses on the third")
    func result() throws {
        let result = try Bridge.result(Self.ipam, Pod.attachment("10.1.2.3/24"))
        #expect(result.interfaces.map(\.name) == ["cni0", Self.veth, "eth0"])
        #expect(result.interfaces.map(\.sandbox) == [nil, nil, "/n"])
        #expect(result.ips.map(\.interface) == [2])
        #expect(try Bridge.result("", Pod.attachment()).ips.isEmpty)
        #expect(refusal { _ = try Bridge.result(Self.ipam, Pod.attachment()) }.contains("missing IP config"))
    }

    // MARK: What is refused, and what is remarked

    @Test("BR-02, BR-29: what is in the way is named")
    func inTheWay() throws {
        let attachment = try Pod.attachment()
        var long = attachment
        long.id = AttachmentID(containerID: String(repeating: "c", count: 111), interface: "eth0")
        #expect(Bridge.refused("", attachment) == "none")
        #expect(Bridge.refused("", attachment, Facts([.host("cni0"): LinkFacts(kind: "bridge")])) == "none")
        #expect(
            Bridge.refused("", attachment, Facts([.host("cni0"): LinkFacts(kind: "veth")]))
                .contains("already exists but is not a bridge"))
        #expect(
            Bridge.refused("", attachment, Facts([.sandbox("eth0"): LinkFacts(kind: "veth")]))
                .contains("already exists"))
        #expect(Bridge.refused(#""macspoofchk":true"#, long).contains("more than 114 bytes"))
        #expect(Bridge.refused("", long) == "none")
    }

    @Test(
        "a configuration that contradicts itself names the key",
        arguments: [
            (#""hairpinMode":true,"promiscMode":true"#, "hairpin mode and promiscuous mode"),
            (
                #""disableContainerInterface":true,"ipam":{"type":"x"}"#,
                "cannot use IPAM when DisableContainerInterface"
            ),
            (#""bridge":"a234567890abcdef""#, "16 bytes"), (#""bridge":"""#, "is empty"),
            (#""mtu":"1500""#, "(key mtu)"), (#""vlan":5000"#, "invalid VLAN ID 5000"),
            (#""vlan":-1"#, "invalid VLAN ID -1"),
            (#""vlanTrunk":[{"minID":5}]"#, "configured simultaneously"),
            (#""vlanTrunk":[{"minID":5,"maxID":4}]"#, "minID is greater than maxID"),
            (#""vlanTrunk":[{"id":4095}]"#, "incorrect trunk id parameter 4095"),
            (#""ipMasqBackend":"x""#, "unknown ipmasq backend"),
            (#""runtimeConfig":{"mac":"01:00:00:00:00:00"}"#, "invalid MAC"),
            (#""bridge":"a2345678901234","vlan":9,"isGateway":true"#, "would have more than 15 bytes"),
        ])
    func badKeys(keys: String, problem: String) {
        let error = #expect(throws: Failure.self) { try Bridge.config(keys) }
        #expect(error?.code == 7)
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
    }

    @Test(
        "BR-19, BR-20: DEL goes on with what ADD alone refuses, and not with a VLAN that cannot be",
        arguments: [
            (#""hairpinMode":true,"promiscMode":true"#, "none"), (#""bridge":"""#, "none"),
            (#""ipMasqBackend":"x""#, "none"), (#""runtimeConfig":{"mac":"x"}"#, "none"),
            (#""vlan":5000"#, "invalid VLAN ID 5000"), (#""vlanTrunk":[{"minID":5}]"#, "simultaneously"),
        ])
    func toleranceOfDEL(keys: String, problem: String) {
        #expect(refusal { _ = try Bridge.config(keys, .del) }.contains(problem))
    }

    @Test("BR-22: of several MAC addresses the last place counts")
    func requestedMAC() throws {
        let args = "MAC=02:00:00:00:00:01"
        #expect(try Bridge.config("", args: args).mac == Pod.mac("02:00:00:00:00:01"))
        let arguments = #""args":{"cni":{"mac":"02:00:00:00:00:02"}}"#
        #expect(try Bridge.config(arguments, args: args).mac == Pod.mac("02:00:00:00:00:02"))
        let both = #"\#(arguments),"runtimeConfig":{"mac":"02:00:00:00:00:03"}"#
        #expect(try Bridge.config(both, args: args).mac == Pod.mac("02:00:00:00:00:03"))
    }

    @Test("what will hardly work is remarked")
    func remarks() throws {
        func bridge(_ change: (inout LinkFacts) -> Void) -> Facts {
            var link = LinkFacts(kind: "bridge")
            change(&link)
            return Facts([.host("br0"): link])
        }
        let plain = bridge { _ in }
        for (keys, facts, fragment) in [
            (#""bridge":"br0""#, plain, nil), ("", plain, "the key bridge is missing"),
            (#""bridge":"br0","isGateway":true"#, plain, "do nothing"),
            (
                #""bridge":"br0","vlan":100"#,
                bridge { $0.settings = KindSettings(BridgeKind(vlanFiltering: false)) },
                "keeps no VLANs apart"
            ),
            (
                #""bridge":"br0","vlan":100"#,
                bridge { $0.settings = KindSettings(BridgeKind(vlanFiltering: true)) }, nil
            ),
            (
                #""bridge":"br0""#, bridge { $0.settings = KindSettings(BridgeKind(vlanFiltering: false)) },
                nil
            ),
            (#""bridge":"br0","mtu":9000"#, bridge { $0.portMTU = 9000 }, "MTU 9000 is above the 1500"),
            // Without ports it takes the MTU of its first one.
            (#""bridge":"br0","mtu":9000"#, plain, nil),
        ] as [(String, Facts, String?)] {
            let remarks = try Bridge.judge(Bridge.config(keys, rules: .meta), Pod.attachment(), facts)
            #expect(remarks.count == (fragment == nil ? 0 : 1), "\(keys): \(remarks)")
            if let fragment { #expect("\(remarks)".contains(fragment)) }
        }
        let small = bridge { $0.portMTU = 1500 }
        let message = refusal {
            _ = try Bridge.judge(Bridge.config(#""bridge":"br0","mtu":9000"#), Pod.attachment(), small)
        }
        #expect(message.contains("invalid MTU 9000"))
    }

    // MARK: Facts, DEL and CHECK

    @Test("the kernel is asked for no more than a verb needs")
    func needs() throws {
        func needs(_ keys: String, _ verb: Verb, _ attachment: Attachment) throws -> FactsQuery {
            try Bridge.needs(Bridge.config(keys, verb), attachment, verb)
        }
        let pod = try Pod.attachment()
        #expect(try needs("", .add, pod) == FactsQuery(links: [.host("cni0"), .sandbox("eth0")]))
        #expect(try needs(#""mtu":1400"#, .add, pod).ports == ["cni0"])
        #expect(try needs(#""isGateway":true"#, .add, pod).addresses == [.host("cni0")])
        #expect(try needs(#""isGateway":true,"vlan":9"#, .add, pod).addresses == [.host("cni0.9")])
        #expect(try needs("", .del, pod) == FactsQuery())
        #expect(try needs(#""ipMasq":true"#, .del, pod) == FactsQuery())
        let masqueraded = #""ipMasq":true,\#(Self.ipam)"#
        #expect(try needs(masqueraded, .del, pod).addresses == [.sandbox("eth0")])
        #expect(try needs(masqueraded, .del, Pod.attachment(previous: CNIResult())) == FactsQuery())
        let promised = Pod.result("cni0", "vethx", "eth0 02:00:00:00:00:01")
        #expect(
            try needs("", .check, Pod.attachment(previous: promised)).links == [
                .host("cni0"), .sandbox("eth0"), .host("cni0"), .host("vethx"),
            ])
    }

    @Test("BR-25, BR-31, BR-38: DEL takes the pair, and the rules that the keys name")
    func removal() throws {
        let plain = try Bridge.removed("", Pod.attachment())
        #expect(plain == Removal(links: ["eth0"], hostPairs: [Self.veth]))
        var previous = CNIResult()
        previous.ips = [try Pod.ip("10.1.2.3/24")]
        let attachment = try Pod.attachment(previous: previous)
        let all = try Bridge.removed(#""ipMasq":true,"macspoofchk":true,\#(Self.ipam)"#, attachment)
        let rule = Masquerade(
            networkName: "net", id: attachment.id, addresses: [try Pod.cidr("10.1.2.3/24")])
        #expect(
            all.steps == [
                .removeMasquerade(rule),
                .removeSpoofCheck(SpoofCheck.name(of: attachment.id), ports: [attachment.hostLinkName]),
            ])
        // Without a result the link tells the addresses.
        let link = LinkFacts(kind: "veth", addresses: [try Pod.cidr("10.1.2.3/24")])
        let found = try Bridge.removed(
            #""ipMasq":true,\#(Self.ipam)"#, Pod.attachment(), Facts([.sandbox("eth0"): link]))
        #expect(found.steps == [.removeMasquerade(rule)])
    }

    @Test("BR-34, BR-35: CHECK finds what was changed since")
    func check() throws {
        let (own, host, bridge) = ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03")
        var previous = Pod.result("cni0", "vethx", "eth0 \(own)")
        previous.interfaces[0].mac = bridge
        previous.interfaces[1].mac = host
        let attachment = try Pod.attachment(previous: previous)
        let good = Facts([
            .host("cni0"): LinkFacts(kind: "bridge", mac: try Pod.mac(bridge)),
            .host("vethx"): LinkFacts(
                index: 7, kind: "veth", mac: try Pod.mac(host), controller: "cni0", peerIndex: 3),
            .sandbox("eth0"): LinkFacts(index: 3, kind: "veth", mac: try Pod.mac(own), peerIndex: 7),
        ])
        #expect(Bridge.checked("", attachment, previous, good) == "none")
        let changes: [(String, (inout Facts) -> Void)] = [
            ("\"cni0\" does not exist", { $0.links[.host("cni0")] = nil }),
            ("is not a bridge", { $0.links.update(.host("cni0")) { $0.kind = "dummy" } }),
            ("promiscuous mode is on", { $0.links.update(.host("cni0")) { $0.isPromiscuous = true } }),
            ("has the MAC 00:00:00:00:00:00", { $0.links.update(.host("cni0")) { $0.mac = .zero } }),
            ("does not exist in /n", { $0.links[.sandbox("eth0")] = nil }),
            ("is not a veth", { $0.links.update(.sandbox("eth0")) { $0.kind = "dummy" } }),
            ("\"eth0\" MAC doesn't match", { $0.links.update(.sandbox("eth0")) { $0.mac = .zero } }),
            ("\"vethx\" MAC doesn't match", { $0.links.update(.host("vethx")) { $0.mac = .zero } }),
            ("is not a port of bridge cni0", { $0.links.update(.host("vethx")) { $0.controller = nil } }),
            ("was not found", { $0.links.update(.host("vethx")) { $0.peerIndex = 4 } }),
            ("was not found", { $0.links.update(.sandbox("eth0")) { $0.peerIndex = 8 } }),
        ]
        for (problem, change) in changes {
            var facts = good
            change(&facts)
            let found = Bridge.checked("", attachment, previous, facts)
            #expect(found.contains(problem), "\(problem): \(found)")
        }
        var elsewhere = previous
        elsewhere.interfaces[2].sandbox = "/other"
        #expect(Bridge.checked("", attachment, elsewhere, good).contains("doesn't match configured netns /n"))
        #expect(Bridge.checked("", attachment, CNIResult(), good).contains("prevResult has no interface"))
    }
}
