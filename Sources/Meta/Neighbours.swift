import CNI
import Definitions
import Engine
import JSONC
import Linux
import Networking
import Plans
import Records

/// What other pods of this node have, as their records say.
extension MetaPlugin {
    /// An error with the name of the pod that has what was refused, if it is one of this node's.
    func namingHolder(_ error: Failure) -> Failure {
        guard let claim = error.claim, let store = try? RecordStore.open(config.cniDir) else { return error }
        var holder: String?
        for record in store.others(than: id, mentioning: [claim.text], config.log) where holder == nil {
            holder = record.entries.first { $0.has(claim) }.map { entry in
                // The pod's author reads the error, and may not be allowed to know other namespaces.
                let isHidden = config.namespaceIsolation && entry.pod?.namespace != ownNamespace
                return isHidden ? "container \(record.id.containerID) of another namespace" : entry.holder
            }
        }
        if holder == nil, case .lease(_, let container) = claim { holder = "container \(container)" }
        guard let holder else { return error }
        var error = error
        if case .master = claim {
            error.details = "\(holder) has a link on it; \(error.details)"
        } else {
            error.details = "\(holder) has it; \(error.details)"
        }
        return error
    }

    private var ownNamespace: String? { Pod(ofArgs: invocation.args)?.namespace }

    /// Names in the log what is attached as it was asked for and yet hardly works. It is no reason to refuse: whether
    /// two addresses meet is the network's matter, and a pod that is being replaced may have its successor's.
    func warnOfCollisions(_ record: PodRecord, _ store: borrowing RecordStore) {
        warnOfSharedSubnets(record)
        for entry in record.entries
        where entry.spec.list.plugins.contains(where: { plugin in
            plugin["ipam"]?["type"]?.string.flatMap(builtins.source)?.keepsApart == false
        }) {
            warnOfSharedAddresses(entry, store)
        }
    }

    /// Each attachment is named once with those that it meets, not once for each of them.
    private func warnOfSharedSubnets(_ record: PodRecord) {
        let subnets = record.entries.map(\.routedSubnets)
        var isNamed = subnets.map { _ in false }
        for first in subnets.indices {
            var met: [(index: Int, address: CIDR)] = []
            for other in subnets.indices.dropFirst(first + 1) {
                guard let (mine, others) = sharedSubnet(subnets[first], subnets[other]) else { continue }
                if met.isEmpty { met.append((first, mine)) }
                met.append((other, others))
            }
            guard met.contains(where: { !isNamed[$0.index] }) else { continue }
            for (index, _) in met { isNamed[index] = true }
            let names = met.map { index, _ in
                "\(record.entries[index].spec.id.interface) (\(record.entries[index].spec.name))"
            }
            config.log.error(
                "\(listed(names)) of \(subject) are in one subnet, with \(listed(met.map { "\($0.address)" })):"
                    + " the pod answers over one of them; give the networks subnets of their own")
        }
    }

    private func warnOfSharedAddresses(_ entry: PodRecord.Entry, _ store: borrowing RecordStore) {
        // A limit, as every address is searched in every record.
        let addresses = (entry.attached?.result.ips ?? []).prefix(64).map(\.address.address)
        if addresses.isEmpty { return }
        for record in store.others(than: id, mentioning: addresses.map { "\($0)/" }, config.log) {
            for address in addresses {
                let other = record.entries.first {
                    $0.hasAddress(address) && $0.spec.isOnTheLinkLayer(of: entry.spec)
                }
                guard let other else { continue }
                config.log.error(
                    "\(entry.spec.name) on \(entry.spec.id.interface) of \(subject): \(other.holder)"
                        + " has the address \(address) too; give each pod its own, in ips of its annotation")
            }
        }
    }
}

extension PodRecord.Entry {
    fileprivate func has(_ claim: Failure.Claim) -> Bool {
        switch claim {
        case .mac(let mac):
            attached?.result.interfaces.contains {
                $0.sandbox != nil && $0.mac.flatMap(MAC.init(parsing:)) == mac
            } ?? false
        case .address(let address):
            hasAddress(address) && aPluginHolds(claim)
        case .lease(let address, let container):
            spec.id.containerID == container && hasAddress(address)
        case .master: aPluginHolds(claim)
        case .device(let name): spec.runtimeConfig["deviceID"]?.string == name || aPluginHolds(claim)
        }
    }

    fileprivate func hasAddress(_ address: IPAddress) -> Bool {
        attached?.result.ips.contains { $0.address.address == address } ?? false
    }

    private func aPluginHolds(_ claim: Failure.Claim) -> Bool {
        spec.list.plugins.contains { plugin in
            plugin["type"]?.string.flatMap(builtins.module)?.holds(claim, plugin) ?? false
        }
    }

    /// `pod default/b (net1, network default/net-a)`.
    fileprivate var holder: String {
        (pod.map { "pod \($0.description)" } ?? "container \(spec.id.containerID)")
            + " (\(spec.id.interface), network \(spec.name))"
    }

    /// Its addresses with their subnets; none where a plugin of the chain makes the source decide the route.
    fileprivate var routedSubnets: [CIDR] {
        let isBySource = spec.list.plugins.contains { plugin in
            plugin["type"]?.string.map(builtins.traits)?.contains(.routesBySource) ?? false
        }
        return isBySource ? [] : attached?.result.ips.map(\.address) ?? []
    }
}

/// The first two addresses that are in one subnet.
private func sharedSubnet(_ mine: [CIDR], _ others: [CIDR]) -> (CIDR, CIDR)? {
    for address in mine {
        for other in others where address.overlaps(other) { return (address, other) }
    }
    return nil
}

/// `a and b`, or the first two of many and how many more.
private func listed(_ texts: [String]) -> String {
    texts.count > 3
        ? "\(texts.prefix(2).joined(separator: ", ")) and \(texts.count - 2) more"
        : texts.joined(separator: " and ")
}

extension AttachmentSpec {
    /// Whether the links of both meet. What another program makes is only known to meet on one and the same network.
    fileprivate func isOnTheLinkLayer(of other: AttachmentSpec) -> Bool {
        guard let own = segment, let others = other.segment else { return false }
        return own == others
    }

    private var segment: String? {
        guard let plugin = list.plugins.first, let type = plugin["type"]?.string else { return nil }
        guard let module = external.contains(type) ? nil : builtins.module(type) else {
            return "network \(name)"
        }
        return module.segment(plugin)
    }
}

extension Failure.Claim {
    /// As a record has it.
    fileprivate var text: String {
        switch self {
        case .mac(let mac): "\(mac)"
        case .address(let address), .lease(let address, _): "\(address)/"
        case .master(let name), .device(let name): "\"\(name)\""
        }
    }
}
