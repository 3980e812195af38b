package import CNI
import Linux
import Netlink
import Networking
package import Plans

/// Masquerade rules and spoof checks, named as the reference plugins name them, so that either removes the other's.
extension Kernel {
    func ensureMasquerade(_ rule: Masquerade, owner: String) throws(SystemError) {
        guard rule.backend == .nftables else { return try Iptables.masquerade(rule) }
        try nftables { socket throws(SystemError) in
            try socket.ensureMasquerade(rules: rule.rules(owner: owner), instancePrefix: rule.instance)
        }
    }

    /// Whether all of its rules are there.
    func hasMasquerade(_ rule: Masquerade) throws(SystemError) -> Bool {
        guard rule.backend == .nftables else { return try Iptables.hasMasquerade(rule) }
        var count = 0
        try nftables { socket throws(SystemError) in
            count = try socket.masqueradeCount(prefix: rule.instance)
        }
        return count >= rule.addresses.count
    }

    /// Removes the rules of both backends: which one made them is not written down anywhere.
    func removeMasquerade(_ rule: Masquerade) throws(SystemError) {
        var kinds: [Iptables] = []
        try nftables { socket throws(SystemError) in
            _ = try socket.removeMasquerade(prefix: rule.instance)
            for family in IPAddress.Family.allCases {
                if try socket.hasIptablesChain(rule.chain, family) {
                    kinds.append(Iptables(family, .nft))
                }
            }
        }
        try requireHome()
        for family in IPAddress.Family.allCases where Iptables.legacyHasNAT(family) {
            kinds.append(Iptables(family, .legacy))
        }
        for kind in kinds { try kind.remove(rule) }
    }

    /// The programs would run where the thread is.
    private func requireHome() throws(SystemError) {
        guard isHome else { throw SystemError(refusing: Self.stranded) }
    }

    func ensureSpoofCheck(_ check: SpoofCheck) throws(SystemError) {
        if let other = try otherPort(port(ofSpoofCheck: check.name), than: [check.port]) {
            throw SystemError(
                refusing:
                    "add the MAC spoof check of \(check.port): that of \(other) has its name, \(check.name), as"
                    + " container ID and interface of both read alike")
        }
        try nftables { socket throws(SystemError) in try socket.ensureSpoofCheck(check) }
    }

    /// - Parameter ports: as in `SpoofCheckStep`.
    func removeSpoofCheck(_ name: String, ports: [String]) throws(SystemError) {
        let port = try port(ofSpoofCheck: name)
        // A chain without a rule that leads to it may be the second one of another check.
        if port == nil, name.hasSuffix("-mac") { return }
        guard try otherPort(port, than: ports) == nil else { return }
        try nftables { socket throws(SystemError) in try socket.removeSpoofCheck(name) }
    }

    func has(_ check: SpoofCheck) throws(SystemError) -> Bool {
        var isThere = false
        try nftables { socket throws(SystemError) in isThere = try socket.has(check) }
        return isThere
    }

    func port(ofSpoofCheck name: String) throws(SystemError) -> String? {
        var port: String?
        try nftables { socket throws(SystemError) in port = try socket.port(ofSpoofCheck: name) }
        return port
    }

    /// A check's port, when it is none of these, and of another pod that lives.
    private func otherPort(_ port: String?, than own: [String]) throws(SystemError) -> String? {
        guard let port, !own.contains(port) else { return nil }
        let link = try with(.host) { socket throws(SystemError) in try socket.link(named: port) }
        guard let link, try !isHostEnd(link) else { return nil }
        let isOthers = try with(.host) { socket throws(SystemError) in
            try link.parentNamespaceID.map { id throws(SystemError) in try socket.isAlive(namespace: id) }
                ?? true
        }
        return isOthers ? port : nil
    }

    /// Whether a link of the host is the other end of a veth in the sandbox.
    func isHostEnd(_ link: LinkInfo) throws(SystemError) -> Bool {
        guard hasSandbox, link.kind == "veth", let peer = link.parentIndex else { return false }
        let found = try with(.sandbox) { socket throws(SystemError) in try socket.link(index: peer) }
        return found?.kind == "veth" && found?.parentIndex == link.index
    }

    // MARK: Rules of which nothing else is known

    /// Removes what a container has, whichever network asked for it.
    ///
    /// - Parameters:
    ///   - interfaces: names that it may have had.
    ///   - isAlone: the container has no other attachments.
    ///   - isOurs: false for those of its other attachments.
    package func removeRules(
        of containerID: String, _ interfaces: Set<String>, isAlone: Bool, where isOurs: (String) -> Bool
    ) throws(Failure) {
        let ids = interfaces.filter(isOurs).map { AttachmentID(containerID: containerID, interface: $0) }
        let hashes = Set(ids.map(Masquerade.hash))
        let names = Set(ids.map(SpoofCheck.name))
        do throws(SystemError) {
            var checks: [(name: String, port: String)] = []
            try nftables { socket throws(SystemError) in
                try socket.removeMasquerade { comment, _ in
                    Masquerade.hash(in: comment).map(hashes.contains) ?? false
                        || Masquerade.isOf(containerID, comment: comment, where: isOurs)
                }
                checks = try socket.spoofChecks()
            }
            for (name, port) in checks {
                // Another container's ID may begin as this one does: the port's name tells whose it is.
                guard let interface = SpoofCheck.interface(in: name, of: containerID) else { continue }
                let own = AttachmentID(containerID: containerID, interface: interface).hostLinkName
                guard names.contains(name) || own == port && isOurs(interface) else { continue }
                try removeSpoofCheck(name, ports: [own])
            }
            if isAlone { try removeIptables(of: containerID) }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// The chains of the iptables programs are of a container and a network, whatever the interface.
    private func removeIptables(of containerID: String) throws(SystemError) {
        try requireHome()
        var kinds: [Iptables] = []
        try nftables { socket throws(SystemError) in
            for family in IPAddress.Family.allCases {
                if try !socket.iptablesChains(family).isEmpty { kinds.append(Iptables(family, .nft)) }
            }
        }
        for family in IPAddress.Family.allCases where Iptables.legacyHasNAT(family) {
            kinds.append(Iptables(family, .legacy))
        }
        for kind in kinds {
            for network in try kind.networks(of: containerID) {
                try kind.remove(
                    Masquerade(
                        networkName: network, id: AttachmentID(containerID: containerID, interface: ""),
                        addresses: [],
                        backend: .iptables))
            }
        }
    }

    /// GC: removes the masquerade rules that `owner` made for attachments that are not in `alive`, and spoof checks of
    /// attachments that are not and of ports that are gone.
    ///
    /// - Parameter containers: those that may have attachments of other names as well.
    package func collectRules(
        of owner: String, sparing alive: Set<AttachmentID>, _ containers: Set<String>
    ) throws(Failure) {
        let names = Set(alive.map(SpoofCheck.name))
        // A hash costs some time, and most nodes have no such rules.
        lazy var hashes = Set(alive.map(Masquerade.hash))
        var likely: [String: Set<String>] = [:]
        func mayHave(_ interface: String, _ hash: String) -> Bool {
            let found =
                likely[interface]
                ?? Set(
                    containers.map {
                        Masquerade.hash(of: AttachmentID(containerID: $0, interface: interface))
                    })
            likely[interface] = found
            return found.contains(hash)
        }
        func lives(_ comment: String) -> Bool {
            guard let hash = Masquerade.hash(in: comment), !hashes.contains(hash) else { return true }
            let part = comment.parts(by: ",").map { trimmed($0) }.first { $0.hasPrefix("if: ") }
            guard let interface = part?.dropFirst(4) else { return true }
            return mayHave(String(interface), hash)
        }
        do throws(SystemError) {
            var checks: [(name: String, port: String)] = []
            try nftables { socket throws(SystemError) in
                try socket.removeMasquerade { comment, made in
                    !owner.isEmpty && made == owner && !lives(comment)
                }
                checks = try socket.spoofChecks().filter { check in
                    !names.contains(check.name) && !containers.contains { check.name.hasPrefix("\($0)-") }
                }
            }
            for (name, port) in checks {
                let isThere = try with(.host) { socket throws(SystemError) in
                    port.isEmpty ? false : try socket.link(named: port) != nil
                }
                if !isThere {
                    try nftables { socket throws(SystemError) in try socket.removeSpoofCheck(name) }
                }
            }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }
}
