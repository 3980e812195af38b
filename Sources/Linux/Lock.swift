internal import Glibc

/// flock(2), held as long as the value lives.
package struct Lock: ~Copyable, Sendable {
    private let file: Descriptor

    private init(_ file: consuming Descriptor) { self.file = file }

    /// Waits for the lock on a file in `directory`, which is made when missing.
    package static func take(
        in directory: borrowing Directory, _ name: String, mode: UInt32 = 0o600, exclusive: Bool = true
    ) throws(SystemError) -> Lock {
        let file = try directory.openLock(name, mode: mode)
        guard retrying({ flock(file.raw, exclusive ? LOCK_EX : LOCK_SH) }) == 0 else { throw SystemError("lock \(name)") }
        return Lock(file)
    }

    /// The same on a file that its last holder removes: who waited meanwhile starts again with the new file.
    package static func takeRemovable(in directory: borrowing Directory, _ name: String) throws(SystemError) -> Lock {
        while true {
            let lock = try take(in: directory, name)
            if directory.isCurrent(name, lock.file) { return lock }
        }
    }

    /// From shared to exclusive, if nobody else holds it.
    package func upgradeWithoutWaiting() -> Bool { flock(file.raw, LOCK_EX | LOCK_NB) == 0 }
}
