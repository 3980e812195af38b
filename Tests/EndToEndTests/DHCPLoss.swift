import Support
import Testing

/// What goes wrong with an attachment of either family.
extension DHCPNode {
    enum Loss: String, CaseIterable {
        case namespace, record, server, state, stateAndRecord, damagedRecord, definition, addresses
    }

    /// - Parameter server: the process that gave the lease.
    func lose(_ what: Loss, _ server: String) throws {
        switch what {
        case .namespace: try node.removePod("a")
        case .record: try Shell.sh("rm \(directory)/leases/*.json")
        case .server: try stop(server, "KILL")
        case .state: try Shell.sh("rm -r \(directory)/state")
        case .stateAndRecord: try Shell.sh("rm -r \(directory)/state \(directory)/leases")
        case .damagedRecord:
            try Shell.sh("for f in \(directory)/leases/*.json; do echo '{\"version\":' > $f; done")
        case .definition: try Shell.sh("rm -r \(directory)/cache")
        case .addresses: try node.sh("ip addr flush dev net1; ip -6 addr flush dev net1", pod: "a")
        }
    }

    /// DEL, twice, after which nothing is there.
    func expectDeletion(after loss: Loss) throws {
        for _ in 1...2 {
            let gone = try call("DEL", pod: loss == .namespace ? nil : "a")
            #expect(gone.status == 0, "\(gone.ran)")
        }
        #expect(try records().isEmpty && node.files("state").isEmpty)
        if loss != .namespace { #expect(try node.links(pod: "a").isEmpty) }
    }

    /// Starts an ADD of a plugin by its own name that goes on, as the process `add`.
    func startAdd(_ role: String, _ own: String = "", _ keys: String = "", interface: String = "net1") throws
    {
        try node.write(
            "config",
            #"{"cniVersion":"1.0.0","name":"net","type":"\#(role)",\#(own)\#(ipam(keys, timeout: 60))}"#)
        try node.write(
            "add.sh",
            """
            CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS=\(netns) CNI_IFNAME=\(interface) CNI_PATH=/none \
            exec \(directory)/bin/\(role) < \(directory)/config
            """)
        try start("add", "sh \(directory)/add.sh")
    }

    /// GC, of a pod that lives, one that does not, and one that is known from its lease alone.
    ///
    /// - Parameters:
    ///   - suffix: of the records' names.
    ///   - address: that nobody has.
    func expectCollection(_ suffix: String, _ address: String) throws {
        _ = try node.pod("b")
        #expect(try call("ADD", version: "1.1.0").status == 0)
        #expect(try call("ADD", id: "c2", pod: "b", version: "1.1.0").status == 0)
        let change = #"s/"containerID":"c1"/"containerID":"c9"/; s/"address":"[^"]*/"address":"\#(address)/"#
        let records = "\(directory)/leases"
        try Shell.sh("sed '\(change)' '\(records)/c1@net1\(suffix)' > '\(records)/c9@net1\(suffix)'")
        let answer = try call(
            "GC", version: "1.1.0",
            extra: #","cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]"#)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try self.records() == ["c1@net1\(suffix)"] && node.links(pod: "b").isEmpty)
        #expect(try call("CHECK", version: "1.1.0").status == 0)
    }
}
