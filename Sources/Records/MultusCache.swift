package import CNI
import JSONC
package import Linux
import Networking
package import Plans

/// What Multus wrote down of a container, so that a pod it attached can be detached after a switch-over. Read and, after
/// DEL, removed; never written. multus-cni pkg/multus/multus.go; libcni/api.go for the results.
package struct MultusCache {
    /// Multus's cniDir.
    package let directory: String
    private static let limit = JSON.maximumSize

    package init(directory: String) { self.directory = directory }

    package static let defaultDirectory = "/var/lib/cni/multus"
    /// Where the libcni of runtimes keeps its cache.
    package static let runtimeDirectory = "/var/lib/cni"

    /// What an attachment with this name, interface and list is to a call; throws for a list that cannot run here: a type
    /// that nothing has is damage, as nothing could have been attached by it.
    package typealias MakeSpec = (String, AttachmentID, NetworkList) throws(Failure) -> AttachmentSpec

    /// The attachments in the order of their ADD; nil when Multus knows nothing of the container.
    package func record(
        _ id: AttachmentID, sandbox: String, _ log: Log, _ make: MakeSpec
    ) throws(Failure) -> MultusRecord? {
        let noted = noted(of: id.containerID)
        var found = MultusRecord(cache: self, record: PodRecord(id: id, sandbox: sandbox, entries: []))
        let bytes: [UInt8]
        do throws(SystemError) {
            let cache = try Directory.open(directory).trusted()
            bytes = try cache.read(id.containerID, limit: Self.limit, isTrusted: true)
        } catch  where error.isNotFound {
            // The record may be lost, and what libcni noted of each network be there.
            found.isWhole = false
            found.record.entries = entries(noted, id, make)
            return found.record.entries.isEmpty ? nil : found
        } catch  where error.isNoFile {
            // Our own cniDir has directories beside Multus' files; files that others can write to are not trusted.
            if error.code == nil { log.error("state of Multus is passed over: \(error)") }
            return nil
        } catch {
            throw Failure(.io, "state of Multus: \(error)", details: error.hint)
        }
        do throws(JSONError) {
            let delegates = try Reader(JSON.parse(bytes).value).elements()
            if delegates.isEmpty { throw JSONError(path: "", problem: "it names no network") }
            for (index, delegate) in delegates.enumerated() {
                do throws(JSONError) {
                    found.record.entries.append(try entry(delegate, index, noted, id, make))
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
            found.record.entries = entries(noted, id, make)
            log.error(
                "\(directory)/\(id.containerID), Multus' record of \(id.interface), is unusable: \(error):"
                    + " DEL goes by libcni's results, names and leases")
        }
        return found
    }

    /// The containers that Multus knows.
    package func containers() -> [String] {
        let names = (try? Directory.open(directory).names()) ?? []  // no directory, no containers
        return names.filter { Names.isIdentifier($0) && isRegularFile("\(directory)/\($0)") }.sorted()
    }

    /// The attachments that libcni's cache knows, those of the runtime or of Multus' delegates, by container.
    package static func results(below directory: String) -> [String: [(network: String, interface: String)]] {
        var found: [String: [(network: String, interface: String)]] = [:]
        for noted in notes(below: directory, where: { _ in true }) {
            found[noted.containerID, default: []].append((noted.network, noted.interface))
        }
        return found
    }

    /// The pods that libcni's cache knows and whose namespaces are there, by container.
    package static func pods(below directory: String) -> [String: Pod] {
        var found: [String: Pod] = [:]
        for noted in notes(below: directory, where: { _ in true }) {
            let sandbox = noted.result?.interfaces.lazy.compactMap(\.sandbox).first
            if let pod = noted.pod, sandbox.map(fileExists) ?? true { found[noted.containerID] = pod }
        }
        return found
    }

    private func entry(
        _ json: Reader, _ index: Int, _ noted: [Noted], _ id: AttachmentID, _ make: MakeSpec
    ) throws(JSONError) -> PodRecord.Entry {
        let name = try json.string("Name") ?? ""
        var interface = try json.string("ifnameRequest") ?? ""
        if interface.isEmpty { interface = index == 0 ? id.interface : "net\(index)" }
        let list: NetworkList
        do throws(JSONError) { list = try self.list(json, name) } catch {
            // libcni noted the same configuration.
            let likely = noted.filter { $0.interface == interface }
            guard likely.count == 1, let other = likely[0].list else { throw error }
            list = other
        }
        let own = AttachmentID(containerID: id.containerID, interface: interface)
        var spec: AttachmentSpec
        do throws(Failure) { spec = try make(name, own, list) } catch {
            throw json.error("Bytes", error.message)
        }
        spec.origin = "\(directory)/\(id.containerID), Multus' record"
        if let mac = try json.string("macRequest"), !mac.isEmpty { spec.runtimeConfig["mac"] = .string(mac) }
        if let ips = try json.list("ipRequest"), !ips.isEmpty {
            spec.runtimeConfig["ips"] = .array(ips.map(\.value))
        }
        let added = noted.first { $0.network == list.name && $0.interface == interface }
        // Nothing protects Multus' file from damage, but libcni noted the same configuration.
        if let other = added?.list, other.types != list.types {
            throw json.error(
                "Bytes", "has the plugins \(list.types), and what ADD ran had \(other.types)")
        }
        return PodRecord.Entry(spec: spec, attached: added?.result.map { Attached(result: $0) })
    }

    private func list(_ json: Reader, _ name: String) throws(JSONError) -> NetworkList {
        guard let text = try json.string("Bytes"), let config = decodedBase64(text) else {
            throw json.error("Bytes", "is no base64 text")
        }
        let document = try JSON.parse(config).value
        do throws(Failure) {
            return try NetworkList.decode(
                document, defaultName: name.split(separator: "/").last.map(String.init))
        } catch {
            throw json.error("Bytes", error.message)
        }
    }

    /// A file of libcni's cache; nil for a part that says nothing.
    private struct Noted {
        var containerID: String
        var network: String
        var interface: String
        private let json: JSON

        init?(_ json: JSON) {
            guard let containerID = json["containerId"]?.string, let network = json["networkName"]?.string,
                let interface = json["ifName"]?.string
            else { return nil }
            self.containerID = containerID
            self.network = network
            self.interface = interface
            self.json = json
        }

        /// That of CNI_ARGS, which are pairs here.
        var pod: Pod? {
            let pairs = json["cniArgs"]?.array ?? []
            let words = pairs.compactMap { pair in
                pair.array.map { $0.compactMap(\.string).joined(separator: "=") }
            }
            return Pod(ofArgs: words.joined(separator: ";"))
        }

        var list: NetworkList? {
            let config = json["config"]?.string.flatMap(decodedBase64).flatMap { try? JSON.parse($0).value }
            return config.flatMap { try? NetworkList.decode($0, defaultName: network) }
        }

        var result: CNIResult? {
            json["result"].flatMap { try? CNIResult.parse($0, assuming: list?.version ?? .newest) }
        }
    }

    /// The files of libcni's cache, by name.
    private static func notes(below directory: String, where isWanted: (String) -> Bool) -> [Noted] {
        guard let results = try? Directory.open("\(directory)/results").trusted(),
            let names = try? results.names()
        else { return [] }
        return names.filter(isWanted).sorted().compactMap { name in
            guard let bytes = try? results.read(name, limit: limit, isTrusted: true) else { return nil }
            return (try? JSON.parse(bytes).value).flatMap(Noted.init)
        }
    }

    /// What libcni noted of a container's networks. A file's name is ambiguous, so what it says of itself is compared.
    private func noted(of containerID: String) -> [Noted] {
        Self.notes(below: directory) { $0.contains("-\(containerID)-") }
            .filter { $0.containerID == containerID }
    }

    private func entries(
        _ noted: [Noted], _ id: AttachmentID, _ make: MakeSpec
    ) -> [PodRecord.Entry] {
        var entries: [PodRecord.Entry] = []
        for noted in noted {
            let own = AttachmentID(containerID: id.containerID, interface: noted.interface)
            guard let list = noted.list, var spec = try? make(list.name, own, list) else { continue }
            spec.origin = "\(directory)/results"
            entries.append(PodRecord.Entry(spec: spec, attached: noted.result.map { Attached(result: $0) }))
        }
        // The cluster's network was the first.
        return entries.filter { $0.spec.id == id } + entries.filter { $0.spec.id != id }
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
package struct MultusRecord {
    let cache: MultusCache
    package var record: PodRecord
    /// False when one of its networks cannot be used.
    package var isWhole = true
    /// The interfaces of those that cannot.
    package var unusable: [String] = []

    /// How many networks it names.
    package var count: Int { record.entries.count + unusable.count }

    /// The namespace's path, as the results of the attachments have it; empty when none does.
    package var sandbox: String {
        record.entries.lazy.flatMap { $0.attached?.result.interfaces ?? [] }.compactMap(\.sandbox).first ?? ""
    }

    /// Those of the pod's links.
    package var macs: [String] {
        record.entries.flatMap { entry in
            (entry.attached?.result.interfaces ?? []).filter {
                $0.sandbox != nil && $0.name == entry.spec.id.interface
            }.compactMap(\.mac)
        }
    }

    /// Removes the files: nothing is left that they could help with.
    package func remove() throws(Failure) {
        do throws(SystemError) { try cache.remove(record) } catch {
            throw Failure(.io, "state of Multus: \(error)", details: error.hint)
        }
    }
}

extension NetworkList {
    fileprivate var types: [String] { plugins.map { $0["type"]?.string ?? "" } }
}
