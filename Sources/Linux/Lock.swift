internal import Glibc

/// flock(2), held as long as the value lives.
package struct Lock: ~Copyable, Sendable {
    private let file: Descriptor

    private init(_ file: consuming Descriptor) { self.file = file }

    /// Waits for the lock on a file in `directory`, which is made when missing.
    package static func take(
        in directory: borrowing Directory, _ name: String, mode: UInt32 = 0o600, exclusive: Bool = true,
        writable: Bool = false
    ) throws(SystemError) -> Lock {
        Lock(try held(directory.openLock(name, mode: mode, writable: writable), name, exclusive))
    }

    /// The same on a file that its last holder removes: who waited meanwhile starts again with the new file. What is
    /// no file gives way.
    ///
    /// - Parameter writable: for `write`; it can be had only on a disk that takes something new.
    package static func takeRemovable(
        in directory: borrowing Directory, _ name: String, writable: Bool = false
    ) throws(SystemError) -> Lock {
        while true {
            let lock: Lock
            do throws(SystemError) { lock = try take(in: directory, name, writable: writable) } catch
                where error.isNoFile
            {
                try directory.remove(name)
                lock = try take(in: directory, name, writable: writable)
            }
            var info = stat()
            if fstat(lock.file.raw, &info) == 0, info.st_nlink > 0 { return lock }
        }
    }

    /// What the file says; empty when it says nothing, or cannot be read.
    package func text() -> String {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = retrying { pread(file.raw, &bytes, bytes.count, 0) }
        return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
    }

    /// Writes the file's text. On a full disk it is lost, which nothing depends on.
    package func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = retrying { pwrite(file.raw, bytes, bytes.count, 0) }
    }

    /// Waits for the lock on the file at `path`; its directory is made when missing.
    package static func take(path: String, exclusive: Bool) throws(SystemError) -> Lock {
        let flags = O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK
        do throws(SystemError) { return Lock(try held(Descriptor.open(path, flags), path, exclusive)) } catch
            where error.isNotFound
        {
            try Directory.make("/" + path.split(separator: "/").dropLast().joined(separator: "/"), 0o700)
        }
        return Lock(try held(Descriptor.open(path, flags), path, exclusive))
    }

    private static func held(
        _ file: consuming Descriptor, _ name: String, _ exclusive: Bool
    ) throws(SystemError) -> Descriptor {
        guard retrying({ flock(file.raw, exclusive ? LOCK_EX : LOCK_SH) }) == 0 else {
            throw SystemError("lock \(name)")
        }
        return file
    }

    /// Changes it from shared to exclusive, if nobody else holds it.
    package func upgradeWithoutWaiting() -> Bool { flock(file.raw, LOCK_EX | LOCK_NB) == 0 }
}
