import JSONC

/// A version of the CNI specification.
package enum Version: String, CaseIterable, Comparable, Sendable {
    case v0_1_0 = "0.1.0"
    case v0_2_0 = "0.2.0"
    case v0_3_0 = "0.3.0"
    case v0_3_1 = "0.3.1"
    case v0_4_0 = "0.4.0"
    case v1_0_0 = "1.0.0"
    case v1_1_0 = "1.1.0"

    package static let newest = Version.v1_1_0

    /// Versions of one family write results alike.
    enum Family { case single, listed, current }

    var family: Family { self < .v0_3_0 ? .single : self < .v1_0_0 ? .listed : .current }

    package static func < (a: Version, b: Version) -> Bool { a.rawValue < b.rawValue }

    /// The answer to VERSION: one line.
    package static func reply() -> String {
        let versions: [JSON] = allCases.map { .string($0.rawValue) }
        let reply: JSON = ["cniVersion": .string(newest.rawValue), "supportedVersions": .array(versions)]
        return reply.print() + "\n"
    }

    /// An absent or empty version is 0.1.0.
    package init(parsing text: String?) throws(Failure) {
        guard let text, !text.isEmpty else {
            self = .v0_1_0
            return
        }
        guard let version = Version(rawValue: text) else {
            let all = Self.allCases.map(\.rawValue).joined(separator: " ")
            throw Failure(
                .incompatibleVersion, "incompatible CNI versions",
                details: "config is \"\(text)\", plugin supports [\(all)]")
        }
        self = version
    }
}

/// What a runtime asks for.
package enum Verb: String, Sendable {
    case add = "ADD"
    case del = "DEL"
    case check = "CHECK"
    case gc = "GC"
    case status = "STATUS"
    case version = "VERSION"

    /// The first version of a configuration that knows the verb.
    var minimum: Version {
        switch self {
        case .check: .v0_4_0
        case .gc, .status: .v1_1_0
        case .add, .del, .version: .v0_1_0
        }
    }
}
