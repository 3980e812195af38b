package import CNI
package import JSONC

/// A plugin's own view of one call: its configuration, CNI_ARGS, and what is asked.
package struct PluginInput: Sendable {
    package let config: PluginConfig
    package let args: CNIArgs
    /// Values that only ADD uses are refused by ADD alone: DEL must work whoever made the attachment.
    package let verb: Verb
    package let rules: RoleRules

    package init(config: PluginConfig, args: CNIArgs, verb: Verb, rules: RoleRules = .reference) {
        self.config = config
        self.args = args
        self.verb = verb
        self.rules = rules
    }

    /// Whether values are refused that the reference plugin ignores: not by CHECK and DEL, which need what is attached.
    package var isStrict: Bool { rules.judgesWishes && (verb == .add || verb == .status) }
}

/// What every built-in plugin provides. Everything here is pure; the engine does the work.
package protocol Module: Sendable {
    associatedtype Config: Equatable & Sendable
    /// The CNI `type` that selects the module, and the name of the executable that runs it alone.
    static var type: String { get }
    /// Whether an `ipam` section is handed to an address source.
    static var usesIPAM: Bool { get }
    /// The kernel's name for the kind of link that it makes in the pod; nil for a plugin that makes none.
    static var linkKind: String? { get }
    /// The keys of the configuration that belong to this plugin, in the reference's spelling.
    static var vocabulary: Vocabulary { get }
    static var traits: PluginTraits { get }
    /// What it reads of `runtimeConfig`, and of `args.cni`.
    static var capabilities: [String] { get }
    static var podArguments: [String] { get }
    /// The keys of CNI_ARGS that the plugin takes; nil for one that never looks at them.
    static func arguments(_ verb: Verb) -> [String]?
    static func parse(_ input: PluginInput) throws(Failure) -> Config
    static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery
    /// The steps that make the attachment's link, which has no address yet; none of a plugin without a link of its own.
    static func make(_ config: Config, _ attachment: Attachment, _ facts: Facts) throws(Failure) -> [Step]
    /// What is done when the link is there and the addresses are known, and what the plugin returns.
    static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan
    static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal
    /// Where the note is of the host's device that the attachment has; nil for plugins that take none.
    static func takenDevice(_ attachment: Attachment) -> TakenQuery?
    /// Whether an attachment by this configuration holds what another one wanted: the error of that one can then name it.
    /// Of `.address` that the attachment has it is known.
    static func holds(_ claim: Failure.Claim, _ configuration: JSON) -> Bool
    /// What of the node its links meet on, such as `link eth1`: two attachments with one of them reach each other's
    /// addresses. nil where nothing tells, and for a link that is the pod's alone.
    static func segment(_ configuration: JSON) -> String?
    /// The file in which the plugin itself notes what DEL needs, beside the pod's record; nil for plugins that keep none.
    static func note(_ attachment: Attachment) -> String?
    /// What DEL asks and does by that file alone, without a configuration.
    static func needs(noteOf attachment: Attachment) -> FactsQuery
    static func removal(noteOf attachment: Attachment, _ facts: Facts) -> Removal
    /// What the facts alone rule out; asked before an address is taken.
    static func refuse(_ config: Config, _ attachment: Attachment, _ facts: Facts) throws(Failure)
    /// In the meta role alone: refuses what the reference plugin accepts and cannot work, and remarks on what hardly
    /// will.
    static func judge(_ config: Config, _ attachment: Attachment, _ facts: Facts) throws(Failure) -> [Remark]
    /// Whether the reference leaves a link whose result the version cannot express; its tests look for it.
    static var leavesUntold: Bool { get }
    /// Whether the pod has a link of this attachment, whose addresses and routes the verifier compares.
    static func hasLink(_ config: Config, _ facts: Facts) -> Bool
    /// CHECK compares with the result of ADD, which the runtime must pass.
    static var checksResult: Bool { get }
    /// Compares what `previous` promises with the facts; addresses and routes are the verifier's.
    static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure)
}

extension Module {
    package static var usesIPAM: Bool { true }
    package static var linkKind: String? { nil }
    package static var traits: PluginTraits { [] }
    package static func arguments(_ verb: Verb) -> [String]? { nil }
    package static var checksResult: Bool { true }
    package static func make(_: Config, _: Attachment, _: Facts) throws(Failure) -> [Step] { [] }
    package static func takenDevice(_: Attachment) -> TakenQuery? { nil }
    package static func holds(_: Failure.Claim, _: JSON) -> Bool { false }
    package static func segment(_: JSON) -> String? { nil }
    package static func note(_: Attachment) -> String? { nil }
    package static func needs(noteOf _: Attachment) -> FactsQuery { FactsQuery() }
    package static func removal(noteOf _: Attachment, _: Facts) -> Removal { Removal() }
    package static var capabilities: [String] { [] }
    package static var podArguments: [String] { [] }
    package static func refuse(_: Config, _: Attachment, _: Facts) throws(Failure) {}
    package static func judge(_: Config, _: Attachment, _: Facts) throws(Failure) -> [Remark] { [] }
    package static var leavesUntold: Bool { false }
    package static func hasLink(_: Config, _: Facts) -> Bool { true }
    package static func check(_: Config, _: Attachment, _: CNIResult, _: Facts) throws(Failure) {}

    /// All of an ADD whose addresses are known before its link is made.
    package static func plan(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        var plan = try configure(config, attachment, facts)
        plan.steps = try make(config, attachment, facts) + plan.steps
        return plan
    }
}

/// What others must know of a plugin, built in or not.
package struct PluginTraits: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// It is an IPAM plugin, and makes no interface.
    package static let givesAddresses = PluginTraits(rawValue: 1)
    /// It takes the device that a device plugin gave the pod.
    package static let takesDevice = PluginTraits(rawValue: 2)
    /// Routes go by the source address: two networks may have one subnet.
    package static let routesBySource = PluginTraits(rawValue: 4)
    /// An attachment has a part in the host beside the pod's link: a port, addresses, rules.
    package static let hasHostPart = PluginTraits(rawValue: 8)
}

/// The built-in plugins by type; the engine is given one and knows none by name.
package struct Registry: Sendable {
    package let module: @Sendable (String) -> (any Module.Type)?
    package let source: @Sendable (String) -> (any AddressSource.Type)?
    /// Modules that keep notes; one that takes a device comes before one that changes it.
    package let noters: @Sendable () -> [any Module.Type]
    /// Address sources that store their leases.
    package let keepers: @Sendable () -> [any AddressSource.Type]
    /// Of plugins that are built in, and of others that are known.
    package let traits: @Sendable (String) -> PluginTraits

    package init(
        module: @escaping @Sendable (String) -> (any Module.Type)?,
        source: @escaping @Sendable (String) -> (any AddressSource.Type)?,
        noters: @escaping @Sendable () -> [any Module.Type] = { [] },
        keepers: @escaping @Sendable () -> [any AddressSource.Type] = { [] },
        traits: @escaping @Sendable (String) -> PluginTraits = { _ in [] }
    ) {
        self.module = module
        self.source = source
        self.noters = noters
        self.keepers = keepers
        self.traits = traits
    }
}
