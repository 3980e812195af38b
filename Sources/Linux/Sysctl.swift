internal import Glibc

/// Files below /proc/sys, in the calling thread's namespace.
package enum Sysctl {
    /// - Parameter path: `/proc/sys/net/ipv4/ip_forward`. Without the newline at its end.
    package static func read(_ path: String) throws(SystemError) -> String {
        let bytes = try Descriptor.open(path, O_RDONLY).readAll(limit: 1 << 16, name: path, isRegular: true)
        return String(decoding: bytes.last == 0x0a ? bytes.dropLast() : bytes[...], as: UTF8.self)
    }

    package static func write(_ path: String, _ value: String) throws(SystemError) {
        try Descriptor.open(path, O_WRONLY).writeAll(Array(value.utf8), name: path)
    }
}
