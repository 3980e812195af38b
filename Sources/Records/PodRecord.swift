package import CNI
import JSONC
import Linux
package import Networking
package import Plans

/// What is known of a container's attachments between ADD and DEL.
package struct PodRecord: Sendable {
    package struct Entry: Sendable {
        package var spec: AttachmentSpec
        /// nil until ADD has finished, or has sysctls to save.
        package var attached: Attached?
        /// A DEL that failed elsewhere has taken it away; the next one leaves it out.
        package var isDetached = false

        package init(spec: AttachmentSpec, attached: Attached? = nil) {
            self.spec = spec
            self.attached = attached
        }
    }

    package var id: AttachmentID
    /// The name of the configuration that a runtime called, which several of them may have beside each other; empty in
    /// a record that does not say.
    package var network: String
    /// CNI_NETNS as given, and what tells that namespace from others that have the path by now.
    package var sandbox: String
    package var namespace: NamespaceIdentity?
    package var entries: [Entry]
    /// Optional networks that could not be attached.
    package var missing: [MissingNetwork] = []
    /// The text of the pod's annotation `network-status`; nil before ADD has finished, and without a pod.
    package var status: String?

    package init(
        id: AttachmentID, network: String = "", sandbox: String, namespace: NamespaceIdentity? = nil,
        entries: [Entry]
    ) {
        self.id = id
        self.network = network
        self.sandbox = sandbox
        self.namespace = namespace
        self.entries = entries
    }

    /// nil for a container that belongs to no pod.
    package var pod: Pod? { entries.first?.pod }

    /// For the log.
    package var logged: String { entries.map(\.logged).joined(separator: ", ") }
}

/// A network that the pod asked for, and starts without.
package struct MissingNetwork: Equatable, Sendable {
    package var name: String
    package var problem: String
    /// What to do; for the log alone.
    package var details = ""

    package init(name: String, problem: String) {
        self.name = name
        self.problem = problem
    }

    package init(name: String, _ error: Failure) {
        self.init(name: name, problem: error.message)
        details = error.details
    }

    /// For the log.
    package var logged: String { details.isEmpty ? problem : "\(problem); \(details)" }
}

extension PodRecord {
    package static func tooLarge(_ facts: String) -> Failure {
        Failure(
            .badConfig,
            "the configuration of this attachment cannot be kept: it is too large, too deep, or has an"
                + " infinite number",
            details:
                "the record \(facts); the limits are \(JSON.maximumSize) bytes, \(JSON.maximumCount) values"
                + " and \(JSON.maximumDepth) levels: ask for fewer networks, or write fewer routes")
    }
}

extension PodRecord.Entry {
    package var pod: Pod? { Pod(ofArgs: spec.args) }

    /// For the log: interface, network and addresses.
    package var logged: String {
        let addresses = attached?.result.ips.map { "\($0.address)" } ?? []
        let given = addresses.isEmpty ? "" : " with \(addresses.joined(separator: " "))"
        return "\(spec.id.interface) on \(spec.name)\(given)"
    }
}
