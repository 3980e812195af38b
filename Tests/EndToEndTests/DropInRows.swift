import Foundation
import Support
import Testing

/// What a node's configuration of Multus has beyond networks, with the binary swapped.
@Suite struct DropInRows {
    private static let args = StatusRows.args()

    // MARK: Keys

    /// As the example configuration, OpenShift's operator and the daemon's installer write them.
    private static let foreign = """
        ,"logOptions":{"maxAge":5,"maxSize":100,"maxBackups":5,"compress":true},"daemonSocketDir":"/run/multus/socket",\
        "cniVersions":["0.4.0","1.0.0"],"auxiliaryCNIChainName":"","cniConf":"/host/etc/cni/multus/net.d",\
        "kubeconfig":"/etc/cni/net.d/multus.d/multus.kubeconfig","readinessindicatorfile":"","metricsPort":9091
        """

    @Test(
        "C07: keys of Multus' daemon and installers are taken, and named at debug alone",
        arguments: ["plexus", "multus", "multus-shim"])
    func foreignKeys(role: String) throws {
        let node = try MetaEndToEnd.node()
        if role == "multus-shim" { try Shell.sh("ln -s multus \(node.directory)/bin/multus-shim") }
        let netns = try node.pod("a")
        let answer = try node.call(
            "ADD", role: role, netns: netns, args: Self.args, MetaEndToEnd.config(node, extra: Self.foreign))
        #expect(answer.status == 0 && answer.ran.errors.isEmpty, "\(answer.ran)")
        #expect(try node.addresses("net1", pod: "a") == ["192.168.12.10/24"])
        let loud = try node.call(
            "CHECK", role: role, netns: netns, args: Self.args,
            MetaEndToEnd.config(node, extra: Self.foreign + #","logLevel":"debug""#))
        #expect(loud.status == 0, "\(loud.ran)")
        let lines = loud.ran.errors.split(separator: "\n").filter { $0.contains("Multus' daemon") }
        #expect(lines.count == 1 && lines[0].contains("daemonSocketDir, cniConf, metricsPort"), "\(loud.ran)")
    }

    @Test(
        "C05: options of the log that make no sense are refused",
        arguments: [
            (#"{"maxSize":-1}"#, "logOptions.maxSize"), (#"{"compress":"often"}"#, "logOptions.compress"),
            (#"{"maxsise":1}"#, "did you mean \"maxSize\"?"), ("[]", "logOptions"),
        ])
    func badOptions(options: String, words: String) throws {
        let node = try MetaEndToEnd.node()
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: Self.args,
            MetaEndToEnd.config(node, extra: ",\"logOptions\":\(options)"))
        #expect(answer.status == 1 && answer.code == 7 && answer.message.contains(words), "\(answer.ran)")
        #expect(
            answer.ran.errors.contains("[error] ADD with the configuration node-network: "), "\(answer.ran)")
        #expect(try node.links().isEmpty && node.links(pod: "a").isEmpty)
    }

    // MARK: Log

    private static func logging(_ node: Node, _ options: String) -> String {
        MetaEndToEnd.config(
            node,
            extra: """
                ,"logLevel":"verbose","logToStderr":false,"logFile":"\(node.directory)/log/multus.log","logOptions":\(options)
                """)
    }

    /// A log of a little more than a megabyte, and an old one of each date.
    private static func fill(_ node: Node, old: [String] = []) throws {
        try Shell.sh(
            "mkdir -p \(node.directory)/log && head -c 1048600 /dev/zero | tr '\\0' x > \(node.directory)/log/multus.log"
        )
        for stamp in old { try node.write("log/multus-\(stamp).log.gz", "") }
    }

    private static func logs(_ node: Node) throws -> [String] { try node.files("log").sorted() }

    @Test("C08: a log that is full is put aside and compressed, and few old ones are kept")
    func rotation() throws {
        let node = try MetaEndToEnd.node()
        let recent = try Shell.sh("date -u -d '1 day ago' +%Y-%m-%dT%H-%M-%S.000").trimmingCharacters(
            in: .newlines)
        let old = ["2020-01-02T03-04-05.006", recent, "2999-01-01T00-00-00.000"]
        try Self.fill(node, old: old)
        try node.write("log/multus-notes.log", "not ours")
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: Self.args,
            Self.logging(node, #"{"maxSize":1,"maxBackups":3,"maxAge":2}"#))
        #expect(answer.status == 0, "\(answer.ran)")
        var logs = try Self.logs(node)
        // gzip goes on when the process has ended.
        for _ in 0..<100 where logs.contains(where: { $0.hasSuffix(".log") && $0.contains("T") }) {
            Thread.sleep(forTimeInterval: 0.1)
            logs = try Self.logs(node)
        }
        #expect(!logs.contains("multus-\(old[0]).log.gz"), "older than two days")
        #expect(logs.contains("multus-\(recent).log.gz") && logs.contains("multus-\(old[2]).log.gz"))
        #expect(logs.contains("multus-notes.log"))
        #expect(logs.count == 5, "\(logs)")
        let text = try Shell.sh("cat \(node.directory)/log/multus.log")
        #expect(
            text.contains(
                "pod default/pod-a (6a1-22), container c1 eth0: net1 on default/net-a with 192.168.12.10/24"))
        #expect(!text.contains("xxx"))
        let new = try #require(logs.first { $0.hasSuffix(".gz") && !old.contains(where: $0.contains) })
        #expect(try Shell.sh("zcat \(node.directory)/log/\(new) | wc -c") == "1048600\n")
    }

    @Test("C08: without compression, and with many processes at once, no line is lost")
    func crowd() throws {
        let node = try MetaEndToEnd.node()
        try Self.fill(node)
        let config = Self.logging(node, #"{"maxSize":1,"compress":false}"#)
        try node.write("config", config)
        let count = 12
        for index in 1...count { _ = try node.pod("p\(index)") }
        // Not the shell's `wait`, which hangs where SIGCHLD is blocked.
        try Shell.sh(
            """
            seq \(count) | CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_PATH=/x CNI_ARGS='\(Self.args)' xargs -P \(count) -I %% \
                sh -c 'CNI_CONTAINERID=c%% CNI_NETNS=/run/netns/\(node.name)-p%% ip netns exec \(node.name) \
                    \(node.directory)/bin/plexus < \(node.directory)/config > /dev/null'
            """)
        let logs = try Self.logs(node)
        #expect(logs.count == 2, "one process put it aside: \(logs)")
        let text = try Shell.sh("cat \(node.directory)/log/*")
        for index in 1...count {
            #expect(text.contains("container c\(index) eth0: net1 on default/net-a"), "c\(index)")
        }
    }

    // MARK: auxiliaryCNIChainName

    /// A node as OpenShift's: the default network is a file, and the vendor's plugins lie beside it.
    private static func chained(_ files: [String: String], clusterNetwork: String? = nil) throws -> (
        Node, String
    ) {
        let node = try MetaEndToEnd.node()
        try node.write(
            "net.d/10-ovn.conf",
            """
            {"cniVersion":"0.4.0","name":"ovn","type":"bridge","bridge":"cni0","ipam":{"type":"host-local",\
            "dataDir":"\(node.directory)/ipam","subnet":"10.244.0.0/24"}}
            """)
        for (name, text) in files { try node.write("net.d/vendor-cni-chain/\(name)", text) }
        let config = """
            {"cniVersion":"0.4.0","name":"multus-cni-network","type":"multus","cniDir":"\(node.directory)/state",\
            "cacheDir":"\(node.directory)/cache","binDir":"\(node.directory)/plugins","logLevel":"verbose",\
            "clusterNetwork":"\(clusterNetwork ?? "\(node.directory)/net.d/10-ovn.conf")",\
            "auxiliaryCNIChainName":"vendor-cni-chain",\
            "runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"k8s.v1.cni.cncf.io/networks":"net-a"}}}
            """
        return (node, config)
    }

    @Test("A32: plugins of a vendor run behind all networks, and their DEL first")
    func chain() throws {
        let (node, config) = try Self.chained([
            "20-b.conf": #"{"type":"vendor","step":"b"}"#, "10-a.conf": #"{"type":"vendor","step":"a"}"#,
            "readme.txt": "not read",
        ])
        try node.script(
            "vendor",
            """
            echo "$CNI_COMMAND $CNI_IFNAME $(tr -d '\\n' < \(node.directory)/vendor.stdin)" >> \(node.directory)/calls
            case $CNI_COMMAND in ADD) echo '{"cniVersion":"0.4.0"}';; esac
            """)
        func calls() throws -> [(words: String, input: Tree)] {
            try Shell.sh("cat \(node.directory)/calls").split(separator: "\n").map { line in
                let parts = line.split(separator: " ", maxSplits: 2).map(String.init)
                return (parts[0] + " " + parts[1], try Tree(parsing: parts[2]))
            }
        }
        let netns = try node.pod("a")
        let answer = try node.call("ADD", role: "multus", netns: netns, args: Self.args, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(
            answer.json["interfaces"].list.contains { $0["name"].string == "eth0" }, "the default network's")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        let called = try calls()
        #expect(called.map(\.words) == ["ADD net2", "ADD net2"])
        #expect(called.map { $0.input["step"].string } == ["a", "b"])
        #expect(called.map { $0.input["name"].string } == ["vendor-cni-chain", "vendor-cni-chain"])
        #expect(called.map { $0.input["cniVersion"].string } == ["0.4.0", "0.4.0"])
        let status = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
        #expect(status.list.count == 2, "it gives nothing, and has no element")
        let check = try node.call("CHECK", role: "multus", netns: netns, args: Self.args, config)
        #expect(check.status == 0, "\(check.ran)")
        let gone = try node.call("DEL", role: "multus", netns: netns, args: Self.args, config)
        #expect(gone.status == 0, "\(gone.ran)")
        let last = try calls().suffix(2)
        #expect(last.map(\.words) == ["DEL net2", "DEL net2"])
        #expect(last.map { $0.input["step"].string } == ["b", "a"], "with all of their configuration")
        #expect(try node.files("state").isEmpty)
    }

    @Test("A32: without files there is no chain")
    func noChain() throws {
        let (node, config) = try Self.chained(["readme.txt": "x"])
        let answer = try node.call("ADD", role: "multus", netns: try node.pod("a"), args: Self.args, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(!answer.ran.errors.contains("net2"))
    }

    @Test(
        "A32: a chain that cannot be is refused before anything is done",
        arguments: [
            ("{", nil, "10-a.conf"), (#"{"step":"a"}"#, nil, "10-a.conf: the key type is missing"),
            (#"{"type":"vendor"}"#, "ovn", "clusterNetwork"),
        ])
    func badChain(file: String, clusterNetwork: String?, words: String) throws {
        let (node, config) = try Self.chained(["10-a.conf": file], clusterNetwork: clusterNetwork)
        if let clusterNetwork {
            try node.define(
                clusterNetwork, namespace: "kube-system",
                MetaEndToEnd.article.replacing("DIR", with: node.directory))
        }
        let answer = try node.call("ADD", role: "multus", netns: try node.pod("a"), args: Self.args, config)
        #expect(answer.status == 1 && answer.code == 7, "\(answer.ran)")
        #expect(answer.ran.output.contains(words), "\(answer.ran)")
        #expect(try node.links().isEmpty && node.links(pod: "a").isEmpty)
    }

    @Test("passthru alone gives an empty result, and every other verb succeeds")
    func passthru() throws {
        let node = try Node()
        _ = try node.pod("a")
        let answer = try node.plugin("ADD", "passthru", version: "0.3.1")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["cniVersion"].string == "0.3.1" && answer.json["interfaces"].list.isEmpty)
        for verb in ["CHECK", "DEL"] {
            let answer = try node.plugin(verb, "passthru")
            #expect(answer.status == 0 && answer.ran.output.isEmpty, "\(answer.ran)")
        }
    }

    // MARK: Isolation

    @Test("A24: the error names each namespace once, and the one that the default-network annotation means")
    func isolation() throws {
        let node = try MetaEndToEnd.node()
        let extra = #","namespaceIsolation":true,"globalNamespaces":"default,shared,shared""#
        func add(_ annotations: String) throws -> Answer {
            let config = MetaEndToEnd.config(
                node, networks: nil,
                extra: extra + """
                    ,"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{\(annotations)}}
                    """)
            return try node.call("ADD", netns: "/run/netns/\(node.name)-a", args: Self.args, config)
        }
        _ = try node.pod("a")
        let other = try add(#""k8s.v1.cni.cncf.io/networks":"other/net-a""#)
        #expect(other.details.contains("use a network of default or of shared"), "\(other.ran)")
        #expect(!other.details.contains("shared or of shared"), "\(other.ran)")
        let first = try add(#""v1.multus-cni.io/default-network":"other/net-a""#)
        #expect(
            first.details.contains("or of kube-system, which a name without a namespace means"),
            "\(first.ran)")
    }
}
