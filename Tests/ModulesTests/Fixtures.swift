import CNI
import JSONC
import Modules
import Networking
import Plans
import Testing

// What the modules' suites share: one made-up attachment, and short ways to ask a module about it. No kernel, no files.

/// Testing has a type of this name too.
typealias Attachment = Plans.Attachment

/// Container c1, interface eth0, in the namespace /n.
enum Pod {
    /// - Parameters:
    ///   - ips: what IPAM gave, as in `10.1.2.3/24` or `10.1.2.3/24 via 10.1.2.1`; none: no IPAM.
    ///   - previous: the result of the plugin before this one.
    static func attachment(_ ips: String..., previous: CNIResult? = nil) throws -> Attachment {
        var attachment = Attachment(
            id: AttachmentID(containerID: "c1", interface: "eth0"), sandbox: "/n", networkName: "net",
            digest: Array(0..<32), previous: previous)
        if !ips.isEmpty { attachment.lease = Lease(ips: try ips.map(ip)) }
        return attachment
    }

    static func ip(_ text: String) throws -> CNIResult.IP {
        let parts = text.split(separator: " ").map(String.init)
        return .init(
            address: try cidr(parts[0]), gateway: parts.count == 3 ? try address(parts[2]) : nil)
    }

    static func cidr(_ text: String) throws -> CIDR { try #require(CIDR(parsing: text)) }
    static func address(_ text: String) throws -> IPAddress { try #require(IPAddress(parsing: text)) }
    static func mac(_ text: String) throws -> MAC { try #require(MAC(parsing: text)) }
    static func route(_ destination: String, via gateway: String? = nil) throws -> Route {
        Route(try cidr(destination), via: try gateway.map(address))
    }

    /// Of interfaces as in `br0` (in the host) and `eth0 02:00:00:00:00:01` (in /n, with its MAC address).
    static func result(_ interfaces: String...) -> CNIResult {
        var result = CNIResult()
        result.interfaces = interfaces.map {
            let parts = $0.split(separator: " ").map(String.init)
            return .init(
                name: parts[0], mac: parts.count > 1 ? parts[1] : nil, sandbox: parts.count > 1 ? "/n" : nil)
        }
        return result
    }
}

extension Facts {
    init(_ links: SmallMap<LinkName, LinkFacts>) {
        self.init()
        self.links = links
    }
}

/// The steps as `explain` prints them. What it prints of each is tested in PlansTests: here it is a short way to write them.
func commands(_ steps: [Step]) -> [String] { steps.flatMap(\.kind.commands) }

extension Step {
    /// A setting of the pod's own link.
    static func setting(_ path: String, _ value: String, isOptional: Bool = true) -> Step {
        .sysctl(SysctlChange(.sandbox, "net/\(path)", value, isOptional: isOptional))
    }
}

extension LinkName {
    static let eth0 = LinkName.sandbox("eth0")
}

/// The message with which `body` is refused; "none" when it is not.
func refusal(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "none"
    } catch {
        return (error as? Failure)?.message ?? "\(error)"
    }
}

extension Module {
    /// The configuration with `keys`, as in `"mtu":1400,"ipam":{"type":"x"}`.
    static func config(
        _ keys: String, args: String = "", _ verb: Verb = .add, rules: RoleRules = .reference
    ) throws -> Config {
        let text =
            #"{"cniVersion":"1.0.0","name":"net","type":"\#(type)"\#(keys.isEmpty ? "" : ",")\#(keys)}"#
        return try parse(
            PluginInput(
                config: PluginConfig.decode(Array(text.utf8)), args: CNIArgs.parse(args, lenient: true),
                verb: verb, rules: rules))
    }

    /// What an ADD does.
    static func planned(_ keys: String, _ attachment: Attachment, _ facts: Facts = Facts()) throws -> [Step] {
        try plan(config(keys), attachment, facts).steps
    }

    /// What of it makes the link, which has no address yet.
    static func made(_ keys: String, _ attachment: Attachment, _ facts: Facts = Facts()) throws -> [Step] {
        try make(config(keys), attachment, facts)
    }

    static func result(
        _ keys: String, _ attachment: Attachment, _ facts: Facts = Facts()
    ) throws -> CNIResult {
        try configure(config(keys), attachment, facts).result
    }

    /// What stops an ADD before an address is taken.
    static func refused(_ keys: String, _ attachment: Attachment, _ facts: Facts = Facts()) -> String {
        refusal { try refuse(config(keys), attachment, facts) }
    }

    static func removed(_ keys: String, _ attachment: Attachment, _ facts: Facts = Facts()) throws -> Removal
    {
        removal(try config(keys, .del), attachment, facts)
    }

    /// What CHECK finds wrong.
    static func checked(
        _ keys: String, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) -> String {
        refusal { try check(config(keys, .check), attachment, previous, facts) }
    }
}
