import CNI
package import JSONC
import Plans

// What the reference plugins ignore: in the meta role it is refused when the pod would be in a wrong network, and
// otherwise logged.

extension PluginCall {
    /// Keys and sections first, then what the plugin itself says.
    func validate(_ plugin: some Plugin) throws(Failure) {
        if rules.judgesWishes { try judge(plugin) }
        try plugin.validate()
    }

    private func judge(_ plugin: some Plugin) throws(Failure) {
        do throws(Failure) { try config.requireReadable(for: .add) } catch {
            var error = error
            if error.details.isEmpty, !isOfTheCall(error) { error.details = correction }
            throw error
        }
        guard !isAddressSource else {
            throw Failure(
                .badConfig, "\(type) is an IPAM plugin: it makes no interface",
                details: "write it as ipam.type of a plugin that makes one, such as bridge or macvlan")
        }
        do throws(JSONError) { try plugin.judgeKeys() } catch {
            var failure = Failure(.badConfig, error)
            if !isOfTheCall(failure) { failure.details = correction }
            throw failure
        }
    }

    /// The meta role says itself who asked for it.
    private func isOfTheCall(_ error: Failure) -> Bool { error.key.map(Failure.isOfTheCall) ?? false }

    var isAddressSource: Bool {
        runner.registry.source(type) != nil || runner.registry.traits(type).contains(.givesAddresses)
    }

    /// DEL need not call a plugin that our ADD refuses to run, unless a record says that another program ran it.
    func wasRefused(_ isWrong: Bool) -> Bool {
        isWrong && rules.judgesWishes && attachment.previous == nil
    }

    /// An `ipam` section that says something has a type, and that is no plugin that makes an interface.
    func requireSource() throws(JSONError) {
        guard let section = try config.reader.object("ipam") else { return }
        guard let ipam = config.ipamType else {
            if section.value.object?.members.allSatisfy({ $0.value.saysNothing || isComment($0.key) }) ?? true
            {
                return
            }
            throw section.error(
                nil,
                "ipam has no type: write \"type\": \"host-local\" or that of another IPAM plugin, or {} for no addresses"
            )
        }
        guard runner.registry.module(ipam) == nil else {
            throw section.error(
                "type", "\"\(ipam)\" is no IPAM plugin: write host-local, static or another one")
        }
    }

    private var correction: String { "correct it in the configuration of \(type), network \(spec.name)" }
}

/// What runtimes and meta-plugins pass on to those plugins that declare it, by its exact name.
package enum Capabilities {
    private static let vocabulary = Vocabulary([
        "ips", "ipRanges", "mac", "portMappings", "bandwidth", "dns", "aliases", "infinibandGUID", "deviceID",
        "cgroupPath", "io.kubernetes.cri.pod-annotations",
    ]) { key in
        switch key {
        case "ip", "ipaddress", "ipaddresses", "address", "addresses": "ips"
        case "macaddress", "hwaddr": "mac"
        case "ports", "portmap": "portMappings"
        case "podannotations", "annotations": "io.kubernetes.cri.pod-annotations"
        default: nil
        }
    }

    /// Names the declared capabilities that no runtime passes.
    ///
    /// - Parameter isOpen: of a plugin that may have agreed on others with its runtime: those alone that are misspelt.
    package static func problems(_ json: Reader, isOpen: Bool) -> [String] {
        let declared = (try? json.object("capabilities")?.members()) ?? []
        return declared.filter { $0.value.value == true && !vocabulary.keys.contains($0.key) }.compactMap {
            let meant = vocabulary.meant($0.key)
            if isOpen, meant == nil { return nil }
            let hint = meant.map { ": write \"\($0)\"" } ?? ""
            return "capabilities.\($0.key): nothing is passed on under this name\(hint)"
        }
    }
}

extension ChainRunner {
    /// The network as a whole, and what the pod asks of it.
    func judge(_ spec: AttachmentSpec) throws(Failure) {
        let unknown: [String]
        do throws(JSONError) {
            unknown = try Reader(.object(spec.list.others)).judge(NetworkList.vocabulary)
        } catch {
            throw Failure(
                .badConfig, "\(error)",
                details: "correct it in the configuration of network \(spec.name)")
        }
        for remark in passedOver(unknown) { worker.say(remark, spec, "") }
        if !spec.list.doubled.isEmpty {
            let keys = listed(spec.list.doubled)
            worker.say(.concern("keys that stand twice, of which the last one counts: \(keys)"), spec, "")
        }
        let unmet = unmetWishes(spec)
        guard !unmet.isEmpty else { return }
        worker.say(.concern("asked for and not given: \(listed(unmet))"), spec, "")
    }

    /// What the pod asks for and no plugin of the list would take.
    private func unmetWishes(_ spec: AttachmentSpec) -> [String] {
        // These a runtime passes to every plugin that declares them: nobody asked for them.
        var told = ["io.kubernetes.cri.pod-annotations", "cgroupPath", "dns", "aliases"]
        // The plugins have it as keys too.
        if spec.deviceID != nil { told += ["deviceID", "CNIDeviceInfoFile"] }
        let asked = spec.runtimeConfig.members.filter { !$0.value.saysNothing && !told.contains($0.key) }
        let arguments = spec.cniArgs?.members ?? []
        guard !asked.isEmpty || !arguments.isEmpty || !spec.wishes.isEmpty else { return [] }
        let args = (try? CNIArgs.parse(spec.args, lenient: true)) ?? CNIArgs()
        let takers = spec.list.plugins.map { Taker(Reader($0), args, spec, registry) }
        var unmet: [String] = []
        for (key, _) in asked where !takers.contains(where: { $0.takes(key) }) {
            let isAddress = key == "ips" && !takers.contains(where: \.takesIP)
            let reason =
                isAddress
                ? "the network has no ipam"
                : "no plugin of the network takes it and has it in its capabilities"
            unmet.append("\(key) (\(reason))")
        }
        if let mac = spec.runtimeConfig["mac"], let other = spec.cniArgs?["mac"], mac != other {
            unmet.append("one of mac and cni-args.mac, which differ")
        }
        for (key, _) in arguments where !takers.contains(where: { $0.takesArgument(key) }) {
            unmet.append("cni-args.\(key)")
        }
        return unmet + (takers.allSatisfy(\.isBuiltin) ? spec.wishes : [])
    }
}

/// What one plugin of a list takes of a pod's wishes. What an external one does is not known.
private struct Taker {
    private(set) var isBuiltin = false
    private(set) var takesIP = true
    private var takesMAC = true
    private var capabilities: [String] = []
    private var arguments: [String] = []
    private let declared: Reader?
    private let args: CNIArgs

    init(_ plugin: Reader, _ args: CNIArgs, _ spec: AttachmentSpec, _ registry: Registry) {
        self.args = args
        declared = (try? plugin.object("capabilities")) ?? nil
        func builtin<T>(_ type: String, _ find: (String) -> T?) -> T? {
            spec.external.contains(type) ? nil : find(type)
        }
        let type = (try? plugin.string("type")) ?? ""
        guard let module = builtin(type, registry.module) else { return }
        let ipam = module.usesIPAM ? (try? plugin.object("ipam")?.string("type")) ?? "" : ""
        let source = builtin(ipam, registry.source)
        isBuiltin = ipam.isEmpty || source != nil
        takesIP = !ipam.isEmpty
        takesMAC = module.arguments(.add)?.contains("MAC") ?? false
        capabilities = module.capabilities + (source?.capabilities ?? [])
        arguments = module.podArguments + (source?.podArguments ?? [])
    }

    /// By its capability, or by CNI_ARGS.
    func takes(_ key: String) -> Bool {
        let isDeclared = declared?.value[key]?.bool == true
        if isDeclared, !isBuiltin || capabilities.contains(key) { return true }
        return key == "mac" && takesMAC && args["MAC"] != nil || key == "ips" && takesIP && args["IP"] != nil
    }

    func takesArgument(_ key: String) -> Bool { !isBuiltin || arguments.contains { isSame($0, key) } }
}

/// One remark for all keys that no plugin reads.
func passedOver(_ keys: [String]) -> [Remark] {
    keys.isEmpty ? [] : [.concern("unknown keys are passed over: \(listed(keys))")]
}

/// A line of a log for what may be many.
package func listed(_ keys: [String]) -> String {
    let rest = keys.count > 16 ? " and \(keys.count - 16) more" : ""
    return keys.prefix(16).map { String($0.prefix(200)) }.joined(separator: ", ") + rest
}
