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
    /// Puts back what a link was that goes on without the pod, or goes with it: what fails is logged.
    package var restores: [Step]
    /// What must be done, and host-side cleaning.
    package var steps: [Step]
    /// Names in the sandbox of links that the attachment created; deleted together with those of the pod.
    package var links: [String]
    /// Links in the host that must be gone with them: peers whose end in the sandbox cannot be reached.
    package var hostLinks: [String]
    /// What cannot be given back now; DEL says so, and what is known is kept for the next one.
    package var problem: Failure?

    package init(
        restores: [Step] = [], steps: [Step] = [], links: [String] = [], hostLinks: [String] = []
    ) {
        self.restores = restores
        self.steps = steps
        self.links = links
        self.hostLinks = hostLinks
    }

    /// What two plugins ask for of one attachment, as one: all is restored before anything goes.
    package func joined(with other: Removal) -> Removal {
        var joined = self
        joined.restores += other.restores
        joined.steps += other.steps
        joined.links += other.links
        joined.hostLinks += other.hostLinks
        joined.problem = problem ?? other.problem
        return joined
    }
}
