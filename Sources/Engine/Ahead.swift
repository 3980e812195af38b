import CNI
import Linux
import Networking
import Plans

/// What an attachment has done ahead of its turn: its link is there, and somebody is asked for its address.
final class Ahead {
    let made: MadeLink
    fileprivate let question: Question
    /// What undoes it.
    var journal: Journal
    /// nil while nobody has answered.
    fileprivate(set) var answer: Result<Lease, Failure>?

    init(_ made: MadeLink, _ question: Question, _ journal: Journal) {
        self.made = made
        self.question = question
        self.journal = journal
    }

    fileprivate func step() {
        do throws(Failure) {
            guard let lease = try question.query.step() else { return }
            journal.record(question.undo(lease))
            answer = .success(lease)
        } catch {
            answer = .failure(error)
        }
    }
}

/// What an address source is asked, and how the answer is given back.
struct Question {
    let source: any AddressSource.Type
    let request: LeaseRequest
    let query: any AddressQuery

    func undo(_ lease: Lease) -> Journal.Entry {
        .lease(source, request.given(lease.ips.map(\.address.address)))
    }
}

/// A link that is there before its addresses.
struct MadeLink {
    var attachment: Attachment
    let facts: Facts
}

extension ChainRunner {
    /// Starts all those whose addresses somebody else gives in his own time, so that a pod waits for the slowest of them and
    /// not for one after the other. Each is finished in its turn, by `add`. What cannot start yet, as one whose master an
    /// attachment before it makes, starts in its turn.
    ///
    /// - Returns: the chains, in the same order.
    package func startAhead(_ chains: [Chain]) -> [Chain] {
        guard chains.count(where: \.asks) > 1 else { return chains }
        var chains = chains
        for index in chains.indices where chains[index].asks { start(&chains[index]) }
        return chains
    }

    private func start(_ chain: inout Chain) {
        defer { kernel.links.forget(absent: chain.id.interface) }
        chain.ahead = try? chain.plugins.first?.start(&chain.rest)
        if chain.ahead == nil { _ = undo(&chain.rest) }
    }

    /// Waits until one has its answer; takes those of the others meanwhile.
    ///
    /// - Returns: why there is none.
    func waited(for first: Ahead, besides others: ArraySlice<Chain>) -> Failure? {
        let all = [first] + others.compactMap(\.ahead)
        while true {
            for ahead in all where ahead.answer == nil { ahead.step() }
            guard first.answer == nil else { return nil }
            do throws(Failure) {
                try wait(for: all.filter { $0.answer == nil }.map(\.question.query), stop)
            } catch {
                first.question.query.withdraw()
                return error
            }
        }
    }

    /// Of those whose turn did not come: nobody waits for the answers, and `journal` undoes what was made.
    package func abandon(_ chains: ArraySlice<Chain>, _ journal: inout Journal) {
        for chain in chains {
            journal.append(chain.rest)
            guard let ahead = chain.ahead else { continue }
            if ahead.answer == nil { ahead.question.query.withdraw() }
            journal.append(ahead.journal)
        }
    }
}

extension AddressQuery {
    /// Waits for the answer.
    ///
    /// - Parameter stop: that of a `StopSignal`.
    func settle(_ stop: CInt?) throws(Failure) -> Lease {
        while true {
            if let lease = try step() { return lease }
            do throws(Failure) { try wait(for: [self], stop) } catch {
                withdraw()
                throw error
            }
        }
    }
}

/// Until one of them has something to do.
private func wait(for queries: [any AddressQuery], _ stop: CInt?) throws(Failure) {
    guard let wakeup = queries.map(\.wakeup).min() else { return }
    let ready = readable(queries.flatMap(\.descriptors) + [stop].compactMap(\.self), until: wakeup)
    if let stop, ready.contains(stop) {
        throw Failure(.generic, "a signal ended the wait for an address")
    }
}
