import CNI
import JSONC
import Meta
import Networking
import Plans

@testable import Netlink

/// A configuration through everything that is decided about it without touching the node.
enum Configurations {
    @Sendable static func check(_ input: [UInt8]) -> String? {
        guard let config = try? PluginConfig.decode(input) else { return nil }
        if let quiet = try? PluginConfig(silenced(config.json)) {
            for isTolerant in [false, true] {
                _ = try? MetaConfig(quiet, role: "plexus", isTolerant: isTolerant)
            }
        }
        guard let list = try? NetworkList.decode(config.json, defaultName: "net") else { return nil }
        guard let again = try? NetworkList.decode(list.json, defaultName: nil), again == list else {
            return "a list that is read otherwise than it was written"
        }
        for index in list.plugins.indices {
            let cniArgs = (try? config.reader.object("args")?.object("cni"))??.value.object
            guard
                let json = try? list.config(
                    at: index, previous: config.previous,
                    runtimeConfig: config.runtimeConfig?.value.object ?? [:],
                    cniArgs: cniArgs),
                let plugin = try? PluginConfig(json)
            else { continue }
            for module in Target.modules where module.type == plugin.type || index == 0 {
                for verb in [Verb.add, .check, .del] {
                    if let problem = run(module, plugin, verb, input.count) { return problem }
                }
            }
            let request = LeaseRequest(config: plugin, id: id, args: "", rules: .meta)
            for source in ["host-local", "static"].compactMap(builtins.source) {
                _ = (try? source.parse(request))?.remarks(request)
            }
        }
        return nil
    }

    private static let id = AttachmentID(containerID: "c1", interface: "eth0")

    /// No log of ours goes where the input says.
    private static func silenced(_ json: JSON) -> JSON {
        guard var object = json.object else { return json }
        object.members.removeAll { ["logfile", "logtostderr"].contains($0.key.lowercased()) }
        object["logToStderr"] = false
        return .object(object)
    }

    private static func run<M: Module>(_: M.Type, _ plugin: PluginConfig, _ verb: Verb, _ salt: Int)
        -> String?
    {
        let args = CNIArgs([("MAC", "02:00:00:00:00:01")])
        guard let config = try? M.parse(PluginInput(config: plugin, args: args, verb: verb)) else {
            return nil
        }
        var attachment = Attachment(
            id: id, sandbox: "/run/netns/a", networkName: plugin.name,
            digest: [UInt8](repeating: 7, count: 32),
            previous: plugin.previous)
        if let ips = plugin.previous?.ips {
            attachment.lease = Lease(ips: ips, routes: plugin.previous?.routes ?? [])
        }
        let facts = facts(M.needs(config, attachment, verb), M.type, salt)
        switch verb {
        case .add:
            guard let plan = try? M.plan(config, attachment, facts) else { return nil }
            _ = facts.after(plan.steps)
            return look(plan.steps) ?? wrong(plan.result)
        case .check: try? M.check(config, attachment, plugin.previous ?? CNIResult(), facts)
        default: return look(M.removal(config, attachment, facts).steps)
        }
        return nil
    }

    /// A node that has most of what is asked for.
    private static func facts(_ query: FactsQuery, _ type: String, _ salt: Int) -> Facts {
        var facts = Facts()
        let kinds = ["bridge", "veth", "macvlan", "ipvlan", ""]
        for (index, name) in query.links.enumerated() where (index + salt) % 4 != 0 {
            facts.links[name] = LinkFacts(
                index: Int32(index + 2), kind: kinds[(index + salt) % 5], mac: MAC.zero, isUp: true,
                addresses: [CIDR(parsing: "10.1.2.1/24"), CIDR(parsing: "fd00::1/64")].compactMap(\.self))
        }
        for name in query.sysctls { facts.sysctls[name] = "0" }
        for path in query.files where salt % 3 == 0 {
            facts.files[path] = #"{"mtu":1500,"mac":"02:00:00:00:00:01"}"#
        }
        return facts
    }

    /// Prints the steps, and builds the requests of those that carry what the input says.
    private static func look(_ steps: [Step]) -> String? {
        for step in steps {
            _ = step.kind.commands
            if case .add(let route, _)? = step.of(RouteStep.self) { _ = RouteSocket.adding(route, index: 1) }
            if case .add(let cidr, _, _, _)? = step.of(AddressStep.self) {
                _ = RouteSocket.adding(cidr, index: 1)
            }
            if let path = step.of(SysctlStep.self)?.change.path, path.split(separator: "/").contains("..") {
                return "a sysctl outside: \(path)"
            }
        }
        return nil
    }

    private static func wrong(_ result: CNIResult) -> String? {
        for version in Version.allCases {
            guard let printed = try? result.json(version) else { continue }
            guard (try? CNIResult.parse(printed, assuming: version)) != nil else {
                return "a result of \(version.rawValue) that cannot be read"
            }
        }
        return nil
    }
}
