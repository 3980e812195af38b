import Linux
internal import Networking

/// Writes the settings of a new link of some kind into its IFLA_LINKINFO.
struct InfoEncoder: LinkKindEncoder {
    let info: Builder<InfoSpace>
}

/// A kind whose settings CHECK or a module must know of a link that is there.
protocol ReadableKind: LinkKind {
    /// - Parameter data: IFLA_INFO_DATA.
    /// - Returns: nil when it does not say what is wanted.
    static func read(_ data: AttributeReader) throws(SystemError) -> Self?
}

func readableKind(named name: String?) -> (any ReadableKind.Type)? {
    switch name {
    case BridgeKind.name: BridgeKind.self
    case IpvlanKind.name: IpvlanKind.self
    case MacvlanKind.name: MacvlanKind.self
    default: nil
    }
}
