import CNI
import JSONC
import Linux
import Network
import Plans

/// One plugin of a chain, built in or not.
struct Plugin {
    let spec: AttachmentSpec
    let runner: ChainRunner
    let config: PluginConfig
    let json: JSON
    let attachment: Attachment
    let type: String
    let verb: Verb
    let kind: Kind

    enum Kind {
        case module(any Module.Type)
        case foreign
    }

    init(
        _ spec: AttachmentSpec, _ index: Int, _ verb: Verb, previous: CNIResult?, _ runner: ChainRunner,
        valid: [AttachmentID]? = nil
    ) throws(Failure) {
        self.spec = spec
        self.runner = runner
        self.verb = verb
        // DEL has a prevResult from CNI 0.4.0 on; older versions could not even express every result.
        let isWritten = verb != .del || spec.list.version >= .v0_4_0
        json = try spec.list.config(
            at: index, previous: isWritten ? previous : nil, runtimeConfig: spec.runtimeConfig,
            cniArgs: spec.cniArgs,
            validAttachments: valid.map { .array($0.map(\.json)) })
        var config = try PluginConfig(json)
        config.label = spec.name
        self.config = config
        type = config.type
        var attachment = spec.attachment()
        attachment.previous = previous ?? config.previous
        self.attachment = attachment
        if let module = runner.registry.module(type), !spec.external.contains(type) {
            kind = .module(module)
        } else {
            kind = .foreign
        }
    }

    func add(
        _ journal: inout Journal, _ willSave: ([String: String]) throws(Failure) -> Void
    ) throws(Failure) -> CNIResult? {
        defer { runner.kernel.absent.removeAll { $0 == spec.id.interface } }
        switch kind {
        case .module(let module): return try add(module, &journal, willSave)
        case .foreign:
            let call = try foreign(.add)
            if runner.explained != nil {
                explain(.delegate(type, path: call.path))
                return attachment.previous
            }
            guard runner.kernel.isHome else { throw stranded }
            let undo = try foreign(.del)
            let answer = try call.execute()
            // A plugin that fails half-way is asked to clean up as well.
            journal.record(.delegate(undo))
            return try call.result(of: answer)
        }
    }

    private func add<M: Module>(
        _: M.Type, _ journal: inout Journal, _ willSave: ([String: String]) throws(Failure) -> Void
    ) throws(Failure) -> CNIResult {
        let parsed = try parse(M.self)
        var attachment = attachment
        let facts = try runner.observe(M.needs(parsed, attachment, .add))
        try M.refuse(parsed, attachment, facts)
        if runner.isMeta {
            for remark in try M.judge(parsed, attachment, facts) { runner.say(remark, spec, type) }
        }
        var isMade = false
        if M.usesIPAM, let ipam = config.ipamType {
            // An external IPAM plugin may look at the link, and talk over it; a built-in one that has no address is to
            // leave nothing touched.
            if builtinSource(ipam) == nil {
                try run(&journal, &attachment) { attachment throws(Failure) in
                    try M.make(parsed, attachment, facts)
                }
                isMade = true
            }
            attachment.lease = try lease(ipam, &journal)
            // Only an external plugin knows what it will give, and the plan depends on that.
            if attachment.lease == nil { return attachment.previous ?? CNIResult() }
        }
        var plan = Plan(result: CNIResult())
        try run(&journal, &attachment) { attachment throws(Failure) in
            plan =
                isMade
                ? try M.configure(parsed, attachment, facts) : try M.plan(parsed, attachment, facts)
            let saved = facts.saved(by: plan.steps)
            if !saved.isEmpty { try willSave(saved) }
            return plan.steps
        }
        return runner.explained == nil ? try runner.executor.readBack(plan) : plan.result
    }

    /// Runs what `plan` wants done for the attachment, which gets other names when the host has these: who runs a plugin by
    /// itself may use a container's ID for two pods.
    private func run(
        _ journal: inout Journal, _ attachment: inout Attachment,
        _ plan: (Attachment) throws(Failure) -> [Step]
    ) throws(Failure) {
        let steps = try plan(attachment)
        if runner.explained != nil {
            for step in steps { explain(.step(step)) }
            runner.imagined += steps
            return
        }
        do throws(StepError) { try runner.executor.run(steps, &journal) } catch {
            guard !runner.isMeta, error.isTakenName else { throw runner.executor.failure(of: error) }
            attachment.digest = Attachment.randomDigest()
            try runner.run(plan(attachment), &journal)
        }
    }

    func validate() throws(Failure) {
        if runner.isMeta { try judge() }
        switch kind {
        case .module(let module): try validate(module)
        case .foreign: _ = try foreign(.add)
        }
    }

    private func validate<M: Module>(_: M.Type) throws(Failure) {
        _ = try parse(M.self)
        guard M.usesIPAM, let ipam = config.ipamType else { return }
        if let source = builtinSource(ipam) {
            // STATUS has no pod, which might bring addresses of its own.
            if verb == .status {
                try source.status(leaseRequest)
            } else {
                say(try source.validate(leaseRequest))
            }
        } else {
            _ = try foreign(.add, ipam)
        }
    }

    func check(_ result: CNIResult) throws(Failure) {
        switch kind {
        case .module(let module): try check(module, result)
        case .foreign: _ = try foreign(.check).run()
        }
    }

    private func check<M: Module>(_: M.Type, _ result: CNIResult) throws(Failure) {
        let parsed = try parse(M.self)
        let facts = try runner.observe(M.needs(parsed, attachment, .check))
        try M.check(parsed, attachment, result, facts)
        guard M.usesIPAM, let ipam = config.ipamType else { return }
        if let source = builtinSource(ipam) {
            try source.check(leaseRequest)
        } else {
            _ = try foreign(.check, ipam).run()
        }
        if M.hasLink(parsed, facts) { try Verifier(runner.kernel).check(result, attachment) }
    }

    func removal() throws(Failure) -> Pending {
        switch kind {
        case .module(let module): return try removal(module)
        case .foreign: return wasRefused(isAddressSource) ? Pending() : Pending(call: try foreign(.del))
        }
    }

    private func removal<M: Module>(_: M.Type) throws(Failure) -> Pending {
        var pending = Pending(removal: try removalSteps(M.self))
        guard M.usesIPAM, let ipam = config.ipamType, !wasRefused(runner.registry.module(ipam) != nil) else {
            return pending
        }
        if let source = builtinSource(ipam) {
            pending.lease = (source, leaseRequest)
        } else {
            // Without the executable its addresses stay, but the links still go.
            do throws(Failure) { pending.call = try foreign(.del, ipam) } catch { pending.problem = error }
        }
        return pending
    }

    private func removalSteps<M: Module>(_: M.Type) throws(Failure) -> Removal {
        let parsed: M.Config
        do throws(Failure) { parsed = try parse(M.self) } catch {
            // A configuration that became invalid must not keep a pod from going: only our pairs have this name.
            guard runner.isMeta else { throw error }
            runner.log.error(
                "DEL of container \(spec.id.containerID) \(spec.id.interface) from \(spec.name): \(type):"
                    + " \(error.message): its link goes by name")
            return Removal(hostLinks: [attachment.hostLinkName])
        }
        var attachment = attachment
        attachment.saved = runner.saved
        return M.removal(parsed, attachment, try runner.observe(M.needs(parsed, attachment, .del)))
    }

    /// GC of the address source, or of the plugin itself when it speaks CNI 1.1.
    func collect(_ valid: [AttachmentID]) throws(Failure) {
        switch kind {
        case .module(let module):
            guard module.usesIPAM, let ipam = config.ipamType else { return }
            if let source = builtinSource(ipam) { return try source.collect(leaseRequest, valid: valid) }
            try call(.gc, ipam)
        case .foreign: try call(.gc, type)
        }
    }

    func status() throws(Failure) {
        try validate()
        switch kind {
        case .module(let module):
            guard module.usesIPAM, let ipam = config.ipamType else { return }
            guard builtinSource(ipam) == nil else { return }
            try call(.status, ipam)
        case .foreign: try call(.status, type)
        }
    }

    /// A verb of CNI 1.1, of a plugin that is configured with that version.
    private func call(_ verb: Verb, _ name: String) throws(Failure) {
        guard config.version >= .v1_1_0 else { return }
        do throws(Failure) { _ = try foreign(verb, name).run() } catch {
            guard error.isPassedOn, error.code == Failure.Code.badEnvironment.rawValue else { throw error }
            throw error.ending(
                with: "if \(name) does not know \(verb.rawValue), the network's cniVersion is to be 1.0.0")
        }
    }

    // MARK: Helpers

    /// An error with the plugin's type in front, unless it begins so; what we say of an executable names it already.
    func naming(_ error: Failure) -> Failure {
        guard runner.isMeta else { return error }
        switch kind {
        case .foreign where !error.isPassedOn: return error
        case .module where error.message.hasPrefix("\(type) "): return error
        case .foreign, .module: return error.prefixed(type)
        }
    }

    /// The built-in address source for `ipam`, unless its executable is preferred.
    func builtinSource(_ ipam: String) -> (any AddressSource.Type)? {
        spec.external.contains(ipam) ? nil : runner.registry.source(ipam)
    }

    private var stranded: Failure {
        Failure(.generic, Kernel.stranded, details: "the attachment is rolled back")
    }

    private var leaseRequest: LeaseRequest {
        var request = LeaseRequest(
            config: config, id: spec.id, args: spec.args, isLenient: runner.isMeta)
        request.given = runner.given
        return request
    }

    private func parse<M: Module>(_: M.Type) throws(Failure) -> M.Config {
        var args = CNIArgs()
        if let known = M.arguments(verb) {
            args = try CNIArgs.parse(spec.args, lenient: runner.isMeta)
            if !runner.isMeta { try args.requireKnown(known) }
        }
        let input = PluginInput(config: config, args: args, verb: verb, isMeta: runner.isMeta)
        do throws(Failure) { return try M.parse(input) } catch {
            var error = error
            // Of what a caller asked for, the meta role says itself who wrote it.
            let isOurs = error.key.map { !runner.isMeta || !Failure.isOfTheCall($0) } ?? true
            if error.details.isEmpty, isOurs {
                error.details = "correct it in the configuration of \(type), network \(spec.name)"
            }
            throw error
        }
    }

    /// nil for an external address source that is only explained.
    private func lease(_ ipam: String, _ journal: inout Journal) throws(Failure) -> Lease? {
        if let source = builtinSource(ipam) {
            if runner.explained != nil {
                let lease = try source.preview(leaseRequest)
                explain(.lease(ipam, lease.ips))
                return lease
            }
            var request = leaseRequest
            let lease = try source.allocate(request)
            request.given = lease.ips.map(\.address.address)
            journal.record(.lease(source, request))
            return lease
        }
        let call = try foreign(.add, ipam)
        if runner.explained != nil {
            explain(.delegate(ipam, path: call.path))
            explain(.unknown("the steps of \(type) depend on the addresses that \(ipam) will give"))
            return nil
        }
        let undo = try foreign(.del, ipam)
        // What it refused may be an address that the container has from before.
        let result = try call.run(forwardsErrors: !runner.isMeta) ?? CNIResult()
        journal.record(.delegate(undo))
        return Lease(ips: result.ips, routes: result.routes, dns: result.dns)
    }

    private func foreign(_ verb: Verb, _ name: String? = nil) throws(Failure) -> ForeignCall {
        let name = name ?? type
        let input = (name == type ? nil : spec.source) ?? json.bytes()
        guard input.count <= JSON.maximumSize else {
            throw Failure(
                .badConfig, "the configuration is too large to be passed to plugin \(name)",
                details: "it has \(input.count) bytes, the limit is \(JSON.maximumSize)")
        }
        return ForeignCall(
            type: name, path: try ForeignCall.find(name, in: spec.searchPath), verb: verb, id: spec.id,
            sandbox: spec.sandbox, args: spec.args, searchPath: spec.searchPath,
            input: input, version: config.version)
    }

    private func explain(_ action: Explained.Action) {
        runner.explained?.append(Explained(attachment: spec.name, plugin: type, action: action))
    }
}

extension AttachmentID {
    /// As in `cni.dev/valid-attachments`.
    fileprivate var json: JSON { ["containerID": .string(containerID), "ifname": .string(interface)] }
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
