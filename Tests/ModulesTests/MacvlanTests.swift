import CNI
import Modules
import Networking
import Plans
import Testing

@Suite struct MacvlanTests {
    static let master = #""master":"eth9""#
    static let ipam = #""ipam":{"type":"x"}"#

    static func facts(_ change: (inout LinkFacts) -> Void = { _ in }) throws -> Facts {
        var link = LinkFacts(kind: "", mac: try Pod.mac("02:00:00:00:00:99"), isUp: true)
        change(&link)
        return Facts([.host("eth9"): link])
    }

    @Test(
        "the keys of the link, each as it is made",
        arguments: [
            (
                "MV-01", "",
                "ip link add link eth9 name eth0 address 06:07:08:09:0a:0b netns POD type macvlan mode bridge"
            ),
            ("MV-01", #","mode":"private""#, "mode private"), ("MV-01", #","mode":"vepa""#, "mode vepa"),
            ("MV-01", #","mode":"passthru""#, "name eth0 netns POD type macvlan mode passthru"),
            ("MV-02", #","mtu":1400"#, "mtu 1400 netns POD"), ("MV-02", #","mtu":0"#, "0a:0b netns POD"),
            ("MV-03", #","mac":"02:00:00:00:00:05""#, "address 02:00:00:00:00:05"),
            ("MV-05", #","bcqueuelen":50"#, "mode bridge bcqueuelen 50"),
            ("MV-07", #","linkInContainer":false"#, "ip link add link eth9"),
        ])
    func made(row: String, keys: String, words: String) throws {
        let made = commands(try Macvlan.made(Self.master + keys, Pod.attachment(), Self.facts()))
        #expect(made.count == 1)
        #expect(made[0].contains(words), "\(row): \(made)")
    }

    @Test("MV-07: a master in the pod makes it there")
    func inside() throws {
        let facts = Facts([.sandbox("eth9"): LinkFacts(kind: "")])
        let made = commands(
            try Macvlan.made(#"\#(Self.master),"linkInContainer":true"#, Pod.attachment(), facts))
        #expect(made[0].hasPrefix("ip -n POD link add link eth9 name eth0"))
        #expect(!made[0].contains("netns POD type"))
    }

    @Test("MV-03: of several MAC addresses the last place counts, and args.cni is none")
    func requestedMAC() throws {
        let own = #""mac":"02:00:00:00:00:01""#
        let runtime = #""runtimeConfig":{"mac":"02:00:00:00:00:03"}"#
        for (keys, args, last) in [
            (own, "", "1"), (own, "MAC=02:00:00:00:00:02", "2"),
            ("\(own),\(runtime)", "MAC=02:00:00:00:00:02", "3"),
            (#"\#(own),"args":{"cni":{"mac":"02:00:00:00:00:04"}}"#, "", "1"),
        ] {
            let config = try Macvlan.config("\(Self.master),\(keys)", args: args)
            let step = try Macvlan.make(config, Pod.attachment(), Self.facts())
            #expect(commands(step)[0].contains("address 02:00:00:00:00:0\(last)"))
        }
    }

    @Test("MV-04: without IPAM it is up and has no address")
    func layer2() throws {
        let plan = try Macvlan.configure(Macvlan.config(Self.master), Pod.attachment(), Self.facts())
        #expect(commands(plan.steps) == ["ip -n POD link set dev eth0 up"])
        #expect(plan.result.ips.isEmpty)
        #expect(plan.result.interfaces == [.init(name: "eth0", mac: "06:07:08:09:0a:0b", sandbox: "/n")])
        #expect(plan.readBack.isEmpty)
    }

    @Test("MV-06: the neighbours hear of it, then it gets its addresses and comes up")
    func addressed() throws {
        let attachment = try Pod.attachment("10.1.2.3/24 via 10.1.2.1")
        let plan = try Macvlan.configure(
            Macvlan.config("\(Self.master),\(Self.ipam)"), attachment, Self.facts())
        #expect(
            plan.steps == [
                .setting("ipv4/conf/eth0/arp_notify", "1"), .setting("ipv6/conf/eth0/ndisc_notify", "1"),
                .addAddress(try Pod.cidr("10.1.2.3/24"), .eth0), .change(.eth0, .up(true)),
            ])
        #expect(plan.result.ips.map(\.interface) == [0])
    }

    @Test("in passthru mode it has its master's MAC address, as the kernel has it")
    func passthru() throws {
        let config = try Macvlan.config(#"\#(Self.master),"mode":"passthru""#)
        let plan = try Macvlan.configure(config, Pod.attachment(), Self.facts())
        #expect(plan.result.interfaces[0].mac == "02:00:00:00:00:99")
        #expect(plan.readBack == [0])
    }

    @Test("MV-02, MV-08: what cannot be made is refused before an address is taken")
    func refused() throws {
        let pod = try Pod.attachment()
        var taken = try Self.facts()
        taken.links[.sandbox("eth0")] = LinkFacts(kind: "veth")
        for (keys, facts, problem) in [
            (Self.master, try Self.facts(), "none"),
            (#"\#(Self.master),"mtu":1500"#, try Self.facts(), "none"),
            (#"\#(Self.master),"mtu":1501"#, try Self.facts(), "must be [0, master MTU(1500)]"),
            (#"\#(Self.master),"mtu":-1"#, try Self.facts(), "invalid MTU -1"),
            (Self.master, taken, "\"eth0\" already exists"),
            (Self.master, Facts(), "failed to lookup master \"eth9\""),
            ("", try Self.facts(), "no default route interface found"),
        ] { #expect(Macvlan.refused(keys, pod, facts).contains(problem), "\(keys)") }
        #expect(refusal { _ = try Macvlan.config(#""mode":"x""#) }.contains("unknown macvlan mode: \"x\""))
        #expect(refusal { _ = try Macvlan.config(#""mac":"01:00:00:00:00:01""#) }.contains("invalid args"))
        #expect(refusal { _ = try Macvlan.config(#""mode":"x","mac":"x""#, .del) } == "none")
    }

    @Test("a master that nobody named is the default route's, and a dead one is remarked")
    func remarks() throws {
        for (keys, change, fragment) in [
            (Self.master, { _ in }, nil), (Self.master, { $0.isUp = false }, "its master eth9 is down"),
            (Self.master, { $0.hasCarrier = false }, "has no carrier"), ("", { _ in }, "it sits on eth9"),
        ] as [(String, (inout LinkFacts) -> Void, String?)] {
            var facts = try Self.facts(change)
            facts.defaultRouteLink = .host("eth9")
            let remarks = try Macvlan.judge(Macvlan.config(keys), Pod.attachment(), facts)
            #expect(remarks.count == (fragment == nil ? 0 : 1))
            if let fragment { #expect("\(remarks)".contains(fragment)) }
        }
    }

    @Test("the kernel is asked for the master by its name or by the default route")
    func needs() throws {
        let pod = try Pod.attachment()
        for (keys, expected) in [
            (Self.master, FactsQuery(links: [.sandbox("eth0"), .host("eth9")])),
            ("", FactsQuery(links: [.sandbox("eth0")], defaultRoute: .host)),
            (#""linkInContainer":true"#, FactsQuery(links: [.sandbox("eth0")], defaultRoute: .sandbox)),
        ] {
            #expect(try Macvlan.needs(Macvlan.config(keys), pod, .add) == expected)
            #expect(try Macvlan.needs(Macvlan.config(keys, .del), pod, .del) == FactsQuery())
        }
    }

    @Test("MV-09, MV-10: DEL goes by the pod's name and by the one that it may have got stuck with")
    func removal() throws {
        let pod = try Pod.attachment()
        #expect(try Macvlan.removed(Self.master, pod) == Removal(links: ["eth0", pod.temporaryName]))
    }

    @Test("MV-11: CHECK finds another mode, another MAC address, a missing link and a missing master")
    func check() throws {
        let previous = Pod.result("eth0 02:00:00:00:00:01")
        let pod = try Pod.attachment(previous: previous)
        var good = try Self.facts()
        good.links[.sandbox("eth0")] = LinkFacts(kind: "macvlan", mac: try Pod.mac("02:00:00:00:00:01"))
        good.links.update(.sandbox("eth0")) { $0.settings = KindSettings(MacvlanKind(.bridge)) }
        #expect(Macvlan.checked(Self.master, pod, previous, good) == "none")
        #expect(
            Macvlan.checked(#"\#(Self.master),"mode":"vepa""#, pod, previous, good).contains("another mode"))
        let changes: [(String, (inout Facts) -> Void)] = [
            ("failed to lookup master", { $0.links[.host("eth9")] = nil }),
            ("\"eth0\" not found", { $0.links[.sandbox("eth0")] = nil }),
            ("MAC doesn't match", { $0.links.update(.sandbox("eth0")) { $0.mac = .zero } }),
            ("is not of type macvlan", { $0.links.update(.sandbox("eth0")) { $0.kind = "veth" } }),
        ]
        for (problem, change) in changes {
            var facts = good
            change(&facts)
            #expect(Macvlan.checked(Self.master, pod, previous, facts).contains(problem))
        }
    }
}
