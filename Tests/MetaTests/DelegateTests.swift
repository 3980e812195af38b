import CNI
import Definitions
import Foundation
import JSONC
import Networking
import Plans
import Testing

@testable import Meta

/// Which networks a pod gets, under which names and with which arguments: from configuration, annotation and a folder
/// of definitions, before anything is attached.
@Suite final class DelegateTests {
    private let cache = "/tmp/plexus-unit-\(UUID().uuidString)"

    init() throws {
        for (namespace, name, config) in [
            ("default", "net-a", #"{"cniVersion":"1.0.0","type":"bridge"}"#),
            (
                "default", "ips",
                #"{"cniVersion":"1.0.0","plugins":[{"type":"macvlan","capabilities":{"ips":true}}]}"#
            ),
            ("other", "net-b", #"{"cniVersion":"1.0.0","name":"b","type":"bridge"}"#),
            ("default", "self", #"{"cniVersion":"1.0.0","type":"plexus"}"#),
            ("default", "typeless", #"{"cniVersion":"1.0.0"}"#), ("default", "torn", "{"),
            ("default", "renamed", #"{"cniVersion":"1.0.0","type":"bridge"}"#),
        ] {
            let folder = "\(cache)/net-attach-def/\(namespace)"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let manifest: JSON = [
                "kind": "NetworkAttachmentDefinition",
                "metadata": [
                    "name": .string(name == "renamed" ? "another" : name), "namespace": .string(namespace),
                ], "spec": ["config": .string(config)],
            ]
            try Data(manifest.bytes()).write(to: URL(fileURLWithPath: "\(folder)/\(name).json"))
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: cache) }

    private static let first = #""delegates":[{"cniVersion":"1.0.0","name":"first","type":"bridge"}]"#

    private func build(
        _ keys: String = first, _ annotations: PodAnnotations = PodAnnotations(), args: String = "",
        namespace: String = "default"
    ) throws -> [Delegate] {
        let text =
            #"{"cniVersion":"1.0.0","name":"cluster","type":"plexus","cacheDir":"\#(cache)","logToStderr":false,\#(keys)}"#
        let environment = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/n", "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=\(namespace);K8S_POD_NAME=web-0\(args)",
        ]
        let invocation = try #require(try Invocation.read { environment[$0] })
        let config = try MetaConfig(PluginConfig.decode(Array(text.utf8)), role: "plexus")
        return try DelegateBuilder(config, invocation).build(annotations).delegates
    }

    private func names(_ delegates: [Delegate]) -> [String] {
        delegates.map { "\($0.spec.name) on \($0.spec.id.interface)" }
    }

    @Test(
        "the default network, those of every pod, then those of the annotation, which are net1, net2 ... by their place"
    )
    func order() throws {
        for (keys, networks, expected) in [
            (Self.first, nil, ["first on eth0"]),
            (Self.first, "net-a", ["first on eth0", "default/net-a on net1"]),
            (
                Self.first, "net-a@data0, other/net-b,net-a",
                ["first on eth0", "default/net-a on data0", "other/net-b on net2", "default/net-a on net3"]
            ),
            (
                #"\#(Self.first),"networks":"net-a""#, "other/net-b",
                ["first on eth0", "default/net-a on net1", "other/net-b on net2"]
            ),
            (
                #""clusterNetwork":"net-b","defaultNetworks":["net-b"],"multusNamespace":"other""#, "net-a",
                ["other/net-b on eth0", "other/net-b on net1", "default/net-a on net2"]
            ),
        ] as [(String, String?, [String])] {
            #expect(names(try build(keys, PodAnnotations(networks: networks))) == expected)
        }
    }

    @Test("a pod of a system namespace gets no default networks; one may have its default network overridden")
    func specialPods() throws {
        let keys = #""clusterNetwork":"net-b","defaultNetworks":["net-b"],"multusNamespace":"other""#
        #expect(names(try build(keys, namespace: "kube-system")) == ["other/net-b on eth0"])
        let overridden = PodAnnotations(defaultNetwork: "default/net-a@data0")
        #expect(names(try build(Self.first, overridden)) == ["default/net-a on eth0"])
    }

    @Test(
        "an address and a MAC address reach the plugin that they are asked of, and the runtime's own only the first"
    )
    func arguments() throws {
        let networks =
            #"[{"name":"net-a","ips":["10.0.0.5"],"mac":"02:00:00:00:00:05"},{"name":"ips","ips":["10.0.0.6","fd00::6"]}]"#
        let keys = #"\#(Self.first),"runtimeConfig":{"portMappings":[]}"#
        let delegates = try build(keys, PodAnnotations(networks: networks), args: ";IP=10.0.0.4;X=1")
        let pod = "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0"
        #expect(
            delegates.map(\.spec.args) == [
                "\(pod);IP=10.0.0.4;X=1", "\(pod);X=1;MAC=02:00:00:00:00:05;IP=10.0.0.5", "\(pod);X=1",
            ])
        #expect(delegates.map { $0.spec.runtimeConfig["portMappings"] != nil } == [true, false, false])
        #expect(delegates[1].spec.runtimeConfig["mac"] == "02:00:00:00:00:05")
        #expect(delegates[2].spec.runtimeConfig["ips"] == ["10.0.0.6", "fd00::6"])
        #expect(delegates.map { $0.spec.sandbox } == ["/n", "/n", "/n"])
    }

    @Test(
        "what a pod cannot have is refused, and says where it is asked for",
        arguments: [
            ("nothing", "cannot find a network-attachment-definition (nothing) in namespace (default)"),
            ("net-b", "in namespace (default)"), ("self", "delegates to plexus, which is this plugin itself"),
            ("typeless", "must have the 'type' or 'plugins' field"),
            ("torn", "failed to unmarshal Spec.Config"),
            ("renamed", "metadata.name is another, the file's path says renamed"),
            ("net-a@x,net-a@x", "interface name x is asked for twice, by default/net-a"),
            ("net-a@eth0", "interface name eth0 is asked for by both first and default/net-a"),
            ("net-a,net-a@net1", "interface name net1 is asked for twice"),
            (#"[{"name":"net-a","mac":"01:00:00:00:00:00"}]"#, "can be no interface's"),
        ])
    func refused(networks: String, problem: String) {
        let error = #expect(throws: Failure.self) {
            try build(Self.first, PodAnnotations(networks: networks))
        }
        #expect(error?.message.contains(problem) == true, "\(String(describing: error))")
        #expect(error?.code == Failure.Code.badConfig.rawValue)
    }

    @Test("with namespace isolation a pod names its own namespace's networks and the global ones")
    func isolation() throws {
        let keys = #"\#(Self.first),"namespaceIsolation":true"#
        #expect(try build(keys, PodAnnotations(networks: "net-a")).count == 2)
        let error = #expect(throws: Failure.self) {
            // Whether it exists is nobody's business.
            try build(keys, PodAnnotations(networks: "net-a,other/nothing"))
        }
        #expect(error?.message.contains("refers to target namespace other") == true)
        let global = #"\#(keys),"globalNamespaces":"default,other""#
        #expect(try build(global, PodAnnotations(networks: "other/net-b")).count == 2)
    }

    @Test("an error names network and interface, and whoever wrote what is refused")
    func blame() throws {
        let networks = #"[{"name":"net-a","ips":["10.0.0.5"]}]"#
        let delegates = try build(Self.first, PodAnnotations(networks: networks))
        for (index, key, message, details) in [
            (0, nil, "first on eth0: no", "configured in delegates[0] of the configuration cluster"),
            (1, "runtimeConfig.ips[0]", "default/net-a on net1: no", "networks[0].ips"),
            (1, "mtu", "default/net-a on net1: no", "net-attach-def/default/net-a.json"),
        ] as [(Int, String?, String, String)] {
            var failure = Failure(.badConfig, "no")
            failure.key = key
            let blamed = delegates[index].blamed(for: failure)
            #expect(blamed.message == message)
            #expect(blamed.details.contains(details), "\(blamed.details)")
        }
    }
}

/// Which routes go and come when networks ask for the pod's default route.
@Suite struct DefaultRouteTests {
    private static func delegate(_ interface: String, _ gateways: [String]?) throws -> Delegate {
        let list = try NetworkList.decode(
            ["cniVersion": "1.0.0", "name": "n", "type": "bridge"], defaultName: nil)
        let spec = AttachmentSpec(
            name: "n", id: AttachmentID(containerID: "c1", interface: interface), sandbox: "/n", args: "",
            list: list, searchPath: [])
        return Delegate(
            spec: spec,
            defaultRoute: try gateways?.map { text in try #require(IPAddress(parsing: text)) })
    }

    private static func route(_ interface: String, via gateway: String) throws -> SandboxRoute {
        let gateway = try #require(IPAddress(parsing: gateway))
        return SandboxRoute(Route(.everywhere(gateway.family), via: gateway), interface)
    }

    private static func added(_ interface: String, via gateway: String) throws -> Step {
        .addRoute(try route(interface, via: gateway).route, .sandbox(interface))
    }

    @Test func theWantedRouteIsAloneInItsFamily() throws {
        let (own, net1) = (try Self.route("eth0", via: "10.0.0.1"), try Self.route("net1", via: "10.1.0.1"))
        let own6 = try Self.route("eth0", via: "fd00::1")
        for (asked, routes, expected) in [
            (nil, [own], []),
            // A gateway.
            (
                ["10.1.0.9"], [own, own6], [.removeFound(own), try Self.added("net1", via: "10.1.0.9")]
            ),
            (
                ["10.1.0.9", "fd01::9"], [own, own6],
                [
                    .removeFound(own), .removeFound(own6), try Self.added("net1", via: "10.1.0.9"),
                    try Self.added("net1", via: "fd01::9"),
                ]
            ),
            (["10.1.0.9"], [], [try Self.added("net1", via: "10.1.0.9")]),
            // The network's own.
            ([], [own, net1, own6], [.removeFound(own)]), ([], [own, own6], []),
        ] as [([String]?, [SandboxRoute], [Step])] {
            let delegates = [try Self.delegate("eth0", nil), try Self.delegate("net1", asked)]
            #expect(try DefaultRoute.plan(delegates, routes) == expected)
        }
    }

    @Test func otherRoutesStay() throws {
        let other = SandboxRoute(Route(try #require(CIDR(parsing: "10.0.0.0/8"))), "eth0")
        #expect(
            try DefaultRoute.plan([Self.delegate("net1", ["10.1.0.9"])], [other])
                == [try Self.added("net1", via: "10.1.0.9")])
    }

    @Test func twoOfOneFamilyAreRefused() throws {
        for (first, second, isRefused) in [
            (["10.0.0.1"], ["10.1.0.1"], true), (["10.0.0.1"], ["fd00::1"], false),
            (["10.0.0.1", "10.0.0.2"], nil, true), (["10.0.0.1"], nil, false), ([], [], false),
        ] as [([String]?, [String]?, Bool)] {
            let delegates = [try Self.delegate("eth0", first), try Self.delegate("net1", second)]
            var message = ""
            do throws(Failure) { try DefaultRoute.validate(delegates) } catch { message = error.message }
            #expect(
                message.hasPrefix("default-route is asked for 2 times for IPv4") == isRefused, "\(message)")
        }
        // Each network's own: only now it is known that both have one.
        let delegates = [try Self.delegate("eth0", []), try Self.delegate("net1", [])]
        let routes = [try Self.route("eth0", via: "10.0.0.1"), try Self.route("net1", via: "10.1.0.1")]
        let error = #expect(throws: Failure.self) { try DefaultRoute.plan(delegates, routes) }
        #expect(error?.message.contains("that of the network on eth0 (n)") == true)
    }

    @Test func theResultsSayWhatMoved() throws {
        let own = try Self.route("eth0", via: "10.0.0.1")
        let steps: [Step] = [.removeFound(own), try Self.added("net1", via: "10.1.0.9")]
        var result = CNIResult()
        result.routes = [own.route, Route(try #require(CIDR(parsing: "10.0.0.0/8")))]
        #expect(DefaultRoute.adjust(result, of: "eth0", steps).routes == [result.routes[1]])
        #expect(
            DefaultRoute.adjust(CNIResult(), of: "net1", steps).routes
                == [try Self.route("net1", via: "10.1.0.9").route])
        #expect(DefaultRoute.adjust(result, of: "net2", steps) == result)
    }
}
