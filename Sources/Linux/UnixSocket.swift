internal import CLinux
internal import Glibc

/// Sends a line to whoever listens at a path, and waits for one.
///
/// - Parameters:
///   - line: without its end.
///   - limit: bytes of the answer.
///   - deadline: in milliseconds of the monotonic clock.
/// - Returns: the answer without its end; nil when the time was up first.
package func exchange(
    _ line: [UInt8], at path: String, limit: Int, until deadline: Int64
) throws(SystemError) -> [UInt8]? {
    let raw = clinux_connect(path)
    guard raw >= 0 else { throw SystemError("connect to \(path)") }
    let socket = Descriptor(adopting: raw)
    // Its buffer takes what we send.
    try socket.writeAll(line + [UInt8(ascii: "\n")], name: path)
    var answer: [UInt8] = []
    while answer.count <= limit {
        guard !readable([raw], until: deadline).isEmpty else {
            if monotonicMilliseconds() < deadline { continue }
            return nil
        }
        var buffer = [UInt8](repeating: 0, count: 16384)
        let got = retrying { recv(raw, &buffer, buffer.count, CInt(MSG_DONTWAIT)) }
        if got < 0, errno == EAGAIN { continue }
        guard got > 0 else {
            throw got < 0
                ? SystemError("receive from \(path)")
                : SystemError(refusing: "\(path) closed the connection without an answer")
        }
        answer += buffer[..<got]
        if let end = answer.firstIndex(of: UInt8(ascii: "\n")) { return Array(answer[..<end]) }
    }
    throw SystemError(refusing: "the answer of \(path) is longer than \(limit) bytes")
}

/// Sends a line to whoever listens at a path. Nobody waits for it, and one that is lost is no failure.
package func tell(_ line: [UInt8], at path: String) {
    let raw = clinux_connect(path)
    guard raw >= 0 else { return }
    try? Descriptor(adopting: raw).writeAll(line + [UInt8(ascii: "\n")], name: path)
}

/// Tells systemd, if that started us. sd_notify(3).
///
/// - Parameter line: `READY=1` and so on.
package func notifyServiceManager(_ line: String) {
    guard let socket = Environment.value("NOTIFY_SOCKET"), !socket.isEmpty else { return }
    _ = clinux_notify(socket, line)
}
