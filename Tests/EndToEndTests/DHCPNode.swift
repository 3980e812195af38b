import Foundation
import Support

/// A node with a network that has DHCP servers: bridge br0, on which a server is 192.0.2.1, and eth1, which is cabled to it.
/// Leases and daemon are its own.
final class DHCPNode: Sendable, RunsProcesses {
    let node: Node
    let processes: Processes

    init() throws {
        node = try MetaEndToEnd.node()
        try node.sh(
            """
            ip link add br0 address 02:00:00:00:00:01 type bridge && ip addr add 192.0.2.1/24 dev br0
            ip link set br0 up && ip link add eth1 type veth peer name eth1p && ip link set eth1p master br0
            ip link set eth1p up && ip link set eth1 up
            """)
        processes = try Processes(node)
        _ = try node.pod("a")
    }

    var directory: String { node.directory }
    var netns: String { "/run/netns/\(node.name)-a" }

    // MARK: Servers

    /// Its shortest lease has 120 s.
    ///
    /// - Parameter options: further words.
    func dnsmasq(_ options: String = "", range: String = "192.0.2.100,192.0.2.199") throws {
        try start(
            "dnsmasq",
            """
            dnsmasq -k -C /dev/null -u root --port=0 --log-dhcp --log-facility=- --no-ping --dhcp-authoritative \
            -i br0 --bind-interfaces --pid-file= -l \(directory)/leasefile -F \(range),120s \(options)
            """)
        try until("dnsmasq listens") { try log("dnsmasq").contains("DHCP, IP range") }
    }

    /// What dnsmasq has given: time, MAC address, address, name and client ID of each lease.
    func leasefile() throws -> [[String]] {
        try Shell.sh("cat \(directory)/leasefile 2>/dev/null || true").split(separator: "\n").map {
            $0.split(separator: " ").map(String.init)
        }
    }

    /// With leases of some seconds.
    func udhcpd(lease: Int = 10, first: Int = 100, options: String = "option router 192.0.2.1") throws {
        try node.write(
            "udhcpd.conf",
            """
            start 192.0.2.\(first)
            end 192.0.2.\(first + 49)
            interface br0
            lease_file \(directory)/udhcpd.leases
            pidfile \(directory)/udhcpd.pid
            min_lease 1
            option subnet 255.255.255.0
            option lease \(lease)
            \(options)

            """)
        try Shell.sh(": > \(directory)/udhcpd.leases")
        try start("udhcpd", "busybox udhcpd -f -a 20 \(directory)/udhcpd.conf")
        try until("udhcpd listens") { try log("udhcpd").contains("started") }
    }

    /// One that does what no other does; it writes down each message.
    ///
    /// - Parameter ways: see `ScriptedServer.text`.
    func server(_ ways: String = "", lease: Int = 600) throws {
        try node.write("server.py", ScriptedServer.text)
        try behave(ways)
        try start("server", "python3 -u \(directory)/server.py \(directory) \(lease)")
        try until("the server listens") { try log("server").contains("ready") }
    }

    func behave(_ ways: String) throws {
        try node.write("ways.new", ways)
        try Shell.sh("mv \(directory)/ways.new \(directory)/ways")
    }

    /// What that one has heard.
    func heard(_ kind: String? = nil) throws -> [Tree] {
        try Shell.sh("cat \(directory)/heard 2>/dev/null || true").split(separator: "\n").map {
            try Tree(parsing: String($0))
        }.filter { kind == nil || $0["kind"].string == kind }
    }

    // MARK: Networks

    /// A section ipam.
    func ipam(_ keys: String = "", timeout: Int = 20) -> String {
        """
        "ipam":{"type":"dhcp","leaseDir":"\(directory)/leases","timeout":\(timeout),\
        "daemonSocketPath":"\(directory)/run/dhcp.sock"\(keys.isEmpty ? "" : ",")\(keys)}
        """
    }

    /// A network `lan` of pods' annotations.
    ///
    /// - Parameters:
    ///   - plugin: its keys but `ipam`.
    ///   - ipam: keys of that.
    func define(
        _ name: String = "lan", _ plugin: String = #""type":"macvlan","master":"eth1""#, _ ipam: String = "",
        timeout: Int = 20, version: String = "1.0.0"
    ) throws {
        try node.define(
            name, #"{"cniVersion":"\#(version)",\#(plugin),\#(self.ipam(ipam, timeout: timeout))}"#)
    }

    func call(
        _ verb: String, _ networks: String = "lan", id: String = "c1", pod: String? = "a",
        version: String = "1.0.0", extra: String = ""
    ) throws -> Answer {
        let isOfPod = !["GC", "STATUS"].contains(verb)
        return try node.call(
            verb, id: isOfPod ? id : "",
            netns: isOfPod ? pod.map { "/run/netns/\(node.name)-\($0)" } ?? "" : "",
            interface: isOfPod ? "eth0" : "", args: isOfPod ? StatusRows.args() : "",
            MetaEndToEnd.config(node, version: version, networks: networks, extra: extra))
    }

    /// One of a plugin by its own name, for a network `net`.
    func plugin(
        _ verb: String, _ keys: String = "", _ role: String = "macvlan", _ own: String = #""master":"eth1""#,
        previous: Answer? = nil, version: String = "1.0.0", id: String = "c1", interface: String = "net1",
        timeout: Int = 20, args: String = MetaEndToEnd.pod
    ) throws -> Answer {
        try node.plugin(
            verb, role, (own.isEmpty ? "" : own + ",") + ipam(keys, timeout: timeout), version: version,
            previous: previous, id: id, interface: interface, args: args)
    }

    func plexus(_ words: String...) throws -> Ran {
        try Shell.run(["ip", "netns", "exec", node.name, "\(directory)/bin/plexus"] + words)
    }

    /// The record of an attachment; nil without one.
    func record(_ id: String = "c1", _ interface: String = "net1") throws -> Tree? {
        let text = try Shell.sh("cat \(directory)/leases/\(id)@\(interface).json 2>/dev/null || true")
        return text.isEmpty ? nil : try Tree(parsing: text)
    }

    func records() throws -> Set<String> { try node.files("leases").filter { $0.hasSuffix(".json") } }

    func addresses(_ link: String = "net1") throws -> [String] {
        let exists = try node.links(pod: "a").contains(link)
        return exists ? try node.addresses(link, pod: "a") : []
    }

    func status() throws -> Tree { try Tree(parsing: try Shell.sh("cat \(directory)/state/status/*")) }

    // MARK: Daemon

    func daemon(_ words: String = "") throws {
        try start(
            "daemon",
            """
            \(directory)/bin/dhcp daemon -socketpath \(directory)/run/dhcp.sock -leasedir \(directory)/leases \
            -pidfile \(directory)/daemon.pid -loglevel verbose \(words)
            """)
        try until("the daemon listens") { try Shell.sh("ls \(directory)/run 2>/dev/null || true") != "" }
    }
}
