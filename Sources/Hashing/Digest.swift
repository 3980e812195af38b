internal import CMD

/// SHA-2, from libmd.
package enum Digest {
    /// 32 bytes.
    package static func sha256Bytes(_ text: String) -> [UInt8] { sha256(Array(text.utf8)) }

    /// 32 bytes.
    package static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        var context = SHA2_CTX()
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        SHA256Init(&context)
        SHA256Update(&context, bytes, bytes.count)
        SHA256Final(&digest, &context)
        return digest
    }

    /// 128 lower-case hexadecimal digits.
    package static func sha512(_ text: String) -> String {
        var context = SHA2_CTX()
        var digest = [UInt8](repeating: 0, count: Int(SHA512_DIGEST_LENGTH))
        SHA512Init(&context)
        SHA512Update(&context, Array(text.utf8), text.utf8.count)
        SHA512Final(&digest, &context)
        return digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
