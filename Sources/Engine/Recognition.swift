package import CNI
import JSONC
import Linux
import Netlink
import Networking
package import Plans

extension ChainRunner {
    /// Finds the link of an attachment by what was recorded, whatever its name is now; a device of the host by its
    /// note. Later look-ups of the name then give that link.
    ///
    /// - Returns: whether that device is within reach; true without one.
    func recognize(_ spec: AttachmentSpec, _ attached: Attached?) throws(Failure) -> Bool {
        kernel.links.note(attached?.device, as: spec.id.interface)
        let name = LinkName.sandbox(spec.id.interface)
        do throws(SystemError) { kernel.links.note(try known(name, spec.id, attached), for: name) } catch {
            throw Failure(.generic, "\(error)")
        }
        for plugin in spec.list.plugins {
            guard let type = plugin["type"]?.string, !spec.external.contains(type),
                let query = registry.module(type)?.takenDevice(spec.attachment())
            else { continue }
            switch try kernel.find(query) {
            case .found(let device, let found, _):
                kernel.links.note(KnownLink(place: found.place, index: device.index), for: name)
            case .away: return false
            case .gone, nil: break
            }
        }
        return true
    }

    /// Whether the device that a plugin noted of the attachment is in the sandbox.
    package func hasDevice(_ spec: AttachmentSpec) throws(Failure) -> Bool {
        guard kernel.hasSandbox else { return false }
        for plugin in spec.list.plugins {
            guard let query = plugin["type"]?.string.flatMap(registry.module)?.takenDevice(spec.attachment())
            else { continue }
            if case .found(_, let name, _)? = try kernel.find(query), name.place == .sandbox { return true }
        }
        return false
    }

    private func known(
        _ name: LinkName, _ id: AttachmentID, _ attached: Attached?
    ) throws(SystemError) -> KnownLink? {
        let promised = attached?.result.interfaces.first { $0.name == name.name && !$0.isInHost }
        // Without a result the link has the address that is derived for it, unless another one was asked for.
        let mac =
            attached == nil ? Attachment(of: id).mac(.sandbox) : promised?.mac.flatMap(MAC.init(parsing:))
        var index = attached?.index
        if index == nil, let mac {
            let addresses = attached?.result.ips.map(\.address.address) ?? []
            index = try kernel.index(of: name.name, mac, addresses)
        }
        return index.map { KnownLink(place: .sandbox, index: $0, mac: mac) }
    }
}

extension Kernel {
    /// The link that `name` stands for: the one that is known, if it is there, or the one that is called so.
    func link(_ name: LinkName) throws(SystemError) -> (info: LinkInfo, place: Place)? {
        if let known = links.known(name), known.place == .host || hasSandbox {
            let found = try with(known.place) { socket throws(SystemError) in
                try socket.link(index: known.index)
            }
            if let found { return (found, known.place) }
        }
        guard name.place == .host || hasSandbox else { return nil }
        let found = try with(name.place) { socket throws(SystemError) in try socket.link(named: name.name) }
        return found.map { ($0, name.place) }
    }

    /// The pod's link by the result of its ADD, for a call that has nothing else: the pod may have given the name to another
    /// link. Its MAC address and its addresses tell; without the former the kernel's tie to the host must.
    fileprivate func index(
        of name: String, _ mac: MAC, _ addresses: [IPAddress]
    ) throws(SystemError) -> Int32? {
        guard hasSandbox else { return nil }
        return try with(.sandbox) { socket throws(SystemError) in
            if let link = try socket.link(named: name), link.name == name, link.mac == mac {
                return link.index
            }
            var byAddress: Int32?
            var byMAC: [Int32] = []
            let links = try socket.links()
            let addressesByLink = try socket.addressesByLink()
            for link in links {
                let isTied = link.kind != nil && link.parentNamespaceID != nil
                guard link.mac == mac || isTied else { continue }
                let hasAddress = addressesByLink[link.index, default: []].contains(where: addresses.contains)
                if link.mac == mac, hasAddress { return link.index }
                if hasAddress { byAddress = byAddress ?? link.index }
                if link.mac == mac, link.hasOwnAddress { byMAC.append(link.index) }
            }
            return byAddress ?? (byMAC.count == 1 ? byMAC[0] : nil)
        }
    }

    /// A known link that is no longer in the sandbox, looked for in the namespaces that the pod made: a link that is
    /// moved keeps its index where that is free, and the kernel then gives the namespace an ID.
    ///
    /// - Parameter isIt: what else must agree.
    func astray(
        _ name: LinkName, _ isIt: (LinkInfo, KnownLink) -> Bool
    ) throws(SystemError) -> (link: LinkInfo, namespace: Int32)? {
        guard hasSandbox, let known = links.known(name), known.place == .sandbox else { return nil }
        let host = try hostID()
        return try with(.sandbox) { socket throws(SystemError) in
            for id in try socket.namespaceIDs() where id != host {
                guard try socket.isAlive(namespace: id),
                    let link = try socket.link(index: known.index, namespace: id), isIt(link, known)
                else { continue }
                return (link, id)
            }
            return nil
        }
    }
}
