internal import CLinux
internal import Glibc
internal import Networking

/// What a program returned.
package struct ChildResult: Sendable {
    package enum Status: Equatable, Sendable {
        case exited(CInt)
        case signalled(CInt)
        /// It did not end in time, and its process group was killed.
        case timedOut
        /// Its status could not be read.
        case lost
        /// It printed more than was allowed, and its process group was killed.
        case flooded
        /// We are to end ourselves, and its process group was killed.
        case stopped
    }

    package var status: Status
    package var output: [UInt8]
    package var errors: [UInt8]
}

/// Runs a program to its end: bytes in, bytes and status out.
package enum ChildProcess {
    /// - Parameters:
    ///   - environment: `NAME=value`, all of it.
    ///   - deadline: seconds. A grandchild that keeps stdout open does not hold us longer either.
    ///   - stop: that of a `StopSignal`, which ends the program too.
    package static func run(
        path: String, arguments: [String] = [], environment: [String], input: [UInt8], deadline: Int,
        outputLimit: Int = 8 << 20, stop: CInt? = nil
    ) throws(SystemError) -> ChildResult {
        let end = clinux_milliseconds() + Int64(deadline) * 1000
        // A memfd holds all of the input: no pipe to fill, no SIGPIPE.
        let source = Descriptor(adopting: clinux_memfd("stdin"))
        guard source.raw >= 0 else { throw SystemError("memfd_create") }
        try source.writeAll(input, name: "stdin of \(path)")
        lseek(source.raw, 0, SEEK_SET)
        var output = try Pipe()
        var errors = try Pipe()
        let pid = try spawn([path] + arguments, environment, source, output, errors)
        output.closeWriter()
        errors.closeWriter()
        var result = ChildResult(status: .timedOut, output: [], errors: [])
        let isWhole = collect(output, errors, &result, end, outputLimit, stop ?? -1)
        result.status = wait(for: pid, isWhole, end, stop ?? -1)
        if result.status == .timedOut {
            if result.output.count > outputLimit { result.status = .flooded }
            if isRaised(stop ?? -1) { result.status = .stopped }
        }
        return result
    }

    /// "Text file busy": an installer is replacing it; waits up to five seconds for that.
    private static func spawn(
        _ words: [String], _ environment: [String], _ source: borrowing Descriptor, _ output: borrowing Pipe,
        _ errors: borrowing Pipe
    ) throws(SystemError) -> pid_t {
        var pid: pid_t = 0
        var status: CInt = 0
        for attempt in 0..<50 {
            if attempt > 0 { usleep(100_000) }
            status = withCStrings(words) { arguments in
                withCStrings(environment) { variables in
                    clinux_spawn(
                        &pid, words[0], arguments, variables, source.raw, output.writer, errors.writer)
                }
            }
            if status != ETXTBSY { break }
        }
        guard status == 0 else { throw refusal(words[0], Errno(rawValue: status)) }
        return pid
    }

    /// The kernel says the same of a program that is not there and of one whose interpreter is not.
    private static func refusal(_ path: String, _ code: Errno) -> SystemError {
        let program = shellQuoted(path)
        var (operation, fix) = ("start \(path)", "")
        if let interpreter = interpreter(of: path) {
            operation += ", whose interpreter is \(interpreter)"
            fix =
                interpreter.hasSuffix("\r")
                ? "its lines end as on Windows: sed -i 's/\\r$//' \(program)"
                : "install \(interpreter), or correct the first line of \(path)"
        } else if code.rawValue == ENOEXEC || code == .noSuchFile && isRegularFile(path) {
            fix = "it is no program for this machine and its C library, and a script begins with #!/bin/sh"
        }
        return SystemError(
            operation: operation, code: code, fix: isExecutable(path) ? fix : "chmod +x \(program)")
    }

    /// Of a script.
    private static func interpreter(of path: String) -> String? {
        var start = [UInt8](repeating: 0, count: 256)
        guard let file = try? Descriptor.open(path, O_RDONLY | O_NONBLOCK) else { return nil }
        let count = max(read(file.raw, &start, start.count), 0)
        guard start[..<count].starts(with: "#!".utf8) else { return nil }
        let line = start[2..<count].prefix { $0 != UInt8(ascii: "\n") }
        let word = line.drop { $0 == 0x20 || $0 == 0x09 }.prefix { $0 != 0x20 && $0 != 0x09 }
        return String(decoding: word, as: UTF8.self)
    }

    /// Reads both pipes to their ends.
    ///
    /// - Returns: false when the time or the limit was reached first, or a signal came.
    private static func collect(
        _ output: borrowing Pipe, _ errors: borrowing Pipe, _ result: inout ChildResult, _ end: Int64,
        _ limit: Int, _ stop: CInt
    ) -> Bool {
        var polls = [output.reader, errors.reader, stop].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        var chunk = [UInt8](repeating: 0, count: 16384)
        while polls[..<2].contains(where: { $0.fd >= 0 }) {
            let left = end - clinux_milliseconds()
            guard left > 0 else { return false }
            guard poll(&polls, 3, CInt(left)) >= 0 || errno == EINTR else { return false }
            if polls[2].revents != 0 { return false }
            for index in 0..<2 where polls[index].fd >= 0 && polls[index].revents != 0 {
                let count = retrying { read(polls[index].fd, &chunk, chunk.count) }
                guard count > 0 else {
                    polls[index].fd = -1
                    continue
                }
                if index == 0 {
                    result.output += chunk[..<count]
                    if result.output.count > limit { return false }
                } else {
                    // The end of a long stderr says most.
                    result.errors = (result.errors + chunk[..<count]).suffix(65536)
                }
            }
        }
        return true
    }

    private static func isRaised(_ stop: CInt) -> Bool {
        guard stop >= 0 else { return false }
        var poller = pollfd(fd: stop, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, 0) > 0
    }

    private static func wait(for pid: pid_t, _ isWhole: Bool, _ end: Int64, _ stop: CInt)
        -> ChildResult.Status
    {
        var status: CInt = 0
        while isWhole {
            let found = retrying { waitpid(pid, &status, WNOHANG) }
            if found == pid { return decoded(status) }
            // Somebody else has read its status: the process number may belong to another process by now.
            if found < 0 { return .lost }
            guard clinux_milliseconds() < end, !isRaised(stop) else { break }
            usleep(500)
        }
        kill(-pid, SIGKILL)
        // It may have moved to another process group.
        kill(pid, SIGKILL)
        _ = retrying { waitpid(pid, &status, 0) }
        return .timedOut
    }

    private static func decoded(_ status: CInt) -> ChildResult.Status {
        let signal = status & 0x7f
        return signal == 0 ? .exited(status >> 8 & 0xff) : .signalled(signal)
    }

    private static func withCStrings<R>(_ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R
    {
        let copies = texts.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        return body(copies + [nil])
    }
}

/// Two descriptors, both close-on-exec.
private struct Pipe: ~Copyable {
    let reader: CInt
    private(set) var writer: CInt

    init() throws(SystemError) {
        var both: [CInt] = [-1, -1]
        let status = clinux_pipe(&both)
        reader = both[0]
        writer = both[1]
        guard status == 0 else { throw SystemError("pipe") }
    }

    deinit {
        close(reader)
        if writer >= 0 { close(writer) }
    }

    mutating func closeWriter() {
        close(writer)
        writer = -1
    }
}
