internal import Network

extension InfoEncoder {
    func encode(_ kind: MacvlanKind) {
        info.put(.macvlan) {
            $0.put(.mode, kind.mode.rawValue)
            if let queue = kind.broadcastQueue { $0.put(.broadcastQueue, queue) }
        }
    }
}
