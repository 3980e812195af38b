import CNI
import JSONC
package import Networking

/// A span of a subnet's addresses, and the gateway that is not given out.
package struct AddressRange: Equatable, Sendable {
    package let subnet: CIDR
    package let first: IPAddress
    package let last: IPAddress
    package let gateway: IPAddress

    package init(subnet: CIDR, first: IPAddress, last: IPAddress, gateway: IPAddress) {
        self.subnet = subnet
        self.first = first
        self.last = last
        self.gateway = gateway
    }

    static let vocabulary = Vocabulary(["subnet", "rangeStart", "rangeEnd", "gateway"]) { key in
        switch key {
        case "range", "cidr": "subnet"
        case "start", "from", "first", "ipstart", "startip", "ipstartrange": "rangeStart"
        case "end", "to", "last", "ipend", "endip", "ipendrange": "rangeEnd"
        case "gw", "router": "gateway"
        case "exclude", "excludes", "excluded", "reserved":
            "host-local excludes nothing: write two ranges, with rangeEnd before those addresses and rangeStart behind them"
        default: nil
        }
    }

    /// host-local's range object.
    init(_ json: Reader, mustWork: Bool = false) throws(JSONError) {
        guard let subnet = try json.cidr("subnet") else {
            throw json.error("subnet", "IP <nil> not v4 nor v6: it is missing")
        }
        guard subnet.length <= subnet.family.width - 2 else {
            throw json.error("subnet", "Network \(subnet) too small to allocate from")
        }
        guard subnet.network == subnet else {
            throw json.error(
                "subnet",
                "Network has host bits set. For a subnet mask of length \(subnet.length) the network address is \(subnet.network.address)"
            )
        }
        let start = try json.address("rangeStart")
        let end = try json.address("rangeEnd")
        if let start, !subnet.contains(start) {
            throw json.error("rangeStart", "RangeStart \(start) not in network \(subnet)")
        }
        if let end, !subnet.contains(end) {
            throw json.error("rangeEnd", "RangeEnd \(end) not in network \(subnet)")
        }
        if mustWork {
            try json.requireHost("rangeStart", start, subnet)
            try json.requireHost("rangeEnd", end, subnet)
            try json.requireGateway("gateway", subnet)
        }
        // In IPv4 the last address is the broadcast address, which is never given.
        let last = subnet.family == .v4 ? IPAddress(.v4, bits: subnet.last.bits - 1) : subnet.last
        self.init(
            subnet: subnet, first: start ?? subnet.address.next, last: end ?? last,
            gateway: try json.address("gateway") ?? subnet.address.next)
        if mustWork, let problem = first.hostProblem ?? self.last.hostProblem {
            throw json.error("subnet", problem)
        }
        guard first <= self.last else {
            throw start != nil
                ? json.error(
                    "rangeStart",
                    "RangeStart \(first) not in network \(subnet): it is after rangeEnd \(self.last)")
                : json.error(
                    "rangeEnd", "RangeEnd \(self.last) not in network \(subnet): it is before \(first)")
        }
    }

    func contains(_ address: IPAddress) -> Bool {
        address.family == first.family && first <= address && address <= last
    }

    func overlaps(_ other: AddressRange) -> Bool {
        subnet.family == other.subnet.family && first <= other.last && other.first <= last
    }
}

/// Alternatives of one family, of which each attachment gets one address.
package struct RangeSet: Equatable, Sendable {
    package let ranges: [AddressRange]

    package init(_ ranges: [AddressRange]) { self.ranges = ranges }

    init(_ json: [Reader], _ whole: Reader, mustWork: Bool = false) throws(JSONError) {
        guard !json.isEmpty else { throw whole.error(nil, "empty range set") }
        var ranges: [AddressRange] = []
        for entry in json {
            let range = try AddressRange(entry, mustWork: mustWork)
            if let first = ranges.first, first.subnet.family != range.subnet.family {
                throw entry.error(nil, "mixed address families")
            }
            if let other = ranges.first(where: { $0.overlaps(range) }) {
                throw entry.error(
                    nil, "subnets \(other.first)-\(other.last) and \(range.first)-\(range.last) overlap")
            }
            ranges.append(range)
        }
        self.ranges = ranges
    }

    package var family: IPAddress.Family { ranges.first?.subnet.family ?? .v4 }

    func range(of address: IPAddress) -> AddressRange? { ranges.first { $0.contains(address) } }

    func overlaps(_ other: RangeSet) -> Bool {
        ranges.contains { mine in other.ranges.contains { mine.overlaps($0) } }
    }

    /// `A-B,C-D`, as errors name a set.
    var text: String { ranges.map { "\($0.first)-\($0.last)" }.joined(separator: ",") }

    /// The first address that `take` accepts: from the one after `last` on, around to where the walk began,
    /// skipping each range's gateway.
    package func firstFree<E: Error>(
        after last: IPAddress?, _ take: (IPAddress, AddressRange) throws(E) -> Bool
    ) throws(E) -> (address: IPAddress, range: AddressRange)? {
        guard
            let start = ranges.firstIndex(where: { range in last.map(range.contains) ?? true })
                ?? ranges.indices.first
        else { return nil }
        // The walk ends where it begins: behind `last` when a range has it, else at the first address.
        let resumes = last.map { ranges[start].contains($0) } ?? false
        var index = resumes ? start : 0
        var address = resumes ? last ?? ranges[0].first : ranges[0].first
        if resumes { advance(&index, &address) }
        let origin = (index, address)
        repeat {
            if address != ranges[index].gateway, try take(address, ranges[index]) {
                return (address, ranges[index])
            }
            advance(&index, &address)
        } while (index, address) != origin
        return nil
    }

    private func advance(_ index: inout Int, _ address: inout IPAddress) {
        if address == ranges[index].last {
            index = (index + 1) % ranges.count
            address = ranges[index].first
        } else {
            address = address.next
        }
    }
}
