package import Plans

/// The built-in plugins. A new one is a file here and a line in this list, which costs less to start with than an array.
@Sendable package func module(ofType type: String) -> (any Module.Type)? {
    switch type {
    case Bridge.type: Bridge.self
    case Dummy.type: Dummy.self
    case HostDevice.type: HostDevice.self
    case Ipvlan.type: Ipvlan.self
    case Loopback.type: Loopback.self
    case Macvlan.type: Macvlan.self
    case Passthru.type: Passthru.self
    case RouteOverride.type: RouteOverride.self
    case Tuning.type: Tuning.self
    default: nil
    }
}

/// Those of them that keep notes; one that takes a device comes before one that changes it.
package func modulesWithNotes() -> [any Module.Type] { [HostDevice.self, Tuning.self] }

/// Their names, in the order of the documentation.
package let moduleTypes = [
    Bridge.type, Macvlan.type, Ipvlan.type, HostDevice.type, Dummy.type, Tuning.type, RouteOverride.type,
    Loopback.type, Passthru.type,
]
