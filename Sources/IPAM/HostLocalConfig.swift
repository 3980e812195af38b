package import CNI
import JSONC
import Linux
package import Networking
package import Plans

/// The `ipam` section of host-local, with what runtimeConfig, args and CNI_ARGS ask for.
package struct HostLocalConfig: Equatable, Sendable {
    package var sets: [RangeSet]
    package var routes: [Route]
    package var dns: DNS
    package var directory: String
    /// Addresses that are asked for, each once.
    package var requested: [Wish]

    package struct Wish: Equatable, Sendable {
        package var address: IPAddress
        /// The prefix length that is written with it.
        var length: Int?
        /// Where it is written.
        var key: String
    }

    /// A limit, as each range is compared with every other.
    private static let maximumRanges = 1024

    static let vocabulary = Vocabulary(
        ["type", "ranges", "routes", "dataDir", "resolvConf"],
        members: [.init("ranges", AddressRange.vocabulary), .init("routes", Route.vocabulary)]
    ) { key in
        switch key {
        case "ipranges": "ranges"
        case "range":
            "write the network into \"subnet\", and where it begins and ends into rangeStart and rangeEnd"
        case "addresses", "address", "ips", "ip":
            "fixed addresses are of the type static: write \"type\": \"static\""
        default: nil
        }
    }.with(AddressRange.vocabulary)

    /// - Parameters:
    ///   - allocates: false for DEL and the like: by then resolv.conf may be gone, and the version may be one that
    ///     cannot express what was given.
    ///   - mustWork: refuses what the reference plugin accepts and no pod can use.
    init(_ request: LeaseRequest, allocates: Bool = true, mustWork: Bool = false) throws(Failure) {
        do throws(JSONError) { try self.init(reading: request, allocates, mustWork) } catch {
            throw Failure(.badConfig, error, details: request.fix(error))
        }
        let numbers = IPAddress.Family.allCases.map { family in sets.count { $0.family == family } }
        if allocates, request.config.version < .v0_3_0, numbers.contains(where: { $0 > 1 }) {
            throw Failure(
                .badConfig,
                "CNI version \(request.config.version.rawValue) does not support more than 1 address per family",
                details: "use cniVersion 0.3.1 or later"
            )
        }
    }

    private init(reading request: LeaseRequest, _ allocates: Bool, _ mustWork: Bool) throws(JSONError) {
        let json = request.config.reader
        guard let ipam = try json.object("ipam") else {
            throw json.error(nil, "IPAM config missing 'ipam' key")
        }
        var sets: [RangeSet] = []
        var count = 0
        func add(_ ranges: [Reader], _ whole: Reader) throws(JSONError) {
            count += ranges.count
            guard count <= Self.maximumRanges else {
                throw whole.error(nil, "more than \(Self.maximumRanges) ranges")
            }
            do throws(JSONError) { sets.append(try RangeSet(ranges, whole, mustWork: mustWork)) } catch {
                throw JSONError(
                    path: error.path, problem: "invalid range set \(sets.count): \(error.problem)")
            }
        }
        let runtime = try json.object("runtimeConfig")
        for set in try runtime?.list("ipRanges") ?? [] { try add(Self.ranges(set), set) }
        if ipam.has("subnet") {
            try add([ipam], ipam)
        } else {
            for key in ["rangeStart", "rangeEnd", "gateway"] { _ = try ipam.address(key) }
        }
        for set in try ipam.list("ranges") ?? [] { try add(Self.ranges(set), set) }
        self.sets = sets
        guard !sets.isEmpty else { throw ipam.error("ranges", "no IP ranges specified") }
        for (index, set) in sets.enumerated() {
            if let other = sets[..<index].firstIndex(where: { $0.overlaps(set) }) {
                throw ipam.error("ranges", "range set \(other) overlaps with \(index)")
            }
        }
        routes = []
        for route in try ipam.list("routes") ?? [] {
            routes.append(try Route(route))
            if mustWork { try routes.last?.requireUsable(route) }
        }
        directory = try Self.directory(request)
        // With two working directories there would be two stores, which could give one address twice.
        for key in ["dataDir", "resolvConf"] where request.rules.judgesWishes && allocates {
            guard let path = try ipam.string(key), !path.isEmpty, !path.hasPrefix("/") else { continue }
            throw ipam.error(
                key, "\"\(path)\" is no absolute path: where it leads depends on how the runtime was started")
        }
        dns = DNS()
        if let path = try ipam.string("resolvConf"), !path.isEmpty, allocates {
            do throws(SystemError) { dns = resolvConf(try readFile(path, limit: 1 << 20)) } catch {
                throw ipam.error("resolvConf", "\(error)")
            }
        }
        requested = try Self.requested(request, json)
    }

    /// The ranges of a set; the error helps those who leave one level of brackets out.
    private static func ranges(_ set: Reader) throws(JSONError) -> [Reader] {
        guard set.value.object == nil else {
            throw set.error(nil, "cannot unmarshal: expected a list, found an object: write [[{...}]]")
        }
        return try set.elements()
    }

    /// Where the network's addresses are kept.
    static func directory(_ request: LeaseRequest) throws(JSONError) -> String {
        let configured = try request.config.reader.object("ipam")?.string("dataDir") ?? ""
        return "\(configured.isEmpty ? HostLocal.defaultDirectory : configured)/\(request.config.name)"
    }

    /// CNI_ARGS, then `args.cni.ips`, then `runtimeConfig.ips`; a prefix length is taken and dropped.
    private static func requested(_ request: LeaseRequest, _ json: Reader) throws(JSONError) -> [Wish] {
        var texts: [(text: String, source: String)] = []
        do throws(Failure) {
            let args = try CNIArgs.parse(request.args, lenient: request.rules.acceptsForeignArguments)
            if !request.rules.acceptsForeignArguments { try args.requireKnown(["IP"]) }
            if let text = args["IP"], !text.isEmpty {
                // One address by the reference; the meta role sends several joined by commas.
                let several =
                    request.rules.acceptsForeignArguments
                    ? text.split(separator: ",").map(String.init) : [text]
                texts += several.map { ($0, "CNI_ARGS IP") }
            }
        } catch {
            throw JSONError(path: "", problem: error.message)
        }
        for ip in try json.object("args")?.object("cni")?.strings("ips") ?? [] {
            texts.append((ip, "args.cni.ips"))
        }
        for ip in try json.object("runtimeConfig")?.strings("ips") ?? [] {
            texts.append((ip, "runtimeConfig.ips"))
        }
        // A network has no more sets of ranges.
        if texts.count > maximumRanges, let source = texts.first?.source {
            throw JSONError(
                path: source, problem: "\(texts.count) addresses are asked for, the limit is \(maximumRanges)"
            )
        }
        var wishes: [Wish] = []
        for (text, source) in texts {
            let cidr = CIDR(parsing: text)
            guard let address = IPAddress(parsing: text) ?? cidr?.address else {
                throw JSONError(path: source, problem: "invalid IP address: \(text)")
            }
            let wish = Wish(address: address, length: cidr?.length, key: source)
            if let index = wishes.firstIndex(where: { $0.address == address }) {
                wishes[index] = wish
            } else {
                wishes.append(wish)
            }
        }
        return wishes
    }
}

extension HostLocalConfig {
    package func remarks(_ request: LeaseRequest) -> [Remark] {
        var remarks: [Remark] = []
        if let ipam = try? request.config.reader.object("ipam"), !ipam.has("subnet") {
            for key in ["rangeStart", "rangeEnd", "gateway"] where ipam.has(key) {
                remarks.append(
                    .concern("ipam.\(key) belongs to ipam.subnet, which is missing: write it into the range"))
            }
        }
        for wish in requested {
            let range = sets.lazy.compactMap { $0.range(of: wish.address) }.first
            guard let length = wish.length, let subnet = range?.subnet, length != subnet.length else {
                continue
            }
            remarks.append(
                .concern(
                    "ips asks for \(wish.address)/\(length), and the range is of \(subnet): the pod gets"
                        + " \(CIDR(wish.address, subnet.length))"))
        }
        for set in sets {
            for range in set.ranges {
                if let remark = gatewayRemark(range.gateway, range.subnet) { remarks.append(remark) }
            }
        }
        return remarks
    }
}

extension LeaseRequest {
    /// What helps.
    func fix(_ error: JSONError) -> String {
        guard rules.tracesWishes, Failure.isOfTheCall(error.path) else {
            return "correct the ipam section of network \(config.label)"
        }
        return error.problem.contains("CIDR") ? "write the prefix length too, as in 10.1.2.3/24" : ""
    }
}

/// resolv.conf(5) as a result's DNS section.
func resolvConf(_ bytes: [UInt8]) -> DNS {
    var dns = DNS()
    for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
        guard let first = line.first, first != "#", first != ";" else { continue }
        let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
        guard words.count >= 2 else { continue }
        switch words[0] {
        case "nameserver": dns.nameservers.append(words[1])
        case "domain": dns.domain = words[1]
        case "search": dns.search += words[1...]
        case "options": dns.options += words[1...]
        default: break
        }
    }
    return dns
}
