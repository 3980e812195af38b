package import CNI
package import JSONC
import Networking
package import Plans

/// Changes the routes that the plugins before it made, on the chain's interfaces alone. CNI plugin `route-override`.
package enum RouteOverride: Module {
    package static let type = "route-override"
    package static let usesIPAM = false
    package static let vocabulary = Vocabulary(
        ["flushroutes", "flushgateway", "delroutes", "addroutes", "skipcheck"],
        members: [.init("delroutes", Route.vocabulary), .init("addroutes", Route.vocabulary)])
    package static let podArguments = vocabulary.keys

    package struct Config: Equatable, Sendable {
        var flushesRoutes = false
        var flushesGateway = false
        /// Destinations.
        var removed: [CIDR] = []
        var added: [Route] = []
        var skipsCheck = false
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        do throws(JSONError) {
            var config = Config()
            let json = input.config.reader
            // What args.cni says replaces the configuration's, whole lists too.
            for source in [json, try json.object("args")?.object("cni")] {
                guard let source else { continue }
                config.flushesRoutes = try source.bool("flushroutes") ?? config.flushesRoutes
                config.flushesGateway = try source.bool("flushgateway") ?? config.flushesGateway
                config.skipsCheck = try source.bool("skipcheck") ?? config.skipsCheck
                if let routes = try routes(source, "delroutes", mustWork: false) {
                    config.removed = routes.map(\.destination.network)
                }
                if let routes = try routes(source, "addroutes", mustWork: input.isStrict) {
                    config.added = routes
                }
            }
            return config
        } catch {
            throw Failure(.badConfig, error)
        }
    }

    private static func routes(
        _ json: Reader, _ key: String, mustWork: Bool
    ) throws(JSONError) -> [Route]? {
        guard let list = try json.list(key) else { return nil }
        var routes: [Route] = []
        for entry in list {
            let route = try Route(entry)
            if mustWork { try route.requireUsable(entry) }
            routes.append(route)
        }
        return routes
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        verb == .add || verb == .check ? FactsQuery(routes: true) : FactsQuery()
    }

    /// Names of the chain's links in the pod.
    private static func links(_ result: CNIResult, _ attachment: Attachment) -> [String] {
        let own = result.interfaces.filter { !($0.sandbox ?? "").isEmpty }.map(\.name)
        return own.isEmpty ? [attachment.interface] : own
    }

    package static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        guard var result = attachment.previous else {
            throw Failure(
                .badConfig, "Required prevResult missing",
                details: "route-override follows another plugin in a list")
        }
        let links = links(result, attachment)
        let ours = facts.routes.filter { links.contains($0.link) }
        let promised = Set(result.routes.map(\.destination.network))
        let leaves = ours.filter { entry in
            let route = entry.route
            if route.isDefault {
                return config.flushesGateway || config.flushesRoutes
                    || config.removed.contains(route.destination) && promised.contains(route.destination)
            }
            if config.flushesRoutes { return route.gateway != nil && !route.destination.address.isLinkLocal }
            return config.removed.contains(route.destination) && promised.contains(route.destination)
        }
        // In reverse order: an undo then restores several next hops in their order.
        var steps: [Step] = leaves.reversed().map { .removeFound($0) }
        let stays = ours.filter { !leaves.contains($0) && $0.link == links[0] }.map(\.route)
        for route in config.added where !stays.contains(where: { isSame($0, route) }) {
            steps.append(.addRoute(route, .sandbox(links[0])))
        }

        if config.flushesRoutes { result.routes = [] }
        result.routes.removeAll {
            config.removed.contains($0.destination.network) || config.flushesGateway && $0.isDefault
        }
        if config.flushesGateway {
            for index in result.ips.indices {
                // As the reference plugin prints it.
                result.ips[index].gateway = IPAddress(result.ips[index].address.family, bits: 0)
            }
        }
        result.routes += config.added
        return Plan(steps: steps, result: result)
    }

    /// Whether an equivalent route exists.
    private static func isSame(_ kernel: Route, _ wanted: Route) -> Bool {
        (wanted.table == nil || wanted.table == 254) && kernel.destination == wanted.destination.network
            && kernel.gateway == wanted.gateway && kernel.priority == wanted.priority
    }

    /// Routes go with their link.
    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        Removal()
    }

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        guard !config.skipsCheck else { return }
        let links = links(previous, attachment)
        let ours = facts.routes.filter { links.contains($0.link) }.map(\.route)
        let added = Set(config.added.map(\.destination.network))
        for destination in config.removed where !added.contains(destination) {
            guard !ours.contains(where: { $0.destination == destination }) else {
                throw Failure(
                    .generic, "route-override: route \(destination) is there, delroutes names it",
                    details: changed)
            }
        }
        let gateways = previous.ips.compactMap(\.gateway)
        // After flushgateway the addresses have no gateways to compare with.
        let isAnyGateway = config.flushesGateway
        for route in previous.routes where route.table == nil || route.table == 254 {
            let found = ours.filter { $0.destination == route.destination.network }
            // A route without a gateway has one of the addresses' gateways, or none.
            let isOurs = found.contains {
                guard let gateway = $0.gateway else { return route.gateway == nil }
                return route.gateway.map { $0 == gateway } ?? (isAnyGateway || gateways.contains(gateway))
            }
            guard isOurs, !route.isDefault || found.count == 1 else {
                throw Failure(
                    .generic, "route-override: Failed to find route \(route.words)", details: changed)
            }
        }
    }
}
