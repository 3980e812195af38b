package import Networking

/// Bridges, their ports and VLANs.
package enum BridgeStep: StepKind {
    case ensure(BridgeSpec)
    /// Makes a link of the host a port of the bridge.
    case addPort(_ port: String, bridge: String)
    /// - Parameter port: its name in the host.
    case setPort(_ port: String, PortSettings)
    case setVLANs(_ port: String, PortVLANs)
    case ensureVLANInterface(VLANInterface)
    /// Of a bridge that somebody has made mix them.
    case keepVLANsApart(_ bridge: String)

    package var name: String {
        switch self {
        case .ensure: "ensureBridge"
        case .addPort: "addPort"
        case .setPort: "setPort"
        case .setVLANs: "setVLANs"
        case .ensureVLANInterface: "ensureVLANInterface"
        case .keepVLANsApart: "keepVLANsApart"
        }
    }

    package var commands: [String] {
        switch self {
        case .ensure(let spec):
            let mtu = spec.mtu.map { " mtu \($0)" } ?? ""
            let kind = [BridgeKind.name] + spec.kind.words
            return [
                "ip link add name \(shellQuoted(spec.name)) address \(spec.mac)\(mtu) up type \(kind.joined(separator: " "))"
                    + "  # unless it exists",
                spec.refusesRouters.command,
            ]
        case .addPort(let port, let bridge):
            return ["ip link set dev \(shellQuoted(port)) master \(shellQuoted(bridge))"]
        case .setPort(let name, let port):
            let words = [port.hairpin.map { ("hairpin", $0) }, port.isolated.map { ("isolated", $0) }]
                .compactMap(\.self).map { "\($0.0) \($0.1 ? "on" : "off")" }
            return ["bridge link set dev \(shellQuoted(name)) \(words.joined(separator: " "))"]
        case .setVLANs(let name, let vlans): return vlans.commands(port: name)
        case .ensureVLANInterface(let link):
            let (name, peer) = (shellQuoted(link.name), shellQuoted(link.peer))
            let mtu = link.mtu.map { " mtu \($0)" } ?? ""
            return [
                "ip link add name \(peer)\(mtu) master \(shellQuoted(link.bridge)) up type veth peer name \(name)\(mtu)"
                    + "  # unless it exists"
            ] + link.portVLANs.commands(port: link.peer) + ["ip link set dev \(name) up"]
        case .keepVLANsApart(let bridge):
            return ["ip link set dev \(shellQuoted(bridge)) type bridge vlan_filtering 1"]
        }
    }

    package func apply(to facts: inout Facts) {
        switch self {
        case .ensure(let spec):
            let bridge = LinkFacts(kind: BridgeKind.name, mac: spec.mac, mtu: spec.mtu ?? 1500)
            facts.ensureUp(.host(spec.name), bridge)
        case .ensureVLANInterface(let link):
            facts.ensureUp(.host(link.name), LinkFacts(kind: "veth", mtu: link.mtu ?? 1500))
        case .addPort(let port, let bridge): facts.links.update(.host(port)) { $0.controller = bridge }
        case .setPort, .setVLANs: break
        case .keepVLANsApart(let bridge):
            facts.links.update(.host(bridge)) { $0.settings = KindSettings(BridgeKind(vlanFiltering: true)) }
        }
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func ensureBridge(_ spec: BridgeSpec) -> Step { Step(BridgeStep.ensure(spec)) }

    package static func setPort(_ port: String, _ settings: PortSettings) -> Step {
        Step(BridgeStep.setPort(port, settings))
    }

    package static func setVLANs(_ port: String, _ vlans: PortVLANs) -> Step {
        Step(BridgeStep.setVLANs(port, vlans))
    }

    package static func keepVLANsApart(_ bridge: String) -> Step { Step(BridgeStep.keepVLANsApart(bridge)) }

    package static func ensureVLANInterface(_ link: VLANInterface) -> Step {
        Step(BridgeStep.ensureVLANInterface(link))
    }
}

extension Facts {
    fileprivate mutating func ensureUp(_ name: LinkName, _ new: LinkFacts) {
        var link = links[name] ?? new
        link.isUp = true
        links[name] = link
    }
}

/// A bridge to create or to accept.
package struct BridgeSpec: Hashable, Sendable {
    package var name: String
    /// Used when the bridge is created.
    package var mtu: UInt32?
    package var mac: MAC
    package var kind: BridgeKind

    package init(name: String, mtu: UInt32? = nil, mac: MAC, vlanFiltering: Bool = false) {
        self.name = name
        self.mtu = mtu
        self.mac = mac
        kind = BridgeKind(vlanFiltering: vlanFiltering)
    }

    /// Pods that advertise themselves as routers are none of the host's.
    package var refusesRouters: SysctlChange {
        SysctlChange(.host, "net/ipv6/conf/\(name)/accept_ra", "0", isOptional: true)
    }
}

/// A link of the host that carries one VLAN of a bridge: `<bridge>.<vid>`, the end of a veth pair whose peer is a port.
package struct VLANInterface: Hashable, Sendable {
    package var bridge: String
    package var vid: UInt16
    /// Name of the end that is the bridge's port.
    package var peer: String
    package var mtu: UInt32?
    package var keepsDefault: Bool

    package init(bridge: String, vid: UInt16, peer: String, mtu: UInt32?, keepsDefault: Bool) {
        self.bridge = bridge
        self.vid = vid
        self.peer = peer
        self.mtu = mtu
        self.keepsDefault = keepsDefault
    }

    package var name: String { "\(bridge).\(vid)" }
    package var portVLANs: PortVLANs { PortVLANs(native: vid, keepsDefault: keepsDefault) }
}

extension PortVLANs {
    fileprivate func commands(port: String) -> [String] {
        let port = shellQuoted(port)
        let cleared = keepsDefault ? [] : ["bridge vlan delete dev \(port) vid 1-4094"]
        return cleared + ["bridge vlan add dev \(port) vid \(native) pvid untagged"]
            + tagged.map {
                let ids = $0.count > 1 ? "\($0.lowerBound)-\($0.upperBound)" : "\($0.lowerBound)"
                return "bridge vlan add dev \(port) vid \(ids)"
            }
    }
}
