package import Networking

/// The result of an ADD, as CNI 1.1 has it; other versions are read into it and written from it.
package struct CNIResult: Equatable, Sendable {
    package struct Interface: Equatable, Sendable {
        package var name: String
        package var mac: String?
        package var mtu: UInt32?
        /// CNI_NETNS as given; nil for an interface in the host.
        package var sandbox: String?
        package var socketPath: String?
        package var pciID: String?

        /// Not in the sandbox: without a path, or with an empty one.
        package var isInHost: Bool { sandbox ?? "" == "" }

        package init(
            name: String, mac: String? = nil, mtu: UInt32? = nil, sandbox: String? = nil,
            socketPath: String? = nil,
            pciID: String? = nil
        ) {
            self.name = name
            self.mac = mac
            self.mtu = mtu
            self.sandbox = sandbox
            self.socketPath = socketPath
            self.pciID = pciID
        }
    }

    package struct IP: Equatable, Sendable {
        package var address: CIDR
        package var gateway: IPAddress?
        /// Index into `interfaces`.
        package var interface: Int?

        package init(address: CIDR, gateway: IPAddress? = nil, interface: Int? = nil) {
            self.address = address
            self.gateway = gateway
            self.interface = interface
        }
    }

    package var interfaces: [Interface] = []
    package var ips: [IP] = []
    package var routes: [Route] = []
    package var dns = DNS()

    package init() {}
}
