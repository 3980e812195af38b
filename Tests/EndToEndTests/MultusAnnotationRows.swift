import Foundation
import Support
import Testing

/// What a pod asks for by its annotations, and what of it reaches the plugins.
@Suite struct MultusAnnotationRows {
    private let pod: RecordedNode
    private static let key = "k8s.v1.cni.cncf.io/networks"
    private static let defaultKey = "v1.multus-cni.io/default-network"
    private static let capable =
        #""capabilities":{"ips":true,"mac":true,"infinibandGUID":true,"bandwidth":true,"portMappings":true}"#
    private static let master =
        #""delegates":[{"cniVersion":"1.0.0","name":"first","type":"master",\#(capable)}]"#

    init() throws {
        pod = try RecordedNode("one", "two")
        try pod.define("one", Self.capable)
        try pod.define("two")
    }

    /// `ADD one net1` and so on, without the default network's.
    private func added() throws -> [String] { try pod.words().filter { $0 != "ADD master eth0" } }

    private func refused(_ answer: Answer, _ words: String..., code: Int = 7) throws {
        #expect(answer.status == 1 && answer.code == code, "\(answer.ran)")
        for word in words { #expect(answer.ran.output.contains(word), "\(answer.ran)") }
        #expect(try pod.calls().isEmpty)
    }

    // MARK: Grammar

    @Test(
        "A01: without networks there is the default network alone",
        arguments: [nil, "", "[]", "[ ]"] as [String?])
    func none(networks: String?) throws {
        let annotations = networks.map { [Self.key: $0] } ?? [:]
        let answer = try pod.call("ADD", pod.config(annotations))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == ["ADD master eth0"])
    }

    @Test(
        "A02, A09, A10, A13: which networks, and how their interfaces are called",
        arguments: [
            ("one", ["ADD one net1"]), (" one , two ", ["ADD one net1", "ADD two net2"]),
            ("default/one@data0", ["ADD one data0"]), (" default / one @ data0 ", ["ADD one data0"]),
            ("/one", ["ADD one net1"]), ("one@", ["ADD one net1"]), ("other/far", ["ADD two net1"]),
            ("one,one", ["ADD one net1", "ADD one net2"]), ("one@foo,two", ["ADD one foo", "ADD two net2"]),
            ("one,two@foo,one", ["ADD one net1", "ADD two foo", "ADD one net3"]),
            (#"[{"name":"one","interface":"foo"}]"#, ["ADD one foo"]),
            (#"[{"name":"one","interfaceRequest":"bar"}]"#, ["ADD one bar"]),
            (#"[{"name":"one","interfaceRequest":"bar","interface":"foo"}]"#, ["ADD one foo"]),
            (#"[{"name":"one","namespace":"default"},{"name":"two"}]"#, ["ADD one net1", "ADD two net2"]),
        ])
    func names(networks: String, expected: [String]) throws {
        try pod.node.define("far", namespace: "other", #"{"cniVersion":"1.0.0","type":"two"}"#)
        let answer = try pod.call("ADD", networks: networks)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try added() == expected)
    }

    @Test(
        "A03, A04, A06, A08: what is malformed is refused before anything is attached",
        arguments: [
            #"{"name":"one"}"#, #""one""#, #"[{"name":"one"}"#, "a/b/c", "one@a@b", "One", "a.b", "other/a.b",
            ",", "one,", "default/", #"[{"name":""}]"#, #"[{}]"#, #"[{"name":5}]"#,
            #"[{"name":"one","ips":"10.1.0.2"}]"#, #"[{"name":"one","ips":[5]}]"#,
            #"[{"name":"one","mac":5}]"#,
            #"[{"name":"one","portMappings":{}}]"#, #"[{"name":"one","bandwidth":[]}]"#,
            #"[{"name":"one","cni-args":"x"}]"#, #"[{"name":"one","default-route":"10.1.0.1"}]"#,
            #"[{"name":"one","mac":"zz"}]"#, #"[{"name":"one","ips":["10.1.0"]}]"#,
            #"[{"name":"one","ips":["10.1.0.2/99"]}]"#, #"[{"name":"one","infiniband-guid":"zz"}]"#,
            #"[{"name":"one","default-route":["x"]}]"#, #"[{"name":"one","default-route":[""]}]"#,
            #"[{"name":"one","interface":"sixteen-bytes-ab"}]"#, #"[{"name":"one","interface":"a/b"}]"#,
        ])
    func malformed(networks: String) throws {
        try refused(try pod.call("ADD", networks: networks), Self.key)
    }

    @Test("A05: a name with a dot is taken in JSON; A06: keys that are not known are passed over")
    func dotted() throws {
        try pod.node.define("a.b", #"{"cniVersion":"1.0.0","type":"one"}"#)
        let answer = try pod.call(
            "ADD", networks: #"[{"name":"a.b","colour":{"red":1},"ipam-claim-reference":"x"}]"#)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try added() == ["ADD one net1"])
    }

    @Test(
        "A07: values that crash others are errors",
        arguments: [
            "[null]", "[[]]", "[5]", "[true]", #"["one"]"#, "[[[[[[]]]]]]", "[", "{", "\"", "[{]", "\u{0}[",
            #"[{"name":null}]"#, #"[{"name":"one","ips":[null]}]"#,
            #"[{"name":"one","portMappings":[null]}]"#,
            "DEEP", "LONG",
        ])
    func crashing(text: String) throws {
        let deep = String(repeating: "[", count: 50000) + String(repeating: "]", count: 50000)
        let long = "[{\"name\":\"\(String(repeating: "a", count: 1 << 20))\"}]"
        let networks = text == "DEEP" ? deep : text == "LONG" ? long : text
        let answer = try pod.call("ADD", networks: networks)
        #expect(answer.status == 1 && [6, 7].contains(answer.code), "\(answer.ran.output.prefix(500))")
        #expect(try pod.calls().isEmpty)
    }

    // MARK: Interfaces

    @Test("A11: networks of every pod are counted first", arguments: ["default", "kube-system"])
    func counted(namespace: String) throws {
        try pod.node.define("every", namespace: "shared", #"{"cniVersion":"1.0.0","type":"two"}"#)
        try pod.node.write("net.d/10-a.conf", #"{"cniVersion":"1.0.0","name":"main","type":"master"}"#)
        let config = pod.config(
            [Self.key: "default/one"], extra: #","multusNamespace":"shared","defaultNetworks":["every"]"#,
            delegates: #""clusterNetwork":"\#(pod.directory)/net.d/10-a.conf""#)
        let answer = try pod.call(
            "ADD", config, args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=\(namespace);K8S_POD_NAME=pod-a")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(
            try added()
                == (namespace == "default" ? ["ADD two net1", "ADD one net2"] : ["ADD one net1"]))
    }

    @Test(
        "A30: pods of systemNamespaces get no defaultNetworks", arguments: ["kube-system", "mine", "default"])
    func system(namespace: String) throws {
        try pod.node.write("net.d/10-a.conf", #"{"cniVersion":"1.0.0","name":"main","type":"master"}"#)
        let config = pod.config(
            extra: #","multusNamespace":"default","systemNamespaces":["mine"],"defaultNetworks":["one"]"#,
            delegates: #""clusterNetwork":"\#(pod.directory)/net.d/10-a.conf""#)
        let answer = try pod.call(
            "ADD", config, args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=\(namespace);K8S_POD_NAME=pod-a")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try added() == (namespace == "mine" ? [] : ["ADD one net1"]))
    }

    @Test(
        "A12: a name that is asked for twice, or that the pod has, is refused, and nothing is removed",
        arguments: ["one@net2,two", "one@eth0", "one@mine", "one@x,two@x"])
    func doubled(networks: String) throws {
        try pod.node.sh("ip link add mine type veth peer name enim", pod: "a")
        let answer = try pod.call("ADD", networks: networks)
        #expect(
            answer.status == 1 && answer.ran.output.contains("mine") == networks.contains("mine"),
            "\(answer.ran)")
        #expect(try pod.calls().isEmpty)
        #expect(try pod.node.links(pod: "a") == ["mine", "enim"])
    }

    // MARK: What reaches the plugin

    /// An element's keys, what runtimeConfig has of them and what CNI_ARGS has.
    @Test(
        "A14, A15, A16, A17: the keys of an element reach the plugin that declares them",
        arguments: [
            (#""ips":["10.1.0.2/24"]"#, #"{"ips":["10.1.0.2/24"]}"#, "IP=10.1.0.2/24"),
            (#""mac":"02:00:00:00:00:01""#, #"{"mac":"02:00:00:00:00:01"}"#, "MAC=02:00:00:00:00:01"),
            (
                #""infiniband-guid":"c2:11:22:33:44:55:66:77""#,
                #"{"infinibandGUID":"c2:11:22:33:44:55:66:77"}"#, nil
            ),
            (
                #""bandwidth":{"ingressRate":1000,"ingressBurst":2000,"egressRate":3000,"egressBurst":4000}"#,
                #"{"bandwidth":{"ingressRate":1000,"ingressBurst":2000,"egressRate":3000,"egressBurst":4000}}"#,
                nil
            ),
            (
                #""portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"10.0.0.1"}]"#,
                #"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"10.0.0.1"}]}"#,
                nil
            ),
        ])
    func wishes(keys: String, runtimeConfig: String, arg: String?) throws {
        let element = "\"name\":\"one\",\(keys)"
        let answer = try pod.call(
            "ADD", networks: "[{\(element)},{\(element.replacing("one", with: "two"))}]")
        #expect(answer.status == 0, "\(answer.ran)")
        let calls = try pod.calls()
        let expected = try Tree(parsing: runtimeConfig).value as? NSDictionary
        #expect(calls[1].input["runtimeConfig"].value as? NSDictionary == expected, "\(calls[1].input)")
        #expect(!calls[2].input["runtimeConfig"].exists, "it declares nothing")
        let pairs = calls.map { $0.args.split(separator: ";").map(String.init) }
        #expect(!pairs[0].contains { $0.hasPrefix("IP=") || $0.hasPrefix("MAC=") })
        for index in 1...2 { if let arg { #expect(pairs[index].contains(arg), "\(pairs)") } }
    }

    @Test(
        "A14: several addresses are in CNI_ARGS where no plugin has the capability, else in runtimeConfig alone"
    )
    func addresses() throws {
        let ips = #""ips":["10.1.0.2/24","fd00::2/64"]"#
        #expect(
            try pod.call("ADD", networks: #"[{"name":"one",\#(ips)},{"name":"two",\#(ips)}]"#).status == 0)
        let calls = try pod.calls()
        #expect(calls[1].input["runtimeConfig"]["ips"].list.map(\.string) == ["10.1.0.2/24", "fd00::2/64"])
        #expect(calls[2].args.hasSuffix(";IP=10.1.0.2/24,fd00::2/64"), "\(calls[2].args)")
    }

    @Test("A18: cni-args are merged into args.cni of each plugin, and the pod's win")
    func arguments() throws {
        try pod.node.define(
            "chain",
            #"{"cniVersion":"1.0.0","plugins":[{"type":"one","args":{"cni":{"a":1,"b":2},"x":{"y":3}}},{"type":"two"}]}"#
        )
        #expect(
            try pod.call("ADD", networks: #"[{"name":"chain","cni-args":{"b":"pod","c":[4]}}]"#).status == 0)
        let calls = try pod.calls()
        let first = calls[1].input["args"]
        #expect(first["cni"].keys == ["a", "b", "c"] && first["cni"]["a"].int == 1, "\(first)")
        #expect(first["cni"]["b"].string == "pod" && first["x"]["y"].int == 3, "\(first)")
        #expect(calls[2].input["args"]["cni"].keys == ["b", "c"])
    }

    @Test(
        "A19: args that are no object cannot take cni-args",
        arguments: [#""args":"x""#, #""args":{"cni":[]}"#, #""args":5"#])
    func badArguments(args: String) throws {
        try pod.define("one", args)
        try refused(try pod.call("ADD", networks: #"[{"name":"one","cni-args":{"b":1}}]"#), "args")
    }

    @Test("A20: what no plugin declares is named in the log, and the pod starts")
    func unheard() throws {
        try pod.node.define("plain", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b0","ipam":{}}"#)
        let networks =
            #"[{"name":"plain","ips":["10.1.0.2/24"],"portMappings":[{"hostPort":80,"containerPort":80}]}]"#
        let answer = try pod.call("ADD", networks: networks)
        #expect(answer.status == 0, "\(answer.ran)")
        let line = answer.ran.errors.split(separator: "\n").first { $0.contains("asked for and not given") }
        #expect(line?.contains("default/plain on net1") == true, "\(answer.ran)")
        for word in ["ips", "portMappings"] { #expect(line?.contains(word) == true, "\(answer.ran)") }
    }

    @Test("A21, A22: CNI_ARGS of a plugin: the runtime's pairs, each once, behind IgnoreUnknown")
    func environment() throws {
        let pairs =
            "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-a;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=6a1-22"
        let scrambled =
            "FOO=a=b;K8S_POD_UID=6a1-22;IgnoreUnknown=1;K8S_POD_NAME=pod-a;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_NAMESPACE=default;FOO=a=b"
        for (id, args, rest) in [("c1", "IgnoreUnknown=1;\(pairs)", ""), ("c2", scrambled, ";FOO=a=b")] {
            let config = pod.config([
                Self.key: #"[{"name":"one","mac":"02:00:00:00:00:01","ips":["10.1.0.2"]}]"#
            ])
            try pod.forget()
            let answer = try pod.call("ADD", config, id: id, args: args)
            #expect(answer.status == 0, "\(answer.ran)")
            let given = try pod.calls().map(\.args)
            #expect(given[0] == "IgnoreUnknown=true;\(pairs)\(rest)")
            #expect(given[1] == "IgnoreUnknown=true;\(pairs)\(rest);MAC=02:00:00:00:00:01;IP=10.1.0.2")
        }
    }

    // MARK: Namespaces

    @Test(
        "A23, A24: which namespaces' networks a pod may name",
        arguments: [
            ("far", nil, true), ("mine/far", nil, true), ("other/far", nil, true),
            ("mine/far", "", true), ("default/far", "", true), ("other/far", "", false),
            ("other/far", "other", true), ("default/far", "other", false),
            ("default/far", " other , default ", true),
            ("mine/far", "other", true),
        ])
    func isolated(networks: String, global: String?, passes: Bool) throws {
        for namespace in ["mine", "default", "other"] {
            try pod.node.define("far", namespace: namespace, #"{"cniVersion":"1.0.0","type":"two"}"#)
        }
        let keys = global.map {
            #","namespaceIsolation":true"# + ($0.isEmpty ? "" : #","globalNamespaces":"\#($0)""#)
        }
        let answer = try pod.call(
            "ADD", pod.config([Self.key: networks], extra: keys ?? ""),
            args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=mine;K8S_POD_NAME=pod-a")
        guard passes else { return try refused(answer, "namespace isolation enabled") }
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try added() == ["ADD two net1"])
    }

    @Test(
        "A25, A26: the annotation of the default network",
        arguments: [
            ("sys", true, ["ADD one eth0"]), ("default/two", false, ["ADD two eth0"]),
            (#"[{"name":"two","namespace":"default"}]"#, false, ["ADD two eth0"]),
            ("two", false, nil), ("sys,sys", false, nil), ("", false, nil), ("[]", false, nil),
            ("other/far", true, nil), ("other/far", false, ["ADD two eth0"]), ("a/b/c", false, nil),
        ])
    func defaultNetwork(text: String, isIsolated: Bool, expected: [String]?) throws {
        try pod.node.define("sys", namespace: "kube-system", #"{"cniVersion":"1.0.0","type":"one"}"#)
        try pod.node.define("far", namespace: "other", #"{"cniVersion":"1.0.0","type":"two"}"#)
        let answer = try pod.call(
            "ADD",
            pod.config([Self.defaultKey: text], extra: isIsolated ? #","namespaceIsolation":true"# : ""))
        guard let expected else { return try refused(answer) }
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == expected)
        #expect(answer.json["interfaces"][0]["name"].string == "eth0")
    }

    @Test("A27: what the annotation asks for the default network reaches its runtimeConfig")
    func defaultWishes() throws {
        let text =
            #"[{"name":"one","namespace":"default","ips":["10.1.0.2/24"],"mac":"02:00:00:00:00:01","bandwidth":{"ingressRate":1000,"ingressBurst":2000},"portMappings":[{"hostPort":8080,"containerPort":80}]}]"#
        #expect(try pod.call("ADD", pod.config([Self.defaultKey: text])).status == 0)
        let given = try pod.calls()[0].input["runtimeConfig"]
        #expect(
            given["ips"][0].string == "10.1.0.2/24" && given["mac"].string == "02:00:00:00:00:01", "\(given)")
        #expect(given["bandwidth"]["ingressRate"].int == 1000, "\(given)")
        #expect(given["portMappings"][0]["hostPort"].int == 8080, "\(given)")
    }

    @Test("A28, A29: the runtime's capabilities are the default network's, in the specification's spelling")
    func runtimes() throws {
        let runtime =
            #""portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""}],"bandwidth":{"IngressRate":1000,"IngressBurst":2000},"ips":["10.1.0.9/24"]"#
        let config = pod.config([Self.key: "one"], runtime: runtime, delegates: Self.master)
        #expect(try pod.call("ADD", config).status == 0)
        let calls = try pod.calls()
        let given = calls[0].input["runtimeConfig"]
        #expect(
            given["portMappings"][0].keys.isSuperset(of: ["hostPort", "containerPort", "protocol"]),
            "\(given)")
        #expect(given["portMappings"][0]["hostPort"].int == 8080, "\(given)")
        #expect(
            !given["portMappings"][0].keys.contains("HostPort")
                && given["bandwidth"]["ingressRate"].int == 1000)
        #expect(given["ips"][0].string == "10.1.0.9/24")
        #expect(!calls[1].input["runtimeConfig"].exists, "\(calls[1].input)")
    }

    // MARK: The default network

    /// What the node has, by file or `net-attach-def/NAMESPACE/NAME`, what clusterNetwork says, and the plugin that runs.
    @Test(
        "A31: clusterNetwork is a definition, the name in a file, a directory or a file",
        arguments: [
            ("main", "one"), ("inafile", "two"), ("DIR/conf", "two"), ("DIR/conf/10-b.conflist", "two"),
            ("DIR/conf/20-c.conf", "one"),
        ])
    func clusterNetwork(name: String, plugin: String) throws {
        try pod.node.define("main", namespace: "kube-system", #"{"cniVersion":"1.0.0","type":"one"}"#)
        try pod.node.write("conf/00-readme.txt", "no configuration")
        try pod.node.write(
            "conf/10-b.conflist", #"{"cniVersion":"1.0.0","name":"inafile","plugins":[{"type":"two"}]}"#)
        try pod.node.write("conf/20-c.conf", #"{"cniVersion":"1.0.0","name":"main","type":"one"}"#)
        let cluster = name.replacing("DIR", with: pod.directory)
        let answer = try pod.call("ADD", pod.config(delegates: #""clusterNetwork":"\#(cluster)""#))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try pod.words() == ["ADD \(plugin) eth0"])
    }

    // MARK: Whose annotations

    @Test("A33: the runtime's annotations suffice: no pod is looked for")
    func runtimesAnnotations() throws {
        try pod.node.write(
            "cache/pods/default/pod-a.yaml",
            "metadata:\n  name: pod-a\n  annotations:\n    \(Self.key): two\n")
        let trace = "\(pod.directory)/trace"
        let answer = try pod.call(
            "ADD", pod.config([Self.key: "one"]), prefix: ["strace", "-f", "-o", trace])
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try added() == ["ADD one net1"])
        #expect(try !Shell.sh("cat \(trace)").contains("pod-a.yaml"))
    }

    @Test("A34: a pod of which nobody knows the annotations is to be tried again", arguments: [true, false])
    func unknownPod(isAsked: Bool) throws {
        let config = pod.config(nil).replacing(
            #""io.kubernetes.cri.pod-annotations":true"#,
            with: isAsked ? #""io.kubernetes.cri.pod-annotations":true"# : "")
        try refused(try pod.call("ADD", config), "default/pod-a", code: 11)
    }

    @Test(
        "A35: a definition that is missing is final where the cache is full, and to be tried again where it is not",
        arguments: [("fresh", 7), ("old", 11), ("never", 11)])
    func missingDefinition(filled: String, code: Int) throws {
        switch filled {
        case "fresh":
            try pod.node.write("cache/imported.json", "{\"time\":\(Int(Date().timeIntervalSince1970))}")
        case "old": try pod.node.write("cache/imported.json", "{\"time\":1700000000}")
        default: break
        }
        let answer = try pod.call("ADD", networks: "none", extra: #","maxCacheAge":3600"#)
        try refused(answer, "none", code: code)
    }

    @Test(
        "A36: a static pod has another UID than its mirror in the cache", arguments: ["file", "http", "api"])
    func staticPod(source: String) throws {
        try pod.node.write(
            "cache/pods/default/pod-a.yaml",
            "metadata:\n  name: pod-a\n  uid: mirror\n  annotations:\n    \(Self.key): one\n    kubernetes.io/config.source: \(source)\n"
        )
        let answer = try pod.call("ADD", pod.config(nil), args: StatusRows.args("hash"))
        if source == "api" { return try refused(answer, "expected pod UID", code: 11) }
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try added() == ["ADD one net1"])
    }
}
