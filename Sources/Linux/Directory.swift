internal import CLinux
internal import Glibc

/// An open directory: names below it are used without following links.
package struct Directory: ~Copyable, Sendable {
    private let descriptor: Descriptor
    private let path: String

    private static let flags = O_RDONLY | O_DIRECTORY

    package static func open(_ path: String) throws(SystemError) -> Directory {
        Directory(descriptor: try Descriptor.open(path, flags), path: path)
    }

    /// Opens a directory, and makes it with its parents when it is missing.
    package static func create(_ path: String, mode: UInt32 = 0o700) throws(SystemError) -> Directory {
        do throws(SystemError) { return try open(path) } catch  where error.isNotFound {}
        try make(path, mode)
        return try open(path)
    }

    /// Makes a directory; most often the last part alone is missing.
    static func make(_ path: String, _ mode: UInt32) throws(SystemError) {
        if mkdir(path, mode) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
            throw SystemError("mkdir \(path)")
        }
        try make(String(path[..<slash]), mode)
        guard mkdir(path, mode) == 0 || errno == EEXIST else { throw SystemError("mkdir \(path)") }
    }

    /// - Parameter name: may have several parts; the last one is not followed if it is a link.
    package func subdirectory(_ name: String) throws(SystemError) -> Directory {
        Directory(
            descriptor: try Descriptor.open(name, Self.flags | O_NOFOLLOW, in: descriptor.raw),
            path: "\(path)/\(name)")
    }

    /// Owned by root or this user, and not writable by others.
    package func isSafe() -> Bool {
        var info = stat()
        guard fstat(descriptor.raw, &info) == 0 else { return false }
        return (info.st_uid == 0 || info.st_uid == geteuid()) && info.st_mode & S_IWOTH == 0
    }

    /// The content of a file; a link is refused, and a pipe that nobody writes to is empty.
    package func read(_ name: String, limit: Int) throws(SystemError) -> [UInt8] {
        let file = try Descriptor.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, in: descriptor.raw)
        return try file.readAll(limit: limit, name: "\(path)/\(name)", isRegular: true)
    }

    /// nil when there is no such file.
    package func readIfPresent(_ name: String, limit: Int) throws(SystemError) -> [UInt8]? {
        do throws(SystemError) { return try read(name, limit: limit) } catch  where error.isNotFound {
            return nil
        }
    }

    /// Writes a new file under a temporary name, then renames it over `name`; one at a time for each name.
    ///
    /// Without fsync: after a power cut the file may be empty, and readers take that for "unknown".
    package func replace(_ name: String, with bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemError) {
        let draft = try writeDraft(name, bytes, mode)
        guard clinux_renameat(descriptor.raw, draft, name) == 0 else {
            let error = SystemError("rename \(path)/\(draft) to \(name)")
            unlinkat(descriptor.raw, draft, 0)
            throw error
        }
    }

    /// Makes a file with this content. One whose writing a crash cut short is empty.
    ///
    /// - Returns: false when the name is taken.
    package func createExclusive(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemError)
        -> Bool
    {
        let file: Descriptor
        do throws(SystemError) {
            file = try Descriptor.open(name, O_WRONLY | O_CREAT | O_EXCL, mode: mode, in: descriptor.raw)
        } catch  where error.code == EEXIST {
            return false
        }
        do throws(SystemError) { try file.writeAll(bytes, name: "\(path)/\(name)") } catch {
            unlinkat(descriptor.raw, name, 0)
            throw error
        }
        return true
    }

    /// Writes a file in place, for content that may be lost.
    package func write(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemError) {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
        try Descriptor.open(name, flags, mode: mode, in: descriptor.raw).writeAll(
            bytes, name: "\(path)/\(name)")
    }

    /// The same for every process, so that what a crash left is found again.
    private static func draft(of name: String) -> String { ".\(name).tmp" }

    /// Removes what `replace` of this name leaves when it is killed.
    package func removeDraft(of name: String) throws(SystemError) { try remove(Self.draft(of: name)) }

    private func writeDraft(_ name: String, _ bytes: [UInt8], _ mode: UInt32) throws(SystemError) -> String {
        let draft = Self.draft(of: name)
        if try createExclusive(draft, bytes, mode: mode) { return draft }
        // A process died over it.
        unlinkat(descriptor.raw, draft, 0)
        guard try createExclusive(draft, bytes, mode: mode) else {
            throw SystemError(operation: "create \(path)/\(draft)", code: EEXIST)
        }
        return draft
    }

    /// - Returns: false when there was no such file.
    @discardableResult
    package func remove(_ name: String) throws(SystemError) -> Bool {
        if unlinkat(descriptor.raw, name, 0) == 0 { return true }
        guard errno == ENOENT else { throw SystemError("remove \(path)/\(name)") }
        return false
    }

    /// All names but `.` and `..`, in no order; once for each opening of the directory.
    package func names() throws(SystemError) -> [String] {
        var names: [String] = []
        var buffer = [UInt8](repeating: 0, count: 32768)
        while true {
            let count = clinux_getdents(descriptor.raw, &buffer, buffer.count)
            guard count >= 0 else { throw SystemError("list \(path)") }
            if count == 0 { return names }
            var start = 0
            // getdents64(2): inode, offset, 16 bits of length, a byte of type, the name with its NUL.
            while start < count {
                let length = Int(buffer[start + 16]) | Int(buffer[start + 17]) << 8
                let name = String(
                    decoding: buffer[(start + 19)..<(start + length)].prefix { $0 != 0 }, as: UTF8.self)
                if name != ".", name != ".." { names.append(name) }
                start += length
            }
        }
    }

    package func contains(_ name: String) -> Bool {
        faccessat(descriptor.raw, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0
    }

    /// Whether `name` is a regular file without content.
    package func isEmptyFile(_ name: String) -> Bool {
        var info = stat()
        return fstatat(descriptor.raw, name, &info, AT_SYMLINK_NOFOLLOW) == 0
            && info.st_mode & S_IFMT == S_IFREG && info.st_size == 0
    }

    func openLock(_ name: String, mode: UInt32) throws(SystemError) -> Descriptor {
        try Descriptor.open(name, O_RDONLY | O_CREAT | O_NOFOLLOW, mode: mode, in: descriptor.raw)
    }
}

/// What a symbolic link says; nil when it is none.
package func linkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
}

package func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

package func isRegularFile(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
}
