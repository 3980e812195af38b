import Foundation
import Support

/// The node of `DHCPNode` with IPv6: br0 is 2001:db8::1 there.
struct DHCPv6Node {
    let node: DHCPNode

    init() throws {
        node = try DHCPNode()
        try node.node.sh("ip addr add 2001:db8::1/64 dev br0 nodad")
        // Servers need a link-local address that may be used.
        try node.until("br0 has its address") {
            try node.node.sh("ip -6 addr show dev br0 scope link -tentative").contains("fe80::")
        }
    }

    private var directory: String { node.directory }

    // MARK: Servers

    /// - Parameter options: further words, such as a range of IPv4.
    func dnsmasq(_ options: String = "", range: String = "2001:db8::100,2001:db8::1ff,64,120s") throws {
        try node.start(
            "dnsmasq6",
            """
            dnsmasq -k -C /dev/null -u root --port=0 --log-dhcp --log-facility=- --no-ping --dhcp-authoritative \
            -i br0 --bind-interfaces --pid-file= -l \(directory)/leasefile6 -F \(range) \(options)
            """)
        try node.until("dnsmasq listens") { try node.log("dnsmasq6").contains("DHCPv6, ") }
    }

    /// IPv6 addresses that dnsmasq has given.
    func given() throws -> [String] {
        try Shell.sh("cat \(directory)/leasefile6 2>/dev/null || true").split(separator: "\n")
            .map { $0.split(separator: " ").map(String.init) }
            .filter { $0.count > 2 && $0[2].contains(":") }.map { $0[2] }
    }

    /// ISC's Kea, with leases of some seconds.
    func kea(valid: Int = 8, pool: String = "2001:db8::100-2001:db8::1ff", rapid: Bool = false) throws {
        try node.node.write(
            "kea.conf",
            """
            {"Dhcp6": {"interfaces-config": {"interfaces": ["br0"]},
              "lease-database": {"type": "memfile", "persist": true, "name": "\(directory)/kea.leases"},
              "server-id": {"type": "LL", "htype": 1, "identifier": "020000000001", "persist": false},
              "renew-timer": \(valid / 4), "rebind-timer": \(valid * 3 / 4), "preferred-lifetime": \(valid),
              "valid-lifetime": \(valid), "decline-probation-period": 3600,
              "subnet6": [{"subnet": "2001:db8::/64", "interface": "br0", "rapid-commit": \(rapid),
                           "pools": [{"pool": "\(pool)"}]}],
              "loggers": [{"name": "kea-dhcp6", "severity": "DEBUG", "debuglevel": 50,
                           "output_options": [{"output": "stdout"}]}]}}
            """)
        try Shell.sh("mkdir -p \(directory)/kea")
        try node.start(
            "kea",
            "env KEA_PIDFILE_DIR=\(directory)/kea KEA_LOCKFILE_DIR=\(directory)/kea kea-dhcp6 -c \(directory)/kea.conf"
        )
        try node.until("Kea listens") { try node.log("kea").contains("DHCP6_STARTED") }
    }

    /// ISC's older server.
    func isc() throws {
        try node.node.write(
            "isc.conf",
            """
            default-lease-time 600; preferred-lifetime 300;
            subnet6 2001:db8::/64 { range6 2001:db8::100 2001:db8::1ff; }

            """)
        try Shell.sh(": > \(directory)/isc.leases")
        try node.start(
            "isc",
            "dhcpd -6 -f -d -cf \(directory)/isc.conf -lf \(directory)/isc.leases -pf \(directory)/isc.pid br0"
        )
        try node.until("dhcpd listens") { try node.log("isc").contains("Listening on Socket") }
    }

    /// One that does what no other does; it writes down each message.
    ///
    /// - Parameters:
    ///   - ways: see `ScriptedServerV6.text`.
    ///   - valid: seconds of a lease, of which it is preferred for a half.
    func server(_ ways: String = "", valid: Int = 600, pod: String? = nil) throws {
        try node.node.write("server6.py", ScriptedServerV6.text)
        try node.behave(ways)
        try node.start("server6", "python3 -u \(directory)/server6.py \(directory) \(valid)", pod: pod)
        try node.until("the server listens") { try node.log("server6").contains("ready") }
    }

    // MARK: Networks

    static let v6 = #""family":"ipv6""#

    func define(
        _ plugin: String = #""type":"macvlan","master":"eth1""#, _ ipam: String = v6, timeout: Int = 20,
        version: String = "1.0.0"
    ) throws {
        try node.define("lan", plugin, ipam, timeout: timeout, version: version)
    }

    /// Global IPv6 addresses of the pod's link.
    func addresses(_ link: String = "net1") throws -> [String] {
        try node.addresses(link).filter { $0.contains(":") }
    }

    /// The address of a link by which its neighbours know it.
    func linkLocal(_ link: String, pod: String? = nil) throws -> String? {
        try node.node.ip("addr show dev \(link)", pod: pod)[0]["addr_info"].list
            .first { $0["family"].string == "inet6" && $0["scope"].string == "link" }?["local"].string
    }

    func record() throws -> Tree? {
        let text = try Shell.sh("cat \(directory)/leases/c1@net1:v6.json 2>/dev/null || true")
        return text.isEmpty ? nil : try Tree(parsing: text)
    }

    /// A host on the same network that has an address already.
    func neighbour(_ address: String) throws {
        let pod = try node.node.pod("n").replacing("/run/netns/", with: "")
        try node.node.sh(
            "ip link add n0 type veth peer name n1 && ip link set n0 master br0 up && ip link set n1 netns \(pod)"
        )
        try node.node.sh("ip link set n1 up && ip addr add \(address)/64 dev n1 nodad", pod: "n")
    }
}

/// A DHCPv6 server that can be told to misbehave.
enum ScriptedServerV6 {
    static let text = #"""
        # server6.py DIRECTORY VALID: the file `ways` there has words, read for every message:
        # silent, norapid, pref=N, noreply (to REQUEST), norenew, noaddrs, nobinding (RENEW), notonlink (REQUEST, once),
        # multicast (REQUEST, once), zero (RENEW takes the address back), damaged (answers before the right one),
        # dns, ADDRESS (for all)
        import ipaddress, json, socket, struct, sys
        directory, valid = sys.argv[1], int(sys.argv[2])
        index = socket.if_nametoindex("br0")
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        s.bind(("::", 547, 0, index))
        group = ipaddress.ip_address("ff02::1:2").packed + struct.pack("@I", index)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        print("ready")
        kinds = {1: "SOLICIT", 3: "REQUEST", 4: "CONFIRM", 5: "RENEW", 6: "REBIND", 8: "RELEASE", 9: "DECLINE"}
        given, declined, once = {}, set(), set()
        duid = bytes.fromhex("000300010200000000aa")

        def options(raw):
            found = []
            while raw:
                code, length = struct.unpack(">HH", raw[:4])
                found.append((code, raw[4:4 + length]))
                raw = raw[4 + length:]
            return found

        def option(code, value): return struct.pack(">HH", code, len(value)) + value
        def status(code, text): return option(13, struct.pack(">H", code) + text)

        while True:
            request, control, _, sender = s.recvmsg(4096, 1024)
            target = str(ipaddress.ip_address(control[0][2][:16])) if control else ""
            ways = open(directory + "/ways").read().split()
            got = options(request[4:])
            kind = kinds.get(request[0], str(request[0]))
            ia = next((v for c, v in got if c == 3), b"")
            asked = [str(ipaddress.ip_address(v[:16])) for c, v in options(ia[12:]) if c == 5]
            with open(directory + "/heard", "a") as file:
                file.write(json.dumps({
                    "kind": kind, "from": sender[0].split("%")[0], "port": sender[1], "to": target,
                    "xid": request[1:4].hex(), "iaid": ia[:4].hex(), "times": ia[4:12].hex(), "addresses": asked,
                    "codes": [c for c, _ in got], "options": {str(c): v.hex() for c, v in got}}) + "\n")
            if "silent" in ways or "norenew" in ways and kind in ("RENEW", "REBIND"): continue
            client = next(v for c, v in got if c == 1)
            rapid = any(c == 14 for c, _ in got) and "norapid" not in ways
            fixed = [w for w in ways if ":" in w]
            key = client + ia[:4]
            if key not in given:
                given[key] = next(str(a) for a in map(lambda n: ipaddress.ip_address("2001:db8::100") + n, range(256))
                                  if str(a) not in declined and str(a) not in given.values())
            if kind == "DECLINE":
                declined.update(asked)
                given.pop(key, None)
            address = fixed[0] if fixed else given.get(key, "2001:db8::100")

            def association(address, valid, inner=b""):
                part = b"" if address is None else option(
                    5, ipaddress.ip_address(address).packed + struct.pack(">II", valid // 2, valid))
                return option(3, ia[:4] + struct.pack(">II", valid // 4, valid // 2) + part + inner)

            def answer(kind, body):
                head = bytes([kind]) + request[1:4] + option(1, client) + option(2, duid)
                extra = option(23, ipaddress.ip_address("2001:db8::53").packed) + option(24, b"\x03lan\x00") if "dns" in ways else b""
                return head + body + extra

            def send(packet): s.sendto(packet, sender)

            if kind in ("RELEASE", "DECLINE"):
                send(answer(7, status(0, b"done")))
            elif "noaddrs" in ways and kind != "RENEW":
                send(answer(2 if kind == "SOLICIT" else 7, association(None, 0, status(2, b"pool\x1b is empty"))))
            elif kind == "SOLICIT":
                if "damaged" in ways:
                    good = answer(2, association("2001:db8::bad", valid) + option(7, b"\xff"))
                    for cut in (3, 20, len(good) - 30): send(good[:cut])
                    send(bytes([2]) + b"\0\0\0" + good[4:])
                    send(good.replace(client, bytes(len(client))))
                    send(good.replace(option(2, duid), b""))
                    send(bytes([7]) + good[1:])
                    send(b"")
                preference = [w[5:] for w in ways if w.startswith("pref=")]
                extra = option(7, bytes([int(preference[0])])) if preference else b""
                body = association(address, valid) + extra + (option(14, b"") if rapid else b"")
                send(answer(7 if rapid else 2, body))
            elif kind == "REQUEST":
                if "noreply" in ways: continue
                refusal = {"notonlink": 4, "multicast": 5}
                told = next((w for w in ways if w in refusal and w not in once), None)
                if told:
                    once.add(told)
                    send(answer(7, status(refusal[told], b"once")))
                else:
                    send(answer(7, association(address, valid)))
            elif "nobinding" in ways:
                send(answer(7, association(None, 0, status(3, b"lost"))))
            elif "zero" in ways:
                send(answer(7, association(asked[0], 0)))
            else:
                send(answer(7, association(address, valid)))
        """#
}
