import CNI
import JSONC
import Network
import Plans

// What the reference plugins take and no pod can use; refused in the meta role before an ADD.

/// What is wrong with the address of the network itself, and with IPv4's for all of it; nil for a host's.
func hostProblem(_ address: IPAddress, _ subnet: CIDR) -> String? {
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
        guard gateway.family == subnet.family else {
            throw error(key, "gateway \(gateway) is of the other family than \(subnet.network)")
        }
        try requireHost(key, gateway, subnet)
    }
}

/// nil for a gateway that its link reaches.
func gatewayRemark(_ gateway: IPAddress?, _ subnet: CIDR) -> Remark? {
    guard let gateway, !subnet.contains(gateway), gateway.family == .v4 || !gateway.isLinkLocal else {
        return nil
    }
    return .concern(
        "gateway \(gateway) is outside \(subnet.network): the pod reaches it by a route of its own alone")
}
