internal import Network

extension InfoEncoder {
    func encode(_ kind: IpvlanKind) {
        info.put(.ipvlan) {
            $0.put(.mode, kind.mode.rawValue)
            $0.put(.flags, 0)
        }
    }
}
