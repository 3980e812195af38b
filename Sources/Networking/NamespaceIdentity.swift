/// What tells a network namespace from every other one, also from those that had its path or its number before.
package struct NamespaceIdentity: Hashable, Sendable {
    /// /proc/sys/kernel/random/boot_id; empty when it cannot be read.
    package var boot: String
    /// Of the file that stands for the namespace. The kernel gives the inode's number again once a namespace is gone.
    package var device: UInt64
    package var inode: UInt64
    /// SO_NETNS_COOKIE, which the kernel never gives twice; 0 before Linux 5.14.
    package var cookie: UInt64

    package init(boot: String, device: UInt64, inode: UInt64, cookie: UInt64) {
        self.boot = boot
        self.device = device
        self.inode = inode
        self.cookie = cookie
    }

    /// Whether both are one namespace. What one of them does not know is not compared.
    package func isSame(as other: NamespaceIdentity) -> Bool {
        device == other.device && inode == other.inode
            && (boot == other.boot || boot.isEmpty || other.boot.isEmpty)
            && (cookie == other.cookie || cookie == 0 || other.cookie == 0)
    }
}
