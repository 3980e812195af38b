package import JSONC
package import Networking

/// A device of the host that a pod has for a while.
package struct Device: Hashable, Sendable {
    /// In the host.
    package var name: String
    /// In the sandbox.
    package var interface: String
    /// Whether it was up in the host, and is to be so again.
    package var wasUp: Bool
    /// Those that it had in the host; nil when they were not noted. All others are from the pod.
    package var alternativeNames: [String]?
    /// nil in a note of an older version.
    package var identity: LinkIdentity?
    /// The inode number of the namespace that it is from; 0 in a note of an older version.
    package var home: UInt64 = 0
    /// What it was like in the host; nil in the note of a version that did not keep it.
    package var settings: LinkSettings?
    /// Of the link as it was found for DEL; 0 before.
    package var index: Int32 = 0

    package init(name: String, interface: String, wasUp: Bool) {
        self.name = name
        self.interface = interface
        self.wasUp = wasUp
    }

    /// A link of the host that is to be handed out.
    package init(name: String, interface: String, _ link: LinkFacts) {
        self.init(name: name, interface: interface, wasUp: link.isUp)
        alternativeNames = link.alternativeNames
        identity = LinkIdentity(link)
        settings = LinkSettings(link)
    }
}

/// Properties of a link that a pod can change and nobody sets again when it is back: what comes home is what left.
package struct LinkSettings: Hashable, Sendable {
    package var mac: MAC?
    package var mtu: UInt32?
    package var queueLength: UInt32?
    package var promiscuous: Bool?
    package var allMulticast: Bool?
    package var arp: Bool?
    package var multicast: Bool?
    package var group: UInt32?
    package var gsoSize: UInt32?
    package var gsoSegments: UInt32?
    package var groSize: UInt32?
    package var dormant: Bool?
    /// The IDs of XDP programs; what is not among them is from the pod.
    package var xdp: [UInt32]?

    package init() {}

    package init(_ link: LinkFacts) {
        mac = link.mac
        mtu = link.mtu
        queueLength = link.queueLength
        promiscuous = link.isPromiscuous
        allMulticast = link.isAllMulticast
        arp = link.usesARP
        multicast = link.isMulticast
        group = link.group
        if link.gsoSize > 0 { gsoSize = link.gsoSize }
        if link.gsoSegments > 0 { gsoSegments = link.gsoSegments }
        if link.groSize > 0 { groSize = link.groSize }
        dormant = link.isDormant
        xdp = link.xdp.map(\.id)
    }

    /// What makes a link so that is another way now.
    package func changes(from link: LinkFacts) -> [LinkChange] {
        func change<T: Equatable>(_ wanted: T?, _ now: T?, _ make: (T) -> LinkChange) -> LinkChange? {
            wanted.flatMap { $0 == now ? nil : make($0) }
        }
        return [
            change(mac, link.mac, LinkChange.mac), change(mtu, link.mtu, LinkChange.mtu),
            change(queueLength, link.queueLength, LinkChange.queueLength),
            change(promiscuous, link.isPromiscuous, LinkChange.promiscuous),
            change(allMulticast, link.isAllMulticast, LinkChange.allMulticast),
            change(arp, link.usesARP, LinkChange.arp),
            change(multicast, link.isMulticast, LinkChange.multicast),
            change(group, link.group, LinkChange.group), change(gsoSize, link.gsoSize, LinkChange.gsoSize),
            change(gsoSegments, link.gsoSegments, LinkChange.gsoSegments),
            change(groSize, link.groSize, LinkChange.groSize),
            change(dormant, link.isDormant, LinkChange.dormant),
        ].compactMap(\.self)
            + link.xdp.filter { xdp?.contains($0.id) == false }.map { .withoutXDP($0.mode) }
    }

    /// Members in the form of tuning's file.
    package var json: JSONObject {
        var json: JSONObject = [:]
        if let mac { json["mac"] = .string("\(mac)") }
        if let xdp { json["xdp"] = .array(xdp.map { .int(Int64($0)) }) }
        for (key, value) in [
            ("promisc", promiscuous), ("allmulti", allMulticast), ("arp", arp), ("multicast", multicast),
            ("dormant", dormant),
        ] {
            if let value { json[key] = .bool(value) }
        }
        for (key, value) in [
            ("mtu", mtu), ("txQLen", queueLength), ("group", group), ("gsoMaxSize", gsoSize),
            ("gsoMaxSegs", gsoSegments), ("groMaxSize", groSize),
        ] {
            if let value { json[key] = .int(Int64(value)) }
        }
        return json
    }

    package init(_ json: JSON) {
        func number(_ key: String, from least: Int64) -> UInt32? {
            json[key]?.int.flatMap { $0 >= least ? UInt32(exactly: $0) : nil }
        }
        mac = json["mac"]?.string.flatMap(MAC.init(parsing:))
        mtu = number("mtu", from: 1)
        queueLength = number("txQLen", from: 0)
        promiscuous = json["promisc"]?.bool
        allMulticast = json["allmulti"]?.bool
        arp = json["arp"]?.bool
        multicast = json["multicast"]?.bool
        group = number("group", from: 0)
        gsoSize = number("gsoMaxSize", from: 1)
        gsoSegments = number("gsoMaxSegs", from: 1)
        groSize = number("groMaxSize", from: 1)
        dormant = json["dormant"]?.bool
        xdp = json["xdp"]?.array?.compactMap { $0.int.flatMap { UInt32(exactly: $0) } }
    }
}

/// Identifies a link of the host in any namespace. A pod may rename its links and give them any address and alias, but
/// it cannot change any of these.
package struct LinkIdentity: Hashable, Sendable {
    /// Empty for a device: what has a kind is made by software.
    package var kind: String
    /// The bus and the address on it: `pci/0000:00:04.0`.
    package var bus: String?
    /// The address that the device was made with, in hexadecimal digits.
    package var permanentAddress: String?
    /// The link of the host that it is tied to, a veth's peer or what a macvlan sits on: its index there.
    package var parent: Int32?

    package init(_ link: LinkFacts) {
        kind = link.kind
        bus = link.bus
        permanentAddress = link.permanentAddress
        parent = link.isTiedToHost ? link.peerIndex : nil
    }

    /// Only this link can have these values. Without proof it is recognized by name and alias.
    package var isProof: Bool { bus != nil || permanentAddress != nil || parent != nil }

    package func isSame(as link: LinkFacts) -> Bool {
        guard kind == link.kind else { return false }
        if let parent { return link.isTiedToHost && link.peerIndex == parent }
        if let bus, bus != link.bus { return false }
        if let permanentAddress, link.permanentAddress != permanentAddress {
            // The administrator of the card may have changed its functions' addresses meanwhile.
            return bus != nil
        }
        return true
    }
}

/// Where the device is that a record says a pod has.
package enum TakenDevice: Equatable, Sendable {
    /// The link as it is now, by that name.
    case found(Device, LinkName, LinkFacts)
    /// It exists, but neither in the sandbox nor in the host.
    case away(Device)
    /// It was unplugged, or made by software and went with its namespace.
    case gone(Device)
}

// MARK: The note

extension Device {
    /// The text of its note: a line with a checksum.
    package var note: String {
        var json: JSONObject = ["device": .string(name), "interface": .string(interface), "up": .bool(wasUp)]
        if let names = alternativeNames { json["alternativeNames"] = .array(names.map { .string($0) }) }
        if let identity {
            json["kind"] = .string(identity.kind)
            if let bus = identity.bus { json["bus"] = .string(bus) }
            if let address = identity.permanentAddress { json["permanentAddress"] = .string(address) }
            if let parent = identity.parent { json["parent"] = .int(Int64(parent)) }
        }
        if home != 0 { json["home"] = .int(Int64(truncatingIfNeeded: home)) }
        for (key, value) in settings?.json.members ?? [] { json[key] = value }
        return String(decoding: JSON.object(json).sealed(), as: UTF8.self)
    }

    /// nil for a text that is none, or was damaged.
    package init?(note text: String, interface: String) {
        let line = Array(text.utf8.prefix { $0 != JSON.lineEnd })
        let json = JSON.isSealed(line[...]) ? try? JSON.parse(sealed: line[...]) : try? JSON.parse(line).value
        guard let json, let name = json["device"]?.string,
            Names.interfaceProblem(name) == nil
        else { return nil }
        self.init(name: name, interface: interface, wasUp: json["up"]?.bool ?? false)
        alternativeNames = json["alternativeNames"]?.array?.compactMap(\.string)
        home = UInt64(truncatingIfNeeded: json["home"]?.int ?? 0)
        guard let kind = json["kind"]?.string else { return }
        var identity = LinkIdentity(LinkFacts(kind: kind))
        identity.bus = json["bus"]?.string.flatMap { Self.isBus($0) ? $0 : nil }
        identity.permanentAddress = json["permanentAddress"]?.string
        identity.parent = json["parent"]?.int.flatMap { Int32(exactly: $0) }
        self.identity = identity
        settings = LinkSettings(json)
    }

    /// It becomes part of a path.
    private static func isBus(_ text: String) -> Bool {
        let parts = text.parts(by: "/")
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }
}
