import CNI
import Linux
import Netlink
import Networking
package import Plans

/// Runs steps in order and keeps the journal. It knows no kernel object: how each step runs is in Steps.
package final class Executor {
    let kernel: Kernel
    /// The network that a runtime called, for marks on what is shared with other programs; empty under a plugin's own name.
    let owner: String
    var bridges: SmallMap<String, HeldBridge> = [:]

    package init(_ kernel: Kernel, owner: String = "") {
        self.kernel = kernel
        self.owner = owner
    }

    /// Runs `steps` up to the first that is refused, which it returns, with everything done so far in the journal.
    package func run(_ steps: [Step], _ journal: inout Journal) -> RefusedStep? {
        let run = LiveRun(self, journal)
        // A single owner at a time: appending then copies nothing.
        journal = Journal()
        defer { journal = run.journal }
        return run.run(steps[...])
    }
}

/// One run of the executor: the steps' effects on the kernel, and the inverse of each in the journal.
final class LiveRun: StepRunner {
    let executor: Executor
    var journal: Journal

    fileprivate init(_ executor: Executor, _ journal: Journal) {
        self.executor = executor
        self.journal = journal
    }

    fileprivate func run(_ steps: ArraySlice<Step>) -> RefusedStep? {
        var rest = steps
        while let step = rest.first {
            let settings = rest.prefix { $0.kind.needsVisit }
            let refused = settings.count > 1 ? runInside(settings) : run(step)
            if let refused { return refused }
            rest = rest.dropFirst(max(settings.count, 1))
        }
        return nil
    }

    /// Settings of the pod that follow one another share one visit to its namespace.
    private func runInside(_ settings: ArraySlice<Step>) -> RefusedStep? {
        var refused: RefusedStep?
        var current = settings.first
        do throws(SystemError) {
            try kernel.inside { () throws(SystemError) in
                for step in settings {
                    current = step
                    refused = run(step)
                    if refused != nil { return }
                }
            }
        } catch {
            refused = current.map { RefusedStep(step: $0, error: error) }
        }
        return refused
    }

    private func run(_ step: Step) -> RefusedStep? {
        do throws(SystemError) {
            var runner = self
            try step.kind.run(by: &runner)
            return nil
        } catch {
            if error.isUnanswered, let inverse = step.kind.inverseIfUnanswered {
                journal.record(.step(inverse))
            }
            return RefusedStep(step: step, error: error)
        }
    }
}

// MARK: What the steps share

extension LiveRun {
    var kernel: Kernel { executor.kernel }

    func index(of link: LinkName) throws(SystemError) -> Int32 { try executor.index(of: link) }

    /// nil when the link is deleted, or its index is not known.
    func note(_ index: Int32?, of link: LinkName) { kernel.links.note(index, of: link) }

    /// Runs `body` with the socket of the side that the link is on, and its index.
    func on(
        _ link: LinkName, _ body: (inout RouteSocket, Int32) throws(SystemError) -> Void
    ) throws(SystemError) {
        var place = link.place
        var index: Int32?
        if kernel.links.known(link) != nil, let found = try kernel.link(link) {
            (place, index) = (found.place, found.info.index)
        }
        let known = if let index { index } else { try self.index(of: link) }
        try kernel.with(place) { socket throws(SystemError) in try body(&socket, known) }
    }
}

extension Executor {
    func index(of link: LinkName) throws(SystemError) -> Int32 {
        if let known = kernel.links.index(of: link) { return known }
        let found = try kernel.with(link.place) { socket throws(SystemError) in
            try socket.link(named: link.name)
        }
        guard let found else {
            throw SystemError(operation: "find link \(link.name)", code: .noSuchDevice)
        }
        kernel.links.note(found.index, of: link)
        return found.index
    }

    /// The index of a link that an attachment made, or an external plugin for it; nil when there is none.
    func index(ofMade link: LinkName) throws(Failure) -> Int32? {
        do throws(SystemError) { return try index(of: link) } catch  where error.code == .noSuchDevice {
            return nil
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }
}

extension Executor {
    /// The plan's result, with the MAC addresses that the kernel decided.
    func readBack(_ plan: Plan) throws(Failure) -> CNIResult {
        var result = plan.result
        for index in plan.readBack where result.interfaces.indices.contains(index) {
            let interface = result.interfaces[index]
            if interface.sandbox == nil, let mac = bridges[interface.name]?.mac {
                result.interfaces[index].mac = "\(mac)"
                continue
            }
            let place: Place = interface.sandbox == nil ? .host : .sandbox
            do throws(SystemError) {
                let link = try kernel.with(place) { socket throws(SystemError) in
                    try socket.link(named: interface.name)
                }
                result.interfaces[index].mac = link?.mac.map { "\($0)" }
            } catch {
                throw Failure(.generic, "\(error)")
            }
        }
        return result
    }
}
