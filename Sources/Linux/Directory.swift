internal import CLinux
internal import Glibc
internal import Networking

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

    /// Opens or makes a directory that nobody but root and this user can write to, nor to the one that it is in.
    ///
    /// - Parameter isNew: becomes true when it was not there.
    package static func createTrusted(
        _ path: String, mode: UInt32, _ isNew: inout Bool
    ) throws(SystemError) -> Directory {
        let descriptor: Descriptor
        do throws(SystemError) {
            descriptor = try Descriptor.open(path, flags | O_NOFOLLOW)
        } catch  where error.isNotFound {
            isNew = true
            try make(path, mode)
            descriptor = try Descriptor.open(path, flags | O_NOFOLLOW)
        }
        let directory = try Directory(descriptor: descriptor, path: path).trusted()
        try requireTrusted(directory.descriptor, "..", path)
        return directory
    }

    /// This directory, if nobody but root and this user can write to it.
    /// Whether it is still the one at that path.
    package func isAt(_ path: String) -> Bool {
        guard let own = try? descriptor.status(path),
            let other = try? Directory.open(path).descriptor.status(path)
        else { return false }
        return own.st_dev == other.st_dev && own.st_ino == other.st_ino
    }

    package consuming func trusted() throws(SystemError) -> Directory {
        try requireTrusted(descriptor.status(path), path)
        return self
    }

    /// One two levels below this one, which is trusted; links are not followed, and each level must be trusted too.
    package func trusted(_ parent: String, _ name: String) throws(SystemError) -> Directory {
        // Nobody else can replace it afterwards.
        try requireTrusted(descriptor, parent, path)
        let found = try Descriptor.open(
            "\(parent)/\(name)", Self.flags | O_NOFOLLOW, in: descriptor.raw, below: path)
        return try Directory(descriptor: found, path: "\(path)/\(parent)/\(name)").trusted()
    }

    /// The content of a regular file; a link is refused.
    ///
    /// - Parameter isTrusted: refuses a file that others can write to.
    package func read(_ name: String, limit: Int, isTrusted: Bool = false) throws(SystemError) -> [UInt8] {
        let file = try Descriptor.open(
            name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, in: descriptor.raw, below: path)
        let info = try file.status("\(path)/\(name)")
        if isTrusted { try requireTrusted(info, "\(path)/\(name)") }
        try requireRegular(info, "\(path)/\(name)")
        return try file.readAll(limit: limit, name: "\(path)/\(name)", isRegular: true)
    }

    /// nil when there is no such file.
    package func readIfPresent(_ name: String, limit: Int, isTrusted: Bool = false) throws(SystemError)
        -> [UInt8]?
    {
        do throws(SystemError) { return try read(name, limit: limit, isTrusted: isTrusted) } catch
            where error.isNotFound
        {
            return nil
        }
    }

    /// Writes a new file under a temporary name, then renames it over `name`; one at a time for each name.
    ///
    /// - Parameter isDurable: waits for the disk. Otherwise the file may be empty after a power cut, and readers take that for
    ///   "unknown".
    package func replace(
        _ name: String, with bytes: [UInt8], mode: UInt32 = 0o600, isDurable: Bool = false
    ) throws(SystemError) {
        let draft = try writeDraft(name, bytes, mode)
        defer { if isDurable { fsync(descriptor.raw) } }
        if isDurable {
            let file = try Descriptor.open(
                draft, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, in: descriptor.raw, below: path)
            guard fsync(file.raw) == 0 else {
                let error = SystemError("fsync \(path)/\(draft)")
                unlinkat(descriptor.raw, draft, 0)
                throw error
            }
        }
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
            file = try Descriptor.open(
                name, O_WRONLY | O_CREAT | O_EXCL, mode: mode, in: descriptor.raw, below: path)
        } catch  where error.code == .alreadyExists {
            return false
        }
        do throws(SystemError) { try file.writeAll(bytes, name: "\(path)/\(name)") } catch {
            unlinkat(descriptor.raw, name, 0)
            throw error
        }
        return true
    }

    /// Adds to the end of a file: all of `bytes` or nothing, unless the process is killed over it.
    ///
    /// - Returns: false, with nothing added, when the file would have more than `limit` bytes.
    package func append(_ name: String, _ bytes: [UInt8], limit: Int) throws(SystemError) -> Bool {
        let file = try Descriptor.open(
            name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK, in: descriptor.raw, below: path)
        let info = try file.status("\(path)/\(name)")
        guard Int(info.st_size) + bytes.count <= limit else { return false }
        do throws(SystemError) { try file.writeAll(bytes, name: "\(path)/\(name)") } catch {
            ftruncate(file.raw, info.st_size)
            throw error
        }
        return true
    }

    /// A file of one short text that may be lost, open from its reading to its writing.
    package struct Hint: ~Copyable {
        fileprivate let file: Descriptor?
        /// Its first bytes; none when there is no such file.
        package let bytes: [UInt8]
    }

    /// A link, and what is no file, counts as not there.
    package func hint(_ name: String) -> Hint {
        let flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK
        guard let file = try? Descriptor.open(name, flags, in: descriptor.raw, below: path) else {
            return Hint(file: nil, bytes: [])
        }
        var isFile = true
        let size = 64
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            let got = retrying { pread(file.raw, buffer.baseAddress, size, 0) }
            isFile = got >= 0
            count = max(got, 0)
        }
        return isFile ? Hint(file: file, bytes: bytes) : Hint(file: nil, bytes: [])
    }

    /// Writes a hint in place, or makes its file. A link or a pipe of that name gives way.
    ///
    /// Not emptied first: for that ext4 looks for new room, and writes the file out as soon as it is closed, ten times
    /// the work. A process that is killed before it has cut what is left of a longer text leaves both mixed.
    package func write(
        _ name: String, _ bytes: [UInt8], over hint: borrowing Hint, mode: UInt32 = 0o600
    ) throws(SystemError) {
        switch hint.file {
        case .some(let file):
            let count = retrying { pwrite(file.raw, bytes, bytes.count, 0) }
            guard count == bytes.count else { throw SystemError("write \(path)/\(name)") }
            guard hint.bytes.count <= bytes.count || ftruncate(file.raw, off_t(bytes.count)) == 0 else {
                throw SystemError("truncate \(path)/\(name)")
            }
        case .none:
            if try createExclusive(name, bytes, mode: mode) { return }
            try remove(name)
            _ = try createExclusive(name, bytes, mode: mode)
        }
    }

    /// The same for every process, so that what a crash left is found again.
    private static func draft(of name: String) -> String { ".\(name).tmp" }

    /// The name that `replace` was to give a draft; nil for another file.
    package static func nameOfDraft(_ file: String) -> String? {
        file.hasPrefix(".") && file.hasSuffix(".tmp") ? String(file.dropFirst().dropLast(4)) : nil
    }

    /// Removes what `replace` of this name leaves when it is killed.
    package func removeDraft(of name: String) throws(SystemError) { try remove(Self.draft(of: name)) }

    private func writeDraft(_ name: String, _ bytes: [UInt8], _ mode: UInt32) throws(SystemError) -> String {
        let draft = Self.draft(of: name)
        if try createExclusive(draft, bytes, mode: mode) { return draft }
        // A process died while it wrote the file.
        unlinkat(descriptor.raw, draft, 0)
        guard try createExclusive(draft, bytes, mode: mode) else {
            throw SystemError(operation: "create \(path)/\(draft)", code: .alreadyExists)
        }
        return draft
    }

    /// - Returns: false when there was no such file.
    @discardableResult
    package func remove(_ name: String) throws(SystemError) -> Bool {
        if unlinkat(descriptor.raw, name, 0) == 0 { return true }
        // An empty directory in a file's place goes as well.
        if errno == EISDIR, unlinkat(descriptor.raw, name, AT_REMOVEDIR) == 0 { return true }
        guard errno == ENOENT else { throw SystemError("remove \(path)/\(name)") }
        return false
    }

    /// All names but `.` and `..`, in no order.
    package func names() throws(SystemError) -> [String] {
        var names: [String] = []
        try forEachName { name, _ in names.append(String(decoding: name, as: UTF8.self)) }
        return names
    }

    /// Names and contents of the files. Links, what is no file, and files of more than `limit` bytes are passed over.
    package func forEachFile(
        limit: Int, _ body: (_ name: ArraySlice<UInt8>, _ content: ArraySlice<UInt8>) -> Void
    ) throws(SystemError) {
        // One buffer for all: there may be tens of thousands.
        var content = [UInt8](unsafeUninitializedCapacity: limit + 1) { _, count in count = limit + 1 }
        try forEachName { name, mayBeFile throws(SystemError) in
            guard mayBeFile else { return }
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
            let file = (name + [0]).withUnsafeBytes { bytes in
                bytes.bindMemory(to: CChar.self).baseAddress.map {
                    clinux_openat(descriptor.raw, $0, flags, 0)
                } ?? -1
            }
            guard file >= 0 else { return try refuse(name) }
            let count = content.withUnsafeMutableBytes { bytes in
                retrying { Glibc.read(file, bytes.baseAddress, bytes.count) }
            }
            let code = errno
            close(file)
            errno = code
            guard count >= 0 else { return try refuse(name) }
            if count <= limit { body(name, content[..<count]) }
        }
    }

    /// Ignores files that are gone by now, and what is no file; reads errno of the last call.
    private func refuse(_ name: ArraySlice<UInt8>) throws(SystemError) {
        let error = SystemError("read \(path)/\(String(decoding: name, as: UTF8.self))")
        guard error.isNotFound || error.isNoFile else { throw error }
    }

    private func forEachName(
        _ body: (_ name: ArraySlice<UInt8>, _ mayBeFile: Bool) throws(SystemError) -> Void
    ) throws(SystemError) {
        let size = 32768
        // An earlier listing left the position at the end.
        lseek(descriptor.raw, 0, SEEK_SET)
        while true {
            var code: CInt = 0
            // Not zeroed: a page that the kernel does not fill is never touched.
            let buffer = [UInt8](unsafeUninitializedCapacity: size) { bytes, count in
                let got = clinux_getdents(descriptor.raw, bytes.baseAddress, size)
                code = got < 0 ? errno : 0
                count = max(got, 0)
            }
            guard code == 0 else { throw SystemError(operation: "list \(path)", code: Errno(rawValue: code)) }
            if buffer.isEmpty { return }
            var start = 0
            // getdents64(2): inode, offset, 16 bits of length, a byte of type, the name with its NUL.
            while start < buffer.count {
                let length = Int(buffer[start + 16]) | Int(buffer[start + 17]) << 8
                let name = buffer[(start + 19)..<(start + length)].prefix { $0 != 0 }
                let isDots = name.allSatisfy { $0 == UInt8(ascii: ".") } && name.count <= 2
                // Not every file system gives the type.
                let type = Int32(buffer[start + 18])
                if !isDots { try body(name, type == Int32(DT_REG) || type == Int32(DT_UNKNOWN)) }
                start += length
            }
        }
    }

    /// Whether a file has one of these texts somewhere; false for one that cannot be read.
    package func contains(_ texts: [[UInt8]], in name: String, limit: Int) -> Bool {
        guard let content = try? read(name, limit: limit) else { return false }
        return texts.contains { clinux_contains(content, content.count, $0, $0.count) != 0 }
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

    func openLock(_ name: String, mode: UInt32, writable: Bool) throws(SystemError) -> Descriptor {
        try Descriptor.open(
            name, (writable ? O_RDWR : O_RDONLY) | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: mode,
            in: descriptor.raw, below: path)
    }
}

/// Owned by root or this user; writable by others not at all, and by a group only if it is root's.
///
/// - Parameter path: told on failure alone: splitting and joining texts costs more than all the rest here.
private func requireTrusted(_ info: stat, _ path: @autoclosure () -> String) throws(SystemError) {
    let isOpenToAll = info.st_mode & S_IWOTH != 0
    let isForeign = info.st_uid != 0 && info.st_uid != geteuid()
    let isOpen = isOpenToAll || info.st_mode & S_IWGRP != 0 && info.st_gid != 0
    guard isForeign || isOpen else { return }
    let path = path()
    var problems: [String] = []
    var fixes: [String] = []
    if isForeign {
        problems.append("belongs to user \(info.st_uid), not to root")
        fixes.append("chown root \(shellQuoted(path))")
    }
    if isOpen {
        problems.append("is writable by \(isOpenToAll ? "everybody" : "group \(info.st_gid)")")
        fixes.append("chmod go-w \(shellQuoted(path))")
    }
    let facts = "owner \(info.st_uid):\(info.st_gid), mode \(String(info.st_mode & 0o7777, radix: 8))"
    throw SystemError(
        refusing: "\(path) \(problems.joined(separator: " and ")) (\(facts)): refused",
        fix: fixes.joined(separator: " && "))
}

/// The same of a directory in this one, or of the one that it is in, `..`.
private func requireTrusted(
    _ file: borrowing Descriptor, _ name: String, _ path: String
) throws(SystemError) {
    var place: String { name == ".." ? parent(of: path) : "\(path)/\(name)" }
    var info = stat()
    guard fstatat(file.raw, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { throw SystemError("stat \(place)") }
    guard info.st_mode & S_IFMT == S_IFDIR else {
        throw SystemError(operation: "\(place) is no directory", code: .notDirectory)
    }
    try requireTrusted(info, place)
}

/// By the text alone: symbolic links on the way are followed, as commands do.
private func parent(of path: String) -> String {
    let parts = path.split(separator: "/").dropLast()
    return (path.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
}
