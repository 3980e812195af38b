internal import CLinux
import Linux
internal import Network

/// Writes the settings of a new link of some kind into its IFLA_LINKINFO.
struct InfoEncoder: LinkKindEncoder {
    let info: Builder<InfoSpace>
}

extension LinkInfo {
    /// What a link's kind says of it; a line for each kind of which something is needed.
    mutating func read(kind: String?, _ data: UnsafeRawBufferPointer) throws(SystemError) {
        switch kind {
        case BridgeKind.name: try readBridge(data)
        // IFLA_MACVLAN_MODE has four bytes, IFLA_IPVLAN_MODE two; both are number 1.
        case MacvlanKind.name, IpvlanKind.name:
            try AttributeReader(bytes: data).forEach {
                if $0 == UInt16(IFLA_MACVLAN_MODE) { mode = $1.asUInt32 ?? $1.asUInt16.map(UInt32.init) }
            }
        default: break
        }
    }
}
