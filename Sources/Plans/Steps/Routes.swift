package import Networking

/// Routes. Kernel: RTM_NEWROUTE, RTM_DELROUTE.
package enum RouteStep: StepKind {
    case add(Route, LinkName)
    case remove(Route, LinkName)
    /// A route that was there, whoever made it; one that is gone by now is no failure.
    case removeFound(SandboxRoute)
    case restoreFound(SandboxRoute)

    package var name: String {
        switch self {
        case .add: "addRoute"
        case .remove: "removeRoute"
        case .removeFound: "removeFound"
        case .restoreFound: "restoreFound"
        }
    }

    package var commands: [String] {
        switch self {
        case .add(let route, let link):
            ["\(link.place.ip) route prepend \(route.words) dev \(link.word)"]
        case .remove(let route, let link):
            ["\(link.place.ip) route delete \(route.words) dev \(link.word)"]
        case .removeFound(let found):
            ["ip -n POD route delete \(found.route.words) dev \(shellQuoted(found.link))"]
        case .restoreFound(let found):
            ["ip -n POD route append \(found.route.words) dev \(shellQuoted(found.link))"]
        }
    }

    package func apply(to facts: inout Facts) {
        switch self {
        case .add(let route, let link): facts.routes.append(SandboxRoute(route, link.name))
        case .remove(let route, let link):
            facts.routes.removeAll { $0.route == route && $0.link == link.name }
        case .removeFound(let found): facts.routes.removeAll { $0 == found }
        case .restoreFound(let found): facts.routes.append(found)
        }
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func addRoute(_ route: Route, _ link: LinkName) -> Step {
        Step(RouteStep.add(route, link))
    }
    package static func removeFound(_ found: SandboxRoute) -> Step { Step(RouteStep.removeFound(found)) }
}

extension Route {
    /// As `ip route` takes it.
    package var words: String {
        var words = [isDefault ? "default" : "\(destination)"]
        if let gateway { words.append("via \(gateway)") }
        if let priority { words.append("metric \(priority)") }
        if let table { words.append("table \(table)") }
        if let scope { words.append("scope \(scope)") }
        if let mtu { words.append("mtu \(mtu)") }
        if let advmss { words.append("advmss \(advmss)") }
        return words.joined(separator: " ")
    }
}
