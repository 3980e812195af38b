package import CNI
package import Definitions
import Engine
package import JSONC
import Linux
import Networking
import Plans
import Records

/// What Plexus would refuse, pass over or choose of configurations, definitions and annotations, without a pod.
package struct Validation {
    package struct Finding: Sendable {
        package enum Weight: String, Sendable {
            /// An ADD would fail.
            case refused
            /// It would succeed, and the log would have an error.
            case warning
            /// It works, and otherwise than under Multus.
            case differs
            /// What a default decided.
            case note
        }

        package var subject: String
        package var weight: Weight
        package var text: String
    }

    package private(set) var findings: [Finding] = []
    /// What was looked at.
    package private(set) var subjects: [String] = []
    private var config: MetaConfig
    private let takeover: MultusTakeover
    private let heard = Heard()
    private var isOfAnotherNode = false
    private let searchPath: String
    private let kernel: Kernel
    /// Definitions of the input: pods are judged by them, wherever they stand in it.
    private var given: [CacheObject.ID: CacheObject] = [:]
    private var pods: [CacheObject] = []

    /// Without a configuration: definitions are judged by the defaults.
    ///
    /// - Parameters:
    ///   - searchPath: as CNI_PATH.
    ///   - daemon: the settings of the thick Multus' daemon.
    package init(searchPath: String, daemon: JSONObject? = nil) throws(Failure) {
        self.searchPath = searchPath
        takeover = MultusTakeover(daemon: daemon)
        config = try MetaConfig(
            PluginConfig.decode(
                Array(
                    #"{"cniVersion":"1.0.0","name":"validate","type":"plexus","clusterNetwork":"none"}"#
                        .utf8)),
            role: "plexus", log: heard.log)
        kernel = try Kernel.ofHost()
    }

    private mutating func add(_ subject: String, _ weight: Finding.Weight, _ text: String) {
        findings.append(Finding(subject: subject, weight: weight, text: text))
    }

    private mutating func add(_ subject: String, _ error: Failure) { add(subject, .refused, error.logged) }

    /// What of a definition every ADD would refuse, wherever the node is: plugins that are not built in are not looked for.
    package static func problems(of object: CacheObject) throws(Failure) -> [String] {
        // Its network is in confDir.
        guard object.json["spec"]?["config"]?.string?.isEmpty == false else { return [] }
        var validation = try Validation(searchPath: "")
        validation.isOfAnotherNode = true
        validation.object(object, file: "the input")
        return validation.findings.filter { $0.weight == .refused }.map(\.text)
    }

    // MARK: Inputs

    /// A runtime's configuration of the meta-plugin: definitions that come later are judged by it.
    ///
    /// - Returns: false for a document that is none.
    package mutating func configuration(_ bytes: [UInt8], file: String) -> Bool {
        guard let json = try? JSON.parse(bytes).value else { return false }
        let types = (json["plugins"]?.array ?? [json]).compactMap { $0["type"]?.string }
        guard types.contains(where: { Role.metaName($0) != nil }) else { return false }
        subjects.append(file)
        do throws(Failure) {
            // As the installer would write it.
            let adapted = takeover.adapt(json)
            for text in adapted.changes { add(file, .differs, "\(text): scripts/install writes that") }
            let isChanged = adapted.json != json
            let plugin = try Explanation.decode(isChanged ? adapted.json.bytes() : bytes)
            let config = try MetaConfig(
                plugin, role: Role.metaName(plugin.type) ?? "plexus", log: heard.log)
            for text in config.passedOver { add(file, .warning, "passed over: \(text)") }
            for text in Capabilities.problems(plugin.reader, isOpen: true) { add(file, .warning, text) }
            if adapted.isAskingNow || plugin.json["capabilities"]?[PodAnnotations.runtimeKey]?.bool != true {
                let fix =
                    adapted.isAskingNow ? "scripts/install writes" : "write"
                add(
                    file, adapted.isAskingNow ? .differs : .warning,
                    "it does not ask the runtime for the pods' annotations: without pods in \(config.cacheDir) every ADD fails;"
                        + " \(fix) \"\(PodAnnotations.runtimeKey)\": true into its capabilities")
            }
            self.config = config
            for text in MultusDifferences.of(config) { add(file, .differs, text) }
            // The networks of every pod.
            let builder = try builder(nil)
            for delegate in try builder.buildDefaults() { judge(delegate, file) }
        } catch {
            add(file, error)
        }
        addHeard(file)
        return true
    }

    /// What kubectl prints; or a network's configuration, as in confDir.
    package mutating func manifests(_ bytes: [UInt8], file: String) {
        let input = ManifestStream.read(bytes)
        if let problem = input.problem { add(file, .refused, problem) }
        for piece in input.pieces {
            let place = piece.place.isEmpty ? file : "\(file), \(piece.place)"
            do throws(JSONError) {
                let json = try piece.parse()
                if json["kind"] == nil, json["type"] != nil || json["plugins"] != nil {
                    network(json, place)
                } else {
                    let object = try CacheObject(json)
                    if object.id.kind == .definition {
                        given[object.id] = object
                        self.object(object, file: file)
                    } else {
                        pods.append(object)
                    }
                }
            } catch {
                subjects.append(place)
                add(place, .refused, "\(error)")
            }
        }
    }

    /// Everything that the node has: the cache, and the networks in confDir.
    package mutating func node() {
        let cache = DefinitionCache(path: config.cacheDir)
        for id in cache.objects() {
            do throws(Failure) {
                if let object = try cache.object(id) { self.object(object, file: config.cacheDir) }
            } catch {
                subjects.append(id.description)
                add(id.description, error)
            }
        }
        for file in NetworkFiles.all(in: config.confDir) {
            do throws(Failure) {
                let found = try NetworkFiles.load(file)
                network(found.list.json, file)
            } catch {
                subjects.append(file)
                add(file, error)
            }
        }
    }

    /// To be called when all of the input is known.
    package mutating func finish() {
        for pod in pods { object(pod, file: "") }
        pods = []
    }

    private func builder(_ pod: Pod?) throws(Failure) -> DelegateBuilder {
        let given = given
        let cache = DefinitionCache(path: config.cacheDir) { given[CacheObject.ID(.definition, $0, $1)] }
        return try DelegateBuilder(config, invocation(pod), cache)
    }

    // MARK: One of them

    private mutating func network(_ json: JSON, _ place: String) {
        subjects.append(place)
        do throws(Failure) {
            let list = try NetworkList.decode(json, defaultName: "network")
            let builder = try builder(nil)
            judge(
                try builder.delegate(FoundNetwork(list: list, name: list.name, origin: place), index: 1),
                place)
        } catch {
            add(place, error)
        }
        addHeard(place)
    }

    private mutating func object(_ object: CacheObject, file: String) {
        let subject = object.id.description
        subjects.append(subject)
        do throws(Failure) {
            switch object.id.kind {
            case .definition:
                let builder = try builder(Pod(namespace: object.id.namespace, name: "pod"))
                let delegate = try builder.delegate(object, file: file)
                judge(delegate, subject)
                for text in MultusDifferences.of(definition: delegate) { add(subject, .differs, text) }
            case .pod:
                let pod = Pod(namespace: object.id.namespace, name: object.id.name, uid: "")
                let networks = try builder(pod).check(try PodAnnotations(object))
                for network in networks.missing {
                    add(
                        subject, .warning,
                        "it starts without the optional network \(network.name): \(network.logged)")
                }
                for delegate in networks.delegates { judgeWishes(delegate, subject) }
                for text in MultusDifferences.of(pod: networks.delegates) { add(subject, .differs, text) }
            }
        } catch {
            add(subject, error)
        }
        addHeard(subject)
    }

    /// What is logged while it is looked at, an ADD logs too.
    private mutating func addHeard(_ subject: String) {
        for line in heard.take() {
            let prefix = "\(subject): "
            add(subject, .warning, line.hasPrefix(prefix) ? String(line.dropFirst(prefix.count)) : line)
        }
    }

    /// What a chain says of itself before it is run.
    private func rehearse(_ spec: AttachmentSpec) -> (
        remarks: [(plugin: String, remark: Remark)], error: Failure?
    ) {
        var spec = spec
        // The kubelet gives it to the pod.
        if spec.resource != nil {
            spec.inject(deviceID: spec.runtimeConfig["deviceID"]?.string ?? "0000:00:00.0")
        }
        let rehearsal = Rehearsal(kernel)
        let runner = ChainRunner(kernel, registry: builtins, rehearsing: rehearsal, log: heard.log)
        do throws(Failure) { _ = try runner.prepare(spec) } catch { return (rehearsal.remarks, error) }
        return (rehearsal.remarks, nil)
    }

    private mutating func judge(_ delegate: Delegate, _ subject: String) {
        let (remarks, error) = rehearse(delegate.spec)
        if let error, !isOfAnotherNode || error.code != Failure.Code.generic.rawValue {
            let isAsked = delegate.spec.list.plugins.contains { $0["capabilities"]?["ips"]?.bool == true }
            if error.key == "ipam.addresses", isAsked {
                add(subject, .note, "each pod must bring its address: ips in its annotation")
            } else {
                add(subject, error)
            }
        }
        for (plugin, remark) in remarks { add(subject, plugin, remark) }
    }

    private mutating func add(_ subject: String, _ plugin: String, _ remark: Remark) {
        let text = plugin.isEmpty ? remark.text : "\(plugin): \(remark.text)"
        if case .concern = remark { add(subject, .warning, text) } else { add(subject, .note, text) }
    }

    /// What comes of a pod's wishes; what the network has of itself is said of the network.
    private mutating func judgeWishes(_ delegate: Delegate, _ subject: String) {
        var plain = delegate.spec
        plain.runtimeConfig = [:]
        plain.cniArgs = nil
        plain.wishes = []
        plain.args = ""
        let known = rehearse(plain).remarks.map(\.remark.text)
        let (remarks, error) = rehearse(delegate.spec)
        if let error {
            let blamed = delegate.blamed(for: error).logged
            if delegate.isOptional {
                add(subject, .warning, "it starts without the optional network \(blamed)")
            } else {
                add(subject, .refused, blamed)
            }
        }
        for (plugin, remark) in remarks where !known.contains(remark.text) {
            add("\(subject): \(delegate.spec.name) on \(delegate.spec.id.interface)", plugin, remark)
        }
    }

    private func invocation(_ pod: Pod?) throws(Failure) -> Invocation {
        let args = pod.map { ";K8S_POD_NAMESPACE=\($0.namespace);K8S_POD_NAME=\($0.name)" } ?? ""
        let environment = [
            "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "validate", "CNI_IFNAME": "eth0", "CNI_NETNS": "POD",
            "CNI_ARGS": "IgnoreUnknown=1\(args)", "CNI_PATH": searchPath,
        ]
        guard let invocation = try Invocation.read({ environment[$0] }) else {
            throw Failure(.badEnvironment, "CNI_COMMAND is missing")
        }
        return invocation
    }
}

/// Lines for the log, of one thread.
private final class Heard: Sendable {
    nonisolated(unsafe) private var lines: [String] = []

    var log: Log { Log { unsafe self.lines.append($0) } }

    func take() -> [String] {
        defer { unsafe lines = [] }
        return unsafe lines
    }
}
