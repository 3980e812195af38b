import CNI
import Modules
import Networking
import Plans
import Testing

@Suite struct DummyTests {
    static let ipam = #""ipam":{"type":"x"}"#

    @Test("DU-01: the link, its address, and up")
    func planned() throws {
        let pod = try Pod.attachment("10.1.2.3/32")
        #expect(
            try Dummy.planned(Self.ipam, pod) == [
                .addLink(LinkSpec("eth0", .dummy, mac: pod.mac(.sandbox)), .sandbox),
                .addAddress(try Pod.cidr("10.1.2.3/32"), .eth0), .change(.eth0, .up(true)),
            ])
        let result = try Dummy.result(Self.ipam, pod)
        #expect(result.interfaces == [.init(name: "eth0", mac: "06:07:08:09:0a:0b", sandbox: "/n")])
        #expect(result.ips.map(\.interface) == [0])
    }

    @Test("DU-02: without ipam it is refused, and never by DEL")
    func addressless() throws {
        #expect(refusal { _ = try Dummy.config("") }.contains("requires an IPAM configuration"))
        #expect(refusal { _ = try Dummy.config("", .del) } == "none")
        #expect(refusal { _ = try Dummy.result(Self.ipam, Pod.attachment()) }.contains("missing IP config"))
        let taken = Facts([.sandbox("eth0"): LinkFacts(kind: "veth")])
        #expect(Dummy.refused(Self.ipam, try Pod.attachment(), taken).contains("already exists"))
    }

    @Test("DU-03: DEL takes the link, and asks for nothing")
    func removal() throws {
        let pod = try Pod.attachment()
        #expect(try Dummy.removed("", pod) == Removal(links: ["eth0"]))
        #expect(try Dummy.needs(Dummy.config("", .del), pod, .del) == FactsQuery())
    }

    @Test("DU-04: CHECK finds a link that is down, of another kind, or missing")
    func check() throws {
        let previous = Pod.result("eth0 00:00:00:00:00:00")
        let pod = try Pod.attachment(previous: previous)
        for (link, problem) in [
            (LinkFacts(kind: "dummy", mac: .zero, isUp: true), "none"),
            (LinkFacts(kind: "dummy", mac: .zero), "is down"),
            (LinkFacts(kind: "veth", mac: .zero, isUp: true), "is not of type dummy"), (nil, "not found"),
        ] as [(LinkFacts?, String)] {
            var facts = Facts()
            facts.links[.sandbox("eth0")] = link
            #expect(Dummy.checked(Self.ipam, pod, previous, facts).contains(problem))
        }
    }
}
