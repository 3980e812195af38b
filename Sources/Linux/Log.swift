internal import CLinux
internal import Glibc
internal import Networking

/// From the fewest messages to the most.
package enum LogLevel: String, Comparable, Sendable, CaseIterable {
    case panic, error, verbose, debug

    package static func < (a: LogLevel, b: LogLevel) -> Bool {
        (allCases.firstIndex(of: a) ?? 0) < (allCases.firstIndex(of: b) ?? 0)
    }
}

/// Lines `<RFC 3339 time> [<level>] <text>` on stderr, in a file, or both. Never fails.
package struct Log: Sendable {
    private let level: LogLevel
    private let file: String?
    private let toStderr: Bool
    private let rotation: LogRotation
    private let listener: (@Sendable (String) -> Void)?

    package static let none = Log(level: .panic, file: nil, toStderr: false)

    package init(level: LogLevel, file: String?, toStderr: Bool, rotation: LogRotation = LogRotation()) {
        self.rotation = rotation
        self.level = level
        self.file = file
        self.toStderr = toStderr
        listener = nil
    }

    /// For who only looks: errors are told, and nothing is written.
    package init(_ listener: @escaping @Sendable (String) -> Void) {
        level = .error
        file = nil
        toStderr = false
        rotation = LogRotation()
        self.listener = listener
    }

    package func error(_ text: @autoclosure () -> String) { write(.error, text) }
    package func verbose(_ text: @autoclosure () -> String) { write(.verbose, text) }
    package func debug(_ text: @autoclosure () -> String) { write(.debug, text) }

    private func write(_ level: LogLevel, _ text: () -> String) {
        guard level <= self.level else { return }
        if let listener { return listener(text()) }
        guard toStderr || file != nil else { return }
        let line = "\(timestamp()) [\(level.rawValue)] \(visible(text()))\n"
        if toStderr { writeStandardError(line) }
        guard let file else { return }
        let bytes = Array(line.utf8)
        do throws(SystemError) {
            let open = try Self.open(file)
            let info = try open.status(file)
            guard info.st_mode & S_IFMT == S_IFREG, rotation.isFull(Int(info.st_size), with: bytes.count)
            else {
                return try open.writeAll(bytes)
            }
            rotation.rotate(file, open)
            try Self.open(file).writeAll(bytes)
        } catch {
            writeStandardError(visible("log file: \(error)") + "\n")
        }
    }
}

extension Log {
    private static func open(_ file: String) throws(SystemError) -> Descriptor {
        // A pipe that nobody reads must not hold us.
        try Descriptor.open(file, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o644)
    }
}

/// Variables of the process's environment.
package enum Environment {
    package static func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

/// Wall clock, for what outlives a boot.
package func secondsSinceEpoch() -> Int64 { Int64(clinux_seconds()) }

/// Now, in UTC, as RFC 3339.
package func timestamp() -> String {
    var time = [CChar](repeating: 0, count: 32)
    clinux_timestamp(&time, time.count)
    return String(decoding: time.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// CLOCK_MONOTONIC.
package func monotonicMilliseconds() -> Int64 { clinux_milliseconds() }
package func monotonicMicroseconds() -> Int64 { clinux_microseconds() }
