internal import CLinux
import Linux
internal import Networking

/// Attributes of a reply, while its buffer is alive.
struct AttributeReader {
    let bytes: UnsafeRawBufferPointer

    /// - Throws: for lengths that do not fit.
    func forEach(_ visit: (UInt16, UnsafeRawBufferPointer) throws(SystemError) -> Void) throws(SystemError) {
        var start = 0
        while bytes.count - start >= 4 {
            let length = Int(bytes.loadUnaligned(fromByteOffset: start, as: UInt16.self))
            guard length >= 4, length <= bytes.count - start else {
                throw SystemError(refusing: "read a reply: attribute of \(length) bytes")
            }
            let type = bytes.loadUnaligned(fromByteOffset: start + 2, as: UInt16.self) & 0x3fff
            try visit(type, UnsafeRawBufferPointer(rebasing: bytes[start + 4..<start + length]))
            start += (length + 3) & ~3
        }
    }
}

extension UnsafeRawBufferPointer {
    var asUInt32: UInt32? { count >= 4 ? loadUnaligned(as: UInt32.self) : nil }
    var asInt32: Int32? { count >= 4 ? loadUnaligned(as: Int32.self) : nil }
    var asUInt16: UInt16? { count >= 2 ? loadUnaligned(as: UInt16.self) : nil }
    var asUInt8: UInt8? { first }
    var asBigEndian32: Int32? { asInt32.map { Int32(bigEndian: $0) } }
    var asBigEndian64: UInt64? { count >= 8 ? UInt64(bigEndian: loadUnaligned(as: UInt64.self)) : nil }
    /// Text up to its NUL.
    var asString: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }
    var asMAC: MAC? { MAC(bytes: Array(self)) }
    var asAddress: IPAddress? { IPAddress(wire: Array(self)) }
}

extension IPAddress {
    /// As the kernel sends it: an IPv4-mapped IPv6 address stays IPv6 on the wire.
    init?(wire bytes: [UInt8]) {
        switch bytes.count {
        case 4: self.init(bytes: bytes)
        case 16: self.init(.v6, bits: bytes.reduce(0) { $0 << 8 | UInt128($1) })
        default: return nil
        }
    }
}
