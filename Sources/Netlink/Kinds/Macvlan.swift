internal import CLinux
import Linux
internal import Networking

extension InfoEncoder {
    func encode(_ kind: MacvlanKind) {
        info.put(.macvlan) {
            $0.put(.mode, kind.mode.rawValue)
            if let queue = kind.broadcastQueue { $0.put(.broadcastQueue, queue) }
        }
    }
}

extension MacvlanKind: ReadableKind {
    /// The mode alone.
    static func read(_ data: AttributeReader) throws(SystemError) -> MacvlanKind? {
        var found: MacvlanKind?
        try data.forEach {
            guard $0 == UInt16(IFLA_MACVLAN_MODE) else { return }
            found = $1.asUInt32.flatMap(MACVLANMode.init(rawValue:)).map { MacvlanKind($0) }
        }
        return found
    }
}
