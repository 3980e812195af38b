import Foundation
import Support
import Testing

extension Answer {
    /// - Parameter details: words that are in them, each.
    func expectRefusal(_ code: Int, _ words: String, _ details: [String]) {
        #expect(status == 1 && self.code == code, "\(ran)")
        #expect(message.contains(words), "\(ran.output)")
        for words in details {
            #expect(json["details"].string?.contains(words) == true, "\(words): \(ran.output)")
        }
    }
}

/// An error says who wrote what is refused, what is in the way, and what helps.
@Suite struct BlameTests {
    private let node: Node
    private let netns: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
    }

    private var cache: String { "\(node.directory)/cache/net-attach-def/default" }

    private func add(
        _ networks: String?, pod: String = "a", extra: String = "", config: String? = nil
    ) throws -> Answer {
        let netns = pod == "a" ? netns : try node.pod(pod)
        return try node.call(
            "ADD", id: "c-\(pod)", netns: netns,
            args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-\(pod);IgnoreUnknown=1",
            config ?? MetaEndToEnd.config(node, networks: networks, extra: extra))
    }

    /// Refused with these words, and without a trace.
    private func refused(_ answer: Answer, _ code: Int, _ message: String, _ details: String...) throws {
        answer.expectRefusal(code, message, details)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.files("state").filter { $0.contains("c-a") }.isEmpty)
    }

    private func define(_ name: String, _ config: String) throws {
        try node.define(name, config.replacing("DIR", with: node.directory))
    }

    // MARK: Who wrote it

    static let annotation = "annotation k8s.v1.cni.cncf.io/networks of pod default/pod-a"

    @Test(arguments: [
        (
            #"[{"name":"net-a","mac":"01:00:00:00:00:01"}]"#,
            "networks[0].mac: 01:00:00:00:00:01 can be no interface's: it is a multicast address",
            "write six octets, the first one even"
        ),
        (
            #"[{"name":"default/net-a"}]"#, #"write "name": "net-a", "namespace": "default""#,
            "correct the annotation"
        ),
        (
            #"[{"name":"net-a"},]"#, "found ']': remove the comma before it (line 1, column 19)",
            "it is a JSON list"
        ),
        ("net-a,", "is there a comma too many?", "joined by commas"),
        (
            #"[{"name":"net-a","ips":["127.0.0.1/8"]}]"#,
            "networks[0].ips[0]: 127.0.0.1 can be no pod's: it is a loopback address",
            "an address of the network"
        ),
        (
            #"[{"name":"net-b","name":"net-a"}]"#, "networks[0].name: the key stands twice in its object",
            "remove one of the two"
        ),
        ("net-a@a[%", "interface \"a[%\" contains '%'", "joined by commas"),
    ])
    func theAnnotationIsNamed(networks: String, problem: String, fix: String) throws {
        let answer = try add(networks)
        try refused(answer, 7, problem, fix)
        #expect(answer.message.hasPrefix(Self.annotation))
        let own = try add(nil, extra: ",\"networks\":\"\(networks.replacing("\"", with: "\\\""))\"")
        #expect(
            own.message.hasPrefix("key networks of the configuration node-network"), "\(own.ran.output)")
    }

    /// What only the plugin can judge is traced back to the annotation's key.
    @Test(arguments: [
        (#""ips":["10.5.0.9"]"#, 7, "NOT in CIDR notation", "write the prefix length too", "ips"),
        (
            #""ips":["10.5.0.9/24"],"cni-args":{"mac":"01:00:00:00:00:01"}"#, 7, "invalid MAC", "six octets",
            "cni-args.mac"
        ),
        (
            #""ips":["10.5.0.9/24"],"default-route":["10.6.0.1"]"#, 999,
            "gateway is in no subnet of net2, which has 10.5.0.9/24",
            "correct the gateway", "default-route"
        ),
    ])
    func aWishIsTracedBack(keys: String, code: Int, problem: String, fix: String, key: String) throws {
        try define(
            "st",
            #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2","capabilities":{"ips":true},"ipam":{"type":"static"}}"#
        )
        let answer = try add(#"[{"name":"net-a"},{"name":"st",KEYS}]"#.replacing("KEYS", with: keys))
        try refused(
            answer, code, problem, fix,
            "asked for in \(Self.annotation), networks[1].\(key); configured in \(cache)/st.yaml")
    }

    /// What the kernel alone can judge as well, and with the key as the pod wrote it.
    @Test(arguments: [
        (#""mtu":10"#, "set link net1 mtu 10", "mtu"), (#""mtu":99999"#, "set link net1 mtu 99999", "mtu"),
        (
            #""sysctl":{"net.core.nosuch":"1"}"#, "sysctl net.core.nosuch does not exist",
            "sysctl.net.core.nosuch"
        ),
        (
            #""sysctl":{"net.ipv4.conf.nosuch.rp_filter":"1"}"#,
            "sysctl net.ipv4.conf.nosuch.rp_filter does not exist",
            "sysctl.net.ipv4.conf.nosuch.rp_filter"
        ),
        (
            #""sysctl":{"net.ipv4.conf.IFNAME.rp_filter":"x"}"#, "set sysctl net.ipv4.conf.net1.rp_filter",
            "sysctl.net.ipv4.conf.IFNAME.rp_filter"
        ),
        (
            #""addroutes":[{"dst":"10.3.0.0/16","gw":"10.7.0.1"}]"#, "the gateway is in no subnet of net1",
            "addroutes"
        ),
    ])
    func anArgumentIsTracedBack(keys: String, problem: String, key: String) throws {
        func list(_ tuning: String, _ routes: String) -> String {
            """
            {"cniVersion":"1.0.0","plugins":[{"type":"bridge","bridge":"b2","ipam":{"type":"static","addresses":\
            [{"address":"10.5.0.9/24"}]}},{"type":"tuning"\(tuning)},{"type":"route-override"\(routes)}]}
            """
        }
        try define("tn", list("", ""))
        let asked = try add(#"[{"name":"tn","cni-args":{\#(keys)}}]"#)
        try refused(
            asked, asked.code, problem,
            "asked for in \(Self.annotation), networks[0].cni-args.\(key); configured in \(cache)/tn.yaml")
        let isRoute = key == "addroutes"
        try define("tn", list(isRoute ? "" : ",\(keys)", isRoute ? ",\(keys)" : ""))
        let written = try add("tn")
        try refused(written, written.code, problem, "configured in \(cache)/tn.yaml")
        #expect(!written.ran.output.contains("asked for"), "\(written.ran)")
    }

    @Test func keysThatStandTwiceAreNamed() throws {
        try define("two", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2","bridge":"b3"}"#)
        let answer = try add("two", extra: ",\"confDir\":\"/none\",\"confDir\":\"/none\"")
        #expect(answer.status == 0, "\(answer.ran)")
        for words in [
            "default/two on net1: keys that stand twice, of which the last one counts: bridge",
            "are passed over: the first confDir (the key stands twice)",
        ] { #expect(answer.ran.errors.contains(words), "\(answer.ran)") }
        try node.write("cache/net-attach-def/default/json.json", #"{"spec":{"config":"{}"},"spec":{}}"#)
        #expect(try add("json", pod: "b").message.contains("json.json: the key spec stands twice"))
    }

    @Test func aRecordThatWouldBeTooLargeIsRefusedBeforeAnythingIsAttached() throws {
        let routes = (1...40).map { "{\"dst\":\"10.\($0).0.0/16\"}" }.joined(separator: ",")
        try define(
            "many",
            #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2","ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"172.16.0.0/16","routes":[\#(routes)]}}"#
        )
        let names = Array(repeating: "many", count: 200).joined(separator: ",")
        try refused(try add(names), 7, "cannot be kept", "values or more; the limits are", "32768 values")
        #expect(try node.files("ipam").isEmpty && node.links().isEmpty)
        #expect(try add(names.split(separator: ",").prefix(40).joined(separator: ","), pod: "b").status == 0)
    }

    @Test func anAddressOutsideTheRangesIsTracedBack() throws {
        let answer = try add(#"[{"name":"net-a","ips":["10.9.9.9"]}]"#)
        try refused(
            answer, 999, "failed to allocate all requested IPs: 10.9.9.9",
            "\(Self.annotation), networks[0].ips")
    }

    @Test(arguments: [
        "{\n\"type\": \"bridge\",\n}", #"{"cniVersion":"1.0.0"}"#, #"{"cniVersion":"7.0.0","type":"bridge"}"#,
        #"{"cniVersion":"1.0.0","type":"multus"}"#, #"{"cniVersion":"1.0.0","type":"bridge","mtu":"1"}"#,
        #"{"cniVersion":"1.0.0","type":"bridge","isGatway":true}"#,
        #"{"cniVersion":"1.0.0","type":"none-such"}"#,
        #"{"cniVersion":"1.0.0","type":"bridge","ipam":{"type":"host-local","subnet":"x"}}"#,
        #"{"cniVersion":"1.0.0","type":"bridge","ipam":{"type":"static"}}"#,
        #"{"cniVersion":"1.0.0","type":"macvlan","master":"none"}"#, "",
    ])
    func everyErrorOfADefinitionEndsWithItsFile(config: String) throws {
        try define("bad", config)
        let answer = try add("bad")
        #expect(answer.json["details"].string?.hasSuffix("\(cache)/bad.yaml") == true, "\(answer.ran.output)")
        try refused(answer, answer.code, "default/bad", "bad.yaml")
    }

    @Test func errorsOfOtherConfigurationsEndWithTheirPlace() throws {
        let delegate = MetaEndToEnd.config(node, networks: "", delegate: ",\"vlan\":5000")
        try refused(
            try add("", config: delegate), 7, "default-network on eth0: bridge: ",
            "configured in delegates[0] of the configuration node-network")
        try node.write("conf/x.conf", #"{"cniVersion":"1.0.0","name":"x","type":"bridge","vlan":5000}"#)
        try refused(
            try add("", extra: ",\"clusterNetwork\":\"x\""), 7, "x on eth0: bridge: ",
            "configured in \(node.directory)/conf/x.conf")
    }

    @Test func aStaticSourceWithoutAnAddressIsRefused() throws {
        try define("st", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2","ipam":{"type":"static"}}"#)
        try refused(try add("st"), 7, "static: there is no address", "ips into the pod's annotation")
        #expect(try add(#"[{"name":"st","ips":["10.5.0.9/24"]}]"#).status == 0)
    }

    // MARK: Where a definition is

    @Test func aDefinitionElsewhereIsNamedUnlessIsolationForbids() throws {
        for namespace in ["blue", "red"] {
            try node.define("there", namespace: namespace, #"{"cniVersion":"1.0.0","type":"bridge"}"#)
        }
        try refused(
            try add("there"), 7, "cannot find", "write blue/there, red/there; no file \(cache)/there.")
        let isolated = try add("there", extra: ",\"namespaceIsolation\":true")
        try refused(isolated, 7, "cannot find", "no file \(cache)/there.")
        #expect(!isolated.ran.output.contains("blue") && !isolated.ran.output.contains("red/"))
        let shared = try add("there", extra: ",\"namespaceIsolation\":true,\"globalNamespaces\":\"red\"")
        try refused(shared, 7, "cannot find", "write red/there; ")
        try refused(
            try add("there", extra: ",\"cacheDir\":\"/none/such\""), 7, "cannot find", "no folder /none/such")
    }

    @Test func theDefaultNetworksShortNamesAreExplained() throws {
        let annotations =
            #"{"io.kubernetes.cri.pod-annotations":{"v1.multus-cni.io/default-network":"net-a"}}"#
        let config = MetaEndToEnd.config(node, networks: nil, extra: ",\"runtimeConfig\":\(annotations)")
        try refused(
            try add("", config: config), 7, "cannot find",
            "short names of this annotation are those of multusNamespace, kube-system; write default/net-a")
    }

    // MARK: Files of the cache

    @Test(arguments: [
        ("mv F G && ln -s G F", 5, "F is a symbolic link", "put the file or folder itself in its place"),
        ("chmod 666 F", 5, "F is writable by everybody (owner 0:0, mode 666): refused", "chmod go-w F"),
        ("chgrp 77 F && chmod 664 F", 5, "F is writable by group 77 (owner 0:77, mode 664)", "chmod go-w F"),
        ("chown 77 F", 5, "F belongs to user 77", "chown root F"),
        (
            "chown 77 F; chmod 646 F", 5,
            "F belongs to user 77, not to root and is writable by everybody (owner 77:0, mode 646)",
            "chown root F && chmod go-w F"
        ),
        (": > F", 6, "F is empty", "write it again"),
        (#"echo '{"type":"bridge"}' > F"#, 7, "it is a CNI configuration", "correct F"),
        ("printf 'kind: List\nitems: []\n' > F", 7, "kind is List: write each of its items", "correct F"),
        ("printf 'a: 1\n---\na: 1\n' > F", 6, "more than one document: a file has one", "correct F"),
        ("printf 'spec: {config: {type: bridge}}' > F", 7, "spec.config is an object", "correct F"),
        ("rm F && mkdir F", 5, "F is a directory, where a file belongs", "mv F F.old"),
        ("rm F && mkfifo F", 5, "F is a named pipe, where a file belongs", "mv F F.old"),
        ("cp F $(dirname F)/net-a.json", 5, "both exist: remove one", "rm F, or rm"),
        ("printf 'a: [' > F", 6, "F: line 2, column 1: did not find", "correct F"),
    ])
    func aFileOfTheCacheIsNamedWithItsFix(damage: String, code: Int, problem: String, fix: String) throws {
        func filled(_ text: String) -> String {
            text.replacing("F", with: "\(cache)/net-a.yaml").replacing("G", with: "\(node.directory)/other")
        }
        try Shell.sh(filled(damage))
        try refused(try add("net-a"), code, filled(problem), filled(fix))
    }

    @Test func aMisspeltAnnotationIsNamedWithPodAndFile() throws {
        let file = "\(node.directory)/cache/pods/default/pod-a.yaml"
        try node.write(
            "cache/pods/default/pod-a.yaml",
            "kind: Pod\nmetadata: {name: pod-a, annotations: {k8s.v1.cni.cnf.io/networks: net-a}}")
        try refused(
            try add(nil), 7, "annotation k8s.v1.cni.cnf.io/networks of pod default/pod-a: unknown key",
            "it was read from \(file)")
    }

    @Test func whatStandsInAFilesPlaceIsNamed() throws {
        let number = try node.sh("readlink /proc/self/ns/net").filter(\.isNumber)
        let lock = "/run/plexus/bridge.\(number).b2.lock"
        // Another test may have had a namespace of that number.
        try Shell.sh("rm -f \(lock); mkdir \(lock)")
        defer { _ = try? Shell.sh("rmdir \(lock)") }
        try define("br", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2"}"#)
        let answer = try add("br")
        try refused(answer, 999, "\(lock) is a directory, where a file belongs", "mv \(lock) \(lock).old")
        #expect(!answer.ran.output.contains("refused step"), "\(answer.ran)")
        let folder = "\(node.directory)/state/attachments"
        try Shell.sh("rm -rf \(folder) && mkdir -p \(node.directory)/state && touch \(folder)")
        try refused(
            try add("net-a"), 5, "\(folder) is a file, where a directory belongs",
            "mv \(folder) \(folder).old")
    }

    @Test(
        "a key that names a file is to be corrected: the file may be anybody's",
        arguments: ["cniDir", "cacheDir"])
    func aFolderThatIsAFile(key: String) throws {
        let file = "\(node.directory)/hosts"
        try node.write("hosts", "127.0.0.1 localhost")
        let config = MetaEndToEnd.config(node, networks: "net-a").replacing(
            "\"\(key)\":\"\(node.directory)/\(key == "cniDir" ? "state" : "cache")\"",
            with: "\"\(key)\":\"\(file)\"")
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        let details = answer.json["details"].string ?? ""
        #expect(
            answer.code == 5 && details.contains("correct the key \(key)") && !details.contains("mv "),
            "\(answer.ran)")
    }

    @Test func errorsOfLaterVerbsEndWithTheFile() throws {
        try node.script(
            "mine",
            #"[ "$CNI_COMMAND" != ADD ] && echo '{"code":100,"msg":"no"}' && exit 1; echo '{"ips":[]}'"#)
        try define("ext", #"{"cniVersion":"1.0.0","type":"mine"}"#)
        #expect(try add("ext").status == 0)
        for verb in ["CHECK", "DEL"] {
            let answer = try node.call(
                verb, id: "c-a", netns: netns, args: MetaEndToEnd.pod,
                MetaEndToEnd.config(node, networks: "ext"))
            answer.expectRefusal(100, "default/ext on net1: mine: no", ["configured in \(cache)/ext.yaml"])
        }
    }

    @Test func whatHasADevicesNameIsNamed() throws {
        try uplink()
        try define("hd", #"{"cniVersion":"1.0.0","type":"host-device","device":"up0"}"#)
        #expect(try add("hd").status == 0)
        try node.sh("ip link add up0 type bridge")
        func delete() throws -> Answer {
            try node.call(
                "DEL", id: "c-a", netns: netns, args: MetaEndToEnd.pod,
                MetaEndToEnd.config(node, networks: "hd"))
        }
        try delete().expectRefusal(
            999, "default/hd on net1: give the device back as up0: the host has another link of that name",
            ["ip link set dev up0 name OTHER, and DEL again", "configured in \(cache)/hd.yaml"])
        #expect(try delete().message.hasSuffix("it is a bridge"))
        try node.sh(
            "ip link del up0; ip link add rival type bridge; ip link property add dev rival altname up0")
        try delete().expectRefusal(
            999, "a bridge, rival, has it as an alternative name",
            ["ip link property del dev rival altname up0, and DEL again"])
        try node.sh("ip link del rival")
        #expect(try delete().status == 0)
        #expect(try node.links().contains("up0"))
    }

    @Test func aFolderThatIsALinkIsNamed() throws {
        try Shell.sh("mv \(cache) \(node.directory)/other && ln -s \(node.directory)/other \(cache)")
        try refused(try add("net-a"), 5, "\(cache) is a symbolic link", "in its place")
    }

    /// A pod would silently have no networks.
    @Test(arguments: [
        (": > F", 6, "F is empty"), ("printf 'kind: List' > F", 7, "kind is List"),
        ("echo '[]' > F", 7, "expected an object"),
        ("echo 'kind: Pod' > F", 7, "metadata.name is missing: the pod's name, pod-a"),
        ("printf 'kind: Pod\nmetadata: {namespace: default}' > F", 7, "metadata.name is missing"),
        ("printf 'kind: Pod\nmetadata: {name: }' > F", 7, "metadata.name is missing"),
    ])
    func aPodsFileThatSaysNothingIsRefused(damage: String, code: Int, problem: String) throws {
        let file = "\(node.directory)/cache/pods/default/pod-a.yaml"
        try Shell.sh("mkdir -p $(dirname \(file)); \(damage.replacing("F", with: file))")
        try refused(try add(nil), code, problem.replacing("F", with: file))
    }

    @Test func whoMayNotReadTheCacheIsToldSo() throws {
        try node.write("config.json", MetaEndToEnd.config(node))
        try Shell.sh("chmod 700 \(cache) && chmod 755 \(node.directory)")
        let ran = try Shell.run(
            [
                "setpriv", "--reuid=65534", "--clear-groups", Node.executable, "explain", "--config",
                "\(node.directory)/config.json",
            ])
        #expect(
            ran.errors.contains(
                "open \(cache): Permission denied\n  this user may not do it: Plexus runs as root"),
            "\(ran)")
    }

    // MARK: STATUS and GC

    @Test(arguments: [
        (
            #""type":"mine""#, "STATUS", "net: mine: no such verb",
            "if mine does not know STATUS, the network's cniVersion is to be 1.0.0"
        ),
        (#""type":"mine""#, "GC", "net: mine: no such verb", "if mine does not know GC"),
        (
            #""type":"bridge","mtu":"1""#, "STATUS", "net: bridge: cannot unmarshal",
            "delegates[0] of the configuration node"
        ),
        (
            #""type":"bridge","ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"10.1.1.0/24"}"#,
            "STATUS",
            "net: bridge: failed to allocate for range 0: no IP addresses", "who has which"
        ),
    ])
    func statusAndCollectionNameNetworkAndPlugin(keys: String, verb: String, message: String, fix: String)
        throws
    {
        try node.script("mine", "echo '{\"code\":4,\"msg\":\"no such verb\"}'; exit 1")
        for address in 1...254 where keys.contains("10.1.1.0") {
            try node.write("ipam/net/10.1.1.\(address)", "x\r\neth0")
        }
        let config = """
            {"cniVersion":"1.1.0","name":"node","type":"plexus","cniDir":"\(node.directory)/state","cni.dev/valid-attachments":[],
             "cacheDir":"\(node.directory)/none","binDir":"\(node.directory)/plugins",
             "delegates":[{"cniVersion":"1.1.0","name":"net",\(keys.replacing("DIR", with: node.directory))}]}
            """
        let answer = try node.call(verb, netns: "", interface: "", config)
        #expect(answer.message.hasPrefix(message), "\(answer.ran)")
        #expect(fix.isEmpty || answer.json["details"].string?.contains(fix) == true, "\(answer.ran)")
        #expect(!answer.ran.errors.contains(" of :"), "\(answer.ran.errors)")
    }

    // MARK: What is in the way

    private func uplink() throws {
        try node.sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up")
    }

    @Test func aMasterThatIsAPortIsNamedWithItsBridge() throws {
        try uplink()
        try node.sh("ip link add br5 type bridge; ip link set up0 master br5")
        try define("mv", #"{"cniVersion":"1.0.0","type":"macvlan","master":"up0"}"#)
        try refused(
            try add("mv"), 999, "Device or resource busy: up0 is a port of the bridge br5",
            "use the plugin bridge on br5")
    }

    @Test func theMACOfAnotherMacvlanIsNamedWithItsPod() throws {
        try uplink()
        try define(
            "mv", #"{"cniVersion":"1.0.0","type":"macvlan","master":"up0","capabilities":{"mac":true}}"#)
        let wish = #"[{"name":"mv","mac":"02:00:00:00:00:99"}]"#
        #expect(try add(wish, pod: "b").status == 0)
        try refused(
            try add(wish), 999, "another macvlan on up0 has the MAC address 02:00:00:00:00:99",
            "pod default/pod-b (net1, network default/mv) has it")
        let own = try node.ip("link show up0")[0]["address"].string ?? ""
        try refused(
            try add(wish.replacing("02:00:00:00:00:99", with: own)), 999, "up0 has the MAC address \(own)")
        try define("pt", #"{"cniVersion":"1.0.0","type":"macvlan","master":"up0","mode":"passthru"}"#)
        try refused(
            try add("pt"), 999, "in mode passthru up0 carries a single macvlan",
            "pod default/pod-b (net1, network default/mv) has a link on it")
        try define("lo", #"{"cniVersion":"1.0.0","type":"macvlan","master":"lo"}"#)
        try refused(try add("lo"), 999, "lo is no Ethernet link", "key master")
    }

    /// Who else has pods on the node is not every pod's matter.
    @Test func isolationHidesPodsOfOtherNamespaces() throws {
        let wish = #"[{"name":"net-a","ips":["192.168.12.77"]}]"#
        let extra = ",\"namespaceIsolation\":true"
        #expect(try add(wish, pod: "b").status == 0)
        try refused(try add(wish, extra: extra), 999, "192.168.12.77", "pod default/pod-b (net1")
        let args = "K8S_POD_NAMESPACE=red;K8S_POD_NAME=pod-a"
        let config = MetaEndToEnd.config(
            node, networks: wish.replacing("\"ips\"", with: "\"namespace\":\"default\",\"ips\""), extra: extra
        )
        let other = try node.call("ADD", id: "c-a", netns: netns, args: args, config)
        try refused(other, 999, "192.168.12.77", "container c-b of another namespace has it")
        #expect(!other.ran.output.contains("pod-b"))
    }

    @Test func theLimitOfAnMTUIsNamed() throws {
        try uplink()
        try define(
            "mv",
            #"{"cniVersion":"1.0.0","name":"mv","plugins":[{"type":"macvlan","master":"up0"},{"type":"tuning","mtu":9000}]}"#
        )
        try refused(
            try add("mv"), 999,
            "set link net1 mtu 9000: Invalid argument: net1 sits on up0, whose MTU is 1500", "lower the MTU")
        try define(
            "br",
            #"{"cniVersion":"1.0.0","name":"br","plugins":[{"type":"bridge"},{"type":"tuning","mtu":70000}]}"#
        )
        try refused(try add("br"), 999, "net1 takes 68 to 65535", "correct the key mtu")
    }

    @Test func whoHasADeviceOrAnAddressIsNamed() throws {
        try uplink()
        try define("hd", #"{"cniVersion":"1.0.0","type":"host-device","device":"up1"}"#)
        #expect(try add("hd", pod: "b").status == 0)
        try refused(
            try add("hd"), 999, "failed to find host device",
            "pod default/pod-b (net1, network default/hd) has it")
        #expect(try add(#"[{"name":"net-a","ips":["192.168.12.77"]}]"#, pod: "d").status == 0)
        try refused(
            try add(#"[{"name":"net-a","ips":["192.168.12.77"]}]"#), 999, "192.168.12.77 is not available",
            "pod default/pod-d (net1, network default/net-a) has it")
        try define("hb", #"{"cniVersion":"1.0.0","type":"host-device","device":"cni0"}"#)
        try refused(try add("hb"), 999, "failed to move link cni0 and call it net1", "name another device")
    }

    @Test func anAddressThatIsGivenTwiceIsNamed() throws {
        let one = #"{"address":"10.5.0.9/24"}"#
        try define(
            "st",
            #"{"cniVersion":"1.0.0","type":"bridge","ipam":{"type":"static","addresses":[\#(one),\#(one)]}}"#)
        try refused(try add("st"), 999, "net1 has the address already", "it is given twice")
    }

    @Test(.disabled(if: Feature.vlanFiltering, "this kernel can"))
    func aKernelWithoutVLANFilteringIsNamed() throws {
        try define("vl", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b4","vlan":5}"#)
        try refused(
            try add("vl"), 999, "the kernel cannot keep VLANs apart on a bridge",
            "CONFIG_BRIDGE_VLAN_FILTERING")
    }

    @Test(.disabled(if: Feature.ipvlan, "this kernel can"))
    func aKernelWithoutIpvlanIsNamed() throws {
        try uplink()
        try define(
            "iv",
            #"{"cniVersion":"1.0.0","type":"ipvlan","master":"up0","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}]}}"#
        )
        try refused(try add("iv"), 999, "the kernel lacks ipvlan", "modprobe ipvlan")
    }

    @Test(.enabled(if: Feature.ipvlan, "needs ipvlan"))
    func whatAnIpvlanMeetsIsNamed() throws {
        try uplink()
        try define(
            "iv",
            #"{"cniVersion":"1.0.0","type":"ipvlan","master":"up0","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}]}}"#
        )
        try define("mv", #"{"cniVersion":"1.0.0","type":"macvlan","master":"up0"}"#)
        #expect(try add("iv", pod: "b").status == 0)
        try refused(
            try add("iv"), 999, "another ipvlan on up0 has it",
            "pod default/pod-b (net1, network default/iv) has it")
        try refused(
            try add("mv"), 999, "such as ipvlan links of other pods",
            "pod default/pod-b (net1, network default/iv) has a link on it", "use ipvlan here too")
        try node.sh("ip link add iv0 link up0 type ipvlan")
        try refused(try add("mv"), 999, "up0 has the ipvlan iv0 on it", "use ipvlan here too")
    }

    // MARK: What is attached and hardly works

    @Test func whatHardlyWorksIsNamedInTheLog() throws {
        try node.sh("ip link add up0 type veth peer name up1")
        try define("mv", #"{"cniVersion":"1.0.0","type":"macvlan","master":"up0"}"#)
        #expect(try add("mv", pod: "b").ran.errors.contains("its master up0 is down"))
        try node.sh("ip link set up0 up")
        #expect(try add("mv", pod: "d").ran.errors.contains("its master up0 has no carrier"))
        try node.sh("ip link set up1 up")
        #expect(try add("mv", pod: "e").ran.errors.isEmpty)
    }

    @Test func oneStaticAddressOfTwoPodsIsNamedInTheLog() throws {
        let config =
            #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}]}}"#
        try define("st", config)
        try define("other", config.replacing("b2", with: "b3"))
        #expect(try add("st", pod: "b").ran.errors.isEmpty)
        let second = try add("st", pod: "d")
        #expect(second.status == 0)
        #expect(
            second.ran.errors.contains(
                "pod default/pod-b (net1, network default/st) has the address 10.5.0.9 too"), "\(second.ran)")
        // Another bridge, and a pod that is gone.
        #expect(try add("other", pod: "e").ran.errors.isEmpty)
        for pod in ["b", "d"] { try node.removePod(pod) }
        #expect(try add("st", pod: "f").ran.errors.isEmpty)
    }

    /// Each is its pod's alone, whatever network it is wired to.
    @Test func oneAddressOnTwoDevicesIsNotNamed() throws {
        for (pod, device) in [("b", "dev0"), ("d", "dev1")] {
            try node.sh("ip link add \(device) type veth peer name \(device)p")
            let config =
                #"{"cniVersion":"1.0.0","type":"host-device","device":"DEV","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}]}}"#
            try define(device, config.replacing("DEV", with: device))
            let answer = try add(device, pod: pod)
            #expect(answer.status == 0 && !answer.ran.errors.contains("10.5.0.9 too"), "\(answer.ran)")
        }
    }

    /// Whatever networks they are of.
    @Test func linksMeetOnTheirMaster() throws {
        try node.sh("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up")
        let config =
            #"{"cniVersion":"1.0.0","type":"macvlan","master":"up0","ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}]}}"#
        try define("mv", config)
        try define("mv-too", config)
        #expect(try !add("mv", pod: "b").ran.errors.contains("10.5.0.9 too"))
        #expect(try add("mv-too", pod: "d").ran.errors.contains("has the address 10.5.0.9 too"))
    }

    @Test func twoNetworksInOneSubnetAreNamedInTheLog() throws {
        try define(
            "st",
            #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b2","capabilities":{"ips":true},"ipam":{"type":"static"}}"#
        )
        let one = #"[{"name":"st","ips":["10.5.0.9/24"]},{"name":"st","ips":["ADDRESS/24"]}]"#
        let same = try add(one.replacing("ADDRESS", with: "10.5.0.10"))
        #expect(
            same.status == 0
                && same.ran.errors.contains("are in one subnet, with 10.5.0.9/24 and 10.5.0.10/24"),
            "\(same.ran)")
        let other = one.replacing("10.5.0.9", with: "10.5.0.11").replacing("ADDRESS", with: "10.6.0.10")
        #expect(try add(other, pod: "b").ran.errors.isEmpty)
        // One line for all that meet, and none that repeats it; a third that meets only one of them is named too.
        let many = ["10.7.0.1/24", "10.7.1.1/24", "10.7.0.2/16", "10.7.2.1/24"].map {
            #"{"name":"st","ips":["\#($0)"]}"#
        }
        let said = try add("[\(many.joined(separator: ","))]", pod: "d").ran.errors
        #expect(said.contains("with 10.7.0.1/24 and 10.7.0.2/16"), "\(said)")
        #expect(said.contains("with 10.7.1.1/24 and 10.7.0.2/16"), "\(said)")
        #expect(said.contains("with 10.7.0.2/16 and 10.7.2.1/24"), "\(said)")
        let crowd = (2...9).map { #"{"name":"st","ips":["10.8.0.\#($0)/24"]}"# }
        let once = try add("[\(crowd.joined(separator: ","))]", pod: "e").ran.errors
        #expect(once.components(separatedBy: "are in one subnet").count == 2, "\(once)")
        #expect(once.contains("with 10.8.0.2/24, 10.8.0.3/24 and 6 more:"), "\(once)")
    }
}
