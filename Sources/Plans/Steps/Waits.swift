import Networking

/// Waits that end when their cause does.
package enum WaitStep: StepKind {
    /// Until no IPv6 address of the link is tentative.
    case settle(LinkName)
    /// Until the link is operational.
    case carrier(LinkName)

    package var name: String {
        switch self {
        case .settle: "settle"
        case .carrier: "awaitCarrier"
        }
    }

    package var commands: [String] {
        switch self {
        case .settle(let link): ["# wait until no address of \(link.word) is tentative"]
        case .carrier(let link): ["# wait until \(link.word) is operational"]
        }
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func settle(_ link: LinkName) -> Step { Step(WaitStep.settle(link)) }
    package static func awaitCarrier(_ link: LinkName) -> Step { Step(WaitStep.carrier(link)) }
}
