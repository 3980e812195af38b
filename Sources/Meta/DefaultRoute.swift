package import CNI
import Engine
import Network
package import Plans

/// Moves the pod's default route to the network that asks for it (`default-route` of a selection).
package enum DefaultRoute {
    /// A family has one default route: two gateways for it, on one network or on two, are refused.
    package static func validate(_ delegates: [Delegate]) throws(Failure) {
        for family in IPAddress.Family.allCases {
            let gateways = delegates.flatMap { $0.defaultRoute ?? [] }.filter { $0.family == family }
            guard gateways.count <= 1 else {
                throw Failure(
                    .badConfig,
                    "default-route names \(gateways.count) gateways for IP\(family): one is possible",
                    details: gateways.map { "\($0)" }.joined(separator: ", "))
            }
        }
    }

    /// The steps that leave each moved family with the wanted route alone.
    package static func plan(_ delegates: [Delegate], _ routes: [SandboxRoute]) -> [Step] {
        let defaults = routes.filter { $0.route.isDefault }
        var removals: [Step] = []
        var additions: [Step] = []
        for delegate in delegates {
            guard let gateways = delegate.defaultRoute else { continue }
            let link = delegate.spec.id.interface
            for family in IPAddress.Family.allCases {
                let current = defaults.filter { $0.route.family == family }
                let own = current.filter { $0.link == link }
                if let gateway = gateways.first(where: { $0.family == family }) {
                    removals += current.map { .removeFound($0) }
                    additions.append(.addRoute(Route(.everywhere(family), via: gateway), .sandbox(link)))
                } else if gateways.isEmpty, !own.isEmpty {
                    removals += current.filter { $0.link != link }.map { .removeFound($0) }
                }
            }
        }
        return removals + additions
    }

    /// A result as it is once `steps` have run.
    package static func adjust(_ result: CNIResult, of interface: String, _ steps: [Step]) -> CNIResult {
        var result = result
        for step in steps {
            switch step {
            case .removeFound(let found) where found.link == interface:
                result.routes.removeAll { $0.isDefault && $0.family == found.route.family }
            case .addRoute(let route, .sandbox(interface)): result.routes.append(route)
            default: break
            }
        }
        return result
    }
}
