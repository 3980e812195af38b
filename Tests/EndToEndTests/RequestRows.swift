import Foundation
import Support
import Testing

/// What a pod asks of plugins that are not built in: what none of them can give is refused before anything is attached, as such
/// a plugin's DEL would refuse it as well, and the pod could not go.
@Suite struct RequestRows {
    @Test(
        "A06: ports, rates and bursts that no plugin takes",
        arguments: [
            (#""portMappings":[{"hostPort":"80","containerPort":80}]"#, "portMappings[0].hostPort"),
            (#""portMappings":[{"hostPort":80,"containerPort":-1}]"#, "portMappings[0].containerPort"),
            (#""portMappings":[{"hostPort":1e99,"containerPort":80}]"#, "portMappings[0].hostPort"),
            (#""portMappings":[{"hostPort":80}]"#, "portMappings[0].containerPort"),
            (
                #""portMappings":[{"hostPort":80,"containerPort":80},{"hostPort":65536,"containerPort":80}]"#,
                "portMappings[1].hostPort"
            ),
            (
                #""portMappings":[{"hostPort":80,"containerPort":80,"protocol":"icmp"}]"#,
                "write tcp, udp or sctp"
            ),
            (
                #""portMappings":[{"hostPort":80,"containerPort":80,"hostIP":"here"}]"#,
                "\"here\" is no address"
            ),
            (#""bandwidth":{"ingressRate":5}"#, "bandwidth.ingressBurst"),
            (#""bandwidth":{"egressBurst":5}"#, "bandwidth.egressRate"),
            (#""bandwidth":{"ingressRate":-1,"ingressBurst":5}"#, "bandwidth.ingressRate"),
            (#""bandwidth":{"ingressRate":5,"ingressBurst":40000000000}"#, "bandwidth.ingressBurst"),
        ])
    func refused(request: String, words: String) throws {
        let node = try MetaEndToEnd.node()
        try node.script("limits", "exit 1")
        try node.define(
            "limited",
            #"{"cniVersion":"1.0.0","plugins":[{"type":"bridge","bridge":"b"},{"type":"limits","capabilities":{"portMappings":true,"bandwidth":true}}]}"#
        )
        let config = MetaEndToEnd.config(node, networks: "[{\"name\":\"limited\",\(request)}]")
        let netns = try node.pod("a")
        let answer = try node.call("ADD", netns: netns, args: StatusRows.args(), config)
        #expect(answer.code == 7 && answer.message.contains(words), "\(answer.ran)")
        #expect(answer.message.contains("networks[0]"), "\(answer.ran)")
        #expect(try node.links().isEmpty && node.links(pod: "a").isEmpty && node.files("state").isEmpty)
        #expect(try !Shell.sh("ls \(node.directory)").contains("limits.log"))
        #expect(try node.call("DEL", netns: netns, args: StatusRows.args(), config).status == 0)
    }

    @Test("logLevel in any case, as Multus takes it")
    func level() throws {
        let node = try MetaEndToEnd.node()
        let config = MetaEndToEnd.config(node, networks: "", extra: ",\"logLevel\":\"VERBOSE\"")
        let answer = try node.call("ADD", netns: try node.pod("a"), args: StatusRows.args(), config)
        #expect(
            answer.status == 11 || answer.ran.errors.contains("[verbose]") || answer.code == 11,
            "\(answer.ran)")
        #expect(answer.ran.errors.contains("[verbose] ADD of"), "\(answer.ran)")
        #expect(!answer.ran.errors.contains("cannot set logLevel"), "\(answer.ran)")
    }

    @Test("isolation's hint names each namespace once", arguments: ["", "default", "kube-system"])
    func hint(shared: String) throws {
        let node = try MetaEndToEnd.node()
        let annotations = #"{"v1.multus-cni.io/default-network":"other/x"}"#
        var config = MetaEndToEnd.config(
            node, networks: "", extra: #","namespaceIsolation":true,"globalNamespaces":"\#(shared)""#)
        config = config.replacing(#"{"k8s.v1.cni.cncf.io/networks":""}"#, with: annotations)
        let answer = try node.call("ADD", netns: try node.pod("a"), args: StatusRows.args(), config)
        #expect(answer.code == 7, "\(answer.ran)")
        for name in ["default", "kube-system"] {
            let count = answer.details.split(separator: " ").count {
                $0.trimmingCharacters(in: .punctuationCharacters) == name
            }
            #expect(count <= 1, "\(answer.details)")
        }
        #expect(answer.details.contains("kube-system"), "\(answer.details)")
    }

    @Test(
        "what was attached under the executable's other name is found by DEL, CHECK and GC",
        arguments: ["DEL", "GC"])
    func otherName(verb: String) throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        func config(_ type: String, _ extra: String = "") -> String {
            MetaEndToEnd.config(node, version: "1.1.0", extra: extra)
                .replacing(#""cniDir":"\#(node.directory)/state","#, with: "")
                .replacing(#""type":"plexus""#, with: "\"type\":\"\(type)\"")
                // A GC takes all of its network's in the directories that tests share.
                .replacing("node-network", with: node.name)
        }
        func call(_ verb: String, _ role: String, _ extra: String = "") throws -> Answer {
            try node.call(
                verb, role: role, id: node.name, netns: netns, args: StatusRows.args(node.name),
                config(role, extra))
        }
        func left() throws -> String {
            try Shell.sh(
                "find /var/lib/cni/plexus /var/lib/cni/multus -name '*\(node.name)*' 2>/dev/null || true")
        }
        for (first, second) in [("multus", "plexus"), ("plexus", "multus")] {
            let added = try call("ADD", first)
            #expect(added.status == 0, "\(added.ran)")
            #expect(try call("CHECK", second).status == 0)
            #expect(try left().contains("/var/lib/cni/\(first)/attachments/"))
            try node.write("conf.json", config(second))
            let looked = try Shell.run([
                "ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "repair", "--config",
                "\(node.directory)/conf.json",
            ])
            #expect(looked.output == "2 looked at, 0 had lost something\n", "\(looked)")
            let gone =
                verb == "DEL"
                ? try call("DEL", second) : try call("GC", second, #","cni.dev/valid-attachments":[]"#)
            #expect(gone.status == 0, "\(gone.ran)")
            #expect(try left().isEmpty && node.links(pod: "a").isEmpty, "\(added.ran)")
            #expect(try node.files("ipam").filter { $0.contains("/10.") || $0.contains("/192.") }.isEmpty)
        }
    }
}
