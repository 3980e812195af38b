import CNI
import JSONC
import Networking
import Testing

@Suite struct Protocol {
    static func invocation(_ changes: [String: String?]) throws(Failure) -> Invocation? {
        var variables: [String: String?] = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/n", "CNI_IFNAME": "eth0",
            "CNI_PATH": "/a:/b",
        ]
        for (key, value) in changes { variables[key] = .some(value) }
        return try Invocation.read { variables[$0] ?? nil }
    }

    @Test func theEnvironmentIsRead() throws {
        let call = try #require(try Self.invocation([:]))
        #expect(call.verb == .add)
        #expect(call.path == ["/a", "/b"])
        #expect(try Self.invocation(["CNI_COMMAND": nil]) == nil)
        #expect(try Self.invocation(["CNI_COMMAND": "DEL", "CNI_NETNS": nil])?.netns == "")
        #expect(try Self.invocation(["CNI_COMMAND": "BAD"])?.verb == nil)
    }

    @Test(
        arguments: [
            (["CNI_NETNS": nil, "CNI_IFNAME": nil], "required env variables [CNI_NETNS,CNI_IFNAME] missing"),
            (["CNI_CONTAINERID": "a/b"], "invalid characters in containerID"),
            (["CNI_CONTAINERID": String(repeating: "a", count: 201)], "the containerID is too long"),
            (["CNI_IFNAME": "e:h"], "interface name is invalid"),
            (["CNI_IFNAME": "a234567890abcdef"], "interface name is invalid"),
        ] as [([String: String?], String)])
    func malformedEnvironmentsAreRefused(changes: [String: String?], message: String) {
        let error = #expect(throws: Failure.self) { try Self.invocation(changes) }
        #expect(error?.code == 4)
        #expect(error?.message == message)
    }

    @Test(arguments: [
        ("{}x", 6), ("[]", 6), ("{}", 7), (#"{"name":"a b"}"#, 7), (#"{"name":"a","cniVersion":"9.9.9"}"#, 1),
        (#"{"name":"a","dns":5}"#, 7),
        (#"{"name":"a","cniVersion":"1.0.0","prevResult":{"cniVersion":"7"}}"#, 7),
        (#"{"name":5}"#, 6),
    ])
    func malformedConfigurationsHaveTheirCode(text: String, code: Int) {
        let error = #expect(throws: Failure.self) {
            let config = try PluginConfig.decode(Array(text.utf8))
            try config.requireVersion(for: .add)
            try config.requireReadable(for: .add)
        }
        #expect(error?.code == code)
    }

    @Test(arguments: [
        (#"{"name":"a","type":"x","cniVersion":"9.9.9"}"#, 1),
        (#"{"name":"a","type":"x","cniVersions":["9.9.9"]}"#, 1),
        (#"{"name":"a","type":"x","cniVersions":["1.0.0","banana"]}"#, 7),
        (#"{"name":"a","type":"x","cniVersions":["1.0.0","9.9.9"]}"#, 0), (#"{"name":"a","type":"x"}"#, 0),
    ])
    func listVersionsHaveTheirCode(text: String, code: Int) throws {
        let json = try JSON.parse(text).value
        do throws(Failure) {
            _ = try NetworkList.decode(json, defaultName: nil)
            #expect(code == 0)
        } catch {
            #expect(error.code == code, "\(error)")
        }
    }

    @Test func argumentsAreStrictUnderAPluginsName() throws {
        #expect(try CNIArgs.parse("A=1;IgnoreUnknown=1", lenient: false)["A"] == "1")
        #expect(throws: Failure.self) { try CNIArgs.parse("A=1;", lenient: false) }
        #expect(throws: Failure.self) { try CNIArgs.parse("A=1=2", lenient: false) }
        #expect(try CNIArgs.parse("A=1=2;", lenient: true)["A"] == "1=2")
        #expect(throws: Failure.self) { try CNIArgs.parse("A=1", lenient: false).requireKnown(["B"]) }
        try CNIArgs.parse("A=1;IgnoreUnknown=TRUE", lenient: false).requireKnown(["B"])
    }

    @Test func listsPassOnWhatPluginsDeclare() throws {
        let text = #"""
            {"name":"l","cniVersions":["0.4.0","1.0.0","2.0.0"],"disableCheck":"true","plugins":[
             {"type":"x","big":9007199254740993,"capabilities":{"portMappings":true,"mac":false}}]}
            """#
        let list = try NetworkList.decode(JSON.parse(text).value, defaultName: nil)
        #expect(list.version == .v1_0_0)
        #expect(list.disableCheck)
        let config = try list.config(
            at: 0, previous: nil,
            runtimeConfig: ["portMappings": [["HostPort": 1, "HostIP": ""]], "mac": "m"],
            cniArgs: ["k": "v"])
        #expect(config["runtimeConfig"] == ["portMappings": [["hostPort": 1, "hostIP": ""]]])
        #expect(config["args"] == ["cni": ["k": "v"]])
        #expect(config["big"] == 9_007_199_254_740_993)
        #expect(config["name"] == "l")
        #expect(try NetworkList.decode(list.json, defaultName: nil) == list)
    }

    @Test(arguments: [
        (#"{"name":"a"}"#, "'type' or 'plugins'"), (#"{"name":"a","plugins":[]}"#, "no plugins in list"),
        (#"{"name":"a","plugins":[null]}"#, "plugins[0]"),
        (#"{"name":"a","plugins":[{}]}"#, "plugins[0].type"),
        (#"{"name":"a","type":"../x"}"#, "invalid plugin name"), (#"{"type":"x"}"#, "missing network name"),
        ("null", "an object"),
    ])
    func malformedListsNameThePlace(text: String, problem: String) throws {
        let json = try JSON.parse(text).value
        let error = #expect(throws: Failure.self) { try NetworkList.decode(json, defaultName: nil) }
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
    }
}

@Suite struct Results {
    static func result() throws -> CNIResult {
        var result = CNIResult()
        result.interfaces = [.init(name: "br0", mac: "m"), .init(name: "eth0", mtu: 1400, sandbox: "/n")]
        result.ips = [
            .init(
                address: try #require(CIDR(parsing: "10.0.0.2/24")), gateway: IPAddress(parsing: "10.0.0.1"),
                interface: 1),
            .init(address: try #require(CIDR(parsing: "fd00::2/64")), interface: 1),
        ]
        result.routes = [
            Route(.everywhere(.v4), via: IPAddress(parsing: "10.0.0.1")), Route(.everywhere(.v6), mtu: 1400),
        ]
        return result
    }

    @Test(arguments: [
        (
            Version.v1_1_0,
            #"{"cniVersion":"1.1.0","interfaces":[{"mac":"m","name":"br0"},{"mtu":1400,"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":1},{"address":"fd00::2/64","interface":1}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"},{"dst":"::/0","mtu":1400}]}"#
        ),
        (
            .v0_4_0,
            #"{"cniVersion":"0.4.0","interfaces":[{"mac":"m","name":"br0"},{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":1,"version":"4"},{"address":"fd00::2/64","interface":1,"version":"6"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"},{"dst":"::/0","mtu":1400}],"dns":{}}"#
        ),
        (
            .v0_2_0,
            #"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},"ip6":{"ip":"fd00::2/64","routes":[{"dst":"::/0"}]},"dns":{}}"#
        ),
    ])
    func versionsHaveTheirShape(version: Version, text: String) throws {
        #expect(try Self.result().json(version).print() == text)
    }

    @Test(arguments: [Version.v0_3_1, .v0_4_0, .v1_0_0, .v1_1_0])
    func whatIsWrittenIsReadBack(version: Version) throws {
        var expected = try Self.result()
        if version < .v1_0_0 { expected.interfaces[1].mtu = nil }
        #expect(try CNIResult.parse(expected.json(version), assuming: .v0_1_0) == expected)
    }

    @Test func oldVersionsNeedAnAddress() throws {
        #expect(throws: Failure.self) { try CNIResult().json(.v0_1_0) }
        #expect((try? CNIResult.parse(.null, assuming: .v1_0_0)) == CNIResult())
        // An empty domain says nothing, so 1.x leaves `dns` out.
        let empty = try JSON.parse([UInt8](#"{"dns":{"domain":"","nameservers":[]}}"#.utf8)).value
        #expect(try CNIResult.parse(empty, assuming: .v1_0_0) == CNIResult())
    }
}
