/// A kind of link, with the settings that only this kind has. A new one is a file here, and when it has settings a file of
/// the same name in Netlink/Kinds and a line in `LinkKindEncoder`, and in `readableKind` when they are read too.
package protocol LinkKind: Hashable, Sendable {
    /// IFLA_INFO_KIND.
    static var name: String { get }
    /// The settings in the words of `ip link add ... type KIND`.
    var words: [String] { get }
    func encode(with encoder: some LinkKindEncoder)
}

extension LinkKind {
    package var name: String { Self.name }
    package var words: [String] { [] }
    package func encode(with _: some LinkKindEncoder) {}

    package func isEqual(to other: any LinkKind) -> Bool { (other as? Self) == self }
}

/// What writes a kind's settings as the kernel takes them: a line for each kind that has some.
package protocol LinkKindEncoder {
    func encode(_ kind: BridgeKind)
    func encode(_ kind: IpvlanKind)
    func encode(_ kind: MacvlanKind)
}

/// Kinds whose links have the MAC address of the link that they sit on, so that it tells no pod from another.
package let kindsSharingAddresses = [IpvlanKind.name, "ipvtap", "vlan"]

/// The kind of a link that is there, with the settings that are read of it.
package struct KindSettings: Equatable, Sendable {
    package let kind: any LinkKind

    package init(_ kind: any LinkKind) { self.kind = kind }

    package static func == (one: KindSettings, other: KindSettings) -> Bool {
        one.kind.isEqual(to: other.kind)
    }
}
