package import JSONC
package import Networking

/// As records keep it.
extension NamespaceIdentity {
    package var json: JSON {
        [
            "boot": .string(boot), "device": .unsigned(device), "inode": .unsigned(inode),
            "cookie": .unsigned(cookie),
        ]
    }

    package init(_ json: Reader) throws(JSONError) {
        func number(_ key: String) throws(JSONError) -> UInt64 {
            switch json.value[key] {
            case .unsigned(let value): return value
            case .int(let value) where value >= 0: return UInt64(value)
            default: throw json.error(key, "is no number")
            }
        }
        self.init(
            boot: try json.string("boot") ?? "", device: try number("device"), inode: try number("inode"),
            cookie: try number("cookie"))
    }
}
