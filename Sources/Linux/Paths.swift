internal import Glibc
internal import Networking

/// What a symbolic link says; nil if the path is not one.
package func linkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
}

/// The kind of file at a path, in one or two words; nil when there is none.
package func fileKind(_ path: String) -> String? {
    var info = stat()
    guard lstat(path, &info) == 0 else { return nil }
    if info.st_mode & S_IFMT == S_IFLNK, stat(path, &info) != 0 { return "symbolic link that leads nowhere" }
    return switch info.st_mode & S_IFMT {
    case S_IFREG: "file"
    case S_IFDIR: "directory"
    case S_IFIFO: "named pipe"
    case S_IFSOCK: "socket"
    default: "device"
    }
}

/// What keeps a file from being made at `path`, and how it is put aside: a part of the path that is no directory, or
/// something else than a file at its end. nil when nothing does.
package func obstacle(to path: String) -> (problem: String, fix: String)? {
    let parts = path.split(separator: "/")
    var place = ""
    for (index, part) in parts.enumerated() {
        place += "/\(part)"
        let isEnd = index == parts.count - 1
        guard let kind = fileKind(place) else { return nil }
        let found = isEnd && linkTarget(place) != nil ? "symbolic link" : kind
        let wanted = isEnd ? "file" : "directory"
        guard found != wanted else { continue }
        return (
            "\(place) is a \(found), where a \(wanted) belongs",
            "mv \(shellQuoted(place)) \(shellQuoted(place + ".old"))"
        )
    }
    return nil
}

/// Whether a configured folder is a file, or is to be below one: then the configuration is wrong, and not the file.
package func isBelowFile(_ folder: String) -> Bool {
    var place = ""
    for part in folder.split(separator: "/") {
        place += "/\(part)"
        guard let kind = fileKind(place) else { return false }
        if kind != "directory" { return true }
    }
    return false
}

/// Whether this user may run it.
package func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }

package func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Nanoseconds since 1970; nil without the file.
package func modificationTime(_ path: String) -> Int64? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    return Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec)
}

package func isRegularFile(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG
}

/// The host's name, as uname(2) has it.
package func hostName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}
