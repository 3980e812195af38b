import Linux
import Plans

/// A step that was refused, and why.
package struct RefusedStep: Equatable, Sendable {
    let step: Step
    let error: SystemError

    /// The object that should be undone or deleted does not exist any more.
    package var isGone: Bool {
        let codes: [Errno] = [.noSuchDevice, .noSuchAddress, .noSuchProcess, .noSuchFile]
        return error.code.map(codes.contains) ?? false
    }

    var isFinal: Bool { error.isFinal }

    /// The host has a link of that name already.
    var isTakenName: Bool { step.kind.takesDerivedName && error.code == .alreadyExists }

    /// The refused step as a command that a person can try.
    var command: String { "refused step: " + step.kind.commands.joined(separator: "; ") }
}

extension SystemError {
    /// A repetition would be refused too: a setting that may not be written, a value that is out of range by now.
    var isFinal: Bool {
        switch code {
        case .notPermitted?, .accessDenied?, .busy?, .invalid?, .readOnly?, .outOfRange?, .notSupported?,
            .addressInUse?:
            true
        default: false
        }
    }
}
