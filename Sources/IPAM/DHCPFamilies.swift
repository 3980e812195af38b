import CNI
import JSONC
import Linux
import Networking
import Plans

/// One ADD that wants more than an IPv4 lease: an IPv6 one, or to know what the kernel configured by itself.
struct DHCPFamilies: AddressConfig {
    let config: DHCPConfig

    func remarks(_ request: LeaseRequest) -> [Remark] { [] }
    func preview(_: LeaseRequest) -> Lease? { nil }
    func lost(_: LeaseRequest, isKept _: Bool) -> [IPAddress] { [] }

    func lease(_ request: LeaseRequest) throws(Failure) -> Lease {
        var lease = Lease(routes: config.routes)
        if config.family.isV4 {
            lease.join(try DHCPSource.kept(DHCPRecord.self, request, in: config.directory))
        }
        if config.family.isV6 {
            lease.join(try DHCPSource.kept(DHCPv6Record.self, request, in: config.directory))
        }
        return lease
    }

    func ask(_ request: LeaseRequest) throws(Failure) -> (any AddressQuery)? {
        try DHCPFamiliesQuery(config, request)
    }

    func allocate(_ request: LeaseRequest) throws(Failure) -> Lease {
        try DHCPFamiliesQuery(config, request).settled()
    }
}

/// All that an ADD waits for, at once: it gets all of it, or nothing is left.
private final class DHCPFamiliesQuery: AddressQuery {
    private let config: DHCPConfig
    private let link: any LinkAccess
    private let optimism: Optimism
    /// Each with its answer.
    private var parts: [(query: any AddressQuery, answer: Lease?)] = []

    init(_ config: DHCPConfig, _ request: LeaseRequest) throws(Failure) {
        let link = try request.linkToAsk(config)
        guard let facts = try link.facts() else { throw DHCPSource.noLink(request, link) }
        self.config = config
        self.link = link
        let deadline = monotonicMilliseconds() + config.timeout * 1000
        optimism = try Optimism.begin(link, request.id.interface)
        do throws(Failure) {
            if !facts.isUp { try link.setUp() }
            if config.family.isV4 { parts.append((try DHCPQuery(config, request), nil)) }
            if config.family.isV6 {
                parts.append((try DHCPv6Query(config, request, link, until: deadline), nil))
            }
            if config.reportsSlaac {
                parts.append((try AdvertisedQuery(config, request, link, until: deadline), nil))
            }
        } catch {
            withdraw()
            throw error
        }
    }

    private var waiting: [any AddressQuery] { parts.filter { $0.answer == nil }.map(\.query) }

    var descriptors: [CInt] { waiting.flatMap(\.descriptors) }
    var wakeup: Int64 { waiting.map(\.wakeup).min() ?? 0 }

    func step() throws(Failure) -> Lease? {
        for index in parts.indices where parts[index].answer == nil {
            do throws(Failure) { parts[index].answer = try parts[index].query.step() } catch {
                parts.remove(at: index)
                withdraw()
                throw error
            }
        }
        guard waiting.isEmpty else { return nil }
        optimism.end(link)
        var lease = Lease(routes: config.routes)
        for part in parts { if let answer = part.answer { lease.join(answer) } }
        return lease
    }

    func withdraw() {
        for part in parts { part.query.withdraw() }
        optimism.end(link)
    }
}

extension Lease {
    /// Takes what another source gives for the same link.
    fileprivate mutating func join(_ other: Lease) {
        // What a server gave counts for an address that the kernel has too.
        ips += other.ips.filter { ip in !ips.contains { $0.address.address == ip.address.address } }
        routes += other.routes
        uses.merge(other.uses) { own, _ in own }
        dns.nameservers += other.dns.nameservers
        dns.domain = dns.domain ?? other.dns.domain
        dns.search += other.dns.search
        isDNSWanted = isDNSWanted || other.isDNSWanted
    }
}

/// Lets addresses that a link gets be used while the kernel looks for others that have them (RFC 4429), which saves an ADD the
/// second or two of the link-local address, and the random part of all others. The setting is the link's again afterwards.
struct Optimism {
    private let path: String
    /// nil where nothing was changed.
    private let before: String?

    static func folder(_ interface: String) -> String { "/proc/sys/net/ipv6/conf/\(interface)" }

    /// Also lets the link have IPv6 addresses at all.
    static func begin(_ link: any LinkAccess, _ interface: String) throws(Failure) -> Optimism {
        let path = "\(folder(interface))/optimistic_dad"
        var before: String?
        try link.inside { () throws(Failure) in
            do throws(SystemError) { try Sysctl.ensure("\(folder(interface))/disable_ipv6", "0") } catch {
                throw Failure(
                    .generic, "dhcp: \(interface) can have no IPv6 address: \(error)",
                    details: "the kernel needs IPv6, and /proc/sys must be writable")
            }
            // A kernel without the choice takes its time.
            guard let found = try? Sysctl.read(path), found == "0" else { return }
            do throws(SystemError) {
                try Sysctl.write(path, "1")
                before = found
            } catch {}
        }
        return Optimism(path: path, before: before)
    }

    func end(_ link: any LinkAccess) {
        guard let before else { return }
        try? link.inside { () throws(Failure) in try? Sysctl.write(path, before) }
    }
}
