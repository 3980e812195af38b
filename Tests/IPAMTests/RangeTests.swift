import CNI
import IPAM
import JSONC
import Networking
import Plans
import Testing

/// host-local's ranges: what a configuration means, and in which order addresses are looked at. No store, no files.
@Suite struct RangeTests {
    static func address(_ text: String) throws -> IPAddress { try #require(IPAddress(parsing: text)) }

    /// Of ranges as in `10.0.0.0/29 10.0.0.2-10.0.0.4 10.0.0.1`: subnet, first and last, gateway.
    static func set(_ ranges: String...) throws -> RangeSet {
        RangeSet(
            try ranges.map {
                let parts = $0.split { " -".contains($0) }.map(String.init)
                return AddressRange(
                    subnet: try #require(CIDR(parsing: parts[0])), first: try address(parts[1]),
                    last: try address(parts[2]), gateway: try address(parts[3]))
            })
    }

    @Test(
        "HL-03, HL-06, HL-07: the walk begins behind the last address, goes round, and passes gateways over")
    func walk() throws {
        let one = try Self.set("10.0.0.0/29 10.0.0.1-10.0.0.4 10.0.0.1")
        let two = try Self.set(
            "10.0.0.0/29 10.0.0.2-10.0.0.3 10.0.0.1", "10.1.0.0/29 10.1.0.2-10.1.0.3 10.1.0.3")
        for (set, last, expected) in [
            (one, nil, ["10.0.0.2", "10.0.0.3", "10.0.0.4"]),
            (one, "10.0.0.2", ["10.0.0.3", "10.0.0.4", "10.0.0.2"]),
            (one, "10.0.0.4", ["10.0.0.2", "10.0.0.3", "10.0.0.4"]),
            // HL-04: of another time.
            (one, "10.9.9.9", ["10.0.0.2", "10.0.0.3", "10.0.0.4"]),
            (two, nil, ["10.0.0.2", "10.0.0.3", "10.1.0.2"]),
            (two, "10.0.0.3", ["10.1.0.2", "10.0.0.2", "10.0.0.3"]),
            (two, "10.1.0.3", ["10.0.0.2", "10.0.0.3", "10.1.0.2"]),
        ] as [(RangeSet, String?, [String])] {
            var looked: [String] = []
            let found = try set.firstFree(after: last.map(Self.address)) { address, _ in
                looked.append("\(address)")
                return false
            }
            #expect(looked == expected, "after \(last ?? "nothing")")
            #expect(found == nil)
        }
    }

    @Test("the walk ends with the first address that is taken, and tells its range")
    func found() throws {
        let set = try Self.set(
            "10.0.0.0/29 10.0.0.2-10.0.0.3 10.0.0.1", "10.1.0.0/28 10.1.0.2-10.1.0.3 10.1.0.1")
        let wanted = try Self.address("10.1.0.2")
        let found = set.firstFree(after: nil) { address, _ in address == wanted }
        #expect(found?.address == wanted)
        #expect(found?.range.subnet.length == 28)
    }

    @Test("a range of one address and the last address of all come to an end")
    func ends() throws {
        for set in [
            try Self.set("10.0.0.0/29 10.0.0.2-10.0.0.2 10.0.0.1"),
            try Self.set("255.255.255.0/24 255.255.255.255-255.255.255.255 255.255.255.1"),
            try Self.set(
                "ffff::/16 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff::1"
            ),
        ] {
            var count = 0
            let found = set.firstFree(after: set.ranges[0].last) { _, _ in
                count += 1
                return false
            }
            #expect(count == 1)
            #expect(found == nil)
        }
    }

    static func request(_ ipam: String, extra: String = "", args: String = "", rules: RoleRules = .reference)
        throws
        -> LeaseRequest
    {
        let text =
            #"{"cniVersion":"1.0.0","name":"net","type":"x"\#(extra),"ipam":{"type":"host-local","dataDir":"/nowhere",\#(ipam)}}"#
        return LeaseRequest(
            config: try PluginConfig.decode(Array(text.utf8)),
            id: AttachmentID(containerID: "c1", interface: "eth0"), args: args, rules: rules)
    }

    @Test(
        "HL-01, HL-08: the first address of each set, and its gateway, as a configuration gives them",
        arguments: [
            (#""subnet":"10.0.0.0/24""#, "", ["10.0.0.2/24 via 10.0.0.1"]),
            (#""subnet":"10.0.0.0/24","rangeStart":"10.0.0.9""#, "", ["10.0.0.9/24 via 10.0.0.1"]),
            (#""subnet":"10.0.0.0/24","gateway":"10.0.0.254""#, "", ["10.0.0.1/24 via 10.0.0.254"]),
            (#""subnet":"fd00::/64""#, "", ["fd00::2/64 via fd00::1"]),
            (
                #""subnet":"10.0.0.0/24","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]]"#,
                #","runtimeConfig":{"ipRanges":[[{"subnet":"10.2.0.0/24"}]]}"#,
                [
                    "10.2.0.2/24 via 10.2.0.1", "10.0.0.2/24 via 10.0.0.1", "10.1.0.2/24 via 10.1.0.1",
                    "fd00::2/64 via fd00::1",
                ]
            ),
        ])
    func preview(ipam: String, extra: String, expected: [String]) throws {
        let lease = try HostLocal.preview(Self.request(ipam, extra: extra))
        #expect(lease?.ips.map { "\($0.address) via \($0.gateway.map { "\($0)" } ?? "none")" } == expected)
    }

    @Test(
        "HL-10: an address that is asked for, in each place",
        arguments: [
            ("", "IP=10.0.0.7"), (#","args":{"cni":{"ips":["10.0.0.7"]}}"#, ""),
            (#","runtimeConfig":{"ips":["10.0.0.7/24"]}"#, ""),
        ])
    func asked(extra: String, args: String) throws {
        let lease = try HostLocal.preview(Self.request(#""subnet":"10.0.0.0/24""#, extra: extra, args: args))
        #expect(lease?.ips.map { "\($0.address)" } == ["10.0.0.7/24"])
    }

    @Test(
        "HL-11, HL-12: what cannot be given is refused without a look into the store",
        arguments: [
            (#""subnet":"10.0.0.0/24""#, "10.1.0.7", "failed to allocate all requested IPs: 10.1.0.7"),
            (#""subnet":"10.0.0.0/24""#, "10.0.0.1", "10.0.0.1"),
            (#""subnet":"10.0.0.0/24""#, "x", "invalid IP address: x"),
        ])
    func impossible(ipam: String, ip: String, problem: String) throws {
        let request = try Self.request(ipam, extra: #","runtimeConfig":{"ips":["\#(ip)"]}"#, rules: .meta)
        let error = #expect(throws: Failure.self) { try HostLocal.parse(request) }
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
        #expect(error?.key?.hasPrefix("runtimeConfig.ips") == true)
    }

    @Test(
        "the meta role refuses what no pod can use, and the reference takes",
        arguments: [
            (#""subnet":"10.0.0.0/24","rangeStart":"10.0.0.0""#, "is the network address"),
            (#""subnet":"10.0.0.0/24","rangeEnd":"10.0.0.255""#, "is the broadcast address"),
            (#""subnet":"10.0.0.0/24","gateway":"fd00::1""#, "is of the other family"),
            (#""subnet":"10.0.0.0/24","resolvConf":"resolv.conf""#, "is no absolute path"),
        ])
    func strict(ipam: String, problem: String) throws {
        let error = #expect(throws: Failure.self) {
            try HostLocal.parse(Self.request(ipam, rules: .meta))
        }
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
    }
}
