/// Names as DNS writes them, one after the other.
enum DomainNames {
    /// - Parameter mayPoint: with the compression of RFC 1035, which DHCPv6 does not have (RFC 8415, section 10).
    /// - Returns: those before the first that is damaged.
    static func read(_ octets: [UInt8], mayPoint: Bool) -> [String] {
        var names: [String] = []
        var place = 0
        while place < octets.count {
            guard let (name, end) = name(in: octets, at: place, mayPoint) else { return names }
            names.append(name)
            place = end
        }
        return names
    }

    private static func name(in octets: [UInt8], at start: Int, _ mayPoint: Bool) -> (String, end: Int)? {
        var labels: [String] = []
        var (place, end) = (start, Int?.none)
        // Each pointer leads back: no more of them than octets.
        for _ in 0...octets.count {
            guard place < octets.count else { return nil }
            let length = Int(octets[place])
            if length == 0 { return labels.isEmpty ? nil : (labels.joined(separator: "."), end ?? place + 1) }
            if length & 0xc0 == 0xc0, mayPoint {
                guard place + 1 < octets.count else { return nil }
                end = end ?? place + 2
                place = (length & 0x3f) << 8 | Int(octets[place + 1])
                continue
            }
            guard length < 64, place + 1 + length <= octets.count else { return nil }
            labels.append(String(decoding: octets[place + 1..<place + 1 + length], as: UTF8.self))
            place += 1 + length
        }
        return nil
    }
}
