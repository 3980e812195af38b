import CNI
import Networking
import Plans
import Testing

/// What plans and removals are made of.
@Suite struct PlanTests {
    static func attachment(_ digest: [UInt8]) -> Plans.Attachment {
        Attachment(
            id: AttachmentID(containerID: "c1", interface: "eth0"), sandbox: "/n", networkName: "net",
            digest: digest)
    }

    @Test("derived names fit the kernel, and differ; derived addresses are nobody's own")
    func derived() {
        for digest: [UInt8] in [
            Array(0..<32), Array(repeating: 0xff, count: 32), Array(repeating: 0, count: 32),
        ] {
            let attachment = Self.attachment(digest)
            let names = [attachment.hostLinkName, attachment.vlanPeerName, attachment.temporaryName]
            for name in names { #expect(Names.interfaceProblem(name) == nil) }
            for mac in [attachment.mac(.sandbox), attachment.mac(.host), attachment.mac(ofBridge: "b")] {
                #expect(!mac.isMulticast)
                #expect(mac.bytes[0] & 2 == 2)
            }
        }
        let attachment = Self.attachment(Array(0..<32))
        #expect(attachment.hostLinkName == "veth00010203040", "DEL of older versions' pods goes by it")
        #expect(
            Set([attachment.hostLinkName, attachment.vlanPeerName, attachment.temporaryName]).count == 3)
        let bridges = ["b", "c"].map(attachment.mac(ofBridge:))
        #expect(Set([attachment.mac(.sandbox), attachment.mac(.host)] + bridges).count == 4)
    }

    @Test("two removals of one attachment are one: all is restored before anything goes")
    func joined() {
        let one = Removal(restores: [.removeFile("/a")], steps: [.removeFile("/b")], links: ["a"])
        var two = Removal(restores: [.removeFile("/c")], steps: [.removeFile("/d")], hostPairs: ["d"])
        two.problem = Failure(.generic, "away")
        let both = one.joined(with: two)
        #expect(both.restores == [.removeFile("/a"), .removeFile("/c")])
        #expect(both.steps == [.removeFile("/b"), .removeFile("/d")])
        #expect(both.links == ["a"] && both.hostPairs == ["d"])
        #expect(both.problem?.message == "away")
    }

    @Test("a small map is a dictionary of a few")
    func smallMap() {
        var map: SmallMap<String, Int> = ["a": 1, "b": 2]
        map["a"] = 3
        map["c"] = 4
        map.update("b") { $0 += 10 }
        map.update("none") { $0 += 10 }
        #expect(map == ["c": 4, "b": 12, "a": 3])
        #expect(map != ["c": 4, "b": 12])
        #expect(map.removeValue(forKey: "c") == 4)
        map["b"] = nil
        #expect(map == ["a": 3])
        #expect(map.contains("a") && !map.contains("b"))
    }
}
