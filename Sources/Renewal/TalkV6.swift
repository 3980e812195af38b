import CNI
import DHCP
import Engine
import IPAM
import Linux
import Networking
import Plans

/// About an IPv6 lease that is there; after it, whether anybody else has the address.
final class TalkV6: Dialog {
    enum Outcome {
        case ended(ExchangeV6.Outcome)
        /// The new address is on the link, and nobody else has it.
        case isFree
        /// Somebody else has it.
        case isTaken
    }

    let link: SandboxLink
    /// Of the lease when it began.
    let stage: DHCPRecord.Stage
    var record: DHCPv6Record
    /// What the lease gave before; nil when nobody knows.
    var old: Lease?
    /// When it is given up.
    private(set) var end: Int64
    private let conversation: DHCPv6Conversation
    /// The address that the kernel looks for elsewhere, and when it is asked what it has found.
    private var probed: (grant: GrantV6, next: Int64)?
    /// Milliseconds between looks at an address, and until there is something to see.
    private static let glance: Int64 = 200
    private static let probing: Int64 = 5000
    private static let declining: Int64 = 4000

    var raw: CInt { conversation.raw }
    var wakeup: Int64 { min(probed?.next ?? conversation.exchange.wakeup, end) }

    init(
        _ record: DHCPv6Record, _ link: SandboxLink, _ stage: DHCPRecord.Stage, now: Int64, end: Int64
    ) throws(Failure) {
        self.record = record
        self.link = link
        self.stage = stage
        self.end = end
        let goal: ExchangeV6.Goal =
            switch (stage, record.grant) {
            case (.renewing, let grant?): .renew(grant.address.address, server: grant.server)
            case (.rebinding, let grant?): .rebind(grant.address.address)
            default: .solicit(record.isRefused ? nil : record.grant?.address.address)
            }
        guard let own = try link.linkLocal() else {
            throw Failure(.generic, "there is no link-local address to ask from")
        }
        conversation = try DHCPv6Conversation(
            record.client, goal, over: link, index: record.index, from: own, now: now)
    }

    /// Puts the address on the link, and goes on until the kernel knows whether somebody else has it.
    func probe(_ grant: GrantV6, _ now: Int64) throws(Failure) {
        try link.probe(grant.address.cidr, lifetime: grant.address.lifetime)
        probed = (grant, now + Self.glance)
        end = now + Self.probing
    }

    /// Tells the server that somebody else has it.
    func decline(_ grant: GrantV6, _ now: Int64) {
        conversation.begin(.decline(grant.address.address, server: grant.server), now: now)
        probed = nil
        end = now + Self.declining
    }

    /// Sends what is due, and takes what has come.
    func step(_ now: Int64) throws(Failure) -> Outcome? {
        guard let (grant, next) = probed else {
            return try conversation.step(now).map(Outcome.ended)
        }
        // What is not known by then is found out by the first who has to know.
        if now >= end { return .isFree }
        guard now >= next else { return nil }
        probed = (grant, now + Self.glance)
        // The kernel removes one with a lifetime when somebody else has it.
        guard let found = try link.addresses().first(where: { $0.cidr == grant.address.cidr }),
            !found.isDuplicate
        else { return .isTaken }
        return found.isBeingProbed ? nil : .isFree
    }
}
