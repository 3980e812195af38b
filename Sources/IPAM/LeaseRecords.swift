import JSONC
package import Linux
package import Plans

/// The records of a node's leases, a file each. Who changes one holds the folder's lock for that moment: a DEL and a renewal
/// must not bring back what the other has removed.
package struct DHCPRecords: ~Copyable {
    package static let defaultPath = "/var/lib/cni/plexus/leases"
    private static let limit = 1 << 18
    private let directory: Directory

    package static func open(_ path: String) throws(SystemError) -> DHCPRecords {
        var isNew = false
        return DHCPRecords(directory: try Directory.createTrusted(path, mode: 0o700, &isNew))
    }

    /// nil where there never was a lease.
    package static func openIfThere(_ path: String) throws(SystemError) -> DHCPRecords? {
        do throws(SystemError) { return DHCPRecords(directory: try Directory.open(path).trusted()) } catch
            where error.isNotFound
        {
            return nil
        }
    }

    /// Whether the folder is still the one at that path.
    package func isAt(_ path: String) -> Bool { directory.isAt(path) }

    /// No interface's name has a colon: a suffix that has one is told from every name.
    private static func name(_ id: AttachmentID, _ type: (some LeaseRecord).Type) -> String {
        "\(id.containerID)@\(id.interface)\(type.suffix)"
    }

    package func lock() throws(SystemError) -> Lock { try Lock.take(in: directory, "lock") }

    /// nil without one.
    ///
    /// - Throws: also for one that cannot be read.
    package func read<R: LeaseRecord>(_ id: AttachmentID, as type: R.Type) throws(SystemError) -> R? {
        try read(Self.name(id, type), as: type)
    }

    package func read(_ id: AttachmentID) throws(SystemError) -> DHCPRecord? {
        try read(id, as: DHCPRecord.self)
    }

    /// - Parameter name: of a file, which tells its family.
    package func read(_ name: String) throws(SystemError) -> (any LeaseRecord)? {
        name.hasSuffix(DHCPv6Record.suffix)
            ? try read(name, as: DHCPv6Record.self) : try read(name, as: DHCPRecord.self)
    }

    private func read<R: LeaseRecord>(_ name: String, as _: R.Type) throws(SystemError) -> R? {
        guard let bytes = try directory.readIfPresent(name, limit: Self.limit) else { return nil }
        do throws(JSONError) { return try R(Reader(JSON.parse(bytes).value)) } catch {
            throw SystemError(refusing: "the record of a lease, \(name), is damaged: \(error)")
        }
    }

    package func write<R: LeaseRecord>(_ record: R, isDurable: Bool = false) throws(SystemError) {
        try directory.replace(
            Self.name(record.head.id, R.self), with: record.json.bytes(), isDurable: isDurable)
    }

    /// Replaces one that is there.
    ///
    /// - Parameter isDurable: of an address that no record on disk has yet.
    /// - Returns: false when it is gone.
    package func update<R: LeaseRecord>(_ record: R, isDurable: Bool = false) throws(SystemError) -> Bool {
        let lock = try lock()
        defer { extendLifetime(lock) }
        guard directory.contains(Self.name(record.head.id, R.self)) else { return false }
        try write(record, isDurable: isDurable)
        return true
    }

    package func remove(
        _ id: AttachmentID, as type: any LeaseRecord.Type = DHCPRecord.self
    ) throws(SystemError) { try remove(Self.name(id, type)) }

    package func remove(_ name: String) throws(SystemError) {
        let lock = try lock()
        defer { extendLifetime(lock) }
        try directory.remove(name)
        try directory.removeDraft(of: name)
    }

    /// The files' names, and whose they are: also of those that cannot be read.
    package func entries() throws(SystemError) -> [(name: String, id: AttachmentID)] {
        try names().compactMap { name in
            let suffix = name.hasSuffix(DHCPv6Record.suffix) ? DHCPv6Record.suffix : DHCPRecord.suffix
            let parts = name.dropLast(suffix.count).split(separator: "@", maxSplits: 1).map(String.init)
            return parts.count == 2
                ? (name, AttachmentID(containerID: parts[0], interface: parts[1])) : nil
        }
    }

    package func names() throws(SystemError) -> [String] {
        try directory.names().filter { $0.hasSuffix(".json") && !$0.hasPrefix(".") && $0.contains("@") }
    }
}
