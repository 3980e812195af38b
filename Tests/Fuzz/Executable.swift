import Foundation
import JSONC
import Linux

/// The built executable, called as a runtime calls it, with any input: it ends by itself, with status 0 or 1 and one
/// JSON document, and writes nowhere but where it is told to. `scripts/fuzz` gives it a network and a read-only file
/// system of its own.
enum Executable {
    static let target: Target? = {
        guard let path = Campaign.variable("EXECUTABLE"), let folder = Campaign.variable("DIRECTORY") else {
            return nil
        }
        let node = "\(folder)/node"
        let runs = Runs(path, folder, node)
        var target = Target("executable", .json, Target.keys) { runs.check($0) }
        target.isSlow = true
        return target
    }()
}

private final class Runs: @unchecked Sendable {
    private let path: String
    private let folder: String
    private let node: String
    private var count = 0

    init(_ path: String, _ folder: String, _ node: String) {
        self.path = path
        self.folder = folder
        self.node = node
    }

    private static let roles = [
        "plexus", "multus", "bridge", "macvlan", "ipvlan", "host-device", "tuning", "route-override",
        "loopback",
        "host-local", "static",
    ]
    private static let verbs = [
        "ADD", "ADD", "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "", "add", "ADD ",
    ]
    private static let ids = [
        "c1", "c2", "../x", "a/b", ".", String(repeating: "a", count: 300), "ü", "", "-x",
    ]
    private static let interfaces = [
        "eth0", "net1", "lo", "../x", "a/b", "..", "a b", "sixteen-bytes-abc", "", "\u{301}",
    ]
    private static let arguments = [
        "", "IgnoreUnknown=1", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-a;IgnoreUnknown=1",
        "K8S_POD_NAMESPACE=../..;K8S_POD_NAME=..;IgnoreUnknown=1", "IP=10.1.2.9", "=;=", "MAC=x;;", ";",
    ]
    private static let sandboxes = [
        "/run/netns/pod", "/run/netns/none", "/", "/dev/zero", "", "../../etc/passwd",
    ]

    func check(_ input: [UInt8]) -> String? {
        if count % 40 == 0, let problem = inspect() ?? prepare() { return problem }
        count += 1
        var random = Random(
            seed: input.reduce(14_695_981_039_346_656_037) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 })
        let json = (try? JSON.parse(input).value).map(confined)
        let type = json?["type"]?.string ?? ""
        func usual<T>(_ list: [T]) -> T { random.chance(4) ? random.pick(list) : list[0] }
        var role = Self.roles.contains(type) ? type : "plexus"
        if random.chance(8) { role = random.pick(Self.roles) }
        let environment = [
            "CNI_COMMAND=\(random.chance(3) ? random.pick(Self.verbs) : "ADD")",
            "CNI_CONTAINERID=\(usual(Self.ids))",
            "CNI_NETNS=\(usual(Self.sandboxes))", "CNI_IFNAME=\(usual(Self.interfaces))",
            "CNI_ARGS=\(random.chance(2) ? Self.arguments[2] : random.pick(Self.arguments))",
            "CNI_PATH=\(node)/plugins", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        let bytes = json?.bytes() ?? input
        if let problem = run(role, environment, bytes) { return problem }
        guard environment[0].contains("ADD") else { return nil }
        return run(role, ["CNI_COMMAND=DEL"] + environment.dropFirst(), bytes)
    }

    private func run(_ role: String, _ environment: [String], _ input: [UInt8]) -> String? {
        let call = "\(role) \(environment.prefix(5).joined(separator: " "))"
        do throws(SystemError) {
            let ran = try ChildProcess.run(
                path: "/usr/bin/prlimit",
                arguments: ["--as=1073741824", "--core=0", "--", "\(node)/bin/\(role)"],
                environment: environment, input: input, deadline: 30)
            guard ran.status == .exited(0) || ran.status == .exited(1) else {
                return "\(call): \(ran.status) \(String(decoding: ran.errors.suffix(500), as: UTF8.self))"
            }
            let answer = try? JSON.parse(ran.output).value
            if ran.status == .exited(1) {
                return answer?["code"]?.int != nil && answer?["msg"]?.string?.isEmpty == false
                    ? nil
                    : "\(call): no error object: \(String(decoding: ran.output.prefix(500), as: UTF8.self))"
            }
            return ran.output.isEmpty || answer?.object != nil ? nil : "\(call): not one JSON document"
        } catch {
            return "\(call): \(error)"
        }
    }

    /// What would make it write elsewhere names places of ours.
    private func confined(_ json: JSON) -> JSON {
        switch json {
        case .array(let values): return .array(values.map(confined))
        case .object(var object):
            for index in object.members.indices {
                let value = object.members[index].value
                switch object.members[index].key.lowercased() {
                case "cnidir", "cachedir", "confdir", "bindir", "datadir", "logfile",
                    "readinessindicatorfile":
                    if value.string != nil {
                        let name = object.members[index].key.lowercased()
                        object.members[index].value = .string(
                            "\(node)/\(name == "bindir" ? "plugins" : name)")
                    }
                default: object.members[index].value = confined(value)
                }
            }
            return .object(object)
        default: return json
        }
    }

    private func shell(_ script: String) -> ChildResult? {
        try? ChildProcess.run(
            path: "/bin/sh", arguments: ["-c", script], environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            input: [],
            deadline: 60)
    }

    /// An empty node.
    private func prepare() -> String? {
        let links = Self.roles.map { "ln -s \(path) \(node)/bin/\($0)" }.joined(separator: "; ")
        let ran = shell(
            """
            rm -rf \(node) /run/plexus /run/cni /var/lib/cni/* && mkdir -p \(node)/bin \(node)/plugins || exit 1
            mkdir -p \(node)/cachedir/net-attach-def/default
            \(links)
            printf '#!/bin/sh\\necho nonsense\\n' > \(node)/plugins/nonsense
            printf '#!/bin/sh\\n[ $CNI_COMMAND != ADD ] || echo "{}"\\n' > \(node)/plugins/empty
            chmod +x \(node)/plugins/*
            echo '{"spec":{"config":"{\\"cniVersion\\":\\"1.0.0\\",\\"type\\":\\"bridge\\",\\"bridge\\":\\"br1\\"}"}}' \
                > \(node)/cachedir/net-attach-def/default/net-a.json
            ip netns del pod 2>/dev/null
            for link in $(ip -o link show type veth | cut -d' ' -f2 | cut -d@ -f1) $(ip -o link show type bridge | cut -d' ' -f2)
            do ip link del "${link%:}" 2>/dev/null; done
            nft flush ruleset
            ip link add uplink type veth peer name far && ip link set uplink up && ip link set far up && ip netns add pod
            """)
        return ran?.status == .exited(0)
            ? nil : "cannot prepare: \(String(decoding: ran?.errors ?? [], as: UTF8.self))"
    }

    /// Places that are not ours are as they were.
    private func inspect() -> String? {
        guard count > 0 else { return nil }
        let ran = shell(
            """
            ls -A \(node) | grep -vxE 'bin|plugins|cnidir|cachedir|confdir|datadir|logfile'
            { ls -A \(node)/bin; ls -A \(node)/plugins; } | grep -E '\\.json|lock|tmp'
            ls -A \(folder) | grep -vxE 'node|.*\\.input|crash-.*'
            ls -A /run | grep -vxE 'netns|mount|plexus|cni|xtables.lock'
            ls -A /var/lib/cni | grep -vxE 'plexus|multus|networks'
            true
            """)
        let text = String(decoding: ran?.output ?? [], as: UTF8.self)
        return text.isEmpty ? nil : "files where there should be none: \(text)"
    }
}
