import CNI
import JSONC
import Networking
import Plans

// What the reference plugins accept and no pod can use; the meta role refuses it before an ADD.

/// Why an address cannot be a host's: no host can have it, or it is the network or the broadcast address of an IPv4
/// subnet; nil when it can.
func hostProblem(_ address: IPAddress, _ subnet: CIDR) -> String? {
    if let problem = address.hostProblem { return problem }
    guard subnet.family == .v4, address.family == .v4, subnet.length < 31 else { return nil }
    let (lowest, highest) = (subnet.network.address, subnet.last)
    guard address == lowest || address == highest else { return nil }
    return "\(address) is the \(address == lowest ? "network" : "broadcast") address of \(subnet.network):"
        + " write one of \(lowest.next) to \(IPAddress(.v4, bits: highest.bits - 1))"
}

extension Reader {
    func requireHost(_ key: String, _ address: IPAddress?, _ subnet: CIDR) throws(JSONError) {
        if let address, let problem = hostProblem(address, subnet) { throw error(key, problem) }
    }

    func requireGateway(_ key: String, _ subnet: CIDR) throws(JSONError) {
        guard let gateway = try address(key) else { return }
        // A way to say that there is none.
        if gateway.bits == 0 { return }
        guard gateway.family == subnet.family else {
            throw error(key, "gateway \(gateway) is of the other family than \(subnet.network)")
        }
        try requireHost(key, gateway, subnet)
    }
}

/// A remark on a gateway outside the subnet, and on one that is the address itself; nil for one that the link reaches.
func gatewayRemark(_ gateway: IPAddress?, _ subnet: CIDR) -> Remark? {
    if let gateway, gateway == subnet.address {
        return .concern("\(gateway) is the pod's own address and its gateway: nothing is reached through it")
    }
    guard let gateway, !subnet.contains(gateway), gateway.family == .v4 || !gateway.isLinkLocal else {
        return nil
    }
    return .concern(
        "gateway \(gateway) is outside \(subnet.network): the pod reaches it by a route of its own alone")
}
