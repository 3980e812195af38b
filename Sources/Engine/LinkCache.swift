import Netlink
import Networking
import Plans

/// What one call knows of links, so that none is looked for twice, and which links its records mean.
struct LinkCache: Sendable {
    /// What a look for a link found; nil when there was none. A type of its own: an optional as a map's value costs
    /// tens of microseconds of type metadata.
    struct Look: Sendable {
        let link: LinkInfo?
    }

    /// Links of the host that were looked at, by name.
    private var looks: SmallMap<String, Look> = [:]
    private var indexes: SmallMap<LinkName, Int32> = [:]
    /// Names that no link of the sandbox had when all were listed.
    private var absent: [String] = []
    /// Links that a record identifies: a pod may have renamed them.
    private var known: SmallMap<LinkName, KnownLink> = [:]
    /// The devices that a pod has by its record, by the pod's names for them.
    private var devices: SmallMap<String, Device> = [:]

    // MARK: What was seen

    /// nil when nobody looked.
    func look(_ hostLink: String) -> Look? { looks[hostLink] }

    mutating func note(_ link: LinkInfo?, ofHost name: String) { looks[name] = Look(link: link) }

    func index(of link: LinkName) -> Int32? { indexes[link] }

    /// nil when the link is deleted, or its index is not known.
    mutating func note(_ index: Int32?, of link: LinkName) { indexes[link] = index }

    func isAbsent(_ link: LinkName) -> Bool { link.place == .sandbox && absent.contains(link.name) }

    mutating func note(absent names: [String]) { absent = names }

    /// A plugin may have made it.
    mutating func forget(absent name: String) { absent.removeAll { $0 == name } }

    // MARK: What records mean

    /// The link that stands for an attachment's name.
    func known(_ name: LinkName) -> KnownLink? { known[name] }

    mutating func note(_ link: KnownLink?, for name: LinkName) { known[name] = link }

    func device(_ interface: String) -> Device? { devices[interface] }

    mutating func note(_ device: Device?, as interface: String) { devices[interface] = device }
}

/// Where a link is that an attachment knows by name.
struct KnownLink: Sendable {
    let place: Place
    let index: Int32
    /// As ADD told it.
    var mac: MAC?
}
