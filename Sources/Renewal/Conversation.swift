import CNI
import DHCP
import Engine
import IPAM
import Linux
import Network
import Plans

/// One that is being led about a lease that is there.
final class Conversation {
    let record: DHCPRecord
    let link: SandboxLink
    let socket: PacketSocket
    /// When it is given up.
    let end: Int64
    /// Of the lease when it began.
    var stage = DHCPRecord.Stage.ended
    /// Addresses that somebody else uses.
    var conflicts: [(grant: Grant, holder: MAC)] { exchange.conflicts }
    /// When what was granted was asked for.
    var asked: Int64 { exchange.asked }
    private var exchange: Exchange
    private let index: Int32

    var wakeup: Int64 { min(exchange.wakeup, end) }

    /// - Parameter left: milliseconds of the lease's stage.
    init(
        _ record: DHCPRecord, _ link: SandboxLink, _ goal: Exchange.Goal, now: Int64, end: Int64, left: Int64,
        index: Int32
    ) throws(Failure) {
        self.record = record
        self.link = link
        self.end = end
        self.index = index
        let isNew = if case .discover = goal { true } else { false }
        let exchange = Exchange(
            record.client, goal, isProbing: isNew && record.terms.isProbing, within: isNew ? nil : left,
            now: now)
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
    func step(_ now: Int64) throws(Failure) -> Exchange.Outcome? {
        do throws(SystemError) {
            switch exchange.next(now: now) {
            case .send(let message, let way)?: try send(message.encoded(), way)
            case .probe(let packet)?: try socket.broadcast(packet, isARP: true)
            case .end(let outcome)?: return outcome
            case nil: break
            }
        } catch {
            // A link that is down for a while is no reason to give up; the next try is due soon.
        }
        do throws(SystemError) { return try exchange.take(from: socket, now: now) } catch {
            throw Failure(.generic, "\(error)")
        }
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
