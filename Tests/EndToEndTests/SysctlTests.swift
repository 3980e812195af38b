import Support
import Testing

/// Sysctls that the kernel refuses to write, to read, or to show as they were written; the meta-plugin's own doing.
@Suite struct SysctlTests {
    private let node: Node
    private let netns: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
    }

    /// A network `tuned` that sets one sysctl.
    private func config(_ key: String, _ value: String, interface: String = "net1") throws -> String {
        try node.define(
            "tuned",
            """
            {"cniVersion":"1.0.0","name":"tuned","plugins":[{"type":"bridge","bridge":"b1"},
             {"type":"tuning","sysctl":{"\(key)":"\(value)"}}]}
            """)
        return MetaEndToEnd.config(node, networks: "tuned@\(interface)")
    }

    private func call(_ verb: String, _ config: String) throws -> Answer {
        try node.call(verb, netns: netns, args: MetaEndToEnd.pod, config)
    }

    private func isClean() throws -> Bool {
        try node.links(pod: "a").isEmpty && node.files("state").isEmpty
            && node.leases("default-network").isEmpty
    }

    /// Those of the first namespace alone may be written; a pod's annotation can ask for them.
    @Test(
        "a sysctl that may not be written: ADD is refused and undone, DEL and the next ADD work",
        arguments: [
            "net.netfilter.nf_conntrack_max", "net.core.rmem_max",
            "net.ipv4.tcp_available_congestion_control",
        ])
    func notWritable(key: String) throws {
        let path = "/proc/sys/\(key.replacing(".", with: "/"))"
        guard try node.sh("test -e \(path) && echo yes || true", pod: "a") == "yes\n" else { return }
        let config = try config(key, "1000")
        let answer = try call("ADD", config)
        #expect(answer.status == 1 && answer.message.contains("set sysctl"), "\(answer.ran)")
        #expect(!answer.ran.output.contains("undo"), "\(answer.ran.output)")
        #expect(try isClean())
        for _ in 1...2 { #expect(try call("DEL", config).status == 0) }
        try #expect(call("ADD", MetaEndToEnd.config(node)).status == 0)
        try #expect(call("DEL", MetaEndToEnd.config(node)).status == 0)
    }

    @Test("a record that names a sysctl that may not be written: DEL leaves it and is done")
    func recordedThenRefused() throws {
        let config = try config("net.core.somaxconn", "512")
        #expect(try call("ADD", config).status == 0)
        // As if the policy had changed since: the file refuses what was in it.
        let refusing = [
            "strace", "-qq", "-f", "-o", "/dev/null", "-P", "/proc/sys/net/core/somaxconn",
            "-e", "trace=openat", "-e", "inject=openat:error=EACCES",
        ]
        let answer = try node.call("DEL", netns: netns, args: MetaEndToEnd.pod, prefix: refusing, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.contains("somaxconn"))
        #expect(try isClean())
    }

    @Test(
        "a sysctl that was written as the thread got stuck in the pod is put back by DEL", arguments: 8...16)
    func stuck(k: Int) throws {
        let config = try config("net.core.somaxconn", "512")
        let refusing = [
            "strace", "-qq", "-o", "/dev/null", "-e", "trace=setns", "-e",
            "inject=setns:error=EPERM:when=\(k)",
        ]
        _ = try node.call("ADD", netns: netns, args: MetaEndToEnd.pod, prefix: refusing, config)
        #expect(try call("DEL", config).status == 0)
        #expect(try node.sh("cat /proc/sys/net/core/somaxconn", pod: "a") == "4096\n")
        #expect(try isClean())
    }

    @Test(
        "a sysctl that cannot be read is set, and has no original to put back",
        arguments: [("net.ipv6.conf.IFNAME.stable_secret", "2001:db8::1"), ("net.ipv4.route.flush", "1")])
    func notReadable(key: String, value: String) throws {
        let config = try config(key, value)
        let answer = try call("ADD", config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try call("CHECK", config).status == 0)
        if key.hasSuffix("stable_secret") {
            let read = "cat /proc/sys/net/ipv6/conf/net1/stable_secret"
            #expect(try node.sh(read, pod: "a").contains("2001:0db8"))
        }
        #expect(try call("DEL", config).status == 0)
        #expect(try isClean())
    }

    @Test("a sysctl that was empty is empty again")
    func empty() throws {
        let config = try config("net.ipv4.ip_local_reserved_ports", "8080,9000-9100")
        let read = "cat /proc/sys/net/ipv4/ip_local_reserved_ports"
        #expect(try node.sh(read, pod: "a") == "\n")
        #expect(try call("ADD", config).status == 0)
        #expect(try node.sh(read, pod: "a") == "8080,9000-9100\n")
        #expect(try call("DEL", config).status == 0)
        #expect(try node.sh(read, pod: "a") == "\n")
    }

    @Test(
        "the name of an interface may have dots, in every way to write the key",
        arguments: [
            "net/ipv4/conf/net1.100/arp_filter", "net.ipv4.conf.net1.100.arp_filter",
            "net.ipv4.conf.net1/100.arp_filter", "net.ipv4.conf.IFNAME.arp_filter",
        ])
    func dotted(key: String) throws {
        let config = try config(key, "1", interface: "net1.100")
        let answer = try call("ADD", config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.sh("cat /proc/sys/net/ipv4/conf/net1.100/arp_filter", pod: "a") == "1\n")
        #expect(try call("DEL", config).status == 0)
    }
}
