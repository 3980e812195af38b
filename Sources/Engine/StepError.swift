package import CNI
package import Plans

/// A step that the kernel refused.
package struct StepError: Error, Equatable, Sendable, CustomStringConvertible {
    package let step: Step
    /// errno.
    package let code: CInt
    package let description: String

    /// What should be undone or deleted is no longer there.
    package var isGone: Bool { [noSuchDevice, noSuchAddress, noSuchProcess, noSuchFile].contains(code) }

    /// The kernel or its policy says no to the step itself, as it would say again: a setting that may not be written, a
    /// value that is out of bounds by now.
    var isFinal: Bool {
        [notPermitted, accessDenied, busy, invalid, readOnly, outOfRange, notSupported].contains(code)
    }

    /// The host has a link of that name already.
    package var isTakenName: Bool { if case .addVeth = step { code == alreadyExists } else { false } }

    /// What leaves the process: the cause, and the command that a person can try.
    package var failure: Failure {
        Failure(.generic, description, details: "refused step: " + step.commands().joined(separator: "; "))
    }
}

// errno-base.h and errno.h; the numbers are the same on every architecture that Swift runs on.
let notPermitted: CInt = 1
let noSuchFile: CInt = 2
let noSuchProcess: CInt = 3
let accessDenied: CInt = 13
let busy: CInt = 16
let alreadyExists: CInt = 17
let noSuchDevice: CInt = 19
let invalid: CInt = 22
let readOnly: CInt = 30
let outOfRange: CInt = 34
let notSupported: CInt = 95
let noSuchAddress: CInt = 99
