package import CNI
import Linux
import Netlink
import Network
package import Plans

/// Pods of which nothing is written down: their links have MAC addresses that are derived from the container's ID.
package struct PodSearch {
    /// A path to the namespace of each link.
    private var paths: [MAC: String] = [:]

    /// Looks into every other namespace that can be reached.
    package init() throws(Failure) {
        for (path, _, _) in networkNamespaces() {
            // Our own, and what goes meanwhile.
            guard let kernel = try? Kernel.open(sandbox: path, mayBeGone: true), kernel.hasSandbox else {
                continue
            }
            do throws(NetlinkError) {
                let links = try kernel.with(.sandbox) { socket throws(NetlinkError) in try socket.links() }
                for mac in links.compactMap(\.mac) { paths[mac] = path }
            } catch {
                throw Failure(.generic, "\(error)")
            }
        }
    }

    /// Whether some namespace has a link of the attachment.
    package func has(_ id: AttachmentID) -> Bool { paths[Attachment(of: id).mac(.sandbox)] != nil }

    /// The namespace that has a link of one of these attachments; without one it counts as gone.
    package func kernel(of ids: [AttachmentID]) throws(Failure) -> Kernel {
        let path = ids.lazy.compactMap { paths[Attachment(of: $0).mac(.sandbox)] }.first
        return try Kernel.open(sandbox: path ?? "", mayBeGone: true)
    }
}
