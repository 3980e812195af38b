import Linux
import Netlink
import Networking
import Plans

/// A bridge that this run uses.
struct HeldBridge {
    let lock: BridgeLock
    let spec: BridgeSpec
    /// Set when this run made the bridge: a MAC address that is given at creation does not change later.
    var mac: MAC?
    var keepsVLANsApart = false
}

/// Held shared by every ADD from looking at a bridge until its process ends, so that no undo deletes a bridge
/// that another ADD counts on. The file stays: it is empty and in /run.
final class BridgeLock: Sendable {
    private let lock: Lock

    /// - Parameter namespace: the number of the one that the bridge is in; names repeat in others.
    static func path(_ bridge: String, in namespace: UInt64) -> String {
        "/run/plexus/bridge.\(namespace).\(bridge).lock"
    }

    init(_ bridge: String, in namespace: UInt64) throws(SystemError) {
        do throws(SystemError) {
            lock = try Lock.take(path: Self.path(bridge, in: namespace), exclusive: false)
        } catch {
            throw error.renamed("lock bridge \(bridge): \(error.operation)")
        }
    }

    /// Whether no other ADD holds the lock.
    func isAlone() -> Bool { lock.upgradeWithoutWaiting() }
}
