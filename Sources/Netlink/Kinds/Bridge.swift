internal import CLinux
import Linux
internal import Networking

extension InfoEncoder {
    func encode(_ kind: BridgeKind) {
        guard kind.vlanFiltering else { return }
        info.put(.bridge) { $0.put(.vlanFiltering, 1) }
    }
}

extension BridgeKind: ReadableKind {
    /// nil from a kernel that keeps no VLANs apart.
    static func read(_ data: AttributeReader) throws(SystemError) -> BridgeKind? {
        var found: BridgeKind?
        try data.forEach {
            guard $0 == UInt16(IFLA_BR_VLAN_FILTERING), let filters = $1.asUInt8 else { return }
            found = BridgeKind(vlanFiltering: filters != 0)
        }
        return found
    }
}
