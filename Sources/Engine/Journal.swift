import CNI
import Linux
package import Networking
package import Plans

/// What goes again only if nobody else counts on it.
protocol SharedObject: Sendable {
    func removeUnused(by executor: Executor) throws(SystemError)
}

/// What an attachment did, in order, so that it can be undone in reverse.
///
/// Kernel steps, leases and delegates share it: there is one rollback.
package struct Journal {
    enum Entry {
        /// The inverse of a step that ran.
        case step(Step)
        /// What several attachments may use, and how it goes when this run created it.
        case shared(any SharedObject)
        case lease(any AddressSource.Type, LeaseRequest)
        case external(ExternalCall)
    }

    private(set) var entries: [Entry] = []
    /// Links that this run created: what is on them goes with them.
    private var created: [LinkName] = []

    package init() {}

    mutating func record(_ entry: Entry) { entries.append(entry) }

    mutating func recordCreation(of links: LinkName...) { created += links }

    /// Records the inverse of a step on `link`, unless deleting the link undoes it.
    mutating func record(_ inverse: Step, on link: LinkName) {
        // The link is usually the newest.
        if created.lastIndex(of: link) == nil { entries.append(.step(inverse)) }
    }

    /// Original values of the sysctls that were saved since the journal had `start` entries, by path.
    package func saved(since start: Int = 0) -> [String: String] {
        var saved: [String: String] = [:]
        for case .step(let inverse) in entries[start...] {
            guard let change = inverse.of(SysctlStep.self)?.change, saved[change.path] == nil else {
                continue
            }
            saved[change.path] = change.value
        }
        return saved
    }

    /// The host's device that was taken since the journal had `start` entries.
    package func device(since start: Int) -> Device? {
        for case .step(let inverse) in entries[start...] {
            if case .giveBack(let device)? = inverse.of(DeviceStep.self) { return device }
        }
        return nil
    }

    /// Addresses that were taken since the journal had `start` entries.
    package func given(since start: Int) -> [IPAddress] {
        var given: [IPAddress] = []
        for case .lease(_, let request) in entries[start...] { given += request.given }
        return given
    }

    /// Gives executables another input for their undo.
    mutating func replaceCalls(since start: Int, _ body: (ExternalCall) -> ExternalCall?) {
        for index in entries.indices[start...] {
            if case .external(let call) = entries[index], let other = body(call) {
                entries[index] = .external(other)
            }
        }
    }

    package var count: Int { entries.count }

    /// Takes in what another one has, as done after this one's.
    package mutating func append(_ other: Journal) {
        entries += other.entries
        created += other.created
    }

    /// The newest entry, taken out.
    mutating func pop() -> Entry? { entries.popLast() }
}
