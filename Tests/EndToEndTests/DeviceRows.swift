import Foundation
import Support
import Testing

/// The rows of host-device. One end of a veth pair stands for a NIC; a real one is in the VM's own test.
@Suite struct DeviceRows {
    private let node: Node
    private let v4 = Node.ipam("10.1.2.0/24")
    private let device = #""device":"ens4""#

    init() throws {
        node = try Node()
        _ = try node.pod("a")
        try node.sh(
            """
            ip link add ens4 address 02:00:00:00:00:e4 type veth peer name far
            ip link set ens4 up && ip link set far up && ip addr add 192.0.2.9/24 dev ens4
            """)
    }

    private func add(_ keys: String, interface: String = "eth0") throws -> Answer {
        let answer = try call("ADD", keys, interface: interface)
        #expect(answer.status == 0, "\(answer.ran)")
        return answer
    }

    /// Containers of the tests differ, as on a node: what is kept of them is in one folder.
    private func call(
        _ verb: String, _ keys: String, previous: Answer? = nil, pod: String? = "a",
        interface: String = "eth0"
    ) throws -> Answer {
        try node.plugin(
            verb, "host-device", keys, previous: previous, id: node.name, pod: pod, interface: interface)
    }

    private func isUp(_ link: Tree) -> Bool { link["flags"].list.contains { $0.string == "UP" } }

    @Test("HD-01, HD-02, HD-04, HD-13: in and back under its name, up as it was, the alias cleared")
    func inAndOut() throws {
        let keys = #""device":"ens4","dns":{"nameservers":["192.0.2.1"]},"dpdkmode":true"#
        let answer = try add(keys)
        #expect(answer.json["interfaces"][0]["mac"].string == "02:00:00:00:00:e4")
        #expect(!answer.json["dns"].exists)
        #expect(try node.links() == ["far"])
        let inside = try node.ip("link show eth0", pod: "a")[0]
        #expect(inside["ifalias"].string == "ens4" && isUp(inside))
        #expect(inside["address"].string == "02:00:00:00:00:e4")
        #expect(try call("CHECK", keys, previous: answer).status == 0)
        #expect(try call("DEL", keys).status == 0)
        #expect(try node.links() == ["ens4", "far"])
        let back = try node.ip("link show ens4")[0]
        #expect(!back["ifalias"].exists && isUp(back))
        #expect(back["address"].string == "02:00:00:00:00:e4")
        #expect(try Shell.run(["test", "-e", "/run/plexus/host-device/\(node.name)_eth0.json"]).status == 1)
        #expect(try call("DEL", keys).status == 0)
    }

    @Test("a DEL that was killed once the device was home: the next one brings it up and clears the alias")
    func homeButNotDone() throws {
        _ = try add(device)
        try node.sh("ip link set eth0 down && ip link set eth0 netns \(node.name)", pod: "a")
        try node.sh("ip link set eth0 name ens4 && ip link set ens4 alias ens4")
        #expect(try call("DEL", device).status == 0)
        let back = try node.ip("link show ens4")[0]
        #expect(!back["ifalias"].exists && isUp(back))
    }

    @Test("DEL of an interface that never got the device leaves it with the one that has it")
    func onlyOwnDevice() throws {
        _ = try add(device, interface: "net1")
        #expect(try call("ADD", device, interface: "net2").message.contains("failed to find host device"))
        #expect(try call("DEL", device, interface: "net2").status == 0)
        #expect(try node.links(pod: "a") == ["net1"])
        #expect(try call("DEL", device, interface: "net1").status == 0)
        #expect(try node.links() == ["ens4", "far"])
    }

    @Test("an alias is no name: ADD does not take another link for the device")
    func aliasIsNoName() throws {
        try node.sh("ip link set ens4 down && ip link set ens4 name foo && ip link set foo alias ens4")
        #expect(try call("ADD", device).message.contains("failed to find host device"))
        #expect(try node.links() == ["foo", "far"])
    }

    @Test(
        "HD-11: renamed inside the pod, found again however it was chosen, also behind a link of its name",
        arguments: [#""device":"ens4""#, #""hwaddr":"02:00:00:00:00:e4""#])
    func renamedInside(keys: String) throws {
        let answer = try add(keys)
        try node.sh(
            "ip link set eth0 down; ip link set eth0 name foo; ip link add eth0 type bridge", pod: "a")
        #expect(try call("DEL", keys, previous: answer).status == 0)
        #expect(try node.links() == ["ens4", "far"])
        #expect(try node.links(pod: "a") == ["eth0"])
        #expect(isUp(try node.ip("link show ens4")[0]))
    }

    @Test(
        "a PCI address beside the device is looked at, and must be of one",
        arguments: [
            #""pciBusID":"0000:99:00.0""#, #""runtimeConfig":{"deviceID":"0000:99:00.0"}"#,
        ])
    func addressBesideName(keys: String) throws {
        let answer = try call("ADD", "\(device),\(keys)")
        let wanted = keys.contains("deviceID") ? "not found or unsupported" : "error with host device"
        #expect(answer.message.contains(wanted), "\(answer.ran)")
        #expect(try node.links() == ["ens4", "far"])
    }

    @Test("AR-02: CNI_ARGS are not looked at")
    func ignoresArguments() throws {
        let answer = try node.plugin("ADD", "host-device", device, id: node.name, args: "garbage;")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try node.plugin("DEL", "host-device", device, id: node.name, args: "garbage;").status == 0)
    }

    @Test("HD-04: a device that was down comes back down")
    func staysDown() throws {
        try node.sh("ip link set ens4 down")
        _ = try add(device)
        #expect(try call("DEL", device).status == 0)
        #expect(try !isUp(node.ip("link show ens4")[0]))
    }

    @Test("HD-03: by MAC address in any case, and what makes no sense")
    func selection() throws {
        for (keys, fragment) in [
            ("", "specify either"), (#""kernelpath":"/sys/class/net/x""#, "must start with /sys/devices/"),
            (#""kernelpath":"/sys/devices/../x""#, "must start with"),
            (#""kernelpath":"/sys/devices/none""#, "network device in path"),
            (#""hwaddr":"x""#, "failed to parse MAC address"),
            (#""hwaddr":"02:00:00:00:00:01""#, "failed to find physical interface"),
            (#""device":"none""#, "failed to find host device"), (#""device":"a/b""#, "invalid device name"),
            (#""runtimeConfig":{"deviceID":"0000:99:00.0"}"#, "not found or unsupported"),
            (#""pciBusID":"../x""#, "no name of a device"),
        ] {
            let answer = try call("ADD", keys)
            #expect(answer.status == 1 && answer.message.contains(fragment), "\(keys): \(answer.ran.output)")
        }
        let keys = #""hwaddr":"02-00-00-00-00-E4""#
        _ = try add(keys)
        #expect(try node.links(pod: "a") == ["eth0"])
        #expect(try call("DEL", keys).status == 0)
        #expect(try node.links() == ["ens4", "far"])
    }

    @Test("HD-05: a name that the host has meanwhile keeps the device in the pod, up, until it is free")
    func conflictAtHome() throws {
        _ = try add(device)
        try node.sh("ip link add ens4 type veth peer name other")
        let answer = try call("DEL", device)
        #expect(answer.message.contains("another link of that name"))
        #expect(try isUp(node.ip("link show eth0", pod: "a")[0]))
        try node.sh("ip link del ens4")
        #expect(try call("DEL", device).status == 0)
        #expect(try isUp(node.ip("link show ens4")[0]))
    }

    @Test("HD-06, HD-07: names that the pod has")
    func conflictInThePod() throws {
        try node.sh("ip link add eth0 type veth peer name ens4", pod: "a")
        let refused = try call("ADD", device)
        #expect(refused.message.contains("already exists"))
        #expect(try isUp(node.ip("link show ens4")[0]))
        // Another link of the pod's has the name that the device has in the host.
        _ = try add(device, interface: "net1")
        #expect(try node.links(pod: "a") == ["eth0", "ens4", "net1"])
        #expect(try call("DEL", device, interface: "net1").status == 0)
        #expect(try node.links(pod: "a") == ["eth0", "ens4"])
        #expect(try node.links() == ["ens4", "far"])
    }

    @Test("HD-08, HD-09, HD-12: addresses, and the device back home when something fails")
    func addresses() throws {
        let keys = "\(device),\(Node.ipam("10.1.2.0/24", "fd00:1::/64"))"
        let answer = try add(keys)
        #expect(answer.json["ips"].list.map { $0["interface"].int } == [0, 0])
        #expect(try node.addresses("eth0", pod: "a") == ["10.1.2.2/24", "fd00:1::2/64"])
        #expect(try call("CHECK", keys, previous: answer).status == 0)
        #expect(try call("DEL", keys).status == 0)
        #expect(try node.leases().isEmpty)
        for bad in [
            #""ipam":{"type":"static"}"#,
            Node.ipam("10.1.2.0/24", extra: #","routes":[{"dst":"10.8.0.0/16","gw":"192.0.2.1"}]"#),
        ] {
            #expect(try call("ADD", "\(device),\(bad)").status == 1)
            #expect(try isUp(node.ip("link show ens4")[0]))
            #expect(try !node.ip("link show ens4")[0]["ifalias"].exists)
            #expect(try node.leases().isEmpty && node.links(pod: "a").isEmpty)
        }
    }

    @Test(
        "HD-10, HD-11: DEL without the namespace, a second one, and of a device that was renamed in the pod")
    func deletes() throws {
        let keys = "\(device),\(v4)"
        _ = try add(keys)
        try node.sh("ip link set eth0 down && ip link set eth0 name renamed0", pod: "a")
        #expect(try call("DEL", keys).status == 0)
        #expect(try node.links() == ["ens4", "far"])
        #expect(try call("DEL", keys, pod: nil).status == 0)
        #expect(try node.leases().isEmpty)
        // As the kernel leaves a NIC whose namespace died.
        try node.sh("ip link set ens4 down && ip link set ens4 name eth0 alias ens4")
        #expect(try call("DEL", keys, pod: nil).status == 0)
        #expect(try node.links() == ["ens4", "far"])
        // Somebody's own alias is left alone.
        try node.sh("ip link set ens4 alias uplink-a")
        #expect(try call("DEL", keys, pod: nil).status == 0)
        #expect(try node.ip("link show ens4")[0]["ifalias"].string == "uplink-a")
    }

    @Test("SW: a device that Debian's host-device took goes home with ours, and the other way round")
    func switchOver() throws {
        let config = "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"host-device\",\(device)}"
        func debian(_ verb: String) throws {
            let environment = [
                "CNI_COMMAND": verb, "CNI_CONTAINERID": node.name, "CNI_NETNS": "/run/netns/\(node.name)-a",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": "/usr/lib/cni",
            ]
            let ran = try Shell.run(
                ["ip", "netns", "exec", node.name, "/usr/lib/cni/host-device"], input: config,
                environment: environment)
            #expect(ran.status == 0, "\(ran)")
        }
        try debian("ADD")
        #expect(try call("DEL", device).status == 0)
        #expect(try node.links() == ["ens4", "far"])
        _ = try add(device)
        try debian("DEL")
        #expect(try node.links() == ["ens4", "far"])
        try Shell.sh("rm -f /run/plexus/host-device/\(node.name)_eth0.json")
    }
}

/// A real network card on the PCI bus, which comes home by itself when its pod's namespace dies.
@Suite(.serialized, .enabled(if: Feature.pciCard != nil, "only the VM has a network card to spare"))
struct PCICard {
    private let card = Feature.pciCard ?? (name: "", address: "")
    private let directory = "/tmp/plexus-card-\(UUID().uuidString.prefix(8))"

    /// Outside of every throwaway namespace: there the kernel sends the card home to.
    private func call(_ verb: String, _ keys: String) throws -> Answer {
        try Shell.sh("mkdir -p \(directory) && ln -sf \(Node.executable) \(directory)/host-device")
        let environment = [
            "CNI_COMMAND": verb, "CNI_CONTAINERID": "card", "CNI_IFNAME": "net1",
            "CNI_NETNS": "/run/netns/plxcard",
            "CNI_PATH": "/x",
        ]
        let config = "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"type\":\"host-device\",\(keys)}"
        return Answer(
            ran: try Shell.run(["\(directory)/host-device"], input: config, environment: environment))
    }

    private func link(_ name: String) throws -> Tree {
        try Tree(parsing: try Shell.sh("ip -j -d link show \(name)"))[0]
    }

    private func isUp() throws -> Bool { try link(card.name)["flags"].list.contains { $0.string == "UP" } }

    @Test(
        "HD-03: by PCI address, as a device plugin's ID, by kernel path",
        arguments: ["pciBusID", "deviceID", "kernelpath", "device"])
    func selected(key: String) throws {
        let path = try Shell.sh("realpath /sys/class/net/\(card.name)/device").trimmingCharacters(
            in: .newlines)
        let keys =
            [
                "pciBusID": "\"pciBusID\":\"\(card.address)\"",
                "deviceID": "\"runtimeConfig\":{\"deviceID\":\"\(card.address)\"}",
                "kernelpath": "\"kernelpath\":\"\(path)\"", "device": "\"device\":\"\(card.name)\"",
            ][key] ?? ""
        try Shell.sh("ip netns add plxcard; ip link set \(card.name) up")
        defer { _ = try? Shell.sh("ip netns del plxcard; rm -rf \(directory)") }
        let mac = try link(card.name)["address"].string
        let answer = try call("ADD", keys)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["interfaces"][0]["mac"].string == mac)
        #expect(try Shell.sh("ip -n plxcard -o link show net1").contains("alias \(card.name)"))
        #expect(try call("DEL", keys).status == 0)
        #expect(try isUp())
    }

    @Test(
        "HD-10: the namespace died first; the card is found in the host and gets its name and state back",
        arguments: [true, false])
    func namespaceDied(wasUp: Bool) throws {
        let keys = "\"device\":\"\(card.name)\""
        try Shell.sh("ip netns add plxcard; ip link set \(card.name) \(wasUp ? "up" : "down")")
        defer { _ = try? Shell.sh("rm -rf \(directory)") }
        let answer = try call("ADD", keys)
        #expect(answer.status == 0, "\(answer.ran)")
        // The kernel tears a namespace down behind our back.
        try Shell.sh(
            "ip netns del plxcard; for i in $(seq 100); do ip link show net1 >/dev/null 2>&1 && break; sleep 0.1; done"
        )
        #expect(try link("net1")["ifalias"].string == card.name)
        for _ in 1...2 { #expect(try call("DEL", keys).status == 0) }
        #expect(try isUp() == wasUp)
        #expect(try !link(card.name)["ifalias"].exists)
    }

    @Test(
        "without note and result a card whose alias the pod cleared comes home",
        arguments: ["", "; ip -n plxcard link set net1 name other"])
    func unnoted(trick: String) throws {
        let keys = "\"device\":\"\(card.name)\""
        try Shell.sh("ip netns add plxcard")
        defer { _ = try? Shell.sh("ip netns del plxcard; rm -rf \(directory)") }
        #expect(try call("ADD", keys).status == 0)
        try Shell.sh(
            """
            rm /run/plexus/host-device/card_net1.json
            ip -n plxcard link set net1 down; ip -n plxcard link set net1 alias ''\(trick)
            """)
        let answer = try call("DEL", keys)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try !link(card.name)["ifalias"].exists)
        try Shell.sh("ip link set \(card.name) up")
    }

    @Test("a card that a user-space driver has is reported, not moved")
    func userspace() throws {
        try Shell.sh("modprobe uio_pci_generic && ip netns add plxcard")
        let device = "/sys/bus/pci/devices/\(card.address)"
        let driver = try Shell.sh("basename $(readlink \(device)/driver)").trimmingCharacters(in: .newlines)
        try Shell.sh(
            """
            echo uio_pci_generic >\(device)/driver_override; echo \(card.address) >\(device)/driver/unbind
            echo \(card.address) >/sys/bus/pci/drivers_probe
            """)
        defer {
            _ = try? Shell.sh(
                """
                echo \(card.address) >\(device)/driver/unbind; echo \(driver) >\(device)/driver_override
                echo \(card.address) >/sys/bus/pci/drivers_probe; ip netns del plxcard; rm -rf \(directory)
                """)
        }
        let keys =
            "\"pciBusID\":\"\(card.address)\",\"ipam\":{\"type\":\"static\",\"addresses\":[{\"address\":\"10.1.2.3/24\"}]}"
        let answer = try call("ADD", keys)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.json["ips"][0]["address"].string == "10.1.2.3/24")
        #expect(
            answer.json["interfaces"][0]["name"].string == "net1"
                && !answer.json["interfaces"][0]["mac"].exists)
        #expect(try call("DEL", keys).status == 0)
    }
}
