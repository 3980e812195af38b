import Networking

/// Small files of the node that DEL will want to read.
package enum FileStep: StepKind {
    /// The text is all of it.
    case write(_ path: String, String)
    case remove(_ path: String)

    package var name: String {
        switch self {
        case .write: "writeFile"
        case .remove: "removeFile"
        }
    }

    package var commands: [String] {
        switch self {
        case .write(let path, let text):
            let folder = path.split(separator: "/").dropLast().joined(separator: "/")
            return [
                "mkdir -p \(shellQuoted("/\(folder)"))",
                "printf %s \(shellQuoted(text)) >\(shellQuoted(path))",
            ]
        case .remove(let path): return ["rm \(shellQuoted(path))"]
        }
    }

    package func apply(to facts: inout Facts) {
        switch self {
        case .write(let path, let text): facts.files[path] = text
        case .remove(let path): facts.files[path] = nil
        }
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }

    /// What the restores need is kept until they have worked, those of other plugins of the chain as well.
    package var waitsForRestore: Bool { if case .remove = self { true } else { false } }
}

extension Step {
    package static func writeFile(_ path: String, _ text: String) -> Step { Step(FileStep.write(path, text)) }
    package static func removeFile(_ path: String) -> Step { Step(FileStep.remove(path)) }
}
