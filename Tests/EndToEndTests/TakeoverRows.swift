import Support
import Testing

/// A node goes over from Multus with its thick plugin, step by step, and back.
@Suite struct TakeoverRows {
    private let mounted: MountedNode

    init() throws {
        mounted = try MountedNode()
        try mounted.conf(
            "10-main.conflist", #"{"name":"main","cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}"#)
    }

    private static let thick = """
        {"cniVersion":"1.0.0","name":"multus-cni-network","type":"multus-shim","capabilities":{"portMappings":true},
         "clusterNetwork":"/host/etc/cni/net.d/10-main.conflist","namespaceIsolation":true,"defaultNetworks":["/host/etc/cni/net.d/10-main.conflist","named"],
         "readinessindicatorfile":"/host/run/flannel/subnet.env","confDir":"/host/etc/cni/multus/net.d","LogFile":"/host/var/log/multus.log",
         "kubeconfig":"/host/etc/cni/net.d/multus.d/multus.kubeconfig","binDir":"/host/opt/cni/bin","cniDir":"/host/var/lib/cni/multus",
         "auxiliaryCNIChainName":"vendor"}
        """

    @Test("each path of the daemon's becomes the node's, and is named")
    func paths() throws {
        try mounted.conf("00-multus.conf", Self.thick)
        let ran = try mounted.install()
        #expect(ran.status == 0, "\(ran)")
        let json = try mounted.json("00-multus.conf")
        for (key, path) in [
            ("clusterNetwork", "/etc/cni/net.d/10-main.conflist"),
            ("readinessindicatorfile", "/run/flannel/subnet.env"),
            ("confDir", "/etc/cni/multus/net.d"), ("LogFile", "/var/log/multus.log"),
            ("kubeconfig", "/etc/cni/net.d/multus.d/multus.kubeconfig"), ("binDir", "/opt/cni/bin"),
            ("cniDir", "/var/lib/cni/multus"),
        ] {
            #expect(json[key].string == path, "\(key)")
            #expect(ran.output.contains("/host\(path) is the daemon's name of \(path)"), "\(key): \(ran)")
        }
        #expect(json["defaultNetworks"].list.map(\.string) == ["/etc/cni/net.d/10-main.conflist", "named"])
        #expect(json["auxiliaryCNIChainName"].string == "vendor")
        #expect(json["type"].string == "multus-shim" && json["namespaceIsolation"].bool == true)
        let again = try mounted.install()
        #expect(again.output.contains("kept /etc/cni/net.d/00-multus.conf"), "\(again)")
    }

    @Test("a path that the node has itself stays")
    func ownPath() throws {
        try mounted.conf("00-multus.conf", Self.thick)
        try mounted.node.write("host/host/etc/cni/net.d/10-main.conflist", "{}")
        #expect(try mounted.install().status == 0)
        let json = try mounted.json("00-multus.conf")
        #expect(json["clusterNetwork"].string == "/host/etc/cni/net.d/10-main.conflist")
        #expect(json["confDir"].string == "/host/etc/cni/multus/net.d")
    }

    @Test("when Multus' daemon has removed its configuration, it is brought back as it was")
    func broughtBack() throws {
        try mounted.conf("00-multus.conf", Self.thick)
        try mounted.node.write("host/opt/cni/bin/multus-shim", "the old one")
        try mounted.node.write("daemon.json", #"{"logLevel":"verbose","chrootDir":"/hostroot"}"#)
        let first = try mounted.install("--daemon-config", "\(mounted.node.directory)/daemon.json")
        #expect(first.status == 0, "\(first)")
        #expect(try mounted.json("00-multus.conf")["logLevel"].string == "verbose")
        let file = "\(mounted.host)/etc/cni/net.d/00-multus.conf"
        let written = try Shell.sh("cat \(file)")
        try Shell.sh("rm \(file)")
        let ran = try mounted.install()
        #expect(
            ran.status == 0 && ran.output.contains("which was gone, from 00-multus.conf.by-plexus"), "\(ran)")
        #expect(try Shell.sh("cat \(file)") == written)
        #expect(try mounted.isPlexus("multus-shim"))
        #expect(try !mounted.names().contains("00-plexus.conflist"))
        #expect(try mounted.install("--uninstall").status == 0)
        #expect(try mounted.names() == ["00-multus.conf", "10-main.conflist"])
        #expect(try Shell.sh("cat \(file)") == Self.thick)
        #expect(try Shell.sh("cat \(mounted.host)/opt/cni/bin/multus-shim") == "the old one")
    }

    @Test("also from what an older release kept, in the place of the file that it wrote then")
    func fromOlder() throws {
        try mounted.conf("00-multus.conf.before-plexus", Self.thick)
        try mounted.conf(
            "00-plexus.conflist",
            #"{"cniVersion":"1.0.0","name":"node-network","plugins":[{"type":"plexus","capabilities":{"io.kubernetes.cri.pod-annotations":true},"clusterNetwork":"/etc/cni/net.d/10-main.conflist"}],"cniVersions":["1.0.0","1.1.0"]}"#
        )
        let ran = try mounted.install()
        #expect(ran.status == 0 && ran.output.contains("from 00-multus.conf.before-plexus"), "\(ran)")
        #expect(try mounted.json("00-multus.conf")["namespaceIsolation"].bool == true)
        #expect(try mounted.isPlexus("multus") && mounted.isPlexus("multus-shim"))
        #expect(
            try mounted.names() == [
                "00-multus.conf", "00-multus.conf.before-plexus", "00-multus.conf.by-plexus",
                "10-main.conflist",
            ])
    }

    @Test(
        "the daemon's settings go before the file's, and what is the daemon's alone is left out",
        arguments: [true, false])
    func daemonSettings(isGiven: Bool) throws {
        try mounted.conf("00-multus.conf", Self.thick)
        let settings = #"""
            {"chrootDir":"/hostroot/","cniVersion":"0.3.1","name":"x","LOGLEVEL":"debug","logToStderr":false,"cniConfigDir":"/host/etc/cni/net.d",
             "multusAutoconfigDir":"/host/etc/cni/net.d","multusConfigFile":"auto","socketDir":"/host/run/multus/","globalNamespaces":"default,shared",
             "namespaceIsolation":false,"cniDir":"/hostroot/var/lib/cni/other","colour":"red"}
            """#
        let place = isGiven ? "daemon.json" : "host/etc/cni/net.d/multus.d/daemon-config.json"
        try mounted.node.write(place, settings)
        let ran =
            try isGiven
            ? mounted.install("--daemon-config", "\(mounted.node.directory)/daemon.json") : mounted.install()
        #expect(ran.status == 0, "\(ran)")
        let json = try mounted.json("00-multus.conf")
        #expect(json["logLevel"].string == "debug" && json["logToStderr"].bool == false)
        #expect(
            json["globalNamespaces"].string == "default,shared" && json["namespaceIsolation"].bool == false)
        #expect(json["cniDir"].string == "/var/lib/cni/other")
        #expect(json["cniVersion"].string == "1.0.0" && json["name"].string == "multus-cni-network")
        for key in ["chrootDir", "multusConfigFile", "socketDir", "cniConfigDir", "colour"] {
            #expect(!json[key].exists, "\(key)")
        }
        #expect(
            ran.output.contains("colour: nobody knows this key") && !ran.output.contains("socketDir"),
            "\(ran)")
    }

    @Test("settings that cannot be read change nothing", arguments: [nil, "", "[]", "{"])
    func unreadable(text: String?) throws {
        try mounted.conf("00-multus.conf", Self.thick)
        if let text { try mounted.node.write("daemon.json", text) }
        let ran = try mounted.install("--daemon-config", "\(mounted.node.directory)/daemon.json")
        #expect(ran.status == 1 && ran.errors.contains("the daemon's settings"), "\(ran)")
        #expect(ran.errors.contains("nothing was changed"))
        #expect(try mounted.names() == ["00-multus.conf", "10-main.conflist"])
    }

    @Test("Multus' installer may write over multus, and plexus stays; back works without any that runs")
    func overwritten() throws {
        try mounted.conf("00-multus.conf", Self.thick)
        try mounted.node.write("host/opt/cni/bin/multus", "the old one")
        #expect(try mounted.install().status == 0)
        try Shell.sh("echo the newer one >\(mounted.host)/opt/cni/bin/multus")
        #expect(try mounted.isPlexus("plexus"))
        let again = try mounted.install()
        #expect(again.status == 0, "\(again)")
        #expect(try mounted.isPlexus("multus"))
        for name in ["multus", "plexus"] {
            try Shell.sh("echo the newest one >\(mounted.host)/opt/cni/bin/\(name)")
        }
        let ran = try Shell.run([
            "\(Node.repository)/scripts/install", "--root", mounted.host, "--executable", "/nonexistent",
            "--uninstall",
        ])
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.contains("left /opt/cni/bin/multus, which is no longer Plexus'"), "\(ran)")
        #expect(try Shell.sh("cat \(mounted.host)/opt/cni/bin/multus") == "the newest one\n")
        #expect(try Shell.sh("cat \(mounted.host)/etc/cni/net.d/00-multus.conf") == Self.thick)
        #expect(try Shell.sh("ls \(mounted.host)/opt/cni/bin") == "multus\n")
    }

    @Test("what was edited since is kept beside")
    func edited() throws {
        try mounted.conf("00-multus.conf", Self.thick)
        #expect(try mounted.install().status == 0)
        let file = "\(mounted.host)/etc/cni/net.d/00-multus.conf"
        try Shell.sh("sed -i 's/multus.log/other.log/' \(file)")
        let text = try Shell.sh("cat \(file)")
        let ran = try mounted.install("--uninstall")
        #expect(
            ran.status == 0 && ran.output.contains("is kept as /etc/cni/net.d/00-multus.conf.edited"),
            "\(ran)")
        #expect(try Shell.sh("cat \(file).edited") == text)
        #expect(try Shell.sh("cat \(file)") == Self.thick)
    }

    @Test("an edited file of Plexus stays as it is, until its network is gone")
    func editedOwn() throws {
        #expect(try mounted.install().status == 0)
        let file = "\(mounted.host)/etc/cni/net.d/00-plexus.conflist"
        try Shell.sh("sed -i 's/\"type\"/\"namespaceIsolation\": true, &/' \(file)")
        let text = try Shell.sh("cat \(file)")
        let kept = try mounted.install()
        #expect(kept.output.contains("kept /etc/cni/net.d/00-plexus.conflist: it was edited"), "\(kept)")
        #expect(try Shell.sh("cat \(file)") == text)
        try Shell.sh("cd \(mounted.host)/etc/cni/net.d && mv 10-main.conflist 20-main.conflist")
        let moved = try mounted.install()
        #expect(moved.output.contains("is kept as /etc/cni/net.d/00-plexus.conflist.edited"), "\(moved)")
        #expect(try Shell.sh("cat \(file).edited") == text)
        #expect(
            try mounted.json("00-plexus.conflist")["plugins"][0]["clusterNetwork"].string
                == "/etc/cni/net.d/20-main.conflist")
    }

    @Test("whose file a runtime takes first is said", arguments: ["70-multus.conf", nil])
    func order(file: String?) throws {
        if let file {
            try mounted.conf(file, Self.thick)
        } else {
            try mounted.conf(
                "00-a.conflist", #"{"name":"a","cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}"#)
        }
        let ran = try mounted.install()
        let first = file == nil ? "00-a.conflist" : "10-main.conflist"
        #expect(ran.status == 0 && ran.output.contains("a runtime takes \(first) first"), "\(ran)")
    }
}
