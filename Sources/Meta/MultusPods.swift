package import CNI
import Linux
import Plans
import Records

/// The pods that Multus attached: no record of ours is theirs, in these directories and in Multus' own.
func podsOfMultus(_ directories: [String]) throws(Failure) -> [(pod: Pod, place: String)] {
    let directories = Set(directories + [MultusCache.defaultDirectory]).sorted()
    var ours: Set<String> = []
    for directory in directories {
        // Opened, it would be made.
        guard fileExists("\(directory)/attachments") else { continue }
        let store = try RecordStore.open(directory)
        ours.formUnion(try store.all().map(\.containerID))
    }
    var found: [(pod: Pod, place: String)] = []
    for directory in directories {
        for (container, pod) in MultusCache.pods(below: directory) where !ours.contains(container) {
            found.append((pod, "container \(container) in \(directory)"))
        }
    }
    return found.sorted { ($0.pod.description, $0.place) < ($1.pod.description, $1.place) }
}

/// Why nothing can be done with a pod that Multus attached; nil for one that it did not.
package func multusHas(_ pod: Pod, _ directories: [String]) throws(Failure) -> Failure? {
    guard let found = try podsOfMultus(directories).first(where: { $0.pod.description == pod.description })
    else { return nil }
    return Failure(
        .containerUnknown, "pod \(pod.description) was attached by Multus: \(found.place)",
        details:
            "it can be repaired, attached and detached only when Plexus has attached it: delete the pod, and its"
            + " next sandbox is Plexus'; until then DEL, CHECK and GC go by Multus' files")
}
