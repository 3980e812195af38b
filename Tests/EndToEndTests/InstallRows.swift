import Foundation
import Support
import Testing

/// A node that is a folder, as it is for a container with /host.
struct MountedNode {
    let node: Node
    var host: String { "\(node.directory)/host" }

    init() throws {
        node = try Node()
        try Shell.sh("mkdir -p \(host)/etc/cni/net.d \(host)/opt/cni/bin")
    }

    func install(_ words: String...) throws -> Ran {
        try Shell.run(
            ["\(Node.repository)/scripts/install", "--root", host, "--executable", Node.executable] + words)
    }

    func conf(_ name: String, _ text: String) throws { try node.write("host/etc/cni/net.d/\(name)", text) }

    func json(_ name: String) throws -> Tree {
        try Tree(parsing: try Shell.sh("cat \(host)/etc/cni/net.d/\(name)"))
    }

    func names() throws -> [String] {
        try Shell.sh("ls -A \(host)/etc/cni/net.d").split(separator: "\n").map(String.init)
    }

    /// Whether a plugin's file is Plexus, and a file of its own.
    func isPlexus(_ name: String) throws -> Bool {
        try Shell.run(["cmp", "\(host)/opt/cni/bin/\(name)", Node.executable]).status == 0
            && Shell.run(["test", "-L", "\(host)/opt/cni/bin/\(name)"]).status == 1
    }

    func tree() throws -> String {
        try Shell.sh(
            "cd \(host) && find etc opt -printf '%p %l\\n' | sort && find etc -type f | sort | xargs cat")
    }
}

/// scripts/install and `plexus configure`.
@Suite struct InstallRows {
    private let mounted: MountedNode
    private var node: Node { mounted.node }
    private var host: String { mounted.host }

    init() throws { mounted = try MountedNode() }

    private func install(_ words: String...) throws -> Ran {
        try Shell.run(
            ["\(Node.repository)/scripts/install", "--root", host, "--executable", Node.executable] + words)
    }

    private func conf(_ name: String, _ text: String) throws { try mounted.conf(name, text) }

    private func tree() throws -> String { try mounted.tree() }

    private static let flannel = """
        {"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel","delegate":{"isDefaultGateway":true}},
         {"type":"portmap","capabilities":{"portMappings":true}},{"type":"bandwidth","capabilities":{"bandwidth":true}}]}
        """

    @Test("around the network that the node has, and back")
    func aroundFlannel() throws {
        try conf("10-flannel.conflist", Self.flannel)
        try conf("99-loopback.conf", #"{"cniVersion":"1.0.0","name":"lo","type":"loopback"}"#)
        let before = try tree()
        let ran = try install()
        #expect(ran.status == 0, "\(ran)")
        #expect(
            ran.output.contains("wrote /etc/cni/net.d/00-plexus.conflist: around 10-flannel.conflist"),
            "\(ran)")
        let list = try Tree(parsing: try Shell.sh("cat \(host)/etc/cni/net.d/00-plexus.conflist"))
        #expect(list["cniVersion"].string == "0.4.0")
        let plugin = list["plugins"][0]
        #expect(plugin["type"].string == "plexus")
        #expect(plugin["clusterNetwork"].string == "/etc/cni/net.d/10-flannel.conflist", "the node's path")
        for key in ["io.kubernetes.cri.pod-annotations", "portMappings", "bandwidth"] {
            #expect(plugin["capabilities"][key].bool == true, "\(key)")
        }
        #expect(try mounted.isPlexus("plexus") && mounted.isPlexus("loopback"))
        let again = try install()
        #expect(
            again.status == 0 && again.output.contains("kept /etc/cni/net.d/00-plexus.conflist"), "\(again)")
        let gone = try install("--uninstall")
        #expect(gone.status == 0, "\(gone)")
        #expect(
            try install("--uninstall").output
                == "nothing of Plexus is installed in /opt/cni/bin and /etc/cni/net.d\n")
        #expect(
            try tree().replacing("etc/cni/plexus \n", with: "").replacing("etc/cni/plexus/net.d \n", with: "")
                == before)
    }

    @Test("what it writes attaches pods to the network that was there, and to their own")
    func works() throws {
        let files = "\(node.directory)/files"
        try conf(
            "10-net.conflist",
            """
            {"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","bridge":"cni0","isDefaultGateway":true,
             "ipam":{"type":"host-local","dataDir":"\(files)","subnet":"10.244.0.0/24"}}]}
            """)
        #expect(try install().status == 0)
        try node.define("net-a", MetaEndToEnd.article.replacing("DIR", with: node.directory))
        // The runtime on that node: its paths are below the folder here.
        let text = try Shell.sh("cat \(host)/etc/cni/net.d/00-plexus.conflist")
        var list = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        var plugin = try #require((list["plugins"] as? [[String: Any]])?.first)
        plugin["clusterNetwork"] = host + (try #require(plugin["clusterNetwork"] as? String))
        plugin["cniDir"] = "\(node.directory)/state"
        plugin["cacheDir"] = "\(node.directory)/cache"
        plugin["cniVersion"] = list["cniVersion"]
        plugin["name"] = list["name"]
        plugin["runtimeConfig"] = [
            "io.kubernetes.cri.pod-annotations": ["k8s.v1.cni.cncf.io/networks": "net-a"]
        ]
        list = plugin
        let config = String(decoding: try JSONSerialization.data(withJSONObject: list), as: UTF8.self)
        let answer = try node.call("ADD", netns: try node.pod("a"), args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
    }

    private static let multus = """
        {"cniVersion":"0.3.1","name":"multus-cni-network","type":"multus","capabilities":{"portMappings":true},
         "kubeconfig":"/etc/cni/net.d/multus.d/multus.kubeconfig","delegates":[{"type":"flannel"}]}
        """

    @Test(
        "in Multus' place, with its configuration and its name, and back",
        arguments: [
            ("00-multus.conf", multus, "multus"),
            (
                "00-multus.conflist",
                #"{"cniVersion":"1.0.0","name":"multus-cni-network","plugins":[{"type":"multus-shim","logLevel":"verbose","clusterNetwork":"/host/etc/cni/net.d/10-flannel.conflist"}]}"#,
                "multus-shim"
            ),
        ])
    func takesOverMultus(file: String, text: String, name: String) throws {
        try conf(file, text)
        try conf("10-flannel.conflist", Self.flannel)
        try node.write("host/opt/cni/bin/\(name)", "the old one")
        let before = try tree()
        let ran = try install()
        #expect(ran.status == 0, "\(ran)")
        #expect(try mounted.isPlexus(name))
        #expect(try node.files("host/etc/cni/net.d").contains("00-plexus.conflist") == false)
        let json = try Tree(parsing: try Shell.sh("cat \(host)/etc/cni/net.d/\(file)"))
        let plugin = file.hasSuffix("list") ? json["plugins"][0] : json
        #expect(plugin["type"].string == name)
        #expect(plugin["capabilities"]["io.kubernetes.cri.pod-annotations"].bool == true)
        #expect(plugin["kubeconfig"].string == nil || plugin["capabilities"]["portMappings"].bool == true)
        let again = try install()
        #expect(again.output.contains("which asks for the annotations"), "\(again)")
        let gone = try install("--uninstall")
        #expect(gone.status == 0, "\(gone)")
        let after = try tree().split(separator: "\n").filter { !$0.hasPrefix("etc/cni/plexus") }
        #expect(after == before.split(separator: "\n"))
        #expect(try Shell.sh("cat \(host)/opt/cni/bin/\(name)") == "the old one")
    }

    @Test(
        "what cannot be is said, and changes nothing",
        arguments: [
            ([:], "there is no network configuration in /etc/cni/net.d"),
            (["10-a.conf": "{"], "/etc/cni/net.d/10-a.conf: "),
            (["99-loopback.conf": #"{"name":"lo","type":"loopback"}"#], "there is no network configuration"),
        ] as [([String: String], String)])
    func refused(files: [String: String], words: String) throws {
        for (name, text) in files { try conf(name, text) }
        let before = try node.files("host/etc")
        let ran = try install()
        #expect(ran.status == 1 && ran.errors.contains(words), "\(ran)")
        #expect(try node.files("host/etc") == before)
        let nowhere = try Shell.run([
            "\(Node.repository)/scripts/install", "--root", "\(host)/nope/x", "--executable", Node.executable,
        ])
        #expect(nowhere.status == 1 && nowhere.errors.contains("there is no such folder"), "\(nowhere)")
        let unset = try install("--conf", "/etc/nope", "--bin", "/opt/nope")
        #expect(unset.status == 1 && unset.errors.contains("nothing was changed"), "\(unset)")
        #expect(
            try Shell.sh("cd \(host) && find . -type d | sort")
                == ".\n./etc\n./etc/cni\n./etc/cni/net.d\n./opt\n./opt/cni\n./opt/cni/bin\n")
    }

    @Test("attachments that nobody could delete keep it there")
    func attached() throws {
        try conf("10-flannel.conflist", Self.flannel)
        #expect(try install().status == 0)
        try node.write("host/var/lib/cni/plexus/attachments/c1@eth0.json", "{}")
        let ran = try install("--uninstall")
        #expect(
            ran.status == 1 && ran.errors.contains("1 attachments would have nobody to delete them"), "\(ran)"
        )
        #expect(try Shell.sh("ls \(host)/opt/cni/bin").contains("plexus"))
        #expect(try install("--uninstall", "--force").status == 0)
    }

    @Test("a dry run shows the file and writes nothing; -o json is for programs")
    func dryRun() throws {
        try conf("10-flannel.conflist", Self.flannel)
        func configure(_ words: String...) throws -> Ran {
            try Shell.run(["\(node.directory)/bin/plexus", "configure", "--root", host] + words)
        }
        let dry = try configure("--dry-run")
        #expect(dry.output.hasPrefix("would write /etc/cni/net.d/00-plexus.conflist: "), "\(dry)")
        #expect(dry.output.contains("\"clusterNetwork\": \"/etc/cni/net.d/10-flannel.conflist\""))
        #expect(try node.files("host/etc/cni/net.d") == ["10-flannel.conflist"])
        let json = try Tree(parsing: try configure("-o", "json").output)
        #expect(json["changes"][0]["action"].string == "write")
        #expect(try configure("--undo").output.contains("removed /etc/cni/net.d/00-plexus.conflist"))
        #expect(try configure("--undo").output.contains("nothing of Plexus"))
        #expect(try configure("--conf-dir", "relative").status != 0)
    }
}
