import CNI
import Definitions
import JSONC
import Linux
import Networking
import Plans
import Records

/// Hands out the devices that a device plugin gave the pod: one to each network whose definition names the resource, in the
/// order of the networks, none twice.
struct DeviceAllocator {
    private let config: MetaConfig
    private let pod: Pod?
    /// What is left of each resource; read with the first network that wants one.
    private var left: [String: [String]] = [:]
    private var given: [String: Int] = [:]
    private var checkpoint: Result<DeviceCheckpoint, Failure>?
    /// IDs that other networks of the pod have.
    private let held: [String]

    init(_ config: MetaConfig, _ pod: Pod?, besides held: [String] = []) {
        self.config = config
        self.pod = pod
        self.held = held
    }

    mutating func allocate(_ networks: inout Networks) throws(Failure) {
        let delegates = networks.delegates
        var problems: [Int: Failure] = [:]
        let wanting = delegates.indices.filter { delegates[$0].spec.resource != nil }
        // What the pod names itself is not given to another network.
        for isNamed in [true, false] {
            for index in wanting where (Self.named(delegates[index]) != nil) == isNamed {
                do throws(Failure) {
                    let id = try take(for: delegates[index])
                    if let id { networks.delegates[index].spec.inject(deviceID: id) }
                } catch {
                    problems[index] = delegates[index].blamed(for: error)
                }
            }
        }
        if problems.isEmpty { return }
        var index = -1
        try networks.filter { _ throws(Failure) in
            index += 1
            if let problem = problems[index] { throw problem }
        }
    }

    private static func named(_ delegate: Delegate) -> String? {
        delegate.selection?.capabilities["deviceID"]?.string
    }

    /// nil for a network that goes without: no plugin of it needs one, or it names its device itself.
    private mutating func take(for delegate: Delegate) throws(Failure) -> String? {
        guard let resource = delegate.spec.resource else { return nil }
        let taker = Self.taker(delegate.spec)
        let all: [String]
        do throws(Failure) { all = try devices(of: resource) } catch {
            // A resource is a scheduling hint too: bridges are counted so.
            guard let taker = Self.named(delegate).map({ _ in "the annotation" }) ?? taker else {
                // Notes that are there, and cannot be read, may say that the pod has one.
                guard pod?.uid.isEmpty == false, DeviceCheckpoint.isThere(below: config.kubeletDir) else {
                    return nil
                }
                throw Failure(
                    .badConfig,
                    "whether the pod has a device of \(resource) cannot be told: \(error.message)",
                    details: error.details)
            }
            // Where no runtime tells the UID, nobody can say whose a device is.
            if Self.named(delegate) != nil, pod?.uid.isEmpty ?? true { return nil }
            throw Self.missing(
                resource, taker, error.details.isEmpty ? error.message : "\(error.message); \(error.details)")
        }
        if let named = Self.named(delegate) {
            guard let place = left[resource]?.firstIndex(of: named) else {
                let why =
                    held.contains(named)
                    ? "is another network's of the pod"
                    : all.contains(named) ? "is asked for twice" : "is not the pod's"
                var failure = Failure(
                    .badConfig, "device \(named) of \(resource) \(why)",
                    details: "the kubelet gave the pod \(all.isEmpty ? "none" : all.joined(separator: ", "))")
                failure.key = "runtimeConfig.deviceID"
                throw failure
            }
            left[resource]?.remove(at: place)
            return named
        }
        if let next = left[resource]?.first {
            left[resource]?.removeFirst()
            return next
        }
        if !all.isEmpty {
            throw Failure(
                .badConfig, "there is no device of \(resource) left: the kubelet gave the pod \(all.count)",
                details: "one for each network of that resource: ask for more in the containers' resources")
        }
        guard let taker else { return nil }
        throw Self.missing(
            resource, taker, "the kubelet gave the pod none: ask for \(resource) in a container's resources")
    }

    private mutating func devices(of resource: String) throws(Failure) -> [String] {
        let known: Result<DeviceCheckpoint, Failure>
        if let checkpoint {
            known = checkpoint
        } else {
            known = read()
            checkpoint = known
        }
        let ids = try known.get().ids(of: resource)
        if left[resource] == nil { left[resource] = ids.filter { !held.contains($0) } }
        return ids
    }

    private func read() -> Result<DeviceCheckpoint, Failure> {
        do throws(Failure) {
            guard let uid = pod?.uid, !uid.isEmpty else {
                throw Failure(.badConfig, "the runtime does not tell the pod's UID (CNI_ARGS K8S_POD_UID)")
            }
            return .success(try DeviceCheckpoint(kubeletDir: config.kubeletDir, podUID: uid))
        } catch {
            return .failure(error)
        }
    }

    /// The plugin that cannot do without; nil when there is none.
    private static func taker(_ spec: AttachmentSpec) -> String? {
        let names = ["device", "hwaddr", "kernelpath", "pciBusID", "deviceID"]
        for plugin in spec.list.plugins.map({ Reader($0) }) {
            guard let type = try? plugin.string("type"), builtins.traits(type).contains(.takesDevice),
                !names.contains(where: { (try? plugin.string($0))?.isEmpty == false })
            else { continue }
            return type
        }
        return nil
    }

    private static func missing(_ resource: String, _ taker: String, _ why: String) -> Failure {
        Failure(
            .badConfig, "\(taker) needs a device of \(resource), and the pod was given none",
            details: why)
    }
}

extension AttachmentSpec {
    /// As Multus tells plugins of their device: two keys of each plugin, and the capability.
    mutating func inject(deviceID id: String) {
        deviceID = id
        for index in list.plugins.indices {
            guard var plugin = list.plugins[index].object else { continue }
            plugin["deviceID"] = .string(id)
            plugin["pciBusID"] = .string(id)
            list.plugins[index] = .object(plugin)
        }
        runtimeConfig["deviceID"] = .string(id)
        runtimeConfig["CNIDeviceInfoFile"] = .string(DeviceInfoFiles().path(self))
    }
}
