package import CNI
package import DHCP
package import Linux
package import Networking
package import Plans

/// An exchange about an IPv6 address that is led over a pod's link.
package final class DHCPv6Conversation {
    package private(set) var exchange: ExchangeV6
    /// Why the last message could not be sent.
    package private(set) var problem: SystemError?
    private let client: ClientV6
    private let socket: DHCPv6Socket

    /// Readable when an answer has come.
    package var raw: CInt { socket.raw }

    /// - Parameters:
    ///   - index: of the link.
    ///   - own: the link-local address.
    ///   - now: of the clock that `step` is given too.
    package init(
        _ client: ClientV6, _ goal: ExchangeV6.Goal, over link: any LinkAccess, index: Int32,
        from own: IPAddress,
        now: Int64
    ) throws(Failure) {
        self.client = client
        exchange = ExchangeV6(client, goal, now: now)
        var opened: DHCPv6Socket?
        try link.inside { () throws(Failure) in
            do throws(SystemError) { opened = try DHCPv6Socket.open(index: index, from: own) } catch {
                throw Failure(.generic, "\(error)")
            }
        }
        guard let opened else { throw Failure(.generic, "there is no socket") }
        socket = opened
    }

    /// Goes on with something else.
    package func begin(_ goal: ExchangeV6.Goal, now: Int64) { exchange = ExchangeV6(client, goal, now: now) }

    /// Sends what is due, and takes what has come.
    package func step(_ now: Int64) throws(Failure) -> ExchangeV6.Outcome? {
        do throws(SystemError) {
            while let (bytes, source) = try socket.receive() {
                guard let reply = MessageV6(decoding: bytes) else { continue }
                if let outcome = exchange.take(reply, from: source, now: now) { return outcome }
            }
        } catch {
            throw Failure(.generic, "\(error)")
        }
        if let message = exchange.next(now: now) {
            problem = nil
            // A link that is down for a while is no reason to give up; the next try is due soon.
            do throws(SystemError) { try socket.send(message.encoded()) } catch { problem = error }
        }
        return nil
    }

    /// Until the server has answered, or the time is up.
    func settle(until end: Int64) throws(Failure) -> ExchangeV6.Outcome? {
        while true {
            let now = monotonicMilliseconds()
            if let outcome = try step(now) { return outcome }
            guard now < end else { return nil }
            _ = readable([raw], until: min(exchange.wakeup, end))
        }
    }
}

extension LinkAccess {
    /// The address from which servers are asked; nil while there is none that may be used.
    package func linkLocal() throws(Failure) -> IPAddress? {
        try addresses().first { $0.cidr.address.isLinkLocal && $0.isUsable }?.cidr.address
    }
}

extension DHCPSource {
    /// RELEASE, if the pod can be reached; repeated once when the server does not say that it has heard it.
    static func giveBack(_ record: DHCPv6Record, _ link: (any LinkAccess)?) {
        guard let grant = record.grant, record.holds(), let link, let own = record.namespace,
            let found = (try? link.namespace) ?? nil, own.isSame(as: found)
        else { return }
        do throws(Failure) {
            // RFC 8415, 18.2.7: it is used no more.
            try link.remove(grant.address.cidr)
            guard let source = try link.linkLocal() else { return }
            let goal = ExchangeV6.Goal.release(grant.address.address, server: grant.server)
            let start = monotonicMilliseconds()
            let conversation = try DHCPv6Conversation(
                record.client, goal, over: link, index: record.index, from: source, now: start)
            // A DEL has no time for the second until RFC 8415 repeats it.
            if try conversation.settle(until: start + 250) != nil { return }
            conversation.begin(goal, now: monotonicMilliseconds())
            _ = try conversation.settle(until: start + 500)
        } catch {}
    }
}
