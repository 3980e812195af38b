import Support

/// A server of those that networks have.
enum DHCPServer: String, CaseIterable, Sendable {
    case kea, dhcpd, udhcpd
}

/// What a server of `DHCPNode` gives.
struct DHCPPool: Sendable {
    var lease = 10
    /// Of 192.0.2.0/24.
    var addresses = 100...199
    /// Its link. One that is not on the pods' network hears them over a relay.
    var link = "br0"
    /// By MAC address or by client ID, the latter as hexadecimal digits with colons, and the last number of the address.
    var reservations: [(key: Key, address: Int)] = []
    /// Whether the mask is among the options.
    var hasMask = true
    /// Further options: dhcpd's and udhcpd's own words.
    var options = ""

    enum Key: Sendable { case mac(String), client(String) }
}

extension DHCPNode {
    /// Starts one in the node, or in a pod, and waits until it listens. What it has given before it remembers.
    func serve(_ server: DHCPServer, _ pool: DHCPPool = DHCPPool(), pod: String? = nil) throws {
        let file = "\(directory)/\(server).leases"
        try node.write("\(server).conf", server.configuration(pool, file))
        switch server {
        case .kea:
            // One that was killed leaves it.
            try Shell.sh("rm -f \(directory)/kea.kea-dhcp4.pid")
            try start(
                "kea",
                "env KEA_PIDFILE_DIR=\(directory) KEA_LOCKFILE_DIR=\(directory) kea-dhcp4 -c \(directory)/kea.conf",
                pod: pod)
            try until("kea listens") { try log("kea").contains("DHCP4_STARTED") }
        case .dhcpd:
            try Shell.sh("touch \(file)")
            try start(
                "dhcpd",
                """
                dhcpd -4 -f -d --no-pid -user root -group root -cf \(directory)/dhcpd.conf -lf \(file) \(pool.link)
                """, pod: pod)
            try until("dhcpd listens") { try log("dhcpd").contains("Server starting service") }
        case .udhcpd:
            try Shell.sh("touch \(file)")
            try start("udhcpd", "busybox udhcpd -f -a 20 \(directory)/udhcpd.conf", pod: pod)
            try until("udhcpd listens") { try log("udhcpd").contains("started") }
        }
    }

    /// The addresses that it says somebody has.
    func given(_ server: DHCPServer) throws -> Set<String> {
        let file = "\(directory)/\(server).leases"
        switch server {
        case .kea:
            // The last line about an address counts; one without a lifetime says that it is free.
            var given: Set<String> = []
            for line in try Shell.sh("tail -n +2 \(file) 2>/dev/null || true").split(separator: "\n") {
                let fields = line.split(separator: ",", omittingEmptySubsequences: false)
                if fields[3] == "0" || fields[9] != "0" {
                    given.remove(String(fields[0]))
                } else {
                    given.insert(String(fields[0]))
                }
            }
            return given
        case .dhcpd:
            var given: Set<String> = []
            var address = ""
            for line in try Shell.sh("cat \(file)").split(separator: "\n") {
                let words = line.split(whereSeparator: { " ;".contains($0) }).map(String.init)
                if words.first == "lease", words.count == 3 { address = words[1] }
                if words.starts(with: ["binding", "state"]) {
                    if words[2] == "active" { given.insert(address) } else { given.remove(address) }
                }
            }
            return given
        case .udhcpd:
            try Shell.sh("kill -USR1 $(cat \(directory)/udhcpd.pid); sleep 0.2")
            return Set(
                try Shell.sh("busybox dumpleases -f \(file)").split(separator: "\n").compactMap { line in
                    let words = line.split(separator: " ").map(String.init)
                    return line.contains("expired") ? nil : words.first { $0.hasPrefix("192.0.2.") }
                })
        }
    }

    /// Puts the server into a network of its own, pod `far`, with 198.51.100.2 on far0; the node is the router.
    func separate() throws {
        _ = try node.pod("far")
        try node.sh(
            """
            ip link add up0 type veth peer name far0 && ip link set far0 netns \(node.name)-far
            ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up && sysctl -qw net.ipv4.ip_forward=1
            """)
        try node.sh(
            "ip addr add 198.51.100.2/24 dev far0; ip link set far0 up; ip route add 192.0.2.0/24 via 198.51.100.1",
            pod: "far")
    }

    /// Another host on the pods' network, pod `second`, with 192.0.2.2 on eth0.
    func neighbour() throws {
        _ = try node.pod("second")
        try node.sh(
            "ip link add second0 type veth peer name eth0 netns \(node.name)-second && ip link set second0 master br0 up"
        )
        try node.sh("ip addr add 192.0.2.2/24 dev eth0 && ip link set eth0 up", pod: "second")
    }

    /// Writes down what goes over a link of the node, one line a packet, as tcpdump prints it with -vv.
    func capture(_ link: String) throws {
        try start("capture-\(link)", "tcpdump -i \(link) -n -l -vv udp port 67 or udp port 68")
        try until("tcpdump listens") { try log("capture-\(link)").contains("listening on") }
    }
}

extension DHCPServer {
    fileprivate func configuration(_ pool: DHCPPool, _ file: String) -> String {
        let (first, last) = ("192.0.2.\(pool.addresses.lowerBound)", "192.0.2.\(pool.addresses.upperBound)")
        switch self {
        case .kea:
            let reservations = pool.reservations.map { key, address in
                switch key {
                case .mac(let mac): "{\"hw-address\":\"\(mac)\",\"ip-address\":\"192.0.2.\(address)\"}"
                case .client(let id): "{\"client-id\":\"\(id)\",\"ip-address\":\"192.0.2.\(address)\"}"
                }
            }
            return """
                {"Dhcp4":{"interfaces-config":{"interfaces":["\(pool.link)"]},"authoritative":true,
                 "valid-lifetime":\(pool.lease),"calculate-tee-times":true,
                 "lease-database":{"type":"memfile","name":"\(file)","lfc-interval":0},
                 "loggers":[{"name":"kea-dhcp4","severity":"DEBUG","debuglevel":50,
                             "output_options":[{"output":"stdout"}]}],
                 "subnet4":[{"subnet":"192.0.2.0/24","pools":[{"pool":"\(first) - \(last)"}],
                             "reservations":[\(reservations.joined(separator: ","))],
                             "option-data":[{"name":"routers","data":"192.0.2.1"}]}]}}
                """
        case .dhcpd:
            let reservations = pool.reservations.map { key, address in
                switch key {
                case .mac(let mac):
                    "host h\(address) { hardware ethernet \(mac); fixed-address 192.0.2.\(address); }"
                case .client(let id):
                    "host h\(address) { option dhcp-client-identifier \(id); fixed-address 192.0.2.\(address); }"
                }
            }
            return """
                authoritative;
                default-lease-time \(pool.lease);
                max-lease-time \(pool.lease);
                min-lease-time \(pool.lease);
                ping-check false;
                \(reservations.joined(separator: "\n"))
                subnet 198.51.100.0 netmask 255.255.255.0 { }
                subnet 192.0.2.0 netmask 255.255.255.0 {
                  range \(first) \(last);
                  option routers 192.0.2.1;
                  \(pool.options)
                }

                """
        case .udhcpd:
            return """
                start \(first)
                end \(last)
                interface \(pool.link)
                lease_file \(file)
                pidfile \(file.replacing(".leases", with: ".pid"))
                min_lease 1
                \(pool.hasMask ? "option subnet 255.255.255.0" : "")
                option router 192.0.2.1
                option lease \(pool.lease)
                \(pool.options)

                """
        }
    }
}
