package import CNI
package import JSONC
import Linux
package import Networking
package import Plans

/// Addresses from ranges of this node, written down in files. CNI reference plugin `host-local`.
package enum HostLocal: AddressSource {
    package static let type = "host-local"
    package static let defaultDirectory = "/var/lib/cni/networks"

    package static let vocabulary = HostLocalConfig.vocabulary
    package static let capabilities = ["ips", "ipRanges"]
    package static let podArguments = ["ips"]

    package static func parse(_ request: LeaseRequest) throws(Failure) -> any AddressConfig {
        let config = try HostLocalConfig(request, mustWork: request.rules.judgesWishes)
        if request.rules.judgesWishes { _ = try wishes(config) }
        return config
    }

    fileprivate static func allocate(
        _ config: HostLocalConfig, _ request: LeaseRequest
    ) throws(Failure) -> Lease {
        var lease: Lease?
        var refused: Failure?
        try withStore(config.directory, create: true) { store throws(SystemError) in
            let lock = try store.lock()
            defer { extendLifetime(lock) }
            var given: [IPAddress] = []
            do throws(Failure) { lease = try allocate(config, request, store, &given) } catch {
                refused = error
                // Only what this call took: an earlier attachment of the container keeps its addresses.
                for address in given { try store.remove(address) }
            }
        }
        if let refused { throw refused }
        guard let lease else { throw Failure(.generic, "host-local gave no address") }
        return lease
    }

    private static func allocate(
        _ config: HostLocalConfig, _ request: LeaseRequest, _ store: borrowing LeaseStore,
        _ given: inout [IPAddress]
    ) throws(Failure) -> Lease {
        let wanted = try wishes(config)
        var lease = Lease(routes: config.routes, dns: config.dns)
        // With a record it is known that the container has no such attachment: no store of thousands is looked through.
        var own: [IPAddress] = []
        do throws(SystemError) {
            if !request.rules.keepsRecords { own = try store.entries(of: request.id).map(\.address) }
        } catch {
            throw Failure(.io, "host-local: \(error)", details: error.hint)
        }
        for (index, set) in config.sets.enumerated() {
            let asked = wanted[index]
            var found: (address: IPAddress, range: AddressRange)?
            do throws(SystemError) {
                let last = store.lastReserved(set: index)
                if let asked {
                    found = try reserve(asked.address, set, request.id, store)
                } else {
                    found = try choose(set, after: last.address, request.id, own, store)
                }
                if let found {
                    given.append(found.address)
                    try store.setLastReserved(found.address, over: last)
                }
            } catch {
                let isOurs = error.code == nil
                throw Failure(
                    isOurs ? .generic : .io, "failed to allocate for range \(index): \(error)",
                    details: isOurs
                        ? "who has which is in \(config.directory); DEL what is no longer used"
                        : error.hint)
            }
            guard let found else {
                let holder = asked.flatMap { store.owner(of: $0.address) }
                throw exhausted(set, index, asked, config, holder: holder)
            }
            lease.ips.append(
                .init(address: CIDR(found.address, found.range.subnet.length), gateway: found.range.gateway))
        }
        return lease
    }

    /// The address that each set is asked for, if any.
    private static func wishes(_ config: HostLocalConfig) throws(Failure) -> [HostLocalConfig.Wish?] {
        var wanted = config.requested
        var wishes: [HostLocalConfig.Wish?] = []
        for (index, set) in config.sets.enumerated() {
            let asked = wanted.firstIndex { set.range(of: $0.address) != nil }.map { wanted.remove(at: $0) }
            if let asked { try refuseGateway(asked, set, index) }
            wishes.append(asked)
        }
        guard wanted.isEmpty else {
            var failure = Failure(
                .generic,
                "failed to allocate all requested IPs: \(wanted.map { "\($0.address)" }.joined(separator: " "))",
                details:
                    "each range set gives one address; ranges: \(config.sets.map(\.text).joined(separator: "; "))"
            )
            failure.key = wanted.first?.key
            throw failure
        }
        return wishes
    }

    private static func reserve(
        _ address: IPAddress, _ set: RangeSet, _ id: AttachmentID, _ store: borrowing LeaseStore
    ) throws(SystemError) -> (address: IPAddress, range: AddressRange)? {
        guard let range = set.range(of: address) else { return nil }
        return try store.reserve(address, id) ? (address, range) : nil
    }

    private static func refuseGateway(
        _ asked: HostLocalConfig.Wish, _ set: RangeSet, _ index: Int
    ) throws(Failure) {
        guard asked.address == set.range(of: asked.address)?.gateway else { return }
        var failure = Failure(
            .generic,
            "failed to allocate for range \(index): requested IP \(asked.address) is subnet's gateway",
            details: "no pod gets it: ask for another address of \(set.text), or for none")
        failure.key = asked.key
        throw failure
    }

    private static func choose(
        _ set: RangeSet, after last: IPAddress?, _ id: AttachmentID, _ own: [IPAddress],
        _ store: borrowing LeaseStore
    ) throws(SystemError) -> (address: IPAddress, range: AddressRange)? {
        if let own = own.first(where: { set.range(of: $0) != nil }) {
            throw SystemError(
                refusing:
                    "\(own) has been allocated to \(id.containerID), duplicate allocation is not allowed")
        }
        return try set.firstFree(after: last) { address, _ throws(SystemError) in
            try store.reserve(address, id)
        }
    }

    private static func exhausted(
        _ set: RangeSet, _ index: Int, _ asked: HostLocalConfig.Wish?, _ config: HostLocalConfig,
        holder: String? = nil
    ) -> Failure {
        let cause =
            asked.map { "requested IP address \($0.address) is not available in range set \(set.text)" }
            ?? "no IP addresses available in range set: \(set.text)"
        let fix = asked == nil ? "widen the range" : "ask for another address"
        if asked == nil, set.ranges.allSatisfy({ $0.first == $0.gateway && $0.last == $0.gateway }) {
            return Failure(
                .generic, "failed to allocate for range \(index): \(cause)",
                details: "it has nothing but its gateway, which no pod gets: \(fix), or name another gateway")
        }
        var failure = Failure(
            .generic, "failed to allocate for range \(index): \(cause)",
            details: "who has which is in \(config.directory); \(fix) or DEL what is no longer used")
        if let asked {
            failure.key = asked.key
            failure.claim = holder.map { .lease(asked.address, container: $0) }
        }
        return failure
    }

    fileprivate static func preview(
        _ config: HostLocalConfig, _ request: LeaseRequest
    ) throws(Failure) -> Lease {
        let wanted = try wishes(config)
        var lease = Lease(routes: config.routes, dns: config.dns)
        for (index, set) in config.sets.enumerated() {
            if let address = wanted[index]?.address {
                if let range = set.range(of: address) {
                    lease.ips.append(
                        .init(address: CIDR(address, range.subnet.length), gateway: range.gateway))
                }
                continue
            }
            var free: (address: IPAddress, range: AddressRange)?
            do throws(SystemError) {
                if let store = try LeaseStore.openIfPresent(config.directory) {
                    free = set.firstFree(after: store.lastReserved(set: index).address) {
                        address, _ in store.isFree(address)
                    }
                } else {
                    free = set.firstFree(after: nil) { _, _ in true }
                }
            } catch {
                throw Failure(.io, "\(error)", details: error.hint)
            }
            guard let free else { throw exhausted(set, index, nil, config) }
            lease.ips.append(
                .init(address: CIDR(free.address, free.range.subnet.length), gateway: free.range.gateway))
        }
        return lease
    }

    package static func release(_ request: LeaseRequest) throws(Failure) {
        try withStore(try releaseDirectory(request)) { store throws(SystemError) in
            let lock = try store.lockIfThere()
            defer { extendLifetime(lock) }
            let entries =
                request.given.isEmpty
                ? try store.releasable(by: request.id) : try store.entries(of: request.id, at: request.given)
            // The reference plugin ignores files that it cannot remove.
            if let problem = store.remove(entries), request.rules.retriesRestores { throw problem }
        }
    }

    package static func check(_ request: LeaseRequest) throws(Failure) {
        var found = false
        try withStore(try HostLocalConfig(request, allocates: false).directory) { store throws(SystemError) in
            let lock = try store.lock()
            defer { extendLifetime(lock) }
            found = try !store.entries(of: request.id).isEmpty
        }
        guard found else {
            throw Failure(
                .generic, "host-local: Failed to find address added by container \(request.id.containerID)",
                details: "its file is gone from the directory of network \(request.config.label)")
        }
    }

    package static func collect(_ request: LeaseRequest, valid: [AttachmentID]) throws(Failure) {
        let living = request.living(valid)
        func lives(_ owner: String) -> Bool {
            let (containerID, interface) = LeaseStore.parse(owner)
            return living(containerID, interface)
        }
        try withStore(try releaseDirectory(request)) { store throws(SystemError) in
            let lock = try store.lock()
            defer { extendLifetime(lock) }
            var dead: [String] = []
            try store.forEachEntry { entry in
                if !entry.owner.isEmpty, !lives(entry.owner) { dead.append(entry.name) }
            }
            if let problem = store.remove(dead) { throw problem }
        }
    }

    package static func status(_ request: LeaseRequest) throws(Failure) {
        do throws(Failure) { _ = try preview(request) } catch {
            throw Failure(.notAvailable, error.message, details: error.details)
        }
    }

    package static var defaultStore: String? { defaultDirectory }

    package static func store(of ipam: JSON) -> String? {
        // A relative one is refused.
        ipam["dataDir"]?.string.flatMap { $0.hasPrefix("/") ? $0 : nil }
    }

    /// Every address of a container, in all networks below `directory`: for a DEL that has no record.
    ///
    /// - Parameter isGone: whether the container no longer has an interface, nil in a file of the old form, and its address.
    package static func releaseEverything(
        of containerID: String, in directory: String, where isGone: (String?, IPAddress) -> Bool
    ) throws(Failure) {
        try release(below: directory) { store throws(SystemError) in
            try store.entries(of: containerID).filter { entry in
                let owner = LeaseStore.parse(entry.owner)
                return entry.owner.isEmpty
                    || owner.containerID == containerID && isGone(owner.interface, entry.address)
            }
        }
    }

    /// The same for containers that are gone altogether.
    package static func releaseEverything(
        of containers: Set<String>, in directory: String
    ) throws(Failure) {
        try release(below: directory) { store throws(SystemError) in
            var gone: [LeaseStore.Entry] = []
            try store.forEachEntry {
                if containers.contains(LeaseStore.parse($0.owner).containerID) { gone.append($0) }
            }
            return gone
        }
    }

    private static func release(
        below directory: String, _ gone: (borrowing LeaseStore) throws(SystemError) -> [LeaseStore.Entry]
    ) throws(Failure) {
        do throws(SystemError) {
            for network in try networks(below: directory) {
                guard let store = try LeaseStore.openIfPresent("\(directory)/\(network)") else { continue }
                let lock = try store.lockIfThere()
                defer { extendLifetime(lock) }
                if let problem = store.remove(try gone(store)) { throw problem }
            }
        } catch {
            throw Failure(.io, "host-local: \(error)", details: error.hint)
        }
    }

    /// Whoever has an address in a network below `directory`; with an empty interface in a file of the old form.
    ///
    /// - Parameter isWanted: of a container.
    package static func owners(
        in directory: String, where isWanted: (String) -> Bool
    ) throws(Failure) -> [(id: AttachmentID, address: IPAddress)] {
        var owners: [(id: AttachmentID, address: IPAddress)] = []
        do throws(SystemError) {
            for network in try networks(below: directory) {
                guard let store = try LeaseStore.openIfPresent("\(directory)/\(network)") else { continue }
                try store.forEachEntry { entry in
                    let (containerID, interface) = LeaseStore.parse(entry.owner)
                    guard Names.isIdentifier(containerID), isWanted(containerID) else { return }
                    owners.append(
                        (AttachmentID(containerID: containerID, interface: interface ?? ""), entry.address))
                }
            }
        } catch {
            throw Failure(.io, "host-local: \(error)", details: error.hint)
        }
        return owners
    }

    private static func networks(below directory: String) throws(SystemError) -> [String] {
        do throws(SystemError) {
            return try Directory.open(directory).names().filter(Names.isIdentifier)
        } catch  where error.isNotFound || error.isNoDirectory {
            return []
        }
    }

    /// Under its own name the reference checks all of the configuration; a pod that goes needs the directory alone.
    private static func releaseDirectory(_ request: LeaseRequest) throws(Failure) -> String {
        guard request.rules.detachesByName else {
            return try HostLocalConfig(request, allocates: false).directory
        }
        do throws(JSONError) { return try HostLocalConfig.directory(request) } catch {
            // No ADD can have taken an address from such a directory.
            return "\(defaultDirectory)/\(request.config.name)"
        }
    }

    static func withStore(
        _ directory: String, create: Bool = false,
        _ body: (borrowing LeaseStore) throws(SystemError) -> Void
    ) throws(Failure) {
        do throws(SystemError) {
            if create {
                try body(LeaseStore.open(directory))
            } else if let store = try LeaseStore.openIfPresent(directory) {
                try body(store)
            }
        } catch {
            let fix = error.hint.isEmpty ? obstacle(to: "\(directory)/lock")?.fix ?? "" : error.hint
            throw Failure(
                .io, "host-local: \(error)",
                details: "addresses are kept in \(directory)\(fix.isEmpty ? "" : "; \(fix)")")
        }
    }
}

extension HostLocalConfig: AddressConfig {
    package func allocate(_ request: LeaseRequest) throws(Failure) -> Lease {
        try HostLocal.allocate(self, request)
    }

    package func preview(_ request: LeaseRequest) throws(Failure) -> Lease? {
        try HostLocal.preview(self, request)
    }

    package func lease(_ request: LeaseRequest) throws(Failure) -> Lease {
        try HostLocal.lease(self, request)
    }

    package func lost(_ request: LeaseRequest, isKept: Bool) throws(Failure) -> [IPAddress] {
        try HostLocal.lost(self, request, isKept: isKept)
    }
}
