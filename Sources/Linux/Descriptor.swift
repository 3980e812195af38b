internal import CLinux
internal import Glibc

/// An owned file descriptor, close-on-exec, closed when the value goes away.
package struct Descriptor: ~Copyable, Sendable {
    package let raw: CInt

    package init(adopting raw: CInt) { self.raw = raw }

    deinit { close(raw) }

    /// - Parameters:
    ///   - flags: fcntl.h, O_…; O_CLOEXEC is added.
    ///   - parent: the path of `directory`, for errors.
    static func open(
        _ path: String, _ flags: CInt, mode: UInt32 = 0o600, in directory: CInt = AT_FDCWD,
        below parent: String = ""
    ) throws(SystemError) -> Descriptor {
        // A NUL ends the path in C: another file would be opened.
        guard !path.utf8.contains(0) else { throw SystemError(operation: "open \(path)", code: .invalid) }
        let raw = retrying { clinux_openat(directory, path, flags | O_CLOEXEC, mode) }
        guard raw >= 0 else {
            let code = Errno.last
            throw SystemError(operation: "open \(parent.isEmpty ? path : "\(parent)/\(path)")", code: code)
        }
        return Descriptor(adopting: raw)
    }

    func status(_ name: @autoclosure () -> String) throws(SystemError) -> stat {
        var info = stat()
        guard fstat(raw, &info) == 0 else { throw SystemError("stat \(name())") }
        return info
    }

    /// - Parameter isRegular: a read that returns less than asked for was the last one.
    package func readAll(limit: Int, name: String = "file", isRegular: Bool = false) throws(SystemError)
        -> [UInt8]
    {
        try Self.readAll(raw, limit: limit, name: name, isRegular: isRegular)
    }

    /// - Parameter waits: for data, also when the descriptor is non-blocking.
    static func readAll(
        _ raw: CInt, limit: Int, name: String, isRegular: Bool, waits: Bool = false
    ) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        let size = 16384
        while true {
            var code: CInt = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
                let got = retrying { read(raw, buffer.baseAddress, size) }
                code = got < 0 ? errno : 0
                count = max(got, 0)
            }
            if code == EAGAIN, waits {
                _ = becomesReady(raw, POLLIN, within: -1)
                continue
            }
            guard code == 0 else { throw SystemError(operation: "read \(name)", code: Errno(rawValue: code)) }
            if bytes.isEmpty { bytes = chunk } else { bytes += chunk }
            if chunk.isEmpty || (isRegular && chunk.count < size) { return bytes }
            guard bytes.count <= limit else {
                throw SystemError(refusing: "\(name) has more than \(limit) bytes")
            }
        }
    }

    package func writeAll(_ bytes: [UInt8], name: String = "file") throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                retrying { write(raw, buffer.baseAddress.map { $0 + done }, bytes.count - done) }
            }
            guard count > 0 else { throw SystemError("write \(name)") }
            done += count
        }
    }
}

/// Refuses what is no regular file: a device may have no end, and a pipe waits for its writer.
func requireRegular(_ info: stat, _ name: @autoclosure () -> String) throws(SystemError) {
    guard info.st_mode & S_IFMT == S_IFREG else {
        throw SystemError(refusing: "\(name()) is no regular file")
    }
}

/// The content of a regular file.
///
/// - Parameter waits: for somebody who watches: a pipe is read to its end, however long its writer takes.
package func readFile(_ path: String, limit: Int, waits: Bool = false) throws(SystemError) -> [UInt8] {
    let file = try Descriptor.open(path, O_RDONLY | (waits ? 0 : O_NONBLOCK))
    if !waits { try requireRegular(file.status(path), path) }
    return try file.readAll(limit: limit, name: path)
}

package func readStandardInput(limit: Int) throws(SystemError) -> [UInt8] {
    // It stays open: otherwise the next file that is opened would get number 0, and be a child's stdin.
    try Descriptor.readAll(0, limit: limit, name: "stdin", isRegular: false, waits: true)
}

/// Milliseconds that a runtime has to read what it asked for: locks are held meanwhile.
package let patience: CInt = 10_000

/// - Parameter milliseconds: for all of it; -1 has no limit.
/// - Returns: false when not all of it could be written.
@discardableResult
package func writeStandardOutput(_ text: String, within milliseconds: CInt = -1) -> Bool {
    writeText(text, to: 1, milliseconds)
}
/// A failure is ignored: there is nobody to tell.
package func writeStandardError(_ text: String) { _ = writeText(text, to: 2, patience) }

/// In pieces that a pipe takes whole once it takes anything (pipe(7)): no write waits longer than we do.
private func writeText(_ text: String, to descriptor: CInt, _ milliseconds: CInt) -> Bool {
    let end = clinux_milliseconds() + Int64(milliseconds)
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let left = milliseconds < 0 ? -1 : CInt(max(0, end - clinux_milliseconds()))
        guard becomesReady(descriptor, POLLOUT, within: left) else {
            // After an incomplete text nothing more is written: it would be of no use, and would wait again.
            let nobody = clinux_openat(AT_FDCWD, "/dev/null", O_WRONLY | O_CLOEXEC, 0)
            dup2(nobody, descriptor)
            return false
        }
        let count = bytes.withUnsafeBytes { buffer in
            retrying { write(descriptor, buffer.baseAddress, min(buffer.count, Int(PIPE_BUF))) }
        }
        if count < 0, errno == EAGAIN { continue }
        guard count > 0 else { return false }
        bytes = bytes.dropFirst(count)
    }
    return true
}

/// - Returns: false when the time was up first.
private func becomesReady(_ descriptor: CInt, _ event: CInt, within milliseconds: CInt) -> Bool {
    var wanted = pollfd(fd: descriptor, events: Int16(event), revents: 0)
    return retrying { poll(&wanted, 1, milliseconds) } != 0
}

package func isTerminal(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 }

/// Called before anything else: no file that is opened may become stdout, and a runtime that closes its pipe must not
/// kill a DEL half-way.
package func prepareProcess() { clinux_prepare() }

/// The last component of argv[0], without a list of all arguments; empty if the caller gave none.
///
/// - Returns: also whether arguments follow.
package func program() -> (name: String, hasArguments: Bool) {
    var count: CInt = 0
    guard let path = clinux_arguments(&count)?[0] else { return ("", false) }
    return (String(cString: strrchr(path, 0x2f).map { $0 + 1 } ?? path), count > 1)
}

/// Ends at once: everything is written, and the kernel frees memory faster than the runtime does.
package func exitProcess(_ status: Int32) -> Never { _exit(status) }
