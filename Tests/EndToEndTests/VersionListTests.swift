import Support
import Testing

/// `cniVersions`, of CNI 1.1.
@Suite struct ListsOfVersions {
    private func config(_ node: Node, _ versions: String) -> String {
        MetaEndToEnd.config(node).replacing(
            #""cniVersion":"1.0.0","name":"node-network""#, with: "\(versions),\"name\":\"node-network\"")
    }

    @Test func theHighestKnownOneCountsUnlessTheRuntimeChose() throws {
        let node = try MetaEndToEnd.node()
        for (pod, versions, expected) in [
            ("a", #""cniVersions":["0.4.0","1.1.0","9.0.0"]"#, "1.1.0"),
            ("b", #""cniVersions":["0.4.0","1.1.0"],"cniVersion":"1.0.0""#, "1.0.0"),
            ("c", #""cniVersions":["0.4.0","1.0.0"],"cniVersion":"""#, "1.0.0"),
        ] {
            let answer = try node.call(
                "ADD", id: pod, netns: try node.pod(pod), args: MetaEndToEnd.pod, config(node, versions))
            #expect(answer.json["cniVersion"].string == expected, "\(answer.ran)")
            let status = try node.call("STATUS", netns: "", config(node, versions))
            #expect((status.status == 0) == (expected == "1.1.0"), "\(status.ran)")
        }
    }

    @Test func noneThatIsKnownIsAnError() throws {
        let node = try MetaEndToEnd.node()
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod, config(node, #""cniVersions":["9.0.0"]"#)
        )
        #expect(answer.code == 1 && answer.message == "incompatible CNI versions", "\(answer.ran)")
    }

    @Test func explainTakesThemFromAList() throws {
        let node = try MetaEndToEnd.node()
        let plugin = MetaEndToEnd.config(node)
        try node.write(
            "a.conflist",
            #"{"cniVersion":"1.0.0","cniVersions":["1.0.0","1.1.0"],"name":"n","plugins":[\#(plugin)]}"#)
        let text = try node.sh("\(node.directory)/bin/plexus explain -o json -c \(node.directory)/a.conflist")
        #expect(try Tree(parsing: text)["cniVersion"].string == "1.1.0")
    }
}
