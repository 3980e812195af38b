import Support
import Testing

/// `plexus validate`: what would be refused, before a node switches over.
@Suite struct ValidateRows {
    private let node: Node

    init() throws { node = try Node() }

    private func validate(_ words: String..., input: String = "") throws -> Ran {
        try Shell.run(["\(node.directory)/bin/plexus", "validate"] + words, input: input, environment: [:])
    }

    private static func definition(_ config: String, name: String = "net", extra: String = "") -> String {
        """
        {"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"\(name)","namespace":"default"\(extra)},\
        "spec":{"config":"\(config.replacing("\"", with: "\\\""))"}}
        """
    }

    private static func pod(_ networks: String) -> String {
        """
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-a","namespace":"default","annotations":\
        {"k8s.v1.cni.cncf.io/networks":"\(networks.replacing("\"", with: "\\\""))"}}}
        """
    }

    @Test(
        "definitions as ADD would judge them",
        arguments: [
            (
                #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b"}"#, 0,
                "1 looked at, 0 refused, 0 warnings"
            ),
            (
                #"{"cniVersion":"1.0.0","type":"bridge","vlanId":5}"#, 1,
                "refused: net-attach-def default/net: bridge: unknown key \"vlanId\""
            ),
            (
                #"{"cniVersion":"1.0.0","type":"bridge","colour":"red"}"#, 2,
                "warning: net-attach-def default/net: bridge: unknown keys are passed over: colour"
            ),
            (#"{"cniVersion":"1.0.0","type":"nowhere"}"#, 1, "failed to find plugin \"nowhere\""),
            (
                #"{"cniVersion":"1.0.0","type":"macvlan","ipam":{"type":"host-local"}}"#, 1,
                "no IP ranges specified"
            ),
            (
                #"{"cniVersion":"1.0.0","type":"macvlan","capabilities":{"ips":true},"ipam":{"type":"static"}}"#,
                0, "note: net-attach-def default/net: each pod must bring its address"
            ),
            ("{", 1, "failed to unmarshal Spec.Config"),
        ])
    func definitions(config: String, status: Int32, words: String) throws {
        let ran = try validate("-", input: Self.definition(config))
        #expect(ran.status == status && ran.output.contains(words), "\(ran)")
    }

    @Test(
        "pods are judged by the definitions beside them, wherever those stand",
        arguments: [
            ("net", 0, "2 looked at, 0 refused"),
            ("nowhere", 1, "cannot find a network-attachment-definition (nowhere)"),
            (#"[{"name":"net","mac":"x"}]"#, 1, "networks[0].mac"),
            ("net@a,net@a", 1, "interface name a is asked for twice"),
            (#"[{"name":"net","vlan":3}]"#, 1, "the VLAN is the network's"),
            ("net@eth0", 1, "interface name eth0 is asked for"), ("net@lo", 1, "lo is every pod's own"),
        ])
    func pods(networks: String, status: Int32, words: String) throws {
        let ran = try validate(
            "-", input: Self.pod(networks) + Self.definition(#"{"cniVersion":"1.0.0","type":"bridge"}"#))
        #expect(ran.status == status && ran.output.contains(words), "\(ran)")
    }

    @Test("a configuration, Multus' included, and what is judged by it")
    func configurations() throws {
        try node.write(
            "00-multus.conf",
            """
            {"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus","capabilities":{"portMappings":true},"cacheDir":"\(node.directory)/cache",\
            "logOptions":{"maxSize":1},"namespaceIsolation":true,"colour":"red","delegates":[{"type":"bridge","cniVersion":"0.3.1","name":"d"}]}
            """)
        let ran = try validate(
            "\(node.directory)/00-multus.conf", "-",
            input: Self.pod("other/net") + Self.definition(#"{"cniVersion":"1.0.0","type":"bridge"}"#))
        #expect(ran.status == 1, "\(ran)")
        #expect(ran.output.contains("passed over: colour"))
        #expect(ran.output.contains("it does not ask the runtime for the pods' annotations"))
        #expect(ran.output.contains("refused: pod default/pod-a: namespace isolation enabled"))
        #expect(!ran.output.contains("logOptions"))
        try node.write("bad.conf", #"{"cniVersion":"1.0.0","name":"n","type":"plexus","delegates":{}}"#)
        let bad = try validate("\(node.directory)/bad.conf")
        #expect(
            bad.status == 1 && bad.output.contains("(key delegates)"), "\(bad)"
        )
    }

    @Test("what works otherwise than under Multus is said, and is no reason to stay")
    func differences() throws {
        try node.write(
            "00-multus.conf",
            #"""
            {"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus","kubeconfig":"/etc/k","readinessindicatorfile":"/r",\
            "capabilities":{"io.kubernetes.cri.pod-annotations":true},"namespaceIsolation":true,"daemonSocketDir":"/s",\
            "clusterNetwork":"DIR/d.conf","auxiliaryCNIChainName":"vendor"}
            """#.replacing("\\\n", with: "").replacing("DIR", with: node.directory))
        try node.write("d.conf", #"{"cniVersion":"1.0.0","name":"d","type":"bridge","bridge":"b"}"#)
        let ran = try validate(
            "\(node.directory)/00-multus.conf", "-",
            input: Self.pod(
                #"[{"name":"net","default-route":["10.1.1.1"],"deviceID":"0000:00:01.0"},{"name":"net","default-route":[]}]"#
            )
                + Self.definition(
                    #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b"}"#,
                    extra: #","annotations":{"k8s.v1.cni.cncf.io/resourceName":"intel.com/nic"}"#))
        #expect(ran.status == 0, "\(ran)")
        let found = ran.output.split(separator: "\n").filter { $0.hasPrefix("differs: ") }
        for words in [
            "kubeconfig: nobody asks the API", "of which there is none: daemonSocketDir", "Multus waits 45 s",
            "v1.multus-cni.io/default-network is held to it", "auxiliaryCNIChainName", "logLevel: without it",
            "more often for intel.com/nic", "net1: default-route: it takes", "net1: deviceID: it is taken",
            "net2: default-route []",
        ] {
            #expect(found.contains { $0.contains(words) }, "\(words): \(ran)")
        }
        #expect(found.count == 10, "\(ran)")
    }

    @Test("Multus' configuration is judged as the installer would write it")
    func asInstalled() throws {
        try node.write("d.conf", #"{"cniVersion":"1.0.0","name":"d","type":"bridge","bridge":"b"}"#)
        try node.write(
            "00-multus.conf",
            #"{"cniVersion":"1.0.0","name":"multus-cni-network","type":"multus-shim","logLevel":"error","clusterNetwork":"/host\#(node.directory)/d.conf"}"#
        )
        let ran = try validate("\(node.directory)/00-multus.conf")
        #expect(ran.status == 0 && ran.output.contains("1 looked at, 0 refused, 0 warnings"), "\(ran)")
        for words in [
            "clusterNetwork: /host\(node.directory)/d.conf is the daemon's name of \(node.directory)/d.conf",
            "scripts/install writes \"io.kubernetes.cri.pod-annotations\": true",
        ] {
            #expect(
                ran.output.split(separator: "\n").contains { $0.hasPrefix("differs: ") && $0.contains(words) }
            )
        }
        try node.write("daemon.json", #"{"chrootDir":"/hostroot","namespaceIsolation":true}"#)
        let told = try validate(
            "\(node.directory)/00-multus.conf", "--daemon-config", "\(node.directory)/daemon.json", "-",
            input: Self.pod("other/net"))
        #expect(told.status == 1 && told.output.contains("namespace isolation enabled"), "\(told)")
        #expect(told.output.contains("namespaceIsolation: true of the daemon's settings"))
        try node.write("multus.d/daemon-config.json", #"{"namespaceIsolation":true}"#)
        let beside = try validate("\(node.directory)/00-multus.conf")
        #expect(beside.output.contains("namespaceIsolation: true of the daemon's settings"), "\(beside)")
        // Of plexus it is nobody else's to mend.
        try node.write(
            "plexus.conf",
            #"{"cniVersion":"1.0.0","name":"n","type":"plexus","clusterNetwork":"\#(node.directory)/d.conf"}"#
        )
        #expect(try validate("\(node.directory)/plexus.conf").status == 2)
    }

    private static func pod(annotations: String) -> String {
        """
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-a","namespace":"default","annotations":{\(annotations)}}}
        """
    }

    /// What an ADD logs at the level error before it attaches.
    @Test(
        "what a pod asks for and nobody gives is a warning, as an ADD logs it",
        arguments: [
            (#""bandwidth":{"ingressRate":1000,"ingressBurst":1000}"#, "bandwidth (no plugin"),
            (#""portMappings":[{"hostPort":80,"containerPort":80}]"#, "portMappings (no plugin"),
            (#""infiniband-guid":"02:00:00:00:00:00:00:01""#, "infinibandGUID (no plugin"),
            (#""ips":["10.1.1.2/24"]"#, "ips (the network has no ipam)"),
            (#""cni-args":{"colour":"red"}"#, "cni-args.colour"),
            (
                #""mac":"02:00:00:00:00:01","cni-args":{"mac":"02:00:00:00:00:02"}"#,
                "one of mac and cni-args.mac"
            ),
            (#""colour":"red""#, "asked for and not given: networks[0].colour"),
        ])
    func wishes(keys: String, words: String) throws {
        let network = #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b"}"#
        let asked = #"[{"name":"net",\#(keys)}]"#
        let ran = try validate("-", input: Self.pod(asked) + Self.definition(network))
        #expect(ran.status == 2, "\(ran)")
        #expect(
            ran.output.contains("warning: pod default/pod-a: default/net on net1: ")
                && ran.output.contains(words),
            "\(ran)")
        // The same words are in the log of an ADD.
        try node.define("net", network)
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, networks: asked))
        #expect(answer.ran.errors.contains(words), "\(answer.ran)")
    }

    @Test("what a network says of itself is said once, and a pod with an optional network is no refusal")
    func once() throws {
        let ran = try validate(
            "-",
            input: Self.definition(#"{"cniVersion":"1.0.0","type":"bridge","colour":"red"}"#)
                + Self.pod(#"[{"name":"net"},{"name":"gone","optional":true}]"#))
        #expect(ran.status == 2 && ran.output.contains("0 refused, 2 warnings"), "\(ran)")
        #expect(ran.output.contains("it starts without the optional network default/gone"), "\(ran)")
    }

    @Test("a pod is refused when its network is, and gets the address that its network lacks")
    func ofPods() throws {
        let config =
            #"{"cniVersion":"1.0.0","type":"macvlan","capabilities":{"ips":true},"ipam":{"type":"static"}}"#
        let without = try validate("-", input: Self.definition(config) + Self.pod("net"))
        #expect(without.status == 1 && without.output.contains("refused: pod default/pod-a: "), "\(without)")
        let with = try validate(
            "-", input: Self.definition(config) + Self.pod(#"[{"name":"net","ips":["10.1.1.2/24"]}]"#))
        #expect(with.status == 0, "\(with)")
    }

    @Test(
        "misspelt annotations",
        arguments: [
            ("plexus/default-network", 1, "did you mean \"plexus/default-networks\"?"),
            ("plexus/default-networs", 1, "did you mean \"plexus/default-networks\"?"),
            ("plexsu/default-networks", 1, "did you mean \"plexus/default-networks\"?"),
            ("plexus.io/default-networks", 1, "did you mean \"plexus/default-networks\"?"),
            ("plexus/colour", 2, "unknown annotations, which ask for nothing: plexus/colour"),
            ("k8s.v1.cni.cncf.io/colour", 2, "unknown annotations, which ask for nothing"),
            ("k8s.v1.cni.cncf.io/network", 1, "did you mean \"k8s.v1.cni.cncf.io/networks\"?"),
            ("v1.multus-cni.io/default-network", 1, "(none)"), ("other.io/default-networks", 0, "0 refused"),
            ("plexus/default-networks", 0, "0 refused"),
        ])
    func annotations(key: String, status: Int32, words: String) throws {
        let annotations = #""\#(key)":"none""#
        let ran = try validate("-", input: Self.pod(annotations: annotations))
        #expect(ran.status == status && ran.output.contains(words), "\(ran)")
        guard key.hasPrefix("plex") else { return }
        let runtime = ",\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":{\(annotations)}}"
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, networks: nil, extra: runtime))
        #expect(answer.status == (status == 1 ? 1 : 0), "\(answer.ran)")
        if status != 0 { #expect("\(answer.ran)".contains(key), "\(answer.ran)") }
    }

    @Test("nothing is written into the node's log, and plugins are found where an ADD finds them")
    func touchesNothing() throws {
        try node.write("elsewhere/other", "")
        try Shell.sh("chmod +x \(node.directory)/elsewhere/other")
        try node.write(
            "plexus.conf",
            #"""
            {"cniVersion":"1.0.0","name":"n","type":"plexus","logLevel":"loud","logFile":"\#(node.directory)/log","colour":"red","cacheDir":"\#(node.directory)/cache",
             "binDir":"\#(node.directory)/elsewhere","capabilities":{"io.kubernetes.cri.pod-annotations":true,"podAnnotations":true},"delegates":[{"cniVersion":"1.0.0","name":"d","type":"other"}]}
            """#)
        let ran = try validate("\(node.directory)/plexus.conf")
        #expect(ran.status == 2 && ran.output.contains("cannot set logLevel to \"loud\""), "\(ran)")
        let explained = try Shell.run([
            "ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "explain", "--config",
            "\(node.directory)/plexus.conf", "--networks", #"[{"name":"gone","optional":true}]"#,
        ])
        #expect(explained.status == 0, "\(explained)")
        #expect(try Shell.run(["test", "-e", "\(node.directory)/log"]).status == 1)
        try node.write("net.conf", #"{"cniVersion":"1.0.0","name":"d","type":"other"}"#)
        #expect(try validate("\(node.directory)/net.conf").status == 1)
        let found = try validate("\(node.directory)/net.conf", "--cni-path", "\(node.directory)/elsewhere")
        #expect(found.status == 0, "\(found)")
    }

    @Test("all that the node has")
    func wholeNode() throws {
        try node.define("good", #"{"cniVersion":"1.0.0","type":"bridge"}"#)
        try node.define("bad", #"{"cniVersion":"1.0.0","type":"bridge","vlanId":5}"#)
        try node.write("cache/pods/default/pod-a.json", Self.pod("good,gone"))
        try node.write(
            "conf.d/10-own.conf", #"{"cniVersion":"1.0.0","name":"own","type":"bridge","mtu":"x"}"#)
        try node.write(
            "plexus.conf",
            """
            {"cniVersion":"1.0.0","name":"n","type":"plexus","cacheDir":"\(node.directory)/cache","confDir":"\(node.directory)/conf.d",\
            "capabilities":{"io.kubernetes.cri.pod-annotations":true},"delegates":[{"cniVersion":"1.0.0","name":"d","type":"bridge"}]}
            """)
        let ran = try validate("--node", "\(node.directory)/plexus.conf", "-o", "json")
        #expect(ran.status == 1, "\(ran)")
        let json = try Tree(parsing: ran.output)
        #expect(json["version"].int == 1 && json["subjects"].list.count == 5, "\(ran)")
        let refused = json["findings"].list.filter { $0["weight"].string == "refused" }.map {
            $0["subject"].string
        }
        #expect(
            Set(refused) == [
                "net-attach-def default/bad", "pod default/pod-a", "\(node.directory)/conf.d/10-own.conf",
            ])
        #expect(try validate().status != 0)
        #expect(try validate("/nonexistent").errors.contains("/nonexistent"))
    }
}
