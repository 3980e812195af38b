package import JSONC
import Networking

/// The configuration of one plugin: the document on stdin, with what every plugin understands read from it.
package struct PluginConfig: Sendable {
    package let json: JSON
    package let name: String
    package let type: String
    /// How errors call the network: as `name`, or as its definition, of which several may share a name.
    package var label: String
    package let version: Version
    /// nil without prevResult, or with one that cannot be read.
    package let previous: CNIResult?
    /// Why prevResult cannot be read: a reason to refuse ADD and CHECK, but not DEL.
    package let previousProblem: Failure?
    /// Paths of keys that stand twice in the document, of which the last one counts.
    package private(set) var doubled: [String] = []
    /// Why ADD and CHECK refuse the document as it was written.
    private var duplicateProblem: Failure?
    /// What is wrong with a section that every plugin but an address source reads.
    private let sectionProblem: Failure?
    /// The document as it came; nil for one that was put together here.
    package private(set) var source: [UInt8]?
    package let runtimeConfig: Reader?
    /// nil when the configuration has no `dns`.
    package let dns: DNS?
    /// nil without an `ipam` section or with an empty one.
    package let ipamType: String?
    /// GC: who is alive; nil when the runtime did not say.
    package let validAttachments: [(containerID: String, ifname: String)]?

    /// `dns`, if it says anything: an empty list does too, and replaces what IPAM gave.
    package var givenDNS: DNS? {
        guard let dns, let object = try? reader.object("dns") else { return nil }
        let isGiven =
            dns.domain != nil || ["nameservers", "search", "options"].contains { object.has($0) }
        return isGiven ? dns : nil
    }

    /// What every plugin understands, and what stands beside it when a network is a single plugin.
    package static let vocabulary = Vocabulary(
        [
            "cniVersion", "name", "type", "capabilities", "args", "prevResult", "runtimeConfig",
            "cni.dev/valid-attachments", "cni.dev/attachments",
        ] + NetworkList.keys
    ) { $0 == "plugins" ? "a network has either type or plugins: take one of them away" : nil }
    /// For a plugin whose own keys are not known here.
    package static let openVocabulary = Vocabulary([], strictness: .open).with(vocabulary)
    /// For one that makes an interface.
    package static let interfaceVocabulary = Vocabulary(
        ["ipam", "dns"], members: [.init("dns", DNS.vocabulary)]
    ) { key in
        switch key {
        case "subnet", "range", "ranges", "rangestart", "rangeend", "exclude", "addresses", "address", "ips",
            "ip":
            "addresses are a matter of the section ipam: write it there"
        default: nil
        }
    }.with(vocabulary)

    package var reader: Reader { Reader(json) }

    /// - Throws: code 6 for what is no JSON, 7 for a bad name or type, 1 for an unknown version.
    package static func decode(_ bytes: [UInt8]) throws(Failure) -> PluginConfig {
        let document: JSONDocument
        do throws(JSONError) { document = try JSON.parse(bytes) } catch {
            throw Failure(
                .badJSON, "error unmarshall network config: \(error)", details: "the configuration on stdin")
        }
        var config = try PluginConfig(document.value)
        do throws(Failure) { try refuseDuplicateSettings(document) } catch { config.duplicateProblem = error }
        config.doubled = document.duplicates
        config.source = bytes
        return config
    }

    /// Of a sysctl that is given twice only the last value is in the tree, and nobody knows which one is meant.
    package static func refuseDuplicateSettings(_ document: JSONDocument) throws(Failure) {
        guard let key = document.duplicates(within: "sysctl").first else { return }
        throw Failure(
            .generic, "duplicated sysctl keys are present: \(key)", details: "remove one of the two values")
    }

    package init(_ json: JSON) throws(Failure) {
        let json = json == .null ? [:] : json
        self.json = json
        let reader = Reader(json)
        let head: (name: String?, type: String, version: String?)
        do throws(JSONError) {
            try reader.requireObject()
            head = (
                try reader.string("name"), try reader.string("type") ?? "", try reader.string("cniVersion")
            )
        } catch {
            throw Failure(
                .badJSON, "error unmarshall network config: \(error)", details: "the configuration on stdin")
        }
        guard let name = head.name, !name.isEmpty else {
            throw Failure(
                .badConfig, "missing network name", details: "add the key name to the configuration")
        }
        guard Names.isIdentifier(name) else {
            throw Failure(
                .badConfig, "invalid characters found in network name",
                details: "\"\(name)\": letters, digits, '_', '.' and '-', the first one alphanumeric")
        }
        self.name = name
        label = name
        type = head.type
        // A runtime puts the version that it chose into cniVersion; without that key nobody has chosen one yet.
        let isChosen = !(head.version ?? "").isEmpty || !reader.has("cniVersions")
        let version = try isChosen ? Version(parsing: head.version) : NetworkList.version(reader)
        self.version = version
        var sectionProblem: Failure?
        func read<T>(_ section: () throws(JSONError) -> T?) -> T? {
            do throws(JSONError) { return try section() } catch {
                sectionProblem = sectionProblem ?? Failure(.badConfig, error)
                return nil
            }
        }
        dns = read { () throws(JSONError) in
            try reader.object("dns").map { object throws(JSONError) in try DNS(object) }
        }
        ipamType = read { () throws(JSONError) in
            try reader.object("ipam")?.string("type").flatMap { $0.isEmpty ? nil : $0 }
        }
        runtimeConfig = read { () throws(JSONError) in try reader.object("runtimeConfig") }
        validAttachments = read { () throws(JSONError) in try Self.attachments(reader) }
        _ = read { () throws(JSONError) -> Bool? in
            let capabilities = try reader.object("capabilities")
            for (_, value) in try capabilities?.members() ?? [] { _ = try value.asBool() }
            return nil
        }
        self.sectionProblem = sectionProblem
        var previous: CNIResult?
        var previousProblem: Failure?
        do throws(JSONError) {
            previous = try Self.previous(reader, version)
        } catch {
            previousProblem = Failure(
                .badConfig, "could not parse prevResult: \(error)",
                details: "it must be a result of version \(version.rawValue), as the plugin before prints it")
        }
        self.previous = previous
        self.previousProblem = previousProblem
    }

    /// Refuses a prevResult of another family of versions: the plugins of this configuration cannot have printed it.
    private static func previous(_ reader: Reader, _ version: Version) throws(JSONError) -> CNIResult? {
        guard let object = try reader.object("prevResult") else { return nil }
        if let text = try object.string("cniVersion"), let own = Version(rawValue: text),
            own.family != version.family
        {
            throw object.error(
                "cniVersion", "is \(text), the configuration's \(version.rawValue): their results differ")
        }
        return try CNIResult.parse(object.value, assuming: version)
    }

    private static func attachments(_ reader: Reader) throws(JSONError) -> [(
        containerID: String, ifname: String
    )]? {
        // libcni sends both: the second is an early misspelling.
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] where reader.has(key) {
            var found: [(containerID: String, ifname: String)] = []
            for entry in try reader.list(key) ?? [] {
                // GC would take the attachment of an incomplete entry for a dead one.
                guard let id = try entry.string("containerID"), !id.isEmpty else {
                    throw entry.error("containerID", "is missing")
                }
                guard let interface = try entry.string("ifname"), !interface.isEmpty else {
                    throw entry.error("ifname", "is missing")
                }
                found.append((id, interface))
            }
            return found
        }
        return nil
    }

    /// Refuses a verb that this configuration's version does not know yet.
    package func requireVersion(for verb: Verb) throws(Failure) {
        guard version >= verb.minimum else {
            throw Failure(
                .incompatibleVersion, "config version does not allow \(verb.rawValue)",
                details:
                    "cniVersion is \(version.rawValue), \(verb.rawValue) came with \(verb.minimum.rawValue)")
        }
    }

    /// Refuses a verb that needs what cannot be read.
    package func requireReadable(for verb: Verb) throws(Failure) {
        if let sectionProblem { throw sectionProblem }
        if let duplicateProblem, verb == .add || verb == .check { throw duplicateProblem }
        if let previousProblem, verb == .add || verb == .check { throw previousProblem }
    }
}
