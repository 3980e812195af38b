import Foundation
import Support
import Testing

/// Every definition in conf/ attaches, is checked and goes again.
@Suite struct ConfFiles {
    private static let folder = "\(Node.repository)/conf/net-attach-def/default"
    static let names: [String] = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    /// Those that need what this kernel may lack.
    private static let ofVLANs = ["vlan100.yaml"]

    @Test(arguments: names.filter { !ofVLANs.contains($0) })
    func attaches(file: String) throws { try run(file) }

    @Test(
        .enabled(if: Feature.vlanFiltering, "this kernel's bridges have no VLANs; the VM's have"),
        arguments: ofVLANs)
    func attachesWithVLANs(file: String) throws { try run(file) }

    private func run(_ file: String) throws {
        let node = try MetaEndToEnd.node()
        let netns = try node.pod("a")
        let text = try String(contentsOfFile: "\(Self.folder)/\(file)", encoding: .utf8)
        // Addresses are written down in the test's own folder.
        let own = text.replacing(
            "\"type\": \"host-local\"",
            with: "\"type\": \"host-local\", \"dataDir\": \"\(node.directory)/ipam\"")
        try node.write("cache/net-attach-def/default/\(file)", own)
        let config = MetaEndToEnd.config(node, networks: String(file.prefix { $0 != "." }))
        let answer = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.links(pod: "a") == ["eth0", "net1"])
        #expect(try !node.addresses("net1", pod: "a").isEmpty)
        #expect(try node.call("CHECK", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        #expect(try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, config).status == 0)
        #expect(try node.links(pod: "a").isEmpty)
        #expect(try node.files("ipam").allSatisfy { $0.hasSuffix("/lock") || $0.contains("last_reserved") })
    }
}
