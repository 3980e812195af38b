import Foundation
import Support
import Testing

/// What a pod or a definition asks for is given, refused before anything is done, or named in the log.
@Suite struct Asked {
    private let node: Node
    private let netns: String

    init() throws {
        node = try Node()
        netns = try node.pod("a")
        try node.sh(
            "ip link add eth9 type veth peer name eth9p && ip link set eth9 up && ip link set eth9p up")
    }

    /// Defines `net` and attaches it as net1.
    private func add(
        _ definition: String, networks: String = "net", extra: String = ""
    ) throws -> Answer {
        let config = definition.replacing("DIR", with: node.directory)
        try node.define(
            "net", config.contains("\"cniVersion\"") ? config : "{\"cniVersion\":\"1.0.0\",\(config)}")
        return try call("ADD", networks: networks, extra: extra)
    }

    private func call(_ verb: String, networks: String = "net", extra: String = "") throws -> Answer {
        try node.call(
            verb, netns: netns, args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, networks: networks, extra: extra))
    }

    private func untouched(_ what: String) throws {
        #expect(try node.links() == ["eth9", "eth9p"] && node.links(pod: "a").isEmpty, "\(what)")
        #expect(try node.files("ipam").isEmpty && node.files("state").isEmpty, "\(what)")
    }

    /// The lines of the log that name the pod and the network.
    private func remarks(_ answer: Answer, level: String = "error") -> [String] {
        answer.ran.errors.split(separator: "\n").map(String.init).filter {
            $0.contains("[\(level)] pod default/pod-a, default/net on net1: ")
        }
    }

    private static let macvlan = #""type":"macvlan","master":"eth9""#
    private static func fixed(_ address: String) -> String {
        macvlan + ",\"ipam\":{\"type\":\"static\",\"addresses\":[{\"address\":\"\(address)\"}]}"
    }

    private static let local = #""type":"host-local","dataDir":"DIR/ipam","subnet":"10.5.0.0/24""#

    /// The keys of a network, and the words of the refusal.
    static let refusals: [(String, [String])] = [
        // Wrong types.
        (macvlan + #","ipam":"host-local""#, ["expected an object", "(key ipam)"]),
        (macvlan + #","ipam":["host-local"]"#, ["(key ipam)"]),
        (macvlan + #","ipam":{"type":["host-local"]}"#, ["expected a string", "(key ipam.type)"]),
        (macvlan + #","dns":["10.0.0.1"]"#, ["(key dns)"]),
        (macvlan + #","dns":{"nameservers":"10.0.0.1"}"#, ["(key dns.nameservers)"]),
        (macvlan + #","capabilities":["ips"]"#, ["(key capabilities)"]),
        (macvlan + #","capabilities":{"ips":"true"}"#, ["(key capabilities.ips)"]),
        (#""type":"macvlan","dev":"eth9""#, ["\"dev\"", "write \"master\""]),
        (#""type":"bridge","bridgeInterface":"b""#, ["write \"bridge\""]),
        (
            #""type":"bridge","ipam":{"type":"host-local","range":"10.5.0.0/24"}"#,
            ["\"range\"", "\"subnet\""]
        ),
        (macvlan + #","args":"x""#, ["(key args)"]), (macvlan + #","args":{"cni":[]}"#, ["(key args.cni)"]),
        (macvlan + #","runtimeConfig":[]"#, ["(key runtimeConfig)"]),
        (#""type":"sh","ipam":"host-local""#, ["(key ipam)"]),
        (#""type":"host-device""#, ["specify either \"device\""]),
        (#""type":"host-device","interface":"eth9""#, ["\"interface\": write \"device\""]),
        (#""type":"host-device","master":"eth9""#, ["\"master\": write \"device\""]),
        // Addresses that no pod can have.
        (
            fixed("127.0.0.1/8"),
            ["127.0.0.1 can be no pod's: it is a loopback address", "ipam.addresses[0].address"]
        ),
        (fixed("::1/64"), ["::1 can be no pod's"]), (fixed("0.0.0.0/0"), ["it stands for any"]),
        (fixed("224.0.0.5/24"), ["it is a multicast address"]), (fixed("ff02::1/64"), ["multicast"]),
        (macvlan + #","ipam":{"type":"host-local","subnet":"127.0.0.0/8"}"#, ["127.0.0.1 can be no pod's"]),
        (macvlan + #","ipam":{"type":"host-local","subnet":"224.0.0.0/24"}"#, ["multicast", "ipam.subnet"]),
        (macvlan + #","ipam":{"type":"host-local","ranges":[[{"subnet":"ff02::/64"}]]}"#, ["multicast"]),
        (#""type":"host-device","device":"eth9","hwaddr":5"#, ["expected a string", "(key hwaddr)"]),
        (#""type":"host-device","device":"eth9","kernelpath":["x"]"#, ["(key kernelpath)"]),
        (#""type":"host-device","hwaddr":"02:00:00:00:00:09","pciBusID":{}"#, ["(key pciBusID)"]),
        (
            macvlan + #","ipam":{"type":"static","addresses":["10.5.0.9/24"]}"#,
            ["expected an object, found the string \"10.5.0.9/24\" (key ipam.addresses[0])"]
        ),
        (
            macvlan
                + #","ipam":{"type":"static","addresses":[{"address":5}]},"args":{"cni":{"ips":["10.5.0.9/24"]}}"#,
            ["expected a string", "(key ipam.addresses[0].address)"]
        ),
        (
            macvlan + #","ipam":{\#(local),"routes":["10.9.0.0/16"]}"#,
            ["expected an object, found the string \"10.9.0.0/16\" (key ipam.routes[0])"]
        ),
        (
            macvlan + #","ipam":{"type":"host-local","ranges":[["10.5.0.0/24"]]}"#,
            ["expected an object, found the string \"10.5.0.0/24\" (key ipam.ranges[0][0])"]
        ),
        (
            macvlan + #","ipam":{"type":"host-local","ranges":[{"subnet":"10.5.0.0/24"}]}"#,
            ["expected a list, found an object: write [[{...}]] (key ipam.ranges[0])"]
        ),
        (macvlan + #","ipam":{\#(local)},"args":{"cni":{"ips":[5]}}"#, ["(key args.cni.ips[0])"]),
        // Sections and types that contradict one another.
        (macvlan + #","ipam":{"subnet":"10.5.0.0/24"}"#, ["ipam has no type", "{} for no addresses"]),
        (macvlan + #","ipam":{"type":"","ranges":[[{}]]}"#, ["ipam has no type"]),
        (macvlan + #","ipam":{"type":"bridge"}"#, ["\"bridge\" is no IPAM plugin", "(key ipam.type)"]),
        (#""type":"host-local","ipam":{\#(local)}"#, ["host-local is an IPAM plugin"]),
        (#""plugins":[{"type":"dhcp"}]"#, ["dhcp is an IPAM plugin"]),
        (macvlan + #","plugins":[{"type":"tuning"}]"#, ["either type or plugins"]),
        (#""type":"sh","plugins":[{"type":"tuning"}]"#, ["either type or plugins"]),
        (#""plugins":[{\#(macvlan)}],"ipam":{\#(local)}"#, ["\"ipam\"", "each plugin has its own keys"]),
        // Others' words for VLAN, addresses, isolation and the link below.
        (#""type":"bridge","bridge":"b","vlanId":100"#, ["\"vlanId\": write \"vlan\""]),
        (#""type":"bridge","bridge":"b","vlan_id":100,"vlan":0"#, ["\"vlan_id\": write \"vlan\""]),
        (#""type":"bridge","bridge":"b","trunk":[{"id":5}]"#, ["write \"vlanTrunk\""]),
        (
            #""type":"bridge","bridge":"b","vlanTrunk":[{"min":5,"max":9}]"#,
            ["\"minID\"", "(key vlanTrunk[0].max)"]
        ),
        (#""type":"bridge","bridgeName":"b""#, ["write \"bridge\""]),
        (#""type":"bridge","bridge":"b","isolated":true"#, ["write \"portIsolation\""]),
        (
            #""type":"bridge","bridge":"b","mode":"private""#,
            ["portIsolation keeps pods apart", "(key mode)"]
        ),
        (macvlan + #","macspoofchk":true"#, ["it checks no source address", "(key macspoofchk)"]),
        (macvlan + #","isolated":true"#, ["it isolates no port"]),
        (macvlan + #","vlanTrunk":[{"id":5}]"#, ["it carries no trunk"]),
        (#""type":"host-device","device":"eth9","portIsolation":true"#, ["it isolates no port"]),
        (
            macvlan + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/0"}]}"#,
            ["makes every address the link's own", "(key ipam.addresses[0].address)"]
        ),
        (#""type":"bridge","bridge":"b","subnet":"10.5.0.0/24""#, ["the section ipam"]),
        (#""type":"macvlan","parent":"eth9""#, ["\"parent\": write \"master\""]),
        (#""type":"macvlan","master":"eth9","vlan":100"#, ["it tags nothing"]),
        (macvlan + #","macvlan_mode":"private""#, ["write \"mode\""]),
        (#""type":"host-device","device":"eth9","vlan":100"#, ["it tags nothing"]),
        (macvlan + #","ipam":{\#(local),"exclude":["10.5.0.2/32"]}"#, ["host-local excludes nothing"]),
        (
            macvlan + #","ipam":{\#(local),"start":"10.5.0.9","end":"10.5.0.19"}"#,
            ["\"rangeStart\"", "\"rangeEnd\""]
        ),
        (
            macvlan
                + #","ipam":{"type":"host-local","ranges":[[{"subnet":"10.5.0.0/24","range_start":"10.5.0.9"}]]}"#,
            ["write \"rangeStart\" (key ipam.ranges[0][0].range_start)"]
        ),
        (
            macvlan + #","ipam":{\#(local),"routes":[{"dst":"10.9.0.0/16","via":"10.5.0.9"}]}"#,
            ["write \"gw\" (key ipam.routes[0].via)"]
        ),
        (macvlan + #","ipam":{\#(local),"routes":[{"destination":"10.9.0.0/16"}]}"#, ["write \"dst\""]),
        (
            macvlan + #","ipam":{\#(local),"routes":[{"dst":"10.9.0.0/16","metric":5}]}"#,
            ["write \"priority\""]
        ),
        (macvlan + #","ipam":{\#(local),"addresses":[{"address":"10.5.0.9/24"}]}"#, ["of the type static"]),
        (
            macvlan + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24","gw":"10.5.0.1"}]}"#,
            ["write \"gateway\" (key ipam.addresses[0].gw)"]
        ),
        (macvlan + #","ipam":{"type":"static","subnet":"10.5.0.0/24"}"#, ["there is no address"]),
        (
            #""plugins":[{\#(macvlan)},{"type":"route-override","addroutes":[{"dst":"10.9.0.0/16","gateway":"x"}]}]"#,
            ["write \"gw\" (key addroutes[0].gateway)"]
        ),
        // Numbers that cannot work.
        (#""type":"bridge","bridge":"b","mtu":-1"#, ["invalid MTU -1: a link takes 68 to 65535 (key mtu)"]),
        (#""type":"bridge","bridge":"b","mtu":67"#, ["invalid MTU 67"]),
        (#""type":"bridge","bridge":"b","mtu":65536"#, ["invalid MTU 65536"]),
        (macvlan + #","mtu":10"#, ["invalid MTU 10", "68 to 65535"]),
        (
            #""type":"ipvlan","master":"eth9","mtu":-1,"ipam":{\#(local)}"#,
            ["invalid MTU -1", "(key mtu)"]
        ),
        (
            macvlan + #","ipam":{\#(local),"routes":[{"dst":"10.1.2.3/16"}]}"#,
            ["10.1.2.3/16 has host bits set: write 10.1.0.0/16 (key ipam.routes[0].dst)"]
        ),
        (
            macvlan
                + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}],"routes":[{"dst":"fd00::1/64"}]}"#,
            ["write fd00::/64 (key ipam.routes[0].dst)"]
        ),
        (
            #""plugins":[{\#(macvlan)},{"type":"route-override","addroutes":[{"dst":"10.1.2.3/16"}]}]"#,
            ["write 10.1.0.0/16 (key addroutes[0].dst)"]
        ),
        (
            #""plugins":[{\#(macvlan)},{"type":"route-override","addroutes":[{"dst":"10.9.0.0/16","gw":"fd00::1"}]}]"#,
            ["of the other family", "(key addroutes[0].gw)"]
        ),
        (
            macvlan + #","ipam":{\#(local),"routes":[{"dst":"default"}]}"#,
            ["\"default\": write 0.0.0.0/0, or ::/0 (key ipam.routes[0].dst)"]
        ),
        (macvlan + #","ipam":{\#(local),"routes":[{"dst":"10.9.0.1"}]}"#, ["write 10.9.0.1/32"]),
        (
            macvlan + #","ipam":{\#(local),"gateway":"10.5.0.1/24"}"#,
            ["write 10.5.0.1, without a prefix length"]
        ),
        (
            macvlan + #","ipam":{\#(local),"gateway":"fd00::1"}"#,
            ["of the other family", "(key ipam.gateway)"]
        ),
        (macvlan + #","ipam":{\#(local),"gateway":"10.5.0.255"}"#, ["the broadcast address of 10.5.0.0/24"]),
        (
            macvlan + #","ipam":{\#(local),"rangeStart":"10.5.0.0"}"#,
            ["network address", "10.5.0.1 to 10.5.0.254"]
        ),
        (
            macvlan + #","ipam":{\#(local),"rangeEnd":"10.5.0.255"}"#,
            ["broadcast address", "(key ipam.rangeEnd)"]
        ),
        (
            macvlan + #","ipam":{\#(local),"routes":[{"dst":"10.9.0.0/16","gw":"fd00::1"}]}"#,
            ["of the other family", "(key ipam.routes[0].gw)"]
        ),
        (
            macvlan + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.0/24"}]}"#,
            ["network address", "(key ipam.addresses[0].address)"]
        ),
        (
            macvlan
                + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24","gateway":"fd00::1"}]}"#,
            ["of the other family", "(key ipam.addresses[0].gateway)"]
        ),
    ]

    @Test(arguments: refusals)
    func isRefusedBeforeAnythingIsDone(keys: String, words: [String]) throws {
        try node.script("sh", "echo '{}'")
        let answer = try add(keys)
        #expect(answer.code == 7 && answer.message.hasPrefix("default/net on net1: "), "\(answer.ran)")
        for word in words { #expect(answer.message.contains(word), "\(answer.message)") }
        #expect(!(answer.json["details"].string ?? "").isEmpty, "\(answer.ran)")
        try untouched(keys)
        #expect(try call("DEL").status == 0)
    }

    @Test func allThatIsWrongIsSaidAtOnce() throws {
        let answer = try add(
            #""type":"bridge","bridge":"b","vlanId":100,"ipam":{\#(Self.local),"exclude":["10.5.0.2/32"]}"#)
        for word in ["(key vlanId)", "(key ipam.exclude)"] {
            #expect(answer.message.contains(word), "\(answer.ran)")
        }
    }

    /// What says nothing, or stands beside what is meant, and what a person wrote for people.
    @Test(arguments: [
        #","ipam":{}"#, #","ipam":null"#, #","ipam":{"type":"","ranges":[]}"#, #","vlan":0,"vlanId":0"#,
        #","plugins":[],"exclude":[],"ips":null"#, #","_note":"x","comment":"y""#,
        #","disableCheck":false,"cniVersions":["1.0.0"],"loadOnlyInlinedPlugins":true"#,
    ])
    func whatAsksForNothingIsNoReason(keys: String) throws {
        let answer = try add(Self.macvlan + keys)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(remarks(answer).isEmpty, "\(answer.ran.errors)")
    }

    /// Under its own name a plugin does what the reference does.
    @Test(arguments: [
        #""bridge":"b","vlanId":100,"isGatway":true"#, #""bridge":"b","ipam":{"subnet":"10.5.0.0/24"}"#,
        #""bridge":"b","ipam":{\#(local),"rangeEnd":"10.5.0.255","exclude":["10.5.0.2/32"]}"#,
    ])
    func aPluginByItselfPassesThemOver(keys: String) throws {
        let answer = try node.plugin("ADD", "bridge", keys)
        #expect(answer.status == 0 && answer.ran.errors.isEmpty, "\(answer.ran)")
    }

    /// A definition that was spoilt since does not keep the pod.
    @Test func whatADDRefusesIsDetached() throws {
        let good = #""type":"bridge","bridge":"b","ipam":{\#(Self.local)"#
        #expect(try add(good + "}").status == 0)
        let bad = good + #","exclude":["10.5.0.2/32"]},"vlanId":5,"plugins":[{}]"#
        try node.define("net", "{\"cniVersion\":\"1.0.0\",\(bad)}".replacing("DIR", with: node.directory))
        try Shell.sh("rm -r \(node.directory)/state")
        #expect(try call("DEL").status == 0)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.leases().isEmpty)
    }

    // MARK: The annotation

    @Test(arguments: [
        (#""ip":["10.5.0.9/24"]"#, "\"ips\""), (#""IP":"10.5.0.9""#, "\"ips\""),
        (#""ipRequest":["x"]"#, "\"ips\""),
        (#""ips-request":["x"]"#, "\"ips\""), (#""ipAddress":"x""#, "\"ips\""),
        (#""address":"x""#, "\"ips\""),
        (#""macRequest":"x""#, "\"mac\""), (#""macAddress":"x""#, "\"mac\""), (#""hwaddr":"x""#, "\"mac\""),
        (#""ifname":"x""#, "\"interface\""), (#""interfaceName":"x""#, "\"interface\""),
        (#""iface":"x""#, "\"interface\""), (#""default-gateway":["x"]"#, "\"default-route\""),
        (#""gateway":"x""#, "\"default-route\""), (#""default_route":["x"]"#, "\"default-route\""),
        (#""defaultRoute":["x"]"#, "\"default-route\""), (#""namespaces":"x""#, "\"namespace\""),
        (#""cni_args":{"a":1}"#, "\"cni-args\""), (#""bandwith":{"ingressRate":1}"#, "\"bandwidth\""),
        (#""device-id":"x""#, "\"deviceID\""), (#""vlan":5"#, "write it into the definition"),
        (#""portMappings":[{"host_port":80}]"#, "\"hostPort\""),
        (#""bandwidth":{"ingresRate":1}"#, "\"ingressRate\""),
    ])
    func anotherSpellingInTheAnnotationIsRefused(key: String, meant: String) throws {
        let answer = try add(Self.macvlan, networks: "[{\"name\":\"net\",\(key)}]")
        #expect(answer.code == 7 && answer.message.contains(meant), "\(answer.ran)")
        #expect(answer.message.contains("k8s.v1.cni.cncf.io/networks"), "\(answer.ran)")
        try untouched(key)
    }

    @Test(arguments: [
        "k8s.v1.cni.cncf.io/network", "k8s.v1.cni.cnf.io/networks", "k8s.v1.cni.cncf.io/netwroks",
        "v1.multus-cni.io/networks", "v1.multus-cni.io/default-networks", "k8s.v1.cni.cncf.io/Networks",
        "K8S.V1.CNI.CNCF.IO/networks", "V1.multus-cni.io/default-network",
    ])
    func aMisspeltAnnotationLosesNoNetworkInSilence(key: String) throws {
        try node.define("net", "{\"cniVersion\":\"1.0.0\",\(Self.macvlan)}")
        func config(_ more: String) -> String {
            MetaEndToEnd.config(node).replacing(
                #"{"k8s.v1.cni.cncf.io/networks":"net-a"}"#, with: "{\"\(key)\":\"net\"\(more)}")
        }
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config(""))
        #expect(answer.code == 7 && answer.message.contains("annotation \(key)"), "\(answer.ran)")
        #expect(answer.message.contains("did you mean"), "\(answer.ran)")
        try untouched(key)
        // Beside the right one it costs nothing.
        try node.define("net", namespace: "kube-system", "{\"cniVersion\":\"1.0.0\",\(Self.macvlan)}")
        let right =
            key.lowercased().contains("default-")
            ? "v1.multus-cni.io/default-network" : "k8s.v1.cni.cncf.io/networks"
        let given = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod, config(",\"\(right)\":\"net\""))
        #expect(given.status == 0, "\(given.ran)")
        #expect(given.ran.errors.contains("annotation \(key)"), "\(given.ran)")
    }

    @Test(arguments: [
        "k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status", "example.com/networks",
        "k8s.v1.cni.cncf.io/resourceName", "k8s.v1.cni.cncf.io/policy-for", "x-k8s.v1.cni.cncf.io/colour",
        "kubernetes.io/config.seen",
    ])
    func othersAnnotationsAreTheirs(key: String) throws {
        let config = MetaEndToEnd.config(node).replacing(
            #"{"k8s.v1.cni.cncf.io/networks":"net-a"}"#, with: "{\"\(key)\":\"net\"}")
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0 && answer.ran.errors.isEmpty, "\(answer.ran)")
    }

    @Test func anUnknownAnnotationOfTheNetworksIsNamed() throws {
        let config = MetaEndToEnd.config(node).replacing(
            #""k8s.v1.cni.cncf.io/networks":"net-a""#,
            with: #""k8s.v1.cni.cncf.io/colour":"red","k8s.v1.cni.cncf.io/empty":"""#)
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        let lines = answer.ran.errors.split(separator: "\n")
        #expect(lines.count == 1, "\(answer.ran)")
        #expect(
            lines.first?.contains("[error] pod default/pod-a: unknown annotations") == true
                && lines.first?.hasSuffix(": k8s.v1.cni.cncf.io/colour") == true, "\(answer.ran)")
    }

    @Test func theAnnotationsArgumentsAreSearchedAsTheDefinitionIs() throws {
        let answer = try add(
            #""plugins":[{"type":"bridge","bridge":"b",\#("\"ipam\":{\(Self.local)}")},{"type":"route-override"}]"#,
            networks: #"[{"name":"net","cni-args":{"addroutes":[{"dst":"10.3.0.0/16","via":"10.5.0.1"}]}}]"#)
        #expect(answer.code == 7 && answer.message.contains("write \"gw\""), "\(answer.ran)")
        try untouched("cni-args")
    }

    @Test(arguments: [
        (#","clusterNetwork":"net","defaultNetworks":["net"]"#, "delegates (clusterNetwork goes before it)"),
        (#","defaultNetworks":["nosuch"]"#, "defaultNetworks (it follows a clusterNetwork)"),
        (#","colour":"red","vlan":5"#, "colour, vlan"),
    ])
    func keysOfTheConfigurationThatNobodyLooksAtAreNamed(keys: String, named: String) throws {
        try node.define("net", namespace: "kube-system", "{\"cniVersion\":\"1.0.0\",\(Self.macvlan)}")
        let answer = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node, networks: "", extra: keys)
        )
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("passed over: \(named)"), "\(answer.ran)")
    }

    @Test func aRelativePathOfANetworkIsRefused() throws {
        let config = MetaEndToEnd.config(node, networks: "", extra: #","clusterNetwork":"./x.conf""#)
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.code == 7 && answer.message.contains("no absolute path"), "\(answer.ran)")
        try untouched("path")
    }

    // MARK: Named, as the pod is in the right network

    /// A definition, the selection's keys, and what the one line of the log says was not given.
    static let wishes: [(String, String, [String])] = [
        (
            #""type":"bridge","bridge":"b","ipam":{}"#,
            #","ips":["10.5.0.9/24"],"portMappings":[{"hostPort":80,"containerPort":80}],"deviceID":"0000:03:02.0""#,
            ["ips (the network has no ipam)", "portMappings", "deviceID"]
        ),
        (macvlan, #","ips":["10.5.0.9/24"]"#, ["ips (the network has no ipam)"]),
        (#""type":"bridge","bridge":"b","ipam":{"type":""}"#, #","ips":["10.5.0.9"]"#, ["ips"]),
        (macvlan, #","bandwidth":{"ingressRate":5,"ingressBurst":5}"#, ["bandwidth"]),
        (macvlan, #","infiniband-guid":"c2:11:22:33:44:55:66:77""#, ["infinibandGUID"]),
        // Declared by a plugin that does not do it.
        (
            #""type":"bridge","bridge":"b","capabilities":{"portMappings":true}"#,
            #","portMappings":[{"hostPort":80,"containerPort":80}]"#, ["portMappings"]
        ),
        (
            macvlan, #","cni-args":{"colour":"red"},"purpose":"x","ipam-claim-reference":"y""#,
            ["cni-args.colour", "purpose", "ipam-claim-reference"]
        ),
        (#""type":"host-device","device":"eth9""#, #","mac":"02:00:00:00:00:09""#, ["mac"]),
        (macvlan + #","volume":5,"ipam":{\#(local),"tag":"x","dns":{}}"#, "", ["volume, ipam.tag"]),
        (
            macvlan + #","ipam":{\#(local),"routes":[{"dst":"10.9.0.0/16","dev":"x"}]}"#, "",
            ["ipam.routes[0].dev"]
        ),
        (macvlan + #","dns":{"nameserver":["10.0.0.1"]}"#, "", ["dns.nameserver"]),
        (#""type":"loopback""#, "", ["makes no interface: the pod gets no net1"]),
        (
            macvlan
                + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24","gateway":"10.5.0.9"}]}"#,
            "",
            ["10.5.0.9 is the pod's own address and its gateway"]
        ),
        (#""plugins":[{\#(macvlan)}],"volume":5"#, "", ["volume"]),
        (
            #""plugins":[{\#(macvlan)},{"type":"tuning","ipam":{"type":"static"}}]"#, "",
            ["unknown keys are passed over: ipam"]
        ),
        (
            macvlan + #","ipam":{\#(local),"gateway":"10.6.0.1"}"#, "",
            ["gateway 10.6.0.1 is outside 10.5.0.0/24"]
        ),
        (
            macvlan
                + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24","gateway":"10.6.0.1"}]}"#,
            "",
            ["gateway 10.6.0.1 is outside 10.5.0.0/24"]
        ),
        (
            macvlan
                + #","ipam":{"type":"host-local","dataDir":"DIR/ipam","ranges":[[{"subnet":"10.5.0.0/24"}]],"gateway":"10.5.0.9"}"#,
            "", ["ipam.gateway"]
        ),
        // A prefix that is not the network's, however it is asked for.
        (
            macvlan + #","ipam":{\#(local)}"#, #","ips":["10.5.0.9/16"]"#,
            ["ips asks for 10.5.0.9/16", "the pod gets 10.5.0.9/24"]
        ),
        (
            macvlan + #","capabilities":{"ips":true},"ipam":{\#(local)}"#, #","ips":["10.5.0.9/25"]"#,
            ["ips asks for 10.5.0.9/25", "the pod gets 10.5.0.9/24"]
        ),
        (
            macvlan + #","ipam":{\#(local)}"#, #","cni-args":{"ips":["10.5.0.9/16"]}"#,
            ["ips asks for 10.5.0.9/16", "the pod gets 10.5.0.9/24"]
        ),
        (
            macvlan + #","capabilities":{"ips":true},"ipam":{"type":"static"}"#,
            #","ips":["10.5.0.9/24"],"cni-args":{"ips":["10.5.0.10/24"]}"#,
            ["cni-args.ips is passed over"]
        ),
        (
            #""type":"bridge","bridge":"b""#,
            #","mac":"02:00:00:00:00:08","cni-args":{"mac":"02:00:00:00:00:09"}"#,
            ["one of mac and cni-args.mac, which differ"]
        ),
        // Capabilities that nobody passes on.
        (macvlan + #","capabilities":{"ip":true}"#, "", [#"capabilities.ip: "#, #"write "ips""#]),
        (macvlan + #","capabilities":{"Mac":true}"#, "", [#"capabilities.Mac: "#, #"write "mac""#]),
        (macvlan + #","capabilities":{"colour":true}"#, "", ["capabilities.colour: nothing is passed on"]),
    ]

    /// What a plugin that is not built in agreed on with its runtime is not known; a slip is.
    @Test func aMisspeltCapabilityOfAnyPluginIsNamed() throws {
        try node.script("mine", #"echo '{"cniVersion":"1.0.0"}'"#)
        let answer = try add(#""type":"mine","capabilities":{"portMapping":true,"colour":true,"ip":false}"#)
        #expect(answer.status == 0 && remarks(answer).count == 1, "\(answer.ran)")
        #expect(remarks(answer).first?.contains(#"capabilities.portMapping: "#) == true, "\(answer.ran)")
        // The meta-plugin's own are those that the runtime passes.
        let asks = #""capabilities":{"io.kubernetes.cri.pod-annotations":true"#
        let config = MetaEndToEnd.config(node, networks: "net").replacing(
            asks, with: asks + #","ipranges":true"#)
        _ = try node.pod("b")
        let own = try node.call(
            "ADD", id: "c2", netns: "/run/netns/\(node.name)-b", args: MetaEndToEnd.pod, config)
        #expect(own.status == 0, "\(own.ran)")
        #expect(
            own.ran.errors.contains(
                "configuration node-network: capabilities.ipranges: nothing is passed on under this name: write \"ipRanges\""
            ), "\(own.ran)")
    }

    @Test("a default route by the pod's own address is named")
    func aRouteThatLeadsNowhere() throws {
        let answer = try add(
            Self.macvlan + #","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}]}"#,
            networks: #"[{"name":"net","default-route":["10.5.0.9"]}]"#)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("default-route asks for 10.5.0.9, which is the pod's own address"))
    }

    @Test("which link a default chose is said where an unknown key may have been meant to choose")
    func aChoiceBesideUnknownKeys() throws {
        let answer = try add(#""type":"bridge","interface":"eth7""#)
        let said = [
            "unknown keys are passed over: interface", "the key bridge is missing: it is a port of cni0",
        ]
        #expect(answer.status == 0 && remarks(answer).count == said.count, "\(answer.ran)")
        for words in said { #expect(answer.ran.errors.contains(words), "\(answer.ran.errors)") }
    }

    @Test("A20: one line of the log names what is not given", arguments: wishes)
    func oneLineNamesWhatIsNotGiven(keys: String, selection: String, words: [String]) throws {
        let networks = "[{\"name\":\"net\"\(selection)}]"
        let answer = try add(keys, networks: networks)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(remarks(answer).count == 1, "\(answer.ran.errors)")
        for word in words { #expect(remarks(answer).first?.contains(word) == true, "\(answer.ran.errors)") }
        // explain says the same, and does nothing.
        let ran = try Shell.run(
            [
                "ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "explain", "-c", "-",
                "--networks", networks,
            ], input: MetaEndToEnd.config(node))
        if keys.contains("host-device") { return }  // the pod has it
        for word in words { #expect(ran.output.contains(word), "\(ran)") }
    }

    @Test(arguments: [
        (
            #""type":"bridge","bridge":"b","ipam":{\#(local)}"#,
            #","ips":["10.5.0.9"],"mac":"02:00:00:00:00:09""#
        ),
        (
            #""type":"bridge","bridge":"b","Capabilities":{"ips":true},"ipam":{\#(local)}"#,
            #","ips":["10.5.0.9/24"],"cni-args":{"mac":"02:00:00:00:00:09"}"#
        ),
        (
            #""plugins":[{"type":"bridge","bridge":"b","ipam":{\#(local)}},{"type":"tuning"}]"#,
            #","ips":["10.5.0.9"],"cni-args":{"mac":"02:00:00:00:00:09"}"#
        ),
        (
            #""plugins":[{"type":"bridge","bridge":"b","ipam":{\#(local)}},{"type":"tuning"}]"#,
            #","ips":["10.5.0.9"],"cni-args":{"MAC":"02:00:00:00:00:09"}"#
        ),
    ])
    func whatIsGivenIsNotNamed(keys: String, selection: String) throws {
        let answer = try add(keys, networks: "[{\"name\":\"net\"\(selection)}]")
        #expect(answer.status == 0 && remarks(answer).isEmpty, "\(answer.ran)")
        #expect(try node.addresses("net1", pod: "a") == ["10.5.0.9/24"])
        #expect(try node.ip("link show net1", pod: "a")[0]["address"].string == "02:00:00:00:00:09")
    }

    /// The runtime names the default network's interface, whatever the pod's author wants.
    @Test func theDefaultNetworksInterfaceHasItsName() throws {
        try node.define("net", namespace: "kube-system", "{\"cniVersion\":\"1.0.0\",\(Self.macvlan)}")
        let config = MetaEndToEnd.config(node).replacing(
            #""k8s.v1.cni.cncf.io/networks":"net-a""#,
            with: #""v1.multus-cni.io/default-network":"[{\"name\":\"net\",\"interface\":\"x0\"}]""#)
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("kube-system/net on eth0: asked for and not given: interface"))
    }

    /// Said before the kernel is asked, which may have none.
    @Test func aMACAddressIsNothingForIpvlan() throws {
        let answer = try add(
            #""type":"ipvlan","master":"eth9","capabilities":{"mac":true},"ipam":{\#(Self.local)}"#,
            networks: #"[{"name":"net","mac":"02:00:00:00:00:09"}]"#)
        #expect(remarks(answer).first?.contains("not given: mac (no plugin") == true, "\(answer.ran)")
    }

    /// What an external plugin does with what it gets is its own matter.
    @Test func anExternalPluginMayTakeAll() throws {
        try node.script("mine", #"echo '{"cniVersion":"1.0.0"}'"#)
        let answer = try add(
            #""type":"mine","vlanId":5,"capabilities":{"deviceID":true}"#,
            networks: #"[{"name":"net","ips":["10.5.0.9"],"deviceID":"x","cni-args":{"a":1},"purpose":"x"}]"#)
        #expect(answer.status == 0 && remarks(answer).isEmpty, "\(answer.ran)")
    }

    // MARK: Devices, external plugins

    private static func marked(_ config: String) -> String {
        """
        {"kind":"NetworkAttachmentDefinition","metadata":{"name":"net","namespace":"default",
         "annotations":{"k8s.v1.cni.cncf.io/resourceName":"example.com/net"}},"spec":{"config":"\(config.replacing("\"", with: "\\\""))"}}
        """
    }

    @Test(arguments: [
        (#"{"type":"bridge","bridge":"b"}"#, "", true),
        (#"{"type":"host-device","device":"eth9"}"#, "", true),
        (#"{"type":"host-device"}"#, "", false), (#"{"type":"sriov","vlan":5}"#, "", false),
        (#"{"plugins":[{"type":"ib-sriov"},{"type":"tuning"}]}"#, "", false),
        (#"{"type":"sriov"}"#, #","deviceID":"0000:03:02.0""#, true),
        (#"{"type":"sriov","deviceID":"0000:03:02.0"}"#, "", true),
    ])
    func aResourceIsAHintUnlessADeviceIsNeeded(config: String, selection: String, attaches: Bool) throws {
        try node.script("sriov", #"echo '{"cniVersion":"1.0.0"}'"#)
        try node.script("ib-sriov", #"echo '{"cniVersion":"1.0.0"}'"#)
        let text = config.replacing("{\"type\"", with: "{\"cniVersion\":\"1.0.0\",\"type\"")
        try node.write("cache/net-attach-def/default/net.json", Self.marked(text))
        let answer = try call("ADD", networks: "[{\"name\":\"net\"\(selection)}]")
        #expect(answer.status == (attaches ? 0 : 1), "\(answer.ran)")
        if attaches { return }
        let type =
            config.contains("host-device") ? "host-device" : config.contains("ib-") ? "ib-sriov" : "sriov"
        #expect(answer.code == 7, "\(answer.ran)")
        #expect(answer.message.contains("\(type) needs a device of example.com/net"), "\(answer.message)")
        try untouched(config)
    }

    @Test func anErrorObjectIsAnErrorWhateverTheStatus() throws {
        let fails = #"echo '{"cniVersion":"1.0.0","code":103,"msg":"no more"}'"#
        try node.script("mine", "[ $CNI_COMMAND = DEL ] || \(fails)")
        let answer = try add(#""plugins":[{"type":"bridge","bridge":"b"},{"type":"mine"}]"#)
        #expect(answer.code == 103 && answer.message.contains("no more"), "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
        // Of an address source and of another verb, too.
        let source = try add(Self.macvlan + #","ipam":{"type":"mine"}"#)
        #expect(source.code == 103, "\(source.ran)")
        try node.script("mine", #"echo '{"cniVersion":"1.0.0"}'"#)
        #expect(try add(#""type":"mine""#).status == 0)
        try node.script("mine", fails)
        #expect(try call("CHECK").code == 103)
        #expect(try call("DEL").code == 103)
        try node.script("mine", "echo '{}'")
        #expect(try call("DEL").status == 0)
        try node.script("mine", #"[ $CNI_COMMAND = DEL ] || echo '{"cniVersion":"1.0.0","msg":"oops"}'"#)
        let wordy = try add(#""type":"mine""#)
        #expect(wordy.status == 1 && wordy.ran.output.contains("oops"), "\(wordy.ran)")
    }

    // MARK: Numbers and defaults that the kernel's state decides

    @Test(
        arguments: [
            ("ip link add br0 mtu 1500 type bridge && ip link set eth9 master br0", 7, 0),
            // The first port decides a bridge's MTU.
            ("ip link add br0 type bridge", nil, 0), ("true", nil, 0),
            ("ip link add br0 mtu 9000 type bridge && ip link set eth9 mtu 9000 master br0", nil, 0),
            // Some other port takes as much, and the bridge does not.
            (
                "ip link add br0 type bridge && ip link set eth9 mtu 9000 master br0 && ip link set eth9p master br0",
                nil, 1
            ),
        ] as [(String, Int?, Int)])
    func anMTUAboveTheBridges(setup: String, code: Int?, lines: Int) throws {
        try node.sh(setup)
        let answer = try add(#""type":"bridge","bridge":"br0","mtu":9000"#)
        #expect(answer.code == code ?? -1, "\(answer.ran)")
        #expect(remarks(answer).count == lines, "\(answer.ran)")
        if code == nil {
            #expect(try node.ip("link show net1", pod: "a")[0]["mtu"].int == 9000)
        } else {
            #expect(
                answer.message.contains("invalid MTU 9000, must be [0, bridge MTU(1500)]"), "\(answer.ran)")
            #expect(try node.links(pod: "a").isEmpty)
        }
        // By its own name as the reference.
        _ = try node.pod("b")
        #expect(try node.plugin("ADD", "bridge", #""bridge":"br0","mtu":9000"#, pod: "b").status == 0)
    }

    @Test(.enabled(if: Feature.vlanFiltering, "no VLAN filtering"), arguments: [(0, 1), (1, 0)])
    func aBridgeThatKeepsNoVLANsApart(filtering: Int, lines: Int) throws {
        try node.sh("ip link add br0 type bridge vlan_filtering \(filtering)")
        let answer = try add(#""type":"bridge","bridge":"br0","vlan":100"#)
        #expect(answer.status == 0 && remarks(answer).count == lines, "\(answer.ran)")
    }

    @Test func tuningRaisesBothEnds() throws {
        let chain = #""plugins":[{"type":"bridge","bridge":"br0","isGateway":true,"ipam":{\#(Self.local)}},"#
        #expect(try add(chain + #"{"type":"tuning","mtu":9000}]"#).status == 0)
        #expect(try node.ip("link show net1", pod: "a")[0]["mtu"].int == 9000)
        #expect(try node.ip("link show master br0")[0]["mtu"].int == 9000)
        try node.sh("ping -c1 -W2 -s 4000 10.5.0.1", pod: "a")
        #expect(try call("CHECK").status == 0)
        #expect(try call("DEL").status == 0)
        // Not lowered: the bridge, and with it others, would follow.
        #expect(try add(chain + #"{"type":"tuning","mtu":1400}]"#).status == 0)
        #expect(try node.ip("link show master br0")[0]["mtu"].int == 1500)
    }

    @Test(arguments: ["", #","isDefaultGateway":true"#])
    func aBridgeMadeHereTakesIPv6(more: String) throws {
        try node.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
        let keys =
            #""type":"bridge","bridge":"br0","isGateway":true\#(more),"ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"fd00:5::/64"}"#
        let answer = try add(keys)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses("br0") == ["fd00:5::1/64"])
        #expect(try node.sh("cat /proc/sys/net/ipv6/conf/eth9/disable_ipv6") == "1\n")
    }

    @Test func whoChoseTheLinkIsSaid() throws {
        try node.sh("ip addr add 192.0.2.1/24 dev eth9 && ip route add default via 192.0.2.254")
        let answer = try add(#""type":"macvlan""#, extra: #","logLevel":"verbose""#)
        let said = "the key master is missing: it sits on eth9, by which the default route leaves"
        #expect(remarks(answer, level: "verbose").filter { $0.contains(said) }.count == 1, "\(answer.ran)")
        let ran = try Shell.run(
            [
                "ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "explain", "-c", "-",
                "--networks", "net",
            ], input: MetaEndToEnd.config(node))
        #expect(ran.output.contains(said), "\(ran)")
        #expect(try call("DEL").status == 0)
        let port = try add(#""type":"bridge""#, extra: #","logLevel":"verbose""#)
        #expect(
            remarks(port, level: "verbose").contains { $0.contains("the key bridge is missing") },
            "\(port.ran)")
    }
}
