package import CNI
package import Definitions
package import Network
package import Plans

/// A network that the pod is attached to, with all that was decided about it before the first one runs.
package struct Delegate: Sendable {
    package var spec: AttachmentSpec
    /// nil: this network does not ask for the pod's default route.
    package var defaultRoute: [IPAddress]?
    /// With one its route stands beside those of other networks; nil takes their place.
    package var defaultRouteMetric: UInt32? { selection?.defaultRouteMetric }
    /// What asked for the network; nil for one that every pod gets.
    package var selection: Selection?

    /// An error of this network: with its name in front, and at the end who wrote what is refused.
    package func blamed(for error: Failure) -> Failure {
        var error = error.prefixed("\(spec.name) on \(spec.id.interface)")
        if let key = error.key {
            if let place = selection?.place(of: key) {
                error = error.ending(with: "asked for in \(place)")
            } else if spec.isPassed(key) {
                error = error.ending(with: "passed by the runtime in \(key)")
            } else if error.details.isEmpty, Failure.isOfTheCall(key) {
                error.details = "correct \(key)"
            }
        }
        return error.ending(with: spec.place)
    }
}
