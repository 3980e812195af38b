import ArgumentParser
import CNI
import Definitions
import Engine
import JSONC
import Linux
import Meta
import Networking

/// `plexus cache`: the node's copy of the cluster's objects.
struct Cache: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache",
        abstract: "Fill and show the node's copy of network-attachment-definitions and pods.",
        subcommands: [Import.self, List.self, Show.self, Remove.self])

    struct Place: ParsableArguments {
        @Option(help: "The directory of the cache, the key cacheDir.")
        var cacheDir: String = "/var/lib/cni/plexus/cache"
    }

    /// The words of `kubectl` for a kind.
    enum Kind: String, ExpressibleByArgument, CaseIterable {
        case netAttachDef = "net-attach-def"
        case pod

        var kind: CacheObject.Kind { self == .netAttachDef ? .definition : .pod }
    }

    static func id(_ kind: Kind, _ text: String) throws(Failure) -> CacheObject.ID {
        let (namespace, name) = try objectName(text, kind.rawValue)
        return CacheObject.ID(kind.kind, namespace, name)
    }
}

// MARK: import

extension Cache {
    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import",
            abstract:
                "Take in what kubectl prints: objects, documents of objects, or a List, as JSON or YAML.",
            discussion: """
                  kubectl get net-attach-def,pods -A -o json | plexus cache import --prune --node $(hostname)

                Pods are reduced to their metadata. An object that is older than the one in the cache is passed over and named; \
                one of another UID is taken. What \
                cannot be stored is named, and the exit status is then 1; what an ADD would refuse is stored and \
                named when it is new.
                """)

        @Argument(help: "Files to read; - or none reads stdin.")
        var files: [String] = []

        @OptionGroup var place: Place

        @Flag(help: "Remove objects that are not in the input, a List, of the kinds that are.")
        var prune = false

        @Option(
            help:
                "A kind of which the input has all, also when that is none: with --prune, and for maxCacheAge."
        )
        var kind: [Kind] = []

        @Flag(help: "Take objects that are older than those in the cache, of a cluster that was restored.")
        var replace = false

        @Option(help: "With --prune: of this namespace alone.")
        var namespace: String?

        @Option(help: "Take only the pods of this node.")
        var node: String?

        @Option(name: .shortAndLong, help: "text for people, json for programs.")
        var output: Output = .text

        private static let limit = 1 << 30

        /// What became of the input.
        private struct Report {
            var names: [CacheWriter.Outcome: [String]] = [:]
            var removed: [String] = []
            var refused: [String] = []
            var problems: [String] = []
            var kinds: [CacheObject.Kind] = []
            var kept: Set<CacheObject.ID> = []
            /// Pods of other nodes, and which those are.
            var elsewhere: [String] = []
            var nodes: Set<String> = []
        }

        func run() throws {
            let report = try failing("cache import", report)
            for problem in report.refused + report.problems {
                writeStandardError("plexus cache import: \(visible(problem))\n")
            }
            switch output {
            case .text:
                let counts = CacheWriter.Outcome.allCases.map {
                    "\(report.names[$0]?.count ?? 0) \($0.rawValue)"
                }
                var others = ["\(report.removed.count) removed", "\(report.refused.count) refused"]
                if !report.elsewhere.isEmpty { others.append("\(report.elsewhere.count) of other nodes") }
                writeStandardOutput((counts + others).joined(separator: ", ") + "\n")
            case .json:
                var json: JSONObject = ["version": 1]
                func put(_ key: String, _ texts: [String]) { json[key] = .array(texts.map { .string($0) }) }
                for outcome in CacheWriter.Outcome.allCases {
                    put(outcome.rawValue, report.names[outcome] ?? [])
                }
                put("removed", report.removed)
                put("refused", report.refused)
                put("elsewhere", report.elsewhere)
                put("problems", report.problems)
                printJSON(.object(json))
            }
            if !report.refused.isEmpty { throw ExitCode.failure }
        }

        private func report() throws(Failure) -> Report {
            // All of the input before anything is written: half of it would be pruned by.
            var inputs: [(name: String, bytes: [UInt8])] = []
            for file in files.isEmpty ? ["-"] : files {
                do throws(SystemError) {
                    let bytes =
                        file == "-"
                        ? try readStandardInput(limit: Self.limit)
                        : try readFile(file, limit: Self.limit, waits: true)
                    inputs.append((file == "-" ? "stdin" : file, bytes))
                } catch {
                    throw Failure(.io, "\(error)", details: error.hint)
                }
            }
            let writer = try CacheWriter.open(place.cacheDir)
            var report = Report()
            report.kinds = kind.map(\.kind)
            var isWhole = true
            for (name, bytes) in inputs {
                let input = ManifestStream.read(bytes)
                isWhole = isWhole && input.isList
                if let problem = input.problem {
                    report.refused.append("\(name): \(problem)")
                    continue
                }
                for piece in input.pieces { try take(piece, name, writer, &report) }
            }
            for name in report.names[.older] ?? [] {
                report.problems.append(
                    "\(name): it is older than the one in the cache; --replace takes it all the same")
            }
            isWhole = isWhole && report.names[.older] == nil
            if let node, !report.elsewhere.isEmpty, !report.kept.contains(where: { $0.kind == .pod }) {
                // A misspelt name would remove every pod.
                report.kinds.removeAll { $0 == .pod }
                report.problems.append(
                    "no pod of the input is on the node \(node), \(report.elsewhere.count) are on others"
                        + " (\(listed(report.nodes.sorted()))): pods stay as they are; correct --node")
            }
            if prune {
                if let why = reasonToKeep(report, isWhole) {
                    report.problems.append("nothing was removed, as \(why)")
                    return report
                }
                report.removed = try writer.prune(report.kinds, keeping: report.kept, in: namespace)
                    .map(\.description)
            }
            if report.refused.isEmpty, isWhole { try writer.noteImport(of: report.kinds) }
            return report
        }

        /// Why what is not in the input may be there all the same; nil when it is gone.
        private func reasonToKeep(_ report: Report, _ isWhole: Bool) -> String? {
            if !report.refused.isEmpty { return "some of the input was refused" }
            if report.names[.older] != nil { return "the input is older than the cache" }
            if !isWhole { return "the input is no List: who else there is nobody says" }
            return report.kinds.isEmpty && report.elsewhere.isEmpty
                ? "the List is empty: --kind says of what there is none" : nil
        }

        private func take(
            _ piece: ManifestStream.Piece, _ name: String, _ writer: borrowing CacheWriter,
            _ report: inout Report
        ) throws(Failure) {
            let place = piece.place.isEmpty ? name : "\(name), \(piece.place)"
            let object: CacheObject
            do throws(JSONError) {
                let json = try piece.parse()
                // An empty List.
                if json["items"]?.array?.isEmpty == true || json["items"] == .null,
                    json["kind"]?.string?.hasSuffix("List") == true
                {
                    return
                }
                object = try CacheObject(json)
            } catch {
                report.refused.append("\(place): \(error)")
                return
            }
            if !report.kinds.contains(object.id.kind) { report.kinds.append(object.id.kind) }
            if object.id.kind == .pod, let node, object.node != node {
                report.elsewhere.append(object.id.description)
                report.nodes.insert(object.node.isEmpty ? "none" : object.node)
                return
            }
            let name = object.id.description
            let outcome = try writer.write(object, isReplacing: replace) {
                report.problems.append("\(name): \($0)")
            }
            report.kept.insert(object.id)
            report.names[outcome, default: []].append(name)
            if let problem = object.problem {
                report.problems.append("\(name): \(problem): no pod can be attached to it")
            } else if outcome == .added || outcome == .updated, object.id.kind == .definition {
                for problem in try Validation.problems(of: object) {
                    report.problems.append("\(name): \(problem): no pod can be attached to it")
                }
            }
        }
    }
}

// MARK: list, show, remove

extension Cache {
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the objects in the cache.")

        @Argument(help: "Only this kind: net-attach-def or pod.")
        var kind: Kind?

        @OptionGroup var place: Place

        @Option(name: .shortAndLong, help: "Only this namespace.")
        var namespace: String?

        @Option(name: .shortAndLong, help: "text for people, json for programs.")
        var output: Output = .text

        func run() throws {
            guard fileExists(place.cacheDir) else {
                complain(
                    "cache list",
                    Failure(
                        .io, "there is no cache \(place.cacheDir)",
                        details:
                            "name the directory that is the key cacheDir, or fill it with plexus cache import"
                    ))
                throw ExitCode.failure
            }
            let cache = DefinitionCache(path: place.cacheDir)
            let kinds = kind.map { [$0.kind] } ?? CacheObject.Kind.allCases
            var rows: [[String]] = []
            var list: [JSON] = []
            for id in cache.objects(kinds) where (namespace ?? id.namespace) == id.namespace {
                let what: String
                do throws(Failure) {
                    guard let object = try cache.object(id) else { continue }
                    what = Cache.summary(object)
                } catch {
                    what = "unusable: \(error.message)"
                }
                let kind = id.kind == .definition ? "net-attach-def" : "pod"
                rows.append([kind, id.namespace, id.name, visible(what)])
                list.append([
                    "kind": .string(kind), "namespace": .string(id.namespace), "name": .string(id.name),
                    "about": .string(what),
                ])
            }
            switch output {
            case .json:
                var json: JSONObject = ["version": 1, "objects": .array(list)]
                if let time = cache.imported(.definition) { json["imported"] = .int(time) }
                if let time = cache.imported(.pod) { json["importedPods"] = .int(time) }
                printJSON(.object(json))
            case .text:
                writeStandardOutput(table(["KIND", "NAMESPACE", "NAME", "ABOUT"], rows))
                for kind in kinds {
                    guard let time = cache.imported(kind) else { continue }
                    let what = kind == .definition ? "net-attach-def" : "pod"
                    writeStandardError("\(what): imported \(secondsSinceEpoch() - time) s ago\n")
                }
            }
        }
    }

    /// The plugins of a network and its resource, or what a pod asks for.
    private static func summary(_ object: CacheObject) -> String {
        let annotations = object.json["metadata"]?["annotations"]
        guard object.id.kind == .definition else {
            let asked = annotations?[PodAnnotations.networksKey]?.string ?? ""
            return asked.isEmpty ? "no further networks" : asked
        }
        if let problem = object.problem { return "unusable: \(problem)" }
        let config = object.json["spec"]?["config"]?.string ?? ""
        let list = (try? JSON.parse(config).value).flatMap {
            try? NetworkList.decode($0, defaultName: object.id.name)
        }
        let types = list?.plugins.compactMap { $0["type"]?.string }.joined(separator: " + ")
        let resource = annotations?[Definition.resourceKey]?.string.map { ", \($0)" } ?? ""
        return (types ?? "a file in confDir") + resource
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Print an object as it is in the cache, and the file that it is in.")

        @Argument(help: "net-attach-def or pod.")
        var kind: Kind

        @Argument(help: ArgumentHelp("The object.", valueName: "[namespace/]name"))
        var name: String

        @OptionGroup var place: Place

        func run() throws {
            let cache = DefinitionCache(path: place.cacheDir)
            let (object, file) = try failing("cache show") { () throws(Failure) in
                let id = try Cache.id(kind, name)
                guard let object = try cache.object(id) else {
                    throw Failure(
                        .badConfig, "there is no \(id.description) in \(place.cacheDir)",
                        details: id.kind == .definition ? cache.missing(id.namespace, id.name) : "")
                }
                return (object, cache.files(id).first ?? "")
            }
            writeStandardError("\(file)\n")
            printJSON(object.json)
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract:
                "Remove objects from the cache; the next import of what the cluster has brings them back.")

        @Argument(help: "net-attach-def or pod.")
        var kind: Kind

        @Argument(help: ArgumentHelp("The objects.", valueName: "[namespace/]name"))
        var names: [String]

        @OptionGroup var place: Place

        func run() throws {
            let missing = try failing("cache remove") { () throws(Failure) in
                var ids: [CacheObject.ID] = []
                for name in names { ids.append(try Cache.id(kind, name)) }
                let writer = try CacheWriter.open(place.cacheDir)
                var missing: [CacheObject.ID] = []
                for id in ids where try !writer.remove(id) { missing.append(id) }
                return missing
            }
            for id in missing {
                complain(
                    "cache remove", Failure(.badConfig, "there is no \(id.description) in \(place.cacheDir)"))
            }
            if !missing.isEmpty { throw ExitCode.failure }
        }
    }
}
