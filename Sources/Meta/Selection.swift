package import CNI
package import JSONC
package import Network

/// One element of the annotation `k8s.v1.cni.cncf.io/networks` (NPWG multi-network specification 1.3, §4.1).
package struct Selection: Equatable, Sendable {
    package var namespace: String?
    package var name: String
    package var interface: String?
    package var ips: [String] = []
    package var mac: String?
    /// nil: not asked for. Empty: keep the network's own default route and take the others'.
    package var defaultRoute: [IPAddress]?
    package var cniArgs: JSONObject?
    /// Capability arguments besides `ips` and `mac`, under their `runtimeConfig` keys.
    package var capabilities: JSONObject = [:]
    /// Keys that no built-in plugin looks at.
    package var others: [String] = []

    /// Networks that one pod may ask for: each costs memory and time of the node before anything can be refused.
    package static let maximum = 256

    package init(namespace: String? = nil, name: String, interface: String? = nil) {
        self.namespace = namespace
        self.name = name
        self.interface = interface
    }

    /// The annotation's value: JSON if it contains `[`, `{` or `"`, else the comma-separated short form.
    ///
    /// - Parameter source: how errors call the value: the annotation's or the key's name.
    package static func parse(_ text: String, source: String) throws(Failure) -> [Selection] {
        let selections = try parseAny(text, source)
        guard selections.count <= maximum else {
            throw Failure(
                .badConfig, "annotation \(source): \(selections.count) networks, the limit is \(maximum)")
        }
        return selections
    }

    private static func parseAny(_ text: String, _ source: String) throws(Failure) -> [Selection] {
        if text.isEmpty { return [] }
        guard text.contains(where: { "[{\"".contains($0) }) else { return try parseShort(text, source) }
        do throws(JSONError) {
            return try parse(Reader(.object(["networks": JSON.parse(text).value])), source)
        } catch {
            throw Failure(
                .badConfig, "annotation \(source): \(error)",
                details:
                    "it is a JSON list of objects with name, or [namespace/]name[@interface], comma-separated"
            )
        }
    }

    // MARK: Short form

    private static func parseShort(_ text: String, _ source: String) throws(Failure) -> [Selection] {
        var selections: [Selection] = []
        for item in text.parts(by: ",") {
            selections.append(try parseItem(trimmed(item), source))
        }
        return selections
    }

    private static func parseItem(_ item: String, _ source: String) throws(Failure) -> Selection {
        func refuse(_ problem: String) -> Failure {
            Failure(
                .badConfig, "annotation \(source): item \"\(item)\": \(problem)",
                details: "write [namespace/]name[@interface]")
        }
        let ends = item.parts(by: "@").map { trimmed($0) }
        guard ends.count <= 2 else { throw refuse("more than one '@'") }
        let names = ends[0].parts(by: "/").map { trimmed($0) }
        guard names.count <= 2 else { throw refuse("more than one '/'") }
        guard let name = names.last, !name.isEmpty else { throw refuse("the network has no name") }
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
        var selections: [Selection] = []
        for element in try whole.list("networks") ?? [] { selections.append(try parseElement(element)) }
        return selections
    }

    package static let vocabulary = Vocabulary(
        [
            "name", "namespace", "interface", "interfaceRequest", "ips", "mac", "default-route", "cni-args",
            "portMappings", "bandwidth", "infiniband-guid", "deviceID", "ipam-claim-reference",
        ],
        members: [
            .init("portMappings", Vocabulary(["hostPort", "containerPort", "protocol", "hostIP"])),
            .init("bandwidth", Vocabulary(rates)),
        ]
    ) { key in
        switch key {
        case "ip", "iprequest", "ipsrequest", "ipaddress", "ipaddresses", "address", "addresses", "staticip":
            "ips"
        case "macrequest", "macaddress", "hwaddr", "hwaddress": "mac"
        case "ifname", "interfacename", "iface", "ifrequest", "ifnamerequest": "interface"
        case "gateway", "gw", "defaultgateway", "defaultgw", "gatewayrequest", "defaultroutes":
            "default-route"
        case "args", "cniarg": "cni-args"
        case "ns": "namespace"
        case "network", "networkname", "netname": "name"
        case "infinibandguidrequest", "guid": "infiniband-guid"
        case "device", "pcibusid", "pciid": "deviceID"
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
        guard Names.isSubdomain(name) else { throw json.error("name", "\"\(name)\" is no Kubernetes name") }
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
        selection.cniArgs = try json.object("cni-args")?.value.object
        try readCapabilities(json, into: &selection)
        return selection
    }

    private static func macAddress(_ json: Reader) throws(JSONError) -> String? {
        guard let mac = try json.string("mac"), !mac.isEmpty else { return nil }
        guard MAC(parsing: mac) != nil else {
            throw json.error("mac", "\"\(mac)\" is no MAC address of six octets")
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
            selection.capabilities["infinibandGUID"] = .string(guid)
        }
        if let device = try json.string("deviceID"), !device.isEmpty {
            selection.capabilities["deviceID"] = .string(device)
        }
    }
}
