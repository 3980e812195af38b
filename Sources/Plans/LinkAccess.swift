package import CNI
package import Networking

/// The pod's link, for an address source that talks over it.
package protocol LinkAccess: AnyObject {
    /// CNI_NETNS, and what tells that namespace from others; nil where that cannot be told.
    var sandbox: String { get }
    var namespace: NamespaceIdentity? { get throws(Failure) }
    /// nil when the link is not in the pod.
    func facts() throws(Failure) -> LinkFacts?
    func setUp() throws(Failure)
    /// Whether packets may pass, as far as the kernel knows.
    func hasCarrier() throws(Failure) -> Bool
    /// Tells of each change to links, and to IPv6 addresses, of the pod and the host from then on.
    func watch() throws(Failure) -> any LinkWatch
    /// Runs `body` with the thread in the pod's namespace: what it opens is opened there.
    func inside(_ body: () throws(Failure) -> Void) throws(Failure)

    // MARK: IPv6

    /// The link's IPv6 addresses, as they are now.
    func addresses() throws(Failure) -> [PodAddress]
    /// The routers of default routes that the kernel has from their advertisements.
    func advertisedRouters() throws(Failure) -> [IPAddress]
    /// Puts an address on the link, which the kernel then looks for elsewhere; it may be used meanwhile where the link's
    /// `optimistic_dad` permits that. One that is there already is no failure.
    func probe(_ cidr: CIDR, lifetime: Lifetime) throws(Failure)
    /// One that is gone is no failure.
    func remove(_ cidr: CIDR) throws(Failure)
}

/// An IPv6 address of a pod's link.
package struct PodAddress: Equatable, Sendable {
    package var cidr: CIDR
    /// Whether the kernel still looks for others that have it.
    package var isBeingProbed: Bool
    /// Whether something may be sent from it.
    package var isUsable: Bool
    /// Somebody else has it.
    package var isDuplicate: Bool
    /// The kernel configured it by a router's advertisement (SLAAC), for as long as that says.
    package var isAdvertised: Bool

    package init(
        cidr: CIDR, isBeingProbed: Bool, isUsable: Bool, isDuplicate: Bool, isAdvertised: Bool
    ) {
        self.cidr = cidr
        self.isBeingProbed = isBeingProbed
        self.isUsable = isUsable
        self.isDuplicate = isDuplicate
        self.isAdvertised = isAdvertised
    }
}

/// Changes of links, as they come.
package protocol LinkWatch: AnyObject {
    /// For poll(2): readable after a change.
    var descriptors: [CInt] { get }
    /// Makes it quiet until the next one.
    func clear()
}
