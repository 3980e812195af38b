import Foundation
import Support
import Testing

/// Input of somebody who means harm: a pod's author through the annotation, another user of the node through files.
@Suite struct HostileInput {
    private let node: Node
    private let netns: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
        try node.write("outside/file", "untouched")
    }

    /// Memory that a call may take, all in all: a tenth of what hostile documents once took.
    private static let limited = ["prlimit", "--as=536870912", "--core=0"]

    private func add(
        _ config: String, id: String = "c1", interface: String = "eth0", args: String = MetaEndToEnd.pod
    ) throws -> Answer {
        try node.call(
            "ADD", id: id, netns: netns, interface: interface, args: args, prefix: Self.limited, config)
    }

    /// The answer is an error object, and nothing was made anywhere.
    private func refused(_ answer: Answer, _ codes: Set<Int>, _ what: String) throws {
        #expect(answer.status == 1, "\(what): \(answer.ran.output.prefix(500))")
        #expect(codes.contains(answer.code), "\(what): \(answer.ran.output.prefix(500))")
        #expect(!answer.message.isEmpty, "\(what)")
        try untouched(what)
    }

    private func untouched(_ what: String) throws {
        #expect(try node.links().isEmpty && node.links(pod: "a").isEmpty, "\(what)")
        #expect(try node.files("ipam").isEmpty && node.files("state").isEmpty, "\(what)")
        #expect(try node.files("outside") == ["file"], "\(what)")
        #expect(try Shell.sh("cat \(node.directory)/outside/file") == "untouched", "\(what)")
    }

    // MARK: Names

    @Test(arguments: ["../outside/x", "a/b", "..", ".", "/etc/passwd", "a\u{301}", "a b", "-x"])
    func noNameLeavesItsDirectory(name: String) throws {
        let config = MetaEndToEnd.config(node)
        try refused(try add(config, id: name), [4], "container ID")
        if name != "-x", name != "a\u{301}" {
            try refused(try add(config, interface: name), [4], "interface")
            let interface = "[{\"name\":\"net-a\",\"interface\":\"\(name)\"}]"
            try refused(
                try add(MetaEndToEnd.config(node, networks: interface)), [7], "interface of the annotation")
        }
        try refused(
            try add(config.replacing("\"node-network\"", with: "\"\(name)\"")), [7], "network")
        try refused(
            try add(config.replacing("\"default-network\"", with: "\"\(name)\"")), [7],
            "network of a delegate")
        for networks in [
            "\(name)/net-a", "default/\(name)", "[{\"name\":\"\(name)\"}]",
            "[{\"name\":\"net-a\",\"namespace\":\"\(name)\"}]",
        ] {
            try refused(try add(MetaEndToEnd.config(node, networks: networks)), [7], networks)
        }
        let none = MetaEndToEnd.config(node, networks: nil)
        for args in ["K8S_POD_NAMESPACE=\(name);K8S_POD_NAME=a", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=\(name)"] {
            try refused(try add(none, args: args), [4], args)
        }
        let extra = ",\"multusNamespace\":\"\(name)\",\"clusterNetwork\":\"net-a\""
        try refused(try add(MetaEndToEnd.config(node, extra: extra)), [7], "multusNamespace")
    }

    @Test(
        "X13: a type with a path, of a plugin, in a list and of an address source",
        arguments: ["../outside/sh", "/bin/sh", "..", ".", "a/b", "/\u{301}bin", "bin/\u{301}sh", "a b"])
    func noTypeLeavesThePluginsDirectories(type: String) throws {
        try node.script("sh", "echo '{}'")
        try Shell.sh("cp \(node.directory)/plugins/sh \(node.directory)/outside/sh")
        defer { _ = try? Shell.sh("rm \(node.directory)/outside/sh") }
        for delegate in [
            "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"\(type)\"}",
            "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"\(type)\"}]}",
            "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"bridge\",\"ipam\":{\"type\":\"\(type)\"}}",
        ] {
            try node.define("bad", delegate)
            let answer = try add(MetaEndToEnd.config(node, networks: "bad"))
            #expect(
                answer.status == 1 && answer.message.contains("plugin"), "\(delegate): \(answer.ran.output)")
            #expect(try node.links().isEmpty && node.links(pod: "a").isEmpty)
        }
        #expect(try Shell.sh("ls \(node.directory)").contains("sh.log") == false)
    }

    @Test(arguments: [
        "kernel.hostname", "net/../kernel/hostname", "net.ipv4.conf.IFNAME/../../../../kernel.hostname",
        "net/ipv4/./conf", "net..ipv4", "/net/ipv4/ip_forward", "net", "net/", "net.ipv4 .x",
        "net.\u{0600}./x",
        "NET.ipv4.ip_forward",
    ])
    func noSysctlOutsideThePodsNetwork(key: String) throws {
        let before = try Shell.sh("hostname; cat /proc/sys/kernel/hostname")
        try node.define(
            "bad",
            """
            {"cniVersion":"1.0.0","name":"bad","plugins":[{"type":"bridge","bridge":"b1"},
             {"type":"tuning","sysctl":{"\(key)":"hostile"}}]}
            """)
        let answer = try add(MetaEndToEnd.config(node, networks: "bad"))
        #expect(answer.status == 1, "\(answer.ran.output)")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
        #expect(try Shell.sh("hostname; cat /proc/sys/kernel/hostname") == before)
    }

    @Test(arguments: ["../x", "a/b", "..", "", "sixteen-bytes-abc", "/sys/class/net/lo"])
    func noDeviceByAPath(device: String) throws {
        try node.define("bad", "{\"cniVersion\":\"1.0.0\",\"type\":\"host-device\",\"device\":\"\(device)\"}")
        let answer = try add(MetaEndToEnd.config(node, networks: "bad"))
        #expect(answer.status == 1 && answer.code > 0, "\(answer.ran.output)")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    /// Two working directories would give two pods one address; what such a definition attached goes all the same.
    @Test(arguments: ["dataDir", "resolvConf"])
    func noPathDependsOnTheWorkingDirectory(key: String) throws {
        let config = MetaEndToEnd.config(node, networks: "").replacing(
            "\"dataDir\":\"\(node.directory)/ipam\"", with: "\"\(key)\":\"ipam/x\"")
        let answer = try add(config)
        try refused(answer, [7], key)
        #expect(answer.message.contains("\"ipam/x\" is no absolute path"), "\(answer.ran.output)")
        #expect(answer.message.contains("ipam.\(key)"), "\(answer.ran.output)")
        let gone = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(gone.status == 0, "\(gone.ran)")
    }

    // MARK: Files of other users

    @Test(arguments: [
        "cache/net-attach-def", "cache/net-attach-def/default", "cache/net-attach-def/default/net-a.yaml",
    ])
    func linksInTheCacheAreNotFollowed(path: String) throws {
        try Shell.sh(
            "cd \(node.directory) && mv \(path) elsewhere && ln -s \(node.directory)/elsewhere \(path)")
        let answer = try add(MetaEndToEnd.config(node))
        try refused(answer, [5], path)
        #expect(answer.message.contains("cache"))
    }

    @Test(
        arguments: [
            "cache", "cache/net-attach-def", "cache/net-attach-def/default",
            "cache/net-attach-def/default/net-a.yaml", "state", "state/attachments",
        ], ["chmod o+w", "chown nobody", "chgrp nogroup PATH && chmod g+w"])
    func whatOthersCanWriteToIsRefused(path: String, change: String) throws {
        try Shell.sh("mkdir -p -m 700 \(node.directory)/state/attachments")
        let full = "\(node.directory)/\(path)"
        try Shell.sh("\(change.replacing("PATH", with: full)) \(full)")
        let answer = try add(MetaEndToEnd.config(node))
        try refused(answer, [5], "\(change) \(path)")
        #expect(answer.ran.output.contains("refused"), "\(answer.ran.output)")
        #expect(answer.ran.output.contains(full), "\(answer.ran.output)")
    }

    /// Records that others may have written are not believed: DEL does what it can without, and says what to mend.
    @Test(
        arguments: [("chmod o+w", "chmod go-w"), ("chown nobody", "chown root")],
        ["state", "state/attachments"])
    func aPodGoesFromAStateThatIsNotBelieved(change: (made: String, fix: String), path: String) throws {
        let config = MetaEndToEnd.config(node, networks: "")
        #expect(try add(config).status == 0)
        let full = "\(node.directory)/\(path)"
        try Shell.sh("\(change.made) \(full)")
        let answer = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.code == 5 && answer.message.contains(full), "\(answer.ran)")
        #expect(answer.json["details"].string?.hasSuffix("\(change.fix) \(full)") == true, "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && node.links() == ["cni0"])
        try Shell.sh("\(change.fix) \(full)")
        #expect(try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        #expect(try node.files("state").isEmpty)
    }

    @Test(arguments: ["mkdir", "mkdir -p PATH && touch PATH/x; mkdir -p", "ln -s /none", "mkfifo"])
    func whatIsInALocksPlaceKeepsNoPod(made: String) throws {
        let config = MetaEndToEnd.config(node)
        #expect(try add(config).status == 0)
        let lock = "\(node.directory)/state/attachments/c1@eth0.json.lock"
        try Shell.sh("rm \(lock); \(made.replacing("PATH", with: lock)) \(lock)")
        let answer = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(try node.links(pod: "a").isEmpty)
        if made.contains("touch") {
            #expect(answer.code == 5 && answer.ran.output.contains("rm -r \(lock)"), "\(answer.ran)")
            try Shell.sh("rm -r \(lock)")
            #expect(try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        } else {
            #expect(answer.status == 0, "\(answer.ran)")
        }
        #expect(try Shell.sh("ls \(node.directory)/state/attachments").isEmpty)
    }

    /// A manifest in the cache under another pod's name.
    @Test(arguments: ["name: pod-b\n  namespace: default", "name: pod-a\n  namespace: other"])
    func aPodIsWhoItsManifestSays(metadata: String) throws {
        try node.write(
            "cache/pods/default/pod-a.yaml",
            "kind: Pod\nmetadata:\n  \(metadata)\n  annotations:\n    k8s.v1.cni.cncf.io/networks: net-a\n")
        let answer = try add(MetaEndToEnd.config(node, networks: nil))
        try refused(answer, [7], metadata)
        #expect(answer.message.contains("the file's path says"), "\(answer.ran.output)")
        #expect(answer.ran.output.contains("cache/pods/default/pod-a.yaml"), "\(answer.ran.output)")
    }

    @Test func linksInTheStateAreNotFollowed() throws {
        let state = "\(node.directory)/state"
        try Shell.sh("mkdir -m 700 \(state) && ln -s \(node.directory)/outside \(state)/attachments")
        try refused(try add(MetaEndToEnd.config(node)), [5], "attachments")
        try Shell.sh("rm \(state)/attachments && mkdir -m 700 \(state)/attachments")
        for name in ["c1@eth0.json", "c1@eth0.json.lock", ".c1@eth0.json.1.tmp"] {
            try Shell.sh("ln -s \(node.directory)/outside/file \(state)/attachments/\(name)")
            _ = try add(MetaEndToEnd.config(node))
            _ = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node))
            #expect(try Shell.sh("cat \(node.directory)/outside/file") == "untouched", "\(name)")
            try Shell.sh("rm -f \(state)/attachments/\(name)")
        }
        #expect(
            try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node)).status == 0)
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test(arguments: ["10.244.0.2", "last_reserved_ip.0", "lock"])
    func linksAmongTheAddressesAreNotFollowed(name: String) throws {
        for target in ["file", "new"] {
            let folder = "\(node.directory)/ipam/default-network"
            try Shell.sh("mkdir -p \(folder) && ln -s \(node.directory)/outside/\(target) \(folder)/\(name)")
            _ = try add(MetaEndToEnd.config(node))
            _ = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node))
            #expect(try node.files("outside") == ["file"], "\(name)")
            #expect(try Shell.sh("cat \(node.directory)/outside/file") == "untouched", "\(name)")
            try Shell.sh("rm -rf \(node.directory)/ipam/*")
        }
    }

    @Test(arguments: [
        "cache/net-attach-def/default/net-a.yaml", "ipam/default-network/lock",
        "ipam/default-network/10.244.0.2",
        "state/attachments/c1@eth0.json", "state/attachments/c1@eth0.json.lock",
    ])
    func aPipeHoldsNobodyUp(path: String) throws {
        let full = "\(node.directory)/\(path)"
        try Shell.sh("mkdir -p -m 700 $(dirname \(full)); rm -f \(full); mkfifo -m 600 \(full)")
        for verb in ["ADD", "DEL"] {
            let answer = try node.call(
                verb, netns: netns, args: MetaEndToEnd.pod, prefix: ["timeout", "-s", "KILL", "20"],
                MetaEndToEnd.config(node))
            #expect(answer.status == 0 || answer.status == 1, "\(verb): \(answer.ran)")
        }
        #expect(try node.links(pod: "a").isEmpty)
    }

    // MARK: The annotation

    @Test(
        "A24, A25: isolation is checked before anything is looked for",
        arguments: [
            ("other/secret", nil), ("other/none", nil),
            ("[{\"name\":\"secret\",\"namespace\":\"other\"}]", nil),
            ("kube-system/secret", nil), ("net-a,other/secret", nil), (nil, "other/secret"),
        ] as [(String?, String?)])
    func isolationHasNoWayAround(networks: String?, defaultNetwork: String?) throws {
        try node.define(
            "secret", namespace: "other", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b9"}"#)
        var annotations: [String] = []
        for (key, value) in [
            ("k8s.v1.cni.cncf.io/networks", networks), ("v1.multus-cni.io/default-network", defaultNetwork),
        ] {
            if let value { annotations.append("\"\(key)\":\"\(value.replacing("\"", with: "\\\""))\"") }
        }
        let runtime = "{\"io.kubernetes.cri.pod-annotations\":{\(annotations.joined(separator: ","))}}"
        let config = MetaEndToEnd.config(
            node, networks: nil, extra: ",\"namespaceIsolation\":true,\"runtimeConfig\":\(runtime)")
        let answer = try add(config)
        try refused(answer, [7], "\(annotations)")
        // The same whether the network is there or not.
        #expect(answer.message.contains("namespace isolation enabled"), "\(answer.ran.output)")
    }

    /// Runtimes log what they are told at each retry.
    @Test func anErrorIsShorterThanWhatItQuotes() throws {
        let answer = try add(
            MetaEndToEnd.config(node, networks: String(repeating: "a", count: 1 << 20)))
        try refused(answer, [5, 7], "a long name")
        #expect(answer.ran.output.utf8.count + answer.ran.errors.utf8.count < 60_000)
        #expect(answer.ran.output.contains("… (10"), "\(answer.ran.output.suffix(300))")
    }

    /// What a pod's author writes is in lines that people copy into a root's shell.
    @Test(arguments: [
        "$(id>x)", "`id`", "a;id", "a'b", "a\"b", "a&b", "a|b", "*", "~", "#", "a\\b", "-x", "é",
    ])
    func aNameIsNoCommand(name: String) throws {
        /// What the shell makes of a line for `ip`.
        func words(_ line: String) throws -> [String] {
            let script = "ip() { printf '%s\\n' \"$@\"; }; cd \(node.directory); \(line)"
            return try Shell.run(["bash", "-c", script]).output.split(separator: "\n").map(String.init)
        }
        let value = try String(decoding: JSONSerialization.data(withJSONObject: [name]), as: UTF8.self)
        let networks = "[{\"name\":\"net-a\",\"interface\":\(value.dropFirst().dropLast())}]"
        let config = MetaEndToEnd.config(node, networks: nil)
        try node.write("plexus.conf", config)
        let ran = try Shell.run([
            "ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "explain", "-o", "json", "-c",
            "\(node.directory)/plexus.conf", "--networks", networks,
        ])
        let steps = try Tree(parsing: ran.output)["attachments"][1]["steps"].list
        let commands = steps.flatMap { $0["commands"].list.compactMap(\.string) }
        let naming = commands.filter { $0.contains("peer name") || $0.contains("link set") }
        #expect(try naming.count >= 2 && naming.allSatisfy { try words($0).contains(name) }, "\(commands)")
        try node.define(
            "refusing",
            """
            {"cniVersion":"1.0.0","type":"bridge","bridge":"b1","ipam":{"type":"static",\
            "addresses":[{"address":"10.7.0.2/24"}],"routes":[{"dst":"10.8.0.0/16","gw":"192.0.2.1"}]}}
            """)
        let answer = try add(
            config.replacing(
                "\"delegates\"",
                with: "\"networks\":\(networks.replacing("net-a", with: "refusing")),\"delegates\""))
        let refused = answer.json["details"].string ?? ""
        let step = refused.firstRange(of: "refused step: ").map { String(refused[$0.upperBound...]) } ?? ""
        #expect(try words(step).contains(name), "\(answer.ran.output)")
    }

    @Test(arguments: [
        "\u{1b}[2J", "\u{202e}", "\u{2066}x", "\u{200f}", "\u{61c}", "\u{9b}", "\u{7f}", "a\nb",
    ])
    func aTextCannotDriveATerminal(text: String) throws {
        let value = try String(decoding: JSONSerialization.data(withJSONObject: [text]), as: UTF8.self)
            .dropFirst().dropLast()
        for networks in [
            "[{\"name\":\"net-a\",\"interface\":\(value)}]", "[{\"name\":\(value)}]",
            "[{\"name\":\"net-a\",\"ips\":[\(value)]}]", "[{\"name\":\"net-a\",\"mac\":\(value)}]",
        ] {
            let config = MetaEndToEnd.config(node, networks: networks.replacing("\\", with: "\\\\"))
            let answer = try add(
                config.replacing("\"delegates\"", with: "\"logLevel\":\"debug\",\"delegates\""))
            try refused(answer, [7], networks)
            let told = answer.message + (answer.json["details"].string ?? "") + answer.ran.errors.dropLast()
            #expect(
                !told.isEmpty
                    && !told.unicodeScalars.contains { text.unicodeScalars.contains($0) && !$0.isASCII })
            #expect(!told.utf8.contains { $0 < 0x20 || $0 == 0x7f }, "\(told.debugDescription)")
        }
    }

    /// Whether anybody reads it or not.
    @Test func aPipeAsLogHoldsNobody() throws {
        try Shell.sh("mkfifo \(node.directory)/log")
        let extra = ",\"logLevel\":\"debug\",\"logFile\":\"\(node.directory)/log\""
        try refused(try add(MetaEndToEnd.config(node, networks: "none", extra: extra)), [7], "a pipe as log")
        let config = MetaEndToEnd.config(node, networks: "", extra: extra)
        let added = try add(config)
        #expect(added.status == 0, "\(added.ran)")
        #expect(try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
    }

    @Test("A07: many networks, and deep arguments") func anAnnotationCannotTakeTheNodesMemory() throws {
        let many = Array(repeating: "net-a", count: 40000).joined(separator: ",")
        try refused(try add(MetaEndToEnd.config(node, networks: many)), [7], "40,000 networks")
        for levels in [122, 126, 200, 100_000] {
            let deep = String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
            let networks = "[{\"name\":\"net-a\",\"cni-args\":{\"x\":\(deep)}}]"
            let answer = try add(MetaEndToEnd.config(node, networks: networks))
            if answer.status == 0 {
                // What was attached is detached by its record.
                let gone = try node.call(
                    "DEL", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node))
                #expect(gone.status == 0 && !gone.ran.errors.contains("unusable"), "\(levels): \(gone.ran)")
                #expect(try node.links(pod: "a").isEmpty)
            } else {
                #expect([6, 7].contains(answer.code), "\(levels): \(answer.ran.output.prefix(300))")
                #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
            }
        }
    }

    /// Of memory a document may cost, with that of the executable itself: an empty object takes 900 bytes.
    private static let tight = ["prlimit", "--as=134217728", "--core=0"]

    @Test(arguments: ["{},", "[],", "0,", "\"\",", "{\"a\":{}},"])
    func manyValuesCannotTakeTheNodesMemory(unit: String) throws {
        func list(_ size: Int) -> String {
            "[\(String(repeating: unit, count: size / unit.utf8.count).dropLast())]"
        }
        let plain = MetaEndToEnd.config(node, networks: "")
        func call(_ config: String) throws -> Answer {
            try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, prefix: Self.tight, config)
        }
        let large = list(6_000_000)
        let stdin = try call(plain.dropLast() + ",\"x\":\(large)}")
        try refused(stdin, [6], "stdin")
        #expect(stdin.message.contains("document of more than 32768 values"), "\(stdin.ran.output)")
        let annotation = "[{\"name\":\"net-a\",\"cni-args\":{\"x\":\(list(250_000))}}]"
        try refused(try call(MetaEndToEnd.config(node, networks: annotation)), [7], "the annotation")
        let definition = "{\"cniVersion\":\"1.0.0\",\"type\":\"bridge\",\"x\":\(list(1_000_000))}"
        try node.define("large", definition)
        try refused(try call(MetaEndToEnd.config(node, networks: "large")), [7], "a definition")
        try node.write("result.json", large)
        try node.script("mine", "[ $CNI_COMMAND = ADD ] && cat \(node.directory)/result.json; exit 0")
        try node.define("mine", #"{"cniVersion":"1.0.0","type":"mine"}"#)
        let answer = try call(MetaEndToEnd.config(node, networks: "mine"))
        #expect(
            answer.code == 999 && answer.message.contains("more than 32768 values"), "\(answer.ran.output)")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    @Test("an annotation as large as a configuration may be, and one with many addresses, have their limits")
    func largeAnnotations() throws {
        let name = String(repeating: "a", count: 6_000_000)
        for verb in ["ADD", "DEL"] {
            let answer = try node.call(
                verb, netns: netns, args: MetaEndToEnd.pod, prefix: Self.tight,
                MetaEndToEnd.config(node, networks: name))
            #expect(answer.status == (verb == "DEL" ? 0 : 1), "\(verb): \(answer.ran.output.prefix(300))")
        }
        let ips = (0..<30000).map { "\"10.\($0 >> 16).\($0 >> 8 & 255).\($0 & 255)\"" }.joined(separator: ",")
        let answer = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod, prefix: Self.tight,
            MetaEndToEnd.config(node, networks: "[{\"name\":\"net-a\",\"ips\":[\(ips)]}]"))
        #expect(answer.message.contains("30000 addresses are asked for, the limit is 1024"), "\(answer.ran)")
    }

    /// The same definition asked for again and again: what is too much for a record is not even read.
    @Test func aLargeDefinitionCannotBeMultiplied() throws {
        let text = String(repeating: "a", count: 1 << 20)
        try node.define("large", "{\"cniVersion\":\"1.0.0\",\"type\":\"bridge\",\"x\":\"\(text)\"}")
        let networks = (0..<200).map { "large@e\($0)" }.joined(separator: ",")
        let answer = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod, prefix: Self.tight,
            MetaEndToEnd.config(node, networks: networks))
        try refused(answer, [7], "a large definition")
        #expect(answer.message.contains("too large together"), "\(answer.ran.output)")
    }

    /// They are not kept with each of the pod's networks.
    @Test func longAnnotationsAreNoReasonToRefuse() throws {
        let long = String(repeating: "a", count: 250_000)
        let list = (0..<40).map { "net-a@e\($0)" }.joined(separator: ",")
        let annotations = "{\"k8s.v1.cni.cncf.io/networks\":\"\(list)\",\"note\":\"\(long)\"}"
        let runtime = ",\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":\(annotations)}"
        let config = MetaEndToEnd.config(node, networks: nil, extra: runtime)
        #expect(try add(config).status == 0)
        #expect(try node.links(pod: "a").count == 41)
        #expect(try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
    }

    @Test func aNumberWithoutBoundsIsNotKept() throws {
        let networks = "[{\"name\":\"net-a\",\"cni-args\":{\"x\":1e999}}]"
        try refused(try add(MetaEndToEnd.config(node, networks: networks)), [6, 7], "1e999")
    }

    // MARK: Documents

    @Test(arguments: ["ADD", "DEL", "CHECK"], ["plexus", "bridge", "host-local"])
    func aHundredMegabytesAreRefused(verb: String, role: String) throws {
        for source in [
            "head -c 104857600 /dev/zero", "yes '[' | head -c 104857600", "yes ' ' | head -c 104857600",
        ] {
            let line = """
                \(source) | ip netns exec \(node.name) env -i CNI_COMMAND=\(verb) CNI_CONTAINERID=c1 CNI_IFNAME=eth0 \
                CNI_NETNS=\(netns) CNI_PATH=/x prlimit --as=268435456 timeout -s KILL 60 \(node.directory)/bin/\(role)
                """
            let answer = Answer(ran: try Shell.run(["bash", "-c", line]))
            try refused(answer, [5, 6, 999], source)
        }
    }

    @Test(arguments: [
        "1e999", "-1e999", "1e-999", "9223372036854775808", "-9223372036854775809",
        "99999999999999999999999999", "-0",
        "0.1e+400", "2147483648", "4294967296", "-1",
    ])
    func hugeNumbersCrashNothing(number: String) throws {
        let previous =
            "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"eth0\",\"mtu\":\(number)}],"
            + "\"ips\":[{\"address\":\"10.0.0.2/24\",\"interface\":\(number)}],\"routes\":[{\"dst\":\"10.9.0.0/16\","
            + "\"mtu\":\(number),\"table\":\(number),\"priority\":\(number),\"scope\":\(number)}]}"
        for role in ["bridge", "macvlan", "tuning"] {
            for keys in [
                "\"mtu\":\(number)", "\"vlan\":\(number)",
                "\"vlanTrunk\":[{\"minID\":\(number),\"maxID\":\(number)}]",
                "\"txQLen\":\(number)", "\"bcqueuelen\":\(number)", "\"unknown\":\(number)", previous,
            ] {
                for verb in ["CHECK", "DEL"] {
                    let answer = try node.plugin(verb, role, keys)
                    #expect(
                        answer.status == 0 || (answer.status == 1 && answer.code > 0),
                        "\(role) \(keys): \(answer.ran)")
                }
            }
        }
    }

    @Test func namesThatNoLinkHasCrashNothing() throws {
        let long = String(repeating: "a", count: 9000)
        for name in [long, "", "a/b", "..", "ü", String(repeating: "ü", count: 5000)] {
            let previous = "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"\(name)\"}]}"
            for role in ["bridge", "macvlan", "ipvlan", "tuning", "route-override", "host-device"] {
                for verb in ["ADD", "CHECK", "DEL"] {
                    let answer = try node.plugin(verb, role, "\"master\":\"x\",\"device\":\"x\",\(previous)")
                    #expect(
                        answer.status == 0 || (answer.status == 1 && answer.code > 0),
                        "\(role) \(verb): \(answer.ran)")
                }
            }
        }
        for verb in ["ADD", "DEL"] {
            let answer = try node.plugin(verb, "bridge", #""macspoofchk":true"#, id: long)
            #expect(answer.code == 4, "\(answer.ran)")
        }
    }

    /// A pod that may change its network has a route that IPv4 and IPv6 are both in.
    @Test func aRouteOfThePodsCrashesNothing() throws {
        try node.sh(
            "ip link add in type veth peer name ni && ip link set in up && ip link set ni up", pod: "a")
        try node.sh("ip -6 route add ::ffff:1.2.3.0/120 dev in", pod: "a")
        try node.sh("ip -6 route add default dev in && ip route add default dev in", pod: "a")
        let config = MetaEndToEnd.config(
            node, networks: "[{\"name\":\"net-a\",\"default-route\":[\"192.168.12.1\"]}]")
        let added = try add(config)
        #expect(added.status == 0, "\(added.ran)")
        for verb in ["CHECK", "DEL"] {
            let answer = try node.call(verb, netns: netns, args: MetaEndToEnd.pod, config)
            #expect(answer.status == 0 || answer.code > 0, "\(answer.ran)")
        }
        #expect(try node.links(pod: "a") == ["in", "ni"])
    }

    // MARK: The process

    /// The runtime's open files are not the plugin's either; old kernels, and filters of system calls, know no
    /// close_range.
    @Test(arguments: [[], ["strace", "-f", "-o", "/dev/null", "-e", "inject=close_range:error=ENOSYS"]])
    func pluginsGetNothingOfOurs(tracer: [String]) throws {
        try node.script("mine", "ls -l /proc/self/fd; cat /proc/self/status; exit 0\n")
        try node.write(
            "plugins/mine",
            """
            #!/bin/sh
            env > \(node.directory)/mine.env
            ls /proc/self/fd > \(node.directory)/mine.fds; grep Sig /proc/self/status > \(node.directory)/mine.signals
            [ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.0.0"}'
            """)
        let hostile = [
            "LD_PRELOAD": "/none/such.so", "LD_LIBRARY_PATH": "/none", "LD_AUDIT": "/none/such.so",
            "BASH_ENV": "/none",
            "ENV": "/none", "IFS": "x", "PYTHONPATH": "/none", "GCONV_PATH": "/none", "CNI_EVIL": "1",
            "SECRET": "1",
            "NOTIFY_SOCKET": "/none", "HTTPS_PROXY": "x", "CNI_NETNS_OVERRIDE": "0",
        ]
        let variables = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
            "CNI_PATH": "\(node.directory)/plugins", "CNI_ARGS": "",
        ].merging(hostile) { own, _ in own }
        let config = """
            {"cniVersion":"1.0.0","name":"n","type":"plexus","cniDir":"\(node.directory)/state",\
            "delegates":[{"cniVersion":"1.0.0","name":"d","type":"mine"}]}
            """
        let line = "exec 7</dev/null 77</dev/null 777</dev/null; exec ip netns exec \"$@\""
        let ran = try Shell.run(
            ["bash", "-c", line, "bash", node.name] + tracer + ["\(node.directory)/bin/plexus"],
            input: config, environment: variables)
        #expect(ran.status == 0, "\(ran)")
        let names = Set(
            try Shell.sh("cut -d= -f1 \(node.directory)/mine.env").split(separator: "\n").map(String.init))
        #expect(
            names.subtracting([
                "PATH", "HOME", "LANG", "TZ", "TMPDIR", "PWD", "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS",
                "CNI_IFNAME", "CNI_NETNS_OVERRIDE",
                "CNI_ARGS", "CNI_PATH", "OLDPWD", "_", "SHLVL",
            ]).isEmpty, "\(names)")
        // 3 is the folder that ls lists.
        let descriptors = Set(try Shell.sh("cat \(node.directory)/mine.fds").split(separator: "\n"))
        #expect(descriptors.subtracting(["0", "1", "2", "3"]).isEmpty, "\(descriptors)")
        let signals = try Shell.sh("cat \(node.directory)/mine.signals")
        // SIGPIPE, which we ignore, is number 13.
        let ignored = signals.split(separator: "\n").first { $0.hasPrefix("SigIgn") }?.split(separator: "\t")
            .last
        let mask = try #require(ignored.flatMap { UInt64($0, radix: 16) })
        #expect(mask & 1 << 12 == 0 && signals.contains("SigBlk:\t0000000000000000"), "\(signals)")

    }

    /// A pipe that is full and that nobody reads: what waits for the attachment's lock goes on after a while.
    @Test(arguments: ["plexus", "bridge"])
    func whoDoesNotReadTheAnswerHoldsNobody(role: String) throws {
        let single = #"{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":"b1"}"#
        try node.write("config.json", role == "plexus" ? MetaEndToEnd.config(node) : single)
        let line = """
            mkfifo \(node.directory)/pipe; exec 8<>\(node.directory)/pipe; head -c 65536 /dev/zero >&8
            call() {
                env CNI_COMMAND=$1 CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_NETNS=\(netns) CNI_PATH=/x \
                'CNI_ARGS=\(MetaEndToEnd.pod)' \(node.directory)/bin/\(role) < \(node.directory)/config.json
            }
            call ADD >&8 & sleep 1; call DEL; wait $!; echo "ended with $?"
            """
        let ran = try Shell.run(["ip", "netns", "exec", node.name, "timeout", "60", "bash", "-c", line])
        #expect(ran.output == "ended with 1\n", "\(ran)")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    /// Of a runtime that works with an event loop.
    @Test func aNonBlockingInputIsWaitedFor() throws {
        let pipe = Pipe()
        _ = fcntl(pipe.fileHandleForReading.fileDescriptor, F_SETFL, O_NONBLOCK)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus"]
        process.environment = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": netns, "CNI_IFNAME": "eth0",
            "CNI_PATH": "/x", "CNI_ARGS": MetaEndToEnd.pod, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        process.standardInput = pipe
        process.standardOutput = FileHandle.nullDevice
        try node.write("config.json", MetaEndToEnd.config(node))
        let file = "\(node.directory)/config.json"
        let writer = Process()
        writer.executableURL = URL(fileURLWithPath: "/bin/sh")
        writer.arguments = ["-c", "sleep 0.3; head -c 40 \(file); sleep 0.3; tail -c +41 \(file)"]
        writer.standardOutput = pipe
        try process.run()
        try writer.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
    }

    /// A runtime that hangs up, or that never opened the standard descriptors.
    @Test(arguments: ["<&-", ">&-", "2>&-", ">&- 2>&-", "2> >(exec true)", "> >(exec true)"])
    func closedDescriptorsDamageNothing(redirection: String) throws {
        let config = MetaEndToEnd.config(node, extra: ",\"logLevel\":\"debug\"")
        try node.write("config.json", config)
        func call(_ verb: String, _ redirection: String) throws -> Ran {
            let input = redirection.hasPrefix("<") ? "" : "< \(node.directory)/config.json"
            let line = """
                ip netns exec \(node.name) env -i PATH=$PATH CNI_COMMAND=\(verb) CNI_CONTAINERID=c1 CNI_IFNAME=eth0 \
                CNI_NETNS=\(netns) CNI_PATH=/x 'CNI_ARGS=\(MetaEndToEnd.pod)' \
                \(node.directory)/bin/plexus \(input) \(redirection)
                """
            return try Shell.run(["bash", "-c", line])
        }
        let added = try call("ADD", redirection)
        // A result that nobody reads undoes the ADD; whether the reader was gone in time is chance.
        if redirection != "> >(exec true)" {
            #expect(added.status == (redirection.hasPrefix("2>") ? 0 : 1), "\(added)")
        }
        let records = try node.files("state/attachments").filter { $0.hasSuffix(".json") }
        #expect(records.isEmpty == (added.status != 0))
        for record in records {
            let text = try Shell.sh("cat \(node.directory)/state/attachments/\(record)")
            let lines = text.split(separator: "\n").map(String.init)
            #expect(try lines.count == 2 && Tree(parsing: lines[0])["containerID"].string == "c1", "\(text)")
            #expect(try Tree(parsing: lines[1])["attached"].list.count == 2, "\(text)")
        }
        let deleted = try call("DEL", redirection)
        #expect(deleted.status == (redirection.hasPrefix("<") ? 1 : 0), "\(deleted)")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    /// A result that cannot be written is none: nothing stays of the ADD that made it.
    @Test(arguments: ["bridge", "host-local"])
    func whatCannotBeAnsweredIsUndone(role: String) throws {
        let ipam = Node.ipam("10.1.2.0/24").replacing("DIR", with: node.directory)
        try node.write(
            "config.json", "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"\(role)\",\(ipam)}")
        func add(_ redirection: String) throws -> Ran {
            let line = """
                ip netns exec \(node.name) env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_NETNS=\(netns) \
                CNI_PATH=/x \(node.directory)/bin/\(role) < \(node.directory)/config.json \(redirection)
                """
            return try Shell.run(["bash", "-c", line])
        }
        #expect(try add("> /dev/full").status == 1)
        #expect(try node.links(pod: "a").isEmpty && node.leases().isEmpty)
        #expect(try add("").status == 0)
        #expect(try node.leases().count == 1)
    }
}
