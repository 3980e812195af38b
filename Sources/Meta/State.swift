package import CNI
package import Engine
import JSONC
package import Linux
package import Plans

/// What is known of a container's attachments between ADD and DEL.
package struct PodRecord: Sendable {
    package struct Entry: Sendable {
        package var spec: AttachmentSpec
        /// nil from the intent until ADD is through, or has sysctls to save.
        package var attached: Attached?
    }

    package var id: AttachmentID
    package var sandbox: String
    package var entries: [Entry]
}

/// `<cniDir>/attachments/<containerID>@<CNI_IFNAME>.json`, one file for each top-level interface.
package struct StateStore: ~Copyable {
    private let directory: Directory
    private static let limit = 16 << 20

    package static func open(_ cniDir: String) throws(Failure) -> StateStore {
        do throws(SystemError) { return try make(cniDir) } catch { throw refusal(error) }
    }

    /// nil when it is not there and the disk takes nothing new: nothing was kept there.
    package static func openIfThere(_ cniDir: String) throws(Failure) -> StateStore? {
        do throws(SystemError) {
            return try make(cniDir)
        } catch  where error.hasNoRoom {
            return nil
        } catch {
            throw refusal(error)
        }
    }

    private static func make(_ cniDir: String) throws(SystemError) -> StateStore {
        StateStore(directory: try .createTrusted("\(cniDir)/attachments", mode: 0o700))
    }

    private static func refusal(_ error: SystemError) -> Failure {
        Failure(.io, "state: \(error)", details: "cniDir must be a directory that only root writes to")
    }

    /// Held for a whole verb, so that two calls for one attachment run one after another.
    package func lock(_ id: AttachmentID) throws(Failure) -> Lock {
        do throws(SystemError) { return try takeLock(id) } catch { throw Failure(.io, "state: \(error)") }
    }

    /// nil when there is no file for it and the disk takes nothing new: nobody else has the lock then either.
    package func lockIfThere(_ id: AttachmentID) throws(Failure) -> Lock? {
        do throws(SystemError) {
            return try takeLock(id)
        } catch  where error.hasNoRoom {
            return nil
        } catch {
            throw Failure(.io, "state: \(error)")
        }
    }

    private func takeLock(_ id: AttachmentID) throws(SystemError) -> Lock {
        try Lock.takeRemovable(in: directory, fileName(id) + ".lock")
    }

    /// nil when there is none; a torn or foreign file counts as none, and is named in the log.
    package func read(_ id: AttachmentID, _ log: Log) throws(Failure) -> PodRecord? {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try directory.read(fileName(id), limit: Self.limit)
        } catch  where error.isNotFound {
            return nil
        } catch  where error.isNoFile {
            log.error("state of \(fileName(id)) is unusable (\(error)): DEL goes by derived names")
            return nil
        } catch {
            throw Failure(.io, "state: \(error)")
        }
        do throws(JSONError) { return try PodRecord(Reader(JSON.parse(bytes).value), id) } catch {
            log.error("state of \(fileName(id)) is unusable (\(error)): DEL goes by derived names")
            return nil
        }
    }

    package func write(_ record: PodRecord) throws(Failure) {
        let json = try record.json()
        let bytes = json.bytes()
        guard json.isReadable(in: bytes.count) else {
            throw Failure(
                .badConfig,
                "the configuration of this attachment cannot be kept: it is too large, too deep, or has a number of"
                    + " no bounds",
                details: "the record takes \(bytes.count) bytes and is \(json.depth) levels deep")
        }
        do throws(SystemError) {
            try directory.replace(fileName(record.id), with: bytes, mode: 0o600)
        } catch {
            throw Failure(.io, "state: \(error)")
        }
    }

    /// The record and its lock; the caller holds the lock.
    package func remove(_ id: AttachmentID) throws(Failure) {
        do throws(SystemError) {
            _ = try directory.remove(fileName(id))
            try directory.removeDraft(of: fileName(id))
            _ = try directory.remove(fileName(id) + ".lock")
        } catch {
            throw Failure(.io, "state: \(error)")
        }
    }

    /// Removes the lock's file alone, of an attachment that is not there.
    package func forgetLock(_ id: AttachmentID) {
        _ = try? directory.remove(fileName(id) + ".lock")  // an empty file more does no harm
    }

    package func all() throws(Failure) -> [AttachmentID] {
        let names: [String]
        do throws(SystemError) { names = try directory.names() } catch {
            throw Failure(.io, "state: \(error)")
        }
        return names.compactMap { name in
            guard name.hasSuffix(".json"), !name.hasPrefix("."), let at = name.lastIndex(of: "@") else {
                return nil
            }
            let interface = name[name.index(after: at)...].dropLast(5)
            return AttachmentID(containerID: String(name[..<at]), interface: String(interface))
        }.sorted { ($0.containerID, $0.interface) < ($1.containerID, $1.interface) }
    }

    /// Container IDs and interface names were validated, and neither may contain '/'.
    private func fileName(_ id: AttachmentID) -> String { "\(id.containerID)@\(id.interface).json" }
}
