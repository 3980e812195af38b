import Foundation

/// A throwaway node: a network namespace that stands for the host, directories, and pods. Everything goes with it.
package final class Node: Sendable {
    package let name: String
    package let directory: String
    /// The executable under test.
    package static var executable: String {
        ProcessInfo.processInfo.environment["PLEXUS"] ?? "\(repository)/.build/release/plexus"
    }

    package static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    package init() throws {
        name = "plx\(UUID().uuidString.prefix(8).lowercased())"
        directory = "/tmp/\(name)"
        try Shell.sh(
            "ip netns add \(name) && ip -n \(name) link set lo up && mkdir -p \(directory)/cache \(directory)/bin"
        )
        for role in [
            "plexus", "multus", "bridge", "dhcp", "dummy", "host-device", "host-local", "ipvlan", "loopback",
            "macvlan", "passthru",
            "route-override",
            "static", "tuning",
        ] {
            try Shell.sh("ln -s \(Self.executable) \(directory)/bin/\(role)")
        }
    }

    deinit {
        _ = try? Shell.sh(
            "for n in $(ip netns list | cut -d' ' -f1 | grep ^\(name)); do ip netns del $n; done")
        _ = try? Shell.sh("rm -rf \(directory)")
    }

    /// The path of a new pod's namespace.
    package func pod(_ pod: String) throws -> String {
        try Shell.sh("ip netns add \(name)-\(pod)")
        return "/run/netns/\(name)-\(pod)"
    }

    package func removePod(_ pod: String) throws { try Shell.sh("ip netns del \(name)-\(pod)") }

    package func write(_ path: String, _ text: String) throws {
        let full = "\(directory)/\(path)"
        try Shell.sh("mkdir -p $(dirname \(full))")
        try Data(text.utf8).write(to: URL(fileURLWithPath: full))
    }

    /// A NetworkAttachmentDefinition in the cache, as kubectl prints it.
    package func define(_ network: String, namespace: String = "default", _ config: String) throws {
        let indented = config.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n")
        try write(
            "cache/net-attach-def/\(namespace)/\(network).yaml",
            """
            apiVersion: k8s.cni.cncf.io/v1
            kind: NetworkAttachmentDefinition
            metadata:
              name: \(network)
              namespace: \(namespace)
            spec:
              config: |
            \(indented)
            """)
    }

    /// One call of the executable, in the node's namespace, with nothing but CNI's variables.
    package func call(
        _ verb: String, role: String = "plexus", id: String = "c1", netns: String, interface: String = "eth0",
        args: String = "", path: String? = nil, prefix: [String] = [], _ config: String
    ) throws -> Answer {
        let environment = [
            "CNI_COMMAND": verb, "CNI_CONTAINERID": id, "CNI_NETNS": netns, "CNI_IFNAME": interface,
            "CNI_ARGS": args, "CNI_PATH": path ?? "\(directory)/plugins:/usr/lib/cni",
        ]
        let ran = try Shell.run(
            ["ip", "netns", "exec", name] + prefix + ["\(directory)/bin/\(role)"], input: config,
            environment: environment)
        return Answer(ran: ran)
    }

    /// One call of a plugin under its own name, for a network `net`.
    ///
    /// - Parameters:
    ///   - keys: of the configuration, without the braces; DIR stands for the node's directory.
    ///   - previous: the answer whose result is prevResult.
    ///   - pod: nil for a namespace that is gone.
    package func plugin(
        _ verb: String, _ role: String, _ keys: String = "", version: String = "1.0.0",
        previous: Answer? = nil, id: String = "c1", pod: String? = "a", interface: String = "eth0",
        args: String = ""
    ) throws -> Answer {
        let parts = [
            "\"cniVersion\":\"\(version)\",\"name\":\"net\",\"type\":\"\(role)\"", keys,
            previous.map { "\"prevResult\":\($0.ran.output)" } ?? "",
        ]
        let config = parts.filter { !$0.isEmpty }.joined(separator: ",").replacing("DIR", with: directory)
        return try call(
            verb, role: role, id: id, netns: pod.map { "/run/netns/\(name)-\($0)" } ?? "",
            interface: interface, args: args, "{\(config)}")
    }

    /// A host-local section with one set of ranges for each subnet.
    package static func ipam(_ subnets: String..., extra: String = "") -> String {
        let sets = subnets.map { "[{\"subnet\":\"\($0)\"}]" }.joined(separator: ",")
        return "\"ipam\":{\"type\":\"host-local\",\"dataDir\":\"DIR/ipam\",\"ranges\":[\(sets)]\(extra)}"
    }

    /// Addresses that host-local has given out for `net`.
    package func leases(_ network: String = "net") throws -> Set<String> {
        try files("ipam/\(network)").filter { $0 != "lock" && !$0.hasPrefix("last_reserved") }
    }

    /// A plugin of ours in the plugin folder: it writes down its input and environment, and runs `body`.
    package func script(_ name: String, _ body: String) throws {
        try write(
            "plugins/\(name)",
            """
            #!/bin/sh
            echo "$CNI_COMMAND" >> \(directory)/\(name).log
            cat > \(directory)/\(name).stdin; env > \(directory)/\(name).env
            \(body)
            """)
        try Shell.sh("chmod +x \(directory)/plugins/\(name)")
    }

    /// Runs a command line in the node, or in a pod.
    @discardableResult
    package func sh(_ line: String, pod: String? = nil) throws -> String {
        let place = pod.map { "\(name)-\($0)" } ?? name
        let ran = try Shell.run(["ip", "netns", "exec", place, "sh", "-c", line])
        guard ran.status == 0 else { throw ShellError(line: line, text: ran.errors + ran.output) }
        return ran.output
    }

    /// `ip -j` with these words, in the node or in a pod.
    package func ip(_ words: String, pod: String? = nil) throws -> Tree {
        let place = pod.map { "\(name)-\($0)" } ?? name
        let text = try Shell.sh("ip -n \(place) -j -d \(words)")
        return text.isEmpty ? Tree([Any]()) : try Tree(parsing: text)
    }

    /// Names of the node's links, without lo.
    package func links(pod: String? = nil) throws -> Set<String> {
        Set(try ip("link", pod: pod).list.compactMap { $0["ifname"].string }).subtracting(["lo"])
    }

    package func addresses(_ link: String, pod: String? = nil) throws -> [String] {
        try ip("addr show dev \(link)", pod: pod)[0]["addr_info"].list.filter { $0["scope"].string != "link" }
            .compactMap { info in info["local"].string.map { "\($0)/\(info["prefixlen"].int ?? 0)" } }
    }

    /// Names of files below a directory of the node's. Who had addresses before it had a state is a hint that other tests'
    /// leases decide about.
    package func files(_ path: String) throws -> Set<String> {
        Set(
            try Shell.sh("cd \(directory)/\(path) 2>/dev/null && find . -type f -printf '%P\\n' || true")
                .split(separator: "\n").map(String.init).filter { !$0.hasSuffix("attachments/unrecorded") })
    }
}

/// What the running kernel can do, tried once; what it cannot is tried in the VM.
package enum Feature {
    package static let vlanFiltering = makes("type bridge vlan_filtering 1")
    package static let dummy = makes("type dummy")
    package static let ipvlan = makes("link v9 type ipvlan")

    /// The VM's spare network card; a machine of anybody's has none that a test may take.
    package static let pciCard: (name: String, address: String)? = {
        guard ProcessInfo.processInfo.environment["RUN_IN_VM"] == "1",
            let line = try? Shell.sh("ls -d /sys/bus/pci/devices/*/virtio*/net/* 2>/dev/null | head -1")
        else { return nil }
        let parts = line.split(whereSeparator: { $0 == "/" || $0 == "\n" }).map(String.init)
        guard parts.count == 8 else { return nil }
        return (parts[7], parts[4])
    }()

    private static func makes(_ words: String) -> Bool {
        let name = "plxf\(UUID().uuidString.prefix(6))"
        let made = try? Shell.sh(
            "ip netns add \(name) && ip -n \(name) link add v9 type veth && ip -n \(name) link add x \(words)"
        )
        _ = try? Shell.sh("ip netns del \(name)")
        return made != nil
    }
}

/// What one call answered.
package struct Answer: Sendable {
    package let ran: Ran

    package init(ran: Ran) { self.ran = ran }

    package var status: Int32 { ran.status }
    package var json: Tree { (try? Tree(parsing: ran.output)) ?? Tree(nil) }
    package var message: String { json["msg"].string ?? "" }
    package var details: String { json["details"].string ?? "" }
    package var code: Int { json["code"].int ?? -1 }
}
