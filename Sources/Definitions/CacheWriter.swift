package import CNI
import JSONC
import Linux
import Networking

/// Writes the cache: whole objects or none, and no older state over a newer. One process at a time.
package struct CacheWriter: ~Copyable {
    private let cache: DefinitionCache
    private let root: Directory
    private let lock: Lock

    package enum Outcome: String, CaseIterable, Sendable { case added, updated, unchanged, older }

    /// Waits for another one that writes. The directory is made when it is missing.
    package static func open(_ path: String) throws(Failure) -> CacheWriter {
        do throws(SystemError) { return try make(path) } catch { throw failure(error) }
    }

    private static func make(_ path: String) throws(SystemError) -> CacheWriter {
        let root = try Directory.create(path, mode: 0o755).trusted()
        let lock = try Lock.take(in: root, ".lock")
        return CacheWriter(cache: DefinitionCache(path: path), root: root, lock: lock)
    }

    private static func failure(_ error: SystemError) -> Failure {
        Failure(.io, "cache: \(error)", details: error.hint)
    }

    private func folder(_ id: CacheObject.ID) -> String { "\(cache.path)/\(id.kind.folder)/\(id.namespace)" }

    /// - Parameters:
    ///   - isReplacing: whether an older state is taken as well.
    ///   - remark: what was done that is not plain.
    package func write(
        _ object: CacheObject, isReplacing: Bool = false, _ remark: (String) -> Void = { _ in }
    ) throws(Failure) -> Outcome {
        let id = object.id
        let found = cache.files(id)
        var outcome = Outcome.added
        // What cannot be read is replaced.
        if let file = found.first {
            outcome = .updated
            if let stored = try? cache.object(id) {
                if object.isOlder(than: stored) {
                    // Another cluster, or this one made anew, counts from the beginning.
                    let isAnother = object.isAnother(than: stored)
                    guard isAnother || isReplacing else { return .older }
                    if isAnother {
                        remark(
                            "it is another object than the one in the cache, which is replaced, though its version is lower"
                        )
                    }
                }
                if stored.json == object.json { return .unchanged }
            }
            if found.count > 1 {
                throw Failure(
                    .io, "cache: \(found.joined(separator: " and ")) both exist",
                    details: "remove the one that is out of date: rm \(shellQuoted(file))")
            }
        }
        do throws(SystemError) {
            // JSON is YAML too: a file of either name stays alone.
            let name = found.first.map(Self.fileName) ?? "\(id.name).json"
            let text = object.json.bytes(indent: 2, escapesHTML: false) + [UInt8(ascii: "\n")]
            _ = try Directory.create(folder(id), mode: 0o755)
            try root.trusted(id.kind.folder, id.namespace).replace(name, with: text, mode: 0o644)
            return outcome
        } catch {
            throw Self.failure(error)
        }
    }

    /// - Returns: false when there was none.
    package func remove(_ id: CacheObject.ID) throws(Failure) -> Bool {
        let found = cache.files(id)
        do throws(SystemError) {
            for file in found { try root.trusted(id.kind.folder, id.namespace).remove(Self.fileName(file)) }
        } catch {
            throw Self.failure(error)
        }
        return !found.isEmpty
    }

    private static func fileName(_ path: String) -> String {
        path.parts(by: "/").last.map(String.init) ?? path
    }

    /// Removes the objects of these kinds that are not in `kept`.
    ///
    /// - Parameter namespace: only of this one; nil for all.
    package func prune(
        _ kinds: [CacheObject.Kind], keeping kept: Set<CacheObject.ID>, in namespace: String?
    ) throws(Failure) -> [CacheObject.ID] {
        var removed: [CacheObject.ID] = []
        for id in cache.objects(kinds) where !kept.contains(id) && (namespace ?? id.namespace) == id.namespace
        {
            if try remove(id) { removed.append(id) }
        }
        return removed
    }

    /// Notes that of these kinds the cache is what the cluster had at this moment.
    package func noteImport(of kinds: [CacheObject.Kind]) throws(Failure) {
        var note = cache.importNotes
        for kind in kinds { note[kind.folder] = .int(secondsSinceEpoch()) }
        do throws(SystemError) {
            try root.replace(DefinitionCache.importNote, with: JSON.object(note).bytes(), mode: 0o644)
        } catch {
            throw Self.failure(error)
        }
    }
}

// MARK: What is there

extension DefinitionCache {
    static let importNote = "imported.json"
    /// What an older release wrote, of all kinds together.
    private static let oldNote = "time"

    fileprivate var importNotes: JSONObject {
        guard let bytes = try? readFile("\(path)/\(Self.importNote)", limit: 1024) else { return [:] }
        return (try? JSON.parse(bytes).value)?.object ?? [:]
    }

    /// When the cache was last filled with all objects of a kind, in seconds since 1970; nil when nobody noted it.
    package func imported(_ kind: CacheObject.Kind) -> Int64? {
        let notes = importNotes
        return (notes[kind.folder] ?? notes[Self.oldNote])?.int
    }

    /// All objects by their files' names, sorted.
    package func objects(_ kinds: [CacheObject.Kind] = CacheObject.Kind.allCases) -> [CacheObject.ID] {
        var found: [CacheObject.ID] = []
        for kind in kinds {
            let root = "\(path)/\(kind.folder)"
            let namespaces = (try? Directory.open(root).names()) ?? []  // no folder, no objects
            for namespace in namespaces.filter(Names.isLabel).sorted() {
                let files = (try? Directory.open("\(root)/\(namespace)").names()) ?? []
                let names = files.compactMap { file -> String? in
                    guard let dot = file.lastIndex(of: "."),
                        Self.extensions.contains(String(file[file.index(after: dot)...])),
                        Names.isSubdomain(String(file[..<dot]))
                    else { return nil }
                    return String(file[..<dot])
                }
                found += Set(names).sorted().map { CacheObject.ID(kind, namespace, $0) }
            }
        }
        return found
    }

    /// The files of an object; more than one is a mistake.
    package func files(_ id: CacheObject.ID) -> [String] {
        Self.extensions.map { "\(path)/\(id.kind.folder)/\(id.namespace)/\(id.name).\($0)" }.filter(
            fileExists)
    }

    /// An object as it is stored; nil when there is none.
    package func object(_ id: CacheObject.ID) throws(Failure) -> CacheObject? {
        guard let found = try find(id.kind.folder, id.namespace, id.name) else { return nil }
        do throws(JSONError) { return try CacheObject(found.json) } catch {
            throw Failure(.badConfig, "\(found.file): \(error)", details: "correct \(found.file)")
        }
    }
}
