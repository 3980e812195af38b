import Networking
import Plans
import Testing

/// What is kept of a host's device while a pod has it.
@Suite struct DeviceTests {
    @Test("a record is read as it was written")
    func record() throws {
        var link = LinkFacts(kind: "", mac: .zero, isUp: true)
        link.bus = "pci/0000:00:04.0"
        link.permanentAddress = "020000000001"
        link.alternativeNames = ["enp0s4"]
        let device = Device(name: "eth9", interface: "eth0", link)
        #expect(Device(note: device.note, interface: "eth0") == device)
        var veth = LinkFacts(kind: "veth", peerIndex: 7)
        veth.isTiedToHost = true
        let tied = Device(name: "veth1", interface: "eth0", veth)
        #expect(Device(note: tied.note, interface: "eth0")?.identity?.parent == 7)
        let damaged = tied.note.replacing("veth1", with: "veth3")
        #expect(Device(note: damaged, interface: "eth0") == nil)
    }

    @Test(
        "what is no record, or might lead elsewhere, is none",
        arguments: [
            "", "{", "[]", "{}", #"{"device":5}"#, #"{"device":""}"#, #"{"device":"a/b"}"#,
            #"{"device":"all"}"#,
        ])
    func badRecords(text: String) { #expect(Device(note: text, interface: "eth0") == nil) }

    @Test(
        "a bus becomes part of a path: a false one is forgotten",
        arguments: ["..", "pci", "pci/..", "a/b/c", "/x"])
    func badBus(bus: String) throws {
        let text = #"{"device":"eth9","kind":"","bus":"\#(bus)"}"#
        #expect(try #require(Device(note: text, interface: "eth0")).identity?.bus == nil)
    }

    @Test("an old record has a name alone, and proves nothing")
    func oldRecord() throws {
        let device = try #require(Device(note: #"{"device":"eth9","up":true}"#, interface: "eth0"))
        #expect(device == Device(name: "eth9", interface: "eth0", wasUp: true))
        #expect(!LinkIdentity(LinkFacts(kind: "dummy")).isProof)
    }

    @Test("a device is known by its bus, its made address, or the link that it is tied to")
    func identity() {
        func link(kind: String = "", bus: String? = nil, made: String? = nil, peer: Int32? = nil) -> LinkFacts
        {
            var link = LinkFacts(kind: kind, peerIndex: peer)
            link.bus = bus
            link.permanentAddress = made
            link.isTiedToHost = peer != nil
            return link
        }
        for (own, found, isSame) in [
            (link(bus: "pci/1"), link(bus: "pci/1"), true), (link(bus: "pci/1"), link(bus: "pci/2"), false),
            // An administrator of the card may give its functions other addresses meanwhile.
            (link(bus: "pci/1", made: "a"), link(bus: "pci/1", made: "b"), true),
            (link(made: "a"), link(made: "a"), true), (link(made: "a"), link(made: "b"), false),
            (link(kind: "veth", peer: 7), link(kind: "veth", peer: 7), true),
            (link(kind: "veth", peer: 7), link(kind: "veth", peer: 8), false),
            (link(kind: "veth", peer: 7), link(kind: "macvlan", peer: 7), false),
            (link(bus: "pci/1"), link(kind: "dummy", bus: "pci/1"), false),
        ] { #expect(LinkIdentity(own).isSame(as: found) == isSame) }
    }
}
