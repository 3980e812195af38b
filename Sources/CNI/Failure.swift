package import JSONC
package import Networking

/// What leaves the process when a call fails: the CNI error object.
package struct Failure: Error, Equatable, Sendable {
    /// CNI 1.1, "Error"; 100 and up are a plugin's own.
    package enum Code: Int, Sendable {
        case unknown = 0
        case incompatibleVersion = 1
        case unsupportedField = 2
        case containerUnknown = 3
        case badEnvironment = 4
        case io = 5
        case badJSON = 6
        case badConfig = 7
        /// CNI_NETNS is the plugin's own namespace.
        case ownNamespace = 8
        case tryAgain = 11
        /// STATUS: no ADD can work now.
        case notAvailable = 50
        /// STATUS: the same, and containers that run may have lost connectivity.
        case limited = 51
        /// Everything that has no code of its own.
        case generic = 999
    }

    package var code: Int
    package var message: String { didSet { message = Self.bounded(message) } }
    /// The cause, and what to do.
    package var details: String { didSet { details = Self.bounded(details) } }
    /// Another plugin's error: its code is passed on as it is.
    package private(set) var isPassedOn = false
    /// The external plugin that refused the call; nil for what we refuse.
    package var plugin: String?
    /// What was asked cannot work, whenever it is asked again: codes of the specification.
    package var isOfConfiguration: Bool {
        let codes: [Code] = [.incompatibleVersion, .unsupportedField, .badEnvironment, .badJSON, .badConfig]
        return codes.contains { $0.rawValue == code }
    }
    /// The JSON path of the refused value, as the plugin sees it; nil when no value is to blame.
    package var key: String?
    /// What another attachment of this node may hold: the error can then name the holder.
    package enum Claim: Equatable, Sendable {
        case mac(MAC)
        /// Of an ipvlan.
        case address(IPAddress)
        /// An address that host-local gave to a container.
        case lease(IPAddress, container: String)
        /// A link of the host's that macvlans and ipvlans sit on.
        case master(String)
        /// A device by the name or the address that a configuration has.
        case device(String)
    }
    package var claim: Claim?
    /// The attachment's network, as errors call it, and the type of the plugin there that failed; nil where none is to blame.
    package var network: String?
    package var type: String?

    package init(_ code: Code, _ error: JSONError, details: String = "") {
        self.init(code, "\(error)", details: details)
        key = error.path
    }

    package init(_ code: Code, _ message: String, details: String = "") {
        self.init(code: code.rawValue, message, details: details)
    }

    package init(code: Int, _ message: String, details: String = "") {
        self.code = code
        self.message = Self.bounded(message)
        self.details = Self.bounded(details)
    }

    /// Limits the length: a quoted value may be as long as a configuration, and runtimes log the error at each retry.
    private static func bounded(_ text: String) -> String {
        let limit = 8192
        func cut(_ text: String) -> String? {
            guard text.utf8.count > limit + 40 else { return nil }
            return String(decoding: text.utf8.prefix(limit), as: UTF8.self)
        }
        let head = cut(text)
        let shown = visible(head ?? text)
        guard let part = cut(shown) ?? head.map({ _ in shown }) else { return shown }
        return "\(part)… (\(text.utf8.count) bytes)"
    }

    /// Whether a path is one where runtimes and meta-plugins put what a caller asks for, rather than the
    /// configuration's own.
    package static func isOfTheCall(_ key: String) -> Bool {
        ["runtimeConfig", "args.cni", "CNI_ARGS"].contains { key.hasPrefix($0) } || key == "args"
    }

    package static func ownNamespace(_ path: String) -> Failure {
        Failure(
            .ownNamespace, "plugin's netns and netns from CNI_NETNS should not be the same",
            details: "CNI_NETNS=\(path) is this process's own namespace")
    }

    /// For a log.
    package var logged: String { details.isEmpty ? message : "\(message); \(details)" }

    /// The same with who or where in front, unless the message begins so.
    package func prefixed(_ text: String) -> Failure {
        if message.hasPrefix("\(text):") { return self }
        var failure = self
        failure.message = "\(text): \(message)"
        return failure
    }

    /// The same with more details behind those that it has, unless they say it already.
    package func ending(with text: String) -> Failure {
        guard !text.isEmpty, !details.contains(text) else { return self }
        var failure = self
        failure.details += (details.isEmpty ? "" : "; ") + text
        return failure
    }

    /// The same with the code that a reference plugin's own errors have, whatever went wrong.
    package var asReferencePlugins: Failure {
        let own: [Code] = [.unsupportedField, .badEnvironment, .io, .badConfig]
        guard !isPassedOn, own.contains(where: { $0.rawValue == code }) else { return self }
        var failure = self
        failure.code = Code.generic.rawValue
        return failure
    }

    /// The first of several, with the others in its details: a GC may have one for each pod of a node.
    package static func joined(_ failures: [Failure]) -> Failure? {
        guard let first = failures.first else { return nil }
        let others = failures.dropFirst()
        let limit = 64
        var texts = [first.details] + others.prefix(limit).map(\.message)
        if others.count > limit { texts.append("and \(others.count - limit) more problems") }
        var failure = first
        failure.details = texts.filter { !$0.isEmpty }.joined(separator: "; ")
        return failure
    }

    /// The same with a code: a plugin that does not say why it failed has code 0, which means "unknown".
    package var asMetaPlugin: Failure {
        guard code == Code.unknown.rawValue else { return self }
        var failure = self
        failure.code = Code.generic.rawValue
        return failure
    }

    package func json(version: String?) -> JSON {
        var json: JSONObject = [:]
        if let version { json["cniVersion"] = .string(version) }
        json["code"] = .int(Int64(code))
        json["msg"] = .string(message)
        if !details.isEmpty { json["details"] = .string(details) }
        return .object(json)
    }

    /// An error object that another plugin printed; nil if the document is not one.
    package static func parse(_ json: JSON) -> Failure? {
        guard let code = json["code"]?.int, code >= 0 else { return nil }
        var failure = Failure(
            code: Int(code), json["msg"]?.string ?? "", details: json["details"]?.string ?? "")
        failure.isPassedOn = true
        return failure
    }
}
