import Foundation
import Support
import Testing

/// What the executable is called, and what it says to people.
@Suite struct NamesAndHelp {
    private let node: Node

    init() throws {
        node = try MetaEndToEnd.node()
        for name in ["vlan", "plexus-2.0", "multus-shim", "px"] {
            try Shell.sh("ln -s \(Node.executable) \(node.directory)/bin/\(name)")
        }
    }

    private func tool(_ words: String...) throws -> Ran {
        try Shell.run(["\(node.directory)/bin/\(words[0])"] + words.dropFirst(), environment: [:])
    }

    @Test(arguments: ["vlan", "px"]) func anUnknownNameIsRefused(name: String) throws {
        let netns = try node.pod("a")
        for verb in ["ADD", "CHECK", "GC", "STATUS", "VERSION"] {
            let answer = try node.call(
                verb, role: name, netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node))
            #expect(answer.status == 1 && answer.code == 7, "\(verb): \(answer.ran)")
            #expect(answer.message == "there is no plugin \"\(name)\" in this executable")
            let details = answer.json["details"].string ?? ""
            #expect(
                ["plexus...", "multus...", "bridge", "host-local", "static"].allSatisfy(details.contains))
        }
        #expect(try node.links(pod: "a").isEmpty)
        let said = try tool(name)
        #expect(said.status == 1 && said.errors.contains("no plugin \"\(name)\""))
        #expect(try tool(name, "--help").status == 1)
        // What was attached while the name meant the meta-plugin must go.
        let config = MetaEndToEnd.config(node)
        #expect(try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        for _ in 1...2 {
            let gone = try node.call("DEL", role: name, netns: netns, args: MetaEndToEnd.pod, config)
            #expect(gone.status == 0, "\(gone.ran)")
        }
        #expect(try node.links(pod: "a").isEmpty)
    }

    @Test(arguments: ["plexus-2.0", "multus-shim"]) func whatBeginsSoIsTheMetaPlugin(name: String) throws {
        let answer = try node.call(
            "ADD", role: name, netns: try node.pod("a"), args: MetaEndToEnd.pod, MetaEndToEnd.config(node))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
    }

    static let plugins = [
        "bridge", "macvlan", "ipvlan", "host-device", "tuning", "route-override", "loopback", "host-local",
        "static",
    ]

    @Test(arguments: plugins) func everyPluginHasItsOwnHelp(type: String) throws {
        let own = try tool(type, "--help")
        #expect(own.status == 0 && own.output.hasPrefix("CNI plugin \(type), from Plexus: "), "\(own)")
        #expect(try tool("plexus", "help", type).output == own.output)
        #expect(try tool("plexus", type, "--help").output == own.output)
        #expect(try tool(type, "-h").output == own.output && tool(type, "help").output == own.output)
        #expect(try tool(type, "--version").output.hasPrefix("\(type), of plexus "))
        let wrong = try tool(type, "explain")
        #expect(wrong.status == 64 && wrong.output.isEmpty && wrong.errors.contains("--help"))
    }

    /// The example is cut out of the help and attached.
    @Test(arguments: plugins.filter { $0 != "ipvlan" || Feature.ipvlan })
    func theExampleOfTheHelpWorks(type: String) throws {
        try ConfFiles.uplink(node)
        let lines = try tool(type, "--help").output.components(separatedBy: "Example:\n")[1].components(
            separatedBy: "\n\n")[0]
        let config = lines.replacing(
            "\"type\": \"host-local\",",
            with: "\"type\": \"host-local\", \"dataDir\": \"\(node.directory)/ipam\",")
        #expect(try Tree(parsing: config)["name"].string == "example", "\(config)")
        try node.define("example", config)
        let answer = try node.call(
            "ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, networks: type == "loopback" ? "example" : "example,net-a"))
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a").contains("net1") == (type != "loopback"))
    }

    @Test func helpOfNothingIsAnError() throws {
        let ran = try tool("plexus", "help", "nosuch")
        #expect(ran.status == 64 && ran.output.isEmpty)
        #expect(ran.errors.contains("no \"nosuch\"") && ran.errors.contains("explain, bridge"))
        #expect(try tool("plexus", "help").output == tool("plexus", "--help").output)
        #expect(try tool("plexus", "help", "explain").output == tool("plexus", "explain", "--help").output)
    }
}
