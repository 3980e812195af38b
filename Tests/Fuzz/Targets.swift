import CNI
import Definitions
import Foundation
import JSONC
import Networking
import Plans
import Testing
import YAML

@testable import IPAM
@testable import Meta
@testable import Netlink
@testable import Records

/// A parser, what it is fed with, and what must hold for every input besides that it comes back.
struct Target: Sendable, CustomTestStringConvertible {
    let name: String
    /// The folder of its seeds.
    var seeds: String
    let form: Mutator.Form
    let dictionary: [String]
    var isSlow = false
    /// What is wrong; nil when nothing is.
    let check: @Sendable ([UInt8]) -> String?

    var testDescription: String { name }

    init(
        _ name: String, seeds: String? = nil, _ form: Mutator.Form, _ dictionary: [String],
        _ check: @escaping @Sendable ([UInt8]) -> String?
    ) {
        self.name = name
        self.seeds = seeds ?? name
        self.form = form
        self.dictionary = dictionary
        self.check = check
    }

    static let all = [
        Target("json", .json, keys, json), Target("yaml", .bytes, keys, yaml),
        Target("config", .json, keys, Configurations.check),
        Target("annotation", .json, annotationKeys, annotation),
        Target("args", .bytes, argumentKeys, arguments),
        Target("netlink", .netlink, ["veth", "\u{0}"], netlink), Target("state", .json, keys, state),
        Target("multus", .json, ["Name", "Bytes", "ifnameRequest", "macRequest", "ipRequest"], multus),
        Target("result", .json, keys, result),
        Target("manifests", .bytes, ["items:\n", "- ", "---\n", "\"items\":[", "},{", "\\\""], manifests),
        Target("text", .bytes, ["::ffff:", "/32", "0", "."], Texts.check),
        Target("leases", .bytes, ["c1\r\neth0", "nameserver ", "search "], Leases.check),
        Target(
            "dhcp", .bytes, ["5\u{1}\u{5}", "6\u{4}", "y\u{8}", "\u{1}\u{4}", "4\u{1}\u{3}"], DHCPInput.check),
        Target(
            "dhcpv6", .bytes,
            [
                "\u{0}\u{3}\u{0}(", "\u{0}\u{5}\u{0}\u{18}", "\u{0}\r\u{0}\u{2}\u{0}\u{3}",
                "\u{0}\u{e}\u{0}\u{0}",
            ],
            DHCPv6Input.check),
        Target(
            "dhcp-records", .json,
            [
                "granted", "options", "clientID", "refused", "accept", "boot", "namespace", "duid", "t1",
                "valid",
            ],
            DHCPInput.checkRecord),
    ]

    /// All, or PLEXUS_FUZZ_TARGET.
    static var chosen: [Target] {
        let name = ProcessInfo.processInfo.environment["PLEXUS_FUZZ_TARGET"] ?? ""
        return name.isEmpty ? all : (all + [Executable.target].compactMap(\.self)).filter { $0.name == name }
    }

    static let modules = [
        "bridge", "host-device", "ipvlan", "loopback", "macvlan", "route-override", "tuning",
    ].compactMap(builtins.module)

    static let keys: [String] =
        modules.flatMap { $0.vocabulary.keys } + PluginConfig.interfaceVocabulary.keys
        + MetaConfig.vocabulary.keys
        + [
            "interfaces", "ips", "routes", "dst", "gw", "mtu", "address", "gateway", "subnet", "rangeStart",
            "rangeEnd",
            "ranges", "addresses", "plugins", "net.ipv4.conf.IFNAME.forwarding", "cni", "sandbox", "table",
            "id", "minID",
            "maxID", "kind", "metadata", "annotations", "spec", "version", "delegates", "list", "saved",
            "code", "msg",
        ]
    private static let annotationKeys = [
        "name", "namespace", "interface", "interfaceRequest", "ips", "mac", "default-route", "cni-args",
        "portMappings",
        "bandwidth", "infiniband-guid", "deviceID", "ns/net@eth1", ", ", "@", "/",
    ]
    private static let argumentKeys = [
        "K8S_POD_NAMESPACE=", "K8S_POD_NAME=", "IgnoreUnknown=", "IP=", "MAC=", "GATEWAY=", ";", "=",
    ]

    // MARK: Documents

    /// What was read and is printed is read again as the same.
    @Sendable private static func json(_ input: [UInt8]) -> String? {
        guard let value = try? JSON.parse(input).value else { return nil }
        guard value.depth <= 128, input.count <= 6 << 20 else { return "deeper or larger than allowed" }
        return roundTrip(value, input.count % 3)
    }

    private static func roundTrip(_ value: JSON, _ indent: Int = 0) -> String? {
        let printed = value.bytes(indent: indent)
        do throws(JSONError) {
            return try JSON.parse(printed).value == value ? nil : "printed otherwise than it was read"
        } catch {
            return error.problem.contains("NUL") || !value.isReadable(in: printed.count)
                ? nil : "what was printed cannot be read: \(error)"
        }
    }

    @Sendable private static func yaml(_ input: [UInt8]) -> String? {
        guard let value = try? YAML.parse(input) else { return nil }
        return value.depth > 64 ? "deeper than allowed" : roundTrip(value)
    }

    /// What is taken of a cluster's objects stays in the cache's folders.
    @Sendable private static func manifests(_ input: [UInt8]) -> String? {
        for piece in ManifestStream.read(input).pieces {
            guard let json = try? piece.parse(), let object = try? CacheObject(json) else { continue }
            for name in [object.id.namespace, object.id.name] where name.contains("/") || name.hasPrefix(".")
            {
                return "a name that leaves its directory"
            }
            _ = object.problem
            if let problem = roundTrip(object.json) { return problem }
        }
        return nil
    }

    @Sendable private static func annotation(_ input: [UInt8]) -> String? {
        let text = String(decoding: input, as: UTF8.self)
        guard let selections = try? Selection.parse(text, source: "networks") else { return nil }
        guard selections.count <= Selection.maximum else { return "\(selections.count) networks" }
        for selection in selections {
            let names = [selection.name, selection.namespace ?? "a", selection.interface ?? "a"]
            if names.contains(where: {
                $0.utf8.contains { $0 < 0x20 || $0 == UInt8(ascii: "/") } || $0 == ".."
            }) {
                return "a name that leaves its directory"
            }
            if !selection.ips.allSatisfy({ (IPAddress(parsing: $0) ?? CIDR(parsing: $0)?.address) != nil }) {
                return "an address that is none"
            }
        }
        return nil
    }

    /// What is taken strictly is taken leniently, as the same.
    @Sendable private static func arguments(_ input: [UInt8]) -> String? {
        let text = String(decoding: input, as: UTF8.self)
        let lenient = try? CNIArgs.parse(text, lenient: true)
        if let lenient {
            try? lenient.requireKnown(["IP"])
            if let pod = try? Pod(lenient), pod.namespace.contains("/") || pod.name.contains("/") {
                return "a pod's path"
            }
        }
        guard let strict = try? CNIArgs.parse(text, lenient: false) else { return nil }
        return strict == lenient ? nil : "strict and lenient differ"
    }

    // MARK: Replies

    @Sendable private static func netlink(_ input: [UInt8]) -> String? {
        input.withUnsafeBytes { buffer in
            var rest = buffer
            while let message = Message(&rest) {
                try? message.throwIfRefused("fuzz")
                read(message.payload)
            }
            // And whatever it is as if it were a payload.
            read(buffer)
        }
        return nil
    }

    private static func read(_ payload: UnsafeRawBufferPointer) {
        _ = (try? LinkInfo(payload)).map { "\($0)" }
        _ = (try? AddressInfo(payload)).map { "\(String(describing: $0))" }
        for family in IPAddress.Family.allCases { _ = (try? RouteInfo.read(payload, family)).map { "\($0)" } }
        _ = NftSocket.comment(in: payload)
        try? AttributeReader(bytes: payload).forEach { _, value in
            _ = (
                value.asString, value.asMAC, value.asAddress, value.asBigEndian64,
                NftSocket.comment(in: value)
            )
        }
    }

    // MARK: Files of state

    /// A record that was read and is written is read again as the same.
    @Sendable private static func state(_ input: [UInt8]) -> String? {
        guard let json = try? JSON.parse(input).value else { return nil }
        let id = AttachmentID(
            containerID: json["containerID"]?.string ?? "c1", interface: json["interface"]?.string ?? "eth0")
        guard let record = try? PodRecord(Reader(json), id), let written = try? record.json() else {
            return nil
        }
        guard written.isReadable(in: written.bytes().count) else { return nil }
        guard let again = try? PodRecord(Reader(JSON.parse(written.bytes()).value), id) else {
            return "a record that cannot be read again"
        }
        guard (try? again.json()) == written else {
            return "a record that is read otherwise than it was written"
        }
        // The same with what became of its entries in a line of its own.
        guard let later = try? record.json(of: record.entries.indices) else {
            return "a record without results"
        }
        let lines = written.sealed() + later.sealed()
        return (try? PodRecord(sealed: lines, id).json()) == written ? nil : "lines that are read otherwise"
    }

    @Sendable private static func multus(_ input: [UInt8]) -> String? {
        _ = decodedBase64(String(decoding: input, as: UTF8.self))
        guard let entries = try? JSON.parse(input).value.array else { return nil }
        for entry in entries {
            guard let bytes = entry["Bytes"]?.string.flatMap(decodedBase64),
                let json = try? JSON.parse(bytes).value
            else { continue }
            _ = try? NetworkList.decode(json, defaultName: "net")
        }
        return nil
    }

    /// What another program printed: a result or an error, in every version.
    @Sendable private static func result(_ input: [UInt8]) -> String? {
        guard let json = try? JSON.parse(input).value else { return nil }
        if let failure = Failure.parse(json) { _ = failure.json(version: nil).print() }
        for version in Version.allCases {
            guard let result = try? CNIResult.parse(json, assuming: version),
                let printed = try? result.json(version)
            else { continue }
            guard let again = try? CNIResult.parse(printed, assuming: version),
                let twice = try? again.json(version),
                twice == printed
            else { return "a result of \(version.rawValue) that is read otherwise than it was printed" }
        }
        return nil
    }
}
