import CNI
import JSONC
import Linux
import Networking
import Plans

/// A plugin that is a module of this executable.
struct BuiltinPlugin<M: Module>: Plugin {
    let call: PluginCall
    /// An error is thrown where the configuration is first used.
    private let parsed: Result<M.Config, Failure>
    /// Who gives the addresses; nil for a plugin or a network without.
    private let addresses: (any AddressProvider)?

    init(call: PluginCall) {
        self.call = call
        parsed = Self.parse(call)
        addresses = M.usesIPAM ? call.config.ipamType.map(call.addresses) : nil
    }

    func isNamed(in error: Failure) -> Bool { error.message.hasPrefix("\(call.type) ") }

    func judgeKeys() throws(JSONError) {
        let config = call.config
        if let asked = try config.reader.object("args")?.object("cni") {
            call.say(passedOver(try asked.judge(M.vocabulary, below: M.podArguments)))
        }
        if M.usesIPAM { try call.requireSource() }
        call.say(passedOver(try config.reader.judge(vocabulary)))
        call.say(Capabilities.problems(config.reader, isOpen: false).map { .concern($0) })
    }

    private var vocabulary: Vocabulary {
        // Keys that the pod's device is told by.
        call.spec.deviceID == nil ? ownVocabulary : ownVocabulary.with(Vocabulary(["deviceID", "pciBusID"]))
    }

    private var ownVocabulary: Vocabulary {
        guard M.usesIPAM else { return M.vocabulary.with(PluginConfig.vocabulary) }
        let all = M.vocabulary.with(PluginConfig.interfaceVocabulary)
        guard let source = call.config.ipamType.flatMap(call.builtinSource) else { return all }
        return all.with(Vocabulary([], members: [.init("ipam", source.vocabulary)]))
    }

    /// What `remarks` says of choices that a default made is an error's worth when keys are unknown: one of them may have
    /// been meant to choose.
    private func weighed(_ remarks: [Remark]) -> [Remark] {
        func isChoice(_ remark: Remark) -> Bool { if case .choice = remark { true } else { false } }
        guard remarks.contains(where: isChoice), let unknown = try? call.config.reader.judge(vocabulary),
            !unknown.isEmpty
        else { return remarks }
        return remarks.map { isChoice($0) ? .concern($0.text) : $0 }
    }

    func validate() throws(Failure) {
        _ = try parsed.get()
        try addresses?.validate()
    }

    // MARK: ADD

    func add(
        after previous: CNIResult?, _ ahead: Ahead?, _ journal: inout Journal,
        _ willSave: ([String: String]) throws(Failure) -> Void
    ) throws(Failure) -> CNIResult? {
        let parsed = try parsed.get()
        let call = call.after(previous)
        let made = if let ahead { ahead.made } else { try make(parsed, call, &journal) }
        var attachment = made.attachment
        if let addresses {
            attachment.lease =
                if let answer = ahead?.answer { try answer.get() } else { try addresses.take(call, &journal) }
            // Only an external plugin knows what it will give, and the plan depends on that.
            if attachment.lease == nil { return attachment.previous ?? CNIResult() }
        }
        let plan = try run(&journal, &attachment) { attachment throws(Failure) in
            let plan =
                isLinkFirst
                ? try M.configure(parsed, attachment, made.facts)
                : try M.plan(parsed, attachment, made.facts)
            let saved = made.facts.saved(by: plan.steps)
            if !saved.isEmpty { try willSave(saved) }
            return plan
        }
        return try call.worker.result(of: plan)
    }

    private var isLinkFirst: Bool { addresses?.needsLink ?? false }
    var asks: Bool { addresses?.asks ?? false }

    func start(_ journal: inout Journal) throws(Failure) -> Ahead? {
        guard let addresses else { return nil }
        let made = try make(try parsed.get(), call, &journal)
        guard let question = try addresses.ask() else { return nil }
        // From now on it is the one who waits that undoes this.
        defer { journal = Journal() }
        return Ahead(made, question, journal)
    }

    /// The link, where the addresses need it.
    private func make(
        _ parsed: M.Config, _ call: PluginCall, _ journal: inout Journal
    ) throws(Failure) -> MadeLink {
        var attachment = call.attachment
        let facts = try call.worker.observe(M.needs(parsed, attachment, .add))
        try M.refuse(parsed, attachment, facts)
        if call.rules.judgesWishes { call.say(weighed(try M.judge(parsed, attachment, facts))) }
        if isLinkFirst {
            _ = try run(&journal, &attachment) { attachment throws(Failure) in
                Plan(steps: try M.make(parsed, attachment, facts), result: CNIResult())
            }
        }
        return MadeLink(attachment: attachment, facts: facts)
    }

    /// Runs what is planned for the attachment, which gets other names when the host has these.
    ///
    /// - Returns: the plan that was run.
    private func run(
        _ journal: inout Journal, _ attachment: inout Attachment,
        _ make: (Attachment) throws(Failure) -> Plan
    ) throws(Failure) -> Plan {
        var plan = try make(attachment)
        guard var refused = call.worker.run(plan.steps, of: call, &journal) else { return plan }
        if call.rules.sharesContainerIDs, refused.isTakenName {
            attachment.digest = Attachment.randomDigest()
            plan = try make(attachment)
            guard let again = call.worker.run(plan.steps, of: call, &journal) else { return plan }
            refused = again
        }
        throw failure(of: refused)
    }

    /// A step does not know which plugin it is of: a pod may ask one of them for what another does by itself.
    private func failure(of refused: RefusedStep) -> Failure {
        var failure = call.runner.executor.failure(of: refused)
        let head = "args.cni."
        guard let key = failure.key, key.hasPrefix(head) else { return failure }
        let asked = key.dropFirst(head.count).prefix { $0 != "." }
        if !M.podArguments.contains(where: { $0 == asked }) { failure.key = nil }
        return failure
    }

    // MARK: CHECK, DEL, GC, STATUS

    func check(_ result: CNIResult) throws(Failure) {
        let parsed = try parsed.get()
        let facts = try call.worker.observe(M.needs(parsed, call.attachment, .check))
        try M.check(parsed, call.attachment, result, facts)
        guard let addresses else { return }
        try addresses.check()
        if M.hasLink(parsed, facts) {
            try Verifier(call.runner.kernel, call.rules).check(result, call.attachment)
        }
    }

    func checkLink() throws(Failure) {
        guard M.usesIPAM else { return }
        // A configuration that changed since says nothing of the link.
        guard let parsed = try? parsed.get() else { return }
        guard M.hasLink(parsed, try call.worker.observe(M.needs(parsed, call.attachment, .check))) else {
            return
        }
        let name = LinkName.sandbox(call.spec.id.interface)
        guard let link = try call.worker.observe(FactsQuery(links: [name])).links[name] else {
            throw Failure(
                .generic, "interface \(name.name) does not exist in \(call.spec.sandbox)",
                details: "somebody removed it")
        }
        guard let kind = M.linkKind, link.kind != kind else { return }
        throw Failure(
            .generic, "interface \(name.name) is not of type \(kind)",
            details: "somebody put another link there")
    }

    func lostLeases(_ attached: Attached, isKept: Bool) throws(Failure) -> [IPAddress] {
        try addresses?.lost(attached, isKept: isKept) ?? []
    }

    func removal() throws(Failure) -> Pending {
        var pending = Pending(removal: try removalSteps())
        let ipam = call.config.ipamType ?? ""
        if let addresses, !call.wasRefused(call.runner.registry.module(ipam) != nil) {
            addresses.giveBack(in: &pending)
        }
        return pending
    }

    private func removalSteps() throws(Failure) -> Removal {
        let parsed: M.Config
        do throws(Failure) { parsed = try self.parsed.get() } catch {
            // Only our pairs have this name.
            guard call.rules.detachesByName else { throw error }
            let spec = call.spec
            call.runner.log.error(
                "DEL of container \(spec.id.containerID) \(spec.id.interface) from \(spec.name): \(call.type):"
                    + " \(error.message): its link goes by name")
            return Removal(hostPairs: [call.attachment.hostLinkName])
        }
        var attachment = call.attachment
        attachment.saved = call.attached?.saved ?? [:]
        return M.removal(parsed, attachment, try call.worker.observe(M.needs(parsed, attachment, .del)))
    }

    func collect(_ valid: [AttachmentID]) throws(Failure) { try addresses?.collect(valid) }

    func status() throws(Failure) {
        try call.validate(self)
        try addresses?.status()
    }

    // MARK: Configuration

    private static func parse(_ call: PluginCall) -> Result<M.Config, Failure> {
        do throws(Failure) {
            var args = CNIArgs()
            if let known = M.arguments(call.verb) {
                args = try CNIArgs.parse(call.spec.args, lenient: call.rules.acceptsForeignArguments)
                if !call.rules.acceptsForeignArguments { try args.requireKnown(known) }
            }
            let input = PluginInput(config: call.config, args: args, verb: call.verb, rules: call.rules)
            do throws(Failure) { return .success(try M.parse(input)) } catch {
                var error = error
                let isOurs = error.key.map { !call.rules.tracesWishes || !Failure.isOfTheCall($0) } ?? true
                if error.details.isEmpty, isOurs {
                    error.details =
                        "correct it in the configuration of \(call.type), network \(call.spec.name)"
                }
                return .failure(error)
            }
        } catch {
            return .failure(error)
        }
    }
}

extension Facts {
    /// What the sysctls that `steps` change and promise to put back are now, by path.
    fileprivate func saved(by steps: [Step]) -> [String: String] {
        var saved: [String: String] = [:]
        for change in steps.compactMap({ $0.of(SysctlStep.self)?.change }) where change.lifetime == .saved {
            saved[change.path] = sysctls[SysctlName(change.place, change.path)]
        }
        return saved
    }
}
