package import CNI
import Linux
import Netlink
package import Networking
package import Plans

/// Attachments without a record: their links have MAC addresses that are derived from the container's ID, and sit
/// on links of this host. Those that other programs attached have at least their addresses.
package struct PodSearch {
    /// A path to the namespace of each link.
    private var paths: [MAC: String] = [:]
    /// The addresses on the links of other namespaces.
    private var addresses: Set<IPAddress> = []

    /// Looks into every other namespace that can be reached.
    package init() throws(Failure) {
        for (path, _, _) in networkNamespaces() {
            // Our own namespace, and those that are removed meanwhile.
            guard let kernel = try? Kernel.open(sandbox: path, mayBeGone: true) else { continue }
            for mac in try kernel.tiedMACs() { paths[mac] = path }
            addresses.formUnion(try kernel.sandboxAddresses())
        }
    }

    /// Whether some namespace has the address on a link, whoever attached that.
    package func has(_ address: IPAddress) -> Bool { addresses.contains(address) }

    /// Whether some namespace has a link of the attachment.
    package func has(_ id: AttachmentID) -> Bool { paths[Attachment(of: id).mac(.sandbox)] != nil }

    /// The namespace that has a link of one of these attachments; without one it counts as gone.
    package func kernel(of ids: [AttachmentID]) throws(Failure) -> Kernel {
        for mac in ids.map({ Attachment(of: $0).mac(.sandbox) }) {
            guard let path = paths[mac] else { continue }
            // A path by a process's number may lead elsewhere by now.
            let kernel = try Kernel.open(sandbox: path, mayBeGone: true)
            if try kernel.tiedMACs().contains(mac) { return kernel }
        }
        return try Kernel.ofHost()
    }
}

extension Kernel {
    /// The addresses on the sandbox's links, whatever they are called.
    package func sandboxAddresses() throws(Failure) -> Set<IPAddress> {
        guard hasSandbox else { return [] }
        do throws(SystemError) {
            return try with(.sandbox) { socket throws(SystemError) in
                Set(try socket.addressesByLink().values.joined())
            }
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }

    /// Of the sandbox's links that are tied to one of the host's.
    fileprivate func tiedMACs() throws(Failure) -> [MAC] {
        guard hasSandbox else { return [] }
        do throws(SystemError) {
            return try everyLink(.sandbox).filter(\.1.isTiedToHost).compactMap(\.1.mac)
        } catch {
            throw Failure(.generic, "\(error)")
        }
    }
}
