import CNI
import JSONC
import Networking
import Plans

/// The text of the annotation `k8s.v1.cni.cncf.io/network-status`, as Multus writes it: order of keys, indentation and
/// what is left out are compared by those who read it. NPWG multi-network specification 1.3, §5; Multus' names of keys.
package enum NetworkStatus {
    /// Bytes of what is said of a network that is missing: an annotation has 256 KiB for all.
    private static let longestProblem = 300

    /// - Parameter record: of a pod; its first entry is the default network.
    /// - Returns: nil when no network gave anything: then Multus writes none either.
    package static func text(of record: PodRecord) -> String? {
        var elements: [String] = []
        for (index, entry) in record.entries.enumerated() {
            guard let result = entry.attached?.result else { continue }
            let given = Given(
                name: entry.spec.name, interface: entry.spec.id.interface, result: result,
                deviceInfo: entry.attached?.deviceInfo,
                isDefault: index == 0)
            elements += given.elements.map { JSON.object($0).print(indent: 4) }
        }
        for network in record.missing {
            let json: JSONObject = [
                "name": .string(network.name), "dns": [:],
                "error": .string(String(network.problem.prefix(longestProblem))),
            ]
            elements.append(JSON.object(json).print(indent: 4))
        }
        return elements.isEmpty ? nil : "[\(elements.joined(separator: ","))]"
    }
}

/// What one network gave.
private struct Given {
    let name: String
    /// The one that was asked for.
    let interface: String
    let result: CNIResult
    let deviceInfo: JSON?
    let isDefault: Bool

    /// One for each interface in the pod; a result with a single interface, or with none and addresses, has one.
    var elements: [JSONObject] {
        switch result.interfaces.count {
        case 0:
            guard !result.ips.isEmpty else { return [] }
            return [element(interface, nil, result.ips, isDefault)]
        case 1:
            let only = result.interfaces[0]
            return [
                element(only.isInHost ? "" : only.name, only.isInHost ? nil : only, result.ips, isDefault)
            ]
        default:
            let own = result.interfaces.indices.filter { !result.interfaces[$0].isInHost }
            let first = defaultInterface(among: own)
            return own.map { index in
                let ips = result.ips.filter { ($0.interface ?? own.last) == index }
                let found = result.interfaces[index]
                return element(found.name, found, ips, isDefault && index == first)
            }
        }
    }

    /// The one with the first address that has a gateway, else the first.
    private func defaultInterface(among own: [Int]) -> Int? {
        let named = result.ips.first { $0.gateway != nil && $0.interface != nil }?.interface
        return named.flatMap { own.contains($0) ? $0 : nil } ?? own.first
    }

    private func element(
        _ interface: String, _ link: CNIResult.Interface?, _ ips: [CNIResult.IP], _ isDefault: Bool
    ) -> JSONObject {
        var json: JSONObject = ["name": .string(name)]
        if !interface.isEmpty { json["interface"] = .string(interface) }
        if !ips.isEmpty { json["ips"] = .array(ips.map { .string("\($0.address.address)") }) }
        if let mac = link?.mac, !mac.isEmpty { json["mac"] = .string(mac) }
        if let mtu = link?.mtu, mtu != 0 { json["mtu"] = .int(Int64(mtu)) }
        if isDefault { json["default"] = true }
        json["dns"] = dns
        if let deviceInfo { json["device-info"] = deviceInfo }
        if !gateways.isEmpty { json["gateway"] = .array(gateways.map { .string("\($0)") }) }
        return json
    }

    /// As Go's type has them, not sorted.
    private var dns: JSON {
        var json: JSONObject = [:]
        func put(_ key: String, _ list: [String]) {
            if !list.isEmpty { json[key] = .array(list.map { .string($0) }) }
        }
        put("nameservers", result.dns.nameservers)
        if let domain = result.dns.domain { json["domain"] = .string(domain) }
        put("search", result.dns.search)
        put("options", result.dns.options)
        return .object(json)
    }

    /// Those of default routes; a route without one goes by that of its family's address.
    private var gateways: [IPAddress] {
        result.routes.filter(\.isDefault).compactMap { route in
            route.gateway
                ?? result.ips.first { $0.address.family == route.family && $0.gateway != nil }?.gateway
        }
    }
}
