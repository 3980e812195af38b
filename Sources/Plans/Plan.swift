package import CNI

/// What a module wants done for ADD, and what it then returns.
package struct Plan: Equatable, Sendable {
    package var steps: [Step]
    package var result: CNIResult
    /// Interfaces of `result`, by index, whose MAC address the kernel decides: read after the last step.
    package var readBack: [Int]

    package init(steps: [Step] = [], result: CNIResult, readBack: [Int] = []) {
        self.steps = steps
        self.result = result
        self.readBack = readBack
    }
}

/// What a module wants done for DEL. The order of the fields is the order of the work.
package struct Removal: Equatable, Sendable {
    /// Restores the properties of a link that outlives the pod or is deleted with it.
    package var restores: [Step]
    /// What must be done besides, such as removing rules and files in the host.
    package var steps: [Step]
    /// Names in the sandbox of links that the attachment created; deleted together with those of the pod.
    package var links: [String]
    /// Links in the host that must be gone with them: peers whose end in the sandbox cannot be reached.
    package var hostPairs: [String]
    /// What cannot be returned now: DEL reports it, and keeps the record for the next DEL.
    package var problem: Failure?

    package init(
        restores: [Step] = [], steps: [Step] = [], links: [String] = [], hostPairs: [String] = []
    ) {
        self.restores = restores
        self.steps = steps
        self.links = links
        self.hostPairs = hostPairs
    }

    /// The removals of two plugins for one attachment: everything is restored before anything is deleted.
    package func joined(with other: Removal) -> Removal {
        var joined = self
        joined.restores += other.restores
        joined.steps += other.steps
        joined.links += other.links
        joined.hostPairs += other.hostPairs
        joined.problem = problem ?? other.problem
        return joined
    }
}
