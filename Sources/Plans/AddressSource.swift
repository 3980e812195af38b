package import CNI
package import JSONC
package import Networking

/// What IPAM hands out.
package struct Lease: Equatable, Sendable {
    package var ips: [CNIResult.IP]
    package var routes: [Route]
    package var dns: DNS

    /// Of those addresses that are more to a link than an address.
    package var uses: [CIDR: AddressUse] = [:]
    /// The configuration asks for `dns` by its name: plugins that pass over what IPAM gives use it.
    package var isDNSWanted = false

    package var wantedDNS: DNS? { isDNSWanted ? dns : nil }

    /// - Parameter use: of each address.
    package init(
        ips: [CNIResult.IP] = [], routes: [Route] = [], dns: DNS = DNS(), use: AddressUse = AddressUse()
    ) {
        self.ips = ips
        self.routes = routes
        self.dns = dns
        if use != AddressUse() { for ip in ips { uses[ip.address] = use } }
    }

    /// What is left of it later.
    package func after(_ seconds: Int64) -> Lease {
        var lease = self
        for address in uses.keys { lease.uses[address]?.lifetime = uses[address]?.lifetime?.after(seconds) }
        return lease
    }
}

/// How a link is to have an address of a lease.
package struct AddressUse: Equatable, Sendable {
    /// nil without an end.
    package var lifetime: Lifetime?
    /// Whoever gave it has looked whether anybody else on the link has it.
    package var isProbed: Bool
    /// The kernel has configured it, and removes it: it is reported, and left alone.
    package var isOfKernel: Bool

    package init(lifetime: Lifetime? = nil, isProbed: Bool = false, isOfKernel: Bool = false) {
        self.lifetime = lifetime
        self.isProbed = isProbed
        self.isOfKernel = isOfKernel
    }
}

/// One call of an address source.
package struct LeaseRequest {
    /// The whole network configuration; the source reads its `ipam` object and `runtimeConfig`.
    package var config: PluginConfig
    package var id: AttachmentID
    /// CNI_ARGS.
    package var args: String
    package var rules: RoleRules
    /// The meta-plugin's `cniDir`; empty under a plugin's own name.
    package var state = ""
    /// What was given for this request; empty when that is not known.
    package var given: [IPAddress] = []
    /// The pod's link, of a source that needs it; nil on a DEL that does not reach it.
    package var link: (any LinkAccess)?

    package init(config: PluginConfig, id: AttachmentID, args: String, rules: RoleRules) {
        self.config = config
        self.id = id
        self.args = args
        self.rules = rules
    }
}

extension LeaseRequest {
    /// The same, once it has given these.
    package func given(_ addresses: [IPAddress]) -> LeaseRequest {
        var request = self
        request.given = addresses
        return request
    }

    /// For GC: whether who has a lease lives.
    ///
    /// - Parameter valid: those that live.
    /// - Returns: takes the container, and the interface where that is known.
    package func living(_ valid: [AttachmentID]) -> (String, String?) -> Bool {
        let containers = Set(valid.map(\.containerID))
        let attachments = Set(valid)
        return { containerID, interface in
            guard let interface, rules.collectsByInterface else { return containers.contains(containerID) }
            return attachments.contains(AttachmentID(containerID: containerID, interface: interface))
        }
    }
}

/// What an address source has read for one ADD.
package protocol AddressConfig: Sendable {
    /// What hardly works, in the meta role.
    func remarks(_ request: LeaseRequest) -> [Remark]
    /// Asks for what somebody else gives in his own time; nil of a source that does not (`AddressSource.asks`), which has
    /// `allocate`.
    func ask(_ request: LeaseRequest) throws(Failure) -> (any AddressQuery)?
    /// The only thing here that is not idempotent.
    func allocate(_ request: LeaseRequest) throws(Failure) -> Lease
    /// What `allocate` would give now; touches nothing. nil when nobody knows.
    func preview(_ request: LeaseRequest) throws(Failure) -> Lease?
    /// What `allocate` gave when it gave `request.given`; touches nothing.
    func lease(_ request: LeaseRequest) throws(Failure) -> Lease
    /// Those of `request.given` that the store has lost.
    ///
    /// - Parameter isKept: stores them again.
    func lost(_ request: LeaseRequest, isKept: Bool) throws(Failure) -> [IPAddress]
}

extension AddressConfig {
    package func ask(_: LeaseRequest) throws(Failure) -> (any AddressQuery)? { nil }
}

/// Somebody is asked for an address over a pod's link, and has not answered yet. Several may be waited for together.
package protocol AddressQuery: AnyObject {
    /// What poll(2) is to watch: who is readable has something for `step`.
    var descriptors: [CInt] { get }
    /// When `step` has something to do all the same, in milliseconds of the monotonic clock.
    var wakeup: Int64 { get }
    /// Sends what is due and takes what has come.
    ///
    /// - Returns: nil while there is no answer.
    /// - Throws: when there will be none; nothing is left of it then.
    func step() throws(Failure) -> Lease?
    /// Nobody waits for it any more.
    func withdraw()
}

/// A built-in IPAM type. All verbs are idempotent.
package protocol AddressSource: Sendable {
    static var type: String { get }
    /// The keys of the `ipam` section, in the reference's spelling.
    static var vocabulary: Vocabulary { get }
    /// What it reads of `runtimeConfig`, and of `args.cni`.
    static var capabilities: [String] { get }
    static var podArguments: [String] { get }
    /// Whether it talks over the pod's link: that is there before the address, and still there when it is released.
    static var needsLink: Bool { get }
    /// Whether its configurations `ask`.
    static var asks: Bool { get }
    /// Whether no two attachments get one address.
    static var keepsApart: Bool { get }
    /// The configuration of an ADD; in the meta role one that cannot work is refused. Reads no store.
    static func parse(_ request: LeaseRequest) throws(Failure) -> any AddressConfig
    static func release(_ request: LeaseRequest) throws(Failure)
    static func check(_ request: LeaseRequest) throws(Failure)
    /// GC: gives back what belongs to no attachment in `valid`.
    static func collect(_ request: LeaseRequest, valid: [AttachmentID]) throws(Failure)
    static func status(_ request: LeaseRequest) throws(Failure)

    // For containers of which nothing else is known. A source that keeps nothing has no stores.

    /// The folder in which it stores its leases, when none is configured.
    static var defaultStore: String? { get }
    /// The one that an `ipam` section names.
    static func store(of ipam: JSON) -> String?
    /// The owners of the leases that are stored there, in all networks; with an empty interface where that is not known.
    ///
    /// - Parameter isWanted: of a container.
    static func owners(
        in store: String, where isWanted: (String) -> Bool
    ) throws(Failure) -> [(id: AttachmentID, address: IPAddress)]
    /// Gives back every address of a container.
    ///
    /// - Parameter isGone: whether the container no longer has an interface, nil where it is not known, and its address.
    static func releaseEverything(
        of containerID: String, in store: String, where isGone: (String?, IPAddress) -> Bool
    ) throws(Failure)
    /// The same for containers that are gone altogether.
    static func releaseEverything(of containers: Set<String>, in store: String) throws(Failure)
}

extension AddressSource {
    /// For callers that have nothing to do between reading and taking.
    package static func allocate(_ request: LeaseRequest) throws(Failure) -> Lease {
        try parse(request).allocate(request)
    }

    package static func preview(_ request: LeaseRequest) throws(Failure) -> Lease? {
        try parse(request).preview(request)
    }

    package static var needsLink: Bool { false }
    package static var asks: Bool { false }
    package static var keepsApart: Bool { true }
    package static var defaultStore: String? { nil }
    package static func store(of _: JSON) -> String? { nil }

    package static func owners(
        in _: String, where _: (String) -> Bool
    ) throws(Failure) -> [(id: AttachmentID, address: IPAddress)] { [] }

    package static func releaseEverything(
        of _: String, in _: String, where _: (String?, IPAddress) -> Bool
    ) throws(Failure) {}

    package static func releaseEverything(of _: Set<String>, in _: String) throws(Failure) {}
}

/// Where a source stores its leases.
package struct LeaseFolder: Sendable {
    package let source: any AddressSource.Type
    package let path: String

    package init(source: any AddressSource.Type, path: String) {
        self.source = source
        self.path = path
    }
}
