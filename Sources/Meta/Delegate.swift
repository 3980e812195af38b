package import CNI
package import Definitions
package import Networking
package import Plans
package import Records

/// A network that the pod is attached to, with all that was decided about it before the first one runs.
package struct Delegate: Sendable {
    package var spec: AttachmentSpec
    /// nil: this network does not ask for the pod's default route.
    package var defaultRoute: [IPAddress]?
    /// With one its route stands beside those of other networks; nil takes their place.
    package var defaultRouteMetric: UInt32? { selection?.defaultRouteMetric }
    /// What asked for the network; nil for one that every pod gets.
    package var selection: Selection?

    var isOptional: Bool { selection?.isOptional ?? false }

    /// An error of this network: with its name in front, and at the end who wrote what is refused.
    package func blamed(for error: Failure) -> Failure {
        var error = error.prefixed("\(spec.name) on \(spec.id.interface)")
        error.network = spec.name
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

/// The networks of a pod: those that are to be attached, and those that it starts without.
package struct Networks: Sendable {
    package var delegates: [Delegate] = []
    package private(set) var missing: [MissingNetwork] = []

    /// How many there were: unnamed ones are named by their place.
    var count: Int { delegates.count + missing.count }

    /// - Throws: `error`, unless the network is optional.
    mutating func miss(_ name: String, _ selection: Selection?, _ error: Failure) throws(Failure) {
        guard selection?.isOptional == true else { throw error }
        missing.append(MissingNetwork(name: name, error))
    }

    /// Keeps those of which `body` throws nothing.
    mutating func filter(_ body: (Delegate) throws(Failure) -> Void) throws(Failure) {
        var kept: [Delegate] = []
        for delegate in delegates {
            do throws(Failure) {
                try body(delegate)
                kept.append(delegate)
            } catch {
                try miss(delegate.spec.name, delegate.selection, error)
            }
        }
        delegates = kept
    }
}

extension [Delegate] {
    func refuseSharedInterfaces() throws(Failure) {
        for (index, delegate) in enumerated() {
            let interface = delegate.spec.id.interface
            if let owner = self[..<index].first(where: { $0.spec.id.interface == interface }) {
                let places = [owner, delegate].compactMap { $0.selection?.place }
                throw Failure(
                    .badConfig,
                    "interface name \(interface) is asked for "
                        + (owner.spec.name == delegate.spec.name
                            ? "twice, by \(owner.spec.name)"
                            : "by both \(owner.spec.name) and \(delegate.spec.name)"),
                    details: "unnamed networks are net1, net2, ... by their place in the list; rename one"
                        + (places.isEmpty ? "" : "; asked for in \(places.joined(separator: ", and in "))"))
            }
        }
    }
}
