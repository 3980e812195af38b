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

    @Test(arguments: plugins + ["dhcp"]) func everyPluginHasItsOwnHelp(type: String) throws {
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
        #expect(
            ran.errors.contains("no \"nosuch\"")
                && ran.errors.contains(
                    "explain, status, attach, detach, repair, leases, cache, validate, configure, bridge")
        )
        #expect(try tool("plexus", "help").output == tool("plexus", "--help").output)
        for words in [["import"], ["list"], []] {
            let named = try Shell.run(
                ["\(node.directory)/bin/plexus", "help", "cache"] + words, environment: [:])
            #expect(
                named.status == 0 && named.output.contains("cache \(words.first ?? "<subcommand>")"),
                "\(named)")
        }
        #expect(try tool("plexus", "help", "cache", "nosuch").status != 0)
        #expect(try tool("plexus", "help", "explain").output == tool("plexus", "explain", "--help").output)
    }

    /// What somebody types, or calls the file, drives no terminal.
    @Test(arguments: [
        ["explain", "\u{1b}[31m"], ["\u{1b}[31m"], ["--\u{1b}"], ["help", "\u{1b}]0;x\u{7}"], ["a\u{202e}b"],
        ["explain", "-o", "\u{9b}"], ["explain", "-c", "/none\u{1b}"],
        ["explain", "-c", "CONF", "--interface", "\u{1b}"],
        ["explain", "-c", "CONF", "--container-id", "\u{1b}"], ["explain", "-c", "CONF", "--pod", "\u{1b}"],
        ["explain", "-c", "CONF", "--networks", "\u{1b}"], ["explain", "-c", "CONF", "--netns", "/\u{1b}"],
    ])
    func whatIsTypedIsShownEscaped(words: [String]) throws {
        try node.write("plexus.conf", MetaEndToEnd.config(node))
        let words = words.map { $0 == "CONF" ? "\(node.directory)/plexus.conf" : $0 }
        let said = try Shell.run(["ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus"] + words)
        #expect(said.status != 0 && said.output.isEmpty, "\(said)")
        #expect(said.errors.contains("\\u{"), "\(said)")
        #expect(!said.errors.unicodeScalars.contains { $0 != "\n" && isHidden($0) }, "\(said)")
    }

    @Test(arguments: [[], ["--help"]]) func aNameOfTheFileIsShownEscaped(words: [String]) throws {
        let file = "\(node.directory)/bin/bri\u{1b}dge"
        try FileManager.default.createSymbolicLink(atPath: file, withDestinationPath: Node.executable)
        let said = try Shell.run([file] + words, environment: [:])
        #expect(
            said.errors.contains("no plugin \"bri\\u{1b}dge\"") && !said.errors.contains("\u{1b}"), "\(said)")
    }

    private func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        [.control, .format].contains(scalar.properties.generalCategory)
    }
}
