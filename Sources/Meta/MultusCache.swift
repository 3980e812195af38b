import CNI
import Engine
import JSONC
import Linux
import Plans

/// What Multus wrote down of a container, so that a pod it attached can be detached after a switch-over. Read and, after
/// DEL, removed; never written. multus-cni pkg/multus/multus.go; libcni/api.go for the results.
package struct MultusCache {
    /// Multus's cniDir.
    package let directory: String
    private static let limit = 16 << 20

    package init(directory: String) { self.directory = directory }

    /// The attachments in the order of their ADD; nil when Multus knows nothing of the container.
    ///
    /// - Parameter spec: what an attachment with this name, interface and list is to this call.
    func record(
        _ id: AttachmentID, sandbox: String, _ log: Log,
        _ spec: (String, AttachmentID, NetworkList) -> AttachmentSpec
    ) -> PodRecord? {
        let bytes: [UInt8]
        do throws(SystemError) {
            let cache = try Directory.open(directory).trusted()
            bytes = try cache.read(id.containerID, limit: Self.limit, isTrusted: true)
        } catch {
            if !error.isNotFound { log.error("state of Multus is passed over: \(error)") }
            return nil
        }
        var entries: [PodRecord.Entry] = []
        do throws(JSONError) {
            for (index, delegate) in try Reader(JSON.parse(bytes).value).elements().enumerated() {
                do throws(JSONError) { entries.append(try entry(delegate, index, id, spec)) } catch {
                    log.error("\(directory)/\(id.containerID): \(error): passed over")
                }
            }
        } catch {
            log.error("\(directory)/\(id.containerID) is unusable: \(error)")
            return nil
        }
        return PodRecord(id: id, sandbox: sandbox, entries: entries)
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
        if let mac = try json.string("macRequest"), !mac.isEmpty { spec.runtimeConfig["mac"] = .string(mac) }
        if let ips = try json.list("ipRequest"), !ips.isEmpty {
            spec.runtimeConfig["ips"] = .array(ips.map(\.value))
        }
        return PodRecord.Entry(spec: spec, attached: result(of: spec).map { Attached(result: $0) })
    }

    /// The result in libcni's cache. A file's name is ambiguous, so what it says of itself is compared.
    private func result(of spec: AttachmentSpec) -> CNIResult? {
        guard
            let bytes = try? Directory.open("\(directory)/results").trusted().readIfPresent(
                resultName(spec), limit: Self.limit, isTrusted: true),
            let json = try? JSON.parse(bytes).value, json["containerId"]?.string == spec.id.containerID,
            json["ifName"]?.string == spec.id.interface, let result = json["result"]
        else { return nil }
        return try? CNIResult.parse(result, assuming: spec.list.version)
    }

    private func resultName(_ spec: AttachmentSpec) -> String {
        "\(spec.list.name)-\(spec.id.containerID)-\(spec.id.interface)"
    }

    /// Removes what was read.
    func remove(_ record: PodRecord) throws(SystemError) {
        do throws(SystemError) {
            for entry in record.entries {
                // There may never have been one.
                _ = try? Directory.open("\(directory)/results").remove(resultName(entry.spec))
            }
            _ = try Directory.open(directory).remove(record.id.containerID)
        } catch  where error.isNotFound {}
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
