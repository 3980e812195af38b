package import Plans

/// The built-in address sources. A new one is a file here and a line in this list.
package let addressSources: [any AddressSource.Type] = [HostLocal.self, Static.self]
