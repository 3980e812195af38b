import CNI
import JSONC
import Networking
import Plans
import Testing

@testable import Records

/// The text of the annotation, character by character: those who read it compare it with what Multus writes.
@Suite struct NetworkStatusTests {
    /// - Parameter networks: name, asked interface and result of each, the default network first.
    private static func text(_ networks: (String, String, String)...) throws -> String {
        let list = try NetworkList.decode(
            JSON.parse(#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}"#).value,
            defaultName: nil)
        let entries = try networks.map { name, interface, result in
            let spec = AttachmentSpec(
                name: name, id: AttachmentID(containerID: "c1", interface: interface),
                sandbox: "/run/netns/x",
                args: "", list: list, searchPath: [])
            return PodRecord.Entry(
                spec: spec,
                attached: Attached(result: try CNIResult.parse(JSON.parse(result).value, assuming: .newest)))
        }
        return NetworkStatus.text(
            of: PodRecord(id: entries[0].spec.id, sandbox: "/run/netns/x", entries: entries)) ?? "[]"
    }

    private static let bridge = """
        {"cniVersion":"1.0.0","interfaces":[{"mac":"8a:6f:4a:b2:46:cb","name":"br-def"},\
        {"mac":"96:22:4c:61:f1:a0","name":"veth80cb7fec"},\
        {"mac":"da:5f:15:9f:f1:fc","name":"eth0","sandbox":"/run/netns/x"}],\
        "ips":[{"address":"10.244.0.6/16","gateway":"10.244.0.1","interface":2}],\
        "routes":[{"dst":"0.0.0.0/0","gw":"10.244.0.1"}]}
        """

    @Test("S01, S05: keys, their order, what is left out, and the indentation")
    func golden() throws {
        let second = """
            {"cniVersion":"1.0.0","interfaces":[{"mac":"ea:02:ad:96:7f:57","name":"net1","sandbox":"/run/netns/x"}],\
            "ips":[{"address":"10.1.0.2/24","interface":0}]}
            """
        #expect(
            try Self.text(
                ("default-cni-network", "eth0", Self.bridge), ("golden/net-a", "net1", second)) == """
                    [{
                        "name": "default-cni-network",
                        "interface": "eth0",
                        "ips": [
                            "10.244.0.6"
                        ],
                        "mac": "da:5f:15:9f:f1:fc",
                        "default": true,
                        "dns": {},
                        "gateway": [
                            "10.244.0.1"
                        ]
                    },{
                        "name": "golden/net-a",
                        "interface": "net1",
                        "ips": [
                            "10.1.0.2"
                        ],
                        "mac": "ea:02:ad:96:7f:57",
                        "dns": {}
                    }]
                    """)
    }

    @Test("S01: DNS in the order of Go's type, and the MTU of a 1.1.0 plugin")
    func dnsAndMTU() throws {
        let result = """
            {"cniVersion":"1.1.0","interfaces":[{"mtu":1400,"name":"net1","sandbox":"/x"}],\
            "dns":{"domain":"d","options":["o"],"search":["s"],"nameservers":["10.0.0.1"]}}
            """
        #expect(
            try Self.text(("n", "net1", result)) == """
                [{
                    "name": "n",
                    "interface": "net1",
                    "mtu": 1400,
                    "default": true,
                    "dns": {
                        "nameservers": [
                            "10.0.0.1"
                        ],
                        "domain": "d",
                        "search": [
                            "s"
                        ],
                        "options": [
                            "o"
                        ]
                    }
                }]
                """)
    }

    private static func elements(_ result: String, interface: String = "net1") throws -> [JSON] {
        try JSON.parse(text(("n", interface, result))).value.array ?? []
    }

    @Test("S02: one interface has every address, wherever it is; several have their own")
    func interfaces() throws {
        let single = try Self.elements(
            #"{"cniVersion":"1.0.0","interfaces":[{"name":"vf0","mac":"02:00:00:00:00:01"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}"#
        )
        #expect(single.count == 1)
        #expect(single[0]["interface"] == nil && single[0]["mac"] == nil)
        #expect(single[0]["ips"] == ["10.0.0.2"])
        let several = try Self.elements(
            """
            {"cniVersion":"1.0.0","interfaces":[{"name":"veth1"},{"name":"a","sandbox":"/x"},{"name":"b","sandbox":"/x"}],
            "ips":[{"address":"10.0.0.1/24","interface":0},{"address":"10.0.0.2/24","interface":1},
            {"address":"fd00::2/64"},{"address":"10.0.0.3/24","gateway":"10.0.0.9","interface":2}]}
            """)
        #expect(several.map { $0["interface"] } == ["a", "b"])
        #expect(several[0]["ips"] == ["10.0.0.2"])
        #expect(several[1]["ips"] == ["fd00::2", "10.0.0.3"])
        #expect(several.map { $0["default"] } == [nil, true], "the one with the address that has a gateway")
    }

    @Test("S03: a result without interfaces has an entry where it has addresses")
    func withoutInterfaces() throws {
        let found = try Self.elements(#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}"#)
        #expect(found.count == 1 && found[0]["interface"] == "net1" && found[0]["ips"] == ["10.0.0.2"])
        #expect(try Self.elements(#"{"cniVersion":"1.0.0"}"#).isEmpty)
        #expect(try Self.text(("n", "net1", #"{"cniVersion":"1.0.0"}"#)) == "[]")
    }

    @Test("S04: a default route without a gateway goes by its address's, or is left out")
    func gateways() throws {
        func gateways(_ ips: String, _ routes: String) throws -> JSON? {
            try Self.elements(
                "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"net1\",\"sandbox\":\"/x\"}],\"ips\":[\(ips)],\"routes\":[\(routes)]}"
            )[0]["gateway"]
        }
        let v4 = #"{"address":"10.0.0.2/24","gateway":"10.0.0.1"}"#
        #expect(try gateways(v4, #"{"dst":"0.0.0.0/0"}"#) == ["10.0.0.1"])
        #expect(try gateways(v4, #"{"dst":"::/0"},{"dst":"10.9.0.0/16","gw":"10.0.0.7"}"#) == nil)
        #expect(
            try gateways(v4, #"{"dst":"0.0.0.0/0","gw":"10.0.0.3"},{"dst":"::/0","gw":"fd00::1"}"#)
                == ["10.0.0.3", "fd00::1"])
    }

    @Test func aFilesNameIsOneWhateverThePod() {
        let name = StatusFiles.name(of: Pod(namespace: "default", name: "pod-a", uid: "6a1-22"))
        #expect(name == "default_pod-a_6a1-22.json")
        #expect(StatusFiles.name(of: Pod(namespace: "a", name: "b", uid: "../../x")) == "a_b_.json")
        let long = StatusFiles.name(
            of: Pod(
                namespace: String(repeating: "n", count: 63), name: String(repeating: "p", count: 253),
                uid: String(repeating: "u", count: 36)))
        #expect(long.utf8.count == 240 && long.hasSuffix("_\(String(repeating: "u", count: 36)).json"))
    }
}
