import JSONC
import Networking

extension Bridge {
    /// `vlan`, `vlanTrunk` and `preserveDefaultVlan`; refused on every verb when they make no sense, as the reference
    /// does.
    static func readVLANs(_ json: Reader, into config: inout Config) throws(JSONError) {
        let vlan = try json.int("vlan") ?? 0
        guard (0...4094).contains(vlan) else {
            throw json.error("vlan", "invalid VLAN ID \(vlan): 0 (none) to 4094")
        }
        let trunk = try trunk(json)
        config.vlan = vlan == 0 ? nil : UInt16(vlan)
        config.vlanFiltering = vlan != 0 || json.has("vlanTrunk")
        let keepsDefault = try json.bool("preserveDefaultVlan") ?? false
        guard vlan != 0 || !trunk.isEmpty else { return }
        // Without a VLAN of its own, frames without a tag stay in VLAN 1.
        let native = config.vlan ?? 1
        config.vlans = PortVLANs(
            native: native, tagged: ranges(trunk.subtracting([native])), keepsDefault: keepsDefault)
    }

    /// The trunk's VLANs: each item has a range, a single one, or both.
    private static func trunk(_ json: Reader) throws(JSONError) -> Set<UInt16> {
        var ids: Set<UInt16> = []
        for item in try json.list("vlanTrunk") ?? [] {
            try item.requireObject()
            let lowest = try id("minID", item)
            let highest = try id("maxID", item)
            switch (lowest, highest) {
            case (nil, nil): break
            case (let lowest?, let highest?):
                guard lowest <= highest else {
                    throw item.error("minID", "minID is greater than maxID: \(lowest) > \(highest)")
                }
                ids.formUnion(lowest...highest)
            default:
                throw item.error(nil, "minID and maxID must be configured simultaneously")
            }
            if let single = try id("id", item) { ids.insert(single) }
        }
        return ids
    }

    private static func id(_ key: String, _ item: Reader) throws(JSONError) -> UInt16? {
        guard let id = try item.int(key) else { return nil }
        guard (1...4094).contains(id) else {
            throw item.error(key, "incorrect trunk \(key) parameter \(id): 1 to 4094")
        }
        return UInt16(id)
    }

    /// Neighbouring IDs joined: fewer messages, and what a person would type.
    private static func ranges(_ ids: Set<UInt16>) -> [ClosedRange<UInt16>] {
        var ranges: [ClosedRange<UInt16>] = []
        for id in ids.sorted() {
            if let last = ranges.last, last.upperBound + 1 == id {
                ranges[ranges.count - 1] = last.lowerBound...id
            } else {
                ranges.append(id...id)
            }
        }
        return ranges
    }
}
