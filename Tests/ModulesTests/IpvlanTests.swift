import CNI
import Modules
import Networking
import Plans
import Testing

@Suite struct IpvlanTests {
    static let master = #""master":"eth9""#
    static let keys = #"\#(master),"ipam":{"type":"x"}"#

    static func facts() throws -> Facts {
        Facts([.host("eth9"): LinkFacts(kind: "", mac: try Pod.mac("02:00:00:00:00:99"), isUp: true)])
    }

    @Test(
        "IV-01: modes and MTU, as the link is made",
        arguments: [
            ("", "ip link add link eth9 name eth0 netns POD type ipvlan mode l2"),
            (#","mode":"l2""#, "mode l2"), (#","mode":"l3""#, "mode l3"), (#","mode":"l3s""#, "mode l3s"),
            (#","mtu":1400"#, "mtu 1400 netns POD"), (#","mtu":-1"#, "eth0 netns POD"),
        ])
    func made(keys: String, words: String) throws {
        let made = commands(try Ipvlan.made(Self.keys + keys, Pod.attachment(), Self.facts()))
        #expect(made.count == 1)
        #expect(made[0].contains(words), "\(made)")
    }

    @Test("IV-02: without a master it sits on the default route's link")
    func defaultMaster() throws {
        var facts = try Self.facts()
        #expect(Ipvlan.refused("", try Pod.attachment(), facts).contains("no default route interface found"))
        facts.defaultRouteLink = .host("eth9")
        #expect(Ipvlan.refused("", try Pod.attachment(), facts) == "none")
        #expect(commands(try Ipvlan.made("", Pod.attachment(), facts))[0].hasPrefix("ip link add link eth9"))
    }

    @Test("IV-03: behind another plugin it sits on that one's only interface, with its addresses")
    func chained() throws {
        var one = Pod.result("eth9")
        one.ips = [try Pod.ip("10.1.2.3/24")]
        one.routes = [try Pod.route("10.9.0.0/16", via: "10.1.2.1")]
        let pod = try Pod.attachment(previous: one)
        #expect(commands(try Ipvlan.made("", pod, Self.facts()))[0].hasPrefix("ip link add link eth9"))
        let planned = try Ipvlan.planned("", pod, Self.facts())
        #expect(planned.contains(.addAddress(try Pod.cidr("10.1.2.3/24"), .eth0)))
        #expect(planned.contains(.addRoute(try Pod.route("10.9.0.0/16", via: "10.1.2.1"), .eth0)))
        let two = try Pod.attachment(previous: Pod.result("eth9", "eth8"))
        #expect(Ipvlan.refused("", two, try Self.facts()).contains("prevResult has 2 interfaces"))
        #expect(Ipvlan.refused(Self.master, two, try Self.facts()) == "none")
    }

    @Test("IV-04: a master in the pod makes it there")
    func inside() throws {
        let facts = Facts([.sandbox("eth9"): LinkFacts(kind: "")])
        let made = commands(
            try Ipvlan.made(#"\#(Self.keys),"linkInContainer":true"#, Pod.attachment(), facts))
        #expect(made == ["ip -n POD link add link eth9 name eth0 type ipvlan mode l2"])
    }

    @Test("IV-05: it has its master's MAC address")
    func result() throws {
        let result = try Ipvlan.result(Self.keys, Pod.attachment("10.1.2.3/24"), Self.facts())
        #expect(result.interfaces == [.init(name: "eth0", mac: "02:00:00:00:00:99", sandbox: "/n")])
        #expect(result.ips.map(\.interface) == [0])
    }

    @Test("without addresses it is of no use")
    func addressless() throws {
        let facts = try Self.facts()
        #expect(
            refusal { _ = try Ipvlan.result(Self.master, Pod.attachment(), facts) }
                .contains("ipvlan needs an IPAM configuration"))
        #expect(
            refusal { _ = try Ipvlan.result(Self.keys, Pod.attachment(), facts) }.contains(
                "missing IP config"))
    }

    @Test("an MTU above the master's is remarked", arguments: [(1400, 0), (1500, 0), (9000, 1)])
    func mtu(mtu: Int, count: Int) throws {
        let config = try Ipvlan.config(#"\#(Self.keys),"mtu":\#(mtu)"#)
        #expect(try Ipvlan.judge(config, Pod.attachment(), Self.facts()).count == count)
    }

    @Test("IV-01, IV-07: a mode that nobody knows is refused, and never by DEL")
    func modes() throws {
        #expect(refusal { _ = try Ipvlan.config(#""mode":"x""#) }.contains("unknown ipvlan mode: \"x\""))
        #expect(refusal { _ = try Ipvlan.config(#""mode":"x""#, .del) } == "none")
        var taken = try Self.facts()
        taken.links[.sandbox("eth0")] = LinkFacts(kind: "veth")
        #expect(Ipvlan.refused(Self.keys, try Pod.attachment(), taken).contains("already exists"))
    }

    @Test("IV-07, IV-08: DEL needs no master")
    func removal() throws {
        let pod = try Pod.attachment()
        #expect(try Ipvlan.removed(Self.keys, pod) == Removal(links: ["eth0", pod.temporaryName]))
    }

    @Test("IV-06: CHECK finds another mode; a master that another plugin made need not be known")
    func check() throws {
        let previous = Pod.result("eth0 02:00:00:00:00:99")
        let pod = try Pod.attachment(previous: previous)
        var facts = try Self.facts()
        var link = LinkFacts(kind: "ipvlan", mac: try Pod.mac("02:00:00:00:00:99"))
        link.settings = KindSettings(IpvlanKind(.l2))
        facts.links[.sandbox("eth0")] = link
        #expect(Ipvlan.checked(Self.keys, pod, previous, facts) == "none")
        #expect(Ipvlan.checked(#"\#(Self.keys),"mode":"l3""#, pod, previous, facts).contains("another mode"))
        facts.links[.host("eth9")] = nil
        #expect(Ipvlan.checked(Self.keys, pod, previous, facts).contains("failed to lookup master"))
        #expect(Ipvlan.checked("", pod, previous, facts) == "none")
    }
}
