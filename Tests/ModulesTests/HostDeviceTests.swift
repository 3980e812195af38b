import CNI
import Modules
import Networking
import Plans
import Testing

@Suite struct HostDeviceTests {
    static let keys = #""device":"eth9""#
    static let record = "/run/plexus/host-device/c1_eth0.json"

    /// The device `eth9` of the host, up, found by what was asked for.
    static func facts(_ devices: DeviceFacts...) throws -> Facts {
        var facts = Facts([
            .host("eth9"): LinkFacts(kind: "", mac: try Pod.mac("02:00:00:00:00:99"), isUp: true)
        ])
        facts.devices = devices.isEmpty ? [DeviceFacts(link: .host("eth9"))] : devices
        return facts
    }

    @Test(
        "HD-03: which device is asked for, and what cannot be one",
        arguments: [
            (#""device":"eth9""#, .name("eth9")), (#""hwaddr":"02:00:00:00:00:AB""#, .mac(mac)),
            (#""kernelpath":"/sys/devices/x""#, .path("/sys/devices/x")),
            (#""pciBusID":"0000:00:04.0""#, .pci("0000:00:04.0")),
            (#""pciBusID":"0000:00:04.0","runtimeConfig":{"deviceID":"0000:00:05.0"}"#, .id("0000:00:05.0")),
            (#""device":"eth9","hwaddr":"02:00:00:00:00:ab""#, .name("eth9")),
        ] as [(String, DeviceQuery)])
    func asked(keys: String, query: DeviceQuery) throws {
        let needs = try HostDevice.needs(HostDevice.config(keys), Pod.attachment(), .add)
        #expect(needs.devices.first == query)
        #expect(needs.links == [.sandbox("eth0")])
    }
    private static let mac = MAC(parsing: "02:00:00:00:00:ab") ?? .zero

    @Test(arguments: [
        ("", "specify either"), (#""device":"a/b""#, "invalid device name"),
        (#""hwaddr":"x""#, "failed to parse MAC address"),
        (#""kernelpath":"/proc/x""#, "must start with /sys/devices/"),
        (#""kernelpath":"/sys/devices/../x""#, "must start with /sys/devices/"),
        (#""pciBusID":"../x""#, "is no name of a device"),
        (#""runtimeConfig":{"deviceID":"a/b"}"#, "is no name of a device"), (#""device":5"#, "(key device)"),
    ])
    func badKeys(keys: String, problem: String) {
        #expect(refusal { _ = try HostDevice.config(keys) }.contains(problem))
    }

    @Test("HD-01, HD-02: what is known of the device is written down before it goes, under its name as alias")
    func taken() throws {
        let made = commands(try HostDevice.made(Self.keys, Pod.attachment(), Self.facts()))
        #expect(made.count == 3)
        #expect(made[0] == "mkdir -p /run/plexus/host-device")
        #expect(made[1].hasSuffix(">\(Self.record)") && made[1].contains(#""device":"eth9""#))
        #expect(made[2] == "ip link set dev eth9 netns POD name eth0 alias eth9")
        let plan = try HostDevice.configure(HostDevice.config(Self.keys), Pod.attachment(), Self.facts())
        #expect(commands(plan.steps) == ["ip -n POD link set dev eth0 up"])
        #expect(plan.result.interfaces == [.init(name: "eth0", mac: "02:00:00:00:00:99", sandbox: "/n")])
    }

    @Test("HD-08: addresses are the interface's")
    func addressed() throws {
        let keys = #"\#(Self.keys),"ipam":{"type":"x"}"#
        let pod = try Pod.attachment("10.1.2.3/24")
        let plan = try HostDevice.configure(HostDevice.config(keys), pod, Self.facts())
        #expect(
            plan.steps == [.addAddress(try Pod.cidr("10.1.2.3/24"), .eth0), .change(.eth0, .up(true))])
        #expect(plan.result.ips.map(\.interface) == [0])
        // An IPAM plugin that is asked once the device is there may talk over it.
        #expect(try HostDevice.made(keys, Pod.attachment(), Self.facts()).last == .change(.eth0, .up(true)))
        #expect(try HostDevice.made(keys, pod, Self.facts()).map(\.kind.name) == ["writeFile", "takeDevice"])
    }

    @Test("HD-13: a device that a user-space driver has has no link; what IPAM gave is in the result alone")
    func userspace() throws {
        let keys = #""pciBusID":"0000:00:04.0","ipam":{"type":"x"}"#
        let device = DeviceFacts(bus: .pci, driver: "vfio-pci")
        let facts = try Self.facts(device, device)
        let pod = try Pod.attachment("10.1.2.3/24")
        #expect(try HostDevice.planned(keys, pod, facts).isEmpty)
        let result = try HostDevice.result(keys, pod, facts)
        #expect(result.ips.count == 1)
        #expect(result.interfaces == [.init(name: "eth0", sandbox: "/n")])
        #expect(!HostDevice.hasLink(try HostDevice.config(keys), facts))
        #expect(HostDevice.checked(keys, pod, result, facts) == "none")
    }

    @Test("HD-06: what is missing or in the way is named")
    func refused() throws {
        let pod = try Pod.attachment()
        var taken = try Self.facts()
        taken.links[.sandbox("eth0")] = LinkFacts(kind: "veth")
        let none = try Self.facts(DeviceFacts())
        let bus = #""pciBusID":"0000:00:04.0""#
        for (keys, facts, problem) in [
            (Self.keys, try Self.facts(), "none"), (Self.keys, taken, "eth0 already exists in /n"),
            (Self.keys, none, "failed to find host device \"eth9\""),
            (#""hwaddr":"02:00:00:00:00:ab""#, none, "physical interface with MAC 02:00:00:00:00:ab"),
            (#""kernelpath":"/sys/devices/x""#, none, "network device in path /sys/devices/x"),
            (bus, try Self.facts(DeviceFacts(bus: .pci)), "PCI device 0000:00:04.0 has no driver"),
            (
                #""runtimeConfig":{"deviceID":"d"}"#, try Self.facts(DeviceFacts(), DeviceFacts()),
                "device d not found or unsupported"
            ),
        ] { #expect(HostDevice.refused(keys, pod, facts).contains(problem), "\(keys)") }
    }

    @Test("HD-04, HD-05, HD-10: the record tells what DEL does, wherever the device is by now")
    func removal() throws {
        let pod = try Pod.attachment()
        let device = Device(name: "eth9", interface: "eth0", wasUp: true)
        let link = LinkFacts(kind: "")
        let forgotten = "rm \(Self.record)"
        for (taken, expected) in [
            (
                .found(device, .sandbox("eth0"), link),
                [
                    "ip -n POD link set dev eth0 netns HOST name eth9 alias ''", "ip link set dev eth9 up",
                    forgotten,
                ]
            ),
            // HD-11
            (
                .found(device, .sandbox("renamed"), link),
                [
                    "ip -n POD link set dev renamed netns HOST name eth9 alias ''", "ip link set dev eth9 up",
                    forgotten,
                ]
            ),
            (.found(device, .host("dev0"), link), ["ip link set dev dev0 name eth9 alias ''", forgotten]),
            (.gone(device), [forgotten]), (.away(device), []), (nil, []),
        ] as [(TakenDevice?, [String])] {
            var facts = Facts()
            facts.taken = taken
            let removal = try HostDevice.removed(Self.keys, pod, facts)
            #expect(commands(removal.steps) == expected)
            #expect(removal.links.isEmpty, "a device is no link that is deleted")
            // By the note alone the same is done.
            #expect(HostDevice.removal(noteOf: pod, facts) == removal)
            let problem = removal.problem?.message ?? "none"
            if case .away = taken { #expect(problem.contains("neither in the pod nor back")) }
            #expect((removal.problem == nil) == (taken != .away(device)))
        }
    }

    @Test("what the pod changed of the device is put back before it goes home")
    func settings() throws {
        let pod = try Pod.attachment()
        let mac = try Pod.mac("02:00:00:00:00:99")
        let device = Device(name: "eth9", interface: "eth0", LinkFacts(kind: "", mac: mac))
        var facts = Facts()
        for (link, restores) in [
            (LinkFacts(kind: "", mac: mac), []),
            (
                LinkFacts(kind: "", mac: .zero, mtu: 1400, isPromiscuous: true),
                [.change(.eth0, .mac(mac)), .change(.eth0, .mtu(1500)), .change(.eth0, .promiscuous(false))]
            ),
        ] as [(LinkFacts, [Step])] {
            facts.taken = .found(device, .sandbox("eth0"), link)
            #expect(try HostDevice.removed(Self.keys, pod, facts).restores == restores)
        }
    }

    @Test("HD-10, HD-11: without a record the alias tells, of a link that no pod can make")
    func guess() throws {
        let pod = try Pod.attachment()
        func removed(
            _ name: LinkName, kind: String = "", alias: String, isHome: Bool = true
        ) throws -> [String] {
            var link = LinkFacts(kind: kind)
            link.alias = alias
            var facts = Facts([name: link])
            facts.everyLink = [name]
            if isHome { facts.devices = [DeviceFacts(link: .host("eth9"))] }
            return commands(try HostDevice.removed(Self.keys, pod, facts).steps)
        }
        let home = ["ip -n POD link set dev eth0 netns HOST name eth9 alias ''"]
        #expect(try removed(.sandbox("eth0"), alias: "eth9") == home)
        #expect(try removed(.sandbox("eth1"), alias: "eth9").isEmpty, "another interface of the pod")
        #expect(
            try removed(.sandbox("eth0"), kind: "dummy", alias: "eth9").isEmpty, "a link of the pod's own")
        #expect(try removed(.sandbox("eth0"), alias: "").isEmpty, "no alias")
        #expect(try removed(.sandbox("eth0"), alias: "a/b").isEmpty, "no name of a link")
        #expect(try removed(.sandbox("eth1"), alias: "", isHome: false) != [], "the host lacks its device")
        #expect(try removed(.sandbox("eth0"), kind: "veth", alias: "", isHome: false).isEmpty)
        #expect(try removed(.host("dev3"), alias: "eth9") == ["ip link set dev dev3 name eth9 alias ''"])
        #expect(try removed(.host("dev3"), alias: "eth8").isEmpty, "another device")
    }

    @Test("without a record and an alias: what the configuration asks for, or the pod's only device")
    func guessedByIdentity() throws {
        let pod = try Pod.attachment()
        var card = LinkFacts(index: 9, kind: "")
        card.bus = "pci/0000:00:04.0"
        card.permanentAddress = "0200000000ab"
        func removed(_ keys: String, _ links: KeyValuePairs<LinkName, LinkFacts>) throws -> String {
            var facts = Facts()
            for (name, link) in links {
                facts.links[name] = link
                facts.everyLink.append(name)
            }
            return commands(try HostDevice.removed(keys, pod, facts).steps).first ?? "none"
        }
        let plain = LinkFacts(kind: "")
        for (keys, home) in [
            (#""pciBusID":"0000:00:04.0""#, "b netns HOST name dev9"),
            (#""hwaddr":"02:00:00:00:00:ab""#, "b netns HOST name dev9"), (Self.keys, "none"),
        ] {
            let found = try removed(keys, [.sandbox("a"): plain, .sandbox("b"): card])
            #expect(found.contains(home), "\(keys): \(found)")
        }
        #expect(try removed(Self.keys, [.sandbox("b"): card]).contains("b netns HOST name eth9"))
        #expect(
            try removed(Self.keys, [.sandbox("b"): card, .sandbox("eth0"): plain])
                .contains("eth0 netns HOST name eth9"))
    }

    @Test("CHECK finds a device that is gone, or has another MAC address")
    func check() throws {
        let previous = Pod.result("eth0 02:00:00:00:00:99")
        let pod = try Pod.attachment(previous: previous)
        var facts = Facts()
        #expect(HostDevice.checked(Self.keys, pod, previous, facts).contains("\"eth0\" not found"))
        facts.links[.sandbox("eth0")] = LinkFacts(kind: "", mac: try Pod.mac("02:00:00:00:00:99"))
        #expect(HostDevice.checked(Self.keys, pod, previous, facts) == "none")
        facts.links[.sandbox("eth0")] = LinkFacts(kind: "", mac: .zero)
        #expect(HostDevice.checked(Self.keys, pod, previous, facts).contains("MAC doesn't match"))
    }
}
