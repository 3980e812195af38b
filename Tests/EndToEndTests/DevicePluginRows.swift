import Support
import Testing

/// Devices that a device plugin gave the pod, by the kubelet's notes, and what is told of them. The plugin is a script: this
/// is about who gets which device.
@Suite struct DevicePluginRows {
    private let node: Node
    private let uid = "0d9c6f6e-4b7e-4c39-8a53-0b8ad2f5c001"
    /// Nobody else's, as device information is in a place that all tests share.
    private var resource: String { "example.com/\(node.name)" }
    private var args: String { StatusRows.args(uid) }
    private static let devinfo = "/var/run/k8s.cni.cncf.io/devinfo"

    init() throws {
        node = try Node()
        for type in ["sriov", "tool"] {
            try node.script(
                type,
                """
                echo "$CNI_COMMAND $CNI_IFNAME $(tr -d '\\n' < \(node.directory)/\(type).stdin)" >> \(node.directory)/calls
                case $CNI_COMMAND in ADD)
                    echo '{"cniVersion":"1.0.0","interfaces":[{"name":"'$CNI_IFNAME'","sandbox":"/x"}]}';; esac
                """)
        }
        _ = try node.pod("a")
    }

    /// As the kubelet writes it: other pods, NUMA nodes, and two containers.
    private func checkpoint(_ entries: (container: String, devices: String)...) throws {
        let own = entries.map { container, devices in
            """
            {"PodUID":"\(uid)","ContainerName":"\(container)","ResourceName":"\(resource)","DeviceIDs":\(devices),\
            "AllocResp":"CgQKAkFCEgA="}
            """
        }
        let other =
            #"{"PodUID":"9","ContainerName":"c","ResourceName":"\#(resource)","DeviceIDs":{"0":["0000:03:00.0"]}}"#
        try node.write(
            "kubelet/device-plugins/kubelet_internal_checkpoint",
            """
            {"Data":{"PodDeviceEntries":[\(([other] + own).joined(separator: ","))],\
            "RegisteredDevices":{"\(resource)":["0000:03:02.0"]}},"Checksum":1234567890}
            """)
    }

    private func define(_ name: String, _ config: String = #"{"cniVersion":"1.0.0","type":"sriov"}"#) throws {
        try node.write(
            "cache/net-attach-def/default/\(name).json",
            """
            {"kind":"NetworkAttachmentDefinition","metadata":{"name":"\(name)","namespace":"default",
             "annotations":{"k8s.v1.cni.cncf.io/resourceName":"\(resource)"}},
             "spec":{"config":"\(config.replacing("\"", with: "\\\""))"}}
            """)
    }

    private func call(_ verb: String, _ networks: String, args: String? = nil, extra: String = "") throws
        -> Answer
    {
        try node.call(
            verb, id: node.name, netns: "/run/netns/\(node.name)-a", args: args ?? self.args,
            MetaEndToEnd.config(
                node, networks: networks, extra: ",\"kubeletDir\":\"\(node.directory)/kubelet\"\(extra)"))
    }

    /// The interface of each ADD and what its plugin was told.
    private func told(_ verb: String = "ADD") throws -> [(interface: String, input: Tree)] {
        try Shell.sh("cat \(node.directory)/calls").split(separator: "\n").compactMap { line in
            let parts = line.split(separator: " ", maxSplits: 2).map(String.init)
            return parts[0] == verb ? (parts[1], try Tree(parsing: parts[2])) : nil
        }
    }

    @Test(
        "N07, N08, N09: two networks get two devices, by containers, sorted within each, in every plugin of the list"
    )
    func twoDevices() throws {
        try checkpoint(
            ("b", #"{"1":["0000:03:02.5","0000:03:02.1"],"0":["0000:03:02.3"]}"#),
            ("a", #"{"0":["0000:03:02.0"]}"#))
        try define("one")
        try define(
            "two",
            #"{"cniVersion":"1.0.0","plugins":[{"type":"sriov","capabilities":{"deviceID":true}},{"type":"tool","pciBusID":"x"}]}"#
        )
        let answer = try call("ADD", "one,two,one,two")
        #expect(answer.status == 0 && answer.ran.errors.isEmpty, "\(answer.ran)")
        let calls = try told()
        #expect(calls.map(\.interface) == ["net1", "net2", "net2", "net3", "net4", "net4"])
        let wanted = ["1", "3", "3", "5", "0", "0"].map { "0000:03:02.\($0)" }
        #expect(calls.map { $0.input["deviceID"].string } == wanted)
        #expect(calls.map { $0.input["pciBusID"].string } == wanted)
        #expect(calls[1].input["runtimeConfig"]["deviceID"].string == wanted[1])
        #expect(
            calls[0].input["runtimeConfig"]["deviceID"].string == nil, "it does not declare the capability")
        #expect(try call("DEL", "one,two,one,two").status == 0)
        #expect(
            try told("DEL").map { $0.input["deviceID"].string } == wanted.reversed(), "DEL has what ADD had")
    }

    @Test("N07: a kubelet before 1.20 wrote a list")
    func oldForm() throws {
        try checkpoint(("a", #"["0000:03:02.7"]"#))
        try define("one")
        #expect(try call("ADD", "one").status == 0)
        #expect(try told().map { $0.input["deviceID"].string } == ["0000:03:02.7"])
    }

    @Test("N10: what there is too few of is refused with the numbers, before anything is done")
    func exhausted() throws {
        try checkpoint(("a", #"{"0":["0000:03:02.1"]}"#))
        try define("one")
        let answer = try call("ADD", "one,one")
        #expect(answer.code == 7, "\(answer.ran)")
        #expect(
            answer.message.contains(
                "net2: there is no device of \(resource) left: the kubelet gave the pod 1"),
            "\(answer.ran)")
        #expect(try node.links().isEmpty && node.files("state").isEmpty)
    }

    @Test(
        "N10: why there is none is said",
        arguments: [
            ("none", "the kubelet gave the pod none"), ("file", "kubeletDir names the kubelet's --root-dir"),
            ("uid", "K8S_POD_UID"), ("torn", "kubelet_internal_checkpoint: "), ("open", "chmod go-w"),
        ])
    func missing(what: String, words: String) throws {
        try define("one")
        let file = "kubelet/device-plugins/kubelet_internal_checkpoint"
        switch what {
        case "none": try checkpoint()
        case "torn": try node.write(file, "{\"Data\":{\"PodDev")
        case "open":
            try checkpoint(("a", #"{"0":["0000:03:02.1"]}"#))
            try Shell.sh("chmod 666 \(node.directory)/\(file)")
        case "uid": try checkpoint(("a", #"{"0":["0000:03:02.1"]}"#))
        default: break
        }
        let answer = try call("ADD", "one", args: what == "uid" ? MetaEndToEnd.pod : nil)
        #expect(answer.code == 7, "\(answer.ran)")
        #expect(answer.message.contains("sriov needs a device of \(resource)"), "\(answer.ran)")
        #expect(answer.details.contains(words), "\(answer.ran)")
    }

    @Test("a resource that is a hint for the scheduler alone needs no device")
    func hint() throws {
        try define("one", #"{"cniVersion":"1.0.0","type":"tool"}"#)
        let answer = try call("ADD", "one")
        #expect(answer.status == 0 && answer.ran.errors.isEmpty, "\(answer.ran)")
        #expect(try told().map { $0.input["deviceID"].string } == [nil])
        #expect(try call("DEL", "").status == 0)
        // Notes that are there, and cannot be read, may say that the pod has one.
        try node.write("kubelet/device-plugins/kubelet_internal_checkpoint", "")
        let torn = try call("ADD", "one")
        #expect(torn.code == 7 && torn.message.contains("of \(resource) cannot be told"), "\(torn.ran)")
    }

    @Test(
        "a pod that runs gets a further network the devices that are its own, and that none of its networks has"
    )
    func attach() throws {
        try checkpoint(("a", #"{"0":["0000:03:02.1","0000:03:02.2"]}"#))
        try define("one")
        #expect(try call("ADD", "one").status == 0)
        try node.write(
            "conf.json",
            MetaEndToEnd.config(
                node, networks: "one", extra: ",\"kubeletDir\":\"\(node.directory)/kubelet\""))
        func attach(_ network: String) throws -> Ran {
            try Shell.run(
                [
                    "ip", "netns", "exec", node.name, "\(node.directory)/bin/plexus", "attach", "pod-a",
                    network,
                    "--config", "\(node.directory)/conf.json",
                ])
        }
        for (device, words) in [
            ("0000:03:02.9", "is not the pod's"), ("0000:03:02.1", "another network's of the pod"),
        ] {
            let ran = try attach(#"[{"name":"one","deviceID":"\#(device)"}]"#)
            #expect(ran.status == 1 && ran.errors.contains(words), "\(ran)")
        }
        let next = try attach("one")
        #expect(next.status == 0, "\(next)")
        #expect(try told().map { $0.input["deviceID"].string } == ["0000:03:02.1", "0000:03:02.2"])
        let none = try attach("one")
        #expect(none.status == 1 && none.errors.contains("there is no device of \(resource) left"), "\(none)")
    }

    @Test("N12: the pod chooses among its own devices alone")
    func chosen() throws {
        try checkpoint(("a", #"{"0":["0000:03:02.1","0000:03:02.2"]}"#))
        try define("one")
        let own = try call("ADD", #"[{"name":"one"},{"name":"one","deviceID":"0000:03:02.1"}]"#)
        #expect(own.status == 0, "\(own.ran)")
        #expect(try told().map { $0.input["deviceID"].string } == ["0000:03:02.2", "0000:03:02.1"])
        #expect(try call("DEL", "").status == 0)
        let foreign = try call("ADD", #"[{"name":"one","deviceID":"0000:03:00.0"}]"#)
        #expect(foreign.code == 7, "\(foreign.ran)")
        #expect(
            foreign.message.contains("device 0000:03:00.0 of \(resource) is not the pod's"), "\(foreign.ran)")
        #expect(foreign.details.contains("networks[0].deviceID"), "\(foreign.ran)")
        // Nor when it has none, and when nobody can tell.
        try checkpoint()
        let none = try call("ADD", #"[{"name":"one","deviceID":"0000:03:00.0"}]"#)
        #expect(none.code == 7 && none.details.contains("the kubelet gave the pod none"), "\(none.ran)")
        try node.write("kubelet/device-plugins/kubelet_internal_checkpoint", "{")
        let torn = try call("ADD", #"[{"name":"one","deviceID":"0000:03:02.1"}]"#)
        #expect(torn.code == 7 && torn.details.contains("kubelet_internal_checkpoint"), "\(torn.ran)")
        try checkpoint(("a", #"{"0":["0000:03:02.1","0000:03:02.2"]}"#))
        let twice = try call(
            "ADD", #"[{"name":"one","deviceID":"0000:03:02.1"},{"name":"one","deviceID":"0000:03:02.1"}]"#)
        #expect(twice.message.contains("is asked for twice"), "\(twice.ran)")
    }

    @Test("N11: the default network's device is not given to another one")
    func oneAllocator() throws {
        try checkpoint(("a", #"{"0":["0000:03:02.1","0000:03:02.2"]}"#))
        try define("one")
        let config = """
            {"cniVersion":"1.0.0","name":"node-network","type":"plexus","cniDir":"\(node.directory)/state",\
            "cacheDir":"\(node.directory)/cache","binDir":"\(node.directory)/plugins","multusNamespace":"default",\
            "kubeletDir":"\(node.directory)/kubelet","clusterNetwork":"one",\
            "runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"k8s.v1.cni.cncf.io/networks":"one"}}}
            """
        let answer = try node.call(
            "ADD", id: node.name, netns: "/run/netns/\(node.name)-a", args: args, config)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try told().map { $0.input["deviceID"].string } == ["0000:03:02.1", "0000:03:02.2"])
    }

    // MARK: Device information

    private func info(_ text: String?) throws {
        try Shell.sh("mkdir -p \(Self.devinfo)/dp")
        let file = "\(Self.devinfo)/dp/\(resource.replacing("/", with: "-"))-0000:03:02.1-device.json"
        try Shell.sh(text.map { "printf %s '\($0)' > \(file)" } ?? "rm -f \(file)")
    }

    private var copy: String { "\(Self.devinfo)/cni/default-one-\(node.name)_net1" }

    @Test("S06, DI-01, DI-02, DI-04: the device plugin's file is handed on, shown and removed")
    func deviceInfo() throws {
        let text = #"{"type":"pci","version":"1.2.0","pci":{"pci-address":"0000:03:02.1"},"new":"key"}"#
        try info(text)
        defer { try? info(nil) }
        try checkpoint(("a", #"{"0":["0000:03:02.1"]}"#))
        try define("one", #"{"cniVersion":"1.0.0","type":"sriov","capabilities":{"CNIDeviceInfoFile":true}}"#)
        let answer = try call("ADD", "one")
        #expect(answer.status == 0, "\(answer.ran)")
        let given = try told()[0].input["runtimeConfig"]["CNIDeviceInfoFile"].string
        #expect(given == copy)
        #expect(try Shell.sh("cat \(copy)") == text)
        #expect(try Shell.sh("stat -c '%a' \(copy) \(Self.devinfo)/cni") == "444\n755\n")
        let status = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
        #expect(status[1]["device-info"]["pci"]["pci-address"].string == "0000:03:02.1")
        #expect(status[1]["device-info"]["new"].string == "key", "what is not known is shown too")
        #expect(try call("DEL", "one").status == 0)
        #expect(try Shell.sh("ls \(Self.devinfo)/cni").contains(node.name) == false)
        #expect(try Shell.sh("[ -e \(copy) ] && echo there || true").isEmpty)
        #expect(try Shell.sh("ls \(Self.devinfo)/dp").contains(node.name), "that is the device plugin's")
    }

    @Test(
        "DI-02: a plugin may write it itself; DI-03: what is none is named, and stops no pod",
        arguments: [
            (#"{"type":"vdpa","version":"1.1.0"}"#, true), (#"{"type":"vdpa"}"#, false), ("{", false),
        ])
    func writtenByThePlugin(text: String, isShown: Bool) throws {
        try checkpoint(("a", #"{"0":["0000:03:02.1"]}"#))
        try define(
            "one", #"{"cniVersion":"1.0.0","type":"writer","capabilities":{"CNIDeviceInfoFile":true}}"#)
        try node.script(
            "writer",
            """
            [ $CNI_COMMAND = ADD ] || exit 0
            file=$(sed 's/.*"CNIDeviceInfoFile":"\\([^"]*\\)".*/\\1/' \(node.directory)/writer.stdin)
            mkdir -p $(dirname $file) && printf %s '\(text)' > $file
            echo '{"cniVersion":"1.0.0","interfaces":[{"name":"net1","sandbox":"/x"}]}'
            """)
        let answer = try call("ADD", "one")
        #expect(answer.status == 0, "\(answer.ran)")
        let status = try Tree(parsing: try Shell.sh("cat \(node.directory)/state/status/*"))
        #expect(status[1]["device-info"]["type"].string == (isShown ? "vdpa" : nil))
        #expect(answer.ran.errors.contains("network-status goes without") == !isShown, "\(answer.ran)")
        #expect(try call("DEL", "one").status == 0)
        #expect(try Shell.sh("[ -e \(copy) ] && echo there || true").isEmpty)
    }

    @Test(
        "D10, DI-04: it goes with an ADD that fails, and with a DEL whose record is lost",
        arguments: [true, false])
    func leftovers(fails: Bool) throws {
        try info(#"{"type":"pci","version":"1.0.0"}"#)
        defer { try? info(nil) }
        try checkpoint(("a", #"{"0":["0000:03:02.1"]}"#))
        try define("one")
        if fails { try node.script("sriov", "[ $CNI_COMMAND = DEL ] || exit 1") }
        #expect(try call("ADD", "one").status == (fails ? 1 : 0))
        if !fails {
            try Shell.sh("rm -r \(node.directory)/state/attachments")
            #expect(try call("DEL", "one").status == 0)
        }
        #expect(try Shell.sh("[ -e \(copy) ] && echo there || true").isEmpty)
    }
}
