import CNI
import Modules
import Networking
import Plans
import Testing

@Suite struct LoopbackTests {
    static func facts(_ addresses: String..., ipv6: String = "0") throws -> Facts {
        var facts = Facts([.sandbox("lo"): LinkFacts(kind: "", addresses: try addresses.map(Pod.cidr))])
        facts.sysctls[SysctlName(.sandbox, "net/ipv6/conf/lo/disable_ipv6")] = ipv6
        return facts
    }

    @Test("LO-01: lo comes up, with the addresses that the kernel gives it")
    func add() throws {
        let pod = try Pod.attachment()
        #expect(try Loopback.planned("", pod, Self.facts()) == [.change(.sandbox("lo"), .up(true))])
        for (facts, expected) in [
            (try Self.facts(), ["127.0.0.1/8", "::1/128"]),
            (try Self.facts(ipv6: "1"), ["127.0.0.1/8"]),
            (try Self.facts("127.0.0.5/8", ipv6: "1"), ["127.0.0.5/8"]),
        ] {
            let result = try Loopback.result("", pod, facts)
            #expect(result.ips.map { "\($0.address)" } == expected)
            #expect(result.interfaces == [.init(name: "lo", mac: "00:00:00:00:00:00", sandbox: "/n")])
        }
    }

    @Test("LO-02: DEL sets it down; CHECK wants it up, and no result of ADD")
    func removalAndCheck() throws {
        let pod = try Pod.attachment()
        #expect(try Loopback.removed("", pod).steps == [.change(.sandbox("lo"), .up(false))])
        #expect(!Loopback.checksResult)
        #expect(Loopback.checked("", pod, CNIResult(), try Self.facts()).contains("is down"))
        let up = Facts([.sandbox("lo"): LinkFacts(kind: "", isUp: true)])
        #expect(Loopback.checked("", pod, CNIResult(), up) == "none")
    }

    @Test("LO-03: an address that is no loopback's is refused")
    func stranger() throws {
        let facts = try Self.facts("127.0.0.1/8", "10.0.0.1/8")
        let message = refusal { _ = try Loopback.planned("", Pod.attachment(), facts) }
        #expect(message.contains("non-loopback address \"10.0.0.1/8\""))
    }

    @Test("LO-04: a result from before is passed on")
    func previous() throws {
        let previous = Pod.result("br0", "eth0 02:00:00:00:00:01")
        #expect(try Loopback.result("", Pod.attachment(previous: previous), Self.facts()) == previous)
    }
}
