import Foundation
import JSONC
import Linux

/// Python's json module on the same documents: what it refuses, we must refuse.
final class JSONOracle {
    private var inputs: [[UInt8]] = []

    func note(_ input: [UInt8]) { if inputs.count < 20000, input.count < 4096 { inputs.append(input) } }

    /// Reasons of ours to refuse what JSON's grammar allows.
    private static let own = ["64 bits", "surrogate", "NUL", "nested deeper", "is too large", "stand twice"]

    private static let script = """
        import json, sys
        def refuse(text): raise ValueError(text)
        data, start = sys.stdin.buffer.read(), 0
        while start < len(data):
            size = int.from_bytes(data[start:start + 4], "little")
            try:
                json.loads(data[start + 4:start + 4 + size].decode(), parse_constant=refuse)
                sys.stdout.write("1")
            except (ValueError, RecursionError):
                sys.stdout.write("0")
            start += 4 + size
        """

    func disagreements() throws -> [String] {
        guard isRegularFile("/usr/bin/python3") else { return [] }
        let data = inputs.flatMap { input in
            (0..<4).map { UInt8(truncatingIfNeeded: input.count >> (8 * $0)) } + input
        }
        let ran = try ChildProcess.run(
            path: "/usr/bin/python3", arguments: ["-c", Self.script], environment: [], input: data,
            deadline: 600)
        guard ran.status == .exited(0), ran.output.count == inputs.count else {
            return ["python: \(ran.status): \(String(decoding: ran.errors, as: UTF8.self))"]
        }
        return zip(inputs, ran.output).compactMap { input, verdict in
            let text = String(decoding: input.prefix(300), as: UTF8.self).debugDescription
            do throws(JSONError) {
                _ = try JSON.parse(input)
                return verdict == UInt8(ascii: "1") ? nil : "json: taken, and python refuses \(text)"
            } catch {
                let isOurs = Self.own.contains { error.problem.contains($0) }
                return verdict == UInt8(ascii: "0") || isOurs
                    ? nil : "json: refused (\(error)), and python takes \(text)"
            }
        }
    }
}
