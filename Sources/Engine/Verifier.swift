import CNI
import Networking
import Plans

/// CHECK of every attachment with addresses: they are on the link, and its routes exist.
struct Verifier {
    private let kernel: Kernel
    private let rules: RoleRules

    init(_ kernel: Kernel, _ rules: RoleRules) {
        self.kernel = kernel
        self.rules = rules
    }

    func check(_ result: CNIResult, _ attachment: Attachment) throws(Failure) {
        let link = LinkName.sandbox(attachment.interface)
        let facts = try kernel.observe(FactsQuery(links: [link], addresses: [link], routes: true))
        guard let found = facts.links[link] else {
            throw Failure(
                .generic, "interface \(attachment.interface) does not exist in \(attachment.sandbox)",
                details: "somebody removed it")
        }
        for ip in result.ips where isOurs(ip, result, attachment) {
            guard found.addresses.contains(ip.address) else {
                throw Failure(
                    .generic, "Failed to match addr \(ip.address) on interface \(attachment.interface)",
                    details: "it has \(found.addresses.map { "\($0)" }.joined(separator: ", "))")
            }
        }
        for route in result.routes where route.table == nil || route.table == 254 {
            let destination = route.destination.network
            let gateways = gateways(of: route, result)
            let isThere = facts.routes.contains {
                $0.route.destination == destination
                    && (gateways.isEmpty || $0.route.gateway.map(gateways.contains) == true)
            }
            guard isThere else {
                throw Failure(
                    .generic, "Failed to find route \(route.words)",
                    details: "somebody removed it from \(attachment.sandbox)")
            }
        }
    }

    private func isOurs(_ ip: CNIResult.IP, _ result: CNIResult, _ attachment: Attachment) -> Bool {
        guard let index = ip.interface else { return true }
        guard result.interfaces.indices.contains(index) else { return false }
        let interface = result.interfaces[index]
        return interface.name == attachment.interface && interface.sandbox != nil
    }

    /// One of which the kernel's route must have; none where any will do. That of a default route may come from the
    /// addresses; the reference plugins do not compare it.
    private func gateways(of wanted: Route, _ result: CNIResult) -> [IPAddress] {
        guard let gateway = wanted.gateway else { return [] }
        guard wanted.isDefault else { return [gateway] }
        return rules.keepsRecords ? [gateway] + result.ips.compactMap(\.gateway) : []
    }
}
