package import Plans

/// The built-in plugins. A new one is a file here and a line in this list.
package let modules: [any Module.Type] = [
    Bridge.self, HostDevice.self, Ipvlan.self, Loopback.self, Macvlan.self, RouteOverride.self, Tuning.self,
]
