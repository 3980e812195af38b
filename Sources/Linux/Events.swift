internal import CLinux
internal import Glibc

/// Goes off at a time of CLOCK_BOOTTIME, also when the machine slept meanwhile.
package struct BootTimer: ~Copyable, Sendable {
    private let descriptor: Descriptor

    package static func open() throws(SystemError) -> BootTimer {
        let raw = clinux_boot_timer()
        guard raw >= 0 else { throw SystemError("make a timer") }
        return BootTimer(descriptor: Descriptor(adopting: raw))
    }

    package var raw: CInt { descriptor.raw }

    /// - Parameter milliseconds: as `bootMilliseconds`; nil stops it.
    package func set(_ milliseconds: Int64?) {
        clinux_set_timer(descriptor.raw, milliseconds.map { max($0, 1) } ?? 0)
    }

    /// Makes it quiet until it is set again.
    package func clear() { drain(descriptor.raw) }
}

/// Tells that the process is to end: SIGTERM, SIGINT or SIGHUP.
package struct StopSignal: ~Copyable, Sendable {
    private let descriptor: Descriptor

    package static func open() throws(SystemError) -> StopSignal {
        let raw = clinux_stop_signals()
        guard raw >= 0 else { throw SystemError("wait for signals") }
        return StopSignal(descriptor: Descriptor(adopting: raw))
    }

    package var raw: CInt { descriptor.raw }

    /// Whether one has come.
    package var isRaised: Bool {
        var poller = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, 0) > 0
    }
}

/// The files of a directory that come and go.
package struct DirectoryWatch: ~Copyable, Sendable {
    private let descriptor: Descriptor

    package static func open(_ path: String) throws(SystemError) -> DirectoryWatch {
        let raw = clinux_watch(path)
        guard raw >= 0 else { throw SystemError("watch \(path)") }
        return DirectoryWatch(descriptor: Descriptor(adopting: raw))
    }

    package var raw: CInt { descriptor.raw }

    /// Its descriptor, which the caller closes.
    package consuming func release() throws(SystemError) -> CInt {
        let raw = dup(descriptor.raw)
        guard raw >= 0 else { throw SystemError("duplicate a descriptor") }
        return raw
    }

    /// The names of files that were renamed into it or deleted since the last call; nil when so many were that the kernel
    /// lost count.
    package func changes() -> Set<String>? {
        var names: Set<String> = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let got = retrying { read(descriptor.raw, &buffer, buffer.count) }
            guard got > 0 else { return names }
            var place = 0
            // struct inotify_event: wd, mask, cookie, len, name.
            while place + 16 <= got {
                let (mask, length) = buffer.withUnsafeBytes { bytes in
                    (
                        bytes.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self),
                        Int(bytes.loadUnaligned(fromByteOffset: place + 12, as: UInt32.self))
                    )
                }
                if mask & UInt32(IN_Q_OVERFLOW) != 0 { return nil }
                let name = buffer[place + 16..<min(place + 16 + length, got)].prefix { $0 != 0 }
                names.insert(String(decoding: name, as: UTF8.self))
                place += 16 + length
            }
        }
    }
}

/// A socket by which others see that somebody is there. Nothing is said over it.
package struct Doorbell: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// The one that systemd passes (sd_listen_fds(3)), or a new one at `path`, whose directory is made. A file there that
    /// nobody listens to gives way.
    ///
    /// - Parameter isPassed: of a socket that systemd removes.
    package static func open(_ path: String, isPassed: inout Bool) throws(SystemError) -> Doorbell {
        if Environment.value("LISTEN_PID") == "\(getpid())", let count = Environment.value("LISTEN_FDS") {
            guard count == "1" else {
                throw SystemError(refusing: "systemd passes \(count) sockets, expected one")
            }
            isPassed = true
            _ = fcntl(3, F_SETFD, FD_CLOEXEC)
            _ = fcntl(3, F_SETFL, O_NONBLOCK)
            return Doorbell(descriptor: Descriptor(adopting: 3))
        }
        try Directory.make("/" + path.split(separator: "/").dropLast().joined(separator: "/"), 0o700)
        switch ring(at: path) {
        case .nobody: break
        case .answered: throw SystemError(refusing: "another daemon listens at \(path)")
        case .somebodyElse:
            throw SystemError(
                refusing: "another program's daemon listens at \(path): end it, or name another socket")
        }
        unlink(path)
        let raw = clinux_listen(path)
        guard raw >= 0 else { throw SystemError("listen at \(path)") }
        return Doorbell(descriptor: Descriptor(adopting: raw))
    }

    package var raw: CInt { descriptor.raw }

    package enum Ring: Equatable, Sendable { case answered, nobody, somebodyElse }

    /// Whether somebody of ours is there: he hangs up at once, others wait for what is said.
    package static func ring(at path: String) -> Ring {
        let raw = clinux_connect(path)
        // A full backlog is somebody who is busy.
        guard raw >= 0 else { return errno == EAGAIN ? .answered : .nobody }
        let line = Descriptor(adopting: raw)
        defer { extendLifetime(line) }
        let deadline = monotonicMilliseconds() + 2000
        guard readable([raw], until: deadline).contains(raw) else { return .somebodyElse }
        var byte: UInt8 = 0
        return recv(raw, &byte, 1, CInt(MSG_DONTWAIT)) == 0 ? .answered : .somebodyElse
    }

    package func answer() { clinux_accept_all(descriptor.raw) }
}

package func somebodyListens(at path: String) -> Bool { clinux_knock(path) == 0 }

/// Waits until one of these is readable.
///
/// - Parameter deadline: in milliseconds of the monotonic clock.
/// - Returns: those that are.
package func readable(_ descriptors: [CInt], until deadline: Int64? = nil) -> Set<CInt> {
    var pollers = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    let left = deadline.map { CInt(clamping: max($0 - monotonicMilliseconds(), 0)) } ?? -1
    guard poll(&pollers, nfds_t(pollers.count), left) > 0 else { return [] }
    return Set(pollers.filter { $0.revents != 0 }.map(\.fd))
}

private func drain(_ raw: CInt) {
    var scrap: UInt64 = 0
    _ = read(raw, &scrap, 8)
}

package func processNumber() -> Int32 { getpid() }

/// One that is gone is no failure.
package func removeFile(_ path: String) { unlink(path) }
