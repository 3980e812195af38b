package import JSONC

/// What a container's resolver should use. CNI 1.1, "Result types".
package struct DNS: Equatable, Sendable {
    package var nameservers: [String]
    package var domain: String?
    package var search: [String]
    package var options: [String]

    package init(
        nameservers: [String] = [], domain: String? = nil, search: [String] = [], options: [String] = []
    ) {
        self.nameservers = nameservers
        self.domain = domain
        self.search = search
        self.options = options
    }

    /// Kubernetes runtimes ignore it, so a wrong key does a pod no harm.
    package static let vocabulary = Vocabulary(
        ["nameservers", "domain", "search", "options"], strictness: .lenient)

    package init(_ json: Reader) throws(JSONError) {
        nameservers = try json.strings("nameservers") ?? []
        domain = try json.string("domain").flatMap { $0.isEmpty ? nil : $0 }
        search = try json.strings("search") ?? []
        options = try json.strings("options") ?? []
    }

    package var isEmpty: Bool { self == DNS() }

    package var json: JSON {
        var json: JSONObject = [:]
        if let domain { json["domain"] = .string(domain) }
        for (key, list) in [("nameservers", nameservers), ("options", options), ("search", search)]
        where !list.isEmpty {
            json[key] = .array(list.map { .string($0) })
        }
        return .object(json)
    }
}
