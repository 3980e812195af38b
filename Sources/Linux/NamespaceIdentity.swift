internal import Glibc

/// What tells a network namespace from every other one, also from those that had its path or its number before.
package struct NamespaceIdentity: Hashable, Sendable {
    /// /proc/sys/kernel/random/boot_id; empty when it cannot be read.
    package var boot: String
    /// Of the file that stands for the namespace. The kernel gives the inode's number again once a namespace is gone.
    package var device: UInt64
    package var inode: UInt64
    /// SO_NETNS_COOKIE, which it gives once; 0 before Linux 5.14.
    package var cookie: UInt64

    package init(boot: String, device: UInt64, inode: UInt64, cookie: UInt64) {
        self.boot = boot
        self.device = device
        self.inode = inode
        self.cookie = cookie
    }

    /// Changes with every boot; empty where a sandbox hides it.
    package static func currentBoot() throws(SystemError) -> String {
        do throws(SystemError) {
            let bytes = try readFile("/proc/sys/kernel/random/boot_id", limit: 128)
            return String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
        } catch  where error.isNotFound || error.isNoFile {
            return ""
        }
    }

    /// Whether both are one namespace. What one of them does not know is not compared.
    package func isSame(as other: NamespaceIdentity) -> Bool {
        device == other.device && inode == other.inode
            && (boot == other.boot || boot.isEmpty || other.boot.isEmpty)
            && (cookie == other.cookie || cookie == 0 || other.cookie == 0)
    }
}

extension NamespaceIdentity {
    /// A path to the namespace by a process that is in it, for one that lost its own; nil when no process is. The number may
    /// be another namespace's by now: the caller compares.
    package func pathOfProcess() -> String? {
        guard let names = try? Directory.open("/proc").names() else { return nil }
        for name in names where name.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            var info = stat()
            let path = "/proc/\(name)/ns/net"
            if stat(path, &info) == 0, UInt64(info.st_ino) == inode, UInt64(info.st_dev) == device {
                return path
            }
        }
        return nil
    }
}
