package import CNI
import Engine
package import JSONC
import Linux
package import Plans

/// The executable under a plugin's own name: that plugin alone, as the reference's is.
package struct PluginRole {
    private let invocation: Invocation
    private let config: PluginConfig
    private let id: AttachmentID
    private var spec: AttachmentSpec
    private let type: String

    package init(_ invocation: Invocation, _ config: PluginConfig, type: String) throws(Failure) {
        self.invocation = invocation
        self.config = config
        self.type = type
        id = AttachmentID(containerID: invocation.containerID, interface: invocation.interface)
        // The name of the executable decides which plugin runs, whatever `type` says.
        var json = config.json.object ?? [:]
        json["type"] = .string(type)
        let list = try NetworkList.decode(.object(json), defaultName: nil)
        spec = AttachmentSpec(
            name: config.name, id: id, sandbox: invocation.netns, args: invocation.args, list: list,
            searchPath: invocation.path)
        spec.source = config.source
    }

    private func runner(_ kernel: Kernel) -> ChainRunner {
        let log = Log(level: .error, file: nil, toStderr: true)
        return ChainRunner(kernel, registry: builtins, rules: .reference, log: log)
    }

    /// - Parameter respond: gives the runtime the result; when it cannot, the attachment is undone.
    package func add(respond: (JSON) throws(Failure) -> Void) throws(Failure) {
        let kernel = try Kernel.open(sandbox: invocation.netns, mayBeOwn: invocation.netnsOverride)
        let runner = runner(kernel)
        var journal = Journal()
        do throws(Failure) {
            let result = try runner.add(runner.prepare(spec), &journal).result
            // A result that the version cannot express is a failure, and is undone like one.
            let json: JSON
            do throws(Failure) { json = try result.json(config.version) } catch {
                if runner.rules.leavesUntold, builtins.module(type)?.leavesUntold == true {
                    journal = Journal()
                }
                throw error
            }
            try respond(json)
        } catch {
            let problems = runner.undo(&journal, after: error)
            var error = error
            error.details = ([error.details] + problems).filter { !$0.isEmpty }.joined(separator: "; ")
            throw error
        }
    }

    package func delete() throws(Failure) {
        let (kernel, sandbox) = try openForDelete()
        var spec = spec
        spec.sandbox = sandbox
        let teardown = Teardown(runner(kernel))
        teardown.detach(spec, config.previous.map { Attached(result: $0) })
        teardown.finish()
        if let problem = teardown.problems.first { throw problem }
    }

    /// The namespace of CNI_NETNS; without one that of the result, if what ADD made or took is in it, as a path may be another
    /// pod's by now.
    private func openForDelete() throws(Failure) -> (Kernel, String) {
        let links = config.previous?.interfaces.filter { !$0.isInHost } ?? []
        if invocation.netns.isEmpty, let path = links.first?.sandbox {
            let kernel = try Kernel.open(sandbox: path, mayBeGone: true, mayBeOwn: true)
            let runner = runner(kernel)
            var isThere = try runner.hasLink(withOneOf: links.compactMap(\.mac))
            if !isThere { isThere = try runner.hasDevice(spec) }
            if isThere { return (kernel, path) }
        }
        let kernel = try Kernel.open(
            sandbox: invocation.netns, mayBeGone: true, mayBeOwn: invocation.netnsOverride)
        return (kernel, invocation.netns)
    }

    package func check() throws(Failure) {
        let needsResult = builtins.module(type)?.checksResult ?? true
        guard let previous = config.previous ?? (needsResult ? nil : CNIResult()) else {
            throw Failure(
                .badConfig, "Required prevResult missing", details: "CHECK compares the kernel with it")
        }
        let kernel = try Kernel.open(sandbox: invocation.netns, mayBeOwn: invocation.netnsOverride)
        try runner(kernel).check(spec, Attached(result: previous))
    }

    /// The addresses of attachments that the runtime no longer has; a reference plugin does nothing.
    package func collect() throws(Failure) {
        guard let valid = config.validAttachments else { return }
        let alive = valid.map { AttachmentID(containerID: $0.containerID, interface: $0.ifname) }
        try runner(Kernel.ofHost()).collect(spec, valid: alive, own: { alive })
    }

    package func status() throws(Failure) {
        try runner(Kernel.ofHost()).status(spec)
    }
}

/// The executable under an IPAM plugin's name.
package struct AddressRole {
    private let source: any AddressSource.Type
    private let request: LeaseRequest

    package init(
        _ source: any AddressSource.Type, _ invocation: Invocation, _ config: PluginConfig
    ) throws(Failure) {
        self.source = source
        var request = LeaseRequest(
            config: config,
            id: AttachmentID(containerID: invocation.containerID, interface: invocation.interface),
            args: invocation.args, rules: .reference)
        if source.needsLink, invocation.verb == .add || invocation.verb == .del {
            // The plugin that calls has made the link, or is about to remove it.
            let kernel = try Kernel.open(
                sandbox: invocation.netns, mayBeGone: invocation.verb == .del,
                mayBeOwn: invocation.netnsOverride)
            if kernel.hasSandbox {
                request.link = SandboxLink(kernel, request.id.interface, at: invocation.netns)
            }
        }
        self.request = request
    }

    /// - Parameter respond: gives the caller the result; when it cannot, the addresses are released.
    package func add(respond: (JSON) throws(Failure) -> Void) throws(Failure) {
        let lease = try source.allocate(request)
        var result = CNIResult()
        result.ips = lease.ips
        result.routes = lease.routes
        result.dns = lease.dns
        do throws(Failure) { try respond(try result.json(request.config.version)) } catch {
            try source.release(request)
            throw error
        }
    }

    package func delete() throws(Failure) { try source.release(request) }
    package func check() throws(Failure) { try source.check(request) }
    package func status() throws(Failure) { try source.status(request) }

    package func collect() throws(Failure) {
        guard let valid = request.config.validAttachments else { return }
        try source.collect(
            request, valid: valid.map { AttachmentID(containerID: $0.containerID, interface: $0.ifname) })
    }
}
