import JSONC

/// An event about a pod, as `kubectl describe pod` shows it. Core v1, Event.
package struct PodEvent: Equatable, Sendable {
    package var namespace: String
    package var name: String
    package var uid: String
    /// Multus' and its controller's words: AddedInterface, FailedAddingInterface and so on.
    package var reason: String
    package var message: String
    package var isWarning: Bool

    package init(
        namespace: String, name: String, uid: String, reason: String, message: String, isWarning: Bool = false
    ) {
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.reason = reason
        self.message = message
        self.isWarning = isWarning
    }

    package var path: String { Resource.events.path(in: namespace) }

    /// - Parameters:
    ///   - number: makes the object's name one of its own.
    ///   - time: RFC 3339.
    ///   - node: where it happened.
    package func body(number: UInt64, time: String, node: String) -> [UInt8] {
        // The name of an object has 253 characters.
        let own = "\(name.prefix(230)).\(String(number, radix: 16))"
        // The API server takes no longer message.
        let text = String(message.prefix(1000))
        return JSON.object([
            "apiVersion": "v1", "kind": "Event",
            "metadata": ["name": .string(own), "namespace": .string(namespace)],
            "involvedObject": [
                "apiVersion": "v1", "kind": "Pod", "namespace": .string(namespace), "name": .string(name),
                "uid": .string(uid),
            ],
            "reason": .string(reason), "message": .string(text), "type": isWarning ? "Warning" : "Normal",
            "source": ["component": "plexus", "host": .string(node)],
            "firstTimestamp": .string(time), "lastTimestamp": .string(time), "count": 1,
        ]).bytes(escapesHTML: false)
    }
}
