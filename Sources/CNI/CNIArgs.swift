import Networking

/// CNI_ARGS: `KEY=VALUE;KEY=VALUE`.
package struct CNIArgs: Equatable, Sendable {
    package private(set) var pairs: [(key: String, value: String)]

    package init(_ pairs: [(key: String, value: String)] = []) { self.pairs = pairs }

    /// - Parameter lenient: an empty pair and a value with '=' are tolerated, as the meta role does.
    package static func parse(_ text: String, lenient: Bool) throws(Failure) -> CNIArgs {
        if text.isEmpty { return CNIArgs() }
        var pairs: [(key: String, value: String)] = []
        for pair in text.parts(by: ";") {
            if pair.isEmpty, lenient { continue }
            let parts = pair.parts(by: "=", maxSplits: lenient ? 1 : .max)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw Failure(
                    .badEnvironment, "ARGS: invalid pair \"\(pair)\"",
                    details: "CNI_ARGS is KEY=VALUE, joined by ';'")
            }
            pairs.append((String(parts[0]), String(parts[1])))
        }
        return CNIArgs(pairs)
    }

    /// The last value given for `key`; keys are case-sensitive.
    package subscript(key: String) -> String? { pairs.last { $0.key == key }?.value }

    /// Refuses keys that a plugin does not know, unless IgnoreUnknown is given.
    package func requireKnown(_ known: [String]) throws(Failure) {
        if try ignoresUnknown() { return }
        let unknown = pairs.filter { !known.contains($0.key) && $0.key != "IgnoreUnknown" }
        guard unknown.isEmpty else {
            let list = unknown.map { "\"\($0.key)=\($0.value)\"" }.joined(separator: " ")
            throw Failure(
                .badEnvironment, "ARGS: unknown args [\(list)]",
                details: "add IgnoreUnknown=1 to CNI_ARGS to let them pass")
        }
    }

    private func ignoresUnknown() throws(Failure) -> Bool {
        guard let text = self["IgnoreUnknown"] else { return false }
        switch text.lowercased() {
        case "1", "true": return true
        case "0", "false": return false
        default: throw Failure(.badEnvironment, "ARGS: IgnoreUnknown=\(text): write 1, true, 0 or false")
        }
    }

    package static func == (a: CNIArgs, b: CNIArgs) -> Bool { a.pairs.elementsEqual(b.pairs, by: ==) }
}
