package import CNI
import Definitions
import Engine
package import JSONC
import Linux
import Networking
import Plans
import Records

/// What an ADD would do, for `plexus explain`.
package struct Explanation {
    private struct Part {
        var delegate: Delegate
        var lines: [Explained]
        var result: CNIResult
    }

    private var parts: [Part] = []
    private var routes: [Step] = []
    /// Keys of the configuration.
    private var passedOver: [String] = []
    /// Optional networks that ADD would start the pod without.
    private var missing: [MissingNetwork] = []
    private let version: Version

    /// - Parameters:
    ///   - networks: replaces the pod's annotation.
    ///   - sandbox: empty for a pod that does not exist.
    package static func make(
        configuration: [UInt8], environment: [String: String], networks: String?, sandbox: String
    ) throws(Failure) -> Explanation {
        guard let invocation = try Invocation.read({ environment[$0] }) else {
            throw Failure(.badEnvironment, "CNI_COMMAND is missing")
        }
        let plugin = try decode(configuration)
        let config = try MetaConfig(
            plugin, role: Role.metaName(plugin.type) ?? "plexus",
            log: Log(level: .error, file: nil, toStderr: true))
        let annotations = networks.map { PodAnnotations(networks: $0) }
        var networks = try DelegateBuilder(config, invocation).build(annotations)
        try DefaultRoute.validate(networks.delegates)
        let kernel = try sandbox.isEmpty ? Kernel.ofHost() : Kernel.open(sandbox: sandbox)
        let rehearsal = Rehearsal(kernel)
        let runner = ChainRunner(kernel, registry: builtins, rehearsing: rehearsal, log: config.log)
        var explanation = Explanation(version: plugin.version)
        explanation.passedOver = config.passedOver
        try networks.filter { delegate throws(Failure) in
            do throws(Failure) {
                let (lines, result) = try rehearsal.explain(delegate.spec, runner)
                explanation.parts.append(Part(delegate: delegate, lines: lines, result: result))
            } catch {
                throw delegate.blamed(for: error)
            }
        }
        explanation.missing = networks.missing
        let facts = try runner.observe(FactsQuery(routes: true))
        explanation.routes = try DefaultRoute.plan(networks.delegates, facts.routes)
        return explanation
    }

    private init(version: Version) { self.version = version }

    /// The configuration that a runtime would pass: the file, or the meta-plugin's entry of a list.
    static func decode(_ bytes: [UInt8]) throws(Failure) -> PluginConfig {
        let document: JSON
        do throws(JSONError) { document = try JSON.parse(bytes).value } catch {
            throw Failure(.badJSON, "error unmarshall network config: \(error)", details: "correct the file")
        }
        guard document["plugins"] != nil else { return try PluginConfig(document) }
        let list = try NetworkList.decode(document, defaultName: nil)
        let own = list.plugins.firstIndex { Role.metaName($0["type"]?.string ?? "") != nil }
        guard let own else {
            throw Failure(
                .badConfig, "the list \(list.name) has no plugin of the type plexus",
                details: "name the file that the runtime uses with --config")
        }
        return try PluginConfig(list.config(at: own, previous: nil, runtimeConfig: [:], cniArgs: nil))
    }

    /// What a runtime would pass on stdin, of its file.
    package static func input(_ bytes: [UInt8]) throws(Failure) -> [UInt8] { try decode(bytes).json.bytes() }

    // MARK: Output

    /// A script: what is no command is a comment.
    package func text(isTerminal: Bool) -> String {
        let (bold, dim, plain) = isTerminal ? ("\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m") : ("", "", "")
        var text = passedOver.map { "# passed over in the configuration: \(visible($0))\n" }.joined()
        for network in missing {
            text += "# without the optional network \(visible(network.name)): \(visible(network.logged))\n"
        }
        for part in parts {
            let spec = part.delegate.spec
            text += "\(bold)# \(visible(spec.id.interface))  \(visible(spec.name))\(plain)\n"
            var plugin = ""
            for line in part.lines {
                if line.plugin != plugin { text += "\(dim)# \(visible(line.plugin))\(plain)\n" }
                plugin = line.plugin
                for command in line.commands { text += "  \(command)\n" }
            }
        }
        if !routes.isEmpty {
            text += "\(bold)# default route\(plain)\n"
            for command in routes.flatMap({ $0.kind.commands }) { text += "  \(command)\n" }
        }
        return text
    }

    package func json() throws(Failure) -> JSON {
        var attachments: [JSON] = []
        for part in parts {
            let spec = part.delegate.spec
            let steps: [JSON] = part.lines.map { line in
                [
                    "plugin": .string(line.plugin), "kind": .string(line.kind),
                    "commands": .array(line.commands.map { .string($0) }),
                ]
            }
            attachments.append([
                "network": .string(spec.name), "interface": .string(spec.id.interface),
                "args": .string(spec.args),
                "list": spec.list.json, "steps": .array(steps), "result": try part.result.json(.newest),
            ])
        }
        return [
            "cniVersion": .string(version.rawValue), "attachments": .array(attachments),
            "passedOver": .array(passedOver.map { .string($0) }),
            "missing": .array(missing.map { ["network": .string($0.name), "problem": .string($0.problem)] }),
            "defaultRoute": .array(routes.flatMap { $0.kind.commands }.map { .string($0) }),
        ]
    }
}

extension Explained {
    fileprivate var kind: String {
        switch action {
        case .step(let step): step.kind.name
        case .lease: "lease"
        case .external: "delegate"
        case .unknown: "unknown"
        case .remark: "remark"
        }
    }

    fileprivate var commands: [String] {
        switch action {
        case .step(let step): return step.kind.commands
        case .lease(let type, let ips): return ips.map { "# \(type) would give \($0.address) now" }
        case .external(let type, let path):
            return ["# \(visible(type)) is not built in: CNI_COMMAND=ADD \(shellQuoted(path))"]
        case .unknown(let text), .remark(let text): return ["# \(visible(text))"]
        }
    }
}
