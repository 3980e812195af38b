package import Networking

/// Rules that choose a routing table. Kernel: RTM_NEWRULE, RTM_DELRULE.
package enum RuleStep: StepKind {
    case add(RoutingRule, Place)
    case remove(RoutingRule, Place)

    package var name: String {
        switch self {
        case .add: "addRule"
        case .remove: "removeRule"
        }
    }

    package var commands: [String] {
        let (verb, rule, place) =
            switch self {
            case .add(let rule, let place): ("add", rule, place)
            case .remove(let rule, let place): ("delete", rule, place)
            }
        let family = rule.source.family == .v6 ? " -6" : ""
        return ["\(place.ip)\(family) rule \(verb) \(rule.words)"]
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func addRule(_ rule: RoutingRule, _ place: Place = .sandbox) -> Step {
        Step(RuleStep.add(rule, place))
    }

    package static func removeRule(_ rule: RoutingRule, _ place: Place = .sandbox) -> Step {
        Step(RuleStep.remove(rule, place))
    }
}
