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
        for role in ["plexus", "multus", "bridge", "host-local", "static", "loopback", "tuning"] {
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

    /// Names of files below a directory of the node's.
    package func files(_ path: String) throws -> Set<String> {
        Set(
            try Shell.sh("cd \(directory)/\(path) 2>/dev/null && find . -type f -printf '%P\\n' || true")
                .split(separator: "\n").map(String.init))
    }
}

/// What one call answered.
package struct Answer: Sendable {
    package let ran: Ran
    package var status: Int32 { ran.status }
    package var json: Tree { (try? Tree(parsing: ran.output)) ?? Tree(nil) }
    package var message: String { json["msg"].string ?? "" }
    package var code: Int { json["code"].int ?? -1 }
}
