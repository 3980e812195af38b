package import CNI
import JSONC
import Network
package import Plans

/// Addresses as the configuration or the call names them; nothing is kept. CNI reference plugin `static`.
package enum Static: AddressSource {
    package static let type = "static"
    private static let keys = ["type", "addresses", "routes", "dns"]

    package static func validate(_ request: LeaseRequest) throws(Failure) {
        try request.refuseNearMisses(keys)
        _ = try lease(request)
    }

    package static func allocate(_ request: LeaseRequest) throws(Failure) -> Lease { try lease(request) }
    package static func preview(_ request: LeaseRequest) throws(Failure) -> Lease { try lease(request) }
    package static func release(_ request: LeaseRequest) throws(Failure) {}
    package static func collect(_ request: LeaseRequest, valid: [AttachmentID]) throws(Failure) {}
    package static func status(_ request: LeaseRequest) throws(Failure) { try validate(request) }

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

    private static func lease(_ request: LeaseRequest) throws(Failure) -> Lease {
        let lease: Lease
        do throws(JSONError) { lease = try read(request) } catch {
            throw Failure(
                .badConfig, "\(error)", details: "correct the ipam section of network \(request.config.name)")
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
    private static func read(_ request: LeaseRequest) throws(JSONError) -> Lease {
        let json = request.config.reader
        guard let ipam = try json.object("ipam") else {
            throw json.error(nil, "IPAM config missing 'ipam' key")
        }
        var lease = Lease()
        for entry in try ipam.list("addresses") ?? [] {
            let text = try entry.string("address") ?? ""
            guard let address = CIDR(parsing: text) else {
                throw entry.error(
                    "address", "the 'address' field is expected to be in CIDR notation, got: '\(text)'")
            }
            lease.ips.append(.init(address: address, gateway: try entry.address("gateway")))
        }
        lease.ips += try fromArgs(request)
        for (source, texts) in [
            ("args.cni.ips", try json.object("args")?.object("cni")?.strings("ips")),
            ("runtimeConfig.ips", try request.config.runtimeConfig?.strings("ips")),
        ] {
            guard let texts, !texts.isEmpty else { continue }
            lease.ips = []
            for text in texts {
                guard let address = CIDR(parsing: text) else {
                    throw JSONError(
                        path: source,
                        problem: "an entry in the 'ips' field is NOT in CIDR notation, got: '\(text)'")
                }
                lease.ips.append(.init(address: address))
            }
        }
        for route in try ipam.list("routes") ?? [] { lease.routes.append(try Route(route)) }
        if let dns = try ipam.object("dns") { lease.dns = try DNS(dns) }
        return lease
    }

    private static func fromArgs(_ request: LeaseRequest) throws(JSONError) -> [CNIResult.IP] {
        let args: CNIArgs
        do throws(Failure) {
            args = try CNIArgs.parse(request.args, lenient: request.isLenient)
            if !request.isLenient { try args.requireKnown(["IP", "GATEWAY"]) }
        } catch {
            throw JSONError(path: "", problem: error.message)
        }
        var gateways: [IPAddress] = []
        for text in (args["GATEWAY"] ?? "").split(separator: ",") {
            guard let gateway = IPAddress(parsing: String(text)) else {
                throw JSONError(path: "CNI_ARGS GATEWAY", problem: "invalid gateway address: \(text)")
            }
            gateways.append(gateway)
        }
        var ips: [CNIResult.IP] = []
        for text in (args["IP"] ?? "").split(separator: ",") {
            guard let address = CIDR(parsing: String(text)) else {
                // The meta role passes what the annotation has; by capability it may come with its prefix.
                if request.isLenient, request.config.runtimeConfig?.has("ips") == true { continue }
                throw JSONError(
                    path: "CNI_ARGS IP",
                    problem: "the 'ip' field is expected to be in CIDR notation, got: '\(text)'")
            }
            ips.append(.init(address: address, gateway: gateways.first { address.contains($0) }))
        }
        return ips
    }
}
