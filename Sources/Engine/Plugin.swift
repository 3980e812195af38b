import CNI
import JSONC
import Linux
import Networking
import Plans

/// One plugin of a chain at work, for one verb.
protocol Plugin {
    var call: PluginCall { get }
    /// Whether ADD runs a step of its own: what it says of itself begins with its type.
    func isNamed(in error: Failure) -> Bool
    /// Judges keys and sections, before any of them is used.
    func judgeKeys() throws(JSONError)
    func validate() throws(Failure)
    /// Whether somebody else gives its addresses in his own time.
    var asks: Bool { get }
    /// Makes the link of one that asks, and asks.
    ///
    /// - Returns: nil when there is nothing to wait for.
    func start(_ journal: inout Journal) throws(Failure) -> Ahead?
    /// - Parameters:
    ///   - previous: the result of the plugin before; nil for the first one.
    ///   - ahead: what it did by `start`, with its answer.
    func add(
        after previous: CNIResult?, _ ahead: Ahead?, _ journal: inout Journal,
        _ willSave: ([String: String]) throws(Failure) -> Void
    ) throws(Failure) -> CNIResult?
    func check(_ result: CNIResult) throws(Failure)
    /// Whether the link is there that the plugin makes, or takes, when ADD's result is lost.
    func checkLink() throws(Failure)
    /// As `AddressProvider.lost`.
    func lostLeases(_ attached: Attached, isKept: Bool) throws(Failure) -> [IPAddress]
    func removal() throws(Failure) -> Pending
    func collect(_ valid: [AttachmentID]) throws(Failure)
    func status() throws(Failure)
}

extension Plugin {
    /// An error with the plugin's type in front, unless it names it already.
    func naming(_ error: Failure) -> Failure {
        var error = call.rules.namesPlugins && !isNamed(in: error) ? error.prefixed(call.type) : error
        error.type = call.type
        return error
    }
}

/// What every plugin of a chain is told, and what it works with.
struct PluginCall {
    let spec: AttachmentSpec
    let runner: ChainRunner
    /// Read once, for all that is asked of the plugin.
    let config: PluginConfig
    private(set) var attachment: Attachment
    let type: String
    let verb: Verb
    /// What ADD left behind; nil when nobody knows.
    let attached: Attached?

    var rules: RoleRules { runner.rules }
    var worker: any Worker { runner.worker }

    /// The plugin's place in the list.
    private let index: Int
    /// All that live, for GC.
    private let valid: [AttachmentID]?

    /// - Parameters:
    ///   - previous: on DEL and CHECK the chain's result.
    ///   - valid: all that live, for GC.
    init(
        _ spec: AttachmentSpec, _ index: Int, _ verb: Verb, previous: CNIResult? = nil, _ runner: ChainRunner,
        attached: Attached? = nil, valid: [AttachmentID]? = nil
    ) throws(Failure) {
        self.spec = spec
        self.index = index
        self.valid = valid
        self.runner = runner
        self.verb = verb
        self.attached = attached
        // IPAM plugins that are built in compare with it.
        let compared = verb == .check ? previous : nil
        var config = try PluginConfig(Self.document(spec, index, previous: compared, valid))
        config.label = spec.name
        self.config = config
        type = config.type
        var attachment = spec.attachment()
        attachment.previous = previous ?? config.previous
        self.attachment = attachment
    }

    /// Built in or not.
    func plugin() -> any Plugin {
        guard let module = runner.registry.module(type), !spec.external.contains(type) else {
            return ExternalPlugin(call: self)
        }
        func builtin<M: Module>(_: M.Type) -> any Plugin { BuiltinPlugin<M>(call: self) }
        return builtin(module)
    }

    private static func document(
        _ spec: AttachmentSpec, _ index: Int, previous: CNIResult?, _ valid: [AttachmentID]?
    ) throws(Failure) -> JSON {
        try spec.list.config(
            at: index, previous: previous, runtimeConfig: spec.runtimeConfig, cniArgs: spec.cniArgs,
            validAttachments: valid.map { .array($0.map(\.json)) })
    }

    /// The same call, when the plugin before has given a result.
    func after(_ previous: CNIResult?) -> PluginCall {
        var call = self
        if let previous { call.attachment.previous = previous }
        return call
    }

    /// What an executable gets on stdin.
    private func input() throws(Failure) -> [UInt8] {
        // DEL has a prevResult from CNI 0.4.0 on; older versions could not even express every result.
        let isWritten = verb != .del || spec.list.version >= .v0_4_0
        let previous = isWritten ? attachment.previous : nil
        return try Self.document(spec, index, previous: previous, valid).bytes()
    }

    /// Of an external plugin, or an external IPAM plugin of this one.
    func external(_ verb: Verb, _ name: String) throws(Failure) -> ExternalCall {
        let given = name == type ? nil : spec.source
        let input = if let given { given } else { try input() }
        guard input.count <= JSON.maximumSize else {
            throw Failure(
                .badConfig, "the configuration is too large to be passed to plugin \(name)",
                details: "it has \(input.count) bytes, the limit is \(JSON.maximumSize)")
        }
        let path: String
        do throws(Failure) { path = try ExternalCall.find(name, in: spec.searchPath) } catch {
            let written = name.lowercased()
            let registry = runner.registry
            guard written != name, registry.module(written) != nil || registry.source(written) != nil else {
                throw error
            }
            throw error.ending(with: "write \"\(written)\"")
        }
        return ExternalCall(
            type: name, path: path, verb: verb, id: spec.id,
            sandbox: spec.sandbox, args: spec.args, searchPath: spec.searchPath,
            input: input, version: config.version, place: index, stop: verb == .add ? runner.stop : nil)
    }

    /// CHECK of an executable, with the result that ADD had.
    func externalCheck(_ result: CNIResult) throws(Failure) -> ExternalCall {
        try PluginCall(spec, index, .check, previous: result, runner).external(.check, type)
    }

    /// Runs a verb of CNI 1.1, of a plugin that is configured with that version.
    func runOptional(_ verb: Verb, _ name: String) throws(Failure) {
        guard config.version >= .v1_1_0 else { return }
        do throws(Failure) { _ = try external(verb, name).run() } catch {
            guard error.isPassedOn, error.code == Failure.Code.badEnvironment.rawValue else { throw error }
            throw error.ending(
                with: "if \(name) does not know \(verb.rawValue), the network's cniVersion is to be 1.0.0")
        }
    }

    /// To people who attach a pod, not to a runtime that asks for the state every few seconds.
    func say(_ remarks: [Remark]) {
        guard verb == .add, rules.judgesWishes else { return }
        for remark in remarks { worker.say(remark, spec, type) }
    }
}

extension AttachmentID {
    /// As in `cni.dev/valid-attachments`.
    fileprivate var json: JSON { ["containerID": .string(containerID), "ifname": .string(interface)] }
}
