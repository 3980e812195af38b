import Foundation
import Support
import Testing

/// The rows of host-local, static and loopback, each by the plugin's own name.
@Suite struct AddressRows {
    private let node: Node

    init() throws { node = try Node() }

    /// `keys` stand in the ipam section, `outer` beside it.
    private func call(
        _ verb: String = "ADD", _ keys: String, outer: String = "", id: String = "c1",
        interface: String = "eth0", args: String = "", version: String = "1.0.0", role: String = "host-local"
    ) throws -> Answer {
        let section =
            "\"ipam\":{\"type\":\"\(role)\",\"dataDir\":\"DIR/ipam\"\(keys.isEmpty ? "" : ",")\(keys)}"
        let netns = "/run/netns/none"
        let config =
            "{\"cniVersion\":\"\(version)\",\"name\":\"net\",\"type\":\"bridge\",\(section)\(outer.isEmpty ? "" : ",")\(outer)}"
            .replacing("DIR", with: node.directory)
        return try node.call(verb, role: role, id: id, netns: netns, interface: interface, args: args, config)
    }

    private func addresses(_ answer: Answer) -> [String] {
        answer.json["ips"].list.compactMap { $0["address"].string }
    }

    private func text(_ file: String) throws -> String {
        try Shell.sh("cat \(node.directory)/ipam/net/\(file)")
    }

    private func mode(_ file: String) throws -> String {
        try Shell.sh("stat -c %a \(node.directory)/ipam/net/\(file)").trimmingCharacters(in: .newlines)
    }

    private let small = #""subnet":"10.1.2.0/29""#

    @Test(
        "what stands at an address and is no lease is passed over",
        arguments: [
            "mkdir 10.1.2.2", "ln -s nowhere 10.1.2.2", "mkfifo 10.1.2.2",
            "head -c 300000 /dev/zero > 10.1.2.2",
        ])
    func foreignEntries(command: String) throws {
        try Shell.sh("mkdir -p \(node.directory)/ipam/net && cd \(node.directory)/ipam/net && \(command)")
        let answer = try call("ADD", small)
        #expect(addresses(answer) == ["10.1.2.3/29"], "\(answer.ran)")
        #expect(try call("DEL", small).status == 0)
    }

    @Test("DEL and GC remove the file that they read, not one of the same address spelled otherwise")
    func otherSpelling() throws {
        try node.write("ipam/net/10.1.2.3", "other\r\neth0")
        try node.write("ipam/net/::ffff:10.1.2.3", "c1\r\neth0")
        #expect(try call("DEL", small).status == 0)
        #expect(try node.leases() == ["10.1.2.3"])
    }

    @Test("HL-14: every complaint of a range names its set")
    func rangeSetNumber() throws {
        let answer = try call("ADD", #""ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.3.0/31"}]]"#)
        #expect(
            answer.message.hasPrefix("invalid range set 1: Network 10.1.3.0/31 too small"), "\(answer.ran)")
        #expect(try call("ADD", #""rangeStart":5,"ranges":[[{"subnet":"10.1.2.0/24"}]]"#).status == 1)
    }

    @Test("of duplicate objects the later one completes the earlier")
    func duplicateObjects() throws {
        let answer = try call("ADD", small, outer: #""ipam":{"routes":[{"dst":"1.0.0.0/8"}]}"#)
        #expect(addresses(answer) == ["10.1.2.2/29"], "\(answer.ran)")
        #expect(answer.json["routes"][0]["dst"].string == "1.0.0.0/8")
        let asked = try call(
            "ADD", small, outer: #""args":{"cni":{"ips":["10.1.2.5"]}},"args":{"cni":{}}"#, id: "c2")
        #expect(addresses(asked) == ["10.1.2.5/29"], "\(asked.ran)")
    }

    @Test(
        "SK-11: the plugin's own namespace is refused by address sources as well",
        arguments: ["host-local", "static"])
    func ownNamespace(role: String) throws {
        let config =
            #"{"cniVersion":"1.0.0","name":"net","ipam":{"type":"\#(role)","dataDir":"\#(node.directory)/ipam","subnet":"10.1.2.0/29"}}"#
        let answer = try node.call("ADD", role: role, netns: "/proc/self/ns/net", config)
        #expect(answer.code == 8, "\(answer.ran)")
        #expect(try node.files("ipam").isEmpty)
    }

    @Test("ST-02, ST-03, ST-05: the last gateway, blanks, what is replaced is not read, DEL reads nothing")
    func staticCorners() throws {
        func gateways(_ args: String) throws -> [String?] {
            try call("ADD", "", args: args, role: "static").json["ips"].list.map { $0["gateway"].string }
        }
        #expect(try gateways("IP=10.3.0.1/24;GATEWAY=10.3.0.254,10.3.0.253") == ["10.3.0.253"])
        #expect(try gateways("IP=10.3.0.1/24, 10.4.0.1/24;GATEWAY= 10.3.0.254") == ["10.3.0.254", nil])
        #expect(try call("ADD", "", args: "IP=10.3.0.1/24,", role: "static").status == 1)
        let replaced = try call(
            "ADD", #""addresses":[{"address":"bad"}]"#, outer: #""runtimeConfig":{"ips":["10.1.0.1/24"]}"#,
            role: "static")
        #expect(addresses(replaced) == ["10.1.0.1/24"], "\(replaced.ran)")
        for wrong in [#""dns":"x""#, #""runtimeConfig":[]"#, #""capabilities":"x""#] {
            #expect(try call("DEL", "", outer: wrong, role: "static").status == 0)
        }
    }

    @Test("LO-02: CHECK of loopback needs no result")
    func loopbackCheck() throws {
        _ = try node.pod("a")
        #expect(try node.plugin("ADD", "loopback").status == 0)
        #expect(try node.plugin("CHECK", "loopback").status == 0)
    }

    @Test("RS-01: the keys of a route are sorted")
    func sortedRoute() throws {
        let route =
            #"{"dst":"1.0.0.0/8","gw":"10.1.2.1","mtu":1400,"advmss":1300,"priority":5,"table":7,"scope":0}"#
        let text = try call("ADD", "\(small),\"routes\":[\(route)]").ran.output
        let keys = ["advmss", "dst", "gw", "mtu", "priority", "scope", "table"]
        let places = keys.compactMap { text.range(of: "\"\($0)\"")?.lowerBound }
        #expect(places.count == keys.count && places == places.sorted(), "\(text)")
    }

    @Test("HL-01, HL-02, HL-16, HL-21: first address, bytes and modes of the files, scope of DEL")
    func files() throws {
        let keys =
            #""ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"2001:DB8:1::/64"}]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"10.10.5.1"}]"#
        let answer = try call("ADD", keys)
        #expect(addresses(answer) == ["10.1.2.2/24", "2001:db8:1::2/64"], "\(answer.ran)")
        #expect(answer.json["ips"].list.map { $0["gateway"].string } == ["10.1.2.1", "2001:db8:1::1"])
        #expect(answer.json["routes"].list.map { $0["gw"].string } == [nil, "10.10.5.1"])
        for file in ["10.1.2.2", "2001:db8:1::2"] {
            #expect(try text(file) == "c1\r\neth0")
            #expect(try mode(file) == "600")
        }
        #expect(try text("last_reserved_ip.0") == "10.1.2.2")
        #expect(try text("last_reserved_ip.1") == "2001:db8:1::2")
        _ = try call("ADD", keys, interface: "eth1")
        #expect(try call("DEL", keys).status == 0)
        #expect(try node.leases() == ["10.1.2.3", "2001:db8:1::3"])
        #expect(try text("last_reserved_ip.0") == "10.1.2.3")
        #expect(answer.ran.errors.isEmpty)
    }

    @Test(
        "HL-03, HL-04, HL-05, HL-06: round robin, a foreign last address, exhaustion, the gateway kept back")
    func order() throws {
        #expect(addresses(try call("ADD", small)) == ["10.1.2.2/29"])
        #expect(try call("DEL", small).status == 0)
        #expect(addresses(try call("ADD", small)) == ["10.1.2.3/29"])
        for text in ["10.1.2.6\n", "x", ""] {
            _ = try call("DEL", small)
            try node.write("ipam/net/last_reserved_ip.0", text)
            #expect(addresses(try call("ADD", small)) == ["10.1.2.2/29"])
        }
        for id in ["c2", "c3", "c4", "c5"] { #expect(try call("ADD", small, id: id).status == 0) }
        let full = try call("ADD", small, id: "c6")
        #expect(full.message.contains("no IP addresses available in range set: 10.1.2.1-10.1.2.6"))
        let inside =
            #""ranges":[[{"subnet":"10.3.0.0/24","rangeStart":"10.3.0.4","rangeEnd":"10.3.0.6","gateway":"10.3.0.5"}]]"#
        #expect(addresses(try call("ADD", inside, id: "d1")) == ["10.3.0.4/24"])
        #expect(addresses(try call("ADD", inside, id: "d2")) == ["10.3.0.6/24"])
        #expect(try call("ADD", inside, id: "d3").status == 1)
    }

    @Test(
        "HL-07, HL-08: sets and their alternatives; runtime's, old style's and configured ones in this order")
    func sets() throws {
        let two =
            #""ranges":[[{"subnet":"10.1.0.0/30"},{"subnet":"10.2.0.0/30"}],[{"subnet":"10.3.0.0/24"}]]"#
        #expect(addresses(try call("ADD", two)) == ["10.1.0.2/30", "10.3.0.2/24"])
        #expect(addresses(try call("ADD", two, id: "c2")) == ["10.2.0.2/30", "10.3.0.3/24"])
        let mixed = #""subnet":"10.5.0.0/24","ranges":[[{"subnet":"10.6.0.0/24"}]]"#
        let outer = #""runtimeConfig":{"ipRanges":[[{"subnet":"10.4.0.0/24"}]]}"#
        #expect(
            addresses(try call("ADD", mixed, outer: outer, id: "c3")) == [
                "10.4.0.2/24", "10.5.0.2/24", "10.6.0.2/24",
            ])
        #expect(try text("last_reserved_ip.2") == "10.6.0.2")
    }

    @Test("HL-09, HL-12, HL-13: a second ADD, a request too many, and a set that is full take nothing")
    func takesNothing() throws {
        _ = try call("ADD", small)
        let again = try call("ADD", small)
        #expect(
            again.message.contains("10.1.2.2 has been allocated to c1, duplicate allocation is not allowed"))
        #expect(try node.leases() == ["10.1.2.2"])
        let outer = #""args":{"cni":{"ips":["10.9.0.7","10.9.0.8"]}}"#
        let left = try call("ADD", #""subnet":"10.9.0.0/24""#, outer: outer, id: "c2")
        #expect(left.message.contains("failed to allocate all requested IPs: 10.9.0."))
        let partly =
            #""ranges":[[{"subnet":"10.8.0.0/24"}],[{"subnet":"10.1.2.0/29","rangeStart":"10.1.2.2","rangeEnd":"10.1.2.2"}]]"#
        #expect(try call("ADD", partly, id: "c3").status == 1)
        #expect(try node.leases() == ["10.1.2.2"])
        let old = try call(
            "ADD", #""ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.2.0.0/24"}]]"#, id: "c4",
            version: "0.2.0")
        #expect(old.message.contains("does not support more than 1 address per family"))
    }

    @Test(
        "a version that cannot express what an earlier one gave keeps no address",
        arguments: ["0.1.0", "0.2.0"])
    func releasesWhatItCannotExpress(version: String) throws {
        let two = #""ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.2.0.0/24"}]]"#
        #expect(addresses(try call("ADD", two, version: "0.3.1")).count == 2)
        let answer = try call("DEL", two, version: version)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.leases().isEmpty)
    }

    @Test("HL-10, HL-11: requested addresses, from every source; taken, the gateway, outside")
    func requests() throws {
        let keys = #""subnet":"10.1.2.0/24""#
        for (id, args, outer, wanted) in [
            ("a1", "IP=10.1.2.50", "", "10.1.2.50/24"), ("a2", "IP=10.1.2.51/16", "", "10.1.2.51/24"),
            ("a3", "", #""args":{"cni":{"ips":["10.1.2.52"]}}"#, "10.1.2.52/24"),
            ("a4", "", #""runtimeConfig":{"ips":["10.1.2.53/24"]}"#, "10.1.2.53/24"),
            ("a5", "IP=", "", "10.1.2.54/24"),
        ] {
            #expect(addresses(try call("ADD", keys, outer: outer, id: id, args: args)) == [wanted])
        }
        for (args, fragment) in [
            (
                "IP=10.1.2.50",
                "requested IP address 10.1.2.50 is not available in range set 10.1.2.1-10.1.2.254"
            ),
            ("IP=10.1.2.1", "is subnet's gateway"),
            ("IP=10.7.7.7", "failed to allocate all requested IPs: 10.7.7.7"),
            ("IP=x", "invalid IP address"), ("IP=010.1.2.3", "invalid IP address"),
        ] {
            let answer = try call("ADD", keys, id: "b", args: args)
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(answer.ran.output)")
        }
        #expect(try node.leases().count == 5)
    }

    @Test(
        "HL-14: every mistake of a range is named, on every verb",
        arguments: [
            ("", "no IP ranges specified"), (#""ranges":[]"#, "no IP ranges specified"),
            (#""ranges":[[]]"#, "empty range set"), (#""ranges":[[{}]]"#, "IP <nil> not v4 nor v6"),
            (#""subnet":"10.1.2.0/31""#, "too small to allocate from"),
            (#""subnet":"2001:db8::/127""#, "too small to allocate from"),
            (#""subnet":"192.0.2.12/24""#, "has host bits set"), (#""subnet":"oops""#, "oops"),
            (#""subnet":"10.1.2.0/24","rangeStart":"10.1.3.1""#, "RangeStart 10.1.3.1 not in network"),
            (#""subnet":"10.1.2.0/24","rangeEnd":"10.1.3.1""#, "RangeEnd 10.1.3.1 not in network"),
            (#""subnet":"10.1.2.0/24","rangeStart":"10.1.2.50","rangeEnd":"10.1.2.40""#, "RangeStart"),
            (#""ranges":[[{"subnet":"10.1.2.0/24"},{"subnet":"fd00::/64"}]]"#, "mixed address families"),
            (#""ranges":[[{"subnet":"10.1.2.0/24"},{"subnet":"10.1.0.0/16"}]]"#, "overlap"),
            (
                #""ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.2.0/24"}]]"#,
                "range set 0 overlaps with 1"
            ),
        ])
    func mistakes(keys: String, fragment: String) throws {
        for verb in ["ADD", "CHECK", "DEL"] {
            let answer = try call(verb, keys)
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(verb): \(answer.ran.output)")
        }
        #expect(try node.files("ipam").isEmpty)
    }

    @Test("HL-14: without an ipam section")
    func noSection() throws {
        for role in ["host-local", "static"] {
            let config =
                #"{"cniVersion":"1.0.0","name":"net","type":"x","args":{"cni":{"ips":["10.0.0.1/8"]}}}"#
            let answer = try node.call("ADD", role: role, netns: "/x", config)
            #expect(answer.message.contains("IPAM config missing 'ipam' key"))
        }
    }

    @Test("HL-15, HL-17: files of old releases; CHECK")
    func oldFiles() throws {
        try node.write("ipam/net/10.1.2.4", "c1\n")
        #expect(try call("CHECK", small).status == 0)
        #expect(try call("ADD", small).message.contains("duplicate allocation"))
        #expect(try call("DEL", small).status == 0)
        #expect(try node.leases().isEmpty)
        #expect(try call("CHECK", small).message.contains("Failed to find address added by container"))
    }

    @Test("HL-18: resolvConf, which DEL does not need any more")
    func resolver() throws {
        try node.write(
            "resolv.conf",
            "# first\n; second\nnameserver 192.0.2.0\nnameserver 192.0.2.1\ndomain a\ndomain example.com\nsearch a b\nsearch c\noptions ndots:5 rotate\nother x\n"
        )
        let keys = small + #","resolvConf":"DIR/resolv.conf""#
        let dns = try call("ADD", keys).json["dns"]
        #expect(dns["nameservers"].list.map(\.string) == ["192.0.2.0", "192.0.2.1"])
        #expect(dns["domain"].string == "example.com")
        #expect(dns["search"].list.map(\.string) == ["a", "b", "c"])
        #expect(dns["options"].list.map(\.string) == ["ndots:5", "rotate"])
        try Shell.sh("rm \(node.directory)/resolv.conf")
        #expect(try call("ADD", keys, id: "c2").message.contains("resolvConf"))
        #expect(try call("DEL", keys).status == 0)
        #expect(try node.leases().isEmpty)
    }

    @Test("HL-19: the lock file is the reference's lock")
    func lock() throws {
        _ = try call("ADD", small)
        try node.write(
            "net.conf",
            "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"x\",\"ipam\":{\"type\":\"host-local\",\"dataDir\":\"\(node.directory)/ipam\",\(small)}}"
        )
        // While somebody has the lock, an ADD waits; then it goes on.
        let said = try Shell.sh(
            """
            cd \(node.directory); export CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_PATH=/x CNI_NETNS=/x CNI_CONTAINERID=c2
            flock -o ipam/net/lock sh -c 'bin/host-local <net.conf >out & sleep 0.5; [ -s out ] || echo waits'
            for i in $(seq 600); do [ -s out ] && break; sleep 0.1; done; cat out
            """)
        #expect(said.hasPrefix("waits\n"))
        #expect(said.contains("10.1.2.3/29"))
    }

    @Test("HL-20, SW-04: forty ADDs at once on one store, half of them by Debian's host-local")
    func crowd() throws {
        let config =
            #"{"cniVersion":"1.0.0","name":"net","type":"x","ipam":{"type":"host-local","dataDir":"DIR/ipam","subnet":"10.1.0.0/16"}}"#
        try node.write("net.conf", config.replacing("DIR", with: node.directory))
        try Shell.sh(
            """
            cd \(node.directory); export CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_PATH=/x CNI_NETNS=/x
            seq 40 | xargs -P 10 -n 1 sh -c '
              [ $(($1 % 2)) = 0 ] && p=bin/host-local || p=/usr/lib/cni/host-local
              CNI_CONTAINERID=p$1 $p <net.conf >out.$1' sh
            """)
        let given = try Shell.sh("cd \(node.directory) && cat out.* | jq -r '.ips[].address' | sort -u")
        #expect(given.split(separator: "\n").count == 40)
        #expect(try node.leases().count == 40)
        // One goes on where the other was.
        let last = try text("last_reserved_ip.0").split(separator: ".").compactMap { Int($0) }
        let next = try call("ADD", #""subnet":"10.1.0.0/16""#, id: "next")
        #expect(addresses(next) == ["10.1.\(last[2]).\(last[3] + 1)/16"])
    }

    @Test("HL-22: an empty file that a crash left blocks no address")
    func emptyFile() throws {
        _ = try call("ADD", small, id: "c0")
        _ = try call("DEL", small, id: "c0")
        try Shell.sh(": > \(node.directory)/ipam/net/10.1.2.3")
        #expect(addresses(try call("ADD", small)) == ["10.1.2.3/29"])
    }

    @Test("HL-23: GC releases what is not listed, and nothing without a list")
    func collects() throws {
        for (file, owner) in [
            ("10.1.2.2", "c1\r\neth0"), ("10.1.2.3", "c1\r\neth1"), ("10.1.2.4", "c3"), ("10.1.2.5", "c4"),
        ] {
            try node.write("ipam/net/\(file)", owner)
        }
        try node.write("ipam/net/last_reserved_ip.0", "10.1.2.5")
        #expect(try call("GC", small, version: "1.1.0").status == 0)
        #expect(try node.leases().count == 4)
        let valid =
            #""cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"},{"containerID":"c3","ifname":"x"}]"#
        #expect(try call("GC", small, outer: valid, version: "1.1.0").status == 0)
        #expect(try node.leases() == ["10.1.2.2", "10.1.2.4"])
        let none = #""cni.dev/valid-attachments":[]"#
        #expect(try call("GC", small, outer: none, version: "1.1.0").status == 0)
        #expect(try node.leases().isEmpty)
        #expect(try text("last_reserved_ip.0") == "10.1.2.5")
    }

    @Test("HL: STATUS says when no address is left")
    func status() throws {
        let keys = #""subnet":"10.1.2.0/30""#
        #expect(try call("STATUS", keys, version: "1.1.0").status == 0)
        _ = try call("ADD", keys)
        let answer = try call("STATUS", keys, version: "1.1.0")
        #expect(answer.code == 50 && answer.message.contains("no IP addresses available"))
    }

    // MARK: static

    private let both =
        #""addresses":[{"address":"10.10.0.1/24","gateway":"10.10.0.254"},{"address":"3ffe:ffff:0:1ff::1/64","gateway":"3ffe:ffff:0::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"10.10.5.1"},{"dst":"192.168.0.0/16","gw":"10.10.5.2"}],"dns":{"nameservers":["10.10.0.1"],"domain":"d","search":["s"],"options":["o"]}"#

    private func fixed(
        _ verb: String = "ADD", _ keys: String, outer: String = "", args: String = "",
        version: String = "1.0.0"
    ) throws -> Answer {
        try call(verb, keys, outer: outer, args: args, version: version, role: "static")
    }

    @Test("ST-01: addresses, routes and dns as configured")
    func configured() throws {
        let answer = try fixed("ADD", both)
        #expect(addresses(answer) == ["10.10.0.1/24", "3ffe:ffff:0:1ff::1/64"], "\(answer.ran)")
        #expect(answer.json["ips"].list.map { $0["gateway"].string } == ["10.10.0.254", "3ffe:ffff::1"])
        #expect(answer.json["routes"].list.map { $0["gw"].string } == [nil, "10.10.5.1", "10.10.5.2"])
        #expect(answer.json["dns"]["nameservers"].list.map(\.string) == ["10.10.0.1"])
        #expect(answer.json["dns"]["domain"].string == "d")
    }

    @Test("ST-02, ST-03: CNI_ARGS add, args.cni replaces, runtimeConfig replaces again")
    func sources() throws {
        let args = "IP=10.11.0.1/24,3ffe:fff1::1/64;GATEWAY=3ffe:fff1::254,10.11.0.254"
        let appended = try fixed("ADD", #""addresses":[{"address":"10.10.0.1/24"}]"#, args: args)
        #expect(addresses(appended) == ["10.10.0.1/24", "10.11.0.1/24", "3ffe:fff1::1/64"])
        #expect(
            appended.json["ips"].list.map { $0["gateway"].string } == [nil, "10.11.0.254", "3ffe:fff1::254"])
        let first = #""args":{"cni":{"ips":["10.12.0.1/24"]}}"#
        #expect(addresses(try fixed("ADD", both, outer: first, args: args)) == ["10.12.0.1/24"])
        let all = first + #","runtimeConfig":{"ips":["10.13.0.1/24","fd00::1/64"]}"#
        let strongest = try fixed("ADD", both, outer: all, args: args)
        #expect(addresses(strongest) == ["10.13.0.1/24", "fd00::1/64"])
        #expect(strongest.json["ips"].list.allSatisfy { !$0["gateway"].exists })
    }

    @Test("ST-04: what is no CIDR, in each source; two of a family with an old version")
    func badAddresses() throws {
        for (keys, outer, args, fragment) in [
            (
                #""addresses":[{"address":"10.10.0.1"}]"#, "", "",
                "the 'address' field is expected to be in CIDR notation"
            ),
            ("", "", "IP=10.10.0.1", "the 'ip' field is expected to be in CIDR notation"),
            ("", "", "IP=10.10.0.1/24;GATEWAY=x", "invalid gateway address"),
            ("", #""args":{"cni":{"ips":["10.10.0.1"]}}"#, "", "NOT in CIDR notation"),
            (
                "", #""runtimeConfig":{"ips":["10.10.0.1"]}"#, "",
                "an entry in the 'ips' field is NOT in CIDR notation"
            ),
        ] {
            let answer = try fixed("ADD", keys, outer: outer, args: args)
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(answer.ran.output)")
        }
        let two = #""addresses":[{"address":"10.10.0.1/24"},{"address":"10.10.0.2/24"}]"#
        #expect(try fixed("ADD", two, version: "0.2.0").message.contains("more than 1 address per family"))
    }

    @Test("ST-05: DEL with anything, CHECK compares gateways")
    func deletesAndChecks() throws {
        for keys in ["", #""addresses":[{"address":"oops"}]"#, both] {
            let answer = try fixed("DEL", keys, args: "broken;")
            #expect(answer.status == 0, "\(answer.ran)")
        }
        #expect(try fixed("CHECK", both).message.contains("Required prevResult missing"))
        func previous(_ gateway: String) -> String {
            #""prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.10.0.1/24","gateway":""# + gateway
                + #""}]}"#
        }
        #expect(try fixed("CHECK", both, outer: previous("10.10.0.254")).status == 0)
        let other = try fixed("CHECK", both, outer: previous("10.10.0.9"))
        #expect(other.message.contains("static: Failed to match addr"))
    }

    // MARK: loopback

    @Test(
        "LO-01, LO-02, LO-05: up with its addresses, in each version's shape; down again",
        arguments: ["0.4.0", "1.1.0"])
    func loopback(version: String) throws {
        _ = try node.pod("a")
        let answer = try node.plugin("ADD", "loopback", version: version, interface: "lo")
        #expect(addresses(answer) == ["127.0.0.1/8", "::1/128"], "\(answer.ran)")
        #expect(answer.json["interfaces"][0]["mac"].string == "00:00:00:00:00:00")
        #expect(answer.json["ips"][1]["version"].string == (version < "1" ? "6" : nil))
        #expect(try node.ip("addr show dev lo", pod: "a")[0]["addr_info"].list.count == 2)
        #expect(
            try node.plugin("CHECK", "loopback", version: version, previous: answer, interface: "lo").status
                == 0)
        for pod in ["a", "a", nil] {
            #expect(
                try node.plugin("DEL", "loopback", version: version, pod: pod, interface: "lo").status == 0)
        }
        #expect(!(try node.ip("link show lo", pod: "a")[0]["flags"].list.contains { $0.string == "UP" }))
        let check = try node.plugin("CHECK", "loopback", version: version, previous: answer, interface: "lo")
        #expect(check.message.contains("loopback interface is down"))
    }

    @Test("LO-03, LO-04: a foreign address on lo; prevResult passes")
    func loopbackEdges() throws {
        _ = try node.pod("a")
        let previous = #""prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.9/8"}]}"#
        #expect(addresses(try node.plugin("ADD", "loopback", previous, interface: "lo")) == ["10.0.0.9/8"])
        try node.sh("ip addr add 10.5.0.1/32 dev lo", pod: "a")
        let answer = try node.plugin("ADD", "loopback", interface: "lo")
        #expect(answer.message.contains("loopback interface found with non-loopback address"))
    }
}
