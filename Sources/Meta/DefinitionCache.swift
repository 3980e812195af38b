package import CNI
package import JSONC
import Linux
import Network
import YAML

/// The node's copy of NetworkAttachmentDefinitions and pods: one manifest a file, as `kubectl get -o yaml` prints
/// it, found by its path.
package struct DefinitionCache: Sendable {
    package let path: String
    private static let extensions = ["json", "yaml", "yml"]
    private static let limit = 2 << 20

    package init(path: String) { self.path = path }

    /// `spec.config` of a definition; empty when the definition has none.
    ///
    /// - Throws: code 7 when there is no such definition.
    package func definition(_ namespace: String, _ name: String) throws(Failure) -> Definition {
        guard let found = try find("net-attach-def", namespace, name) else {
            throw Failure(
                .badConfig,
                "cannot find a network-attachment-definition (\(name)) in namespace (\(namespace))",
                details:
                    "no file \(path)/net-attach-def/\(namespace)/\(name).{json,yaml,yml}: correct the name, or copy it"
                    + " there: \(command(toCopy: "net-attach-def", namespace, name))")
        }
        do throws(JSONError) {
            let manifest = Reader(found.json)
            try manifest.requireObject()
            if let kind = try manifest.string("kind"), kind != "NetworkAttachmentDefinition" {
                throw manifest.error("kind", "is \(kind), expected NetworkAttachmentDefinition")
            }
            for (key, wanted) in [("namespace", namespace), ("name", name)] {
                if let found = try manifest.object("metadata")?.string(key), found != wanted {
                    throw manifest.error("metadata.\(key)", "is \(found), the file's path says \(wanted)")
                }
            }
            return Definition(
                namespace: namespace, name: name, config: try manifest.object("spec")?.string("config") ?? "",
                resource: try manifest.object("metadata")?.object("annotations")?
                    .string("k8s.v1.cni.cncf.io/resourceName").flatMap { $0.isEmpty ? nil : $0 })
        } catch {
            throw Failure(
                .badConfig, "network-attachment-definition \(namespace)/\(name): \(error)",
                details: found.file)
        }
    }

    /// What to type to have an object in the cache: whole or not at all.
    package func command(toCopy kind: String, _ namespace: String, _ name: String) -> String {
        let folder = kind == "pod" ? "pods" : kind
        return "f=\(path)/\(folder)/\(namespace)/\(name).yaml; mkdir -p ${f%/*};"
            + " kubectl -n \(namespace) get \(kind) \(name) -o yaml >$f.new && mv $f.new $f"
    }

    /// Whether anybody keeps pods here.
    package var hasPods: Bool { (try? Directory.open("\(path)/pods")) != nil }

    /// The pod's manifest, or nil when the cache has none.
    package func pod(_ pod: Pod) throws(Failure) -> JSON? {
        try find("pods", pod.namespace, pod.name)?.json
    }

    /// The network of every definition that can be read, for a DEL that has nothing else to go by, and for GC.
    package func everyNetwork() -> [NetworkList] {
        let root = "\(path)/net-attach-def"
        let namespaces = (try? Directory.open(root).names()) ?? []  // no cache, nothing to add
        return namespaces.filter(Names.isLabel).flatMap { namespace -> [NetworkList] in
            let files = (try? Directory.open("\(root)/\(namespace)").names()) ?? []
            return files.compactMap { file in
                guard let dot = file.lastIndex(of: "."),
                    let found = try? definition(namespace, String(file[..<dot])),
                    let json = try? JSON.parse(found.config).value
                else { return nil }
                return try? NetworkList.decode(json, defaultName: found.name)
            }
        }
    }

    private func find(
        _ kind: String, _ namespace: String, _ name: String
    ) throws(Failure) -> (json: JSON, file: String)? {
        var found: (bytes: [UInt8], file: String)?
        do throws(SystemError) {
            guard let directory = try directory(kind, namespace) else { return nil }
            for suffix in Self.extensions {
                let file = "\(name).\(suffix)"
                guard let bytes = try directory.readIfPresent(file, limit: Self.limit, isTrusted: true)
                else { continue }
                let full = "\(path)/\(kind)/\(namespace)/\(file)"
                if let other = found {
                    throw SystemError(operation: "\(full) and \(other.file) both exist: remove one", code: 0)
                }
                found = (bytes, full)
            }
        } catch {
            throw Failure(.io, "cache \(path): \(error)")
        }
        guard let found else { return nil }
        return (try decode(found.bytes, found.file), found.file)
    }

    /// The cache is written by root alone: what others can write is not believed.
    private func directory(_ kind: String, _ namespace: String) throws(SystemError) -> Directory? {
        do throws(SystemError) {
            return try Directory.open(path).trusted().trusted(kind, namespace)
        } catch  where error.isNotFound {
            return nil
        }
    }

    private func decode(_ bytes: [UInt8], _ file: String) throws(Failure) -> JSON {
        if file.hasSuffix(".json") {
            do throws(JSONError) { return try JSON.parse(bytes).value } catch {
                throw Failure(.badJSON, "\(file): \(error)")
            }
        }
        do throws(YAMLError) { return try YAML.parse(bytes) } catch {
            throw Failure(.badJSON, "\(file): \(error)")
        }
    }
}

/// A NetworkAttachmentDefinition.
package struct Definition: Equatable, Sendable {
    package let namespace: String
    package let name: String
    /// The text of `spec.config`.
    package let config: String
    /// The device plugin's resource whose devices the network may need.
    package let resource: String?

    package var fullName: String { "\(namespace)/\(name)" }
}
