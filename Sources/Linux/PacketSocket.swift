internal import CLinux
internal import Glibc

/// A socket that hears DHCP's answers on a link that may have no address yet. packet(7).
package struct PacketSocket: ~Copyable, Sendable {
    private let descriptor: Descriptor
    private let index: Int32

    /// In the calling thread's namespace, which the socket then keeps.
    ///
    /// - Parameters:
    ///   - index: of the link.
    ///   - hearsARP: `receive` has the others' ARP packets too.
    package static func open(index: Int32, hearsARP: Bool = false) throws(SystemError) -> PacketSocket {
        let raw = clinux_dhcp_socket(index, hearsARP ? 1 : 0)
        guard raw >= 0 else { throw SystemError("open a packet socket") }
        return PacketSocket(descriptor: Descriptor(adopting: raw), index: index)
    }

    package var raw: CInt { descriptor.raw }

    /// Sends an IPv4 packet, or one of ARP, to all hosts on the link.
    package func broadcast(_ packet: [UInt8], isARP: Bool = false) throws(SystemError) {
        let sent = packet.withUnsafeBytes { bytes in
            retrying {
                clinux_dhcp_broadcast(descriptor.raw, index, isARP ? 1 : 0, bytes.baseAddress, bytes.count)
            }
        }
        guard sent >= 0 else { throw SystemError("send to the link") }
    }

    /// An IPv4 packet that has come; nil when there is none.
    ///
    /// - Returns: also whether the checksum of what is in it was made by the sender.
    package func receive() throws(SystemError) -> (packet: [UInt8], hasChecksum: Bool)? {
        var hasChecksum: CInt = 1
        var code: CInt = 0
        let packet = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            let got = retrying { clinux_dhcp_receive(descriptor.raw, buffer.baseAddress, 4096, &hasChecksum) }
            code = got < 0 ? errno : 0
            count = max(got, 0)
        }
        if code == EAGAIN { return nil }
        // A link that went down says so once.
        if code == ENETDOWN { return nil }
        guard code == 0 else {
            throw SystemError(operation: "receive from the link", code: Errno(rawValue: code))
        }
        return (packet, hasChecksum != 0)
    }

    /// - Returns: false when the time was up first.
    package func wait(milliseconds: Int64) -> Bool {
        var poller = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, CInt(clamping: max(milliseconds, 0))) > 0
    }
}

/// Sends a datagram from port 68 of an address of the link's, in the calling thread's namespace, to port 67 of a host.
///
/// - Parameters:
///   - source, target: IPv4 addresses, as numbers.
package func sendFromClientPort(
    index: Int32, _ source: UInt32, to target: UInt32, _ bytes: [UInt8]
) throws(SystemError) {
    let status = bytes.withUnsafeBytes { clinux_dhcp_send(index, source, target, $0.baseAddress, $0.count) }
    guard status == 0 else { throw SystemError("send to a DHCP server") }
}

/// CLOCK_BOOTTIME in milliseconds: it goes on while the machine sleeps.
package func bootMilliseconds() -> Int64 { clinux_boot_milliseconds() }
