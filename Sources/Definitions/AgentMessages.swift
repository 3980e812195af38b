package import CNI
package import JSONC
import Linux
import Networking

/// What an ADD asks the agent for: objects that the cache lacks. Both sides write one line of JSON.
package struct Need: Equatable, Sendable {
    package struct Object: Hashable, Sendable {
        package var id: CacheObject.ID
        /// Of a pod: another one of its name does not count. Empty where it is not known.
        package var uid: String

        package init(_ id: CacheObject.ID, uid: String = "") {
            self.id = id
            self.uid = uid
        }
    }

    package var objects: [Object]
    /// How long the ADD waits.
    package var milliseconds: Int64

    package init(_ objects: [Object], milliseconds: Int64) {
        self.objects = objects
        self.milliseconds = milliseconds
    }

    package var json: JSON {
        let objects = objects.map { object -> JSON in
            var json: JSONObject = [
                "kind": .string(object.id.kind.rawValue), "namespace": .string(object.id.namespace),
                "name": .string(object.id.name),
            ]
            if !object.uid.isEmpty { json["uid"] = .string(object.uid) }
            return .object(json)
        }
        return ["version": 1, "need": ["objects": .array(objects), "milliseconds": .int(milliseconds)]]
    }

    /// nil for another request.
    package init?(_ json: JSON) throws(JSONError) {
        guard let need = try Reader(json).object("need") else { return nil }
        milliseconds = try need.int("milliseconds", in: 0...60_000) ?? 0
        objects = []
        for object in try need.list("objects") ?? [] {
            guard let kind = CacheObject.Kind(rawValue: try object.string("kind") ?? "") else {
                throw object.error("kind", "is none of the cache's")
            }
            let namespace = try object.string("namespace") ?? ""
            let name = try object.string("name") ?? ""
            guard Names.isLabel(namespace) else { throw object.error("namespace", "is no namespace") }
            guard Names.isSubdomain(name) else { throw object.error("name", "is no Kubernetes name") }
            objects.append(Object(.init(kind, namespace, name), uid: try object.string("uid") ?? ""))
        }
    }
}

/// The ADD of a pod waits until its network-status is published.
package struct Publication: Equatable, Sendable {
    package var cniDir: String
    /// The name of the pod's file there.
    package var file: String
    package var milliseconds: Int64

    package init(cniDir: String, file: String, milliseconds: Int64) {
        self.cniDir = cniDir
        self.file = file
        self.milliseconds = milliseconds
    }

    package var json: JSON {
        [
            "version": 1,
            "published": [
                "cniDir": .string(cniDir), "file": .string(file), "milliseconds": .int(milliseconds),
            ],
        ]
    }

    /// nil for another request.
    package init?(_ json: JSON) throws(JSONError) {
        guard let published = try Reader(json).object("published") else { return nil }
        cniDir = try published.string("cniDir") ?? ""
        file = try published.string("file") ?? ""
        milliseconds = try published.int("milliseconds", in: 0...60_000) ?? 0
    }
}

/// What a call of a runtime took, for the agent's metrics: a line that nobody answers.
package struct CallReport: Equatable, Sendable {
    package var verb: String
    package var microseconds: Int64
    /// Of the CNI error; 0 for a success.
    package var code: Int
    /// Those that the error is about.
    package var network: String
    package var plugin: String

    package init(verb: String, microseconds: Int64, error: Failure?) {
        self.verb = verb
        self.microseconds = microseconds
        code = error?.code ?? 0
        network = error?.network ?? ""
        plugin = error?.type ?? ""
    }

    package func send(_ socket: String) {
        guard !socket.isEmpty, fileExists(socket) else { return }
        let report: JSON = [
            "verb": .string(verb), "microseconds": .int(microseconds), "code": .int(Int64(code)),
            "network": .string(network), "plugin": .string(plugin),
        ]
        tell(JSON.object(["version": 1, "call": report]).bytes(), at: socket)
    }

    /// nil for another message.
    package init?(_ json: JSON) throws(JSONError) {
        guard let report = try Reader(json).object("call") else { return nil }
        verb = try report.string("verb") ?? ""
        microseconds = try report.int("microseconds") ?? 0
        code = Int(try report.int("code", in: 0...1 << 31) ?? 0)
        network = try report.string("network") ?? ""
        plugin = try report.string("plugin") ?? ""
    }
}

/// What became of a request.
package struct AgentAnswer: Equatable, Sendable {
    /// The API server has none of these; the others are in the cache.
    package var absent: [String]
    /// Why it is not known whether all are there; nil when it is.
    package var problem: String?

    package init(absent: [String] = [], problem: String? = nil) {
        self.absent = absent
        self.problem = problem
    }

    package var json: JSON {
        var json: JSONObject = ["version": 1, "absent": .array(absent.map { .string($0) })]
        if let problem { json["problem"] = .string(problem) }
        return .object(json)
    }

    package init(_ json: JSON) throws(JSONError) {
        absent = try Reader(json).strings("absent") ?? []
        problem = try Reader(json).string("problem")
    }
}

/// Has the agent put into the cache what an ADD misses there.
package struct CacheFiller: Sendable {
    package enum Outcome: Equatable, Sendable {
        /// It is there now.
        case filled
        /// The cluster has none.
        case absent
        /// Why nobody knows; nil where there is no agent.
        case unknown(String?)
    }

    private let socket: String
    private let deadline: Int64

    /// - Parameters:
    ///   - socket: the agent's; empty for none.
    ///   - milliseconds: for all that this filler is asked for.
    package init(socket: String, milliseconds: Int64) {
        self.socket = milliseconds > 0 ? socket : ""
        deadline = monotonicMilliseconds() + milliseconds
    }

    /// - Parameter uid: of the pod that is meant.
    package func fill(_ id: CacheObject.ID, uid: String = "") -> Outcome {
        guard !socket.isEmpty, fileExists(socket) else { return .unknown(nil) }
        let need = Need([.init(id, uid: uid)], milliseconds: max(deadline - monotonicMilliseconds(), 0))
        switch AgentAnswer.asked(need.json, at: socket, until: deadline) {
        case .success(let answer):
            if let problem = answer.problem { return .unknown(problem) }
            return answer.absent.isEmpty ? .filled : .absent
        case .failure(let problem): return .unknown(problem.text)
        }
    }
}

extension AgentAnswer {
    package struct Problem: Error, Sendable {
        package let text: String
        /// Nobody was there, or he went.
        var isOfTheConnection = false
    }

    private static let limit = 1 << 16
    /// Milliseconds: the agent's own deadline comes first.
    private static let grace: Int64 = 250

    /// Milliseconds between two attempts, while an agent starts.
    private static let pause: UInt32 = 50

    /// An agent that ends meanwhile, or is not there yet, is waited for: one takes another's place when it is updated.
    package static func asked(
        _ request: JSON, at socket: String, until deadline: Int64
    ) -> Result<AgentAnswer, Problem> {
        while true {
            let answer = once(request, at: socket, until: deadline)
            if case .failure(let problem) = answer, problem.isOfTheConnection,
                monotonicMilliseconds() < deadline
            {
                Linux.pause(milliseconds: pause)
                continue
            }
            return answer
        }
    }

    private static func once(
        _ request: JSON, at socket: String, until deadline: Int64
    ) -> Result<AgentAnswer, Problem> {
        do throws(SystemError) {
            let line = try exchange(request.bytes(), at: socket, limit: limit, until: deadline + grace)
            guard let line else {
                return .failure(Problem(text: "the agent at \(socket) did not answer in time"))
            }
            do throws(JSONError) { return .success(try AgentAnswer(JSON.parse(line).value)) } catch {
                return .failure(Problem(text: "the agent at \(socket) answered nonsense: \(error)"))
            }
        } catch {
            return .failure(Problem(text: "\(error)", isOfTheConnection: true))
        }
    }
}
