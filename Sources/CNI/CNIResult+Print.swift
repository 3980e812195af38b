package import JSONC
import Networking

extension CNIResult {
    /// The result as `version` writes it.
    ///
    /// - Throws: when 0.1.0 or 0.2.0 is to express a result without addresses.
    package func json(_ version: Version) throws(Failure) -> JSON {
        if version < .v0_3_0 { return try oldJSON(version) }
        return version < .v1_0_0 ? middleJSON(version) : newJSON(version)
    }

    /// 1.x: keys sorted, empty parts left out.
    private func newJSON(_ version: Version) -> JSON {
        var json: JSONObject = ["cniVersion": .string(version.rawValue)]
        if !dns.isEmpty { json["dns"] = dns.json }
        if !interfaces.isEmpty { json["interfaces"] = .array(interfaces.map { $0.json(isFull: true) }) }
        if !ips.isEmpty { json["ips"] = .array(ips.map { $0.json(withVersion: false) }) }
        if !routes.isEmpty { json["routes"] = .array(routes.map(\.json)) }
        return .object(json)
    }

    /// 0.3.0 to 0.4.0: addresses name their family, `dns` is always there.
    private func middleJSON(_ version: Version) -> JSON {
        var json: JSONObject = ["cniVersion": .string(version.rawValue)]
        if !interfaces.isEmpty { json["interfaces"] = .array(interfaces.map { $0.json(isFull: false) }) }
        if !ips.isEmpty { json["ips"] = .array(ips.map { $0.json(withVersion: true) }) }
        if !routes.isEmpty { json["routes"] = .array(routes.map(\.json)) }
        json["dns"] = dns.json
        return .object(json)
    }

    private func oldJSON(_ version: Version) throws(Failure) -> JSON {
        var json: JSONObject = ["cniVersion": .string(version.rawValue)]
        for (key, family) in [("ip4", IPAddress.Family.v4), ("ip6", .v6)] {
            guard let ip = ips.first(where: { $0.address.family == family }) else { continue }
            var entry: JSONObject = ["ip": .string("\(ip.address)")]
            if let gateway = ip.gateway { entry["gateway"] = .string("\(gateway)") }
            let own = routes.filter { $0.family == family }.map {
                Route($0.destination, via: $0.gateway).json
            }
            if !own.isEmpty { entry["routes"] = .array(own) }
            json[key] = .object(entry)
        }
        guard json["ip4"] != nil || json["ip6"] != nil else {
            throw Failure(
                .generic, "cannot convert: no valid IP addresses",
                details:
                    "a result of version \(version.rawValue) must have one; use cniVersion 0.3.1 or later")
        }
        json["dns"] = dns.json
        return .object(json)
    }
}

extension CNIResult.Interface {
    fileprivate func json(isFull: Bool) -> JSON {
        var json: JSONObject = [:]
        if let mac { json["mac"] = .string(mac) }
        if isFull, let mtu, mtu != 0 { json["mtu"] = .int(Int64(mtu)) }
        json["name"] = .string(name)
        if isFull, let pciID { json["pciID"] = .string(pciID) }
        if let sandbox { json["sandbox"] = .string(sandbox) }
        if isFull, let socketPath { json["socketPath"] = .string(socketPath) }
        return .object(json)
    }
}

extension CNIResult.IP {
    fileprivate func json(withVersion: Bool) -> JSON {
        var json: JSONObject = ["address": .string("\(address)")]
        if let gateway { json["gateway"] = .string("\(gateway)") }
        if let interface { json["interface"] = .int(Int64(interface)) }
        if withVersion { json["version"] = .string(address.family == .v4 ? "4" : "6") }
        return .object(json)
    }
}
