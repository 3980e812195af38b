package import CNI
package import JSONC
import Networking
package import Plans

/// Sysctls and link properties of an interface that another plugin of the chain made. CNI reference plugin `tuning`.
package enum Tuning: Module {
    package static let type = "tuning"
    package static let usesIPAM = false
    package static func arguments(_ verb: Verb) -> [String]? { ["MAC"] }
    package static let capabilities = ["mac"]
    package static let podArguments = ["sysctl", "mac", "mtu", "promisc", "allmulti", "txQLen"]
    package static let vocabulary = Vocabulary(podArguments + ["dataDir"]) { key in
        ["macaddress", "hwaddr", "hwaddress"].contains(key) ? "mac" : nil
    }

    /// The administrator's list of sysctls that may be set, one regular expression a line.
    package static let allowList = "/etc/cni/tuning/allowlist.conf"
    private static let defaultDirectory = "/run/cni/tuning"

    package struct Config: Equatable, Sendable {
        var sysctls: [Setting] = []
        /// As it is written, because the result repeats it.
        var mac: String?
        /// nil leaves the property alone; so do an MTU of 0 and `promisc: false`.
        var mtu: UInt32?
        var promiscuous = false
        var allMulticast: Bool?
        var queueLength: UInt32?
        /// Where the original properties are kept.
        var dataDir = Tuning.defaultDirectory
        /// The other end of a veth pair gets an MTU that is above its own: it would drop larger frames.
        var raisesPeer = false

        struct Setting: Equatable, Sendable {
            /// As the configuration has it, for the allow list.
            var key: String
            /// Below /proc/sys, with `IFNAME` as written.
            var path: String
            var value: String
        }

        var address: MAC? { mac.flatMap(MAC.init(parsing:)) }
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        do throws(JSONError) { return try read(input) } catch { throw Failure(.badConfig, error) }
    }

    private static func read(_ input: PluginInput) throws(JSONError) -> Config {
        var config = Config()
        let json = input.config.reader
        let arguments = try json.object("args")?.object("cni")
        if let directory = try json.string("dataDir"), !directory.isEmpty {
            guard directory.hasPrefix("/") else { throw json.error("dataDir", "is no absolute path") }
            config.dataDir = directory
        }
        config.raisesPeer = input.rules.completesPaths
        // DEL restores what the file says.
        if input.verb == .del { return config }
        for source in [json, arguments] {
            guard let source else { continue }
            try readSysctls(source, into: &config)
            if let mtu = try source.int("mtu", in: 0...Int64(Int32.max)) {
                config.mtu = mtu == 0 ? nil : UInt32(mtu)
            }
            config.promiscuous = try source.bool("promisc") ?? config.promiscuous
            config.allMulticast = try source.bool("allmulti") ?? config.allMulticast
            let queue = try source.int("txQLen", in: 0...Int64(Int32.max)).map { UInt32($0) }
            config.queueLength = queue ?? config.queueLength
        }
        // Configuration, CNI_ARGS, runtimeConfig, args.cni: the last one given wins.
        let asked = lastGiven([
            ("mac", try json.string("mac")), ("CNI_ARGS MAC", input.args["MAC"]),
            ("runtimeConfig.mac", try input.config.runtimeConfig?.string("mac")),
            ("args.cni.mac", try arguments?.string("mac")),
        ])
        config.mac = asked?.text
        if let asked {
            guard let address = MAC(parsing: asked.text), !address.isMulticast else {
                throw JSONError(
                    path: asked.key,
                    problem:
                        "invalid args \"\(asked.text)\" for MAC addr: write six octets, the first one even")
            }
        }
        return config
    }

    /// A limit, as each sysctl is compared with every other.
    private static let maximumSysctls = 4096

    private static func readSysctls(_ source: Reader, into config: inout Config) throws(JSONError) {
        guard let object = try source.object("sysctl") else { return }
        for (key, value) in try object.members() {
            let setting = Config.Setting(key: key, path: try path(key, object), value: try value.asString())
            config.sysctls.removeAll { $0.path == setting.path }
            config.sysctls.append(setting)
            guard config.sysctls.count <= maximumSysctls else {
                throw source.error("sysctl", "more than \(maximumSysctls) values: no pod has so many")
            }
        }
    }

    /// `net.core.somaxconn` or `net/core/somaxconn` as a path; only values below `net` belong to the pod. Below `conf`
    /// and `neigh` everything before the last name is an interface's name, which may contain dots.
    private static func path(_ key: String, _ source: Reader) throws(JSONError) -> String {
        let parts = key.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "/" }
        guard parts.count >= 2, parts[0] == "net", parts.allSatisfy({ !$0.isEmpty }),
            !key.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f })
        else {
            throw source.error(key, "invalid net sysctl key: write net. and names joined by '.' or '/'")
        }
        guard parts.count > 5, ["conf", "neigh"].contains(parts[2]) else {
            return parts.joined(separator: "/")
        }
        let interface = parts[3..<parts.count - 1].joined(separator: ".")
        return "\(parts[..<3].joined(separator: "/"))/\(interface)/\(parts[parts.count - 1])"
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        let link = LinkName.sandbox(attachment.interface)
        let sysctls = config.sysctls.map { name($0, attachment) }
        return switch verb {
        case .add:
            FactsQuery(
                links: config.hasLinkChanges ? [link] + peers(config, attachment) : [], sysctls: sysctls,
                files: [allowList])
        case .check: FactsQuery(links: config.hasLinkChanges ? [link] : [], sysctls: sysctls)
        case .del: FactsQuery(links: [link], files: [backup(config, attachment)])
        default: FactsQuery()
        }
    }

    /// Links of the host that may be the other end of the pod's.
    private static func peers(_ config: Config, _ attachment: Attachment) -> [LinkName] {
        guard config.raisesPeer, config.mtu != nil, let previous = attachment.previous else { return [] }
        return previous.interfaces.filter { $0.isInHost }.map { .host($0.name) }
    }

    private static func name(_ setting: Config.Setting, _ attachment: Attachment) -> SysctlName {
        let parts = setting.path.split(separator: "/").map {
            $0 == "IFNAME" ? attachment.interface : String($0)
        }
        return SysctlName(.sandbox, parts.joined(separator: "/"))
    }

    // MARK: ADD

    package static func configure(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> Plan {
        guard let previous = attachment.previous else {
            throw Failure(
                .badConfig, "Required prevResult missing", details: "tuning follows another plugin in a list")
        }
        try refuseForbidden(config, facts)
        var steps: [Step] = []
        for setting in config.sysctls {
            let name = name(setting, attachment)
            guard facts.sysctls[name] != nil || facts.unreadable.contains(name) else {
                var failure = Failure(
                    .badConfig, "sysctl \(setting.key) does not exist in the pod's namespace",
                    details:
                        "the kernel has no /proc/sys/\(name.path) there: correct the name, or load its module"
                )
                failure.key = "args.cni.sysctl.\(setting.path)"
                throw failure
            }
            steps.append(.sysctl(SysctlChange(.sandbox, name.path, setting.value, .saved)))
        }
        steps += try linkSteps(config, attachment, facts)
        var result = previous
        if let mac = config.mac {
            for index in result.interfaces.indices where result.interfaces[index].name == attachment.interface
            {
                result.interfaces[index].mac = mac
            }
        }
        return Plan(steps: steps, result: result)
    }

    /// Each key must match a line of the administrator's list, if there is one; an empty one forbids all.
    private static func refuseForbidden(_ config: Config, _ facts: Facts) throws(Failure) {
        guard !config.sysctls.isEmpty, let list = facts.files[allowList] else { return }
        var patterns: [Regex<AnyRegexOutput>] = []
        for line in list.split(whereSeparator: \.isNewline) {
            let text = line.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()
            guard !text.isEmpty else { continue }
            // Word boundaries as in Go's regular expressions.
            do { patterns.append(try Regex(String(text)).wordBoundaryKind(.simple)) } catch {
                throw Failure(
                    .badConfig, "\(allowList): \"\(String(text))\" is no regular expression",
                    details: "\(error)")
            }
        }
        for setting in config.sysctls {
            let isAllowed = patterns.contains { (try? $0.firstMatch(in: setting.key)) != nil }
            guard isAllowed else {
                var failure = Failure(
                    .badConfig, "Sysctl \(setting.key) is not allowed",
                    details: "no line of \(allowList) matches it")
                failure.key = "args.cni.sysctl.\(setting.path)"
                throw failure
            }
        }
    }

    private static func linkSteps(
        _ config: Config, _ attachment: Attachment, _ facts: Facts
    ) throws(Failure) -> [Step] {
        guard config.hasLinkChanges else { return [] }
        let name = LinkName.sandbox(attachment.interface)
        guard let link = facts.links[name] else {
            throw Failure(
                .generic, "interface \(attachment.interface) not found in \(attachment.sandbox)",
                details: "a plugin before tuning must make it")
        }
        let original = config.original(link)
        var steps: [Step] = [
            .writeFile(backup(config, attachment), JSON.object(original.json).print(indent: 1))
        ]
        func change(_ change: LinkChange?, _ inverse: LinkChange?) {
            if let change { steps.append(.change(name, change, inverse: inverse)) }
        }
        change(config.address.map { .mac($0) }, link.mac.map { .mac($0) })
        change(config.promiscuous ? .promiscuous(true) : nil, .promiscuous(link.isPromiscuous))
        change(config.mtu.map { .mtu($0) }, .mtu(link.mtu))
        for peer in peers(config, attachment) {
            guard let mtu = config.mtu, let other = facts.links[peer], other.kind == "veth", other.mtu < mtu,
                other.peerIndex == link.index, link.peerIndex == other.index
            else { continue }
            steps.append(.change(peer, .mtu(mtu), inverse: .mtu(other.mtu)))
        }
        change(config.allMulticast.map { .allMulticast($0) }, .allMulticast(link.isAllMulticast))
        change(config.queueLength.map { .queueLength($0) }, .queueLength(link.queueLength))
        return steps
    }

    // MARK: DEL

    /// The reference's file, so that either program restores what the other changed.
    private static func backup(_ config: Config, _ attachment: Attachment) -> String {
        "\(config.dataDir)/\(attachment.id.containerID)_\(attachment.interface).json"
    }

    package static func note(_ attachment: Attachment) -> String? { backup(Config(), attachment) }

    package static func needs(noteOf attachment: Attachment) -> FactsQuery {
        needs(Config(), attachment, .del)
    }

    package static func removal(noteOf attachment: Attachment, _ facts: Facts) -> Removal {
        removal(Config(), attachment, facts)
    }

    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        var removal = Removal(
            restores: attachment.saved.sorted { $0.key < $1.key }.map {
                .sysctl(SysctlChange(.sandbox, $0.key, $0.value, .ensured))
            })
        let path = backup(config, attachment)
        guard let text = facts.files[path] else { return removal }
        let name = LinkName.sandbox(attachment.interface)
        // A file that says nothing, or of a link that is gone, has nothing to restore.
        if let json = try? JSON.parse(text).value, let link = facts.links[name] {
            removal.restores += LinkSettings(json).changes(from: link).map { .change(name, $0) }
        }
        removal.steps.append(.removeFile(path))
        return removal
    }

    // MARK: CHECK

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        for setting in config.sysctls {
            let name = name(setting, attachment)
            let value = facts.sysctls[name]
            guard value.map({ means($0, setting.value) }) ?? facts.unreadable.contains(name) else {
                throw Failure(
                    .generic,
                    "sysctl \(name.path) is \(value ?? "absent"), the configuration says \(setting.value)",
                    details: changed)
            }
        }
        guard config.hasLinkChanges else { return }
        guard let link = facts.links[.sandbox(attachment.interface)] else {
            throw Failure(.generic, "interface \(attachment.interface) not found", details: changed)
        }
        let differences = [
            config.address.map { ("MAC", link.mac == $0) },
            config.promiscuous ? ("promisc", link.isPromiscuous) : nil,
            config.mtu.map { ("MTU", link.mtu == $0) },
            config.allMulticast.map { ("allmulti", link.isAllMulticast == $0) },
            config.queueLength.map { ("txQLen", link.queueLength == $0) },
        ]
        for case let (property, false)? in differences {
            throw Failure(
                .generic, "Error: Tuning configured \(property) of \(attachment.interface) doesn't match",
                details: changed)
        }
    }
}

/// Whether the kernel shows `wanted` as `shown`: fields with tabs between them, addresses written out.
private func means(_ shown: String, _ wanted: String) -> Bool {
    if shown == wanted { return true }
    if let address = IPAddress(parsing: shown) { return address == IPAddress(parsing: wanted) }
    return shown.split(whereSeparator: \.isWhitespace) == wanted.split(whereSeparator: \.isWhitespace)
}

extension Tuning.Config {
    /// What the link is before it is changed, of the properties that will be.
    fileprivate func original(_ link: LinkFacts) -> LinkSettings {
        var original = LinkSettings()
        if mac != nil { original.mac = link.mac }
        if promiscuous { original.promiscuous = link.isPromiscuous }
        if mtu != nil { original.mtu = link.mtu }
        if allMulticast != nil { original.allMulticast = link.isAllMulticast }
        if queueLength != nil { original.queueLength = link.queueLength }
        return original
    }

    var hasLinkChanges: Bool {
        mac != nil || mtu != nil || promiscuous || allMulticast != nil || queueLength != nil
    }
}
