import CNI
import Engine
import JSONC
import Linux
import Network
import Plans

/// What Multus wrote down of a container, so that a pod it attached can be detached after a switch-over. Read and, after
/// DEL, removed; never written. multus-cni pkg/multus/multus.go; libcni/api.go for the results.
package struct MultusCache {
    /// Multus's cniDir.
    package let directory: String
    private static let limit = JSON.maximumSize

    package init(directory: String) { self.directory = directory }

    package static let defaultDirectory = "/var/lib/cni/multus"
    /// Where the libcni of runtimes keeps its cache.
    static let runtimeDirectory = "/var/lib/cni"

    /// The attachments in the order of their ADD; nil when Multus knows nothing of the container.
    ///
    /// - Parameter spec: what an attachment with this name, interface and list is to this call.
    func record(
        _ id: AttachmentID, sandbox: String, _ log: Log,
        _ spec: (String, AttachmentID, NetworkList) -> AttachmentSpec
    ) throws(Failure) -> MultusRecord? {
        let bytes: [UInt8]
        do throws(SystemError) {
            let cache = try Directory.open(directory).trusted()
            bytes = try cache.read(id.containerID, limit: Self.limit, isTrusted: true)
        } catch  where error.isNotFound {
            return nil
        } catch  where error.isNoFile {
            // Our own cniDir has directories beside Multus' files; files that others can write to are not trusted.
            if error.code == 0 { log.error("state of Multus is passed over: \(error)") }
            return nil
        } catch {
            throw Failure(.io, "state of Multus: \(error)", details: error.hint)
        }
        var found = MultusRecord(cache: self, record: PodRecord(id: id, sandbox: sandbox, entries: []))
        do throws(JSONError) {
            let delegates = try Reader(JSON.parse(bytes).value).elements()
            if delegates.isEmpty { throw JSONError(path: "", problem: "it names no network") }
            for (index, delegate) in delegates.enumerated() {
                do throws(JSONError) {
                    found.record.entries.append(try entry(delegate, index, id, spec))
                } catch {
                    found.isWhole = false
                    let name = (try? delegate.string("ifnameRequest")) ?? nil
                    let likely = index == 0 ? id.interface : "net\(index)"
                    let interface = name.flatMap { $0.isEmpty ? nil : $0 } ?? likely
                    found.unusable.append(interface)
                    log.error(
                        "\(directory)/\(id.containerID): the network on \(interface): \(error):"
                            + " it goes by names and leases")
                }
            }
        } catch {
            found.isWhole = false
            log.error(
                "\(directory)/\(id.containerID), Multus' record of \(id.interface), is unusable: \(error):"
                    + " DEL goes by names and leases")
        }
        return found
    }

    /// The containers that Multus knows.
    func containers() -> [String] {
        let names = (try? Directory.open(directory).names()) ?? []  // no directory, no containers
        return names.filter { Names.isIdentifier($0) && isRegularFile("\(directory)/\($0)") }.sorted()
    }

    /// The attachments that libcni's cache knows, those of the runtime or of Multus' delegates, by container.
    static func results(below directory: String) -> [String: [(network: String, interface: String)]] {
        var found: [String: [(network: String, interface: String)]] = [:]
        guard let results = try? Directory.open("\(directory)/results").trusted(),
            let names = try? results.names()
        else { return found }
        for name in names.sorted() {
            guard let bytes = try? results.read(name, limit: limit, isTrusted: true),
                let json = try? JSON.parse(bytes).value, let containerID = json["containerId"]?.string,
                let network = json["networkName"]?.string, let interface = json["ifName"]?.string
            else { continue }
            found[containerID, default: []].append((network, interface))
        }
        return found
    }

    private func entry(
        _ json: Reader, _ index: Int, _ id: AttachmentID,
        _ spec: (String, AttachmentID, NetworkList) -> AttachmentSpec
    ) throws(JSONError) -> PodRecord.Entry {
        let name = try json.string("Name") ?? ""
        var interface = try json.string("ifnameRequest") ?? ""
        if interface.isEmpty { interface = index == 0 ? id.interface : "net\(index)" }
        guard let text = try json.string("Bytes"), let config = decodedBase64(text) else {
            throw json.error("Bytes", "is no base64 text")
        }
        let document = try JSON.parse(config).value
        let list: NetworkList
        do throws(Failure) {
            list = try NetworkList.decode(
                document, defaultName: name.split(separator: "/").last.map(String.init))
        } catch {
            throw json.error("Bytes", error.message)
        }
        var spec = spec(name, AttachmentID(containerID: id.containerID, interface: interface), list)
        spec.origin = "\(directory)/\(id.containerID), Multus' record"
        if let mac = try json.string("macRequest"), !mac.isEmpty { spec.runtimeConfig["mac"] = .string(mac) }
        if let ips = try json.list("ipRequest"), !ips.isEmpty {
            spec.runtimeConfig["ips"] = .array(ips.map(\.value))
        }
        // A type that nothing here has is damage as well: nothing could have been attached by it.
        for type in list.types where builtins.module(type) == nil || spec.external.contains(type) {
            do throws(Failure) { _ = try ForeignCall.find(type, in: spec.searchPath) } catch {
                throw json.error("Bytes", error.message)
            }
        }
        let added = self.added(spec)
        // Nothing protects Multus' file from damage, but libcni noted the same configuration.
        if let other = added?.list, other.types != list.types {
            throw json.error(
                "Bytes", "has the plugins \(list.types), and what ADD ran had \(other.types)")
        }
        return PodRecord.Entry(spec: spec, attached: added?.result.map { Attached(result: $0) })
    }

    /// What libcni's cache has of an attachment: its configuration and its result; nil for a part that says nothing. A
    /// file's name is ambiguous, so what it says of itself is compared.
    private func added(_ spec: AttachmentSpec) -> (list: NetworkList?, result: CNIResult?)? {
        guard
            let bytes = try? Directory.open("\(directory)/results").trusted().readIfPresent(
                resultName(spec), limit: Self.limit, isTrusted: true),
            let json = try? JSON.parse(bytes).value, json["containerId"]?.string == spec.id.containerID,
            json["ifName"]?.string == spec.id.interface
        else { return nil }
        let config = json["config"]?.string.flatMap(decodedBase64).flatMap { try? JSON.parse($0).value }
        return (
            config.flatMap { try? NetworkList.decode($0, defaultName: spec.list.name) },
            json["result"].flatMap { try? CNIResult.parse($0, assuming: spec.list.version) }
        )
    }

    private func resultName(_ spec: AttachmentSpec) -> String {
        "\(spec.list.name)-\(spec.id.containerID)-\(spec.id.interface)"
    }

    /// Removes what was read.
    fileprivate func remove(_ record: PodRecord) throws(SystemError) {
        do throws(SystemError) {
            for entry in record.entries {
                // There may have been no such file.
                _ = try? Directory.open("\(directory)/results").remove(resultName(entry.spec))
            }
            _ = try Directory.open(directory).remove(record.id.containerID)
        } catch  where error.isNotFound {}
    }
}

/// What Multus knew of one container.
struct MultusRecord {
    let cache: MultusCache
    var record: PodRecord
    /// False when one of its networks cannot be used.
    var isWhole = true
    /// The interfaces of those that cannot.
    var unusable: [String] = []

    /// How many networks it names.
    var count: Int { record.entries.count + unusable.count }

    /// The namespace's path, as the results of the attachments have it; empty when none does.
    var sandbox: String {
        record.entries.lazy.flatMap { $0.attached?.result.interfaces ?? [] }.compactMap(\.sandbox).first ?? ""
    }

    /// Those of the pod's links.
    var macs: [String] {
        record.entries.flatMap { entry in
            (entry.attached?.result.interfaces ?? []).filter {
                $0.sandbox != nil && $0.name == entry.spec.id.interface
            }.compactMap(\.mac)
        }
    }

    /// Removes the files: nothing is left that they could help with.
    func remove() throws(Failure) {
        do throws(SystemError) { try cache.remove(record) } catch {
            throw Failure(.io, "state of Multus: \(error)", details: error.hint)
        }
    }
}

/// RFC 4648, section 4; nil for what is none.
func decodedBase64(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    for character in text.utf8.reversed().drop(while: { $0 == UInt8(ascii: "=") }).reversed() {
        let value: UInt8
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        default: return nil
        }
        bits = bits << 6 | UInt32(value)
        count += 6
        if count >= 8 {
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
    }
    return count < 6 ? bytes : nil
}

extension NetworkList {
    fileprivate var types: [String] { plugins.map { $0["type"]?.string ?? "" } }
}
