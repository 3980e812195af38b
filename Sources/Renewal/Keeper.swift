import CNI
import DHCP
import Engine
package import IPAM
package import Linux
package import Networking
package import Plans

/// Renews the leases of a node, in one loop: it sleeps until the next one is due, holds no pod's namespace open meanwhile,
/// and reads a lease's record when it is its turn.
package final class Keeper {
    private let path: String
    /// What stands in front of the paths of pods' namespaces.
    private let prefix: String
    private(set) var records: DHCPRecords
    let log: Log
    /// Told of leases that are others than before, or are there again. Returns the routes that the link is to have then.
    let changed: (any LeaseRecord, _ old: Lease?) -> [Route]
    var agenda = Agenda()
    var talks: [String: any Dialog] = [:]
    /// How many are led at once; each has a socket.
    private static let most = 256
    /// How often one that has ended was asked for in vain.
    var attempts: [String: Int] = [:]
    /// Milliseconds that a server has to answer: some look first whether the address is free.
    private static let patience: Int64 = 10_000
    /// Milliseconds between attempts, at most.
    private static let longestPause: Int64 = 30_000
    /// REN_MAX_RT and REB_MAX_RT of RFC 8415, 7.6.
    private static let longestPauseV6: Int64 = 600_000

    /// - Parameters:
    ///   - path: the records' folder, which is made.
    ///   - prefix: where the node's files are for this process.
    package init(
        _ path: String = DHCPRecords.defaultPath, prefix: String = "", _ log: Log,
        changed: @escaping (any LeaseRecord, _ old: Lease?) -> [Route]
    ) throws(SystemError) {
        self.path = path
        self.prefix = prefix
        records = try DHCPRecords.open(path)
        self.log = log
        self.changed = changed
    }

    /// Until SIGTERM or SIGINT.
    package func run(_ doorbell: borrowing Doorbell) throws(SystemError) {
        let stop = try StopSignal.open()
        try run(doorbell, until: stop.raw)
    }

    /// - Parameter stop: readable when it is to end.
    package func run(_ doorbell: borrowing Doorbell, until stop: CInt) throws(SystemError) {
        let timer = try BootTimer.open()
        var watch = try DirectoryWatch.open(path)
        // Only the folder above tells that one goes which is held open.
        let above = try DirectoryWatch.open(
            "/" + path.split(separator: "/").dropLast().joined(separator: "/"))
        try loadAll()
        try forgetDead()
        while true {
            let next = [agenda.first, talks.values.lazy.map { $0.wakeup }.min()].compactMap(\.self)
                .min()
            timer.set(next)
            let ready = readable(
                [stop, timer.raw, watch.raw, above.raw, doorbell.raw]
                    + talks.values.map { $0.raw })
            if ready.contains(stop) { return }
            if ready.contains(timer.raw) { timer.clear() }
            if ready.contains(doorbell.raw) { doorbell.answer() }
            if ready.contains(watch.raw) {
                if let names = watch.changes() { for name in names { load(name) } } else { try loadAll() }
            }
            if ready.contains(watch.raw) || ready.contains(above.raw) {
                _ = above.changes()
                if !records.isAt(path) {
                    log.error(
                        "\(path) was removed, and is made again: the leases that were there are forgotten")
                    records = try DHCPRecords.open(path)
                    watch = try DirectoryWatch.open(path)
                    try loadAll()
                }
            }
            let now = bootMilliseconds()
            for (name, talk) in talks
            where talk.wakeup <= now || ready.contains(talk.raw) {
                go(on: talk, name, now)
            }
            while talks.count < Self.most, let name = agenda.popDue(now) { begin(name, now) }
        }
    }

    private func loadAll() throws(SystemError) {
        agenda = Agenda()
        for name in try records.names() { load(name) }
    }

    /// Pods may have gone while no daemon ran: their leases are not due for long.
    private func forgetDead() throws(SystemError) {
        for name in try records.names() {
            // What cannot be told now is looked at again when the lease is due.
            do throws(Failure) {
                guard let record = try read(name), record.term != nil, try reach(record.head) == nil else {
                    continue
                }
                log.error("\(subject(record.head)): its pod is gone: the lease is forgotten")
                try forget(name)
            } catch {}
        }
    }

    /// Takes a record in that is new, has changed, or is gone.
    private func load(_ name: String) {
        guard name.hasSuffix(".json"), !name.hasPrefix(".") else { return }
        // Our own writing comes here too.
        guard talks[name] == nil else { return }
        do throws(SystemError) {
            let record = try records.read(name)
            if record == nil { attempts[name] = nil }
            agenda.set(name, record.flatMap { due($0, bootMilliseconds()) })
        } catch {
            agenda.set(name, nil)
            log.error("\(name): \(error)")
        }
    }

    // MARK: When

    /// When a lease is to be looked at; nil for never, as while its ADD still asks.
    func due(_ record: any LeaseRecord, _ now: Int64) -> Int64? {
        if let record = record as? DHCPRecord, record.former != nil { return now }
        guard let (stage, left) = record.stage() else { return nil }
        guard stage == .bound, let term = record.term else { return now }
        // Many pods must not ask in step: RFC 2131, 4.4.5.
        let fuzz = max(Int64(term.rebinding) - Int64(term.renewal), 0) * 1000 / 16
        return now + left + Int64.random(in: 0...fuzz)
    }

    /// When it is tried again after nobody answered: RFC 2131, 4.4.5, but for its minute, which short leases do not have.
    func later(_ name: String, _ record: any LeaseRecord, after tried: DHCPRecord.Stage, _ now: Int64)
        -> Int64
    {
        if let (stage, left) = record.stage(), stage == tried, stage == .renewing || stage == .rebinding {
            let longest = record is DHCPv6Record ? Self.longestPauseV6 : .max
            return now + max(min(left / 2, longest), 1000)
        }
        // The next stage begins at once: others may know the address, or give another one.
        guard tried == .ended || tried == .confirming else { return now }
        return now + pause(name)
    }

    /// 4, 8, ... 30 seconds, a quarter more or less.
    func pause(_ name: String) -> Int64 {
        let count = attempts[name, default: 0]
        attempts[name] = count + 1
        let pause = min(4000 << min(count, 8), Self.longestPause)
        return pause + Int64.random(in: -pause / 4...pause / 4)
    }

    // MARK: One lease

    private func begin(_ name: String, _ now: Int64) {
        do throws(Failure) {
            guard let record = try read(name) else { return }
            let halfDone = (record as? DHCPRecord).flatMap { $0.former != nil && $0.holds() ? $0 : nil }
            guard let (stage, left) = record.stage() ?? (halfDone == nil ? nil : (.bound, left: 0)) else {
                return
            }
            if stage == .bound, halfDone == nil { return agenda.set(name, due(record, now)) }
            guard let link = try reach(record.head) else {
                log.error("\(subject(record.head)): its pod is gone: the lease is forgotten")
                return try forget(name)
            }
            guard let facts = try link.facts() else {
                // Somebody makes it again, or DEL comes.
                guard stage == .ended else {
                    let next = halfDone == nil ? later(name, record, after: stage, now) : now + pause(name)
                    return agenda.set(name, next)
                }
                log.error("\(subject(record.head)): its link is gone: the lease is forgotten")
                return try forget(name)
            }
            if var halfDone {
                try put(&halfDone, link)
                return agenda.set(name, due(halfDone, now))
            }
            if stage == .ended, !record.isRefused, let term = record.term {
                log.error(
                    "\(subject(record.head)): the lease of \(term.address) has ended: \(term.server) did not renew it"
                )
                // The kernel does not count the time that a machine sleeps.
                if let old = record.lease() { try link.remove(old) }
            }
            let end = now + (stage == .ended ? Self.patience : min(max(left, 1000), Self.patience))
            let talk: (any Dialog)? =
                switch record {
                case let record as DHCPRecord:
                    try self.talk(record, link, stage, facts, left: left, now: now, end: end)
                case let record as DHCPv6Record: try TalkV6(record, link, stage, now: now, end: end)
                default: nil
                }
            guard let talk else { return }
            talks[name] = talk
            go(on: talk, name, now)
        } catch {
            log.error("\(name): \(error.logged)")
            agenda.set(name, now + pause(name))
        }
    }

    private func talk(
        _ record: DHCPRecord, _ link: SandboxLink, _ stage: DHCPRecord.Stage, _ facts: LinkFacts, left: Int64,
        now: Int64, end: Int64
    ) throws(Failure) -> Talk {
        var record = record
        // A plugin behind the address source may give the link another MAC address, and so may the pod. The server knows
        // the lease by the old one; answers to a new question come to the new one.
        if stage == .ended || stage == .confirming, let mac = facts.mac { record.client.hardware = mac }
        let goal: Exchange.Goal =
            switch (stage, record.grant) {
            case (.renewing, let grant?): .renew(grant.address, server: grant.server)
            case (.rebinding, let grant?): .rebind(grant.address)
            case (.confirming, let grant?): .confirm(grant.address)
            default: .discover(record.isRefused ? nil : record.grant?.address)
            }
        let conversation = try DHCPConversation(
            record.client, goal, isProbing: record.terms.isProbing, left: left, over: link,
            index: facts.index,
            now: now)
        return Talk(record: record, link: link, stage: stage, end: end, conversation: conversation)
    }

    private func read(_ name: String) throws(Failure) -> (any LeaseRecord)? {
        do throws(SystemError) { return try records.read(name) } catch { throw Failure(.io, "\(error)") }
    }

    private func forget(_ name: String) throws(Failure) {
        do throws(SystemError) { try records.remove(name) } catch { throw Failure(.io, "\(error)") }
    }

    /// The link in its namespace, at whatever path that is by now; nil when the namespace is gone.
    private func reach(_ record: LeaseHead) throws(Failure) -> SandboxLink? {
        if let link = try reach(record, at: prefix + record.sandbox) { return link }
        // This looks at all processes of the node.
        guard let path = record.namespace?.path() else { return nil }
        return try reach(record, at: path)
    }

    private func reach(_ record: LeaseHead, at path: String) throws(Failure) -> SandboxLink? {
        let kernel = try Kernel.open(sandbox: path, mayBeGone: true)
        guard let found = try kernel.sandboxIdentity() else { return nil }
        if let wanted = record.namespace, !found.isSame(as: wanted) { return nil }
        return SandboxLink(kernel, record.id.interface, index: record.index, at: path)
    }

    private func go(on talk: any Dialog, _ name: String, _ now: Int64) {
        switch talk {
        case let talk as Talk: go(on: talk, name, now)
        case let talk as TalkV6: go(on: talk, name, now)
        default: break
        }
    }

    private func go(on talk: Talk, _ name: String, _ now: Int64) {
        do throws(Failure) {
            let outcome = try talk.conversation.step(now)
            if outcome == nil, now < talk.end { return }
            talks[name] = nil
            for (grant, holder) in talk.conversation.exchange.conflicts {
                log.error(
                    "\(subject(talk.record.head)): \(grant.address), which \(grant.server) granted, is used by \(holder)"
                )
            }
            guard let outcome else {
                return agenda.set(name, later(name, talk.record, after: talk.stage, now))
            }
            attempts[name] = nil
            var record = talk.record
            switch outcome {
            case .granted(let grant): try take(grant, &record, talk)
            case .refused(let server, let text): try refuse(&record, server, text, talk.link)
            }
            agenda.set(name, due(record, bootMilliseconds()))
        } catch {
            talks[name] = nil
            log.error("\(subject(talk.record.head)): \(error.logged)")
            agenda.set(name, now + pause(name))
        }
    }

    private func take(
        _ grant: Grant, _ record: inout DHCPRecord, _ talk: Talk
    ) throws(Failure) {
        let link = talk.link
        var grant = grant
        // A server that says nothing of the mask again has not changed it.
        if grant.prefixLength == nil, let known = record.grant, known.address == grant.address {
            grant.options[Option.subnetMask] = known.options[Option.subnetMask]
        }
        guard let lease = record.terms.lease(grant) else {
            throw Failure(.generic, "\(grant.server) granted \(grant.address) without a mask")
        }
        guard grant.leaseTime > 0 else {
            throw Failure(.generic, "\(grant.server) granted \(grant.address) for no time")
        }
        let former = record.former ?? record.grant
        let old = former.flatMap(record.terms.lease)
        let isOther = old?.ips.map(\.address) != lease.ips.map(\.address)
        // Routes go with an address, whoever took it away.
        var isThere = true
        for ip in lease.ips where isThere { isThere = try link.has(ip.address) }
        let isNew = isOther || record.former != nil || record.isUnconfirmed || !isThere
        record.grant = grant
        record.granted = .ago(bootMilliseconds() - talk.conversation.exchange.asked)
        record.isRefused = false
        record.isUnconfirmed = false
        record.former = isNew ? former : nil
        // A DEL was faster.
        guard try update(record, isDurable: isOther) else { return }
        if isNew {
            talk.conversation.announce(grant.address)
            return try put(&record, link)
        }
        let rest = record.lease()
        for ip in lease.ips { try link.renew(ip.address, lifetime: rest?.uses[ip.address]?.lifetime) }
        let before = old?.routes ?? []
        guard before != lease.routes || old?.dns != lease.dns else {
            return log.verbose(
                "\(subject(record.head)): \(grant.server) renewed \(grant.address) for \(grant.leaseTime) s")
        }
        log.error(
            "\(subject(record.head)): \(grant.server) renewed \(grant.address), with other routes or DNS")
        try link.remove(before.filter { !lease.routes.contains($0) })
        let routes = changed(record, old)
        try link.add(routes.filter { lease.routes.contains($0) && !before.contains($0) })
    }

    /// Puts what was granted on the link, in the place of what was there before. Who is killed on the way begins with that.
    private func put(_ record: inout DHCPRecord, _ link: SandboxLink) throws(Failure) {
        guard let grant = record.grant, let lease = record.lease() else {
            throw Failure(.generic, "its lease has no mask")
        }
        let old = record.former.flatMap(record.terms.lease)
        let isOther = old?.ips.map(\.address) != lease.ips.map(\.address)
        if let old {
            if isOther { try link.remove(old) }
            try link.remove(old.routes.filter { !lease.routes.contains($0) })
        }
        for ip in lease.ips { try link.renew(ip.address, lifetime: lease.uses[ip.address]?.lifetime) }
        let way = isOther ? old?.ips.first.map { "instead of \($0.address.address)" } ?? "at last" : "again"
        log.error("\(subject(record.head)): it has \(grant.address), of \(grant.server), \(way)")
        try link.add(changed(record, old).filter { $0.destination.family == .v4 })
        record.former = nil
        _ = try update(record)
    }

    private func update(_ record: DHCPRecord, isDurable: Bool = false) throws(Failure) -> Bool {
        do throws(SystemError) { return try records.update(record, isDurable: isDurable) } catch {
            throw Failure(.io, "\(error)")
        }
    }

    /// The address is not to be used any more.
    private func refuse(
        _ record: inout DHCPRecord, _ server: IPAddress, _ text: String?, _ link: SandboxLink
    ) throws(Failure) {
        let why = text.map { ": \(visible($0))" } ?? ""
        log.error(
            "\(subject(record.head)): \(server) refused \(record.grant.map { "\($0.address)" } ?? "it") (NAK)\(why)"
        )
        if let old = record.grant.flatMap(record.terms.lease) { try link.remove(old) }
        record.isRefused = true
        _ = try update(record)
    }

    func subject(_ record: LeaseHead) -> String {
        let pod = record.pod.isEmpty ? "" : "pod \(record.pod), "
        return "\(pod)container \(record.id.containerID) \(record.id.interface)"
    }
}
