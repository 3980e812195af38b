import CNI
package import DHCP
import JSONC
import Networking
package import Plans

/// The `ipam` section of dhcp.
struct DHCPConfig {
    /// By what the server knows the client.
    enum Identity: String, CaseIterable {
        /// The reference plugin's: container, network and interface. A new sandbox is a new client.
        case container
        /// Namespace and name of the pod, and the interface: the same in each of its sandboxes.
        case pod
        /// The MAC address, as reservations have it.
        case mac
    }

    var provided: [UInt8: [UInt8]] = [:]
    var requested: [UInt8] = []
    var isBroadcast = false
    var terms = DHCPTerms()
    var identity = Identity.container
    var family = DHCPFamily.ipv4
    /// Whether the addresses that the kernel configures by routers' advertisements are waited for, and reported.
    var reportsSlaac = false
    /// Besides those of a server: of IPv6, as DHCPv6 has none.
    var routes: [Route] = []
    /// Seconds of an ADD.
    var timeout: Int64 = 60
    /// Where the records of leases are.
    var directory = DHCPRecords.defaultPath
    /// Where a daemon listens.
    var socket = "/run/cni/dhcp.sock"
    /// Whether an ADD without one fails.
    var requiresAgent = false

    static let vocabulary = Vocabulary(
        [
            "type", "daemonSocketPath", "provide", "request", "priority", "broadcast", "accept", "clientID",
            "timeout", "leaseDir", "probe", "requireAgent", "family", "reportSlaac", "routes",
        ],
        members: [
            .init("provide", Vocabulary(["option", "value", "fromArg"])),
            .init("request", Vocabulary(["option", "skipDefault"])), .init("routes", Route.vocabulary),
        ]
    ) { key in
        switch key {
        case "metric": "priority"
        case "clientid", "clientidentifier", "identity": "clientID"
        case "ipfamily", "families", "ipv6", "dhcpv6": "family"
        case "slaac", "reportra": "reportSlaac"
        case "datadir", "leasedirectory", "leasefile": "leaseDir"
        case "arping", "conflictdetection": "probe"
        case "requiredaemon": "requireAgent"
        case "options", "sendoptions": "provide"
        case "requestoptions", "requests": "request"
        case "subnet", "ranges", "addresses", "rangestart", "rangeend", "gateway":
            "the DHCP server gives it"
        default: nil
        }
    }

    init(_ request: LeaseRequest) throws(Failure) {
        do throws(JSONError) { try self.init(reading: request) } catch {
            throw Failure(
                .badConfig, error, details: "correct the ipam section of network \(request.config.label)")
        }
    }

    private init(reading request: LeaseRequest) throws(JSONError) {
        guard let ipam = try request.config.reader.object("ipam") else {
            throw request.config.reader.error(nil, "IPAM config missing 'ipam' key")
        }
        family = try DHCPFamily(ipam)
        reportsSlaac = try ipam.bool("reportSlaac") ?? false
        routes = try family.routes(ipam, mustWork: request.rules.judgesWishes)
        if let path = try ipam.string("daemonSocketPath"), !path.isEmpty { socket = path }
        if let path = try ipam.string("leaseDir"), !path.isEmpty {
            guard path.hasPrefix("/") else {
                throw ipam.error(
                    "leaseDir",
                    "\"\(path)\" is no absolute path: where it leads depends on how the runtime was started")
            }
            directory = path
        }
        // Pairs of others are no business of ours, whatever their form.
        let args = (try? CNIArgs.parse(request.args, lenient: true)) ?? CNIArgs()
        for item in try ipam.list("provide") ?? [] {
            let option = try Self.option(item)
            let argument = try item.string("fromArg").flatMap { args[$0] }
            let own = try item.string("value") ?? ""
            let value = argument ?? own
            guard value.utf8.count <= 255 else {
                throw item.error("value", "value too long: \(value.utf8.count) bytes, 255 at most")
            }
            if !value.isEmpty { provided[option] = Array(value.utf8) }
        }
        var skipsDefault = false
        for item in try ipam.list("request") ?? [] {
            if let skips = try item.bool("skipDefault"), skips { skipsDefault = true }
            if item.has("option") { requested.append(try Self.option(item)) }
        }
        if !skipsDefault { requested += [Option.routers, Option.subnetMask] }
        for name in try ipam.strings("accept") ?? [] {
            guard let known = DHCPTerms.Accepted(rawValue: name) else {
                throw ipam.error(
                    "accept", "unknown \"\(name)\": write \(Self.list(DHCPTerms.Accepted.allCases))")
            }
            terms.accepted.insert(known)
        }
        if terms.accepted.contains(.dns) {
            requested += [Option.nameServers, Option.domainName, Option.domainSearch]
        }
        if terms.accepted.contains(.mtu) { requested.append(Option.mtu) }
        if terms.accepted.contains(.msroutes) {
            requested += [Option.classlessRoutes, Option.microsoftRoutes]
        }
        var seen: Set<UInt8> = []
        requested = requested.filter { seen.insert($0).inserted }
        if requested.isEmpty {
            // As the library of the reference plugin asks then.
            requested = [Option.subnetMask, Option.routers, Option.domainName, Option.nameServers]
        }
        terms.priority = try ipam.int("priority", in: 0...Int64(UInt32.max)).flatMap {
            $0 == 0 ? nil : UInt32($0)
        }
        isBroadcast = try ipam.bool("broadcast") ?? false
        terms.isProbing = try ipam.bool("probe") ?? false
        requiresAgent = try ipam.bool("requireAgent") ?? false
        timeout = try ipam.int("timeout", in: 1...600) ?? timeout
        if let name = try ipam.string("clientID") {
            guard let known = Identity(rawValue: name) else {
                throw ipam.error("clientID", "unknown \"\(name)\": write \(Self.list(Identity.allCases))")
            }
            identity = known
        }
    }

    func noCarrier(_ interface: String) -> Failure {
        Failure(
            .generic, "dhcp: no carrier on \(interface) in \(timeout) s: no more tries",
            details: "what \(interface) is connected to is down: look at its master, or the bridge's ports")
    }

    /// The records' folder, whatever else is in the configuration: a DEL must find them.
    static func directory(_ ipam: JSON?) -> String {
        guard let path = ipam?["leaseDir"]?.string, path.hasPrefix("/") else {
            return DHCPRecords.defaultPath
        }
        return path
    }

    private static func list(_ cases: [some RawRepresentable<String>]) -> String {
        cases.map(\.rawValue).joined(separator: ", ")
    }

    /// A number, or one of the reference plugin's names.
    private static func option(_ item: Reader) throws(JSONError) -> UInt8 {
        try item.requireObject()
        guard let text = try item.string("option") else { throw item.error("option", "is missing") }
        let names: [String: UInt8] = [
            "dhcp-client-identifier": Option.clientID, "subnet-mask": Option.subnetMask,
            "routers": Option.routers, "host-name": Option.hostName, "user-class": Option.userClass,
            "vendor-class-identifier": Option.vendorClass,
        ]
        guard let number = names[text] ?? UInt8(text) else {
            throw item.error(
                "option",
                "Can not parse option \"\(text)\": write a number up to 255, or \(names.keys.sorted().joined(separator: ", "))"
            )
        }
        return number
    }

    // MARK: What it makes of an attachment

    func client(_ request: LeaseRequest, _ mac: MAC) -> Client {
        Client(
            hardware: mac, id: clientID(request, mac), provided: provided, requested: requested,
            isBroadcast: isBroadcast)
    }

    private func clientID(_ request: LeaseRequest, _ mac: MAC) -> [UInt8] {
        if let own = provided[Option.clientID] { return own }
        func text(_ text: String) -> [UInt8] { [0] + text.utf8.prefix(254) }
        switch identity {
        case .mac: return [1] + mac.bytes
        case .pod:
            if let pod = Pod(ofArgs: request.args) {
                return text("\(pod.namespace)/\(pod.name)/\(request.id.interface)")
            }
            return text("\(request.id.containerID)/\(request.id.interface)")
        case .container:
            return text("\(request.id.containerID)/\(request.config.name)/\(request.id.interface)")
        }
    }
}

/// How what a server grants becomes addresses and routes.
package struct DHCPTerms: Equatable, Sendable {
    /// What of an answer is used that the reference plugin passes over.
    package enum Accepted: String, CaseIterable, Sendable { case dns, mtu, routers, msroutes }

    /// The metric of every route.
    package var priority: UInt32?
    package var accepted: Set<Accepted> = []
    /// Whether an address is used only when nobody on the link says that it is his.
    package var isProbing = false

    /// nil without a mask: nobody knows then who is on the link.
    package func lease(_ grant: Grant) -> Lease? {
        guard let length = grant.prefixLength else { return nil }
        var lease = Lease(
            ips: [.init(address: CIDR(grant.address, length), gateway: grant.routers.first)],
            routes: grant.routes(priority: priority, acceptsMicrosoft: accepted.contains(.msroutes)),
            use: AddressUse(lifetime: Lifetime(grant.leaseTime == .max ? nil : grant.leaseTime)))
        // Where option 121 is the routers of option 3 are none.
        let isClassless = grant.classlessRoutes(acceptsMicrosoft: accepted.contains(.msroutes)) != nil
        if accepted.contains(.routers), !isClassless {
            for (index, router) in grant.routers.dropFirst().enumerated() {
                let metric = (priority ?? 0) + UInt32(index) + 1
                lease.routes.append(Route(.everywhere(.v4), via: router, priority: metric))
            }
        }
        if accepted.contains(.mtu), let mtu = grant.mtu {
            for index in lease.routes.indices { lease.routes[index].mtu = mtu }
        }
        if accepted.contains(.dns) {
            lease.dns.nameservers = grant.nameServers.map { "\($0)" }
            lease.dns.domain = grant.domainName
            lease.dns.search = grant.domainSearch
            lease.isDNSWanted = true
        }
        return lease
    }
}
