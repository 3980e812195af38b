internal import CYAML
package import JSONC

/// YAML manifests as kubectl prints them: one document, no anchors and no tags, read into the same tree as JSON.
package enum YAML {
    static let maximumDepth = 64

    package static func parse(_ bytes: [UInt8]) throws(JSONError) -> JSON {
        guard bytes.count <= JSON.maximumSize else {
            throw JSONError(
                path: "", problem: "\(bytes.count) bytes, the limit is \(JSON.maximumSize)")
        }
        // The parser keeps a pointer to its input: this copy must live as long as the parser.
        let input = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(bytes.count, 1))
        defer { input.deallocate() }
        _ = input.initialize(from: bytes)
        let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
        defer { parser.deallocate() }
        guard yaml_parser_initialize(parser) == 1 else {
            throw JSONError(path: "", problem: "out of memory")
        }
        defer { yaml_parser_delete(parser) }
        yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
        var composer = Composer(parser: parser)
        return try composer.document()
    }
}

/// Builds values from libyaml's events.
private struct Composer {
    let parser: UnsafeMutablePointer<yaml_parser_t>
    private var depth = 0
    private var count = 0

    init(parser: UnsafeMutablePointer<yaml_parser_t>) { self.parser = parser }

    private enum Event {
        case scalar(String, isPlain: Bool)
        case sequence, mapping, end, document, endOfStream, streamStart
    }

    mutating func document() throws(JSONError) -> JSON {
        _ = try next()
        guard case .document = try next() else { return .null }
        let value = try value(next())
        _ = try next()
        guard case .endOfStream = try next() else { throw error("more than one document: a file has one") }
        return value
    }

    private func error(_ problem: String) -> JSONError {
        Self.error(parser.pointee.mark, problem)
    }

    private static func error(_ mark: yaml_mark_t, _ problem: String) -> JSONError {
        JSONError(path: "", problem: "line \(mark.line + 1), column \(mark.column + 1): \(problem)")
    }

    private mutating func next() throws(JSONError) -> Event {
        let event = UnsafeMutablePointer<yaml_event_t>.allocate(capacity: 1)
        defer { event.deallocate() }
        guard yaml_parser_parse(parser, event) == 1 else {
            let text = parser.pointee.problem.map { String(cString: $0) } ?? "unreadable"
            throw Self.error(parser.pointee.problem_mark, text)
        }
        defer { yaml_event_delete(event) }
        switch event.pointee.type {
        case YAML_STREAM_START_EVENT: return .streamStart
        case YAML_STREAM_END_EVENT: return .endOfStream
        case YAML_DOCUMENT_START_EVENT: return .document
        case YAML_SEQUENCE_START_EVENT:
            let start = event.pointee.data.sequence_start
            guard start.anchor == nil, start.tag == nil else { throw error("anchors and tags are not taken") }
            return .sequence
        case YAML_MAPPING_START_EVENT:
            let start = event.pointee.data.mapping_start
            guard start.anchor == nil, start.tag == nil else { throw error("anchors and tags are not taken") }
            return .mapping
        case YAML_ALIAS_EVENT: throw error("aliases are not taken")
        case YAML_SCALAR_EVENT:
            let scalar = event.pointee.data.scalar
            guard scalar.anchor == nil, scalar.tag == nil else {
                throw error("anchors and tags are not taken")
            }
            let text = String(
                decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            return .scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
        default: return .end
        }
    }

    private mutating func value(_ event: Event) throws(JSONError) -> JSON {
        count += 1
        guard count <= JSON.maximumCount else { throw error("more than \(JSON.maximumCount) values") }
        switch event {
        case .scalar(let text, let isPlain): return isPlain ? Self.resolved(text) : .string(text)
        case .sequence:
            try enter()
            var values: [JSON] = []
            while true {
                let event = try next()
                if case .end = event { break }
                values.append(try value(event))
            }
            depth -= 1
            return .array(values)
        case .mapping:
            try enter()
            defer { depth -= 1 }
            return .object(try mapping())
        default: throw error("expected a value")
        }
    }

    private mutating func mapping() throws(JSONError) -> JSONObject {
        var members: [(key: String, value: JSON)] = []
        var keys: Set<String> = []
        while true {
            let event = try next()
            if case .end = event { return JSONObject(members) }
            guard case .scalar(let key, _) = event else { throw error("a key that is no scalar") }
            guard key != "<<" else { throw error("merge keys are not taken") }
            guard keys.insert(key).inserted else { throw error("the key \"\(key)\" stands twice") }
            members.append((key, try value(next())))
        }
    }

    private mutating func enter() throws(JSONError) {
        depth += 1
        guard depth <= YAML.maximumDepth else { throw error("nested deeper than \(YAML.maximumDepth)") }
    }

    /// YAML 1.2's core schema: what a plain scalar means.
    private static func resolved(_ text: String) -> JSON {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        guard let first = text.utf8.first, (0x30...0x39).contains(first) || "+-.".utf8.contains(first) else {
            return .string(text)
        }
        if let number = Int64(text) { return .int(number) }
        let isDecimal = text.utf8.allSatisfy { (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) }
        if isDecimal, let number = Double(text), number.isFinite { return .double(number) }
        return .string(text)
    }
}
