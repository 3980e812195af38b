package import CNI
package import JSONC
package import Networking

/// One element of the annotation `k8s.v1.cni.cncf.io/networks` (NPWG multi-network specification 1.3, §4.1).
package struct Selection: Equatable, Sendable {
    package var namespace: String?
    package var name: String
    package var interface: String?
    package var ips: [String] = []
    package var mac: String?
    /// nil: not asked for. Empty: keep the network's own default route and take the others'.
    package var defaultRoute: [IPAddress]?
    /// The metric with which that route stands beside others; nil takes their place.
    package var defaultRouteMetric: UInt32?
    package var cniArgs: JSONObject?
    /// Whether the pod starts without this network when it cannot be attached.
    package var isOptional = false
    /// By the pod's annotation `networks`.
    package var isAsked = false
    /// Capability arguments besides `ips` and `mac`, under their `runtimeConfig` keys.
    package var capabilities: JSONObject = [:]
    /// Keys that no built-in plugin looks at.
    package var others: [String] = []
    /// The path of a key below this element that stands twice in its object, and of which the last one counts.
    var doubled: String?
    /// Where it stands: `annotation k8s.v1.cni.cncf.io/networks, networks[0]`.
    package var place = ""

    /// Networks that one pod may ask for: each costs memory and time of the node before anything can be refused.
    package static let maximum = 256

    package init(namespace: String? = nil, name: String, interface: String? = nil) {
        self.namespace = namespace
        self.name = name
        self.interface = interface
    }

    /// The annotation's value: JSON if it begins with `[`, `{` or `"`, else the comma-separated short form.
    ///
    /// - Parameter source: how errors call the value: `annotation ...` or `key ...`.
    package static func parse(_ text: String, source: String) throws(Failure) -> [Selection] {
        var selections = try parseAny(text, source)
        for index in selections.indices { selections[index].place = "\(source), networks[\(index)]" }
        return selections
    }

    /// Each element of the annotation's value as such a value by itself; what cannot be parsed is one.
    package static func texts(_ text: String) -> [String] {
        guard let first = trimmed(text).first else { return [] }
        if "[{\"".contains(first) {
            guard let elements = try? JSON.parse(text).value.array else { return [text] }
            return elements.map { JSON.array([$0]).print(escapesHTML: false) }
        }
        return text.split(separator: ",").map { trimmed($0) }
    }

    private static func parseAny(_ text: String, _ source: String) throws(Failure) -> [Selection] {
        if text.isEmpty { return [] }
        // What has one of these behind something else is no JSON anyway.
        guard let first = trimmed(text).utf8.first, "[{\"".utf8.contains(first) else {
            return try parseShort(text, source)
        }
        let grammar =
            "it is a JSON list of objects with name, or [namespace/]name[@interface], comma-separated"
        let document: JSONDocument
        do throws(JSONError) { document = try JSON.parse(text) } catch {
            throw Failure(.badConfig, "\(source): \(error)", details: grammar)
        }
        do throws(JSONError) {
            var selections = try parse(Reader(.object(["networks": document.value])), source)
            for path in document.duplicates {
                for index in selections.indices where path.hasPrefix("[\(index)]") {
                    selections[index].doubled = String(path.dropFirst("[\(index)]".count))
                }
            }
            return selections
        } catch {
            let isList = document.value.array != nil
            throw Failure(
                .badConfig, "\(source): \(error)", details: isList ? "correct the \(source)" : grammar)
        }
    }

    /// Checked before they are parsed.
    private static func problem(ofCount count: Int) -> String? {
        count > maximum ? "\(count) networks, the limit is \(maximum)" : nil
    }

    // MARK: Short form

    private static func parseShort(_ text: String, _ source: String) throws(Failure) -> [Selection] {
        if let problem = problem(ofCount: text.utf8.count { $0 == UInt8(ascii: ",") } + 1) {
            throw Failure(.badConfig, "\(source): \(problem)", details: "ask for fewer networks")
        }
        var selections: [Selection] = []
        for item in text.parts(by: ",") {
            selections.append(try parseItem(trimmed(item), source))
        }
        return selections
    }

    private static func parseItem(_ item: String, _ source: String) throws(Failure) -> Selection {
        func refuse(_ problem: String) -> Failure {
            Failure(
                .badConfig, "\(source): item \"\(item)\": \(problem)",
                details: "write [namespace/]name[@interface], joined by commas")
        }
        let ends = item.parts(by: "@", maxSplits: 2).map { trimmed($0) }
        guard ends.count <= 2 else { throw refuse("more than one '@'") }
        let names = ends[0].parts(by: "/", maxSplits: 2).map { trimmed($0) }
        guard names.count <= 2 else { throw refuse("more than one '/'") }
        guard let name = names.last, !name.isEmpty else {
            throw refuse(
                item.isEmpty
                    ? "the network has no name; is there a comma too many?" : "the network has no name")
        }
        for label in names where !label.isEmpty {
            guard Names.isLabel(label) else {
                throw refuse("\"\(label)\" is no name: lower-case letters, digits and inner hyphens")
            }
        }
        var selection = Selection(name: name)
        if names.count == 2, !names[0].isEmpty { selection.namespace = names[0] }
        if ends.count == 2, !ends[1].isEmpty {
            if let problem = Names.interfaceProblem(ends[1]) {
                throw refuse("interface \"\(ends[1])\" \(problem)")
            }
            selection.interface = ends[1]
        }
        return selection
    }

    // MARK: JSON form

    private static func parse(_ whole: Reader, _ source: String) throws(JSONError) -> [Selection] {
        let elements = try whole.list("networks") ?? []
        if let problem = problem(ofCount: elements.count) { throw JSONError(path: "", problem: problem) }
        var selections: [Selection] = []
        for element in elements { selections.append(try parseElement(element)) }
        return selections
    }

    package static let vocabulary = Vocabulary(
        [
            "name", "namespace", "interface", "interfaceRequest", "ips", "mac", "default-route",
            "default-route-metric",
            "cni-args", "optional",
            "portMappings", "bandwidth", "infiniband-guid", "deviceID", "ipam-claim-reference",
        ],
        members: [
            .init("portMappings", Vocabulary(["hostPort", "containerPort", "protocol", "hostIP"])),
            .init("bandwidth", Vocabulary(rates)),
        ]
    ) { key in
        switch key {
        case "ip", "iprequest", "ipsrequest", "ipaddress", "ipaddresses", "address", "addresses", "staticip",
            "ipv4", "ipv6":
            "ips"
        case "macrequest", "macaddress", "hwaddr", "hwaddress": "mac"
        case "ifname", "interfacename", "iface", "intf", "nic", "dev", "ifrequest", "ifnamerequest":
            "interface"
        case "gateway", "gw", "defaultgateway", "defaultgw", "gatewayrequest", "defaultroutes":
            "default-route"
        case "metric", "priority", "routemetric": "default-route-metric"
        case "args", "cniarg": "cni-args"
        case "ns": "namespace"
        case "network", "networkname", "netname": "name"
        case "infinibandguidrequest", "guid": "infiniband-guid"
        case "device", "pcibusid", "pciid": "deviceID"
        case "routes", "route": "routes are the network's: write them into the definition"
        case "vlan", "vlanid", "vlantag": "the VLAN is the network's: write it into the definition"
        default: nil
        }
    }
    private static let rates = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"]

    private static func parseElement(_ json: Reader) throws(JSONError) -> Selection {
        try json.requireObject()
        // A key that nobody here knows may be an external plugin's.
        let others = try json.judge(vocabulary)
        guard let name = try json.string("name"), !name.isEmpty else {
            throw json.error("name", "is missing or empty")
        }
        guard Names.isSubdomain(name) else {
            throw json.error("name", "\"\(name)\" is no Kubernetes name\(hint(name))")
        }
        var selection = Selection(name: name)
        selection.others = others + (json.has("ipam-claim-reference") ? ["ipam-claim-reference"] : [])
        if let namespace = try json.string("namespace"), !namespace.isEmpty {
            guard Names.isLabel(namespace) else {
                throw json.error("namespace", "\"\(namespace)\" is no namespace")
            }
            selection.namespace = namespace
        }
        for key in ["interfaceRequest", "interface"] {
            guard let interface = try json.string(key), !interface.isEmpty else { continue }
            if let problem = Names.interfaceProblem(interface) {
                throw json.error(key, "\"\(interface)\" \(problem)")
            }
            selection.interface = interface
        }
        for (index, ip) in try (json.strings("ips") ?? []).enumerated() {
            guard let address = IPAddress(parsing: ip) ?? CIDR(parsing: ip)?.address, address.bits != 0 else {
                throw json.error("ips[\(index)]", "\"\(ip)\" is no address")
            }
            selection.ips.append(ip)
        }
        selection.mac = try macAddress(json)
        selection.defaultRoute = try gateways(json)
        selection.defaultRouteMetric = try json.int("default-route-metric", in: 1...Int64(UInt32.max)).map {
            UInt32($0)
        }
        if selection.defaultRouteMetric != nil, selection.defaultRoute?.isEmpty ?? true {
            throw json.error("default-route-metric", "is the metric of default-route, which names no gateway")
        }
        selection.cniArgs = try json.object("cni-args")?.value.object
        selection.isOptional = try json.bool("optional") ?? false
        try readCapabilities(json, into: &selection)
        return selection
    }

    /// For those who write the short form's item as a name.
    private static func hint(_ name: String) -> String {
        let parts = name.parts(by: "/")
        if parts.count == 2, Names.isLabel(String(parts[0])), Names.isSubdomain(String(parts[1])) {
            return ": write \"name\": \"\(parts[1])\", \"namespace\": \"\(parts[0])\""
        }
        if let at = name.utf8.firstIndex(of: UInt8(ascii: "@")), Names.isSubdomain(String(name[..<at])) {
            return ": the interface's name is written in the key interface"
        }
        return ""
    }

    private static func macAddress(_ json: Reader) throws(JSONError) -> String? {
        guard let mac = try json.string("mac"), !mac.isEmpty else { return nil }
        guard isHardwareAddress(mac) else {
            throw json.error("mac", "\"\(mac)\" is no MAC address of 6 octets, nor one of 8 or 20")
        }
        return mac
    }

    private static func gateways(_ json: Reader) throws(JSONError) -> [IPAddress]? {
        guard let texts = try json.strings("default-route") else { return nil }
        var gateways: [IPAddress] = []
        for (index, text) in texts.enumerated() {
            guard let gateway = IPAddress(parsing: text) else {
                throw json.error("default-route[\(index)]", "\"\(text)\" is no address")
            }
            gateways.append(gateway)
        }
        return gateways
    }

    private static func readCapabilities(_ json: Reader, into selection: inout Selection) throws(JSONError) {
        if let mappings = try json.list("portMappings") {
            for mapping in mappings { try mapping.requireObject() }
            selection.capabilities["portMappings"] = .array(mappings.map(\.value))
        }
        if let bandwidth = try json.object("bandwidth") {
            var rates: JSONObject = [:]
            for key in Self.rates {
                rates[key] = .int(try bandwidth.int(key) ?? 0)
            }
            selection.capabilities["bandwidth"] = .object(rates)
        }
        if let guid = try json.string("infiniband-guid"), !guid.isEmpty {
            guard isHardwareAddress(guid) else {
                throw json.error(
                    "infiniband-guid",
                    "\"\(guid)\" is no GUID: write eight octets, as 02:00:00:00:00:00:00:01")
            }
            selection.capabilities["infinibandGUID"] = .string(guid)
        }
        if let device = try json.string("deviceID"), !device.isEmpty {
            // It becomes part of paths.
            guard !device.parts(by: "/").contains(".."), device.unicodeScalars.allSatisfy({ $0.value > 0x20 })
            else {
                throw json.error("deviceID", "\"\(device)\" is no device's ID")
            }
            selection.capabilities["deviceID"] = .string(device)
        }
    }

    /// Which of two values is meant cannot be told. Not part of reading it, as below.
    package func refuseDoubled() throws(Failure) {
        guard let doubled else { return }
        throw Failure(
            .badConfig, "\(place)\(doubled): the key stands twice in its object",
            details: "remove one of the two")
    }

    /// Refuses what no network can give. Parsing accepts it, as DEL reads selections that older versions attached.
    package func refuseImpossible() throws(Failure) {
        for (index, text) in ips.enumerated() {
            let address = IPAddress(parsing: text) ?? CIDR(parsing: text)?.address
            guard let problem = address?.hostProblem else { continue }
            throw Failure(
                .badConfig, "\(place).ips[\(index)]: \(problem)", details: "write an address of the network")
        }
        if interface == "lo" {
            throw Failure(
                .badConfig, "\(place).interface: lo is every pod's own", details: "name another interface")
        }
        try refuseImpossibleRequests()
        guard let address = mac.flatMap(MAC.init(parsing:)), address.isMulticast || address == .zero else {
            return
        }
        let kind = address == .zero ? "zero" : "a multicast address, as its first octet is odd"
        throw Failure(
            .badConfig, "\(place).mac: \(address) can be no interface's: it is \(kind)",
            details: "write six octets, the first one even, as in 02:00:00:00:00:01")
    }

    /// Where in the annotation the value is written that plugins find under `key`; nil when this selection does not
    /// have it.
    package func place(of key: String) -> String? {
        let name = key.prefix { $0 != "[" }.split(separator: ".").last.map(String.init) ?? ""
        let argument = key.hasPrefix("args.cni.") ? key.dropFirst("args.cni.".count) : ""
        let own: String? =
            switch key.prefix(while: { $0 != "." && $0 != "[" }) {
            case "interface" where interface != nil: "interface"
            case "default-route" where defaultRoute != nil: "default-route"
            case "CNI_ARGS MAC" where mac != nil: "mac"
            case "CNI_ARGS IP" where !ips.isEmpty: "ips"
            case "args": written(argument).map { "cni-args.\($0)" }
            case "runtimeConfig" where name == "mac" && mac != nil || name == "ips" && !ips.isEmpty: name
            case "runtimeConfig" where capabilities[name] != nil:
                name == "infinibandGUID" ? "infiniband-guid" : name
            case "runtimeConfig": written(name[...]).map { "cni-args.\($0)" }
            default: nil
            }
        return own.map { "\(place).\($0)" }
    }

    /// Of a sysctl the kernel knows another spelling: names are joined by '/', and IFNAME is the interface.
    private func isSysctl(_ key: String, _ path: Substring) -> Bool {
        func names(_ text: Substring) -> [Substring] { text.split { $0 == "." || $0 == "/" } }
        let (written, known) = (names(key[...]), names(path))
        return written.count == known.count && zip(written, known).allSatisfy { $0 == $1 || $0 == "IFNAME" }
    }

    /// The path as the pod wrote it, if it begins with a key of `cni-args`, which may have dots itself.
    private func written(_ argument: Substring) -> String? {
        let head = "sysctl."
        if argument.hasPrefix(head), let settings = cniArgs?["sysctl"]?.object {
            let found = settings.members.last { isSysctl($0.key, argument.dropFirst(head.count)) }
            return found.map { head + $0.key }
        }
        let isWritten = (cniArgs?.members ?? []).contains { key, _ in
            argument == key || ["\(key).", "\(key)["].contains { argument.hasPrefix($0) }
        }
        return isWritten ? String(argument) : nil
    }
}
