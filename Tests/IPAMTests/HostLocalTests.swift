import CNI
import Foundation
import IPAM
import JSONC
import Networking
import Plans
import Support
import Testing

@Suite final class HostLocalStore {
    let directory = "/tmp/plexus-unit-\(UUID().uuidString)"

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func request(
        _ ranges: String, id: String = "c1", interface: String = "eth0", extra: String = "", args: String = ""
    ) throws -> LeaseRequest {
        let text = """
            {"cniVersion":"1.0.0","name":"net","type":"x"\(extra),
             "ipam":{"type":"host-local","dataDir":"\(directory)","ranges":\(ranges)}}
            """
        return LeaseRequest(
            config: try PluginConfig.decode(Array(text.utf8)),
            id: AttachmentID(containerID: id, interface: interface), args: args, rules: .reference)
    }

    func file(_ name: String) -> String? {
        FileManager.default.contents(atPath: "\(directory)/net/\(name)").map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    static let small = #"[[{"subnet":"192.168.1.0/29"}]]"#

    @Test("where a file has the directory's name there are no leases, and a new one is refused with the fix")
    func aFileInTheWay() throws {
        #expect(FileManager.default.createFile(atPath: directory, contents: nil))
        #expect(try HostLocal.owners(in: directory) { _ in true }.isEmpty)
        try HostLocal.releaseEverything(of: "c1", in: directory) { _, _ in true }
        let failure = #expect(throws: Failure.self) { try HostLocal.allocate(self.request(Self.small)) }
        #expect(failure?.details.contains("mv \(directory) ") == true)
    }

    @Test func filesAreTheReferences() throws {
        let ranges = #"[[{"subnet":"10.1.2.0/24"},{"subnet":"10.2.2.0/24"}],[{"subnet":"2001:db8:1::/64"}]]"#
        let lease = try HostLocal.allocate(request(ranges))
        #expect(lease.ips.map { "\($0.address)" } == ["10.1.2.2/24", "2001:db8:1::2/64"])
        #expect(lease.ips.map { "\($0.gateway.map { "\($0)" } ?? "")" } == ["10.1.2.1", "2001:db8:1::1"])
        #expect(file("10.1.2.2") == "c1\r\neth0")
        #expect(file("2001:db8:1::2") == "c1\r\neth0")
        #expect(file("last_reserved_ip.0") == "10.1.2.2")
        #expect(file("last_reserved_ip.1") == "2001:db8:1::2")
        try HostLocal.release(request(ranges))
        try HostLocal.release(request(ranges))
        #expect(file("10.1.2.2") == nil)
        #expect(file("last_reserved_ip.0") == "10.1.2.2")
    }

    @Test func addressesGoRoundAndEnd() throws {
        var given: [String] = []
        for index in 2...6 {
            given.append(
                "\(try HostLocal.allocate(request(Self.small, id: "c\(index)")).ips[0].address.address)")
        }
        #expect(given == ["192.168.1.2", "192.168.1.3", "192.168.1.4", "192.168.1.5", "192.168.1.6"])
        let full = #expect(throws: Failure.self) { try HostLocal.allocate(request(Self.small, id: "c7")) }
        #expect(
            full?.message.contains("no IP addresses available in range set: 192.168.1.1-192.168.1.6") == true)
        try HostLocal.release(request(Self.small, id: "c3"))
        #expect("\(try HostLocal.allocate(request(Self.small, id: "c8")).ips[0].address)" == "192.168.1.3/29")
    }

    /// The reference takes only an address alone for one: nothing may be left of a longer one.
    @Test(arguments: ["192.168.1.254", "192.168.1.2", "192.168.1.6", "", "nonsense", "192.168.1.3\n"])
    func theLastAddressIsWrittenOverWhateverWasThere(last: String) throws {
        try FileManager.default.createDirectory(
            atPath: "\(directory)/net", withIntermediateDirectories: true)
        try Data(last.utf8).write(to: URL(fileURLWithPath: "\(directory)/net/last_reserved_ip.0"))
        let given = "\(try HostLocal.allocate(request(Self.small)).ips[0].address.address)"
        #expect(given == (last == "192.168.1.2" ? "192.168.1.3" : "192.168.1.2"))
        #expect(file("last_reserved_ip.0") == given)
    }

    @Test func oneContainerGetsOneAddressAnInterface() throws {
        _ = try HostLocal.allocate(request(Self.small))
        let again = #expect(throws: Failure.self) { try HostLocal.allocate(request(Self.small)) }
        #expect(again?.message.contains("duplicate allocation is not allowed") == true)
        #expect(
            "\(try HostLocal.allocate(request(Self.small, interface: "net1")).ips[0].address)"
                == "192.168.1.3/29")
        try HostLocal.release(request(Self.small))
        #expect(file("192.168.1.2") == nil)
        #expect(file("192.168.1.3") == "c1\r\nnet1")
    }

    @Test func whatWasAskedForIsGivenOrRefused() throws {
        let asked = ",\"runtimeConfig\":{\"ips\":[\"192.168.1.5/29\"]}"
        #expect(
            "\(try HostLocal.allocate(request(Self.small, extra: asked)).ips[0].address)" == "192.168.1.5/29")
        let taken = #expect(throws: Failure.self) {
            try HostLocal.allocate(request(Self.small, id: "c2", extra: asked))
        }
        #expect(
            taken?.message.contains(
                "requested IP address 192.168.1.5 is not available in range set 192.168.1.1-192.168.1.6")
                == true)
        let outside = #expect(throws: Failure.self) {
            try HostLocal.allocate(request(Self.small, id: "c3", args: "IP=10.9.9.9"))
        }
        #expect(outside?.message.hasPrefix("failed to allocate all requested IPs: 10.9.9.9") == true)
        #expect(file("192.168.1.6") == nil)
    }

    @Test func emptyFilesAreNobodysAndOldOnesAreReleased() throws {
        _ = try HostLocal.allocate(request(Self.small))
        try Data().write(to: URL(fileURLWithPath: "\(directory)/net/192.168.1.3"))
        #expect("\(try HostLocal.allocate(request(Self.small, id: "c2")).ips[0].address)" == "192.168.1.3/29")
        try Data("c9".utf8).write(to: URL(fileURLWithPath: "\(directory)/net/192.168.1.4"))
        try HostLocal.release(request(Self.small, id: "c9"))
        #expect(file("192.168.1.4") == nil)
    }

    @Test func collectionKeepsTheLiving() throws {
        for id in ["c1", "c2"] { _ = try HostLocal.allocate(request(Self.small, id: id)) }
        try HostLocal.collect(
            request(Self.small), valid: [AttachmentID(containerID: "c2", interface: "eth0")])
        #expect(file("192.168.1.2") == nil)
        #expect(file("192.168.1.3") == "c2\r\neth0")
    }

    @Test(arguments: [
        ("[]", "no IP ranges specified"), ("[[]]", "empty range set"),
        (#"[[{"subnet":"10.0.0.0/31"}]]"#, "too small"), (#"[[{"subnet":"192.0.2.12/24"}]]"#, "192.0.2.0"),
        (#"[[{"subnet":"10.0.0.0/24","rangeStart":"10.0.1.1"}]]"#, "RangeStart 10.0.1.1 not in network"),
        (#"[[{"subnet":"10.0.0.0/24","rangeEnd":"10.0.1.1"}]]"#, "RangeEnd 10.0.1.1 not in network"),
        (
            #"[[{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.50","rangeEnd":"10.0.0.40"}]]"#,
            "RangeStart 10.0.0.50"
        ),
        (#"[[{"subnet":"10.0.0.0/24"}],[{"subnet":"10.0.0.0/16"}]]"#, "range set 0 overlaps with 1"),
        (#"[[{"subnet":"10.0.0.0/24"},{"subnet":"fd00::/64"}]]"#, "mixed address families"),
    ])
    func badRangesAreNamed(ranges: String, problem: String) throws {
        let error = #expect(throws: Failure.self) { try HostLocal.parse(request(ranges)) }
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
    }

    @Test(
        .enabled(
            if: FileManager.default.isExecutableFile(atPath: "/usr/lib/cni/host-local"),
            "no Debian host-local"))
    func aStoreIsSharedWithTheReference() throws {
        _ = try HostLocal.allocate(request(Self.small))
        let config = """
            {"cniVersion":"1.0.0","name":"net","type":"x","ipam":{"type":"host-local","dataDir":"\(directory)",
             "ranges":\(Self.small)}}
            """
        func theirs(_ verb: String, _ id: String) throws -> Ran {
            try Shell.run(
                ["/usr/lib/cni/host-local"], input: config,
                environment: [
                    "CNI_COMMAND": verb, "CNI_CONTAINERID": id, "CNI_NETNS": "/x", "CNI_IFNAME": "eth0",
                    "CNI_PATH": "/usr/lib/cni",
                ])
        }
        #expect(try theirs("ADD", "c2").output.contains("192.168.1.3/29"))
        #expect("\(try HostLocal.allocate(request(Self.small, id: "c3")).ips[0].address)" == "192.168.1.4/29")
        #expect(try theirs("DEL", "c1").status == 0)
        #expect(file("192.168.1.2") == nil)
        try HostLocal.release(request(Self.small, id: "c2"))
        #expect(file("192.168.1.3") == nil)
    }
}

@Suite struct StaticAddresses {
    static func lease(_ ipam: String, extra: String = "", args: String = "") throws -> Lease {
        let text = #"{"cniVersion":"1.0.0","name":"net","type":"x"\#(extra),"ipam":\#(ipam)}"#
        return try Static.allocate(
            LeaseRequest(
                config: PluginConfig.decode(Array(text.utf8)),
                id: AttachmentID(containerID: "c", interface: "e"),
                args: args, rules: .reference))
    }

    @Test func theLastSourceCounts() throws {
        let ipam = #"{"type":"static","addresses":[{"address":"10.0.0.1/24","gateway":"10.0.0.254"}]}"#
        #expect(try Self.lease(ipam).ips.map { "\($0.address)" } == ["10.0.0.1/24"])
        let both = try Self.lease(ipam, args: "IP=10.10.0.1/24;GATEWAY=10.10.0.254")
        #expect(both.ips.map { "\($0.gateway.map { "\($0)" } ?? "")" } == ["10.0.0.254", "10.10.0.254"])
        let runtime = #","runtimeConfig":{"ips":["fd00::1/64"]},"args":{"cni":{"ips":["10.3.0.1/24"]}}"#
        #expect(try Self.lease(ipam, extra: runtime).ips.map { "\($0.address)" } == ["fd00::1/64"])
    }

    @Test(arguments: [
        (#"{"type":"static","addresses":[{"address":"10.0.0.1"}]}"#, "", "the 'address' field is expected"),
        (#"{"type":"static"}"#, "IP=1", "'ip' field is expected"),
        (#"{"type":"static"}"#, "IP=1.1.1.1/8;GATEWAY=x", "invalid gateway address"),
    ])
    func badAddressesAreNamed(ipam: String, args: String, problem: String) {
        let error = #expect(throws: Failure.self) { try Self.lease(ipam, args: args) }
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
    }
}
