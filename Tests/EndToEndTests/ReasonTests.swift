import Foundation
import Support
import Testing

/// Errors whose first words are not enough: they name the cause, who wrote it, and what to type.
@Suite struct ReasonTests {
    private let node: Node
    private let netns: String
    private static let annotation = "annotation k8s.v1.cni.cncf.io/networks of pod default/pod-a"

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
    }

    private var cache: String { "\(node.directory)/cache/net-attach-def/default" }

    private func add(_ networks: String, config: String? = nil) throws -> Answer {
        try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod,
            config ?? MetaEndToEnd.config(node, networks: networks))
    }

    /// Refused with these words, and without a trace.
    private func refused(_ answer: Answer, _ code: Int, _ message: String, _ details: String...) throws {
        answer.expectRefusal(code, message, details)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.files("state").isEmpty)
    }

    // MARK: Who asked

    /// The keys of a selection, the error, and the key that it is traced back to.
    @Test(arguments: [
        (#""ips":["192.168.12.1"]"#, "requested IP 192.168.12.1 is subnet's gateway", "ips"),
        (#""cni-args":{"ips":["192.168.12.1/24"]}"#, "is subnet's gateway", "cni-args.ips"),
        (#""ips":["192.168.12.9"]"#, "failed to allocate all requested IPs: 192.168.12.9", "ips"),
        (
            #""cni-args":{"ips":["10.9.9.9"]}"#, "failed to allocate all requested IPs: 10.9.9.9",
            "cni-args.ips"
        ),
        (#""cni-args":{"ips":[5]}"#, "found the number 5 (key args.cni.ips[0])", "cni-args.ips[0]"),
        (#""cni-args":{"mac":5}"#, "found the number 5 (key args.cni.mac)", "cni-args.mac"),
    ])
    func aWishOfAnAddressIsTracedBack(keys: String, problem: String, key: String) throws {
        try node.define(
            "whole",
            #"{"cniVersion":"1.0.0","type":"bridge","ipam":{"type":"host-local","dataDir":"\#(node.directory)/ipam","ranges":[[{"subnet":"192.168.12.0/28","rangeEnd":"192.168.12.8"}]]}}"#
        )
        let answer = try add(#"[{"name":"whole",\#(keys)}]"#)
        try refused(
            answer, answer.code, problem, "asked for in \(Self.annotation), networks[0].\(key); configured in"
        )
        #expect(!answer.ran.output.contains("DEL what is no longer used"), "\(answer.ran)")
    }

    @Test func aNestedArgumentIsTracedBack() throws {
        try node.define(
            "tn", #"{"cniVersion":"1.0.0","name":"tn","plugins":[{"type":"bridge"},{"type":"tuning"}]}"#)
        try refused(
            try add(#"[{"name":"tn","cni-args":{"sysctl":{"net.core.somaxconn":5}}}]"#), 7,
            "expected a string, found the number 5 (key args.cni.sysctl.net.core.somaxconn)",
            "asked for in \(Self.annotation), networks[0].cni-args.sysctl.net.core.somaxconn")
        try node.define("ar", #"{"cniVersion":"1.0.0","type":"bridge","args":5}"#)
        try refused(
            try add(#"[{"name":"ar","cni-args":{"mac":"02:00:00:00:00:07"}}]"#), 7,
            "expected an object, found the number 5 (key plugins[0].args)", "cni-args cannot be added to it")
        // Written by the definition, or by the runtime.
        try refused(
            try add("ar"), 7, "found the number 5 (key args)", "correct args; configured in \(cache)/ar.yaml")
        let config = MetaEndToEnd.config(node, networks: "").replacing(
            #""runtimeConfig":{"#, with: #""runtimeConfig":{"mac":5,"#
        ).replacing(#""bridge":"cni0","#, with: #""bridge":"cni0","capabilities":{"mac":true},"#)
        try refused(
            try add("", config: config), 7, "found the number 5 (key runtimeConfig.mac)",
            "passed by the runtime in runtimeConfig.mac")
    }

    @Test(arguments: [
        (#""mac":"02:00:00:00:00:99""#, #"[{"type":"macvlan","master":"up0"}]"#, "mac"),
        (
            #""cni-args":{"mac":"02:00:00:00:00:99"}"#,
            #"[{"type":"macvlan","master":"up0"},{"type":"tuning"}]"#, "cni-args.mac"
        ),
    ])
    func aMACAddressInUseIsTracedBack(keys: String, plugins: String, key: String) throws {
        try node.sh(
            "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up;"
                + " ip link add m1 link up0 address 02:00:00:00:00:99 type macvlan mode bridge; ip link set m1 up"
        )
        try node.define("mv", #"{"cniVersion":"1.0.0","name":"mv","plugins":\#(plugins)}"#)
        try refused(
            try add(#"[{"name":"mv",\#(keys)}]"#), 999, "m1 has the MAC address 02:00:00:00:00:99",
            "asked for in \(Self.annotation), networks[0].\(key)")
    }

    @Test func anInterfacesNameIsTracedBack() throws {
        try refused(
            try add(#"[{"name":"net-a","interface":"x"},{"name":"net-a","interface":"x"}]"#), 7,
            "interface name x is asked for twice", "\(Self.annotation), networks[0]", "networks[1]")
        try node.sh("ip link add x type veth peer name y", pod: "a")
        let answer = try add(#"[{"name":"net-a","interface":"x"}]"#)
        #expect(answer.message.contains("interface \"x\" already exists"), "\(answer.ran)")
        #expect(answer.ran.output.contains("\(Self.annotation), networks[0].interface"), "\(answer.ran)")
    }

    /// Two networks cannot both have it; without a gateway it is each network's own.
    @Test(arguments: [
        (#"["192.168.12.1"]"#, #"["10.6.0.1"]"#, 2), (#"[]"#, #"[]"#, 2), (#"["192.168.12.1"]"#, "[]", 2),
        (#"["192.168.12.1","192.168.12.2"]"#, "null", 1),
    ])
    func aDefaultRouteThatIsAskedForTwice(first: String, second: String, networks: Int) throws {
        func ipam(_ subnet: String) -> String {
            #""ipam":{"type":"host-local","dataDir":"\#(node.directory)/ipam","subnet":"\#(subnet)","routes":[{"dst":"0.0.0.0/0"}]}"#
        }
        for (name, subnet) in [("one", "192.168.12.0/24"), ("two", "10.6.0.0/24")] {
            try node.define(
                name,
                #"{"cniVersion":"1.0.0","name":"\#(name)","type":"bridge","bridge":"\#(name)",\#(ipam(subnet))}"#
            )
        }
        let answer = try add(
            #"[{"name":"one","default-route":\#(first)},{"name":"two","default-route":\#(second)}]"#)
        try refused(
            answer, 7, "default-route is asked for 2 times for IPv4",
            "\(Self.annotation), networks[0].default-route")
        #expect(answer.message.contains("on net1 (default/one)"), "\(answer.ran)")
        #expect(answer.message.contains("on net2 (default/two)") == (networks == 2), "\(answer.ran)")
        #expect(try node.leases("one").isEmpty && node.leases("two").isEmpty)
    }

    // MARK: What the kernel refuses

    /// Under its own name as the reference, whose kernel refuses it: the limit is named.
    @Test(arguments: [
        (#""mtu":10"#, "a link takes an MTU of 68 to 65535", "correct the key mtu"),
        (#""mtu":70000"#, "a link takes an MTU of 68 to 65535", "correct the key mtu"),
        (
            #""ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}],"routes":[{"dst":"10.1.2.3/16"}]}"#,
            "10.1.2.3/16 has host bits set: write 10.1.0.0/16", "correct the key dst"
        ),
        (
            #""mtu":1000,"ipam":{"type":"static","addresses":[{"address":"fd00::9/64"}]}"#,
            "IPv6 needs an MTU of 1280, and eth0 has 1000", "raise the MTU"
        ),
        (
            #""ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}],"routes":[{"dst":"10.9.0.0/16"},{"dst":"10.9.0.0/16"}]}"#,
            "eth0 has a route to 10.9.0.0/16 already", "it is given twice"
        ),
        (
            #""ipam":{"type":"static","addresses":[{"address":"10.5.0.9/24"}],"routes":[{"dst":"10.9.0.0/16","gw":"10.5.0.255"}]}"#,
            "the gateway is no host of 10.5.0.0/24", "a router"
        ),
        (
            #""args":{"cni":{"mac":"00:00:00:00:00:00"}}"#, "no link can have this MAC address",
            "six octets that are not all zero"
        ),
    ])
    func theKernelsLimitIsNamed(keys: String, problem: String, fix: String) throws {
        let answer = try node.plugin("ADD", "bridge", #""bridge":"b9",\#(keys)"#)
        try refused(answer, 999, problem, fix)
    }

    /// Traced back to the pod that asked for it, and to nobody when the definition has it.
    @Test(arguments: [
        ("net.ipv4.conf.IFNAME.rp_filter", "x", "it is no value that this sysctl takes"),
        ("net/core/rmem_max", "5", "in a pod it cannot be written"),
    ])
    func aRefusedSysctlIsTracedBack(key: String, value: String, problem: String) throws {
        let setting = #""sysctl":{"\#(key)":"\#(value)"}"#
        for (name, own) in [("tn", #""sysctl":{}"#), ("own", setting)] {
            try node.define(
                name,
                #"{"cniVersion":"1.0.0","name":"tn","plugins":[{"type":"bridge"},{"type":"tuning",\#(own)}]}"#
            )
        }
        let asked = "asked for in \(Self.annotation), networks[0].cni-args.sysctl.\(key)"
        try refused(
            try add(#"[{"name":"tn","cni-args":{\#(setting)}}]"#), 999, problem, "the key sysctl", asked)
        let own = try add(#"[{"name":"own","cni-args":{"sysctl":{"net.core.somaxconn":"99"}}}]"#)
        try refused(own, 999, problem, "configured in \(cache)/own.yaml")
        #expect(!own.ran.output.contains("asked for in"), "\(own.ran)")
    }

    @Test(arguments: [("/run/netns/none-such", "no such file"), ("/etc/passwd", "is no network namespace")])
    func aNamespaceThatIsNoneIsTheRuntimes(path: String, problem: String) throws {
        let answer = try node.call(
            "ADD", netns: path, args: MetaEndToEnd.pod, MetaEndToEnd.config(node, networks: ""))
        try refused(answer, 999, problem, "CNI_NETNS is the path of the pod's network namespace")
    }

    @Test(arguments: ["ipam/default-network", "state/attachments"])
    func aReadOnlyDiskSaysWhatToDo(directory: String) throws {
        let path = "\(node.directory)/\(directory.split(separator: "/")[0])"
        let answer = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod,
            prefix: [
                "unshare", "--mount", "sh", "-c",
                "mkdir -p \(path) && mount -t tmpfs -o ro tmpfs \(path) && exec $0",
            ], MetaEndToEnd.config(node, networks: ""))
        try refused(
            answer, 5, "mkdir \(node.directory)/\(directory): Read-only file system", "mount it writable")
    }

    // MARK: Programs

    @Test(arguments: [
        ("echo x > F", #"plugin "mine" cannot be run: F is not executable"#, "chmod +x F"),
        (
            "printf '#!/no/such/python -u\\n' > F; chmod +x F",
            "start F, whose interpreter is /no/such/python: No such file or directory",
            "install /no/such/python, or correct the first line of F"
        ),
        (
            "printf '#!/bin/sh\\r\\n' > F; chmod +x F", "No such file or directory",
            #"lines end as on Windows: sed -i 's/\r$//' F"#
        ),
        ("echo echo > F; chmod +x F", "start F: Exec format error", "a script begins with #!/bin/sh"),
    ])
    func aProgramThatDoesNotStartSaysWhy(make: String, problem: String, fix: String) throws {
        func filled(_ text: String) -> String {
            text.replacing("F", with: "\(node.directory)/plugins/mine")
        }
        try Shell.sh("mkdir -p \(node.directory)/plugins; \(filled(make))")
        // Its undo would fail likewise: there is nothing to undo.
        for config in [#""type":"mine""#, #""type":"bridge","ipam":{"type":"mine"}"#] {
            try node.define("mine", #"{"cniVersion":"1.0.0",\#(config)}"#)
            let answer = try add("mine")
            try refused(answer, 999, filled(problem), filled(fix))
            #expect(!answer.ran.output.contains("undo"), "\(answer.ran)")
            let gone = try node.call(
                "DEL", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node, networks: "mine"))
            #expect(gone.status == 0, "\(gone.ran)")
        }
    }

    // MARK: Files

    @Test(arguments: [
        ("net-a.YAML", "net-a.yaml"), ("net-a.Yml", "net-a.yaml"), ("net-a.conf", "net-a.json"),
        ("Net-A.yaml", "net-a.yaml"),
        ("net-a.JSON", "net-a.json"), ("net-a", "net-a.yaml"), ("../net-a.yaml", "net-a.yaml"),
    ])
    func aDefinitionOfAnotherNameIsToBeRenamed(file: String, wanted: String) throws {
        try Shell.sh("mv \(cache)/net-a.yaml \(cache)/\(file)")
        let place =
            file.hasPrefix("../")
            ? "\(node.directory)/cache/net-attach-def/\(file.dropFirst(3))" : "\(cache)/\(file)"
        let fix = "mv \(place) \(cache)/\(wanted)"
        try refused(try add("net-a"), 7, "cannot find", "\(place) is not read: \(fix)")
        try Shell.sh(fix)
        let content = try Shell.sh("cat \(cache)/\(wanted)")
        #expect(content.contains("NetworkAttachmentDefinition"))
    }

    @Test func aPodsFileOfAnotherNameIsToBeRenamed() throws {
        let folder = "\(node.directory)/cache/pods/default"
        try Shell.sh("mkdir -p \(folder); echo '{}' > \(folder)/pod-a.YAML")
        let answer = try add("", config: MetaEndToEnd.config(node, networks: nil))
        try refused(answer, 11, "is unknown", "mv \(folder)/pod-a.YAML \(folder)/pod-a.yaml")
    }

    @Test(arguments: [
        ("mkfifo F", "it is a named pipe"),
        ("mkdir F", "it is a directory without a .conf, .json or .conflist"),
        ("ln -s /dev/null F", "it is a device"),
        ("ln -s /no/such F", "it is a symbolic link that leads nowhere"),
        ("python3 -c 'import socket; socket.socket(1).bind(\"F\")'", "it is a socket"),
        ("mkdir F; mkfifo F/x.conf", "it is a named pipe"), ("true", "there is no such file"),
    ])
    func aClusterNetworkThatIsNoFileIsNamed(make: String, kind: String) throws {
        let file = "\(node.directory)/x"
        try Shell.sh(make.replacing("F", with: file))
        try refused(
            try add(
                "", config: MetaEndToEnd.config(node, networks: "", extra: ",\"clusterNetwork\":\"\(file)\"")),
            7,
            "no network configuration at \(file)", kind, "correct clusterNetwork")
    }

    // MARK: Several at once

    @Test func aCollectionNamesEveryPodThatItCouldNotDetach() throws {
        let script = #"if [ $CNI_COMMAND = ADD ]; then echo '{"cniVersion":"1.1.0"}'; else exit 3; fi"#
        for name in ["mine", "other"] { try node.script(name, script) }
        func config(_ more: String) -> String {
            """
            {"cniVersion":"1.1.0","name":"node","type":"plexus","cniDir":"\(node.directory)/state",
             "cacheDir":"\(node.directory)/none","binDir":"\(node.directory)/plugins"\(more),
             "delegates":[{"cniVersion":"1.1.0","name":"n1","plugins":[{"type":"bridge","bridge":"b"},{"type":"mine"}]},
                          {"cniVersion":"1.1.0","name":"n2","type":"other"}]}
            """
        }
        for pod in ["b", "d"] {
            let answer = try node.call(
                "ADD", id: "c-\(pod)", netns: try node.pod(pod),
                args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-\(pod)", config(#","networks":"""#))
            #expect(answer.status == 0, "\(answer.ran)")
        }
        let answer = try node.call(
            "GC", netns: "", interface: "", config(#","cni.dev/valid-attachments":[]"#))
        #expect(answer.status == 1, "\(answer.ran)")
        for pod in ["b", "d"] {
            for (network, plugin) in [("n2 on net1", "other"), ("n1 on eth0", "mine")] {
                #expect(
                    answer.ran.output.contains(
                        "pod default/pod-\(pod), container c-\(pod) eth0: \(network): netplugin failed: plugin \(plugin)"
                    ),
                    "\(answer.ran)")
            }
        }
        let status = try node.call("STATUS", netns: "", interface: "", config(""))
        #expect(
            status.code == 50 && status.message.hasPrefix("n1: ") && status.message.contains("plugin mine "),
            "\(status.ran)")
        #expect(status.json["details"].string?.contains("plugin other ") == true, "\(status.ran)")
    }
}
