package import Networking

/// A link as the kernel has it.
package struct LinkFacts: Equatable, Sendable {
    /// 0 for a link that `explain` only imagines.
    package var index: Int32
    package var kind: String
    package var mac: MAC?
    package var mtu: UInt32
    package var isUp: Bool
    /// False for one whose cable or lower link is down.
    package var hasCarrier = true
    package var isPromiscuous: Bool
    /// Name of the bridge that the link is a port of.
    package var controller: String?
    /// IFLA_LINK: for a veth the index of its peer, in the peer's namespace.
    package var peerIndex: Int32?
    package var addresses: [CIDR]
    /// As in `LinkInfo`.
    package var settings: KindSettings?
    package var isAllMulticast = false
    /// Packets: IFLA_TXQLEN.
    package var queueLength: UInt32 = 1000
    package var usesARP = true
    package var isMulticast = true
    package var group: UInt32 = 0
    /// In bytes, and segments; 0 from a kernel that does not say.
    package var gsoSize: UInt32 = 0
    package var gsoSegments: UInt32 = 0
    package var groSize: UInt32 = 0
    package var isDormant = false
    package var xdp: [XDPProgram] = []
    package var alias = ""
    /// Further names that it is found by.
    package var alternativeNames: [String] = []
    /// As in `LinkIdentity`.
    package var bus: String?
    package var permanentAddress: String?
    /// Its `peerIndex` is of a link in the host: no pod can make such a link.
    package var isTiedToHost = false
    /// The largest MTU of a bridge's ports that do not belong to pods; `UInt32.max` when all do, as other pods' links
    /// must not limit this one. nil without ports, and when they were not asked for.
    package var portMTU: UInt32?

    package init(
        index: Int32 = 0, kind: String, mac: MAC? = nil, mtu: UInt32 = 1500, isUp: Bool = false,
        isPromiscuous: Bool = false, controller: String? = nil, peerIndex: Int32? = nil,
        addresses: [CIDR] = []
    ) {
        self.index = index
        self.kind = kind
        self.mac = mac
        self.mtu = mtu
        self.isUp = isUp
        self.isPromiscuous = isPromiscuous
        self.controller = controller
        self.peerIndex = peerIndex
        self.addresses = addresses
    }
}

/// What a module wants to know of the kernel before it plans.
package struct FactsQuery: Equatable, Sendable {
    package var links: [LinkName]
    /// Those of `links` whose addresses matter.
    package var addresses: [LinkName]
    /// Routes of the sandbox's main table.
    package var routes: Bool
    package var sysctls: [SysctlName]
    /// Where to look for the link that the default route leaves by.
    package var defaultRoute: Place?
    /// Devices of the host to look for.
    package var devices: [DeviceQuery]
    /// Whether all links of both namespaces matter.
    package var everyLink: Bool
    /// The record of a device that the sandbox may have, and what the sandbox calls it.
    package var taken: TakenQuery?
    /// Small files of the node, by path.
    package var files: [String]
    /// Bridges of the host, of those in `links`, whose ports' MTU matters.
    package var ports: [String] = []

    package init(
        links: [LinkName] = [], addresses: [LinkName] = [], routes: Bool = false, sysctls: [SysctlName] = [],
        defaultRoute: Place? = nil, devices: [DeviceQuery] = [], everyLink: Bool = false,
        taken: TakenQuery? = nil, files: [String] = []
    ) {
        self.devices = devices
        self.everyLink = everyLink
        self.taken = taken
        self.defaultRoute = defaultRoute
        self.files = files
        self.links = links
        self.addresses = addresses
        self.routes = routes
        self.sysctls = sysctls
    }
}

/// A device that a pod may have: where its note is, and what the pod calls it.
package struct TakenQuery: Equatable, Sendable {
    package var note: String
    package var interface: String

    package init(note: String, interface: String) {
        self.note = note
        self.interface = interface
    }
}

/// How a device is named that is to be handed to a pod.
package enum DeviceQuery: Hashable, Sendable {
    case name(String)
    case mac(MAC)
    /// A directory of sysfs whose `net` names it.
    case path(String)
    /// A PCI address, such as 0000:00:04.0.
    case pci(String)
    /// What a device plugin gave: a PCI address, or a device of the auxiliary bus.
    case id(String)
}

/// What was found.
package struct DeviceFacts: Equatable, Sendable {
    /// Its link in the host; nil when there is none now.
    package var link: LinkName?
    package enum Bus: Sendable { case pci, auxiliary }

    /// The bus that knows the device; nil for one that was not named by its address, and for an unknown address.
    package var bus: Bus?
    /// The driver of a PCI device.
    package var driver: String?

    package init(link: LinkName? = nil, bus: Bus? = nil, driver: String? = nil) {
        self.link = link
        self.bus = bus
        self.driver = driver
    }
}

/// A file below /proc/sys, in one of the two namespaces.
package struct SysctlName: Hashable, Sendable {
    package let place: Place
    package let path: String

    package init(_ place: Place, _ path: String) {
        self.place = place
        self.path = path
    }
}

/// A route of the sandbox and the link it leaves by.
package struct SandboxRoute: Hashable, Sendable {
    package var route: Route
    package var link: String
    /// The kernel's own description, to remove and restore it by; empty for one that is imagined.
    package var original: [UInt8]

    package init(_ route: Route, _ link: String, original: [UInt8] = []) {
        self.route = route
        self.link = link
        self.original = original
    }
}

/// What the kernel said to a query. A link or sysctl that was asked for and is absent does not exist.
package struct Facts: Equatable, Sendable {
    package var links: SmallMap<LinkName, LinkFacts> = [:]
    package var routes: [SandboxRoute] = []
    package var sysctls: SmallMap<SysctlName, String> = [:]
    /// Those that exist and cannot be read: some are only to be written, some have no value before the first one.
    package var unreadable: [SysctlName] = []
    /// The text of those that exist.
    package var files: SmallMap<String, String> = [:]
    /// The link of the first default route, which is also in `links`.
    package var defaultRouteLink: LinkName?
    /// The devices that were asked for, in that order; their links are also in `links`.
    package var devices: [DeviceFacts] = []
    /// All links of both namespaces, if they were asked for; they are also in `links`.
    package var everyLink: [LinkName] = []
    /// nil without a record that can be read.
    package var taken: TakenDevice?
    /// The inode number of the host's namespace.
    package var home: UInt64 = 0
    /// Links of the sandbox that are other attachments' devices; looked for when there is no `taken`.
    package var takenByOthers: [LinkName] = []

    package init() {}
}

extension Facts {
    /// What the facts would be once `steps` were done.
    package func after(_ steps: [Step]) -> Facts {
        var facts = self
        for step in steps { step.kind.apply(to: &facts) }
        return facts
    }
}
