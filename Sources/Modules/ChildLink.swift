import CNI
import JSONC
import Networking
import Plans

/// What macvlan and ipvlan have in common: a link in the pod that sits on another one, its master.
struct ChildLink: Equatable, Sendable {
    /// nil takes the link that the default route leaves by.
    var master: String?
    /// The master is in the pod too.
    var linkInContainer = false
    /// nil takes the master's.
    var mtu: UInt32?
    var dns: DNS?
    var hasIPAM = false

    var place: Place { linkInContainer ? .sandbox : .host }

    static let vocabulary = Vocabulary(["master", "mode", "mtu", "linkInContainer"]) { key in
        switch key {
        case "parent", "parentinterface", "parentdevice", "hostinterface", "uplink", "nic", "link", "device",
            "interface", "dev", "if", "physical", "physicaldevice", "physicalinterface", "masterinterface",
            "masterdevice", "lowerdevice", "lower", "hostdevice", "eth",
            "ifname",
            "iface":
            "master"
        case "macvlanmode", "ipvlanmode": "mode"
        case "vlan", "vlanid", "vlantag", "vid":
            "it tags nothing: make a link of that VLAN (ip link add link eth0 name eth0.100 type vlan id 100)"
                + " and name it in master"
        default: isolationProblem(key)
        }
    }

    /// `master`, `linkInContainer` and what every plugin has; `mtu` means something else to each.
    init(_ input: PluginInput) throws(JSONError) {
        let json = input.config.reader
        master = try json.string("master").flatMap { $0.isEmpty ? nil : $0 }
        if let master, input.verb != .del, let problem = Names.interfaceProblem(master) {
            throw json.error("master", "invalid interface name \"\(master)\": it \(problem)")
        }
        linkInContainer = try json.bool("linkInContainer") ?? false
        dns = input.config.dns
        hasIPAM = input.config.ipamType != nil
    }

    func needs(_ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        guard verb == .add || verb == .check else { return FactsQuery() }
        var query = FactsQuery(links: [.sandbox(attachment.interface)])
        if let master {
            query.links.append(LinkName(place: place, name: master))
        } else {
            query.defaultRoute = place
        }
        return query
    }

    /// A link of the host's that such links sit on.
    static func holds(_ claim: Failure.Claim, _ configuration: JSON) -> Bool {
        if case .master(let name) = claim { configuration["master"]?.string == name } else { false }
    }

    static func segment(_ configuration: JSON) -> String? {
        "link \(configuration["master"]?.string ?? "of the default route")"
    }

    /// The master, as the configuration or the default route has it.
    func master(_ facts: Facts) throws(Failure) -> (name: LinkName, facts: LinkFacts) {
        let side = linkInContainer ? "the pod's namespace" : "the host"
        guard let name = master.map({ LinkName(place: place, name: $0) }) ?? facts.defaultRouteLink else {
            throw Failure(
                .generic, "no default route interface found",
                details: "name the link of \(side) in the key master")
        }
        guard let found = facts.links[name] else {
            throw Failure(
                .generic, "failed to lookup master \"\(name.name)\": Link not found",
                details:
                    "there is no link of this name in \(side): correct the key master, or linkInContainer,"
                    + " which says where it is")
        }
        return (name, found)
    }

    /// Remarks on a master that the default route chose, and on one that is down: the pod's link is up even then.
    func remarks(_ facts: Facts) -> [Remark] {
        var remarks: [Remark] = []
        if master == nil, let name = facts.defaultRouteLink?.name {
            remarks.append(
                .choice("the key master is missing: it sits on \(name), by which the default route leaves"))
        }
        guard let (name, link) = try? master(facts) else { return remarks }
        if !link.isUp {
            let command =
                name.place == .host
                ? "ip link set dev \(shellQuoted(name.name)) up" : "a plugin before this one sets it up"
            remarks.append(.concern("its master \(name.name) is down: nothing comes through; \(command)"))
        } else if !link.hasCarrier {
            remarks.append(.concern("its master \(name.name) has no carrier: nothing comes through"))
        }
        return remarks
    }

    func removal(_ attachment: Attachment) -> Removal {
        Removal(links: [attachment.interface, attachment.temporaryName])
    }

    /// The pod's link is there, of that kind and mode, with the MAC that was promised.
    func check(
        _ kind: some LinkKind, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        _ = try master(facts)
        let link = try promisedLink(attachment, previous, facts)
        let name = attachment.interface
        guard link.kind == kind.name else {
            throw Failure(
                .generic, "container interface \"\(name)\" is not of type \(kind.name)", details: changed)
        }
        guard link.settings == KindSettings(kind) else {
            throw Failure(.generic, "container interface \"\(name)\" has another mode", details: changed)
        }
    }
}
