import Foundation

/// Runs a program and gives back what it printed. Tests use the system's own tools as their oracle.
package struct Ran: Sendable {
    package let status: Int32
    package let output: String
    package let errors: String
}

package enum Shell {
    package static func run(
        _ words: [String], input: String = "", environment: [String: String]? = nil
    ) throws -> Ran {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        if let environment {
            process.environment = environment.merging(["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]) { own, _ in
                own
            }
        }
        // Files instead of pipes: nothing can fill up.
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let names = ["in", "out", "err"].map { directory.appendingPathComponent($0) }
        try Data(input.utf8).write(to: names[0])
        for name in names[1...] { try Data().write(to: name) }
        process.standardInput = try FileHandle(forReadingFrom: names[0])
        process.standardOutput = try FileHandle(forWritingTo: names[1])
        process.standardError = try FileHandle(forWritingTo: names[2])
        try process.run()
        process.waitUntilExit()
        return Ran(
            status: process.terminationStatus, output: try String(contentsOf: names[1], encoding: .utf8),
            errors: try String(contentsOf: names[2], encoding: .utf8))
    }

    /// Runs a command line that must succeed.
    @discardableResult
    package static func sh(_ line: String) throws -> String {
        let ran = try run(["sh", "-c", line])
        guard ran.status == 0 else { throw ShellError(line: line, text: ran.errors + ran.output) }
        return ran.output
    }

    /// Starts a command that goes on; its number. It has no descriptor of ours: Foundation waits until nobody has those of
    /// any program that it started meanwhile.
    package static func background(_ command: String, output: String = "/dev/null") throws -> String {
        let closing = "for f in /proc/self/fd/*; do f=${f##*/}; [ $f -le 2 ] || eval \"exec $f>&-\"; done"
        let line = "bash -c '\(closing); setsid \(command) >\(output) 2>&1 </dev/null & echo $!'"
        return try sh(line).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

package struct ShellError: Error, CustomStringConvertible {
    let line: String
    let text: String
    package var description: String { "\(line): \(text)" }
}

/// A JSON value with access that ends in nil rather than in a crash.
package struct Tree: Sendable, CustomStringConvertible {
    package nonisolated(unsafe) let value: Any?

    package init(_ value: Any?) { self.value = value }

    package init(parsing text: String) throws {
        value = try JSONSerialization.jsonObject(with: Data(text.utf8), options: [.fragmentsAllowed])
    }

    package subscript(key: String) -> Tree { Tree((value as? [String: Any])?[key]) }
    package subscript(index: Int) -> Tree {
        let list = value as? [Any] ?? []
        return Tree(list.indices.contains(index) ? list[index] : nil)
    }
    package var string: String? { value as? String }
    package var int: Int? { value as? Int }
    package var bool: Bool? { value as? Bool }
    package var list: [Tree] { (value as? [Any] ?? []).map { Tree($0) } }
    package var keys: Set<String> { Set((value as? [String: Any] ?? [:]).keys) }
    package var exists: Bool { value != nil }
    package var description: String { "\(value ?? "nothing")" }
}
