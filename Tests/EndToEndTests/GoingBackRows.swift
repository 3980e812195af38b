import Foundation
import Support
import Testing

/// A node that swapped Multus' binary, and swaps it back with its pods running: Multus knows them by what it would have
/// written itself. Its part is played by what it does with those files: decode, and call the reference plugins.
@Suite(
    .enabled(
        if: FileManager.default.isExecutableFile(atPath: "/usr/lib/cni/bridge"),
        "needs Debian's containernetworking-plugins"))
struct GoingBackRows {
    private let node: Node
    private let netns: String
    private var config: String {
        MetaEndToEnd.config(
            node, networks: #"[{"name":"net-a","mac":"02:00:00:00:00:09","cni-args":{"label":"x"}}]"#)
    }

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
    }

    private func call(_ verb: String, role: String = "multus") throws -> Answer {
        try node.call(verb, role: role, id: node.name, netns: netns, args: StatusRows.args(), config)
    }

    private func decoded(_ text: Tree) throws -> Tree {
        let data = try #require(text.string.flatMap { Data(base64Encoded: $0) })
        return try Tree(parsing: String(decoding: data, as: UTF8.self))
    }

    private func file(_ path: String) throws -> Tree {
        try Tree(parsing: try Shell.sh("cat \(node.directory)/state/\(path)"))
    }

    @Test("D01, D04: Multus' record and libcni's results are there when ADD answers, and go with DEL")
    func files() throws {
        let answer = try call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        let record = try file(node.name).list
        #expect(record.map { $0["Name"].string } == ["default-network", "default/net-a"])
        #expect(record.map { $0["ifnameRequest"].string } == [nil, "net1"])
        #expect(record[1]["macRequest"].string == "02:00:00:00:00:09")
        for (index, interface) in ["eth0", "net1"].enumerated() {
            let list = try decoded(record[index]["Bytes"])
            #expect(list["plugins"][0]["type"].string == "bridge")
            #expect(record[index]["ConfList"]["plugins"][0]["type"].string == "bridge")
            let noted = try file("results/\(["default-network", "net-a"][index])-\(node.name)-\(interface)")
            #expect(noted["kind"].string == "cniCacheV1" && noted["containerId"].string == node.name)
            #expect(noted["ifName"].string == interface && noted["netns"].string == netns)
            #expect(try decoded(noted["config"])["name"].string == list["name"].string)
            #expect(
                noted["cniArgs"].list.contains { $0[0].string == "K8S_POD_NAME" && $0[1].string == "pod-a" })
            #expect(noted["result"]["interfaces"].list.contains { $0["name"].string == interface })
        }
        #expect(try decoded(record[1]["Bytes"])["plugins"][0]["args"]["cni"]["label"].string == "x")
        #expect(
            try Shell.sh("stat -c %a \(node.directory)/state/results \(node.directory)/state/\(node.name)")
                == "700\n600\n")
        #expect(try call("DEL").status == 0)
        #expect(try node.files("state").isEmpty)
    }

    @Test("a reference plugin's DEL with what Multus finds there leaves nothing")
    func deletedByMultus() throws {
        #expect(try call("ADD").status == 0)
        for delegate in try file(node.name).list.reversed() {
            let list = try decoded(delegate["Bytes"])
            let interface = delegate["ifnameRequest"].string ?? "eth0"
            let name = try #require(list["name"].string)
            try node.write(
                "list", try Shell.sh("echo '\(try #require(delegate["Bytes"].string))' | base64 -d"))
            let plugin = try Shell.sh(
                """
                python3 -c "
                import json
                list = json.load(open('\(node.directory)/list'))
                noted = json.load(open('\(node.directory)/state/results/\(name)-\(node.name)-\(interface)'))
                print(json.dumps({**list['plugins'][0], 'name': list['name'], 'cniVersion': list['cniVersion'], 'prevResult': noted['result']}))"
                """)
            let ran = try Shell.run(
                ["ip", "netns", "exec", node.name, "/usr/lib/cni/bridge"], input: plugin,
                environment: [
                    "CNI_COMMAND": "DEL", "CNI_CONTAINERID": node.name, "CNI_NETNS": netns,
                    "CNI_IFNAME": interface, "CNI_PATH": "/usr/lib/cni",
                ])
            #expect(ran.status == 0, "\(ran)")
        }
        #expect(try node.links(pod: "a").isEmpty)
        #expect(
            try node.files("ipam").filter { !$0.contains("last_reserved_ip") && !$0.hasSuffix("lock") }
                .isEmpty)
    }

    @Test("E06: with our own record lost they tell what the pod has")
    func secondSource() throws {
        #expect(try call("ADD").status == 0)
        try Shell.sh("rm -r \(node.directory)/state/attachments")
        let check = try call("CHECK")
        #expect(check.status == 0, "\(check.ran)")
        #expect(try call("DEL").status == 0)
        #expect(try node.files("state").isEmpty && node.links(pod: "a").isEmpty)
    }

    @Test("under another name they are kept on demand alone")
    func onDemand() throws {
        #expect(try call("ADD", role: "plexus").status == 0)
        #expect(try node.files("state").allSatisfy { !$0.hasPrefix("results") && $0 != node.name })
        // A DEL by another name finds them as well.
        #expect(try call("DEL").status == 0)
        #expect(try call("ADD").status == 0)
        #expect(try call("DEL", role: "plexus").status == 0)
        #expect(try node.files("state").isEmpty)
    }

    @Test("D10: an ADD that fails leaves none; GC removes those of the dead, and keeps the living")
    func failureAndGC() throws {
        let failing = MetaEndToEnd.config(
            node, networks: #"[{"name":"net-a","default-route":["203.0.113.1"]}]"#)
        #expect(
            try node.call(
                "ADD", role: "multus", id: node.name, netns: netns, args: StatusRows.args(), failing
            )
            .status == 1)
        #expect(try node.files("state").isEmpty)
        #expect(try call("ADD").status == 0)
        func collect(_ valid: String) throws -> Answer {
            try node.call(
                "GC", role: "multus", id: "", netns: "",
                MetaEndToEnd.config(
                    node, version: "1.1.0", networks: nil,
                    extra: ",\"cni.dev/valid-attachments\":[\(valid)]"))
        }
        let before = try node.files("state")
        #expect(try collect("{\"containerID\":\"\(node.name)\",\"ifname\":\"eth0\"}").status == 0)
        #expect(try node.files("state") == before)
        let answer = try collect("")
        #expect(answer.status == 0, "\(answer.ran)")
        let left = try node.files("state")
        #expect(left.isEmpty, "\(left)")
    }
}
