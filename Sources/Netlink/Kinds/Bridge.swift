internal import CLinux
import Linux
internal import Network

extension InfoEncoder {
    func encode(_ kind: BridgeKind) {
        guard kind.vlanFiltering else { return }
        info.put(.bridge) { $0.put(.vlanFiltering, 1) }
    }
}

extension LinkInfo {
    mutating func readBridge(_ data: UnsafeRawBufferPointer) throws(SystemError) {
        try AttributeReader(bytes: data).forEach {
            if $0 == UInt16(IFLA_BR_VLAN_FILTERING) { filtersVLANs = $1.asUInt8.map { $0 != 0 } }
        }
    }
}
