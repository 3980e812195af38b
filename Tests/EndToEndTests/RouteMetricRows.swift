import Support
import Testing

/// Default routes of several networks beside each other.
@Suite struct RouteMetricRows {
    private let node: Node

    init() throws {
        node = try MetaEndToEnd.node()
        try node.define(
            "net-b",
            MetaEndToEnd.article.replacing("DIR", with: node.directory).replacing(
                "192.168.12", with: "192.168.13"
            ).replacing("mybr0", with: "mybr1"))
        _ = try node.pod("a")
    }

    private func call(_ verb: String, _ networks: String) throws -> Answer {
        try node.call(
            verb, netns: "/run/netns/\(node.name)-a", args: StatusRows.args(),
            MetaEndToEnd.config(node, version: "1.1.0", networks: networks))
    }

    private static let two = """
        [{"name":"net-a","default-route":["192.168.12.1"],"default-route-metric":200},\
        {"name":"net-b","default-route":["192.168.13.1"],"default-route-metric":300}]
        """

    @Test("each has its metric, the one of the default network stays, and CHECK knows them")
    func coexist() throws {
        let answer = try call("ADD", Self.two)
        #expect(answer.status == 0, "\(answer.ran)")
        let routes = try node.ip("route show default", pod: "a").list
        let found = routes.map {
            "\($0["dev"].string ?? "") \($0["gateway"].string ?? "") \($0["metric"].int ?? 0)"
        }
        #expect(found == ["eth0 10.244.0.1 0", "net1 192.168.12.1 200", "net2 192.168.13.1 300"])
        let check = try call("CHECK", Self.two)
        #expect(check.status == 0, "\(check.ran)")
        let status = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
        #expect(
            status.list.map { $0["gateway"][0].string } == ["10.244.0.1", "192.168.12.1", "192.168.13.1"])
        // The kernel takes the next one when the first is gone.
        try node.sh("ip route del default via 10.244.0.1", pod: "a")
        #expect(try node.ip("route get 1.1.1.1", pod: "a")[0]["dev"].string == "net1")
        #expect(try call("CHECK", Self.two).status == 1)
    }

    @Test("a network's own default route gives way to the one with the metric")
    func ownRoute() throws {
        try node.define(
            "own",
            MetaEndToEnd.article.replacing("DIR", with: node.directory).replacing("mybr0", with: "mybr2")
                .replacing(
                    "\"subnet\":\"192.168.12.0/24\"",
                    with: "\"subnet\":\"192.168.12.0/24\",\"routes\":[{\"dst\":\"192.0.2.0/24\"}]"))
        let answer = try call(
            "ADD", #"[{"name":"own","default-route":["192.168.12.1"],"default-route-metric":100}]"#)
        #expect(answer.status == 0, "\(answer.ran)")
        let routes = try node.ip("route show default dev net1", pod: "a").list
        #expect(routes.map { $0["metric"].int } == [100])
    }

    @Test("one without a metric takes the place of those that are there, and stands beside one that has it")
    func mixed() throws {
        let answer = try call(
            "ADD", Self.two.replacing(#","default-route-metric":200"#, with: ""))
        #expect(answer.status == 0, "\(answer.ran)")
        let routes = try node.ip("route show default", pod: "a").list
        #expect(routes.map { $0["dev"].string } == ["net1", "net2"])
    }

    @Test(
        "what makes no sense is refused before anything is done",
        arguments: [
            (#"[{"name":"net-a","default-route-metric":200}]"#, "names no gateway"),
            (#"[{"name":"net-a","default-route":[],"default-route-metric":200}]"#, "names no gateway"),
            (
                #"[{"name":"net-a","default-route":["192.168.12.1"],"default-route-metric":0}]"#,
                "default-route-metric"
            ),
            (#"[{"name":"net-a","default-route":["192.168.12.1"],"metric":2}]"#, "\"default-route-metric\""),
            (two.replacing("300", with: "200"), "default-route is asked for 2 times for IPv4"),
            (
                #"[{"name":"net-a","default-route":["192.168.12.1","192.168.12.2"],"default-route-metric":9}]"#,
                "2 times"
            ),
        ])
    func refused(networks: String, words: String) throws {
        let answer = try call("ADD", networks)
        #expect(answer.code == 7 && answer.message.contains(words), "\(answer.ran)")
        #expect(try node.links().isEmpty && node.files("state").isEmpty)
    }
}
