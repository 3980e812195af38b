import CNI
import Network
import Plans

/// CHECK of every attachment with addresses: they are on the link, and its routes exist.
struct Verifier {
    private let kernel: Kernel

    init(_ kernel: Kernel) { self.kernel = kernel }

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
            guard facts.routes.contains(where: { matches($0.route, route, destination) }) else {
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

    /// A default route's gateway may come from the addresses, so it is not compared.
    private func matches(_ kernel: Route, _ wanted: Route, _ destination: CIDR) -> Bool {
        kernel.destination == destination
            && (wanted.gateway == nil || wanted.isDefault || kernel.gateway == wanted.gateway)
    }
}
