import DHCP

extension DHCPRecord {
    /// Whom is to be asked for more time: nobody yet, the lease's server, any server; or for another lease.
    package enum Stage: String, Sendable { case bound, renewing, rebinding, ended }
}

extension LeaseRecord {
    /// The stage of a lease, and how many milliseconds are left of it; nil while its ADD asks, and for one without an end.
    package func stage(at now: LeaseHead.Instant = .now()) -> (DHCPRecord.Stage, left: Int64)? {
        if head.isRefused { return (.ended, 0) }
        guard let term, let age = age(at: now).map({ $0 * 1000 }), term.end != .max else { return nil }
        let ends: [(DHCPRecord.Stage, UInt32)] = [
            (.bound, term.renewal), (.renewing, term.rebinding), (.rebinding, term.end),
        ]
        for (stage, end) in ends where age < Int64(end) * 1000 { return (stage, Int64(end) * 1000 - age) }
        return (.ended, 0)
    }
}
