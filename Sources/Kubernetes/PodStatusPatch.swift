package import JSONC

/// A merge patch of `pods/status` that sets one annotation. RFC 7386; no get before, no resourceVersion: other writers of the
/// status and we do not meet. With the UID, another pod of the same name refuses it (422, field `metadata.uid`).
package struct PodStatusPatch: Equatable, Sendable {
    package static let annotation = "k8s.v1.cni.cncf.io/network-status"
    package static let type = "application/merge-patch+json"
    /// Only metadata of the pod comes back.
    package static let accept =
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

    package var namespace: String
    package var name: String
    /// Empty where it is not known.
    package var uid: String
    package var text: String

    package init(namespace: String, name: String, uid: String, text: String) {
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.text = text
    }

    package var path: String { Resource.pods.path(namespace, name, part: "status") }

    package var body: [UInt8] {
        var metadata: JSONObject = ["annotations": [Self.annotation: .string(text)]]
        if !uid.isEmpty { metadata["uid"] = .string(uid) }
        return JSON.object(["metadata": .object(metadata)]).bytes(escapesHTML: false)
    }

    /// The whole pod with the annotation, for a role that may update and not patch.
    ///
    /// - Returns: nil for another pod than the one that is meant.
    package func applied(to pod: JSON) -> [UInt8]? {
        guard var object = pod.object, var metadata = pod["metadata"]?.object else { return nil }
        if !uid.isEmpty, metadata["uid"]?.string != uid { return nil }
        var annotations = metadata["annotations"]?.object ?? [:]
        annotations[Self.annotation] = .string(text)
        metadata["annotations"] = .object(annotations)
        object["metadata"] = .object(metadata)
        return JSON.object(object).bytes(escapesHTML: false)
    }
}
