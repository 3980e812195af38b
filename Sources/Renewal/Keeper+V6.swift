import CNI
import DHCP
import Engine
import IPAM
import Linux
import Networking
import Plans

extension Keeper {
    func go(on talk: TalkV6, _ name: String, _ now: Int64) {
        do throws(Failure) {
            let outcome = try talk.step(now)
            if outcome == nil, now < talk.end { return }
            switch outcome {
            case .ended(.granted(let grant))?:
                if try take(grant, talk, now) { return }
                end(name, talk.record, due(talk.record, bootMilliseconds()))
            case .isFree?:
                try announce(talk)
                end(name, talk.record, due(talk.record, bootMilliseconds()))
            case .isTaken?:
                if try decline(talk, now) { return }
                end(name, talk.record, now + pause(name))
            case .ended(.refused(let source, let status))?:
                try refuse(talk, source, status)
                end(name, talk.record, now)
            case .ended(.acknowledged)?, nil:
                end(name, talk.record, later(name, talk.record, after: talk.stage, now))
            }
        } catch {
            log.error("\(subject(talk.record.head)): \(error.logged)")
            talks[name] = nil
            agenda.set(name, now + pause(name))
        }
    }

    private func end(_ name: String, _ record: DHCPv6Record, _ next: Int64?) {
        talks[name] = nil
        if !record.isRefused, record.holds() { attempts[name] = nil }
        agenda.set(name, next)
    }

    /// - Returns: whether the talk goes on: the address is another one than is on the link.
    private func take(
        _ grant: GrantV6, _ talk: TalkV6, _ now: Int64
    ) throws(Failure) -> Bool {
        var record = talk.record
        let old = record.grant?.lease(acceptsDNS: record.acceptsDNS)
        let isOther = record.grant?.address.address != grant.address.address
        record.grant = grant
        record.granted = .now()
        record.isRefused = false
        // A DEL was faster.
        guard try update(record, isDurable: isOther) else { return false }
        talk.record = record
        if isOther, let old { try talk.link.remove(old) }
        guard try talk.link.addresses().contains(where: { $0.cidr == grant.address.cidr }) else {
            talk.old = old
            try talk.probe(grant, now)
            return true
        }
        try talk.link.renew(grant.address.cidr, lifetime: grant.address.lifetime)
        log.verbose(
            "\(subject(record.head)): \(grant.source) renewed \(grant.address.address) for \(grant.leaseTime) s"
        )
        return false
    }

    /// The new address may be used.
    private func announce(_ talk: TalkV6) throws(Failure) {
        let record = talk.record
        guard let grant = record.grant else { return }
        let before = talk.old?.ips.first?.address
        let from = before.map { $0 == grant.address.cidr ? " again" : " instead of \($0)" } ?? ""
        log.error("\(subject(record.head)): it has \(grant.address.cidr), of \(grant.source),\(from)")
        // The kernel has removed them with the address.
        try talk.link.add(changed(record, talk.old).filter { $0.destination.family == .v6 })
    }

    /// - Returns: whether the talk goes on.
    private func decline(_ talk: TalkV6, _ now: Int64) throws(Failure) -> Bool {
        guard let grant = talk.record.grant else { return false }
        log.error(
            "\(subject(talk.record.head)): somebody else has \(grant.address.address), of \(grant.source): it is declined"
        )
        talk.record.isRefused = true
        guard try update(talk.record) else { return false }
        talk.decline(grant, now)
        return true
    }

    private func refuse(
        _ talk: TalkV6, _ source: IPAddress, _ status: StatusV6?
    ) throws(Failure) {
        let why = status.map { ": \(visible("\($0)"))" } ?? ", by a lifetime of 0"
        let address = talk.record.grant.map { "\($0.address.address)" } ?? "it"
        log.error("\(subject(talk.record.head)): \(source) takes \(address) back\(why)")
        if let grant = talk.record.grant { try talk.link.remove(grant.address.cidr) }
        talk.record.isRefused = true
        _ = try update(talk.record)
    }

    private func update(_ record: DHCPv6Record, isDurable: Bool = false) throws(Failure) -> Bool {
        do throws(SystemError) { return try records.update(record, isDurable: isDurable) } catch {
            throw Failure(.io, "\(error)")
        }
    }
}
