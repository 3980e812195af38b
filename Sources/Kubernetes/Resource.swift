/// A kind of object of the API server, by the path of its list.
package struct Resource: Hashable, Sendable {
    /// Empty for the core's.
    package let group: String
    package let version: String
    package let plural: String

    package init(_ group: String, _ version: String, _ plural: String) {
        self.group = group
        self.version = version
        self.plural = plural
    }

    package static let definitions = Resource("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
    package static let pods = Resource("", "v1", "pods")
    package static let events = Resource("", "v1", "events")

    private var root: String { group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)" }

    /// The path of all of them.
    package var path: String { "\(root)/\(plural)" }

    /// The path of those of a namespace.
    package func path(in namespace: String) -> String {
        "\(root)/namespaces/\(escaped(namespace))/\(plural)"
    }

    /// The path of one, or of a part of it, such as `status`.
    package func path(_ namespace: String, _ name: String, part: String = "") -> String {
        "\(path(in: namespace))/\(escaped(name))\(part.isEmpty ? "" : "/\(part)")"
    }
}

/// For a path or a query: RFC 3986, section 2.3.
package func escaped(_ text: String) -> String {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            bytes.append(byte)
        default:
            let digits = Array("0123456789ABCDEF".utf8)
            bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: bytes, as: UTF8.self)
}
