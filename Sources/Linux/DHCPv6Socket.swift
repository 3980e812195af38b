internal import CLinux
internal import Glibc
package import Networking

/// A socket of a DHCPv6 client, by which it reaches all servers on a link. RFC 8415, 7.
package struct DHCPv6Socket: ~Copyable, Sendable {
    private let descriptor: Descriptor
    private let index: Int32
    private static let size = 8192

    /// In the calling thread's namespace, which the socket then keeps.
    ///
    /// - Parameters:
    ///   - index: of the link.
    ///   - source: its link-local address.
    package static func open(index: Int32, from source: IPAddress) throws(SystemError) -> DHCPv6Socket {
        let raw = source.bytes.withUnsafeBytes { clinux_dhcp6_socket(index, $0.baseAddress) }
        guard raw >= 0 else { throw SystemError("open port 546 of \(source)") }
        return DHCPv6Socket(descriptor: Descriptor(adopting: raw), index: index)
    }

    package var raw: CInt { descriptor.raw }

    package func send(_ message: [UInt8]) throws(SystemError) {
        let sent = message.withUnsafeBytes { bytes in
            retrying { clinux_dhcp6_send(descriptor.raw, index, bytes.baseAddress, bytes.count) }
        }
        guard sent >= 0 else { throw SystemError("send to the DHCPv6 servers") }
    }

    /// A message that has come, and from where; nil when there is none.
    package func receive() throws(SystemError) -> (message: [UInt8], source: IPAddress)? {
        while true {
            var sender = [UInt8](repeating: 0, count: 16)
            var (code, whole) = (CInt(0), 0)
            let message = [UInt8](unsafeUninitializedCapacity: Self.size) { buffer, count in
                whole = retrying {
                    clinux_dhcp6_receive(descriptor.raw, buffer.baseAddress, Self.size, &sender)
                }
                code = whole < 0 ? errno : 0
                count = min(max(whole, 0), Self.size)
            }
            // Nothing, and what ICMP says of a port that nobody listens to.
            if [EAGAIN, ECONNREFUSED, ENETDOWN, EHOSTUNREACH, ENETUNREACH].contains(code) { return nil }
            guard code == 0 else {
                throw SystemError(operation: "receive from a DHCPv6 server", code: Errno(rawValue: code))
            }
            guard whole <= Self.size, let source = IPAddress(bytes: sender) else { continue }
            return (message, source)
        }
    }
}
