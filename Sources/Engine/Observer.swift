package import CNI
import Linux
import Netlink
import Networking
package import Plans

extension Kernel {
    /// Answers a module's query from the kernel.
    package func observe(_ query: FactsQuery) throws(Failure) -> Facts {
        var facts = Facts()
        do throws(SystemError) {
            for name in query.links where name.place == .host || hasSandbox || links.known(name) != nil {
                facts.links[name] = try linkFacts(name, query.addresses.contains(name))
            }
            for bridge in query.ports {
                guard let index = facts.links[.host(bridge)]?.index else { continue }
                let ports = try with(.host) { socket throws(SystemError) in
                    try socket.links(controller: index)
                }
                // The other end of a pod's is in another namespace.
                let own = ports.filter { $0.parentNamespaceID == nil }
                let largest = own.map(\.mtu).max() ?? (ports.isEmpty ? nil : .max)
                facts.links.update(.host(bridge)) { $0.portMTU = largest }
            }
            if let place = query.defaultRoute, place == .host || hasSandbox,
                let name = try defaultRouteLink(place)
            {
                facts.defaultRouteLink = name
                if facts.links[name] == nil { facts.links[name] = try linkFacts(name, false) }
            }
            for device in query.devices { facts.devices.append(try observe(device, &facts)) }
            if query.everyLink { try observeEveryLink(&facts) }
            if query.routes, hasSandbox { facts.routes = try sandboxRoutes() }
        } catch {
            throw Failure(.generic, "\(error)")
        }
        for name in query.sysctls where name.place == .host || hasSandbox {
            do throws(SystemError) {
                facts.sysctls[name] = try readSysctl(name)
                if facts.sysctls[name] == nil { facts.unreadable.append(name) }
            } catch  where error.isNotFound {
            } catch {
                throw Failure(.io, "read sysctl \(name.path): \(error)")
            }
        }
        facts.home = number
        if let taken = query.taken {
            facts.taken = try find(taken)
            if facts.taken == nil { facts.takenByOthers = try linksOfOthers(taken) }
        }
        for path in query.files {
            do throws(SystemError) {
                facts.files[path] = String(decoding: try readFile(path, limit: 1 << 20), as: UTF8.self)
            } catch  where error.isNotFound || error.isNoDirectory {
            } catch  where error.isNoFile {
                facts.files[path] = ""  // exists, but is not a regular file
            } catch {
                throw Failure(.io, "\(error)")
            }
        }
        return facts
    }

    func linkFacts(_ name: LinkName, _ withAddresses: Bool) throws(SystemError) -> LinkFacts? {
        if links.isAbsent(name) { return nil }
        let found = try link(name)
        if name.place == .host { links.note(found?.info, ofHost: name.name) }
        guard let (link, place) = found else { return nil }
        return try with(place) { socket throws(SystemError) in
            var facts = LinkFacts(link)
            facts.isTiedToHost = place == .host && link.parentIndex != nil && link.parentNamespaceID == nil
            if let index = link.controllerIndex { facts.controller = try socket.link(index: index)?.name }
            if withAddresses { facts.addresses = try socket.addresses(index: link.index).map(\.cidr) }
            return facts
        }
    }

    private func observeEveryLink(_ facts: inout Facts) throws(SystemError) {
        for place in [Place.host, .sandbox] where place == .host || hasSandbox {
            for (name, link) in try everyLink(place) {
                facts.everyLink.append(name)
                facts.links[name] = link
            }
        }
    }

    /// The links of one side but lo.
    func everyLink(_ place: Place) throws(SystemError) -> [(LinkName, LinkFacts)] {
        let links = try with(place) { socket throws(SystemError) in try socket.links() }
        // Asked after the listing: only then has the kernel given the host an ID in this namespace.
        let host = place == .sandbox ? try hostID() : nil
        return links.filter { !$0.isLoopback }.map { link in
            var facts = LinkFacts(link)
            facts.isTiedToHost =
                link.parentIndex != nil
                && (place == .host
                    ? link.parentNamespaceID == nil : host != nil && link.parentNamespaceID == host)
            return (LinkName(place: place, name: link.name), facts)
        }
    }

    private func defaultRouteLink(_ place: Place) throws(SystemError) -> LinkName? {
        try with(place) { socket throws(SystemError) in
            for family in IPAddress.Family.allCases {
                for entry in try socket.routes(family: family) where entry.route.isDefault {
                    if let link = try socket.link(index: entry.index) {
                        return LinkName(place: place, name: link.name)
                    }
                }
            }
            return nil
        }
    }

    private func sandboxRoutes() throws(SystemError) -> [SandboxRoute] {
        try with(.sandbox) { socket throws(SystemError) in
            var names: [Int32: String] = [:]
            var routes: [SandboxRoute] = []
            for family in IPAddress.Family.allCases {
                for entry in try socket.routes(family: family) {
                    if names[entry.index] == nil {
                        names[entry.index] = try socket.link(index: entry.index)?.name
                    }
                    guard let name = names[entry.index] else { continue }
                    routes.append(SandboxRoute(entry.route, name, original: entry.original))
                }
            }
            return routes
        }
    }
}

extension LinkFacts {
    /// All that the link itself says.
    init(_ link: LinkInfo) {
        self.init(
            index: link.index, kind: link.kind ?? "", mac: link.mac, mtu: link.mtu, isUp: link.isUp,
            isPromiscuous: link.isPromiscuous, peerIndex: link.parentIndex)
        settings = link.settings
        hasCarrier = link.hasCarrier
        alias = link.alias
        alternativeNames = link.alternativeNames
        isAllMulticast = link.isAllMulticast
        queueLength = link.queueLength
        usesARP = link.usesARP
        isMulticast = link.isMulticast
        group = link.group
        gsoSize = link.gsoSize
        gsoSegments = link.gsoSegments
        groSize = link.groSize
        isDormant = link.isDormant
        xdp = link.xdp
        if !link.busAddress.isEmpty { bus = "\(link.busName)/\(link.busAddress)" }
        if !link.permanentAddress.isEmpty {
            permanentAddress = String(decoding: hexadecimal(link.permanentAddress), as: UTF8.self)
        }
    }
}
