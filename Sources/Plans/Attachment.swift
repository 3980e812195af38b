package import CNI
import Hashing
package import Networking

/// One container's interface on one network.
package struct AttachmentID: Hashable, Sendable {
    package let containerID: String
    package let interface: String

    package init(containerID: String, interface: String) {
        self.containerID = containerID
        self.interface = interface
    }
}

/// What a module knows of the call besides its configuration.
package struct Attachment: Sendable {
    package var id: AttachmentID
    /// CNI_NETNS as given; empty on a DEL whose namespace is gone.
    package var sandbox: String
    package var networkName: String
    /// How errors call the network.
    package var label: String
    /// SHA-256 of "containerID/interface": the source of every name and address that is derived, 32 bytes.
    package var digest: [UInt8]
    /// What the plugin before this one in the chain returned; on CHECK and DEL the chain's final result.
    package var previous: CNIResult?
    /// What IPAM gave; nil without IPAM.
    package var lease: Lease?
    /// Sysctls as they were before this attachment changed them, by path below /proc/sys.
    package var saved: [String: String] = [:]

    package init(
        id: AttachmentID, sandbox: String, networkName: String, digest: [UInt8]? = nil,
        previous: CNIResult? = nil
    ) {
        self.id = id
        self.sandbox = sandbox
        self.networkName = networkName
        label = networkName
        self.digest = digest ?? Digest.sha256Bytes("\(id.containerID)/\(id.interface)")
        self.previous = previous
    }

    /// For what goes by the attachment's ID alone.
    package init(of id: AttachmentID) {
        self.init(id: id, sandbox: "", networkName: "")
    }

    package static func randomDigest() -> [UInt8] { (0..<32).map { _ in UInt8.random(in: 0...255) } }

    package var interface: String { id.interface }

    /// Name of the veth end in the host: `veth` and 11 hexadecimal digits, 15 bytes.
    package var hostLinkName: String {
        linkName("veth", digest[0..<6])
    }

    /// Name of the bridge's end of a VLAN's interface that this attachment makes.
    package var vlanPeerName: String {
        linkName("veth", digest[24..<30])
    }

    /// Name that a link has until it can get its own: kernels up to 6.1 look for a new name in the host as well.
    package var temporaryName: String { linkName("plxt", digest[26..<32]) }

    private func linkName(_ prefix: String, _ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: (Array(prefix.utf8) + hexadecimal(Array(bytes))).prefix(15), as: UTF8.self)
    }

    package enum DerivedMAC: Int { case sandbox, host }

    /// A locally administered unicast address, the same at every call for this attachment.
    package func mac(_ role: DerivedMAC) -> MAC {
        let start = 6 + 6 * role.rawValue
        return Self.mac(digest[start..<start + 6])
    }

    /// For a bridge that this attachment makes. One container may make several, one after another.
    package func mac(ofBridge name: String) -> MAC {
        Self.mac(Digest.sha256Bytes("\(id.containerID)/\(id.interface)/\(name)")[0..<6])
    }

    private static func mac(_ bytes: ArraySlice<UInt8>) -> MAC {
        MAC(bytes: [bytes[bytes.startIndex] & 0xfc | 0x02] + bytes.dropFirst()) ?? MAC.zero
    }
}

/// The side of an attachment that a name or a setting belongs to.
package enum Place: String, Hashable, Sendable { case host, sandbox }

/// A link, named in its namespace.
package struct LinkName: Hashable, Sendable {
    package let place: Place
    package let name: String

    package init(place: Place, name: String) {
        self.place = place
        self.name = name
    }

    package static func host(_ name: String) -> LinkName { LinkName(place: .host, name: name) }
    package static func sandbox(_ name: String) -> LinkName { LinkName(place: .sandbox, name: name) }
}

extension AttachmentID {
    /// What a note of the attachment is called, without its ending: as the reference plugin tuning calls its own, but with a
    /// colon, which no container ID and no interface has, where the first underscore is the container ID's.
    package var noteName: String {
        let isPlain = !containerID.utf8.contains(UInt8(ascii: "_"))
        return "\(containerID)\(isPlain ? "_" : ":")\(interface)"
    }

    /// The interface that a note is of, by its name in either form.
    ///
    /// - Returns: nil for one of another container.
    package static func interface(noted name: some StringProtocol, of containerID: String) -> String? {
        let rest = name.dropFirst(containerID.count)
        guard name.hasPrefix(containerID), let separator = rest.first, "_:".contains(separator) else {
            return nil
        }
        return String(rest.dropFirst())
    }

    /// The host end's name of the attachment's veth pair.
    package var hostLinkName: String { Attachment(of: self).hostLinkName }
}
