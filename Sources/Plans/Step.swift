import Networking

/// One effect on the kernel, as data. The executor runs it and knows its inverse; `StepKind.commands` prints it.
///
/// Steps named `ensure…` act on what attachments share: they accept what exists and are never undone, but for what this
/// very run created.
package struct Step: Equatable, Sendable {
    package let kind: any StepKind

    package init(_ kind: some StepKind) { self.kind = kind }

    /// The step as one of an object; nil when it is another object's.
    package func of<Kind: StepKind>(_: Kind.Type) -> Kind? { kind as? Kind }

    package static func == (one: Step, other: Step) -> Bool { one.kind.isEqual(to: other.kind) }
}

/// The steps of one kernel object: what they are, their words and their effect on facts. How they run, and what undoes
/// them, is in the file of the same name in Engine/Steps. A new object is these two files and a line in `StepRunner`.
package protocol StepKind: Equatable, Sendable {
    /// Such as `addVeth`, for programs that read what `explain` prints.
    var name: String { get }
    /// What a person would type; `POD` stands for the sandbox's namespace and `HOST` for this one. Names and values are
    /// quoted: pods' authors choose them, and the lines are there to be copied. A link's name has `dev` or `name` in front of
    /// it, as it may be one of ip's own words.
    var commands: [String] { get }
    /// The facts as they are once the step is done; those of `basis` are there when they exist.
    func apply(to facts: inout Facts)
    /// Links whose facts decide those of others.
    var basis: [LinkName] { get }
    func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal)

    /// What undoes it when the kernel gave no answer: it may have been done.
    var inverseIfUnanswered: Step? { get }
    /// Whether it is a setting of the sandbox that needs the thread there: such steps share one visit.
    var needsVisit: Bool { get }
    /// Whether it makes a link in the host under a name that is derived from the attachment's.
    var takesDerivedName: Bool { get }
    /// Whether DEL leaves it to the next DEL while something could not be restored.
    var waitsForRestore: Bool { get }
    /// Whether the attachment keeps its addresses while the step waits.
    var holdsAddresses: Bool { get }
}

extension StepKind {
    package func apply(to _: inout Facts) {}
    package var basis: [LinkName] { [] }
    package var inverseIfUnanswered: Step? { nil }
    package var needsVisit: Bool { false }
    package var takesDerivedName: Bool { false }
    package var waitsForRestore: Bool { false }
    package var holdsAddresses: Bool { false }

    fileprivate func isEqual(to other: any StepKind) -> Bool { (other as? Self) == self }
}

/// What runs steps: one line for each kernel object.
package protocol StepRunner {
    associatedtype Refusal: Error
    mutating func run(_ step: AddressStep) throws(Refusal)
    mutating func run(_ step: BridgeStep) throws(Refusal)
    mutating func run(_ step: DeviceStep) throws(Refusal)
    mutating func run(_ step: FileStep) throws(Refusal)
    mutating func run(_ step: LinkStep) throws(Refusal)
    mutating func run(_ step: MasqueradeStep) throws(Refusal)
    mutating func run(_ step: RouteStep) throws(Refusal)
    mutating func run(_ step: RuleStep) throws(Refusal)
    mutating func run(_ step: SpoofCheckStep) throws(Refusal)
    mutating func run(_ step: SysctlStep) throws(Refusal)
    mutating func run(_ step: WaitStep) throws(Refusal)
}

extension Place {
    /// `ip` for the host, `ip -n POD` for the sandbox.
    var ip: String { self == .sandbox ? "ip -n POD" : "ip" }
}

extension LinkName {
    /// For the shell.
    var word: String { shellQuoted(name) }
}
