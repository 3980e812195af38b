/// How long an address may be used, in seconds; `UInt32.max` is without end. RFC 4862, section 5.5.4.
package struct Lifetime: Equatable, Sendable {
    /// For new connections. An IPv6 address is deprecated afterwards.
    package var preferred: UInt32
    /// At all: then the kernel removes it.
    package var valid: UInt32

    package init(preferred: UInt32, valid: UInt32) {
        self.preferred = preferred
        self.valid = valid
    }

    /// Both the same; nil without an end.
    package init?(_ seconds: UInt32?) {
        guard let seconds else { return nil }
        self.init(preferred: seconds, valid: seconds)
    }

    package static let endless = Lifetime(preferred: .max, valid: .max)

    /// What is left of it later.
    ///
    /// - Parameter seconds: not negative.
    package func after(_ seconds: Int64) -> Lifetime {
        func rest(_ whole: UInt32, _ least: Int64) -> UInt32 {
            whole == .max ? whole : UInt32(clamping: max(Int64(whole) - seconds, least))
        }
        // The kernel takes no address that has ended.
        return Lifetime(preferred: rest(preferred, 0), valid: rest(valid, 1))
    }
}
