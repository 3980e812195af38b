package import CNI
package import DHCP
package import Linux
package import Networking
package import Plans

/// An exchange that is led over a pod's link.
package final class DHCPConversation {
    package let socket: PacketSocket
    package private(set) var exchange: Exchange
    /// Why the last message could not be sent.
    package private(set) var problem: SystemError?
    private let client: Client
    private let link: any LinkAccess
    private let index: Int32

    /// - Parameters:
    ///   - isProbing: a new address is used only when nobody on the link has it.
    ///   - left: milliseconds in which more time is of use, for a lease that is there.
    ///   - index: of the link.
    ///   - now: of the clock that `step` is given too.
    package init(
        _ client: Client, _ goal: Exchange.Goal, isProbing: Bool, left: Int64? = nil,
        over link: any LinkAccess, index: Int32, now: Int64
    ) throws(Failure) {
        self.link = link
        self.index = index
        self.client = client
        let isNew = if case .discover = goal { true } else { false }
        let exchange = Exchange(
            client, goal, isProbing: isNew && isProbing, within: isNew ? nil : left, now: now)
        self.exchange = exchange
        var opened: PacketSocket?
        try link.inside { () throws(Failure) in
            do throws(SystemError) {
                opened = try PacketSocket.open(index: index, hearsARP: exchange.isProbing)
            } catch {
                throw Failure(.generic, "\(error)")
            }
        }
        guard let opened else { throw Failure(.generic, "there is no packet socket") }
        socket = opened
    }

    /// Sends what is due, and takes what has come.
    package func step(_ now: Int64) throws(Failure) -> Exchange.Outcome? {
        do throws(SystemError) {
            if let outcome = try exchange.take(from: socket, now: now) { return outcome }
        } catch {
            throw Failure(.generic, "\(error)")
        }
        guard let action = exchange.next(now: now) else { return nil }
        if case .end(let outcome) = action { return outcome }
        problem = nil
        // A link that is down for a while is no reason to give up; the next try is due soon.
        do throws(SystemError) {
            switch action {
            case .send(let message, let way): try send(message.encoded(), way)
            case .probe(let packet): try socket.broadcast(packet, isARP: true)
            case .end: break
            }
        } catch {
            problem = error
        }
        return nil
    }

    /// Tells the hosts on the link whose an address is now.
    package func announce(_ address: IPAddress) {
        // Who does not hear it asks.
        try? socket.broadcast(client.announcement(of: address), isARP: true)
    }

    private func send(_ bytes: [UInt8], _ way: Exchange.Way) throws(SystemError) {
        let (source, target) =
            switch way {
            case .broadcast(let source): (source, IPAddress.broadcast)
            case .unicast(let source, let target): (source, target)
            }
        if case .unicast = way, (try? unicast(bytes, source, target)) == true { return }
        // Without the address on the link nothing can be sent from it by the kernel.
        let datagram = Datagram(from: source, Datagram.clientPort, to: target, Datagram.serverPort, bytes)
        try socket.broadcast(datagram.encoded())
    }

    private func unicast(_ bytes: [UInt8], _ source: IPAddress, _ target: IPAddress) throws(Failure) -> Bool {
        var isSent = false
        try link.inside { () throws(Failure) in
            do throws(SystemError) {
                try sendFromClientPort(index: index, source.number, to: target.number, bytes)
                isSent = true
            } catch {}
        }
        return isSent
    }
}

extension Exchange {
    /// Takes what has come on a socket.
    fileprivate mutating func take(
        from socket: borrowing PacketSocket, now: Int64
    ) throws(SystemError) -> Outcome? {
        while let (packet, hasChecksum) = try socket.receive() {
            guard let datagram = Datagram(decoding: packet, hasChecksum: hasChecksum),
                let reply = Message(decoding: datagram.payload)
            else {
                take(arp: packet, now: now)
                continue
            }
            if let outcome = take(reply, from: datagram.source, now: now) { return outcome }
        }
        return nil
    }
}
