package import Networking

/// Links. Kernel: RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK.
package enum LinkStep: StepKind {
    /// In one of the namespaces; `parent` is the link that it sits on, maybe in the other one.
    case add(LinkSpec, Place, parent: LinkName?)
    case addVeth(VethSpec)
    case delete(LinkName)
    /// - Parameter inverse: what undoes it; nil for a change that stays or goes with its link.
    case change(LinkName, LinkChange, inverse: LinkChange?)

    package var name: String {
        switch self {
        case .add: "addLink"
        case .addVeth: "addVeth"
        case .delete: "deleteLink"
        case .change: "change"
        }
    }

    package var commands: [String] {
        switch self {
        case .add(let spec, let place, let parent):
            let mtu = spec.mtu.map { " mtu \($0)" } ?? ""
            let mac = spec.mac.map { " address \($0)" } ?? ""
            let link = parent.map { " link \($0.word)" } ?? ""
            let crossing = place == .sandbox && parent?.place == .host
            let into = crossing ? " netns POD" : ""
            return [
                "\((crossing ? Place.host : place).ip) link add\(link) name \(shellQuoted(spec.name))\(mac)\(mtu)\(into)"
                    + " type \(([spec.kind.name] + spec.kind.words).joined(separator: " "))"
            ]
        case .addVeth(let veth):
            let mtu = veth.mtu.map { " mtu \($0)" } ?? ""
            let port = veth.controller.map { " master \(shellQuoted($0))" } ?? ""
            return [
                "ip link add name \(shellQuoted(veth.peer)) address \(veth.peerMAC)\(mtu)\(port) up type veth"
                    + " peer name \(shellQuoted(veth.name)) address \(veth.mac)\(mtu) netns POD"
            ]
        case .delete(let link): return ["\(link.place.ip) link delete dev \(link.word)"]
        case .change(let link, let change, _):
            return ["\(link.place.ip) link set dev \(link.word) \(change)"]
        }
    }

    package func apply(to facts: inout Facts) {
        switch self {
        case .add(let spec, let place, let parent):
            let parent = parent.flatMap { facts.links[$0] }
            facts.links[LinkName(place: place, name: spec.name)] = LinkFacts(
                kind: spec.kind.name, mac: spec.mac ?? parent?.mac, mtu: spec.mtu ?? parent?.mtu ?? 1500)
        case .addVeth(let veth):
            let mtu = veth.mtu ?? 1500
            // Links that are imagined have the index 0.
            facts.links[.sandbox(veth.name)] = LinkFacts(kind: "veth", mac: veth.mac, mtu: mtu, peerIndex: 0)
            facts.links[.host(veth.peer)] = LinkFacts(
                kind: "veth", mac: veth.peerMAC, mtu: mtu, isUp: true, controller: veth.controller,
                peerIndex: 0)
        case .delete(let link):
            facts.links[link] = nil
            facts.routes.removeAll { link.place == .sandbox && $0.link == link.name }
        case .change(let link, let change, _): facts.links.update(link) { $0.apply(change) }
        }
    }

    package var basis: [LinkName] { if case .add(_, _, let parent?) = self { [parent] } else { [] } }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }

    /// What is on the pod's links goes with them; plans make no link that is there.
    package var inverseIfUnanswered: Step? {
        switch self {
        case .add(let spec, let place, _): .deleteLink(LinkName(place: place, name: spec.name))
        case .addVeth(let veth): .deleteLink(.sandbox(veth.name))
        case .delete, .change: nil
        }
    }

    package var takesDerivedName: Bool { if case .addVeth = self { true } else { false } }
}

extension Step {
    package static func addLink(_ spec: LinkSpec, _ place: Place, parent: LinkName? = nil) -> Step {
        Step(LinkStep.add(spec, place, parent: parent))
    }

    package static func addVeth(_ veth: VethSpec) -> Step { Step(LinkStep.addVeth(veth)) }
    package static func deleteLink(_ link: LinkName) -> Step { Step(LinkStep.delete(link)) }

    package static func change(_ link: LinkName, _ change: LinkChange, inverse: LinkChange? = nil) -> Step {
        Step(LinkStep.change(link, change, inverse: inverse))
    }
}

extension LinkFacts {
    fileprivate mutating func apply(_ change: LinkChange) {
        switch change {
        case .up(let up): isUp = up
        case .mtu(let bytes): mtu = bytes
        case .mac(let address): mac = address
        case .promiscuous(let on): isPromiscuous = on
        case .allMulticast(let on): isAllMulticast = on
        case .queueLength(let packets): queueLength = packets
        case .group(let number): group = number
        case .arp(let on): usesARP = on
        case .multicast(let on): isMulticast = on
        case .gsoSize(let bytes): gsoSize = bytes
        case .gsoSegments(let count): gsoSegments = count
        case .groSize(let bytes): groSize = bytes
        case .dormant(let on): isDormant = on
        case .withoutXDP(let mode): xdp.removeAll { $0.mode == mode }
        // No plan asks for these.
        case .name, .controller: break
        }
    }
}
