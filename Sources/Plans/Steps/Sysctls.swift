import Networking

/// Values below /proc/sys.
package struct SysctlStep: StepKind {
    package var change: SysctlChange

    package var name: String { "sysctl" }

    package var commands: [String] { [change.command] }

    package func apply(to facts: inout Facts) {
        facts.sysctls[SysctlName(change.place, change.path)] = change.value
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }

    package var needsVisit: Bool { change.place == .sandbox }
}

extension Step {
    package static func sysctl(_ change: SysctlChange) -> Step { Step(SysctlStep(change: change)) }
}

/// A value to write below /proc/sys.
package struct SysctlChange: Hashable, Sendable {
    package enum Lifetime: Hashable, Sendable {
        /// Goes with the link that it belongs to.
        case link
        /// Written only when it differs, never undone: what the node's attachments share, and what was there before.
        case ensured
        /// Saved before the change and put back on rollback and DEL.
        case saved
    }

    package var place: Place
    /// `net/ipv4/ip_forward`.
    package var path: String
    package var value: String
    package var lifetime: Lifetime
    /// A missing file or a refused write is no failure: old kernels lack the setting.
    package var isOptional: Bool

    package init(
        _ place: Place, _ path: String, _ value: String, _ lifetime: Lifetime = .link,
        isOptional: Bool = false
    ) {
        self.place = place
        self.path = path
        self.value = value
        self.lifetime = lifetime
        self.isOptional = isOptional
    }

    /// As people write it: `net.ipv4.ip_forward`; the path where a part of it has a dot.
    package var name: String {
        path.utf8.contains(UInt8(ascii: "."))
            ? path : path.split(separator: "/").joined(separator: ".")
    }

    var command: String {
        let enter = place == .sandbox ? "ip netns exec POD " : ""
        return "\(enter)sysctl\(isOptional ? " -e" : "") -w \(shellQuoted("\(path)=\(value)"))"
    }
}
