import Support
import Testing

/// `plexus cache`: what kubectl prints becomes what an ADD reads.
@Suite struct CacheRows {
    private let node: Node

    init() throws { node = try Node() }

    private func cache(_ words: String..., input: String = "") throws -> Ran {
        try Shell.run(
            ["\(node.directory)/bin/plexus", "cache"] + words + ["--cache-dir", "\(node.directory)/cache"],
            input: input, environment: [:])
    }

    private func definition(
        _ name: String, version: Int, namespace: String = "default", bridge: String = "mybr0"
    ) -> String {
        let config = MetaEndToEnd.article.replacing("DIR", with: node.directory).replacing(
            "mybr0", with: bridge)
        return """
            {"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"\(name)",\
            "namespace":"\(namespace)","resourceVersion":"\(version)"},"spec":{"config":"\(config.replacing("\"", with: "\\\""))"}}
            """
    }

    private func pod(_ name: String, networks: String, on place: String = "n1") -> String {
        """
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"\(name)","namespace":"default","resourceVersion":"5",\
        "annotations":{"k8s.v1.cni.cncf.io/networks":"\(networks)"}},"spec":{"nodeName":"\(place)","containers":[]}}
        """
    }

    private func list(_ items: String...) -> String {
        "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\(items.joined(separator: ","))]}"
    }

    @Test("what is imported is what an ADD attaches")
    func import_() throws {
        let ran = try cache(
            "import", input: list(definition("net-a", version: 7), pod("pod-a", networks: "net-a")))
        #expect(ran.status == 0 && ran.errors.isEmpty, "\(ran)")
        #expect(ran.output == "2 added, 0 updated, 0 unchanged, 0 older, 0 removed, 0 refused\n")
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod, MetaEndToEnd.config(node, networks: nil))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.addresses("net1", pod: "a") == ["192.168.12.10/24"])
        #expect(try Shell.sh("stat -c %a \(node.directory)/cache/pods/default/pod-a.json") == "644\n")
    }

    @Test("no older state replaces a newer one, and a file that a person wrote stays the only one")
    func versions() throws {
        try node.define("net-a", MetaEndToEnd.article)
        for (version, bridge, said) in [
            (10, "b10", "0 added, 1 updated"), (9, "b9", "0 updated, 0 unchanged, 1 older"),
            (10, "b10", "1 unchanged"),
            (11, "b11", "1 updated"),
        ] {
            let ran = try cache("import", input: definition("net-a", version: version, bridge: bridge))
            #expect(ran.status == 0 && ran.output.contains(said), "\(ran)")
        }
        #expect(try node.files("cache/net-attach-def") == ["default/net-a.yaml"])
        #expect(try cache("show", "net-attach-def", "net-a").output.contains("b11"))
        try node.write("cache/net-attach-def/default/net-a.json", "{}")
        let both = try cache("import", input: definition("net-a", version: 12))
        #expect(both.status == 1 && both.errors.contains("both exist"), "\(both)")
    }

    @Test("what is gone goes with --prune: of the kinds that are there, the namespace and the node")
    func prune() throws {
        let first = list(
            definition("net-a", version: 1), definition("net-b", version: 1),
            definition("net-c", version: 1, namespace: "other"), pod("pod-a", networks: "net-a"),
            pod("pod-b", networks: "net-a", on: "n2"))
        #expect(try cache("import", input: first).status == 0)
        let some = list(definition("net-a", version: 1))
        let inOne = try cache("import", "--prune", "--namespace", "default", input: some)
        #expect(inOne.output.contains("1 removed"), "\(inOne)")
        #expect(try node.files("cache/net-attach-def") == ["default/net-a.json", "other/net-c.json"])
        #expect(try node.files("cache/pods") == ["default/pod-a.json", "default/pod-b.json"])
        let all = try cache(
            "import", "--prune", "--node", "n1", "-o", "json",
            input: list(
                definition("net-a", version: 1), pod("pod-a", networks: "net-a"),
                pod("pod-b", networks: "net-a", on: "n2")))
        let report = try Tree(parsing: all.output)
        #expect(report["version"].int == 1)
        #expect(
            report["removed"].list.map(\.string) == ["net-attach-def other/net-c", "pod default/pod-b"],
            "\(all)")
        #expect(try node.files("cache/pods") == ["default/pod-a.json"])
    }

    @Test("nothing is removed by an input that is not all, or that is old; of an empty one the kind is named")
    func notAll() throws {
        let all = list(definition("net-a", version: 10), definition("net-b", version: 11))
        #expect(try cache("import", input: all).status == 0)
        for (input, words) in [
            (definition("net-a", version: 10), "the input is no List"),
            (list(definition("net-a", version: 9)), "the input is older than the cache"),
        ] {
            let ran = try cache("import", "--prune", input: input)
            #expect(ran.errors.contains("nothing was removed, as \(words)"), "\(ran)")
            #expect(try node.files("cache/net-attach-def").count == 2)
        }
        #expect(try cache("import", "--prune", input: list()).output.contains("0 removed"))
        let none = try cache("import", "--prune", "--kind", "net-attach-def", input: list())
        #expect(none.status == 0 && none.output.contains("2 removed"), "\(none)")
    }

    @Test("YAML that was cut off, wherever, changes nothing with --prune")
    func torn() throws {
        let names = ["my", "mynet", "mynet-2"]
        let items = names.map { name in
            """
            - apiVersion: k8s.cni.cncf.io/v1
              kind: NetworkAttachmentDefinition
              metadata:
                name: \(name)
                namespace: default
                resourceVersion: "7"
              spec:
                config: |
                  {"cniVersion":"1.0.0","type":"bridge"}

            """
        }
        let whole =
            "apiVersion: v1\nitems:\n\(items.joined())kind: List\nmetadata:\n  resourceVersion: \"\"\n"
        #expect(try cache("import", input: whole).output.hasPrefix("3 added"))
        let before = try Shell.sh("cat \(node.directory)/cache/net-attach-def/default/*")
        for end in stride(from: 1, to: whole.utf8.count - 40, by: 17) {
            let ran = try cache("import", "--prune", input: String(whole.prefix(end)))
            #expect(ran.status == 1, "\(end): \(ran)")
        }
        #expect(try Shell.sh("cat \(node.directory)/cache/net-attach-def/default/*") == before)
    }

    @Test(
        "what cannot be stored is named with its place, and nothing is removed by half of a list",
        arguments: [
            (#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x"}}"#, "items[1]: kind is Secret"),
            (#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"../x"}}"#, "no Kubernetes name"),
            (
                #"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","namespace":"../.."}}"#,
                "is no namespace"
            ),
            (#"{"kind":"Pod","apiVersion":"v1"}"#, "metadata is missing"),
            (
                #"{"kind":"NetworkAttachmentDefinition","apiVersion":"v1","metadata":{"name":"x"}}"#,
                "apiVersion"
            ),
            ("7", "items[1]"), ("{\"kind\"", "items[1]"),
        ])
    func refused(item: String, words: String) throws {
        #expect(try cache("import", input: definition("net-z", version: 1)).status == 0)
        let before = try node.files("cache").count
        let ran = try cache("import", "--prune", input: list(definition("net-a", version: 1), item))
        #expect(ran.status == 1 && ran.errors.contains(words), "\(ran)")
        #expect(ran.errors.contains("nothing was removed"))
        #expect(try node.files("cache").count == before + 1)
    }

    @Test(
        "what kubectl prints without an API server is an error, and a definition that no pod can use is named"
    )
    func problems() throws {
        let empty = try cache("import")
        #expect(empty.status == 1 && empty.errors.contains("stdin: it is empty"), "\(empty)")
        let bad = try cache(
            "import",
            input: definition("net-a", version: 1).replacing("\\\"type\\\":\\\"bridge\\\",", with: ""))
        #expect(bad.status == 0 && bad.errors.contains("net-attach-def default/net-a: spec.config"), "\(bad)")
        let listed = try cache("list")
        #expect(
            listed.output.contains("net-attach-def  default    net-a  unusable: spec.config"), "\(listed)")
        let none = try cache("show", "pod", "x")
        #expect(none.status == 1 && none.errors.contains("there is no pod default/x"), "\(none)")
    }

    @Test(
        "an object of another UID is taken, whatever its version; what is older is named, and taken with --replace"
    )
    func another() throws {
        func object(_ version: Int, _ bridge: String, uid: String) -> String {
            definition("net-a", version: version, bridge: bridge).replacing(
                "\"resourceVersion\"", with: "\"uid\":\"\(uid)\",\"resourceVersion\"")
        }
        #expect(try cache("import", input: object(1000, "b1", uid: "u1")).status == 0)
        let older = try cache("import", input: object(10, "b2", uid: "u1"))
        #expect(
            older.output.contains("1 older")
                && older.errors.contains("net-attach-def default/net-a: it is older"))
        #expect(older.errors.contains("--replace"), "\(older)")
        let another = try cache("import", input: object(10, "b3", uid: "u2"))
        #expect(
            another.output.contains("1 updated") && another.errors.contains("another object"), "\(another)")
        #expect(try cache("show", "net-attach-def", "net-a").output.contains("b3"))
        let replaced = try cache("import", "--replace", input: object(9, "b4", uid: "u2"))
        #expect(replaced.output.contains("1 updated") && replaced.errors.isEmpty, "\(replaced)")
    }

    @Test("a misspelt node removes no pods; pods of other nodes are counted")
    func otherNode() throws {
        let input = list(
            definition("net-a", version: 1), pod("pod-a", networks: "net-a"),
            pod("pod-b", networks: "net-a", on: "n2"))
        let right = try cache("import", "--prune", "--node", "n1", input: input)
        #expect(right.output.hasSuffix(", 1 of other nodes\n") && right.errors.isEmpty, "\(right)")
        let wrong = try cache("import", "--prune", "--node", "wrong", input: input)
        #expect(wrong.output.contains("0 removed") && wrong.output.contains("2 of other nodes"), "\(wrong)")
        #expect(
            wrong.errors.contains("no pod of the input is on the node wrong, 2 are on others (n1, n2)"),
            "\(wrong)")
        #expect(try node.files("cache/pods") == ["default/pod-a.json"])
    }

    @Test("an empty List without --kind says that nothing is removed", arguments: ["[]", "null"])
    func empty(items: String) throws {
        #expect(try cache("import", input: definition("net-a", version: 1)).status == 0)
        let input = "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":\(items)}"
        for input in [input, "apiVersion: v1\nitems: \(items)\nkind: List\n"] {
            let ran = try cache("import", "--prune", input: input)
            #expect(
                ran.status == 0 && ran.errors.contains("nothing was removed, as the List is empty"), "\(ran)")
        }
        let named = try cache("import", "--prune", "--kind", "net-attach-def", input: input)
        #expect(named.status == 0 && named.output.contains("1 removed"), "\(named)")
    }

    @Test("a definition that every ADD refuses is stored and named; where plugins are missing nobody knows")
    func wouldBeRefused() throws {
        let bad = definition("net-a", version: 1).replacing("rangeStart", with: "rangeStrat")
        let ran = try cache("import", input: bad)
        #expect(
            ran.status == 0 && ran.output.contains("1 added") && ran.errors.contains("rangeStrat"), "\(ran)")
        #expect(try cache("import", input: bad).errors.isEmpty)
        let external = definition("net-b", version: 1).replacing(
            "\\\"type\\\":\\\"bridge\\\"", with: "\\\"type\\\":\\\"other\\\"")
        let other = try cache("import", input: external)
        #expect(other.status == 0 && other.errors.isEmpty, "\(other)")
    }

    @Test("list lines up, and removes go")
    func list_() throws {
        let input = list(
            definition("net-a", version: 7), definition("a-longer-name", version: 7, namespace: "ns-2"),
            pod("pod-a", networks: "net-a@data0"))
        #expect(try cache("import", input: input).status == 0)
        let listed = try cache("list")
        #expect(
            listed.output == """
                KIND            NAMESPACE  NAME           ABOUT
                net-attach-def  default    net-a          bridge
                net-attach-def  ns-2       a-longer-name  bridge
                pod             default    pod-a          net-a@data0

                """)
        #expect(listed.errors.hasSuffix(" s ago\n"))
        let json = try Tree(parsing: try cache("list", "pod", "-o", "json").output)
        #expect(json["objects"].list.map { $0["name"].string } == ["pod-a"])
        #expect(try cache("remove", "net-attach-def", "ns-2/a-longer-name", "net-a").status == 0)
        #expect(try node.files("cache/net-attach-def").isEmpty)
        #expect(try cache("remove", "pod", "nope").status == 1)
    }

    @Test("T02: STATUS says that the cache is stale, where it is asked to")
    func stale() throws {
        func status(_ age: String) throws -> Answer {
            try node.call(
                "STATUS", id: "", netns: "",
                MetaEndToEnd.config(node, version: "1.1.0", networks: nil, extra: ",\"maxCacheAge\":\(age)"))
        }
        let never = try status("60")
        #expect(never.code == 50 && never.message.contains("nobody has filled the cache"), "\(never.ran)")
        // One object says nothing of the others' age.
        #expect(try cache("import", input: definition("net-a", version: 1)).status == 0)
        #expect(try status("60").code == 50)
        #expect(try cache("import", input: list(definition("net-a", version: 1))).status == 0)
        #expect(try status("60").status == 0)
        try node.write("cache/imported.json", "{\"time\":\(1_700_000_000)}")
        let old = try status("60")
        #expect(old.code == 50 && old.message.contains("maxCacheAge is 60 s"), "\(old.ran)")
        #expect(try status("0").code == 7)
        // Pods say nothing of the definitions' age.
        for input in [list(), list(pod("pod-a", networks: "net-a"))] {
            #expect(try cache("import", "--kind", "pod", input: input).status == 0)
            let pods = try status("60")
            #expect(pods.code == 50 && pods.message.contains("maxCacheAge is 60 s"), "\(pods.ran)")
        }
        #expect(try cache("import", "--kind", "net-attach-def", input: list()).status == 0)
        #expect(try status("60").status == 0)
        // A clock that was set back.
        try node.write("cache/imported.json", "{\"net-attach-def\":\(4_000_000_000)}")
        let future = try status("60")
        #expect(future.code == 50 && future.message.contains("in the future"), "\(future.ran)")
    }

    @Test("pods' age counts where the runtime is not asked for annotations")
    func stalePods() throws {
        func status() throws -> Answer {
            let config = MetaEndToEnd.config(
                node, version: "1.1.0", networks: nil, extra: ",\"maxCacheAge\":60")
            return try node.call(
                "STATUS", id: "", netns: "",
                config.replacing(#""capabilities":{"io.kubernetes.cri.pod-annotations":true},"#, with: ""))
        }
        #expect(try cache("import", "--kind", "net-attach-def", input: list()).status == 0)
        let stale = try status()
        #expect(stale.code == 50 && stale.message.contains("with pods"), "\(stale.ran)")
        #expect(try cache("import", "--kind", "pod", input: list()).status == 0)
        #expect(try status().status == 0)
    }

    @Test(
        "A35: a definition that is missing is waited for while the cache is old, and refused when it is new")
    func missing() throws {
        let netns = try node.pod("a")
        func add(_ age: String) throws -> Answer {
            try node.call(
                "ADD", netns: netns, args: StatusRows.args(),
                MetaEndToEnd.config(node, networks: "nowhere", extra: age))
        }
        let never = try add(",\"maxCacheAge\":60")
        #expect(never.code == 11 && never.message.contains("(nowhere)"), "\(never.ran)")
        #expect(never.details.contains("nobody has filled the cache"))
        #expect(try cache("import", input: list(definition("net-a", version: 1))).status == 0)
        #expect(try add(",\"maxCacheAge\":60").code == 7)
        try node.write("cache/imported.json", "{\"time\":\(1_700_000_000)}")
        #expect(try add(",\"maxCacheAge\":60").code == 11)
        #expect(try add("").code == 7)
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }
}
