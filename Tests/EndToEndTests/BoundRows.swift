import Foundation
import Support
import Testing

/// What is within the limits costs little all the same: memory and the processor's time are limited to a few times that.
@Suite struct Bounds {
    private let node: Node
    private let netns: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
    }

    private func call(
        _ verb: String, _ config: String, id: String = "c1", args: String = MetaEndToEnd.pod,
        megabytes: Int = 96
    ) throws -> Answer {
        try node.call(
            verb, id: verb == "GC" ? "" : id, netns: verb == "GC" ? "" : netns, args: args,
            prefix: ["prlimit", "--as=\(megabytes << 20)", "--cpu=5", "--core=0"], config)
    }

    private func collect(_ valid: [String] = [], extra: String = "", megabytes: Int = 96) throws -> Answer {
        let list = valid.map { "{\"containerID\":\"\($0)\",\"ifname\":\"eth0\"}" }.joined(separator: ",")
        return try call(
            "GC",
            MetaEndToEnd.config(
                node, version: "1.1.0", networks: nil,
                extra: ",\"cni.dev/valid-attachments\":[\(list)]\(extra)"), megabytes: megabytes)
    }

    /// An address that no test's pod has: GC spares what some namespace has.
    private func lease(_ number: Int, _ owner: String) throws {
        try Data("\(owner)\r\neth0".utf8).write(
            to: URL(
                fileURLWithPath:
                    "\(node.directory)/ipam/default-network/198.18.\(number >> 8).\(number & 255)"))
    }

    private static func numbered(_ count: Int, _ value: String = "true") -> String {
        "{\((0..<count).map { "\"net.core.x\($0)\":\(value)" }.joined(separator: ","))}"
    }

    // MARK: GC

    @Test func definitionsAreReadOneAtATime() throws {
        let large = Self.numbered(16000, "\"1\"")
        for number in 0..<80 {
            try node.define(
                "d\(number)",
                "{\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"bridge\"},{\"type\":\"tuning\",\"sysctl\":\(large)}]}"
            )
        }
        #expect(try collect().status == 0)
        let gone = try call("DEL", MetaEndToEnd.config(node, networks: nil))
        #expect(gone.status == 0, "\(gone.ran)")
    }

    @Test func recordsOfTheLivingAreReadOneAtATime() throws {
        let large = Self.numbered(16000, "\"1\"")
        try node.define(
            "large", "{\"cniVersion\":\"1.0.0\",\"type\":\"bridge\",\"bridge\":\"b1\",\"x\":\(large)}")
        let added = try call("ADD", MetaEndToEnd.config(node, networks: "large"))
        #expect(added.status == 0, "\(added.ran)")
        for number in 0..<80 {
            let pod = try node.pod("p\(number)")
            let answer = try node.call(
                "ADD", id: "p\(number)", netns: pod, args: MetaEndToEnd.pod,
                MetaEndToEnd.config(node, networks: "large"))
            #expect(answer.status == 0, "\(answer.ran)")
        }
        let answer = try collect(["c1"] + (0..<80).map { "p\($0)" })
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.leases("default-network").count == 81)
    }

    @Test func leasesOfTheDeadAndTheUnknownAreCounted() throws {
        try Shell.sh("mkdir -p \(node.directory)/ipam/default-network")
        for number in 0..<8000 { try lease(number, "\(String(repeating: "d", count: 60))\(number)") }
        let answer = try collect(
            (0..<4000).map { "\(String(repeating: "d", count: 60))\($0)" }, megabytes: 48)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.leases("default-network").count == 4000)
    }

    /// An owner that is longer than any container's ID is none that anybody knows.
    @Test func ownersHaveALimit() throws {
        try Shell.sh("mkdir -p \(node.directory)/ipam/default-network")
        for number in 0..<500 { try lease(number, "d\(String(repeating: "d", count: 200_000))") }
        #expect(try collect().status == 0)
        #expect(try node.leases("default-network").count == 500)
    }

    @Test func theRuntimesResultsAreReadOnce() throws {
        try Shell.sh(
            "mkdir -p \(node.directory)/ipam/default-network \(node.directory)/var/results /var/lib/cni")
        for number in 0..<2500 {
            let id = "\(String(repeating: "d", count: 60))\(number)"
            try lease(number, id)
            try node.write(
                "var/results/cbr-\(id)-eth0",
                "{\"containerId\":\"\(id)\",\"networkName\":\"\(number < 10 ? "other" : "node-network")\",\"ifName\":\"eth0\"}"
            )
        }
        let config = MetaEndToEnd.config(
            node, version: "1.1.0", networks: nil, extra: ",\"cni.dev/valid-attachments\":[]")
        let answer = try node.call(
            "GC", id: "", netns: "",
            prefix: [
                "prlimit", "--cpu=5", "--core=0", "unshare", "-m", "sh", "-c",
                "mount --bind \(node.directory)/var /var/lib/cni && exec \"$@\"", "sh",
            ], config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.leases("default-network").count == 10)
    }

    @Test func tornRecordsAreLookedThroughOnce() throws {
        let folder = "\(node.directory)/state/attachments"
        try Shell.sh("mkdir -p -m 700 \(folder) && cd \(folder) && seq -f 'd%g@eth0.json' 8000 | xargs touch")
        let answer = try collect(extra: ",\"logLevel\":\"panic\"")
        #expect(answer.status == 0, "\(answer.ran.output.prefix(500))")
        #expect(try node.files("state").isEmpty)
    }

    /// What no ADD can have made is nobody's record, and one lock that cannot be taken does not stop the others.
    @Test func oddNamesAmongTheRecordsDisturbNobody() throws {
        let folder = "\(node.directory)/state/attachments"
        let names = [
            "a b@eth0.json", "@eth0.json", "c@.json", "-x@eth0.json", "é@eth0.json", "c@a b.json",
            "\(String(repeating: "x", count: 210))@eth0.json", "\(String(repeating: "x", count: 248))@e.json",
            "c@\(String(repeating: "i", count: 200)).json", "a\nb@eth0.json", "json", ".json", "x.json.lock",
        ]
        try Shell.sh("mkdir -p -m 700 \(folder) && mkdir -p \(folder)/locked@eth0.json.lock/full")
        for name in names { try Data("{}".utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
        try Shell.sh("cd \(folder) && touch \"$(printf '\\377@eth0.json')\" dead@eth0.json")
        let answer = try collect()
        #expect(answer.code == 5 && answer.ran.output.contains("rm -r \(folder)/locked@eth0.json.lock"))
        let left = try FileManager.default.contentsOfDirectory(atPath: folder)
        #expect(left.count == names.count + 2 && !left.contains("dead@eth0.json"), "\(left)")
        try Shell.sh("rm -r \(folder)/locked@eth0.json.lock")
        #expect(try collect().status == 0)
    }

    /// A dead interface whose record is torn takes nothing of the container's other one with it.
    @Test func aTornRecordSparesTheContainersOtherInterface() throws {
        let config = MetaEndToEnd.config(node)
        #expect(try call("ADD", config).status == 0)
        let other = try node.call("ADD", netns: netns, interface: "eth1", config.replacing("net-a", with: ""))
        #expect(other.status == 0, "\(other.ran)")
        try Shell.sh("echo torn >\(node.directory)/state/attachments/c1@eth1.json")
        let before = try node.links()
        let answer = try collect(["c1"])
        #expect(answer.status == 0, "\(answer.ran)")
        // eth1 is dead, as the runtime does not name it.
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try node.links().count == before.count - 1)
        #expect(try call("CHECK", config).status == 0)
    }

    // MARK: ADD

    @Test func capabilitiesAreReadOnce() throws {
        try node.define(
            "large",
            "{\"cniVersion\":\"1.0.0\",\"type\":\"bridge\",\"bridge\":\"b1\",\"capabilities\":\(Self.numbered(30000))}"
        )
        let answer = try call("ADD", MetaEndToEnd.config(node, networks: "large"))
        #expect(answer.status == 0, "\(answer.ran)")
    }

    @Test func theRuntimesArgumentsAreReadOnce() throws {
        try node.define("net-b", #"{"cniVersion":"1.0.0","type":"bridge","bridge":"b1"}"#)
        let args = "IgnoreUnknown=1;" + (0..<12000).map { "k\($0)=1" }.joined(separator: ";")
        let networks = (0..<256).map { "net-b@i\($0)" }.joined(separator: ",")
        let answer = try call(
            "ADD", MetaEndToEnd.config(node, networks: networks), args: args, megabytes: 256)
        #expect(answer.code == 7 && answer.message.contains("cannot be kept"), "\(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    @Test func aPodsAddressesAreLookedForTogether() throws {
        let addresses = (1...4000).map { "{\"address\":\"10.7.\($0 >> 8).\($0 & 255)/16\"}" }
        try node.define(
            "many",
            "{\"cniVersion\":\"1.0.0\",\"type\":\"bridge\",\"bridge\":\"b1\",\"ipam\":{\"type\":\"static\",\"addresses\":[\(addresses.joined(separator: ","))]}}"
        )
        #expect(try call("ADD", MetaEndToEnd.config(node, networks: ""), id: "x").status == 0)
        let folder = "\(node.directory)/state/attachments"
        try Shell.sh(
            "cd \(folder) && for i in $(seq 800); do cp x@eth0.json p$i@eth0.json; done; ip -n \(node.name)-a link del eth0"
        )
        let answer = try call("ADD", MetaEndToEnd.config(node, networks: "many"))
        #expect(answer.status == 0, "\(answer.ran)")
    }

    @Test func whoHadAddressesBeforeIsLookedUp() throws {
        #expect(try call("ADD", MetaEndToEnd.config(node, networks: ""), id: "x").status == 0)
        let file = "\(node.directory)/state/attachments/unrecorded"
        try Shell.sh("yes a | head -c 6000000 >\(file); ip -n \(node.name)-a link del eth0")
        #expect(try call("ADD", MetaEndToEnd.config(node, networks: "")).status == 0)
        try Shell.sh("printf 'one\\nc2\\ntwo\\n' >\(file)")
        #expect(try call("DEL", MetaEndToEnd.config(node, networks: ""), id: "c2").status == 0)
        #expect(try Shell.sh("cat \(file)") == "one\ntwo\n")
    }

    @Test(arguments: [
        ("static", "static: 8193 addresses, the limit is 8192"), ("tuning", "more than 4096 values"),
    ])
    func whatNoPodHasIsRefused(type: String, problem: String) throws {
        let addresses = (1...8193).map { "{\"address\":\"10.7.\($0 >> 8).\($0 & 255)/8\"}" }
        let config =
            type == "static"
            ? "\"type\":\"bridge\",\"ipam\":{\"type\":\"static\",\"addresses\":[\(addresses.joined(separator: ","))]}"
            : "\"plugins\":[{\"type\":\"bridge\"},{\"type\":\"tuning\",\"sysctl\":\(Self.numbered(4097, "\"1\""))}]"
        try node.define("many", "{\"cniVersion\":\"1.0.0\",\(config)}")
        let answer = try call("ADD", MetaEndToEnd.config(node, networks: "many"))
        #expect(answer.code == 7 && answer.message.contains(problem), "\(answer.ran.output.prefix(400))")
        #expect(try node.links(pod: "a").isEmpty && node.files("state").isEmpty)
    }

    // MARK: Files

    /// Nothing can be there, and nothing was ever taken there.
    @Test func aNameThatIsTooLongForAFileKeepsNoPod() throws {
        let long = String(repeating: "x", count: 300)
        let config = MetaEndToEnd.config(node, networks: "").replacing("default-network", with: long)
        let answer = try call("ADD", config)
        #expect(answer.code == 5 && answer.ran.output.contains("File name too long"), "\(answer.ran)")
        #expect(try call("DEL", config).status == 0)
        let gone = try node.call(
            "DEL", netns: "/run/netns/\(long)", args: MetaEndToEnd.pod,
            MetaEndToEnd.config(node, networks: long))
        #expect(gone.status == 0, "\(gone.ran)")
        #expect(try node.files("state").isEmpty)
    }

    static let files = [
        "state/attachments/c1@eth0.json", "state/attachments/unrecorded", "state/attachments/x@eth0.json",
        "state/c1", "cache/net-attach-def/default/net-a.yaml", "cache/net-attach-def/default/x.json",
        "ipam/default-network/10.244.0.2", "ipam/default-network/10.244.0.9",
        "ipam/default-network/last_reserved_ip.0",
    ]

    /// Whatever is in a file's place holds nobody and takes no memory, and the pod goes.
    @Test(
        arguments: files,
        ["mkfifo", "mknod -m 600 F c 1 5 ||", "truncate -s 2G", "ln -s /dev/zero", "mkdir"])
    func whatIsInAFilesPlaceHoldsNobody(path: String, make: String) throws {
        let config = MetaEndToEnd.config(node)
        #expect(try call("ADD", config).status == 0)
        let file = "\(node.directory)/\(path)"
        try Shell.sh("rm -f \(file); \(make.replacing("F", with: file)) \(file)")
        // Somebody may hold a pipe open for writing without ever writing.
        let writer = make == "mkfifo" ? open(file, O_RDWR) : -1
        defer { close(writer) }
        for verb in ["CHECK", "DEL", "ADD", "GC", "DEL"] {
            let answer = verb == "GC" ? try collect(["c1"]) : try call(verb, config)
            #expect([0, 1].contains(answer.status), "\(verb): \(answer.ran)")
            if verb == "DEL" || verb == "GC" { #expect(answer.status == 0, "\(verb): \(answer.ran)") }
        }
        #expect(try node.links(pod: "a").isEmpty)
    }
}
