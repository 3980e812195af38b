package import CNI
import Definitions
import Networking
package import Plans

/// Moves the pod's default route to the network that asks for it (`default-route` of a selection).
package enum DefaultRoute {
    /// A family has one default route of a metric: two gateways for it, on one network or on two, are refused.
    package static func validate(_ delegates: [Delegate]) throws(Failure) {
        for family in IPAddress.Family.allCases {
            let asking = delegates.flatMap { delegate in
                (delegate.defaultRoute ?? []).filter { $0.family == family }.map {
                    (delegate, "\($0) on \(delegate.spec.id.interface) (\(delegate.spec.name))")
                }
            }
            for (delegate, _) in asking {
                let metric = delegate.defaultRouteMetric
                try refuse(asking.filter { $0.0.defaultRouteMetric == metric }, family)
            }
        }
    }

    private static func refuse(
        _ asking: [(delegate: Delegate, gateway: String)], _ family: IPAddress.Family
    ) throws(Failure) {
        guard asking.count > 1 else { return }
        var places: [String] = []
        for case let place? in asking.map({ $0.delegate.selection?.place(of: "default-route") })
        where !places.contains(place) {
            places.append(place)
        }
        throw Failure(
            .badConfig,
            "default-route is asked for \(asking.count) times for IP\(family): "
                + asking.map(\.gateway).joined(separator: ", "),
            details: "a pod has one default route of a family and metric: remove the others, or give them a"
                + " default-route-metric each; asked for in "
                + places.joined(separator: ", and in "))
    }

    /// The steps that leave each moved family with the wanted route alone.
    package static func plan(
        _ delegates: [Delegate], _ routes: [SandboxRoute]
    ) throws(Failure) -> [Step] {
        let defaults = routes.filter { $0.route.isDefault }
        var removals: [Step] = []
        var additions: [Step] = []
        // Without a gateway the network's own route is meant: only now is it known which families it has.
        for family in IPAddress.Family.allCases {
            try refuse(
                delegates.compactMap { delegate in
                    guard let gateways = delegate.defaultRoute, delegate.defaultRouteMetric == nil else {
                        return nil
                    }
                    let link = delegate.spec.id.interface
                    let given = gateways.first { $0.family == family }.map { "\($0)" }
                    let own = defaults.contains { $0.route.family == family && $0.link == link }
                    guard let gateway = given ?? (gateways.isEmpty && own ? "that of the network" : nil)
                    else { return nil }
                    return (delegate, "\(gateway) on \(link) (\(delegate.spec.name))")
                }, family)
        }
        for delegate in delegates {
            guard let gateways = delegate.defaultRoute else { continue }
            let link = delegate.spec.id.interface
            for family in IPAddress.Family.allCases {
                let current = defaults.filter { $0.route.family == family }
                let own = current.filter { $0.link == link }
                if let gateway = gateways.first(where: { $0.family == family }),
                    let metric = delegate.defaultRouteMetric
                {
                    let route = Route(.everywhere(family), via: gateway, priority: metric)
                    // That of the network itself would go before it.
                    removals += own.map { .removeFound($0) }
                    additions.append(.addRoute(route, .sandbox(link)))
                } else if let gateway = gateways.first(where: { $0.family == family }) {
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
            switch step.of(RouteStep.self) {
            case .removeFound(let found)? where found.link == interface:
                result.routes.removeAll { $0.isDefault && $0.family == found.route.family }
            case .add(let route, .sandbox(interface))?: result.routes.append(route)
            default: break
            }
        }
        return result
    }
}
