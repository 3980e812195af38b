package import CNI
package import JSONC
import Networking
package import Plans

/// Addresses as the configuration or the call names them; nothing is kept. CNI reference plugin `static`.
package enum Static: AddressSource {
    package static let type = "static"
    package static let capabilities = ["ips"]
    package static let podArguments = ["ips"]
    package static let keepsApart = false
    package static let vocabulary = Vocabulary(
        ["type", "addresses", "routes", "dns"],
        members: [
            .init("addresses", addressVocabulary), .init("routes", Route.vocabulary),
            .init("dns", DNS.vocabulary),
        ]
    ) { key in
        switch key {
        case "address", "ips", "ip": "addresses"
        case "gateway", "gw": "it belongs to an address: write it into an element of addresses"
        default: nil
        }
    }
    private static let maximumAddresses = 8192
    private static let addressVocabulary = Vocabulary(["address", "gateway"]) { key in
        switch key {
        case "ip", "cidr", "addr", "ipaddress": "address"
        case "gw", "via", "router", "nexthop": "gateway"
        default: nil
        }
    }

    package static func parse(_ request: LeaseRequest) throws(Failure) -> any AddressConfig {
        let lease = try lease(request, mustWork: request.rules.judgesWishes)
        // Every plugin with an `ipam` section needs at least one address.
        guard !lease.ips.isEmpty || !request.rules.judgesWishes else {
            var failure = Failure(
                .badConfig, "static: there is no address: ipam.addresses is empty, and the pod asks for none",
                details:
                    "write \"addresses\": [{\"address\": \"10.1.2.3/24\"}] into ipam, or ips into the pod's annotation"
            )
            failure.key = "ipam.addresses"
            throw failure
        }
        return StaticConfig(lease: lease)
    }

    fileprivate static func remarks(_ lease: Lease, _ request: LeaseRequest) -> [Remark] {
        var remarks = lease.ips.compactMap { gatewayRemark($0.gateway, $0.address) }
        if let asked = requested(request, "runtimeConfig"), let other = requested(request, "args"),
            asked != other
        {
            remarks.append(.concern("cni-args.ips is passed over: ips goes before it"))
        }
        return remarks
    }

    /// The texts that are asked for there; nil for none.
    private static func requested(_ request: LeaseRequest, _ key: String) -> [String]? {
        let section = try? request.config.reader.object(key)
        let texts = key == "args" ? try? section?.object("cni")?.strings("ips") : try? section?.strings("ips")
        return texts.flatMap { $0.isEmpty ? nil : $0 }
    }

    package static func release(_ request: LeaseRequest) throws(Failure) {}
    package static func collect(_ request: LeaseRequest, valid: [AttachmentID]) throws(Failure) {}
    package static func status(_ request: LeaseRequest) throws(Failure) { _ = try lease(request) }

    package static func check(_ request: LeaseRequest) throws(Failure) {
        guard let previous = request.config.previous else {
            throw Failure(
                .badConfig, "Required prevResult missing", details: "CHECK compares the configuration with it"
            )
        }
        for wanted in try lease(request).ips {
            guard let found = previous.ips.first(where: { $0.address.address == wanted.address.address })
            else { continue }
            if let gateway = wanted.gateway, gateway != found.gateway {
                throw Failure(
                    .generic, "static: Failed to match addr \(wanted.address) gateway \(gateway)",
                    details: "prevResult has the gateway \(found.gateway.map { "\($0)" } ?? "none")")
            }
        }
    }

    private static func lease(_ request: LeaseRequest, mustWork: Bool = false) throws(Failure) -> Lease {
        let lease: Lease
        do throws(JSONError) { lease = try read(request, mustWork) } catch {
            throw Failure(.badConfig, error, details: request.fix(error))
        }
        guard lease.ips.count <= maximumAddresses else {
            throw Failure(
                .badConfig, "static: \(lease.ips.count) addresses, the limit is \(maximumAddresses)",
                details: "the kernel looks through all of a link's addresses for each new one"
            )
        }
        for family in IPAddress.Family.allCases where request.config.version < .v0_3_0 {
            guard lease.ips.count(where: { $0.address.family == family }) <= 1 else {
                throw Failure(
                    .badConfig,
                    "CNI version \(request.config.version.rawValue) does not support more than 1 address per family",
                    details: "use cniVersion 0.3.1 or later"
                )
            }
        }
        return lease
    }

    /// `addresses` and CNI_ARGS together, or `args.cni.ips`, or `runtimeConfig.ips`: the last that is given counts.
    private static func read(_ request: LeaseRequest, _ mustWork: Bool) throws(JSONError) -> Lease {
        let json = request.config.reader
        guard let ipam = try json.object("ipam") else {
            throw json.error(nil, "IPAM config missing 'ipam' key")
        }
        var lease = Lease()
        let requests = [
            ("runtimeConfig.ips", try json.object("runtimeConfig")?.strings("ips") ?? []),
            ("args.cni.ips", try json.object("args")?.object("cni")?.strings("ips") ?? []),
        ]
        if let (source, texts) = requests.first(where: { !$0.1.isEmpty }) {
            lease.ips = try requested(texts, source, mustWork)
            // The configured addresses do not count then; only their types are checked.
            for entry in try ipam.list("addresses") ?? [] {
                for key in ["address", "gateway"] { _ = try entry.string(key) }
            }
            _ = try fromArgs(request, false)
        } else {
            lease.ips = try configured(ipam, mustWork) + fromArgs(request, mustWork)
        }
        for route in try ipam.list("routes") ?? [] {
            lease.routes.append(try Route(route))
            if mustWork { try lease.routes.last?.requireUsable(route) }
        }
        if let dns = try ipam.object("dns") { lease.dns = try DNS(dns) }
        return lease
    }

    private static func configured(_ ipam: Reader, _ mustWork: Bool) throws(JSONError) -> [CNIResult.IP] {
        var ips: [CNIResult.IP] = []
        for entry in try ipam.list("addresses") ?? [] {
            let text = try entry.string("address") ?? ""
            guard let address = CIDR(parsing: text) else {
                throw entry.error(
                    "address", "the 'address' field is expected to be in CIDR notation, got: '\(text)'")
            }
            if mustWork {
                try entry.requireHost("address", address.address, address)
                guard address.length > 0 else {
                    throw entry.error(
                        "address",
                        "\(address) makes every address the link's own: write the length of its network")
                }
                try entry.requireGateway("gateway", address)
            }
            ips.append(.init(address: address, gateway: try entry.address("gateway")))
        }
        return ips
    }

    private static func requested(_ texts: [String], _ source: String, _ mustWork: Bool) throws(JSONError)
        -> [CNIResult.IP]
    {
        var ips: [CNIResult.IP] = []
        for text in texts {
            guard let address = CIDR(parsing: text) else {
                throw JSONError(
                    path: source,
                    problem: "an entry in the 'ips' field is NOT in CIDR notation, got: '\(text)'")
            }
            if mustWork, let problem = hostProblem(address.address, address) {
                throw JSONError(path: source, problem: problem)
            }
            ips.append(.init(address: address))
        }
        return ips
    }

    /// A comma-separated value of CNI_ARGS; an empty value is none.
    private static func items(_ text: String?) -> [String] {
        guard let text, !text.isEmpty else { return [] }
        return text.split(separator: ",", omittingEmptySubsequences: false).map { trimmed($0) }
    }

    private static func fromArgs(_ request: LeaseRequest, _ mustWork: Bool) throws(JSONError) -> [CNIResult
        .IP]
    {
        let args: CNIArgs
        do throws(Failure) {
            args = try CNIArgs.parse(request.args, lenient: request.rules.acceptsForeignArguments)
            if !request.rules.acceptsForeignArguments { try args.requireKnown(["IP", "GATEWAY"]) }
        } catch {
            throw JSONError(path: "", problem: error.message)
        }
        var gateways: [IPAddress] = []
        for text in items(args["GATEWAY"]) {
            guard let gateway = IPAddress(parsing: text) else {
                throw JSONError(path: "CNI_ARGS GATEWAY", problem: "invalid gateway address: \(text)")
            }
            gateways.append(gateway)
        }
        var ips: [CNIResult.IP] = []
        for text in items(args["IP"]) {
            guard let address = CIDR(parsing: text) else {
                // The meta role passes the annotation's address without a prefix length here; the capability may have
                // it with one.
                if request.rules.acceptsForeignArguments, request.config.runtimeConfig?.has("ips") == true {
                    continue
                }
                throw JSONError(
                    path: "CNI_ARGS IP",
                    problem: "the 'ip' field is expected to be in CIDR notation, got: '\(text)'")
            }
            if mustWork, let problem = hostProblem(address.address, address) {
                throw JSONError(path: "CNI_ARGS IP", problem: problem)
            }
            ips.append(.init(address: address, gateway: gateways.last { address.contains($0) }))
        }
        return ips
    }
}

/// All that is given is known as soon as it is read.
private struct StaticConfig: AddressConfig {
    let lease: Lease

    func remarks(_ request: LeaseRequest) -> [Remark] { Static.remarks(lease, request) }
    func allocate(_: LeaseRequest) -> Lease { lease }
    func preview(_: LeaseRequest) -> Lease? { lease }
    func lease(_: LeaseRequest) -> Lease { lease }
    func lost(_: LeaseRequest, isKept _: Bool) -> [IPAddress] { [] }
}
