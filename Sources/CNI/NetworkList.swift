package import JSONC
import Networking

/// A network configuration list, or a single plugin's configuration as a list of one. CNI 1.1, section 1.
package struct NetworkList: Equatable, Sendable {
    package var name: String
    package var version: Version
    package var disableCheck: Bool
    package var disableGC: Bool
    /// The plugins' own objects, unchanged.
    package var plugins: [JSON]
    /// Members beside `plugins` that are no keys of a list.
    package var others: JSONObject = [:]
    /// Paths of keys that stand twice in the document, of which the last one counts. Not kept in a record.
    package var doubled: [String] = []

    static let keys = ["disableCheck", "disableGC", "cniVersions", "loadOnlyInlinedPlugins"]
    package static let vocabulary = Vocabulary(["cniVersion", "name", "plugins"] + keys) { key in
        switch key {
        case "ipam", "bridge", "master", "vlan", "vlantrunk":
            "in a list each plugin has its own keys: write it there"
        default: nil
        }
    }

    /// - Parameter defaultName: stands in for a name that is missing or empty.
    package static func decode(_ json: JSON, defaultName: String?) throws(Failure) -> NetworkList {
        let version = try version(Reader(json))
        do throws(JSONError) {
            return try decode(Reader(json), defaultName, version)
        } catch {
            throw Failure(.badConfig, error)
        }
    }

    private static func decode(_ json: Reader, _ defaultName: String?, _ version: Version) throws(JSONError)
        -> NetworkList
    {
        try json.requireObject()
        var name = try json.string("name") ?? ""
        if name.isEmpty { name = defaultName ?? "" }
        guard Names.isIdentifier(name) else {
            throw json.error(
                "name",
                name.isEmpty ? "missing network name" : "invalid characters found in network name \"\(name)\""
            )
        }
        var list = NetworkList(
            name: name, version: version, disableCheck: try flag(json, "disableCheck"),
            disableGC: try flag(json, "disableGC"), plugins: [])
        if let type = try json.string("type"), !type.isEmpty {
            try check(type, json)
            list.plugins = [json.value]
            return list
        }
        guard let plugins = try json.list("plugins") else {
            throw json.error(nil, "delegate must have the 'type' or 'plugins' field")
        }
        guard !plugins.isEmpty else { throw json.error("plugins", "no plugins in list") }
        for plugin in plugins {
            try plugin.requireObject()
            guard let type = try plugin.string("type"), !type.isEmpty else {
                throw plugin.error("type", "a plugin delegate must have the 'type' field")
            }
            try check(type, plugin)
        }
        list.plugins = plugins.map(\.value)
        list.others.members = try json.members().filter { !vocabulary.knows($0.key) }.map {
            ($0.key, $0.value.value)
        }
        return list
    }

    private static func check(_ type: String, _ json: Reader) throws(JSONError) {
        // Compared as bytes: with a combining mark behind it, Swift sees '/' as another Character.
        guard !type.utf8.contains(UInt8(ascii: "/")), type != ".", type != "..",
            type.unicodeScalars.allSatisfy({ $0.value > 0x20 })
        else {
            throw json.error("type", "invalid plugin name: \"\(type)\"")
        }
    }

    /// `cniVersion`, or the highest of `cniVersions` that is known here; newer ones there are passed over.
    ///
    /// - Throws: code 1 when none is known, 7 for what is no version.
    static func version(_ json: Reader) throws(Failure) -> Version {
        var texts: [String]
        do throws(JSONError) {
            try json.requireObject()
            texts = try json.strings("cniVersions") ?? []
            for (index, text) in texts.enumerated() where !isVersion(text) {
                throw json.error("cniVersions[\(index)]", "\"\(text)\" is no version: write 1.0.0")
            }
            if let single = try json.string("cniVersion"), !single.isEmpty { texts.append(single) }
        } catch {
            throw Failure(.badConfig, error)
        }
        if let highest = texts.compactMap({ Version(rawValue: $0) }).max() { return highest }
        return try Version(parsing: texts.last)
    }

    /// Three numbers joined by dots.
    private static func isVersion(_ text: String) -> Bool {
        let parts = text.parts(by: ".")
        return parts.count == 3
            && parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
    }

    /// libcni accepts the words as strings too.
    private static func flag(_ json: Reader, _ key: String) throws(JSONError) -> Bool {
        if let text = json.value.object?[key]?.string?.lowercased(), let value = Bool(text) { return value }
        return try json.bool(key) ?? false
    }

    /// The list as a document that `decode` takes.
    package var json: JSON {
        var json: JSONObject = [
            "cniVersion": .string(version.rawValue), "name": .string(name),
            "disableCheck": .bool(disableCheck),
            "disableGC": .bool(disableGC), "plugins": .array(plugins),
        ]
        json.members += others.members
        return .object(json)
    }

    /// What the plugin at `index` gets on stdin: its own object, with the list's name and version, and what the
    /// runtime or the meta-plugin adds. Keys nobody knows stay as they are.
    ///
    /// - Parameters:
    ///   - runtimeConfig: by capability; only those that the plugin declares are passed on. Empty leaves the
    ///     plugin's own.
    ///   - cniArgs: wins over the plugin's own `args.cni`, key by key.
    package func config(
        at index: Int, previous: CNIResult?, runtimeConfig: JSONObject, cniArgs: JSONObject?,
        validAttachments: JSON? = nil
    ) throws(Failure) -> JSON {
        guard plugins.indices.contains(index), var plugin = plugins[index].object else {
            throw Failure(.badConfig, "plugins[\(index)] is no object")
        }
        plugin["name"] = .string(name)
        plugin["cniVersion"] = .string(version.rawValue)
        let capabilities = plugin.find("capabilities")?.value
        let granted = runtimeConfig.members.filter { capabilities?[$0.key]?.bool == true }
        if !granted.isEmpty { plugin["runtimeConfig"] = .object(JSONObject(granted.map(Self.normalized))) }
        if let cniArgs {
            do throws(JSONError) { plugin["args"] = try merged(cniArgs, index) } catch {
                throw Failure(
                    .badConfig, error, details: "cni-args cannot be added to it: write {\"cni\": {...}}")
            }
        }
        if let previous { plugin["prevResult"] = try previous.json(version) }
        if let validAttachments {
            plugin["cni.dev/valid-attachments"] = validAttachments
            plugin["cni.dev/attachments"] = validAttachments
        }
        return .object(plugin)
    }

    private func merged(_ extra: JSONObject, _ index: Int) throws(JSONError) -> JSON {
        let args = try Reader(plugins[index], path: "plugins[\(index)]").object("args")
        var object = args?.value.object ?? [:]
        var own = try args?.object("cni")?.value.object ?? [:]
        own.merge(extra)
        object["cni"] = .object(own)
        return .object(object)
    }

    /// containerd writes Go's field names (`HostPort`); plugins expect `hostPort`.
    private static func normalized(_ member: (key: String, value: JSON)) -> (key: String, value: JSON) {
        guard ["portMappings", "bandwidth", "dns"].contains(member.key) else { return member }
        return (member.key, lowered(member.value))
    }

    private static func lowered(_ json: JSON) -> JSON {
        switch json {
        case .array(let values): .array(values.map(lowered))
        case .object(let object):
            .object(
                JSONObject(
                    object.members.map {
                        let key =
                            $0.key == "HostIP" ? "hostIP" : $0.key.prefix(1).lowercased() + $0.key.dropFirst()
                        return (key, $0.value)
                    }))
        default: json
        }
    }
}
