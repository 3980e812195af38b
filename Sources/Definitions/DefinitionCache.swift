package import CNI
package import JSONC
import Linux
import Networking
import YAML

/// The node's copy of NetworkAttachmentDefinitions and pods: one manifest a file, as `kubectl get -o yaml` prints
/// it, found by its path.
package struct DefinitionCache: Sendable {
    package let path: String
    static let extensions = ["json", "yaml", "yml"]
    private static let limit = 2 << 20

    /// Definitions that go before those in the files, for what is only being looked at.
    private let given: (@Sendable (_ namespace: String, _ name: String) -> CacheObject?)?

    package init(
        path: String, given: (@Sendable (_ namespace: String, _ name: String) -> CacheObject?)? = nil
    ) {
        self.path = path
        self.given = given
    }

    /// A definition; nil when there is none of that name.
    package func definition(_ namespace: String, _ name: String) throws(Failure) -> Definition? {
        if let object = given?(namespace, name) { return Definition(object, file: "the input") }
        guard let found = try find("net-attach-def", namespace, name) else { return nil }
        do throws(JSONError) {
            let manifest = Reader(found.json)
            try Self.require("NetworkAttachmentDefinition", namespace, name, manifest)
            let spec = try manifest.object("spec")
            if let config = spec?.value["config"], config.object != nil {
                throw manifest.error(
                    "spec.config", "is an object, expected its JSON as text: config: '{...}'")
            }
            let resource = try manifest.object("metadata")?.object("annotations")?
                .string(Definition.resourceKey)
            return Definition(
                namespace: namespace, name: name, config: try spec?.string("config") ?? "",
                resource: resource.flatMap { $0.isEmpty ? nil : $0 }, file: found.file, size: found.size)
        } catch {
            throw Failure(
                .badConfig, "network-attachment-definition \(namespace)/\(name): \(error)",
                details: "correct \(found.file)")
        }
    }

    /// What to type to have an object in the cache: whole or not at all.
    package func command(toCopy kind: String, _ namespace: String, _ name: String) -> String {
        let folder = kind == "pod" ? "pods" : kind
        return "f=\(path)/\(folder)/\(namespace)/\(name).yaml; mkdir -p ${f%/*};"
            + " kubectl -n \(namespace) get \(kind) \(name) -o yaml >$f.new && mv $f.new $f"
    }

    /// One object a file, the one of its path if it says who it is.
    private static func require(
        _ kind: String, _ namespace: String, _ name: String, _ manifest: Reader
    ) throws(JSONError) {
        try requireKind(kind, manifest)
        for (key, wanted) in [("namespace", namespace), ("name", name)] {
            if let found = try manifest.object("metadata")?.string(key), found != wanted {
                throw manifest.error("metadata.\(key)", "is \(found), the file's path says \(wanted)")
            }
        }
    }

    private static func requireKind(_ wanted: String, _ manifest: Reader) throws(JSONError) {
        try manifest.requireObject()
        guard let kind = try manifest.string("kind") else {
            let isConfiguration = manifest.has("type") || manifest.has("plugins")
            guard isConfiguration, !manifest.has("spec") else { return }
            throw manifest.error(
                nil, "it is a CNI configuration, expected a \(wanted) that has it as text in spec.config")
        }
        guard kind != "List" else {
            throw manifest.error("kind", "is List: write each of its items into a file of its own")
        }
        guard kind == wanted else { throw manifest.error("kind", "is \(kind), expected \(wanted)") }
    }

    /// Which part of the path to a definition is missing, and what to do.
    package func missing(_ namespace: String, _ name: String) -> String {
        let folder = "\(path)/net-attach-def/\(namespace)"
        let fix = "correct the name, or copy it there: \(command(toCopy: "net-attach-def", namespace, name))"
        for place in [path, "\(path)/net-attach-def", folder] where !fileExists(place) {
            return "there is no folder \(place): \(place == path ? "correct cacheDir, " : "")\(fix)"
        }
        return
            "no file \(folder)/\(name).{json,yaml,yml}: \(misnamed("net-attach-def", namespace, name) ?? fix)"
    }

    /// A file that seems to be meant and has another name than it must have, and how to rename it.
    package func misnamed(_ kind: String, _ namespace: String, _ name: String) -> String? {
        let folder = "\(path)/\(kind)/\(namespace)"
        for place in [folder, "\(path)/\(kind)"] {
            let names = ((try? Directory.open(place).names()) ?? []).sorted()
            let found = names.first { file in
                let endings = ["", ".json", ".yaml", ".yml", ".conf", ".conflist", ".txt"]
                return endings.contains { file.lowercased() == name + $0 }
                    && isRegularFile("\(place)/\(file)")
            }
            guard let found else { continue }
            let isJSON = ["json", "conf", "conflist"].contains { found.lowercased().hasSuffix(".\($0)") }
            let wanted = "\(folder)/\(name).\(isJSON ? "json" : "yaml")"
            return
                "\(place)/\(found) is not read: mv \(shellQuoted("\(place)/\(found)")) \(shellQuoted(wanted))"
        }
        return nil
    }

    /// The namespaces that have a definition of that name.
    package func namespaces(having name: String) -> [String] {
        let root = "\(path)/net-attach-def"
        let namespaces = (try? Directory.open(root).names()) ?? []  // no cache, no namespace
        return namespaces.filter(Names.isLabel).sorted().filter { namespace in
            Self.extensions.contains { fileExists("\(root)/\(namespace)/\(name).\($0)") }
        }
    }

    /// The pod's manifest and its file, or nil when the cache has none.
    package func pod(_ pod: Pod) throws(Failure) -> (json: JSON, file: String)? {
        guard let found = try find("pods", pod.namespace, pod.name) else { return nil }
        do throws(JSONError) {
            let manifest = Reader(found.json)
            try Self.require("Pod", pod.namespace, pod.name, manifest)
            // Its annotations are another pod's if the file is in the wrong place, and nothing else would tell.
            guard try manifest.object("metadata")?.string("name") != nil else {
                throw manifest.error("metadata.name", "is missing: the pod's name, \(pod.name)")
            }
        } catch {
            throw Failure(
                .badConfig, "pod \(pod.description) in the cache: \(error)", details: "correct \(found.file)")
        }
        return (found.json, found.file)
    }

    /// The network of every definition that can be read, for a DEL that has nothing else to go by, and for GC. One at a
    /// time: all of them may be many times what a pod's may be together.
    package func forEachNetwork(
        _ body: (_ name: String, _ list: NetworkList, _ file: String) -> Void
    ) {
        let root = "\(path)/net-attach-def"
        let namespaces = (try? Directory.open(root).names()) ?? []  // no cache, nothing to add
        for namespace in namespaces.filter(Names.isLabel) {
            for file in (try? Directory.open("\(root)/\(namespace)").names()) ?? [] {
                guard let dot = file.lastIndex(of: "."),
                    let found = try? definition(namespace, String(file[..<dot])) ?? nil,
                    let json = try? JSON.parse(found.config).value,
                    let list = try? NetworkList.decode(json, defaultName: found.name)
                else { continue }
                body(found.fullName, list, found.file)
            }
        }
    }

    func find(
        _ kind: String, _ namespace: String, _ name: String
    ) throws(Failure) -> (json: JSON, file: String, size: Int)? {
        var found: (bytes: [UInt8], file: String)?
        do throws(SystemError) {
            guard let directory = try directory(kind, namespace) else { return nil }
            for suffix in Self.extensions {
                let file = "\(name).\(suffix)"
                guard let bytes = try directory.readIfPresent(file, limit: Self.limit, isTrusted: true)
                else { continue }
                let full = "\(path)/\(kind)/\(namespace)/\(file)"
                if let other = found {
                    throw SystemError(
                        refusing: "\(full) and \(other.file) both exist: remove one",
                        fix:
                            "rm \(shellQuoted(full)), or rm \(shellQuoted(other.file)): the one that is out of date"
                    )
                }
                found = (bytes, full)
            }
        } catch {
            throw refusal(error, "\(path)/\(kind)", namespace, name)
        }
        guard let found else { return nil }
        return (try decode(found.bytes, found.file), found.file, found.bytes.count)
    }

    private func refusal(
        _ error: SystemError, _ folder: String, _ namespace: String, _ name: String
    ) -> Failure {
        let files = Self.extensions.map { "\(folder)/\(namespace)/\(name).\($0)" }
        if let link = ([folder, "\(folder)/\(namespace)"] + files).first(where: { linkTarget($0) != nil }) {
            return Failure(
                .io, "cache \(path): \(link) is a symbolic link: links are not followed here",
                details: "put the file or folder itself in its place, as cp -rL copies it")
        }
        if isBelowFile(path) {
            return Failure(
                .io, "cache \(path): \(error)", details: "it is no folder: correct the key cacheDir")
        }
        if let obstacle = files.lazy.compactMap({ obstacle(to: $0) }).first {
            return Failure(.io, "cache \(path): \(obstacle.problem)", details: obstacle.fix)
        }
        return Failure(.io, "cache \(path): \(error)", details: error.hint)
    }

    /// Only root writes the cache: files that others can write to are refused.
    private func directory(_ kind: String, _ namespace: String) throws(SystemError) -> Directory? {
        do throws(SystemError) {
            return try Directory.open(path).trusted().trusted(kind, namespace)
        } catch  where error.isNotFound {
            return nil
        }
    }

    private func decode(_ bytes: [UInt8], _ file: String) throws(Failure) -> JSON {
        guard bytes.contains(where: { $0 > 0x20 }) else {
            throw Failure(
                .badJSON, "\(file) is empty",
                details: "whatever wrote it failed, as kubectl does without an API server: write it again")
        }
        do throws(JSONError) {
            guard file.hasSuffix(".json") else { return try YAML.parse(bytes) }
            let document = try JSON.parse(bytes)
            // As in YAML.
            guard let key = document.duplicates.first else { return document.value }
            throw JSONError(path: "", problem: "the key \(key) stands twice")
        } catch {
            throw Failure(.badJSON, "\(file): \(error)", details: "correct \(file)")
        }
    }
}

extension Definition {
    /// - Parameter file: where it was read.
    package init(_ object: CacheObject, file: String) {
        self.init(
            namespace: object.id.namespace, name: object.id.name,
            config: object.json["spec"]?["config"]?.string ?? "",
            resource: object.json["metadata"]?["annotations"]?[Definition.resourceKey]?.string,
            file: file, size: 0)
    }
}

/// A NetworkAttachmentDefinition.
package struct Definition: Equatable, Sendable {
    /// The annotation that names a device plugin's resource.
    package static let resourceKey = "k8s.v1.cni.cncf.io/resourceName"

    package let namespace: String
    package let name: String
    /// The text of `spec.config`; empty when there is none.
    package let config: String
    /// The device plugin's resource whose devices the network may need.
    package let resource: String?
    package let file: String
    /// Bytes of its manifest.
    package let size: Int

    package var fullName: String { "\(namespace)/\(name)" }
}
