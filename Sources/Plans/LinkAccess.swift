package import CNI
package import Network

/// The pod's link, for an address source that talks over it.
package protocol LinkAccess: AnyObject {
    /// CNI_NETNS, and what tells that namespace from others; nil where that cannot be told.
    var sandbox: String { get }
    var namespace: NamespaceIdentity? { get throws(Failure) }
    /// nil when the link is not in the pod.
    func facts() throws(Failure) -> LinkFacts?
    func setUp() throws(Failure)
    /// - Parameter deadline: of the monotonic clock, in milliseconds.
    /// - Returns: false when the time was up first.
    func awaitCarrier(until deadline: Int64) throws(Failure) -> Bool
    /// Runs `body` with the thread in the pod's namespace: what it opens is opened there.
    func inside(_ body: () throws(Failure) -> Void) throws(Failure)
}
