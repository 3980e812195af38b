import DHCP
import IPAM
import JSONC
import Networking

/// What a DHCPv6 server sends.
enum DHCPv6Input {
    @Sendable static func check(_ input: [UInt8]) -> String? {
        guard let message = MessageV6(decoding: input) else { return nil }
        guard MessageV6(decoding: message.encoded()) == message else {
            return "a message that is read otherwise than it was sent"
        }
        _ = (message.nameServers, message.domainSearch, message.preference, message.longestPause)
        return answer(message)
    }

    /// As an answer to each kind of question.
    private static func answer(_ message: MessageV6) -> String? {
        guard let address = IPAddress(parsing: "2001:db8::100"), let source = IPAddress(parsing: "fe80::1")
        else { return "no addresses" }
        let server = message.server ?? [1]
        let client = ClientV6(duid: message.client ?? [0, 4], association: 1, requested: [23])
        let goals: [ExchangeV6.Goal] = [
            .solicit(nil), .solicit(address), .renew(address, server: server), .rebind(address),
            .release(address, server: server), .decline(address, server: server),
        ]
        for goal in goals {
            var exchange = ExchangeV6(client, goal, now: 0)
            for now in [Int64(0), 2000, 5000] {
                guard let sent = exchange.next(now: max(now, min(exchange.wakeup, 1 << 40))) else { continue }
                guard MessageV6(decoding: sent.encoded()) == sent else {
                    return "a question that is read otherwise than it is sent"
                }
                var reply = message
                reply.transaction = sent.transaction
                if case .granted(let grant)? = exchange.take(reply, from: source, now: now),
                    let problem = problem(grant)
                {
                    return problem
                }
            }
        }
        return nil
    }

    private static func problem(_ grant: GrantV6) -> String? {
        let address = grant.address
        if address.address.hostProblem != nil || address.address.family != .v6 || address.address.isLinkLocal
        {
            return "an address that no host can have"
        }
        if address.valid == 0 || address.preferred > address.valid { return "lifetimes in no order" }
        if grant.renewalTime == 0 || grant.rebindingTime < grant.renewalTime { return "times in no order" }
        return nil
    }
}
