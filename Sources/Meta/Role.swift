import CNI
import Engine
import IPAM
import JSONC
import Linux
import Modules
import Networking
package import Plans

/// What the executable is, by the name it was started under.
package enum Role {
    /// `plexus` or `multus`: the meta-plugin with that name's default directories.
    case meta(String)
    case plugin(String)
    case addresses(any AddressSource.Type)
    /// A name that no role has.
    case unknown(String)

    /// - Parameter name: the last component of argv[0]; empty when the caller gave none.
    package static func named(_ name: String) -> Role {
        if builtins.module(name) != nil { return .plugin(name) }
        if let source = builtins.source(name) { return .addresses(source) }
        if let meta = metaName(name.isEmpty ? "plexus" : name) { return .meta(meta) }
        return .unknown(name)
    }

    /// `plexus` or `multus` for a name that begins so, whose defaults are used; nil for any other.
    static func metaName(_ name: String) -> String? { metaNames.first { name.hasPrefix($0) } }

    package static let metaNames = ["plexus", "multus"]

    /// Every name that is no meta-plugin's.
    package static var pluginNames: [String] { moduleTypes + addressSourceTypes }

    /// Serves one call of a runtime.
    ///
    /// - Returns: the exit status; the answer is on stdout.
    package func run() -> Int32 {
        var version: Version?
        do throws(Failure) {
            guard
                let invocation = try Invocation.read(
                    requiresPath: rules.requiresPath, { Environment.value($0) })
            else {
                writeStandardError(about)
                if case .unknown = self { return 1 }
                return 0
            }
            if case .unknown(let name) = self, invocation.verb != .del { throw Self.refusal(of: name) }
            if invocation.verb == .version {
                writeStandardOutput(Version.reply())
                return 0
            }
            guard let verb = invocation.verb else {
                throw Failure(
                    .badEnvironment, "unknown CNI_COMMAND: \(invocation.command)",
                    details: "ADD, DEL, CHECK, GC, STATUS or VERSION")
            }
            let config = try PluginConfig.decode(input())
            version = config.version
            do throws(Failure) {
                try config.requireVersion(for: verb)
                try requireReadable(config, verb)
                try answer(verb, invocation, config)
            } catch {
                throw rules.hidesCodes ? error.asReferencePlugins : error.asMetaPlugin
            }
            return 0
        } catch {
            writeStandardOutput(
                error.json(version: version?.rawValue).print(indent: 4, escapesHTML: false) + "\n",
                within: patience)
            return 1
        }
    }

    private var rules: RoleRules {
        switch self {
        case .meta, .unknown: .meta
        case .plugin, .addresses: .reference
        }
    }

    private static func refusal(of name: String) -> Failure {
        Failure(
            .badConfig, "there is no plugin \"\(name)\" in this executable", details: "it is plexus: \(names)"
        )
    }

    private static var names: String {
        "name the file, or the link to it, plexus... or multus... (the meta-plugin), or "
            + pluginNames.joined(separator: ", ")
    }

    /// An address source reads only its own section, and a DEL of the meta role must work with a damaged configuration.
    private func requireReadable(_ config: PluginConfig, _ verb: Verb) throws(Failure) {
        switch self {
        case .addresses where verb != .gc: break
        case .meta where verb == .del: break
        case .unknown: break
        case .meta, .plugin, .addresses: try config.requireReadable(for: verb)
        }
    }

    /// A runtime that gets no result takes the ADD for failed: then it is undone.
    private func respond(_ result: JSON) throws(Failure) {
        let text = result.print(indent: 4)
        guard text.utf8.count <= JSON.maximumSize else {
            throw Failure(
                .generic, "the result is too large to be printed",
                details: "the limit is \(JSON.maximumSize) bytes")
        }
        guard writeStandardOutput(text + "\n", within: patience) else {
            throw Failure(
                .io, "cannot write the result to stdout",
                details: "the runtime closed it or does not read it, or a disk is full")
        }
    }

    private func input() throws(Failure) -> [UInt8] {
        do throws(SystemError) { return try readStandardInput(limit: JSON.maximumSize) } catch {
            throw Failure(
                .io, "cannot read the configuration from stdin: \(error)",
                details: "the runtime writes it there")
        }
    }

    private func answer(
        _ verb: Verb, _ invocation: Invocation, _ config: PluginConfig
    ) throws(Failure) {
        switch self {
        case .meta(let name):
            let plugin = MetaPlugin(invocation, try Self.configuration(config, name, verb))
            try plugin.reporting(verb) { () throws(Failure) in
                switch verb {
                case .add: try plugin.add(writtenAs: config.version, respond)
                case .del: try plugin.atRecord().delete()
                case .check: try plugin.atRecord().check()
                case .gc: try plugin.collect()
                case .status: try plugin.status()
                case .version: break
                }
            }
        case .unknown:
            // What an earlier release attached as the meta-plugin under that name must go.
            try MetaPlugin(invocation, try MetaConfig(config, role: "plexus", isTolerant: true)).delete()
        case .plugin(let type):
            let plugin = try PluginRole(invocation, config, type: type)
            switch verb {
            case .add: try plugin.add(respond: respond)
            case .del: try plugin.delete()
            case .check: try plugin.check()
            case .status: try plugin.status()
            case .gc: try plugin.collect()
            case .version: break
            }
        case .addresses(let source):
            try refuseOwnNamespace(invocation)
            let role = try AddressRole(source, invocation, config)
            switch verb {
            case .add: try role.add(respond: respond)
            case .del: try role.delete()
            case .check: try role.check()
            case .gc: try role.collect()
            case .status: try role.status()
            case .version: break
            }
        }
    }

    /// What is wrong with it is logged where it says itself, as far as that can be read.
    private static func configuration(
        _ config: PluginConfig, _ name: String, _ verb: Verb
    ) throws(Failure) -> MetaConfig {
        do throws(Failure) { return try MetaConfig(config, role: name, isTolerant: verb == .del) } catch {
            if let readable = try? MetaConfig(config, role: name, isTolerant: true) {
                readable.log.error("\(verb.rawValue) with the configuration \(config.name): \(error.logged)")
            }
            throw error
        }
    }

    /// Most address sources never enter the pod's namespace, but the plugin that calls them does.
    private func refuseOwnNamespace(_ invocation: Invocation) throws(Failure) {
        guard !invocation.netns.isEmpty, !invocation.netnsOverride,
            let own = try? Namespace.current().number,
            let other = try? Namespace.open(invocation.netns).number,
            own == other
        else { return }
        throw Failure.ownNamespace(invocation.netns)
    }

    private var about: String {
        let name =
            switch self {
            case .meta:
                "Plexus, a CNI meta-plugin: it attaches a pod to its default network and to those it asks for."
            case .plugin(let type): "CNI plugin \(type), from Plexus."
            case .addresses(let source): "CNI IPAM plugin \(source.type), from Plexus."
            case .unknown(let name): "Plexus has no plugin \"\(visible(name))\": \(Self.names)."
            }
        let versions = Version.allCases.map(\.rawValue).joined(separator: ", ")
        return
            "\(name)\nCNI protocol versions supported: \(versions)\nA runtime starts it; people run it with --help.\n"
    }
}
