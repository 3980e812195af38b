import CNI
import Definitions
import JSONC
import Meta
import Networking
import Plans
import Testing

@Suite struct Selections {
    static func parse(_ text: String) throws(Failure) -> [Selection] {
        try Selection.parse(text, source: "annotation networks")
    }

    @Test func theShortForm() throws {
        let selections = try Self.parse(" a , ns/b@ext0 ,/c, d@")
        #expect(selections.map(\.name) == ["a", "b", "c", "d"])
        #expect(selections.map(\.namespace) == [nil, "ns", nil, nil])
        #expect(selections.map(\.interface) == [nil, "ext0", nil, nil])
        #expect(try Self.parse("").isEmpty)
        #expect(try Self.parse("null").first?.name == "null")
    }

    @Test func aPodAsksForSoManyAndNoMore() throws {
        let most = Array(repeating: "a", count: Selection.maximum)
        #expect(try Self.parse(most.joined(separator: ",")).count == Selection.maximum)
        let error = #expect(throws: Failure.self) { try Self.parse((most + ["a"]).joined(separator: ",")) }
        #expect(error?.message == "annotation networks: 257 networks, the limit is 256")
    }

    @Test func theListForm() throws {
        let selection = try #require(
            try Self.parse(
                """
                [{"name":"a.b","namespace":"x","interfaceRequest":"i1","ips":["10.0.0.1","fd00::1/64"],
                  "mac":"02:00:00:00:00:01","default-route":["10.0.0.254"],"cni-args":{"k":1},"unknown":5,
                  "bandwidth":{"ingressRate":7}}]
                """
            ).first)
        #expect(selection.name == "a.b")
        #expect(selection.interface == "i1")
        #expect(selection.ips == ["10.0.0.1", "fd00::1/64"])
        #expect(selection.defaultRoute == [IPAddress(parsing: "10.0.0.254")].compactMap { $0 })
        #expect(selection.cniArgs?["k"] == 1)
        #expect(selection.capabilities["bandwidth"]?["ingressBurst"] == 0)
        #expect(try Self.parse("[]").isEmpty)
    }

    @Test(arguments: [
        (",", "has no name"), ("a,", "has no name"), ("default/", "has no name"),
        ("a/b/c", "more than one '/'"),
        ("a@b@c", "more than one '@'"), ("a.b", "is no name"), ("A", "is no name"),
        ("a@e:0", "interface \"e:0\""),
        (#"{"name":"a"}"#, "expected a list"), ("[null]", "networks[0]"), ("[[]]", "networks[0]"),
        (#"[{"name":""}]"#, "networks[0].name"), (#"[{"name":"a","ips":"x"}]"#, "networks[0].ips"),
        (#"[{"name":"a","ips":["x"]}]"#, "networks[0].ips[0]"),
        (#"[{"name":"a","mac":"x"}]"#, "networks[0].mac"),
        (#"[{"name":"../a"}]"#, "networks[0].name"),
        (#"[{"name":"ns/a"}]"#, #"write "name": "a", "namespace": "ns" (key networks[0].name)"#),
        (#"[{"name":"a@net5"}]"#, "is written in the key interface (key networks[0].name)"),
        (#"[{"name":"a","namespace":".."}]"#, "networks[0].namespace"),
        (#"[{"name":"a","default-route":[""]}]"#, "networks[0].default-route[0]"), ("[{", "expected a key"),
        (#"[{"name":"a","cni-args":[]}]"#, "networks[0].cni-args"),
        (#"[{"name":"a","ips":["0.0.0.0"]}]"#, "networks[0].ips[0]"),
        (#"[{"name":"a","ips":["::/64"]}]"#, "networks[0].ips[0]"),
        (#"[{"name":"a","mac":"02:00:00:00:00"}]"#, "networks[0].mac"),
        (#"[{"name":"a","infiniband-guid":"zz"}]"#, "networks[0].infiniband-guid"),
        (#"[{"name":"a","interfaceReqest":"x"}]"#, "did you mean \"interfaceRequest\"?"),
    ])
    func malformedValuesNameTheirPlace(text: String, problem: String) {
        let error = #expect(throws: Failure.self) { try Self.parse(text) }
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
    }

    @Test(
        "A08: addresses of 6, 8 and 20 octets are an interface's; what a plugin makes of them is its own",
        arguments: [
            "02:00:00:00:00:01", "02-00-00-00-00-01", "0200.0000.0001", "02:00:00:00:00:00:00:01",
            "0200.0000.0000.0001", "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01",
        ])
    func hardwareAddresses(text: String) throws {
        let json = "[{\"name\":\"a\",\"mac\":\"\(text)\",\"infiniband-guid\":\"\(text)\"}]"
        let selection = try #require(try Self.parse(json).first)
        #expect(selection.mac == text && selection.capabilities["infinibandGUID"] == .string(text))
    }

    @Test(
        arguments: [
            ("03:00:00:00:00:01", "multicast"), ("0000.0000.0000", "zero"), ("02:00:00:00:00:01", nil),
        ] as [(String, String?)])
    func aMACThatNoInterfaceCanHaveIsRefused(mac: String, kind: String?) throws {
        let selection = try #require(try Self.parse("[{\"name\":\"a\",\"mac\":\"\(mac)\"}]").first)
        var message: String?
        do throws(Failure) { try selection.refuseImpossible() } catch { message = error.message }
        #expect(message?.hasPrefix("annotation networks, networks[0].mac: ") == kind.map { _ in true })
        #expect(message?.contains(kind ?? "") == kind.map { _ in true })
    }

    /// What a plugin refuses under its own key is found where it was written.
    @Test(arguments: [
        ("runtimeConfig.mac", "mac"), ("CNI_ARGS MAC", "mac"), ("runtimeConfig.ips[1]", "ips"),
        ("args.cni.mtu", "cni-args.mtu"), ("runtimeConfig.deviceID", "deviceID"),
        ("runtimeConfig.infinibandGUID", "infiniband-guid"), ("default-route", "default-route"),
        ("args.cni.other", nil), ("runtimeConfig.ipRanges", nil), ("mtu", nil), ("ipam.subnet", nil),
        ("", nil),
    ])
    func aPluginsKeyIsTracedBack(key: String, written: String?) throws {
        let text = """
            [{"name":"b"},{"name":"a","mac":"02:00:00:00:00:01","ips":["10.0.0.1"],"default-route":["10.0.0.2"],
              "cni-args":{"mtu":1},"deviceID":"x","infiniband-guid":"02:00:00:00:00:00:00:01"}]
            """
        let selections = try Self.parse(text)
        #expect(selections[1].place(of: key) == written.map { "annotation networks, networks[1].\($0)" })
        #expect(selections[0].place(of: key) == nil)
    }

    @Test(arguments: [
        ("bridge", "bridge"), ("host-local", "host-local"), ("plexus", "plexus"), ("multus", "multus"),
        ("plexus-2.0", "plexus"), ("multus-shim", "multus"), ("anything", "no anything"), ("", "plexus"),
    ])
    func theNameDecidesTheRole(started: String, expected: String) {
        let name =
            switch Role.named(started) {
            case .meta(let name): name
            case .plugin(let type): type
            case .addresses(let source): source.type
            case .unknown(let name): "no \(name)"
            }
        #expect(name == expected)
    }
}
