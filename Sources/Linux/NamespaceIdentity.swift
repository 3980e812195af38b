internal import Glibc
package import Networking

extension NamespaceIdentity {
    /// Changes with every boot; empty where a sandbox hides it.
    package static func currentBoot() throws(SystemError) -> String {
        do throws(SystemError) {
            let bytes = try readFile("/proc/sys/kernel/random/boot_id", limit: 128)
            return String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
        } catch  where error.isNotFound || error.isNoFile {
            return ""
        }
    }

    /// A path to the namespace for one that lost its own: where it is mounted, or by a process that is in it; nil without
    /// either. The number may be another namespace's by now: the caller compares.
    package func path() -> String? {
        networkNamespaces().first { $0.inode == inode && $0.device == device }?.path
    }
}

/// The network namespaces that a path leads to, each once: those that are mounted, and those of processes.
package func networkNamespaces() -> [(path: String, device: UInt64, inode: UInt64)] {
    var found: [(path: String, device: UInt64, inode: UInt64)] = []
    var seen: Set<UInt64> = []
    func add(_ path: String) {
        var info = stat()
        guard stat(path, &info) == 0, seen.insert(UInt64(info.st_ino)).inserted else { return }
        found.append((path, UInt64(info.st_dev), UInt64(info.st_ino)))
    }
    let mounts = (try? readFile("/proc/self/mountinfo", limit: 1 << 24)) ?? []
    for line in mounts.split(separator: UInt8(ascii: "\n")) {
        // proc(5): the fourth field is what is mounted, `net:[4026531840]`, the fifth where.
        let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
        guard fields.count == 6, fields[3].starts(with: "net:[".utf8) else { continue }
        add(unescaped(fields[4]))
    }
    for name in (try? Directory.open("/proc").names()) ?? []
    where name.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
        add("/proc/\(name)/ns/net")
    }
    return found
}

/// Blanks and the like stand as `\040` there.
private func unescaped(_ field: ArraySlice<UInt8>) -> String {
    var bytes: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
        let digits = rest.prefix(3)
        guard byte == UInt8(ascii: "\\"), digits.count == 3,
            let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
        else {
            bytes.append(byte)
            continue
        }
        bytes.append(value)
        rest = rest.dropFirst(3)
    }
    return String(decoding: bytes, as: UTF8.self)
}
