package import Plans

/// What is known of a plugin: a module says it itself, of the others it is here.
@Sendable package func traits(ofType type: String) -> PluginTraits {
    switch type {
    case "dhcp", "whereabouts": .givesAddresses
    case "accelerated-bridge", "ib-sriov", "sriov": .takesDevice
    case "sbr", "vrf": .routesBySource
    default: module(ofType: type)?.traits ?? []
    }
}
