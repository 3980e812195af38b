/// The keys that an object may have, what other programs call them, and the same for the objects below it.
package struct Vocabulary: Sendable {
    package enum Strictness: Sendable {
        /// A key that nearly is a known one is a typing error.
        case strict
        /// A wish that may be ignored.
        case lenient
        /// Unknown keys belong to other programs.
        case open
    }

    private let own: [String]
    private let members: [Member]
    private let meaning: @Sendable (String) -> String?
    fileprivate let strictness: Strictness
    private var others: [Vocabulary] = []

    /// A key whose value is an object, or a list of them. A type of its own: the runtime takes tens of microseconds to
    /// know an array of tuples.
    package struct Member: Sendable {
        let key: String
        let vocabulary: Vocabulary

        package init(_ key: String, _ vocabulary: Vocabulary) {
            self.key = key
            self.vocabulary = vocabulary
        }
    }

    /// - Parameter meaning: takes another program's spelling in lower case and without `-` and `_`; the key that is
    ///   meant, or what to do where there is none.
    package init(
        _ keys: [String], members: [Member] = [], strictness: Strictness = .strict,
        meaning: @escaping @Sendable (String) -> String? = { _ in nil }
    ) {
        own = keys
        self.members = members
        self.strictness = strictness
        self.meaning = meaning
    }

    /// The union, for an object that several programs read.
    package func with(_ other: Vocabulary) -> Vocabulary {
        var both = self
        both.others.append(other)
        return both
    }

    package var keys: [String] { own + others.flatMap(\.keys) }

    package func knows(_ key: String) -> Bool {
        own.contains { isSame($0, key) } || others.contains { $0.knows(key) }
    }

    fileprivate func vocabulary(of key: String) -> Vocabulary? {
        for member in members where isSame(member.key, key) { return member.vocabulary }
        for other in others {
            if let found = other.vocabulary(of: key) { return found }
        }
        return nil
    }

    fileprivate func meaning(of spelling: String) -> String? {
        if let meant = meaning(spelling) { return meant }
        for other in others {
            if let meant = other.meaning(of: spelling) { return meant }
        }
        return nil
    }

    /// The known key that `key` is meant to be; nil for one of another meaning.
    package func meant(_ key: String) -> String? {
        let spelling = plain(key)
        return keys.first { plain($0) == spelling } ?? meaning(of: spelling) ?? nearest(key)
    }

    /// The known key that `key` is nearly spelled as: one slip in four letters or more, two in eight or more.
    package func nearest(_ key: String) -> String? {
        let written = folded(key)
        let allowed = written.count >= 8 ? 2 : written.count >= 4 ? 1 : 0
        var nearest: String?
        var least = allowed + 1
        for key in keys {
            let slips = slips(written, folded(key), below: least)
            if slips < least { (nearest, least) = (key, slips) }
        }
        return nearest
    }
}

extension Reader {
    /// Judges the keys of this object and of those below it; one whose value says nothing asks for nothing.
    ///
    /// - Returns: unknown keys, with their paths.
    /// - Throws: for all keys that are a known one misspelt, or another program's word for one.
    package func judge(_ vocabulary: Vocabulary) throws(JSONError) -> [String] {
        var (unknown, refused): ([String], [JSONError]) = ([], [])
        judge(vocabulary, &unknown, &refused)
        guard let last = refused.popLast() else { return unknown }
        let problems = refused.map(\.description) + [last.problem]
        throw JSONError(path: last.path, problem: problems.joined(separator: "; "))
    }

    /// Judges what is below some keys of this object alone: the other keys may be somebody else's.
    package func judge(_ vocabulary: Vocabulary, below keys: [String]) throws(JSONError) -> [String] {
        var unknown: [String] = []
        for key in keys {
            guard let inner = vocabulary.vocabulary(of: key), let member = member(key) else { continue }
            unknown += try member.judge(inner)
        }
        return unknown
    }

    private func judge(_ vocabulary: Vocabulary, _ unknown: inout [String], _ refused: inout [JSONError]) {
        guard let object = value.object else {
            // For lists, and lists of lists, each element is judged.
            for element in (try? elements()) ?? [] { element.judge(vocabulary, &unknown, &refused) }
            return
        }
        for (key, value) in object.members {
            if vocabulary.knows(key) {
                if value.isContainer, let inner = vocabulary.vocabulary(of: key) {
                    member(key)?.judge(inner, &unknown, &refused)
                }
            } else if !value.saysNothing, !isComment(key) {
                if let problem = problem(key, vocabulary) {
                    refused.append(error(key, problem))
                } else if vocabulary.strictness != .open {
                    unknown.append(error(key, "").path)
                }
            }
        }
    }

    /// nil for a key that means nothing here, or whose meaning is there already.
    private func problem(_ key: String, _ vocabulary: Vocabulary) -> String? {
        let spelling = plain(key)
        let same = vocabulary.keys.first { plain($0) == spelling }
        if let meaning = same ?? vocabulary.meaning(of: spelling) {
            guard vocabulary.knows(meaning) else { return "unknown key \"\(key)\": \(meaning)" }
            let isSaid = member(meaning).map { !$0.value.saysNothing } ?? false
            return isSaid ? nil : "unknown key \"\(key)\": write \"\(meaning)\""
        }
        guard vocabulary.strictness == .strict, let near = vocabulary.nearest(key) else { return nil }
        return "unknown key \"\(key)\": did you mean \"\(near)\"?"
    }
}

extension JSON {
    fileprivate var isContainer: Bool {
        switch self {
        case .array, .object: true
        default: false
        }
    }

    /// Whether the value means the same as an absent key.
    package var saysNothing: Bool {
        switch self {
        case .null, .bool(false), .int(0), .string(""): true
        case .array(let values): values.isEmpty
        case .object(let object): object.members.isEmpty
        default: false
        }
    }
}

/// JSON has no comments; these are what people write instead.
package func isComment(_ key: String) -> Bool {
    ["_", "#", "//"].contains { key.hasPrefix($0) }
        || ["comment", "description"].contains { isSame($0, key) }
}

/// Letters and digits alone, in lower case.
private func plain(_ key: String) -> String {
    String(decoding: folded(key).filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "_") }, as: UTF8.self)
}

/// Damerau's distance: letters to insert, delete, replace, or swap with their neighbour; `limit` for one that is not
/// below it.
private func slips(_ a: [UInt8], _ b: [UInt8], below limit: Int) -> Int {
    if abs(a.count - b.count) >= limit { return limit }
    var before: [Int] = []
    var row = Array(0...b.count)
    for (i, letter) in a.enumerated() {
        var next = [i + 1]
        for (j, other) in b.enumerated() {
            var cost = min(row[j + 1] + 1, next[j] + 1, row[j] + (letter == other ? 0 : 1))
            if i > 0, j > 0, letter == b[j - 1], a[i - 1] == other { cost = min(cost, before[j - 1] + 1) }
            next.append(cost)
        }
        // The distance cannot become less than the least of two rows: the search may stop.
        guard min(row.min() ?? 0, next.min() ?? 0) < limit else { return limit }
        (before, row) = (row, next)
    }
    return min(row[b.count], limit)
}
