import CNI
import IPAM

/// What `bridge --help` and `plexus help bridge` print. The page Plugins.md says more about each.
package struct PluginHelp: Sendable {
    package let type: String
    private let about: String
    /// Key and meaning; `ipam` and the keys of every plugin are not among them.
    package let keys: [(name: String, meaning: String)]
    /// A configuration that works as it is, on a node that has the links that it names.
    package let example: String

    package static func of(_ type: String) -> PluginHelp? { all.first { $0.type == type } }

    package var text: String {
        let width = keys.map(\.name.count).max() ?? 0
        let lines = keys.map { key in
            "  \(key.name)\(String(repeating: " ", count: width - key.name.count))  \(key.meaning)\n"
        }
        let section = keys.isEmpty ? "It has no keys of its own.\n" : "Keys:\n\(lines.joined())"
        return """
            CNI plugin \(type), from Plexus: \(about)

            \(section)
            Example:
              \(example.replacing("\n", with: "\n  "))

            A runtime starts it without arguments, with CNI_COMMAND and the other variables of the CNI specification in its
            environment and the configuration on stdin. The meta-plugin runs it without an executable of its own.
            CNI protocol versions supported: \(Version.allCases.map(\.rawValue).joined(separator: ", "))

            """
    }

    private static let link = [
        ("master", "the link below; without it the one that the default route leaves by"),
        ("linkInContainer", "true: the master is in the pod"),
        ("mtu", "without it the master's"),
    ]

    package static let all: [PluginHelp] = [
        PluginHelp(
            type: "bridge",
            about: "a veth pair whose host end is a port of a bridge, which is made when it is missing.",
            keys: [
                ("bridge", "the bridge's name; cni0"),
                ("isGateway", "true: the bridge has the gateway's address, and forwarding is on"),
                ("isDefaultGateway", "true: and the pod's default route goes there"),
                ("forceAddress", "true: a gateway address that is in the way is replaced"),
                ("ipMasq", "true: packets that leave the network get the host's address"),
                ("ipMasqBackend", "nftables or iptables"),
                ("mtu", "of both ends, and of a bridge made here"),
                ("hairpinMode", "true: the port sends back what came from it"),
                ("promiscMode", "true: the bridge is promiscuous"),
                ("portIsolation", "true: isolated ports do not reach each other"),
                ("vlan", "the port's own VLAN, 1 to 4094"),
                ("vlanTrunk", "tagged VLANs: a list of {\"minID\", \"maxID\"} and {\"id\"}"),
                ("preserveDefaultVlan", "true: the port keeps the bridge's default VLAN as well"),
                ("macspoofchk", "true: what the pod sends with another MAC address is dropped"),
                ("enabledad", "true: IPv6 duplicate address detection, which takes a second or more"),
                ("disableContainerInterface", "true: the pod's end stays down; without ipam only"),
            ],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "bridge", "bridge": "br-example", "isGateway": true,
                 "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.12.0/24"}]]}}
                """),
        PluginHelp(
            type: "macvlan",
            about: "a link in the pod on top of one of the node's, with a MAC address of its own.",
            keys: link + [
                ("mode", "bridge, private, vepa or passthru; bridge"),
                ("mac", "the pod's MAC address"),
                ("bcqueuelen", "the master's queue of broadcasts"),
            ],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "macvlan", "master": "ens4",
                 "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.12.0/24"}]]}}
                """),
        PluginHelp(
            type: "ipvlan",
            about: "a link in the pod on top of one of the node's, with that one's MAC address.",
            keys: link + [("mode", "l2, l3 or l3s; l2")],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "ipvlan", "master": "ens4", "mode": "l2",
                 "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.12.0/24"}]]}}
                """),
        PluginHelp(
            type: "host-device",
            about: "hands a device of the node to the pod, and gives it back under its old name.",
            keys: [
                ("device", "the link's name"),
                ("hwaddr", "or its MAC address"),
                ("kernelpath", "or a directory below /sys/devices/"),
                ("pciBusID", "or a PCI address, such as 0000:00:1f.6"),
            ],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "host-device", "device": "ens4"}
                """),
        PluginHelp(
            type: "dummy",
            about: "a link in the pod that drops what it is given: addresses that are the pod's alone.",
            keys: [],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "dummy",
                 "ipam": {"type": "static", "addresses": [{"address": "192.0.2.1/32"}]}}
                """),
        PluginHelp(
            type: "tuning",
            about: "settings of an interface that another plugin of the list made.",
            keys: [
                ("sysctl", "values below net of the pod; IFNAME in a name stands for the interface"),
                ("mac", "the interface's MAC address"),
                ("mtu", "its MTU"),
                ("promisc", "true: it takes every frame"),
                ("allmulti", "true: it takes every multicast frame"),
                ("txQLen", "the length of its queue"),
                ("dataDir", "where its original properties are kept; /run/cni/tuning"),
            ],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "plugins": [
                   {"type": "bridge", "bridge": "br-example"},
                   {"type": "tuning", "mtu": 1400, "sysctl": {"net.core.somaxconn": "512"}}]}
                """),
        PluginHelp(
            type: "route-override",
            about: "changes routes that the plugins before it in the list made.",
            keys: [
                ("flushroutes", "true: all routes but the kernel's own go"),
                ("flushgateway", "true: the default route goes"),
                ("delroutes", "a list of routes that go, by {\"dst\"}"),
                ("addroutes", "a list of routes that come: {\"dst\", \"gw\"}"),
                ("skipcheck", "true: CHECK does not look at routes"),
            ],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "plugins": [
                   {"type": "bridge", "bridge": "br-example",
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.12.0/24"}]]}},
                   {"type": "route-override", "addroutes": [{"dst": "10.9.0.0/16", "gw": "192.168.12.1"}]}]}
                """),
        PluginHelp(
            type: "loopback", about: "sets the pod's lo up, whatever CNI_IFNAME says.", keys: [],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "loopback"}
                """),
        PluginHelp(
            type: "passthru",
            about: "does nothing and gives an empty result: the head of a chain that makes no interface.",
            keys: [],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "passthru"}
                """),
        .init(
            type: "host-local",
            about: "addresses from ranges of this node, for the key ipam of another plugin.",
            keys: [
                ("ranges", "a list of sets; a pod gets one address of each. A set is a list of ranges"),
                ("subnet", "of a range; directly in ipam, a set of one range"),
                ("rangeStart", "its first address; without it the first of the subnet"),
                ("rangeEnd", "its last address; without it the last but the broadcast address"),
                ("gateway", "without it the first address of the subnet"),
                ("routes", "a list of {\"dst\", \"gw\"} for the pod"),
                ("resolvConf", "a resolver's file whose content is passed on as dns"),
                ("dataDir", "where the addresses are kept; /var/lib/cni/networks"),
            ],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "bridge", "bridge": "br-example",
                 "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.168.12.0/24"}], [{"subnet": "fd00:12::/64"}]],
                          "routes": [{"dst": "10.9.0.0/16"}]}}
                """),
        PluginHelp(
            type: "dhcp",
            about:
                "addresses of a DHCP server, which the ADD asks over the pod's link; dhcp daemon renews them.",
            keys: [
                (
                    "provide",
                    "options to send: a list of {\"option\", \"value\"}, or \"fromArg\", a key of CNI_ARGS"
                ),
                (
                    "request",
                    "options to ask for: a list of {\"option\"}; \"skipDefault\": true leaves 3 and 1 away"
                ),
                ("priority", "the metric of every route"),
                ("accept", "what is used besides address and routes: a list of dns, mtu, routers, msroutes"),
                ("probe", "true uses an address only when no other host on the link has it: ARP, 1.5 s"),
                ("requireAgent", "true fails an ADD when no daemon listens at daemonSocketPath"),
                ("clientID", "container, pod (the same in each sandbox of a pod) or mac"),
                ("broadcast", "true: answers are to come as broadcasts"),
                ("timeout", "seconds until an ADD gives up; 60"),
                ("daemonSocketPath", "by which STATUS sees the daemon; /run/cni/dhcp.sock"),
                ("leaseDir", "where leases are written down; \(DHCPRecords.defaultPath)"),
                ("family", "ipv4, ipv6 (DHCPv6) or dual; ipv4"),
                (
                    "reportSlaac",
                    "true: addresses by a router's advertisement are waited for, and reported"
                ),
                ("routes", "with ipv6 and dual: a list of {\"dst\", \"gw\"} of IPv6"),
            ],
            example: """
                {"cniVersion": "1.1.0", "name": "mynet", "type": "macvlan", "master": "eth1",
                 "ipam": {"type": "dhcp", "provide": [{"option": "host-name", "fromArg": "K8S_POD_NAME"}]}}
                """),
        PluginHelp(
            type: "static",
            about: "fixed addresses, for the key ipam of another plugin.",
            keys: [
                ("addresses", "a list of {\"address\", \"gateway\"}, the address with its prefix"),
                ("routes", "a list of {\"dst\", \"gw\"} for the pod"),
                ("dns", "nameservers, domain, search and options for the result"),
            ],
            example: """
                {"cniVersion": "1.0.0", "name": "example", "type": "bridge", "bridge": "br-example",
                 "ipam": {"type": "static", "addresses": [{"address": "192.168.12.5/24", "gateway": "192.168.12.1"}]}}
                """),
    ]
}
