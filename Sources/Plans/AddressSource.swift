package import CNI
package import JSONC
package import Network

/// What IPAM hands out.
package struct Lease: Equatable, Sendable {
    package var ips: [CNIResult.IP]
    package var routes: [Route]
    package var dns: DNS

    package init(ips: [CNIResult.IP] = [], routes: [Route] = [], dns: DNS = DNS()) {
        self.ips = ips
        self.routes = routes
        self.dns = dns
    }
}

/// One call of an address source.
package struct LeaseRequest: Sendable {
    /// The whole network configuration; the source reads its `ipam` object and `runtimeConfig`.
    package var config: PluginConfig
    package var id: AttachmentID
    /// CNI_ARGS.
    package var args: String
    package var rules: RoleRules
    /// What was given for this request; empty when that is not known.
    package var given: [IPAddress] = []

    package init(config: PluginConfig, id: AttachmentID, args: String, rules: RoleRules) {
        self.config = config
        self.id = id
        self.args = args
        self.rules = rules
    }
}

/// A built-in IPAM type. All verbs are idempotent but `allocate`.
package protocol AddressSource: Sendable {
    static var type: String { get }
    /// The keys of the `ipam` section, in the reference's spelling.
    static var vocabulary: Vocabulary { get }
    /// What it reads of `runtimeConfig`, and of `args.cni`.
    static var capabilities: [String] { get }
    static var podArguments: [String] { get }
    /// Refuses a configuration that `allocate` would refuse, and in the meta role one that cannot work; reads no store.
    static func validate(_ request: LeaseRequest) throws(Failure) -> [Remark]
    static func allocate(_ request: LeaseRequest) throws(Failure) -> Lease
    /// What `allocate` would give now; touches nothing.
    static func preview(_ request: LeaseRequest) throws(Failure) -> Lease
    static func release(_ request: LeaseRequest) throws(Failure)
    static func check(_ request: LeaseRequest) throws(Failure)
    /// GC: gives back what belongs to no attachment in `valid`.
    static func collect(_ request: LeaseRequest, valid: [AttachmentID]) throws(Failure)
    static func status(_ request: LeaseRequest) throws(Failure)
}
