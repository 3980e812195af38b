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
    /// Tells of each change to links of the pod and the host from then on.
    func watch() throws(Failure) -> any LinkWatch
    /// Runs `body` with the thread in the pod's namespace: what it opens is opened there.
    func inside(_ body: () throws(Failure) -> Void) throws(Failure)
}

/// Changes of links, as they come.
package protocol LinkWatch: AnyObject {
    /// For poll(2): readable after a change.
    var descriptors: [CInt] { get }
    /// Makes it quiet until the next one.
    func clear()
}
