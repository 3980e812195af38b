import Networking

/// The pod that a call is for, as CNI_ARGS name it.
package struct Pod: Equatable, Sendable {
    package var namespace: String
    package var name: String
    package var uid: String

    /// nil when the runtime is not Kubernetes: then a name alone, or nothing, is given.
    package init?(_ args: CNIArgs) throws(Failure) {
        guard let namespace = args["K8S_POD_NAMESPACE"], let name = args["K8S_POD_NAME"], !namespace.isEmpty,
            !name.isEmpty
        else { return nil }
        guard Names.isLabel(namespace), Names.isSubdomain(name) else {
            throw Failure(
                .badEnvironment, "CNI_ARGS: \"\(namespace)/\(name)\" does not name a pod",
                details:
                    "K8S_POD_NAMESPACE and K8S_POD_NAME are Kubernetes names: lower-case letters, digits, '-'"
            )
        }
        self.namespace = namespace
        self.name = name
        self.uid = args["K8S_POD_UID"] ?? ""
    }

    /// nil also for arguments that cannot be read.
    package init?(ofArgs args: String) {
        guard let args = try? CNIArgs.parse(args, lenient: true), let pod = try? Pod(args) else { return nil }
        self = pod
    }

    package init(namespace: String, name: String, uid: String = "") {
        self.namespace = namespace
        self.name = name
        self.uid = uid
    }

    package var description: String { "\(namespace)/\(name)" }

    /// For the log: with the UID, which tells it from others that have had the name.
    package var logged: String {
        "pod \(description)" + (Names.isIdentifier(uid) ? " (\(uid))" : "")
    }
}

extension Invocation {
    /// For the log: the pod, if the runtime says which, the container and its interface.
    package var subject: String {
        // podman has a name alone.
        let pairs = try? CNIArgs.parse(args, lenient: true)
        let name = pairs?["K8S_POD_NAME"].flatMap { Names.isIdentifier($0) ? $0 : nil }
        let pod = Pod(ofArgs: args)?.logged ?? name.map { "pod \($0)" }
        return "\(pod.map { "\($0), " } ?? "")container \(containerID) \(interface)"
    }
}
