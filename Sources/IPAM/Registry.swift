package import Plans

/// The built-in address sources. A new one is a file here and a line in this list.
@Sendable package func addressSource(ofType type: String) -> (any AddressSource.Type)? {
    switch type {
    case DHCPSource.type: DHCPSource.self
    case HostLocal.type: HostLocal.self
    case Static.type: Static.self
    default: nil
    }
}

/// Those that store their leases.
@Sendable package func addressSourcesWithStores() -> [any AddressSource.Type] {
    [HostLocal.self, DHCPSource.self]
}

/// Their names.
package let addressSourceTypes = [HostLocal.type, DHCPSource.type, Static.type]
