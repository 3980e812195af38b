/// A unicast route. Fields as in CNI 1.1's `routes` and rtnetlink(7).
package struct Route: Hashable, Sendable {
    package var destination: CIDR
    /// nil: the destination is on the link.
    package var gateway: IPAddress?
    /// Bytes above layer 2; RTAX_MTU.
    package var mtu: UInt32?
    /// RTAX_ADVMSS.
    package var advmss: UInt32?
    /// The metric; RTA_PRIORITY.
    package var priority: UInt32?
    /// nil is the main table (254).
    package var table: UInt32?
    /// linux/rtnetlink.h, `rt_scope_t`.
    package var scope: UInt8?

    package init(
        _ destination: CIDR, via gateway: IPAddress? = nil, mtu: UInt32? = nil, advmss: UInt32? = nil,
        priority: UInt32? = nil, table: UInt32? = nil, scope: UInt8? = nil
    ) {
        self.destination = destination
        self.gateway = gateway
        self.mtu = mtu
        self.advmss = advmss
        self.priority = priority
        self.table = table
        self.scope = scope
    }

    package var family: IPAddress.Family { destination.family }
    package var isDefault: Bool { destination.length == 0 }

    /// What is wrong with a destination that has host bits set, which the kernel refuses; nil for a network.
    package var hostBitsProblem: String? {
        let network = destination.network
        return network == destination ? nil : "\(destination) has host bits set: write \(network)"
    }
}
