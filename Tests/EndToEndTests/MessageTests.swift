import Foundation
import Support
import Testing

/// Errors and lines of the log that say it once, and whose.
@Suite struct SaidOnce {
    private func refused(_ node: Node, _ config: String, pod: String = "a") throws -> Answer {
        let answer = try node.call("ADD", netns: try node.pod(pod), args: MetaEndToEnd.pod, config)
        #expect(answer.status == 1, "\(answer.ran)")
        #expect(!repeats(answer.message), "\(answer.message)")
        #expect(!repeats(answer.json["details"].string ?? ""), "\(answer.ran.output)")
        return answer
    }

    /// `bridge: bridge:`, `Permission denied: Permission denied`, `of default or of default`.
    private func repeats(_ text: String) -> Bool {
        text.contains(/(?:^|[ (])([^ ][^:;(]*)(?:: | \(| or | and )\1(?:$|[ :;),])/)
    }

    /// What the table of errors says of a plugin alone, inside the meta-plugin.
    @Test(
        arguments: ErrorTable.rows.filter { row in
            row.verb == "ADD"
                && !["runtimeConfig", "prevResult", "\"name\"", "9.9"].contains(where: row.keys.contains)
        })
    func inTheMetaRole(row: ErrorTable.Row) throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        let keys = row.keys.replacing("DIR", with: node.directory)
        let type = ["host-local", "static"].contains(row.plugin) ? "bridge" : row.plugin
        if !row.given.isEmpty {
            try node.sh(
                row.given.replacing("DIR", with: node.directory).replacing("POD", with: "\(node.name)-a")
                    .replacing("eth0", with: "net1"))
        }
        try node.define(
            "row", #"{"cniVersion":"1.0.0","type":"\#(type)"\#(keys.isEmpty ? "" : ",")\#(keys)}"#)
        let answer = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node, networks: "row"))
        let text = answer.ran.output
        #expect(!repeats(answer.message) && !repeats(answer.json["details"].string ?? ""), "\(text)")
    }

    @Test func thePrefixIsNotRepeated() throws {
        let node = try MetaEndToEnd.node()
        try node.define("long", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"sixteen-bytes-ab"}"#)
        let answer = try refused(node, MetaEndToEnd.config(node, networks: "long"))
        #expect(answer.message.hasPrefix("default/long on net1: bridge: the name"), "\(answer.message)")
    }

    /// As where a disk has become read-only.
    @Test func aRefusedLockSaysWhyOnce() throws {
        let node = try MetaEndToEnd.node()
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod,
            prefix: [
                "unshare", "--mount", "sh", "-c",
                "mkdir -p /run/plexus && mount -t tmpfs -o ro tmpfs /run/plexus && exec $0",
            ], MetaEndToEnd.config(node))
        #expect(answer.message.hasSuffix(": Read-only file system"), "\(answer.ran)")
        #expect(!repeats(answer.message), "\(answer.message)")
    }

    @Test func aMissingPluginIsNamedOnce() throws {
        let node = try MetaEndToEnd.node()
        try node.define("v", #"{"cniVersion":"1.0.0","type":"nosuch"}"#)
        let answer = try refused(node, MetaEndToEnd.config(node, networks: "v"))
        #expect(
            answer.message.hasPrefix("default/v on net1: failed to find plugin \"nosuch\""),
            "\(answer.message)")
    }

    @Test func aNetworkThatIsAskedForTwiceIsNamedOnce() throws {
        let node = try MetaEndToEnd.node()
        let answer = try refused(node, MetaEndToEnd.config(node, networks: "net-a,net-a@net1"))
        #expect(answer.message == "interface name net1 is asked for twice, by default/net-a")
    }

    @Test func isolationNamesEachNamespaceOnce() throws {
        let node = try MetaEndToEnd.node()
        let answer = try refused(
            node, MetaEndToEnd.config(node, networks: "other/x", extra: ",\"namespaceIsolation\":true"))
        #expect(answer.json["details"].string == "use a network of default")
    }

    @Test func anExternalPluginsFailureHasACode() throws {
        let node = try MetaEndToEnd.node()
        try node.script("mine", "echo sorry >&2; exit 3")
        try node.define("mine", #"{"cniVersion":"1.0.0","type":"mine"}"#)
        let answer = try refused(node, MetaEndToEnd.config(node, networks: "mine"))
        #expect(answer.code == 999)
        #expect(answer.message == "default/mine on net1: netplugin failed: plugin mine ended with status 3")
        let file = "\(node.directory)/cache/net-attach-def/default/mine.yaml"
        #expect(
            answer.json["details"].string
                == "stderr: sorry; configured in \(file); undo: DEL of mine: it failed in the same way")
    }

    /// Two definitions may give their network one name.
    @Test func theDefinitionIsNamed() throws {
        let node = try MetaEndToEnd.node()
        let ipam = #""ipam":{"type":"host-local","subnet":"10.1.2.0"}"#
        try node.define("first", #"{"cniVersion":"1.0.0","name":"shared","type":"bridge","mtu":"x"}"#)
        try node.define("second", #"{"cniVersion":"1.0.0","name":"shared","type":"bridge",\#(ipam)}"#)
        for name in ["first", "second"] {
            let answer = try refused(node, MetaEndToEnd.config(node, networks: name), pod: name)
            let details = answer.json["details"].string ?? ""
            #expect(details.contains("network default/\(name)") && !details.contains("shared"), "\(details)")
        }
    }

    @Test func anUnknownPodSaysWhatToWrite() throws {
        let node = try MetaEndToEnd.node()
        let bare = MetaEndToEnd.config(node, networks: nil)
        let silent = bare.replacing(#""capabilities":{"io.kubernetes.cri.pod-annotations":true},"#, with: "")
        #expect(bare != silent)
        let unasked = try refused(node, silent)
        #expect(unasked.code == 11)
        #expect(
            (unasked.json["details"].string ?? "").contains(
                #"write "capabilities": {"io.kubernetes.cri.pod-annotations":true} beside "type": "plexus""#),
            "\(unasked.ran)")
        // As Multus generates it; what is asked for already stays.
        let generated = silent.replacing(
            #""type":"plexus""#,
            with: #""type":"multus","capabilities":{"portMappings":true},"kubeconfig":"/none""#)
        #expect(
            (try refused(node, generated, pod: "m").json["details"].string ?? "").contains(
                #"{"portMappings":true,"io.kubernetes.cri.pod-annotations":true} beside "type": "multus""#))
        let unheard = try refused(node, bare, pod: "b")
        #expect(
            unheard.code == 11 && unheard.ran.output.contains("the runtime does not pass"), "\(unheard.ran)")
        // Somebody keeps pods there, and may bring this one.
        try Shell.sh("mkdir -p \(node.directory)/cache/pods/other")
        #expect(try refused(node, silent, pod: "c").code == 11)
        // What it says to type works.
        let details = unheard.json["details"].string ?? ""
        let command = try #require(details.components(separatedBy: "there by: ").last)
        try node.write(
            "tools/kubectl",
            """
            #!/bin/sh
            [ "$*" = "-n default get pod pod-a -o yaml" ] || exit 1
            printf 'metadata:\\n  name: pod-a\\n  annotations: {k8s.v1.cni.cncf.io/networks: net-a}\\n'
            """)
        try Shell.sh(
            "chmod +x \(node.directory)/tools/kubectl; PATH=\(node.directory)/tools:$PATH; \(command)")
        let answer = try node.call(
            "ADD", id: "c9", netns: try node.pod("d"), args: MetaEndToEnd.pod, bare)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "d") == ["eth0", "net1"])
    }

    @Test func aMissingDefinitionSaysWhatToType() throws {
        let node = try MetaEndToEnd.node()
        let answer = try refused(node, MetaEndToEnd.config(node, networks: "late"))
        let command = try #require(
            (answer.json["details"].string ?? "").components(separatedBy: "there: ").last)
        #expect(
            command.contains("kubectl -n default get net-attach-def late -o yaml >$f.new && mv $f.new $f"))
        // Without an API server nothing is left that is half there.
        _ = try Shell.run(["sh", "-c", "kubectl() { return 1; }; \(command)"])
        let again = try refused(node, MetaEndToEnd.config(node, networks: "late"), pod: "b")
        #expect(again.message == answer.message)
    }

    @Test func theLogHasALineForEveryVerb() throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        func call(_ verb: String, _ extra: String = "") throws -> String {
            try node.call(
                verb, id: ["GC", "STATUS"].contains(verb) ? "" : "c1", netns: netns, args: MetaEndToEnd.pod,
                MetaEndToEnd.config(node, version: "1.1.0", extra: ",\"logLevel\":\"debug\"\(extra)")
            ).ran.errors
        }
        _ = try call("ADD")
        let subject = "pod default/pod-a, container c1 eth0"
        let found =
            #"eth0 on default-network with 10.244.0.\d/24, net1 on default/net-a with 192.168.12.10/24"#
        func has(_ said: String, _ line: String) throws -> Bool { said.contains(try Regex("\\] \(line)\n")) }
        var said = try call("CHECK")
        #expect(try has(said, "CHECK of \(subject): \(found): as attached, \\d+ ms"), "\(said)")
        said = try call("STATUS")
        #expect(try has(said, "STATUS of network node-network: ready, \\d+ ms"), "\(said)")
        said = try call("GC", ",\"cni.dev/valid-attachments\":[]")
        #expect(try has(said, "GC of network node-network: \(subject): \(found): done"), "\(said)")
        #expect(try has(said, "GC of network node-network: 0 alive, 1 dead: done, \\d+ ms"), "\(said)")
        said = try call("CHECK")
        #expect(try has(said, "CHECK of \(subject): nothing is known of .*"), "\(said)")
        said = try call("STATUS", ",\"readinessindicatorfile\":\"/none\"")
        #expect(
            try has(said, "STATUS of network node-network: the default network is not ready.*"), "\(said)")
    }

    @Test func aRecordThatIsUnusableIsSaidWhose() throws {
        let node = try MetaEndToEnd.node()
        let config = MetaEndToEnd.config(node)
        let netns = try node.pod("a")
        #expect(try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        let file = "\(node.directory)/state/attachments/c1@eth0.json"
        try Shell.sh("echo x >\(file)")
        let said = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config).ran.errors
        let whose =
            "the record of container c1 eth0, attached by network node-network, is unusable: \(file): "
        #expect(said.contains(whose), "\(said)")
    }

    @Test("L04: a line for each network, with whose it is, its addresses and how long it took")
    func theLogNamesPodNetworkAddressAndDuration() throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        let config = MetaEndToEnd.config(node, extra: ",\"logLevel\":\"verbose\"")
        let added = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(
            added.ran.errors.contains(
                /ADD of pod default\/pod-a, container c1 eth0: net1 on default\/net-a with 192.168.12.10\/24, \d+ ms\n/
            ),
            "\(added.ran)")
        let gone = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(
            gone.ran.errors.contains(
                /DEL of pod default\/pod-a, container c1 eth0: net1 on default\/net-a with 192.168.12.10\/24: done, \d+ ms\n.*eth0 on .*: done, \d+ ms\n/
            ), "\(gone.ran)")
        let failed = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node, networks: "none"))
        #expect(
            failed.ran.errors.contains("[error] ADD of pod default/pod-a, container c1 eth0: "),
            "\(failed.ran)")
    }
}
