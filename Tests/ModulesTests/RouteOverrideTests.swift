import CNI
import Modules
import Networking
import Plans
import Testing

@Suite struct RouteOverrideTests {
    /// A pod with an address, a default route and a route to 10.9.0.0/16, all of this chain.
    static func pod() throws -> Attachment {
        var previous = Pod.result("eth0 02:00:00:00:00:01")
        previous.ips = [try Pod.ip("10.1.2.3/24 via 10.1.2.1")]
        previous.routes = [
            try Pod.route("0.0.0.0/0", via: "10.1.2.1"), try Pod.route("10.9.0.0/16", via: "10.1.2.1"),
        ]
        return try Pod.attachment(previous: previous)
    }

    /// What the kernel has of it, its connected route, and the same of another interface.
    static func facts() throws -> Facts {
        var facts = Facts()
        for link in ["eth0", "net1"] {
            facts.routes += try [
                Pod.route("10.1.2.0/24"), Pod.route("0.0.0.0/0", via: "10.1.2.1"),
                Pod.route("10.9.0.0/16", via: "10.1.2.1"),
            ].map { SandboxRoute($0, link) }
        }
        return facts
    }

    static let removesDefault = "ip -n POD route delete default via 10.1.2.1 dev eth0"
    static let removesOther = "ip -n POD route delete 10.9.0.0/16 via 10.1.2.1 dev eth0"

    @Test(
        "which routes go and come, of this chain's interface alone, and what the result then says",
        arguments: [
            ("RO-01", "", [], ["0.0.0.0/0", "10.9.0.0/16"]),
            ("RO-02, RO-10", #""flushroutes":true"#, [removesOther, removesDefault], []),
            ("RO-03", #""flushgateway":true"#, [removesDefault], ["10.9.0.0/16"]),
            ("RO-04", #""delroutes":[{"dst":"10.9.0.0/16"}]"#, [removesOther], ["0.0.0.0/0"]),
            // Nobody promised it.
            ("RO-04", #""delroutes":[{"dst":"10.1.2.0/24"}]"#, [], ["0.0.0.0/0", "10.9.0.0/16"]),
            (
                "RO-05", #""addroutes":[{"dst":"10.8.0.0/16","gw":"10.1.2.9"}]"#,
                ["ip -n POD route prepend 10.8.0.0/16 via 10.1.2.9 dev eth0"],
                ["0.0.0.0/0", "10.9.0.0/16", "10.8.0.0/16"]
            ),
            // There is such a route.
            (
                "RO-05", #""addroutes":[{"dst":"10.9.0.0/16","gw":"10.1.2.1"}]"#, [],
                ["0.0.0.0/0", "10.9.0.0/16", "10.9.0.0/16"]
            ),
            (
                "RO-06", #""flushgateway":true,"args":{"cni":{"flushgateway":false}}"#, [],
                ["0.0.0.0/0", "10.9.0.0/16"]
            ),
        ])
    func add(row: String, keys: String, expected: [String], routes: [String]) throws {
        let plan = try RouteOverride.configure(RouteOverride.config(keys), Self.pod(), Self.facts())
        #expect(commands(plan.steps) == expected, "\(row)")
        #expect(plan.result.routes.map { "\($0.destination)" } == routes, "\(row)")
    }

    @Test("RO-03: an address without its gateway says 0.0.0.0")
    func gateways() throws {
        let result = try RouteOverride.result(#""flushgateway":true"#, Self.pod(), Self.facts())
        #expect(result.ips.map(\.gateway) == [try Pod.address("0.0.0.0")])
    }

    @Test("RO-06: a list of the pod's replaces the configuration's")
    func arguments() throws {
        let keys =
            #""addroutes":[{"dst":"10.8.0.0/16"}],"args":{"cni":{"addroutes":[{"dst":"10.7.0.0/16"}]}}"#
        #expect(
            try RouteOverride.planned(keys, Self.pod(), Self.facts()) == [
                .addRoute(try Pod.route("10.7.0.0/16"), .eth0)
            ])
    }

    @Test("RO-09: without a plugin before it there are no routes to change")
    func alone() throws {
        #expect(
            refusal { _ = try RouteOverride.planned("", Pod.attachment()) }
                .contains("Required prevResult missing"))
        #expect(
            refusal { _ = try RouteOverride.config(#""addroutes":[{"dst":"x"}]"#) }.contains(
                "addroutes[0].dst"))
    }

    @Test("routes go with their link: DEL does nothing, and asks for nothing")
    func removal() throws {
        let keys = #""flushroutes":true"#
        #expect(try RouteOverride.removed(keys, Self.pod()) == Removal())
        #expect(try RouteOverride.needs(RouteOverride.config(keys, .del), Self.pod(), .del) == FactsQuery())
    }

    @Test("RO-07: CHECK finds a promised route that is gone and a removed one that is back")
    func check() throws {
        let pod = try Self.pod()
        let previous = try #require(pod.previous)
        let good = try Self.facts()
        #expect(RouteOverride.checked("", pod, previous, good) == "none")
        var gone = good
        gone.routes.removeAll { $0.route.isDefault }
        #expect(RouteOverride.checked("", pod, previous, gone).contains("Failed to find route default"))
        #expect(RouteOverride.checked(#""skipcheck":true"#, pod, previous, gone) == "none")
        let back = #""delroutes":[{"dst":"10.9.0.0/16"}]"#
        #expect(RouteOverride.checked(back, pod, previous, good).contains("delroutes names it"))
        // Two default routes of this chain's link: which one counts nobody can say.
        var two = good
        two.routes.append(SandboxRoute(try Pod.route("0.0.0.0/0", via: "10.1.2.9"), "eth0"))
        #expect(RouteOverride.checked("", pod, previous, two).contains("Failed to find route default"))
    }
}
