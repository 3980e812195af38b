import CNI
import JSONC
import Modules
import Network
import Plans
import Testing

/// What bridge decides, without a kernel.
@Suite struct BridgePlans {
    static func config(_ text: String, args: String = "") throws -> Bridge.Config {
        let json = #"{"cniVersion":"1.0.0","name":"net","type":"bridge"\#(text)}"#
        return try Bridge.parse(
            PluginInput(
                config: PluginConfig.decode(Array(json.utf8)), args: CNIArgs.parse(args, lenient: true),
                verb: .add))
    }

    static func attachment(_ ips: String...) throws -> Plans.Attachment {
        var attachment = Attachment(
            id: AttachmentID(containerID: "c1", interface: "eth0"), sandbox: "/n", networkName: "net",
            digest: Array(0..<32))
        if !ips.isEmpty {
            attachment.lease = Lease(ips: try ips.map { .init(address: try #require(CIDR(parsing: $0))) })
        }
        return attachment
    }

    static func commands(_ config: Bridge.Config, _ attachment: Plans.Attachment, _ facts: Facts = Facts())
        throws
        -> [String]
    {
        try Bridge.plan(config, attachment, facts).steps.flatMap { $0.kind.commands }
    }

    @Test func aLayer2PortIsFourCommands() throws {
        #expect(
            try Self.commands(Self.config(#","bridge":"br0""#), Self.attachment()) == [
                "ip link add name br0 address 12:13:14:15:16:17 up type bridge  # unless it exists",
                "sysctl -e -w net/ipv6/conf/br0/accept_ra=0",
                "ip link add name veth00010203040 address 0e:0d:0e:0f:10:11 master br0 up type veth peer name eth0"
                    + " address 06:07:08:09:0a:0b netns POD",
                "ip -n POD link set dev eth0 up",
                "# wait until veth00010203040 is operational",
            ])
    }

    @Test func aGatewayGetsAddressForwardingAndRoutes() throws {
        let config = try Self.config(#","isDefaultGateway":true,"ipMasq":true,"ipam":{"type":"x"}"#)
        let commands = try Self.commands(config, Self.attachment("10.1.2.3/24", "fd00::3/64"))
        for expected in [
            "ip addr replace 10.1.2.1/24 brd + dev cni0", "ip addr replace fd00::1/64 dev cni0",
            "sysctl -w net/ipv4/ip_forward=1", "sysctl -w net/ipv6/conf/all/forwarding=1",
            "ip -n POD route prepend default via 10.1.2.1 dev eth0",
            "ip -n POD route prepend default via fd00::1 dev eth0",
            "ip -n POD addr add 10.1.2.3/24 brd + dev eth0",
        ] { #expect(commands.contains(expected), "\(expected) in \(commands)") }
    }

    @Test func otherAddressesOfTheBridgeConflictUnlessForced() throws {
        var facts = Facts()
        facts.links[.host("cni0")] = LinkFacts(
            kind: "bridge", mac: .zero, addresses: [try #require(CIDR(parsing: "10.0.0.1/8"))])
        let attachment = try Self.attachment("10.1.2.3/16")
        let error = #expect(throws: Failure.self) {
            try Self.commands(Self.config(#","isGateway":true,"ipam":{"type":"x"}"#), attachment, facts)
        }
        #expect(error?.message.contains("already has an IP address different from") == true)
        let forced = try Self.config(#","isGateway":true,"forceAddress":true,"ipam":{"type":"x"}"#)
        #expect(try Self.commands(forced, attachment, facts).contains("ip addr delete 10.0.0.1/8 dev cni0"))
    }

    @Test(arguments: [(1400, 0), (1500, 0), (9000, 1)])
    func anMTUAboveAnIpvlansMasterIsNamed(mtu: Int, count: Int) throws {
        let json: JSON = [
            "cniVersion": "1.0.0", "name": "net", "type": "ipvlan", "master": "eth9", "mtu": .int(Int64(mtu)),
        ]
        let config = try Ipvlan.parse(PluginInput(config: PluginConfig(json), args: CNIArgs(), verb: .add))
        var facts = Facts()
        facts.links[.host("eth9")] = LinkFacts(kind: "", isUp: true)
        #expect(try Ipvlan.judge(config, Self.attachment(), facts).count == count)
    }

    @Test func aBridgeThatKeepsNoVLANsApartIsNamed() throws {
        var facts = Facts()
        facts.links[.host("br0")] = LinkFacts(kind: "bridge")
        for (filters, count) in [(false, 1), (true, 0), (nil, 0)] as [(Bool?, Int)] {
            facts.links.update(.host("br0")) { $0.filtersVLANs = filters }
            let config = try Self.config(#","bridge":"br0","vlan":100"#)
            #expect(try Bridge.judge(config, Self.attachment(), facts).count == count)
            #expect(try Bridge.judge(Self.config(#","bridge":"br0""#), Self.attachment(), facts).isEmpty)
        }
    }

    @Test(arguments: [
        (#","hairpinMode":true,"promiscMode":true"#, 7, "hairpin mode and promiscuous mode"),
        (
            #","disableContainerInterface":true,"ipam":{"type":"x"}"#, 7,
            "cannot use IPAM when DisableContainerInterface"
        ),
        (#","bridge":"a234567890abcdef""#, 7, "16 bytes"), (#","bridge":"""#, 7, "is empty"),
        (#","mtu":"1500""#, 7, "(key mtu)"), (#","vlan":5000"#, 7, "invalid VLAN ID 5000"),
        (#","vlanTrunk":[{"minID":5}]"#, 7, "configured simultaneously"),
        (#","ipMasqBackend":"x""#, 7, "unknown ipmasq backend"),
        (#","runtimeConfig":{"mac":"01:00:00:00:00:00"}"#, 7, "invalid MAC"),
    ])
    func badKeysAreNamed(text: String, code: Int, problem: String) {
        let error = #expect(throws: Failure.self) { try Self.config(text) }
        #expect(error?.code == code)
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
    }

    @Test func requestedMACsHaveTheirOrder() throws {
        let args = "MAC=02:00:00:00:00:01"
        #expect("\(try #require(try Self.config("", args: args).mac))" == "02:00:00:00:00:01")
        let both = #","args":{"cni":{"mac":"02:00:00:00:00:02"}},"runtimeConfig":{"mac":"02:00:00:00:00:03"}"#
        #expect("\(try #require(try Self.config(both, args: args).mac))" == "02:00:00:00:00:03")
    }

    @Test(
        arguments: [
            (nil, true), ("", false), ("\n \n", false), ("^net\\.core\\.\n", true), ("  somaxconn  ", true),
            ("ipv4\ncore", true),
            ("^net/core", false), ("ipv6", false), ("net\\.core\\.[a-z]+$", true), ("(", false),
        ] as [(String?, Bool)])
    func anAllowListDecides(list: String?, isAllowed: Bool) throws {
        let json: JSON = ["name": "n", "type": "tuning", "sysctl": ["net.core.somaxconn": "5"]]
        let config = try Tuning.parse(PluginInput(config: PluginConfig(json), args: CNIArgs(), verb: .add))
        var attachment = try Self.attachment()
        attachment.previous = CNIResult()
        var facts = Facts()
        facts.sysctls[SysctlName(.sandbox, "net/core/somaxconn")] = "4096"
        if let list { facts.files[Tuning.allowList] = list }
        guard !isAllowed else {
            #expect(try Tuning.plan(config, attachment, facts).steps.count == 1)
            return
        }
        let error = #expect(throws: Failure.self) { try Tuning.plan(config, attachment, facts) }
        let text = "\(error?.message ?? "") \(error?.details ?? "")"
        #expect(text.contains("allowlist.conf") && (text.contains("is not allowed") || list == "("))
    }

    @Test(arguments: ["../kernel/x", "kernel.hostname", "net", "net..x", "net/../../x", "net.core.a b"])
    func sysctlsOutsideTheNamespaceAreRefused(key: String) throws {
        let json: JSON = ["name": "n", "type": "tuning", "sysctl": .object([key: "1"])]
        let error = #expect(throws: Failure.self) {
            try Tuning.parse(PluginInput(config: PluginConfig(json), args: CNIArgs(), verb: .add))
        }
        #expect(error?.message.contains("invalid net sysctl key") == true)
    }
}
