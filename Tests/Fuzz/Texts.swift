import Foundation
import JSONC
import Networking
import Plans

@testable import IPAM

/// Addresses, against the C library's own reading of them.
enum Texts {
    @Sendable static func check(_ input: [UInt8]) -> String? {
        let text = String(decoding: input.prefix(400), as: UTF8.self)
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).prefix(8) {
            if let problem = check(String(line)) { return "\(problem): \(line.debugDescription)" }
        }
        return nil
    }

    private static func check(_ text: String) -> String? {
        let address = IPAddress(parsing: text)
        guard (address?.bytes).map(canonical) == libc(text).map(canonical) else {
            return "inet_pton says otherwise"
        }
        if let address, IPAddress(parsing: "\(address)") != address {
            return "an address that is printed otherwise"
        }
        if let cidr = CIDR(parsing: text) {
            guard CIDR(parsing: "\(cidr)") == cidr, cidr.network.contains(cidr.address),
                cidr.network.contains(cidr.last)
            else { return "a network that does not hold its addresses" }
        }
        if let mac = MAC(parsing: text), MAC(parsing: "\(mac)") != mac {
            return "a MAC that is printed otherwise"
        }
        return ranges(text)
    }

    /// The line as every key of a range.
    private static func ranges(_ text: String) -> String? {
        let keys = ["subnet", "rangeStart", "rangeEnd", "gateway"]
        let words = text.split(separator: " ").map(String.init)
        let json: JSONObject = JSONObject(zip(keys, words).map { ($0, .string($1)) })
        guard let range = try? AddressRange(Reader(.object(json))) else { return nil }
        let set = RangeSet([range])
        var tried = 0
        _ = set.firstFree(after: range.last) { address, _ in
            tried += 1
            return !range.contains(address) || tried > 300
        }
        let found = set.firstFree(after: nil) { _, _ in true }
        return found.map { range.contains($0.address) } ?? (range.first == range.last)
            ? nil : "an address outside its range"
    }

    /// An IPv4-mapped address is the IPv4 address.
    private static func canonical(_ bytes: [UInt8]) -> [UInt8] {
        let prefix = [UInt8](repeating: 0, count: 10) + [255, 255]
        return bytes.count == 16 && bytes.starts(with: prefix) ? Array(bytes[12...]) : bytes
    }

    private static func libc(_ text: String) -> [UInt8]? {
        guard !text.utf8.contains(0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes[..<4]) }
        return inet_pton(AF_INET6, text, &bytes) == 1 ? bytes : nil
    }
}

/// host-local's directory with any content in its files.
enum Leases {
    private static let directory = NSTemporaryDirectory() + "/plexus-fuzz-\(UUID().uuidString)"
    private static let prepared: Bool = {
        atexit { try? FileManager.default.removeItem(atPath: Leases.directory) }
        return
            (try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true))
            != nil
    }()

    @Sendable static func check(_ input: [UInt8]) -> String? {
        let owner = LeaseStore.parse(String(decoding: input, as: UTF8.self))
        _ = resolvConf(input)
        guard prepared, input.count % 8 == 0 else { return nil }
        let id = AttachmentID(containerID: owner.containerID, interface: owner.interface ?? "eth0")
        do {
            for name in ["10.1.2.2", "last_reserved_ip.0", "fd00::1"] {
                try Data(input).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
            }
            let store = try LeaseStore.open(directory)
            _ = store.lastReserved(set: 0)
            if let problem = store.remove(try store.entries(of: id)) { throw problem }
        } catch {
            return "\(error)"
        }
        return nil
    }
}
