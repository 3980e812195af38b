import CNI
import Modules
import Networking
import Plans
import Testing

@Suite struct TuningTests {
    static let backup = "/run/cni/tuning/c1_eth0.json"

    static func pod() throws -> Attachment {
        try Pod.attachment(previous: Pod.result("veth1", "eth0 02:00:00:00:00:01"))
    }

    /// The pod's link, with the sysctls that it has.
    static func facts(_ sysctls: String...) throws -> Facts {
        var facts = Facts([
            .sandbox("eth0"): LinkFacts(
                index: 3, kind: "veth", mac: try Pod.mac("02:00:00:00:00:01"), peerIndex: 7),
            .host("veth1"): LinkFacts(index: 7, kind: "veth", peerIndex: 3),
        ])
        for path in sysctls { facts.sysctls[SysctlName(.sandbox, path)] = "1" }
        return facts
    }

    // MARK: Sysctls

    @Test("TU-01, TU-02: names with dots or slashes, of the pod's own interface too")
    func sysctls() throws {
        for (key, path) in [
            ("net.core.somaxconn", "net/core/somaxconn"), ("net/core/somaxconn", "net/core/somaxconn"),
            ("net.ipv4.conf.IFNAME.rp_filter", "net/ipv4/conf/eth0/rp_filter"),
            ("net/ipv4/conf/IFNAME/rp_filter", "net/ipv4/conf/eth0/rp_filter"),
            ("net.ipv4.conf.eth0.100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ] {
            let keys = #""sysctl":{"\#(key)":"5"}"#
            let plan = try Tuning.configure(Tuning.config(keys), Self.pod(), Self.facts(path))
            #expect(plan.steps == [.sysctl(SysctlChange(.sandbox, path, "5", .saved))], "\(key)")
            #expect(plan.result == (try Self.pod().previous))
        }
        let missing = refusal {
            _ = try Tuning.planned(#""sysctl":{"net.core.nothing":"5"}"#, Self.pod(), Self.facts())
        }
        #expect(missing.contains("net.core.nothing does not exist"))
    }

    @Test(
        "TU-03: what is not the pod's is refused",
        arguments: ["../kernel/x", "kernel.hostname", "net", "net..x", "net/../../x", "net.core.a b"])
    func otherSysctls(key: String) {
        #expect(
            refusal { _ = try Tuning.config(#""sysctl":{"\#(key)":"1"}"#) }.contains("invalid net sysctl key")
        )
    }

    @Test("TU-13: what the pod asks for goes before the configuration's")
    func arguments() throws {
        let path = "net/core/somaxconn"
        let keys =
            #""sysctl":{"net.core.somaxconn":"5"},"args":{"cni":{"sysctl":{"net/core/somaxconn":"6"}}}"#
        let steps = try Tuning.configure(Tuning.config(keys), Self.pod(), Self.facts(path)).steps
        #expect(steps == [.sysctl(SysctlChange(.sandbox, path, "6", .saved))])
    }

    @Test(
        "TU-05: an allow list decides",
        arguments: [
            (nil, true), ("", false), ("\n \n", false), ("^net\\.core\\.\n", true), ("  somaxconn  ", true),
            ("ipv4\ncore", true), ("^net/core", false), ("ipv6", false), ("net\\.core\\.[a-z]+$", true),
            ("(", false),
        ] as [(String?, Bool)])
    func allowList(list: String?, isAllowed: Bool) throws {
        let config = try Tuning.config(#""sysctl":{"net.core.somaxconn":"5"}"#)
        var facts = try Self.facts("net/core/somaxconn")
        if let list { facts.files[Tuning.allowList] = list }
        guard !isAllowed else {
            #expect(try Tuning.configure(config, Self.pod(), facts).steps.count == 1)
            return
        }
        let error = #expect(throws: Failure.self) { try Tuning.configure(config, Self.pod(), facts) }
        let text = "\(error?.message ?? "") \(error?.details ?? "")"
        #expect(text.contains("allowlist.conf") && (text.contains("is not allowed") || list == "("))
    }

    // MARK: The link

    @Test(
        "TU-07, TU-08: each property is changed once the original is in the backup file",
        arguments: [
            (#""mac":"02:00:00:00:00:05""#, #"{"mac":"02:00:00:00:00:01"}"#, "address 02:00:00:00:00:05"),
            (#""mtu":1400"#, #"{"mtu":1500}"#, "mtu 1400"),
            (#""promisc":true"#, #"{"promisc":false}"#, "promisc on"),
            (#""allmulti":false"#, #"{"allmulti":false}"#, "allmulticast off"),
            (#""txQLen":0"#, #"{"txQLen":1000}"#, "txqueuelen 0"),
        ])
    func link(keys: String, original: String, words: String) throws {
        let steps = try Tuning.configure(Tuning.config(keys), Self.pod(), Self.facts()).steps
        guard case .write(Self.backup, let text)? = steps.first?.of(FileStep.self) else {
            Issue.record("\(steps)")
            return
        }
        #expect(text.filter { !$0.isWhitespace } == original)
        #expect(commands(Array(steps.dropFirst())) == ["ip -n POD link set dev eth0 \(words)"])
    }

    @Test("TU-08: what changes nothing of the link writes no file")
    func nothing() throws {
        #expect(try Tuning.planned(#""mtu":0,"promisc":false"#, Self.pod(), Self.facts()).isEmpty)
    }

    @Test("TU-06: of several MAC addresses the last place counts, and the result says it as it was written")
    func requestedMAC() throws {
        let own = #""mac":"02:00:00:00:00:A1""#
        let runtime = #""runtimeConfig":{"mac":"02:00:00:00:00:A3"}"#
        let arguments = #""args":{"cni":{"mac":"02:00:00:00:00:A4"}}"#
        for (keys, args, last) in [
            (own, "", "A1"), (own, "MAC=02:00:00:00:00:A2", "A2"),
            ("\(own),\(runtime)", "MAC=02:00:00:00:00:A2", "A3"),
            ("\(own),\(runtime),\(arguments)", "", "A4"),
        ] {
            let plan = try Tuning.configure(Tuning.config(keys, args: args), Self.pod(), Self.facts())
            #expect(plan.result.interfaces.map(\.mac) == [nil, "02:00:00:00:00:\(last)"])
        }
        #expect(refusal { _ = try Tuning.config(#""mac":"01:00:00:00:00:01""#) }.contains("for MAC addr"))
    }

    @Test("in the meta role the other end of a pair gets an MTU that is above its own")
    func peer() throws {
        for (mtu, rules, count) in [
            (9000, .meta, 1), (1400, .meta, 0), (9000, .reference, 0),
        ] as [(Int, RoleRules, Int)] {
            let config = try Tuning.config(#""mtu":\#(mtu)"#, rules: rules)
            let planned = commands(try Tuning.configure(config, Self.pod(), Self.facts()).steps)
            #expect(planned.count { $0 == "ip link set dev veth1 mtu \(mtu)" } == count, "\(mtu)")
        }
    }

    @Test("TU-14: without a plugin before it there is nothing to tune")
    func alone() throws {
        #expect(
            refusal { _ = try Tuning.planned("", Pod.attachment()) }.contains("Required prevResult missing"))
        var facts = try Self.facts()
        facts.links[.sandbox("eth0")] = nil
        #expect(refusal { _ = try Tuning.planned(#""mtu":1400"#, Self.pod(), facts) }.contains("not found"))
    }

    @Test("the kernel is asked for what is changed")
    func needs() throws {
        let pod = try Self.pod()
        #expect(try Tuning.needs(Tuning.config(""), pod, .add) == FactsQuery(files: [Tuning.allowList]))
        #expect(try Tuning.needs(Tuning.config(#""mtu":1400"#), pod, .add).links == [.eth0])
        #expect(
            try Tuning.needs(Tuning.config(#""mtu":1400"#, rules: .meta), pod, .add).links == [
                .eth0, .host("veth1"),
            ])
        #expect(
            try Tuning.needs(Tuning.config("", .del), pod, .del)
                == FactsQuery(links: [.eth0], files: [Self.backup]))
    }

    // MARK: DEL and CHECK

    @Test("TU-09, TU-10: DEL puts back what the file and the record say, and goes on without either")
    func removal() throws {
        var pod = try Self.pod()
        #expect(try Tuning.removed("", pod) == Removal())
        pod.saved = ["net/core/somaxconn": "128"]
        var facts = try Self.facts()
        facts.files[Self.backup] = #"{"mac":"02:00:00:00:00:07","mtu":1450,"promisc":false,"txQLen":1000}"#
        facts.links.update(.eth0) { $0.isPromiscuous = true }
        let removal = try Tuning.removed("", pod, facts)
        #expect(
            removal.restores == [
                .sysctl(SysctlChange(.sandbox, "net/core/somaxconn", "128", .ensured)),
                .change(.eth0, .mac(try Pod.mac("02:00:00:00:00:07"))), .change(.eth0, .mtu(1450)),
                .change(.eth0, .promiscuous(false)),
            ])
        #expect(commands(removal.steps) == ["rm \(Self.backup)"])
        facts.files[Self.backup] = "torn"
        #expect(commands(try Tuning.removed("", Self.pod(), facts).steps) == ["rm \(Self.backup)"])
        #expect(try Tuning.removed("", Self.pod(), facts).restores.isEmpty)
        #expect(refusal { _ = try Tuning.config(#""mac":"x","sysctl":{"a":"b"}"#, .del) } == "none")
        // By the file alone, without a configuration.
        #expect(Tuning.note(pod) == Self.backup)
        #expect(commands(Tuning.removal(noteOf: pod, facts).steps) == ["rm \(Self.backup)"])
    }

    @Test("TU-11, TU-12: CHECK finds each property that was changed, whatever its spelling")
    func check() throws {
        let pod = try Self.pod()
        let previous = try #require(pod.previous)
        let somaxconn = SysctlName(.sandbox, "net/core/somaxconn")
        let ports = SysctlName(.sandbox, "net/ipv4/ip_local_port_range")
        var facts = try Self.facts()
        facts.sysctls[somaxconn] = "5"
        facts.sysctls[ports] = "1024\t2048"
        for (keys, problem) in [
            (#""sysctl":{"net.core.somaxconn":"5","net.ipv4.ip_local_port_range":"1024 2048"}"#, "none"),
            (#""sysctl":{"net.core.somaxconn":"6"}"#, "is 5, the configuration says 6"),
            (#""sysctl":{"net.core.nothing":"6"}"#, "is absent"),
            (#""mac":"02:00:00:00:00:01","mtu":1500,"txQLen":1000"#, "none"),
            (#""mac":"02:00:00:00:00:02""#, "configured MAC of eth0"),
            (#""mtu":1400"#, "configured MTU of eth0"),
            (#""promisc":true"#, "configured promisc of eth0"),
            (#""allmulti":true"#, "configured allmulti of eth0"),
            (#""txQLen":5"#, "configured txQLen of eth0"),
        ] { #expect(Tuning.checked(keys, pod, previous, facts).contains(problem), "\(keys)") }
        facts.links[.sandbox("eth0")] = nil
        #expect(Tuning.checked(#""mtu":1500"#, pod, previous, facts).contains("interface eth0 not found"))
    }
}
