internal import CLinux
import Linux
internal import Networking

extension InfoEncoder {
    func encode(_ kind: IpvlanKind) {
        info.put(.ipvlan) {
            $0.put(.mode, kind.mode.rawValue)
            $0.put(.flags, 0)
        }
    }
}

extension IpvlanKind: ReadableKind {
    static func read(_ data: AttributeReader) throws(SystemError) -> IpvlanKind? {
        var found: IpvlanKind?
        try data.forEach {
            guard $0 == UInt16(IFLA_IPVLAN_MODE) else { return }
            found = $1.asUInt16.flatMap(IPVLANMode.init(rawValue:)).map { IpvlanKind($0) }
        }
        return found
    }
}
