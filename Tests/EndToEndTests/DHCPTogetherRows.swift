import Support
import Testing

/// Several networks of one pod whose addresses a server gives.
@Suite struct DHCPTogetherRows {
    private let node: DHCPNode
    private static let bridge = #""type":"bridge","bridge":"br0""#

    init() throws { node = try DHCPNode() }

    /// A bridge without a server, which a pod's network may be on.
    private func makeDeaf() throws {
        try node.node.sh("ip link add br1 type bridge && ip link set br1 up")
    }

    private func nothingIsLeft() throws {
        #expect(try node.node.links(pod: "a").isEmpty && node.records().isEmpty)
        #expect(try node.node.files("state").isEmpty)
        #expect(
            try node.node.files("ipam").allSatisfy { $0.hasSuffix("lock") || $0.contains("last_reserved") })
    }

    @Test("DX-01: the networks of a pod ask at once: a server may answer none before all have asked")
    func atOnce() throws {
        try node.server("await=3")
        try node.define("lan")
        try node.define("lan2", Self.bridge)
        try node.define("lan3", #""type":"macvlan","master":"eth1","mode":"bridge""#)
        let answer = try node.call("ADD", "lan,lan2,lan3")
        try #require(answer.status == 0, "\(answer.ran)")
        let links = ["net1", "net2", "net3"]
        let given = try links.flatMap { try node.addresses($0) }
        #expect(Set(given) == ["192.0.2.100/24", "192.0.2.101/24", "192.0.2.102/24"])
        let status = try node.status()
        #expect((1...3).map { status[$0]["interface"].string } == links)
        #expect((1...3).map { (status[$0]["ips"][0].string ?? "") + "/24" } == given)
        #expect(try node.call("CHECK", "lan,lan2,lan3").status == 0)
        #expect(try node.call("DEL", "lan,lan2,lan3").status == 0)
        try node.until("all are given back") { try node.heard("RELEASE").count == 3 }
        try nothingIsLeft()
    }

    @Test("one of several gets no answer: all are undone, and what was granted is given back")
    func oneFails() throws {
        try node.server()
        try makeDeaf()
        try node.define("deaf", #""type":"bridge","bridge":"br1""#, timeout: 2)
        try node.define("lan")
        try node.define("plain", #""type":"macvlan","master":"eth1""#, #""request":[]"#)
        let answer = try node.call("ADD", "plain,deaf,lan")
        #expect(answer.status == 1 && answer.message.contains("default/deaf"), "\(answer.ran)")
        #expect(answer.message.contains("no OFFER on net2 in 2 s"), "\(answer.ran)")
        try node.until("both are given back") { try node.heard("RELEASE").count == 2 }
        try nothingIsLeft()
        #expect(try node.call("DEL", "plain,deaf,lan").status == 0)
    }

    @Test("an optional one that gets no answer is left out, and the others go on")
    func optional() throws {
        try node.server()
        try makeDeaf()
        try node.define("deaf", #""type":"bridge","bridge":"br1""#, timeout: 2)
        try node.define("lan")
        let networks = #"[{"name":"deaf","optional":true},{"name":"lan"}]"#
        let answer = try node.call("ADD", networks)
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.node.links(pod: "a") == ["eth0", "net2"] && node.records() == ["c1@net2.json"])
        #expect(try node.node.links().filter { $0.hasPrefix("veth") || $0.hasPrefix("plx") }.count <= 1)
        #expect(try node.call("CHECK", networks).status == 0)
        #expect(try node.call("DEL", networks).status == 0)
        try nothingIsLeft()
    }

    @Test("one whose master another network of the pod makes asks in its turn")
    func dependent() throws {
        try node.server()
        try node.define("lan")
        try node.define(
            "lan2", #""type":"bridge","bridge":"br0""#, #""timeout":20,"request":[]"#)
        try node.define("top", #""type":"macvlan","master":"net2","linkInContainer":true"#)
        let answer = try node.call("ADD", "lan,lan2,top")
        try #require(answer.status == 0, "\(answer.ran)")
        #expect(try node.node.links(pod: "a") == ["eth0", "net1", "net2", "net3"])
        #expect(try node.addresses("net3").count == 1 && node.records().count == 3)
        #expect(try node.call("DEL", "lan,lan2,top").status == 0)
        try nothingIsLeft()
    }

    @Test("an attach that waits for a server ends with a signal, and is undone", arguments: ["INT", "TERM"])
    func ended(signal: String) throws {
        try node.server("silent")
        try node.define(timeout: 60)
        #expect(try node.call("ADD", "").status == 0)
        try node.node.write("conf.json", MetaEndToEnd.config(node.node, networks: ""))
        try node.start(
            "attach", "\(node.directory)/bin/plexus attach pod-a lan --config \(node.directory)/conf.json")
        try node.until("it asks") { try !node.heard("DISCOVER").isEmpty }
        try node.stop("attach", signal)
        #expect(try node.log("attach").contains("a signal ended the wait for an address"))
        #expect(try node.node.links(pod: "a") == ["eth0"] && node.records().isEmpty)
        #expect(try node.call("CHECK", "").status == 0)
        #expect(try node.call("DEL", "").status == 0)
    }
}
