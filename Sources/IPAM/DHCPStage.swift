import DHCP

extension DHCPRecord {
    /// Whom is to be asked for more time: nobody yet, the lease's server, any server; or for another lease.
    package enum Stage: String, Sendable {
        case bound, renewing, rebinding, ended
        /// Any server, whether the lease holds where the link is now.
        case confirming
    }
}

extension LeaseRecord {
    /// The stage of a lease, and how many milliseconds are left of it; nil while its ADD asks, and for one without an end.
    package func stage(at now: LeaseHead.Instant = .now()) -> (DHCPRecord.Stage, left: Int64)? {
        if head.isRefused { return (.ended, 0) }
        guard let term, let granted = head.granted, let age = age(at: now).map({ $0 * 1000 }) else {
            return nil
        }
        // RFC 2131, 4.4.2: after a reboot, and wherever the network may be another one.
        let isOtherBoot = !granted.boot.isEmpty && !now.boot.isEmpty && granted.boot != now.boot
        let isMoved = Self.isConfirmed && (head.isUnconfirmed || isOtherBoot)
        let ends: [(DHCPRecord.Stage, UInt32)] =
            isMoved
            ? [(.confirming, term.end)]
            : [(.bound, term.renewal), (.renewing, term.rebinding), (.rebinding, term.end)]
        if term.end == .max { return isMoved ? (.confirming, left: .max / 2) : nil }
        for (stage, end) in ends where age < Int64(end) * 1000 { return (stage, Int64(end) * 1000 - age) }
        return (.ended, 0)
    }
}
