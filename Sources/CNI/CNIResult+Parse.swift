package import JSONC
package import Networking

extension CNIResult {
    /// - Parameter assuming: the version of a result that does not say its own. `null` is an empty result.
    package static func parse(_ json: JSON, assuming version: Version) throws(JSONError) -> CNIResult {
        if json == .null { return CNIResult() }
        let reader = Reader(json)
        try reader.requireObject()
        var own = version
        if let text = try reader.string("cniVersion"), !text.isEmpty {
            guard let known = Version(rawValue: text) else {
                throw reader.error("cniVersion", "\"\(text)\" is no version that is known here")
            }
            own = known
        }
        var result = CNIResult()
        if own < .v0_3_0 {
            try result.readOld(reader)
        } else {
            try result.readNew(reader)
        }
        if let dns = try reader.object("dns") { result.dns = try DNS(dns) }
        return result
    }

    private mutating func readNew(_ reader: Reader) throws(JSONError) {
        for interface in try reader.list("interfaces") ?? [] {
            func text(_ key: String) throws(JSONError) -> String? {
                try interface.string(key).flatMap { $0.isEmpty ? nil : $0 }
            }
            interfaces.append(
                Interface(
                    name: try interface.string("name") ?? "", mac: try text("mac"),
                    mtu: try interface.uint32("mtu"),
                    sandbox: try text("sandbox"), socketPath: try text("socketPath"), pciID: try text("pciID")
                ))
        }
        for ip in try reader.list("ips") ?? [] {
            guard let address = try ip.cidr("address") else { throw ip.error("address", "is missing") }
            ips.append(
                IP(
                    address: address, gateway: try ip.address("gateway"),
                    interface: try ip.int("interface").map { Int($0) }))
        }
        for route in try reader.list("routes") ?? [] { routes.append(try Route(route)) }
    }

    /// 0.1.0 and 0.2.0: one address of each family, with its routes.
    private mutating func readOld(_ reader: Reader) throws(JSONError) {
        for key in ["ip4", "ip6"] {
            guard let entry = try reader.object(key) else { continue }
            guard let address = try entry.cidr("ip") else { throw entry.error("ip", "is missing") }
            ips.append(IP(address: address, gateway: try entry.address("gateway")))
            for route in try entry.list("routes") ?? [] { routes.append(try Route(route)) }
        }
    }
}

extension Route {
    package static let vocabulary = Vocabulary(
        ["dst", "gw", "mtu", "advmss", "priority", "table", "scope"]
    ) { key in
        switch key {
        case "gateway", "via", "nexthop", "nexthopaddress": "gw"
        case "metric": "priority"
        case "destination", "dest", "to", "subnet", "network", "cidr": "dst"
        default: nil
        }
    }

    /// CNI 1.1's route object.
    package init(_ json: Reader) throws(JSONError) {
        guard let destination = try Self.destination(json) else { throw json.error("dst", "is missing") }
        self.init(
            destination, via: try json.address("gw"), mtu: try json.uint32("mtu"),
            advmss: try json.uint32("advmss"),
            priority: try json.uint32("priority"), table: try json.uint32("table"),
            scope: try json.int("scope", in: 0...255).map { UInt8($0) })
    }

    /// People write what `ip route` takes.
    private static func destination(_ json: Reader) throws(JSONError) -> CIDR? {
        let text = try json.string("dst") ?? ""
        let meant =
            text == "default" ? "0.0.0.0/0, or ::/0" : IPAddress(parsing: text).map { "\(CIDR.host($0))" }
        if let meant { throw json.error("dst", "invalid CIDR address: \"\(text)\": write \(meant)") }
        return try json.cidr("dst")
    }

    /// Refuses what the kernel refuses of every link.
    package func requireUsable(_ json: Reader) throws(JSONError) {
        if let gateway, gateway.family != family {
            throw json.error("gw", "gateway \(gateway) is of the other family than \(destination)")
        }
        if let hostBitsProblem { throw json.error("dst", hostBitsProblem) }
    }

    /// As CNI 1.x writes it: keys sorted, 0 left out where it says nothing.
    package var json: JSON {
        var json: JSONObject = [:]
        if let advmss, advmss != 0 { json["advmss"] = .int(Int64(advmss)) }
        json["dst"] = .string("\(destination)")
        if let gateway { json["gw"] = .string("\(gateway)") }
        if let mtu, mtu != 0 { json["mtu"] = .int(Int64(mtu)) }
        if let priority, priority != 0 { json["priority"] = .int(Int64(priority)) }
        if let scope { json["scope"] = .int(Int64(scope)) }
        if let table { json["table"] = .int(Int64(table)) }
        return .object(json)
    }
}

extension Reader {
    /// An address; an empty text counts as absent.
    package func address(_ key: String) throws(JSONError) -> IPAddress? {
        guard let text = try string(key), !text.isEmpty else { return nil }
        guard let address = IPAddress(parsing: text) else {
            let hint = CIDR(parsing: text).map { ": write \($0.address), without a prefix length" } ?? ""
            throw error(key, "invalid IP address: \"\(text)\"\(hint)")
        }
        return address
    }

    package func cidr(_ key: String) throws(JSONError) -> CIDR? {
        guard let text = try string(key), !text.isEmpty else { return nil }
        guard let cidr = CIDR(parsing: text) else {
            let hint = IPAddress(parsing: text).map { address in
                ": write the prefix length too, as in \(text)/\(address.family == .v4 ? 24 : 64)"
            }
            throw error(key, "invalid CIDR address: \"\(text)\"\(hint ?? "")")
        }
        return cidr
    }

    fileprivate func uint32(_ key: String) throws(JSONError) -> UInt32? {
        try int(key, in: 0...Int64(UInt32.max)).map { UInt32($0) }
    }
}
