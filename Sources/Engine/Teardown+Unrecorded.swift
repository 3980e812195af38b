package import CNI
import Linux
import Netlink
package import Networking
package import Plans

/// DEL of a pod without a record: what else shows that a link is its own.
extension Teardown {
    /// By what plugins noted themselves, such as the devices of the host that it has.
    package func detachByNotes(_ id: AttachmentID, where isOurs: (String) -> Bool) {
        var removals: [String: Removal] = [:]
        for module in runner.registry.noters() {
            do throws(Failure) {
                for interface in try Registry.interfaces(notedBy: module, of: id) where isOurs(interface) {
                    let attachment = Attachment(
                        of: AttachmentID(containerID: id.containerID, interface: interface))
                    let facts = try runner.observe(module.needs(noteOf: attachment))
                    if case .found(let device, let name, _)? = facts.taken {
                        let known = KnownLink(place: name.place, index: device.index)
                        runner.kernel.links.note(known, for: .sandbox(interface))
                    }
                    let removal = module.removal(noteOf: attachment, facts)
                    removals[interface] = removals[interface]?.joined(with: removal) ?? removal
                }
            } catch {
                problems.append(error)
            }
        }
        for (interface, removal) in removals.sorted(by: { $0.key < $1.key }) {
            var state = Detaching(
                id: AttachmentID(containerID: id.containerID, interface: interface),
                subject: "container \(id.containerID) \(interface)")
            state.isRestored = removal.problem == nil
            let known = problems.count
            do throws(Failure) { try detach(Pending(removal: removal), &state) } catch {
                problems.append(error)
            }
            name(problems[known...], state.subject)
        }
    }

    /// Its links whose MAC address is derived for an attachment of the container's, whatever they are called.
    package func detachByMAC(_ containerID: String, _ likely: [String], where isOurs: (String) -> Bool) {
        guard runner.kernel.hasSandbox else { return }
        do throws(SystemError) {
            let all = try listed().filter { $0.kind != nil }
            for name in likely where isOurs(name) {
                let id = AttachmentID(containerID: containerID, interface: name)
                let mac = Attachment(of: id).mac(.sandbox)
                guard let link = all.first(where: { $0.mac == mac }) else { continue }
                runner.kernel.links.note(
                    KnownLink(place: .sandbox, index: link.index, mac: mac), for: .sandbox(name))
                links.append(.sandbox(name))
            }
        } catch {
            problems.append(Failure(.generic, "\(error)"))
        }
    }

    /// Its links that are tied to the host and have an address that was given to it, whatever became of their names and MAC
    /// addresses.
    package func detachByAddress(
        _ leases: [(id: AttachmentID, address: IPAddress)], where isOurs: (String) -> Bool
    ) throws(Failure) {
        guard runner.kernel.hasSandbox, !leases.isEmpty else { return }
        do throws(SystemError) {
            let links = try listed()
            let addresses = try runner.kernel.with(.sandbox) { socket throws(SystemError) in
                try socket.addressesByLink()
            }
            for link in links {
                // What has an alias may be a device that is to go home.
                guard link.kind != nil, link.parentNamespaceID != nil, link.alias.isEmpty else { continue }
                let own = addresses[link.index, default: []]
                let lease = leases.first { own.contains($0.address) && isOurs($0.id.interface) }
                guard let lease else { continue }
                let name = LinkName.sandbox(lease.id.interface)
                if runner.kernel.links.known(name) == nil {
                    runner.kernel.links.note(
                        KnownLink(place: .sandbox, index: link.index, mac: link.mac), for: name)
                }
                self.links.append(name)
            }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// Links in the pod of which the name alone is known: what is made by software, and no device that is to go home.
    package func detachByInterface(_ names: [String]) {
        do throws(SystemError) {
            for name in names {
                guard let (link, place) = try runner.kernel.link(.sandbox(name)), place == .sandbox,
                    link.kind != nil, link.alias.isEmpty
                else { continue }
                links.append(.sandbox(name))
            }
        } catch {
            problems.append(Failure(.generic, "\(error)"))
        }
    }

    /// The veth pairs whose host end has the name derived for this container.
    package func detachByHostLink(_ containerID: String, _ likely: [String], where isOurs: (String) -> Bool) {
        var names = Set(likely)
        do throws(Failure) { names.formUnion(try runner.sandboxLinks().map(\.name)) } catch {
            problems.append(error)
        }
        names = names.filter(isOurs)
        hostPairs += names.sorted().map { AttachmentID(containerID: containerID, interface: $0).hostLinkName }
    }
}
