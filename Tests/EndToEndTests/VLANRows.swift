import Support
import Testing

/// The bridge rows that need bridges with VLANs.
@Suite(.enabled(if: Feature.vlanFiltering, "this kernel's bridges have no VLANs; the VM's have"))
struct VLANRows {
    private let node: Node

    init() throws {
        node = try Node()
        _ = try node.pod("a")
    }

    private func add(_ keys: String, id: String = "c1", pod: String = "a") throws -> Answer {
        let answer = try node.plugin("ADD", "bridge", keys, id: id, pod: pod)
        #expect(answer.status == 0, "\(answer.ran)")
        return answer
    }

    /// VLANs of a port as `bridge -j vlan` has them: `100 PVID Egress Untagged`.
    private func vlans(_ port: String) throws -> [String] {
        let entries = try Tree(parsing: try node.sh("bridge -j -compressvlans vlan show dev \(port)"))[0][
            "vlans"
        ].list
        return entries.map { entry in
            let end = entry["vlanEnd"].int.map { "-\($0)" } ?? ""
            let flags = entry["flags"].list.compactMap(\.string)
            return (["\(entry["vlan"].int ?? 0)\(end)"] + flags).joined(separator: " ")
        }
    }

    private func port(_ answer: Answer) -> String { answer.json["interfaces"][1]["name"].string ?? "none" }

    @Test(
        "BR-16, BR-17, BR-18: vlan, preserveDefaultVlan, vlanTrunk",
        arguments: [
            (#""vlan":100"#, ["100 PVID Egress Untagged"]),
            (#""vlan":100,"preserveDefaultVlan":true"#, ["1 Egress Untagged", "100 PVID Egress Untagged"]),
            (
                #""vlanTrunk":[{"id":101},{"minID":200,"maxID":203},{"minID":203,"maxID":210,"id":300}]"#,
                ["1 PVID Egress Untagged", "101", "200-210", "300"]
            ),
            (
                #""vlan":102,"vlanTrunk":[{"minID":101,"maxID":103}]"#,
                ["101", "102 PVID Egress Untagged", "103"]
            ),
            (#""vlanTrunk":[]"#, ["1 PVID Egress Untagged"]),
        ])
    func ports(keys: String, expected: [String]) throws {
        let answer = try add(keys)
        let bridge = try node.ip("link show cni0")[0]
        #expect(bridge["linkinfo"]["info_data"]["vlan_filtering"].int == 1)
        #expect(try vlans(port(answer)) == expected)
        #expect(try node.plugin("CHECK", "bridge", keys, previous: answer).status == 0)
        #expect(try node.plugin("DEL", "bridge", keys).status == 0)
        #expect(try node.links() == ["cni0"])
    }

    @Test("BR-16: a bridge without VLANs does not filter")
    func noFiltering() throws {
        _ = try add("")
        #expect(try node.ip("link show cni0")[0]["linkinfo"]["info_data"]["vlan_filtering"].int == 0)
    }

    @Test("BR-21: the gateway of a VLAN is on <bridge>.<vid>, the result's fourth interface")
    func gateway() throws {
        let keys = "\"vlan\":100,\"isDefaultGateway\":true,\(Node.ipam("10.1.2.0/24", "2001:db8:1::/64"))"
        let answer = try add(keys)
        let link = try node.ip("link show cni0.100")[0]
        #expect(answer.json["interfaces"][3]["name"].string == "cni0.100")
        #expect(answer.json["interfaces"][3]["mac"].string == link["address"].string)
        #expect(link["linkinfo"]["info_kind"].string == "veth")
        #expect(try Set(node.addresses("cni0.100")) == ["10.1.2.1/24", "2001:db8:1::1/64"])
        #expect(try node.addresses("cni0").isEmpty)
        let peer = try #require(link["link"].string)
        #expect(try vlans(peer) == ["100 PVID Egress Untagged"])
        #expect(try node.ip("link show \(peer)")[0]["master"].string == "cni0")
        try node.sh("ping -c 1 -w 10 10.1.2.1", pod: "a")
        // The second pod of the VLAN finds it; one of another VLAN hears nobody.
        _ = try node.pod("b")
        _ = try add(keys, id: "c2", pod: "b")
        #expect(try node.links().count == 5)
        try node.sh("ping -c 1 -w 10 10.1.2.3", pod: "a")
        _ = try node.pod("d")
        let other = #""vlan":200,"ipam":{"type":"static","addresses":[{"address":"10.1.2.77/24"}]}"#
        _ = try add(other, id: "c3", pod: "d")
        #expect(throws: ShellError.self) { try node.sh("ping -c 1 -W 1 10.1.2.2", pod: "d") }
        #expect(try node.plugin("CHECK", "bridge", keys, previous: answer).status == 0)
    }

    @Test("BR-21: an ADD that fails leaves no VLAN interface of its own")
    func rollback() throws {
        let keys = "\"vlan\":100,\"isGateway\":true,"
        let route = #","routes":[{"dst":"10.8.0.0/16","gw":"192.0.2.1"}]"#
        let refused = try node.plugin("ADD", "bridge", keys + Node.ipam("10.1.2.0/24", extra: route))
        #expect(refused.status == 1)
        #expect(try node.links().isEmpty)
        let old = try node.plugin(
            "ADD", "bridge", keys + Node.ipam("10.1.2.0/24"), version: "0.2.0", interface: "eth0")
        #expect(old.status == 0, "\(old.ran)")
        #expect(try node.links().contains("cni0.100"))
    }
}
