internal import Glibc

/// Files below /proc/sys, in the calling thread's namespace.
package enum Sysctl {
    /// - Parameter path: `/proc/sys/net/ipv4/ip_forward`. Without the newline at its end.
    package static func read(_ path: String) throws(SystemError) -> String {
        let bytes = try Descriptor.open(path, O_RDONLY).readAll(limit: 1 << 16, name: path, isRegular: true)
        return String(decoding: bytes.last == 0x0a ? bytes.dropLast() : bytes[...], as: UTF8.self)
    }

    /// Writes only when the value differs: a file that cannot be written may have the right value already.
    package static func ensure(_ path: String, _ value: String) throws(SystemError) {
        do throws(SystemError) { try ensureWritable(path, value) } catch {
            guard (try? read(path)) == value else { throw error }
        }
    }

    private static func ensureWritable(_ path: String, _ value: String) throws(SystemError) {
        let file = try Descriptor.open(path, O_RDWR)
        let bytes = try file.readAll(limit: 1 << 16, name: path, isRegular: true)
        guard bytes != Array(value.utf8), bytes != Array(value.utf8) + [0x0a] else { return }
        let text = written(value)
        // At the start: the kernel drops what is written behind it.
        guard retrying({ pwrite(file.raw, text, text.count, 0) }) == text.count else {
            throw SystemError("write \(path)")
        }
    }

    package static func write(_ path: String, _ value: String) throws(SystemError) {
        try Descriptor.open(path, O_WRONLY).writeAll(written(value), name: path)
    }

    /// The kernel is not asked at all for a text without a byte: an empty value is written as its newline.
    private static func written(_ value: String) -> [UInt8] { value.isEmpty ? [0x0a] : Array(value.utf8) }
}
