package import CNI
import JSONC
package import Linux
import Networking
package import Plans

/// `<cniDir>/attachments/<containerID>@<CNI_IFNAME>.json`, one file for each top-level interface: a line that says what is
/// to be attached, and lines that say what was.
package struct RecordStore: ~Copyable {
    private let directory: Directory
    private let path: String
    /// The directory was not there before: records may have been lost with it.
    package let isNew: Bool
    private static let limit = JSON.maximumSize

    package static func open(_ cniDir: String) throws(Failure) -> RecordStore {
        do throws(SystemError) { return try make(cniDir) } catch { throw refusal(error, cniDir) }
    }

    /// nil when it does not exist and the disk is full or read-only: then there are no records.
    package static func openIfThere(_ cniDir: String) throws(Failure) -> RecordStore? {
        do throws(SystemError) {
            return try make(cniDir)
        } catch  where error.hasNoRoom {
            return nil
        } catch {
            throw refusal(error, cniDir)
        }
    }

    private static func make(_ cniDir: String) throws(SystemError) -> RecordStore {
        let path = "\(cniDir)/attachments"
        var isNew = false
        let directory = try Directory.createTrusted(path, mode: 0o700, &isNew)
        return RecordStore(directory: directory, path: path, isNew: isNew)
    }

    private static func refusal(_ error: SystemError, _ cniDir: String) -> Failure {
        let fix = error.hint.isEmpty ? "" : ": \(error.hint)"
        if isBelowFile(cniDir) {
            return Failure(.io, "state: \(error)", details: "\(cniDir) is no folder: correct the key cniDir")
        }
        // A lock would be made in it.
        if let obstacle = obstacle(to: "\(cniDir)/attachments/lock") {
            return Failure(.io, "state: \(error): \(obstacle.problem)", details: obstacle.fix)
        }
        return Failure(
            .io, "state: \(error)", details: "cniDir must be a directory that only root writes to\(fix)")
    }

    /// Held for a whole verb, so that two calls for one attachment run one after another.
    package func lock(_ id: AttachmentID) throws(Failure) -> Lock {
        do throws(SystemError) { return try takeLock(id) } catch { throw noLock(id, error) }
    }

    /// The lock as ADD takes it. Its file says which network called, should the record be lost.
    ///
    /// - Parameter isOld: whether there was such a file before, as an attachment leaves one that was not deleted.
    package func lock(
        _ id: AttachmentID, for network: String, _ isOld: inout Bool
    ) throws(Failure) -> Lock {
        do throws(SystemError) {
            let lock = try Lock.takeRemovable(in: directory, fileName(id) + ".lock", writable: true)
            isOld = !lock.text().isEmpty
            if !isOld { lock.write(network) }
            return lock
        } catch {
            throw noLock(id, error)
        }
    }

    /// nil when there is no file for it and the disk takes nothing new: nobody else has the lock then either.
    package func lockIfThere(_ id: AttachmentID) throws(Failure) -> Lock? {
        do throws(SystemError) {
            return try takeLock(id)
        } catch  where error.hasNoRoom {
            return nil
        } catch {
            throw noLock(id, error)
        }
    }

    private func noLock(_ id: AttachmentID, _ error: SystemError) -> Failure {
        let file = "\(path)/\(fileName(id)).lock"
        return Failure(
            .io, "state: \(error)",
            details: error.code == .notEmpty
                ? "it is in a lock's place: rm -r \(shellQuoted(file))" : error.hint)
    }

    private func takeLock(_ id: AttachmentID) throws(SystemError) -> Lock {
        try Lock.takeRemovable(in: directory, fileName(id) + ".lock")
    }

    /// What is in a record's place.
    package enum Found {
        case nothing
        /// A torn, damaged or foreign file; the log names it.
        case unusable
        case record(PodRecord)
    }

    /// nil when there is none that can be used.
    package func read(_ id: AttachmentID, _ log: Log) throws(Failure) -> PodRecord? {
        if case .record(let record) = try find(id, log) { record } else { nil }
    }

    package func find(_ id: AttachmentID, _ log: Log) throws(Failure) -> Found {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try directory.read(fileName(id), limit: Self.limit)
        } catch  where error.isNotFound {
            return .nothing
        } catch  where error.isNoFile {
            tell("\(error)", id, log)
            return .unusable
        } catch {
            throw Failure(.io, "state: \(error)", details: error.hint)
        }
        do throws(JSONError) { return .record(try PodRecord(sealed: bytes, id)) } catch {
            tell("\(path)/\(fileName(id)): \(error)", id, log)
            return .unusable
        }
    }

    /// Logs that a record is unusable, and of which network it is: the lock's file says that.
    private func tell(_ problem: String, _ id: AttachmentID, _ log: Log) {
        let found = try? directory.readIfPresent(fileName(id) + ".lock", limit: 256)
        let network = (found ?? nil).map { String(decoding: $0, as: UTF8.self) } ?? ""
        log.error(
            "the record of container \(id.containerID) \(id.interface)"
                + "\(network.isEmpty ? "" : ", attached by network \(network),") is unusable: \(problem):"
                + " DEL goes by derived names")
    }

    /// The same without reading it.
    package func has(_ id: AttachmentID) -> Bool { directory.contains(fileName(id)) }

    /// The same of a directory that may not be there.
    package static func has(_ id: AttachmentID, below cniDir: String) -> Bool {
        fileExists("\(cniDir)/attachments/\(fileName(id))")
    }

    /// Writes all of a record anew.
    package func write(_ record: PodRecord) throws(Failure) {
        let bytes = try line(record.json())
        do throws(SystemError) {
            try directory.replace(fileName(record.id), with: bytes, mode: 0o600)
        } catch {
            throw Failure(.io, "state: \(error)", details: error.hint)
        }
    }

    /// Adds what became of some entries to a record that is written.
    ///
    /// As a line more: where a file replaces another by renaming, ext4 writes its content out at once, and the DEL of a
    /// pod that lives shortly waits for that.
    package func write(_ entries: Range<Int>, of record: PodRecord) throws(Failure) {
        let bytes = try line(record.json(of: entries))
        let isKept: Bool
        do throws(SystemError) {
            isKept = try directory.append(fileName(record.id), bytes, limit: Self.limit)
        } catch {
            throw Failure(.io, "state: \(error)", details: error.hint)
        }
        if !isKept { try write(record) }
    }

    private func line(_ json: JSON) throws(Failure) -> [UInt8] {
        let bytes = json.sealed()
        guard json.isReadable(in: bytes.count) else {
            throw PodRecord.tooLarge(
                "takes \(bytes.count) bytes, has \(json.count) values and is \(json.depth) levels deep")
        }
        return bytes
    }

    /// The record and its lock; the caller holds the lock.
    package func remove(_ id: AttachmentID) throws(Failure) {
        do throws(SystemError) {
            _ = try directory.remove(fileName(id))
            try directory.removeDraft(of: fileName(id))
            _ = try directory.remove(fileName(id) + ".lock")
        } catch {
            throw Failure(.io, "state: \(error)", details: error.hint)
        }
    }

    /// Removes the lock's file alone, of an attachment that is not there.
    package func forgetLock(_ id: AttachmentID) {
        _ = try? directory.remove(fileName(id) + ".lock")  // an empty file more does no harm
    }

    /// Those with a record, and those with the lock alone, whose record is lost.
    package func all() throws(Failure) -> [AttachmentID] {
        let names: [String]
        do throws(SystemError) { names = try directory.names() } catch {
            throw Failure(.io, "state: \(error)", details: error.hint)
        }
        let found = names.compactMap { name -> AttachmentID? in
            let record = name.hasSuffix(".lock") ? name.dropLast(5) : name[...]
            // An interface's name may contain an `@` too.
            guard record.hasSuffix(".json"), !name.hasPrefix("."), let at = record.firstIndex(of: "@") else {
                return nil
            }
            let containerID = String(record[..<at])
            let interface = String(record[record.index(after: at)...].dropLast(5))
            // A name that no ADD can have made is no record.
            guard Invocation.isContainerID(containerID), Names.kernelProblem(interface) == nil else {
                return nil
            }
            return AttachmentID(containerID: containerID, interface: interface)
        }
        return Set(found).sorted { ($0.containerID, $0.interface) < ($1.containerID, $1.interface) }
    }

    // MARK: Owners of addresses that have no record

    private static let unrecorded = "unrecorded"

    /// Notes who had addresses when the directory was made: containers of another program, or of a lost directory.
    package func note(unrecorded owners: [AttachmentID]) throws(Failure) {
        let text = Set(owners.map(\.containerID)).sorted().map { "\($0)\n" }.joined()
        guard !text.isEmpty else { return }
        do throws(SystemError) { try directory.replace(Self.unrecorded, with: Array(text.utf8)) } catch {
            throw Failure(.io, "state: \(error)", details: error.hint)
        }
    }

    /// Forgets a container whose addresses are given back.
    package func forget(unrecorded id: AttachmentID) {
        guard let found = unrecorded(id) else { return }
        var bytes = found.bytes
        bytes.removeSubrange(found.line)
        // Only a hint: a note that stays makes the container's next ADD a little slower.
        if bytes.isEmpty {
            _ = try? directory.remove(Self.unrecorded)
        } else {
            try? directory.replace(Self.unrecorded, with: bytes)
        }
    }

    /// Whether a container had addresses before there were records.
    package func isUnrecorded(_ id: AttachmentID) -> Bool { unrecorded(id) != nil }

    /// The list, and where in it the container's line is; nil without one, as what cannot be read says nothing.
    private func unrecorded(_ id: AttachmentID) -> (bytes: [UInt8], line: Range<Int>)? {
        let found = try? directory.readIfPresent(Self.unrecorded, limit: Self.limit)
        guard let bytes = found ?? nil else { return nil }
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            if bytes[start..<end].elementsEqual(id.containerID.utf8) {
                return (bytes, start..<min(end + 1, bytes.count))
            }
            start = end + 1
        }
        return nil
    }

    /// The records of a pod below a directory, which is not made; of a sandbox that is made anew there may be two.
    ///
    /// - Throws: when they cannot be read, or there is no such directory.
    package static func records(named pod: Pod, below cniDir: String) throws(Failure) -> [PodRecord] {
        guard fileExists("\(cniDir)/attachments") else {
            throw Failure(
                .io, "there are no records in \(cniDir)", details: "name the directory that is the key cniDir"
            )
        }
        return try open(cniDir).records(ofPodsNamed: pod.name).filter { $0.pod?.namespace == pod.namespace }
    }

    /// Whether this very pod has one.
    package func hasRecord(of pod: Pod) throws(Failure) -> Bool {
        try records(ofPodsNamed: pod.name).contains { $0.pod == pod }
    }

    private func records(ofPodsNamed name: String) throws(Failure) -> [PodRecord] {
        var found: [PodRecord] = []
        // A node has hundreds, of which those alone are parsed that have the name in them.
        for id in try all() where directory.contains([Array(name.utf8)], in: fileName(id), limit: Self.limit)
        {
            if let record = try read(id, .none), record.pod?.name == name { found.append(record) }
        }
        return found
    }

    /// The records of living pods besides `own` that have one of these texts in them. Only those are parsed: a node has
    /// hundreds.
    ///
    /// - Parameter texts: as JSON has them.
    package func others(than own: AttachmentID, mentioning texts: [String], _ log: Log) -> [PodRecord] {
        let wanted = texts.map { Array($0.utf8) }
        // A record that cannot be read is left out.
        return ((try? all()) ?? []).compactMap { id in
            guard id.containerID != own.containerID,
                directory.contains(wanted, in: fileName(id), limit: Self.limit),
                let record = try? read(id, log), fileExists(record.sandbox)
            else { return nil }
            return record
        }
    }

    /// Container IDs and interface names were validated, and neither may contain '/'.
    private static func fileName(_ id: AttachmentID) -> String { "\(id.containerID)@\(id.interface).json" }
    private func fileName(_ id: AttachmentID) -> String { Self.fileName(id) }
}
