import JSONC
import Kubernetes
import Testing

@Suite struct ReflectorTests {
    private static func reflector(hasCopy: Bool = false, metadata: Bool = false) -> Reflector {
        Reflector(
            .init(.definitions, fields: metadata ? "spec.nodeName=a" : "", isMetadataOnly: metadata),
            hasCopy: hasCopy)
    }

    private static func event(_ type: String, _ version: String, _ more: String = "") -> [UInt8] {
        Array(
            #"{"type":"\#(type)","object":{"metadata":{"name":"x","resourceVersion":"\#(version)"\#(more)}}}"#
                .utf8)
    }

    private static let end = #","annotations":{"k8s.io/initial-events-end":"true"}"#

    /// One whose copy is whole, and that watches.
    private static func watching(at version: String = "7") throws -> Reflector {
        var reflector = reflector()
        _ = reflector.next(seconds: 300)
        guard case .whole = try reflector.line(event("BOOKMARK", version, end)) else {
            throw JSONError(path: "", problem: "no copy")
        }
        return reflector
    }

    @Test("LW-05: all objects come as a stream, whose end a bookmark marks")
    func stream() throws {
        var reflector = Self.reflector()
        let first = reflector.next(seconds: 300)
        #expect(first.isStream && first.isFirst && first.accept == "application/json")
        #expect(
            first.path
                == "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions?watch=1&sendInitialEvents=true"
                + "&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=0"
        )
        guard case .put = try reflector.line(Self.event("ADDED", "5")) else {
            Issue.record("an object is put")
            return
        }
        #expect(!reflector.isWhole)
        guard case .whole = try reflector.line(Self.event("BOOKMARK", "9", Self.end)) else {
            Issue.record("the copy is whole")
            return
        }
        #expect(reflector.isWhole)
        #expect(
            reflector.next(seconds: 400).path.contains("watch=1&resourceVersion=9&allowWatchBookmarks=true"))
    }

    @Test("LW-02: a copy of an earlier run is compared with what etcd has, not with a server's own copy")
    func restart() {
        var cold = Self.reflector()
        var warm = Self.reflector(hasCopy: true)
        #expect(cold.next(seconds: 1).path.contains("resourceVersion=0"))
        #expect(!warm.next(seconds: 1).path.contains("resourceVersion=0"))
    }

    @Test(
        "LW-05: a server without WatchList is asked for pages, at once and from then on",
        arguments: [422, 500])
    func pages(code: Int) throws {
        var reflector = Self.reflector()
        _ = reflector.next(seconds: 300)
        #expect(reflector.failed(.status(APIStatus(code: code))) == 0)
        let first = reflector.next(seconds: 300)
        #expect(!first.isStream && first.isFirst && first.path.hasSuffix("?limit=500"))
        var names: [String] = []
        let one =
            #"{"items":[{"metadata":{"name":"a"}}],"metadata":{"resourceVersion":"11","continue":"t/+"}}"#
        #expect(
            try reflector.page(Array(one.utf8)) { names.append($0["metadata"]?["name"]?.string ?? "") }
                .isEmpty)
        let second = reflector.next(seconds: 300)
        #expect(!second.isFirst && second.path.hasSuffix("limit=500&continue=t%2F%2B"))
        let two =
            #"{"metadata":{"resourceVersion":"11"},"items":[{"metadata":{"name":"b"}},{"metadata":{"name":"c"}}]}"#
        let changes = try reflector.page(Array(two.utf8)) {
            names.append($0["metadata"]?["name"]?.string ?? "")
        }
        #expect(names == ["a", "b", "c"] && changes.count == 1 && reflector.isWhole)
        // The next time it lists at once.
        _ = reflector.failed(.status(APIStatus(code: 410)))
        #expect(!reflector.next(seconds: 300).isStream)
    }

    @Test("LW-01, LW-04: what is too old is listed again, also half-way, and as an event of a stream")
    func expired() throws {
        var reflector = try Self.watching()
        let line =
            #"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#
        let problem = #expect(throws: Reflector.Problem.self) { try reflector.line(Array(line.utf8)) }
        let pause = reflector.failed(try #require(problem))
        #expect((800...1000).contains(pause) && !reflector.isWhole)
        #expect(reflector.next(seconds: 300).isFirst)
    }

    @Test("LW-03: the version of each event and bookmark is where it goes on")
    func versions() throws {
        var reflector = try Self.watching()
        for (type, version) in [("MODIFIED", "12"), ("BOOKMARK", "20"), ("DELETED", "21")] {
            _ = try reflector.line(Self.event(type, version))
            #expect(reflector.next(seconds: 300).path.contains("resourceVersion=\(version)&"))
        }
    }

    @Test("a stream that the server ends is opened again at once, but not for ever")
    func ends() throws {
        var reflector = try Self.watching()
        #expect(reflector.ended() == 0)
        #expect(reflector.ended() > 0)
        _ = try reflector.line(Self.event("BOOKMARK", "8"))
        #expect(reflector.ended() == 0)
    }

    @Test("LW-10: pauses grow to half a minute, and a server's own are kept")
    func pauses() throws {
        var reflector = try Self.watching()
        let pauses = (0..<8).map { _ in reflector.failed(.broken("no answer")) }
        #expect((800...1000).contains(pauses[0]) && (1600...2000).contains(pauses[1]))
        #expect((30_000...37_500).contains(pauses[7]))
        #expect(reflector.failed(.status(APIStatus(code: 429, retryAfter: 1))) == 1000)
        #expect(reflector.failed(.status(APIStatus(code: 403))) == 30_000)
        #expect(reflector.isWhole, "what is known stays")
    }

    @Test("LW-08: of pods only metadata is asked for, of one node")
    func metadata() {
        var reflector = Reflector(
            .init(.pods, fields: "spec.nodeName=a", isMetadataOnly: true), hasCopy: true)
        let first = reflector.next(seconds: 300)
        #expect(first.path.hasPrefix("/api/v1/pods?fieldSelector=spec.nodeName%3Da&watch=1"))
        #expect(
            first.accept == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json")
        _ = reflector.failed(.status(APIStatus(code: 422)))
        #expect(
            reflector.next(seconds: 300).accept.hasPrefix("application/json;as=PartialObjectMetadataList;"))
    }

    @Test(
        "answers that make no sense are problems",
        arguments: [#"{"#, "{}", "[]", #"{"items":[{]}"#, #"{"items":[]}"#])
    func nonsense(text: String) throws {
        var reflector = Self.reflector()
        _ = reflector.next(seconds: 1)
        _ = reflector.failed(.status(APIStatus(code: 422)))
        _ = reflector.next(seconds: 1)
        #expect(throws: Reflector.Problem.self) { try reflector.page(Array(text.utf8)) { _ in } }
        var other = try Self.watching()
        #expect(throws: Reflector.Problem.self) { try other.line(Array(text.utf8)) }
    }
}

@Suite struct AnswerTests {
    @Test("a Status tells its code, reason, fields and when to ask again")
    func status() {
        let text = """
            {"kind":"Status","code":422,"reason":"Invalid","message":"no","details":{"retryAfterSeconds":3,\
            "causes":[{"field":"metadata.uid","message":"field is immutable"}]}}
            """
        let status = APIStatus(code: 422, body: Array(text.utf8), retryAfter: nil)
        #expect(status.isOfAnotherObject && status.retryAfter == 3 && status.reason == "Invalid")
        #expect(status.description == "the API server answers 422: no")
        let proxy = APIStatus(code: 503, body: Array("busy".utf8), retryAfter: "7")
        #expect(proxy.retryAfter == 7 && proxy.message == "busy" && !proxy.isExpired)
    }

    @Test("LW-06: lines come in any pieces, and may be long")
    func lines() throws {
        var splitter = LineSplitter(limit: 1 << 22)
        let long = [UInt8](repeating: UInt8(ascii: "x"), count: 3 << 20)
        #expect(try splitter.take(Array("a\n\nb".utf8)) == [Array("a".utf8)])
        #expect(try splitter.take(Array("c\n".utf8) + long.prefix(1 << 20)) == [Array("bc".utf8)])
        #expect(try splitter.take(long.dropFirst(1 << 20) + [10]) == [long])
        #expect(throws: LineSplitter.TooLong.self) { try splitter.take(long + long) }
    }

    @Test("paths name group, namespace, object and part, and hold what needs it")
    func paths() {
        #expect(Resource.pods.path("a", "b", part: "status") == "/api/v1/namespaces/a/pods/b/status")
        #expect(
            Resource.definitions.path(in: "x/y")
                == "/apis/k8s.cni.cncf.io/v1/namespaces/x%2Fy/network-attachment-definitions")
    }
}
