internal import CLinux
internal import Glibc

/// How a log file is kept small: the key `logOptions` of Multus, in its units and with its defaults. Old files are beside
/// it, as `multus-2026-01-02T03-04-05.006.log`, and get `.gz` behind that.
package struct LogRotation: Equatable, Sendable {
    /// Days that an old file is kept; 0 for ever.
    package var maxAge = 5
    /// Megabytes (2^20 bytes) of the file that is written to; 0 for 100.
    package var maxSize = 100
    /// Old files that are kept; 0 for all.
    package var maxBackups = 5
    /// Whether gzip compresses old files.
    package var compress = true

    package init() {}

    private var limit: Int { (maxSize == 0 ? 100 : maxSize) << 20 }

    func isFull(_ size: Int, with line: Int) -> Bool { size > 0 && size + line > limit }

    /// Gives a full file another name, once however many processes write to it, and removes and compresses old ones.
    ///
    /// - Parameter file: open; it is locked while it is renamed.
    func rotate(_ path: String, _ file: borrowing Descriptor) {
        // Somebody else is at it, or was: what is written goes into whichever file that leaves.
        guard flock(file.raw, LOCK_EX | LOCK_NB) == 0, isThe(path, file) else { return }
        let name = Name(path)
        guard rename(path, name.backup(Self.stamp(daysAgo: 0))) == 0 else { return }
        tidy(name)
    }

    /// Whether the path still leads to this file.
    private func isThe(_ path: String, _ file: borrowing Descriptor) -> Bool {
        var named = stat()
        guard lstat(path, &named) == 0, let own = try? file.status(path) else { return false }
        return named.st_dev == own.st_dev && named.st_ino == own.st_ino
    }

    private func tidy(_ name: Name) {
        guard let directory = try? Directory.open(name.directory), let names = try? directory.names() else {
            return
        }
        let oldest = maxAge == 0 ? "" : Self.stamp(daysAgo: maxAge)
        // The newest first.
        let backups = names.compactMap(name.stamp).sorted { $0.stamp > $1.stamp }
        for (index, backup) in backups.enumerated() {
            let isExcess = maxBackups > 0 && index >= maxBackups
            if isExcess || backup.stamp < oldest {
                _ = try? directory.remove(backup.name)  // the next rotation tries it again
            } else if compress, !backup.isCompressed {
                startCompressing("\(name.directory)/\(backup.name)")
            }
        }
    }

    /// It goes on when this process has ended: a hundred megabytes take seconds. Without gzip the file stays as it is.
    private func startCompressing(_ path: String) {
        let programs: [String] = ["/usr/bin/gzip", "/bin/gzip"]
        if let program = programs.first(where: { access($0, X_OK) == 0 }) {
            clinux_spawn_detached(program, "-f", path)
        }
    }

    /// As the names of old files have the time: UTC, to the millisecond.
    private static func stamp(daysAgo days: Int) -> String {
        var text = [CChar](repeating: 0, count: 32)
        clinux_filestamp(&text, text.count, Int64(days) * 86400)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The parts of a log file's path.
    private struct Name {
        let directory: String
        private let head: String
        private let ending: String

        init(_ path: String) {
            let slash = path.lastIndex(of: "/") ?? path.startIndex
            directory = String(path[..<slash])
            let file = path[slash...].dropFirst()
            let dot = file.lastIndex(of: ".") ?? file.endIndex
            head = "\(file[..<dot])-"
            ending = String(file[dot...])
        }

        func backup(_ stamp: String) -> String { "\(directory)/\(head)\(stamp)\(ending)" }

        /// nil for a file that is no old one of this log.
        func stamp(_ name: String) -> (name: String, stamp: String, isCompressed: Bool)? {
            let isCompressed = name.hasSuffix(".gz")
            let plain = isCompressed ? name.dropLast(3) : name[...]
            guard plain.hasPrefix(head), plain.hasSuffix(ending),
                plain.utf8.count == head.utf8.count + ending.utf8.count + Self.pattern.count
            else { return nil }
            let stamp = plain.dropFirst(head.count).dropLast(ending.count)
            let isOne = zip(stamp.utf8, Self.pattern).allSatisfy { byte, wanted in
                wanted == UInt8(ascii: "0")
                    ? (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) : byte == wanted
            }
            return isOne ? (name, String(stamp), isCompressed) : nil
        }

        private static let pattern = Array("0000-00-00T00-00-00.000".utf8)
    }
}
