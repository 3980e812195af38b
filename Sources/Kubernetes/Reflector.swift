package import JSONC

/// Keeps a copy of all objects of a kind like the API server's: what to ask next, and what an answer means. It does no input
/// or output. Kubernetes' API concepts, "Efficient detection of changes".
package struct Reflector: Sendable {
    package struct Selection: Sendable {
        package var resource: Resource
        /// Such as `spec.nodeName=a`; empty for all.
        package var fields: String
        /// Only `metadata` is wanted.
        package var isMetadataOnly: Bool

        package init(_ resource: Resource, fields: String = "", isMetadataOnly: Bool = false) {
            self.resource = resource
            self.fields = fields
            self.isMetadataOnly = isMetadataOnly
        }
    }

    package struct Request: Equatable, Sendable {
        /// With its query.
        package var path: String
        /// The header Accept.
        package var accept: String
        /// The answer is a stream of lines; otherwise a page.
        package var isStream: Bool
        /// Seconds after which the server ends the stream.
        package var seconds: Int
        /// All objects come from here on, up to `Change.whole`.
        package var isFirst: Bool
    }

    package enum Change: Sendable {
        case put(JSON)
        case removed(JSON)
        /// All that is there has come since the first request; what did not come is gone.
        case whole
        /// Nothing new, as the server says.
        case bookmark
    }

    package enum Problem: Error, Sendable {
        case status(APIStatus)
        /// No answer, half of one, or one that makes no sense.
        case broken(String)

        package var description: String {
            switch self {
            case .status(let status): status.description
            case .broken(let text): text
            }
        }
    }

    private enum State: Sendable {
        case start
        case listing(continued: String, version: String)
        /// The whole copy comes as a stream: WatchList.
        case streaming
        case watching(version: String)
    }

    private let selection: Selection
    private let hasCopy: Bool
    private var state = State.start
    /// The server has refused WatchList.
    private var listsPages = false
    private var failures = 0

    private static let pageSize = 500
    /// Milliseconds.
    private static let firstPause: Int64 = 800
    private static let longestPause: Int64 = 30_000

    /// - Parameter hasCopy: there are objects of an earlier run, which must not be replaced by older ones: a server's own
    ///   copy may be behind.
    package init(_ selection: Selection, hasCopy: Bool) {
        self.selection = selection
        self.hasCopy = hasCopy
    }

    /// Whether the copy is whole.
    package var isWhole: Bool { if case .watching = state { true } else { false } }

    // MARK: Requests

    /// - Parameter seconds: how long a stream may take, for the server to end.
    package mutating func next(seconds: Int) -> Request {
        if case .start = state {
            state = listsPages ? .listing(continued: "", version: "") : .streaming
        }
        var query = selection.fields.isEmpty ? [] : ["fieldSelector=\(escaped(selection.fields))"]
        var isFirst = false
        var isStream = true
        switch state {
        case .start, .streaming:
            query += [
                "watch=1", "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan",
                "allowWatchBookmarks=true", "timeoutSeconds=\(seconds)",
            ]
            // "0" may be answered by a server whose copy is behind.
            if !hasCopy { query.append("resourceVersion=0") }
            isFirst = true
        case .listing(let continued, _):
            query.append("limit=\(Self.pageSize)")
            isStream = false
            isFirst = continued.isEmpty
            if !continued.isEmpty { query.append("continue=\(escaped(continued))") }
        case .watching(let version):
            query += [
                "watch=1", "resourceVersion=\(escaped(version))", "allowWatchBookmarks=true",
                "timeoutSeconds=\(seconds)",
            ]
        }
        return Request(
            path: "\(selection.resource.path)?\(query.joined(separator: "&"))",
            accept: accept(isList: !isStream), isStream: isStream, seconds: seconds, isFirst: isFirst)
    }

    private func accept(isList: Bool) -> String {
        guard selection.isMetadataOnly else { return "application/json" }
        let kind = isList ? "PartialObjectMetadataList" : "PartialObjectMetadata"
        return "application/json;as=\(kind);g=meta.k8s.io;v=v1,application/json"
    }

    // MARK: Answers

    /// Takes a page of a list.
    ///
    /// - Parameter put: gets each object.
    package mutating func page(
        _ bytes: [UInt8], _ put: (JSON) -> Void
    ) throws(Problem) -> [Change] {
        guard case .listing(_, let version) = state else { return [] }
        let text = JSONText(bytes)
        guard let document = text.documents.first, let items = text.items(document) else {
            throw .broken("the answer is no list")
        }
        do throws(JSONError) {
            let list = Reader(try JSON.parse(text.withoutItems(document)).value)
            guard let metadata = try list.object("metadata") else {
                throw list.error("metadata", "is missing")
            }
            for item in items { put(try JSON.parse(Array(bytes[item])).value) }
            // Equal in all pages.
            let first = version.isEmpty ? try metadata.string("resourceVersion") ?? "" : version
            let continued = try metadata.string("continue") ?? ""
            if continued.isEmpty {
                state = .watching(version: first)
                failures = 0
                return [.whole]
            }
            state = .listing(continued: continued, version: first)
            return []
        } catch {
            throw .broken("the list cannot be read: \(error)")
        }
    }

    /// Takes a line of a stream.
    package mutating func line(_ bytes: [UInt8]) throws(Problem) -> Change {
        let event: JSON
        do throws(JSONError) { event = try JSON.parse(bytes).value } catch {
            throw .broken("an event cannot be read: \(error)")
        }
        guard let object = event["object"] else { throw .broken("an event has no object") }
        let metadata = object["metadata"]
        let version = metadata?["resourceVersion"]?.string ?? ""
        switch event["type"]?.string {
        case "ADDED", "MODIFIED":
            progress(version)
            return .put(object)
        case "DELETED":
            progress(version)
            return .removed(object)
        case "BOOKMARK":
            if case .streaming = state,
                metadata?["annotations"]?["k8s.io/initial-events-end"]?.string == "true"
            {
                state = .watching(version: version)
                failures = 0
                return .whole
            }
            progress(version)
            return .bookmark
        case "ERROR": throw .status(APIStatus(object))
        case let type: throw .broken("an event is of type \(type ?? "none")")
        }
    }

    private mutating func progress(_ version: String) {
        failures = 0
        // While the whole copy still comes, objects are in no order.
        if case .watching = state, !version.isEmpty { state = .watching(version: version) }
    }

    /// The server has ended a stream, as it does after `timeoutSeconds`.
    ///
    /// - Returns: milliseconds until the next request.
    package mutating func ended() -> Int64 {
        if case .streaming = state { return failed(.broken("the stream ended before all objects had come")) }
        // One that ends each stream at once must not be asked without a pause.
        failures += 1
        return failures == 1 ? 0 : pause()
    }

    /// An answer did not come, or was none.
    ///
    /// - Returns: milliseconds until the next request.
    package mutating func failed(_ problem: Problem) -> Int64 {
        if case .streaming = state {
            if case .status(let status) = problem, [422, 400, 500].contains(status.code) {
                // An older server, or one on an older etcd.
                listsPages = true
                state = .start
                return 0
            }
            state = .start
        }
        failures += 1
        guard case .status(let status) = problem else { return pause() }
        if status.isExpired { state = .start }
        // Nothing that a moment's patience would change.
        if status.code == 403 || status.code == 404 { return Self.longestPause }
        return status.retryAfter.map { $0 * 1000 } ?? pause()
    }

    private func pause() -> Int64 {
        let pause = min(Self.firstPause << min(failures - 1, 8), Self.longestPause)
        return pause + Int64.random(in: 0...pause / 4)
    }
}
