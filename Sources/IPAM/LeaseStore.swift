import CNI
import Linux
import Networking
import Plans

/// host-local's files: one for each address that is out, named by it, and the last one given of each set. Byte for
/// byte the reference's, and under the same lock: both may work on one directory at the same time.
struct LeaseStore: ~Copyable {
    private let directory: Directory
    /// Bytes: container ID and interface name, of which libcni makes a file's name.
    private static let limit = 4096

    static func open(_ path: String) throws(SystemError) -> LeaseStore {
        LeaseStore(directory: try Directory.create(path, mode: 0o755))
    }

    /// nil when there is no such directory: no address was ever given.
    static func openIfPresent(_ path: String) throws(SystemError) -> LeaseStore? {
        do throws(SystemError) { return LeaseStore(directory: try Directory.open(path)) } catch
            where error.isNotFound || error.isNoDirectory
        {
            return nil
        }
    }

    /// flock(2) on `lock`, as the reference takes it.
    func lock() throws(SystemError) -> Lock {
        do throws(SystemError) { return try Lock.take(in: directory, "lock", mode: 0o750) } catch
            where error.isNoFile
        {
            throw SystemError(refusing: "its lock is no file: rm -r the lock there")
        }
    }

    /// To remove something. nil when there is no file for it and the disk takes nothing new: nobody else has it then.
    func lockIfThere() throws(SystemError) -> Lock? {
        do throws(SystemError) { return try lock() } catch  where error.hasNoRoom { return nil }
    }

    /// `<containerID>\r\n<interface>`, without a newline at the end.
    private static func content(_ id: AttachmentID) -> String {
        "\(trimmed(id.containerID))\r\n\(id.interface)"
    }

    /// Writes down that `id` has `address`.
    ///
    /// - Returns: false when it has an owner. An empty file, which a crash left, has none.
    func reserve(_ address: IPAddress, _ id: AttachmentID) throws(SystemError) -> Bool {
        let bytes = Array(Self.content(id).utf8)
        if try directory.createExclusive("\(address)", bytes, mode: 0o600) { return true }
        guard directory.isEmptyFile("\(address)") else { return false }
        try directory.remove("\(address)")
        return try directory.createExclusive("\(address)", bytes, mode: 0o600)
    }

    func isFree(_ address: IPAddress) -> Bool {
        !directory.contains("\(address)") || directory.isEmptyFile("\(address)")
    }

    /// The container that has an address, for an error.
    func owner(of address: IPAddress) -> String? {
        guard let bytes = try? directory.read("\(address)", limit: Self.limit) else { return nil }
        let owner = Self.parse(String(decoding: bytes, as: UTF8.self))
        return owner.containerID.isEmpty ? nil : owner.containerID
    }

    /// The last address that was given of a set: after it the search for the next one begins. A hint, no more.
    struct LastReserved: ~Copyable {
        fileprivate let name: String
        fileprivate let hint: Directory.Hint
        let address: IPAddress?
    }

    func lastReserved(set: Int) -> LastReserved {
        let name = "last_reserved_ip.\(set)"
        let hint = directory.hint(name)
        let address = IPAddress(parsing: String(decoding: hint.bytes, as: UTF8.self))
        return LastReserved(name: name, hint: hint, address: address)
    }

    func setLastReserved(_ address: IPAddress, over last: borrowing LastReserved) throws(SystemError) {
        try directory.write(last.name, Array("\(address)".utf8), over: last.hint, mode: 0o600)
    }

    struct Entry {
        /// The file's name: another program may have written the address in another form.
        let name: String
        let address: IPAddress
        let owner: String
    }

    /// Every address that is out, one at a time: there may be tens of thousands.
    ///
    /// - Parameter containerID: only those whose owner begins so, and those without an owner.
    func forEachEntry(of containerID: String = "", _ body: (Entry) -> Void) throws(SystemError) {
        let wanted = Array(trimmed(containerID).utf8)
        try directory.forEachFile(limit: Self.limit) { name, content in
            let text = content.drop { $0 <= 0x20 }
            guard text.isEmpty || text.starts(with: wanted) else { return }
            let name = String(decoding: name, as: UTF8.self)
            guard let address = IPAddress(parsing: name) else { return }
            let owner = trimmed(String(decoding: content, as: UTF8.self))
            body(Entry(name: name, address: address, owner: owner))
        }
    }

    func entries(of containerID: String) throws(SystemError) -> [Entry] {
        var entries: [Entry] = []
        try forEachEntry(of: containerID) { entries.append($0) }
        return entries
    }

    /// Entries of `id`; without any, those that an old release wrote down with the container's ID alone.
    func entries(of id: AttachmentID) throws(SystemError) -> [Entry] {
        Self.entries(of: id, in: try entries(of: id.containerID))
    }

    /// The same, and empty files, which processes left that were killed between creating and writing them: nobody else
    /// is writing now, as the store is locked.
    func releasable(by id: AttachmentID) throws(SystemError) -> [Entry] {
        let all = try entries(of: id.containerID)
        return Self.entries(of: id, in: all) + all.filter(\.owner.isEmpty)
    }

    private static func entries(of id: AttachmentID, in all: [Entry]) -> [Entry] {
        let exact = all.filter { $0.owner.utf8.elementsEqual(content(id).utf8) }
        return exact.isEmpty
            ? all.filter { $0.owner.utf8.elementsEqual(trimmed(id.containerID).utf8) } : exact
    }

    /// The same of which the addresses are known: another program may have given one to somebody else meanwhile.
    func entries(of id: AttachmentID, at addresses: [IPAddress]) throws(SystemError) -> [Entry] {
        var entries: [Entry] = []
        for address in addresses {
            let bytes: [UInt8]
            do throws(SystemError) {
                bytes = try directory.read("\(address)", limit: Self.limit)
            } catch  where error.isNotFound || error.isNoFile {
                continue
            }
            let owner = trimmed(String(decoding: bytes, as: UTF8.self))
            guard owner.utf8.elementsEqual(Self.content(id).utf8) else { continue }
            entries.append(Entry(name: "\(address)", address: address, owner: owner))
        }
        return entries
    }

    func remove(_ address: IPAddress) throws(SystemError) { try directory.remove("\(address)") }

    /// Removes all that can be removed.
    ///
    /// - Returns: why the first of the others cannot.
    func remove(_ entries: [Entry]) -> SystemError? { remove(entries.map(\.name)) }

    /// - Parameter names: as entries have them.
    func remove(_ names: [String]) -> SystemError? {
        var problem: SystemError?
        for name in names {
            do throws(SystemError) { try directory.remove(name) } catch { problem = problem ?? error }
        }
        return problem
    }

    /// Container ID, and interface name unless the file is of the old form.
    static func parse(_ owner: String) -> (containerID: String, interface: String?) {
        let lines = owner.split(omittingEmptySubsequences: true) { $0 == "\r\n" || $0 == "\n" || $0 == "\r" }
        return (lines.first.map(String.init) ?? "", lines.count > 1 ? String(lines[1]) : nil)
    }
}
