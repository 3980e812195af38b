package import Plans

/// A step that the kernel refused.
package struct StepError: Error, Equatable, Sendable, CustomStringConvertible {
    package let step: Step
    /// errno.
    package let code: CInt
    package let description: String

    /// The object that should be undone or deleted does not exist any more.
    package var isGone: Bool { [noSuchDevice, noSuchAddress, noSuchProcess, noSuchFile].contains(code) }

    var isFinal: Bool { Self.isFinal(code) }

    /// A repetition would be refused too: a setting that may not be written, a value that is out of range by now.
    static func isFinal(_ code: CInt) -> Bool {
        [
            notPermitted, accessDenied, busy, invalid, readOnly, outOfRange, notSupported, addressInUse,
        ].contains(code)
    }

    /// The host has a link of that name already.
    package var isTakenName: Bool { step.kind.takesDerivedName && code == alreadyExists }

    /// The refused step as a command that a person can try.
    var command: String { "refused step: " + step.kind.commands.joined(separator: "; ") }
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
let exchangeFull: CInt = 54
let noSuchProtocol: CInt = 93
let notSupported: CInt = 95
let noSuchFamily: CInt = 97
let addressInUse: CInt = 98
let noSuchAddress: CInt = 99
let networkUnreachable: CInt = 101
let hostUnreachable: CInt = 113
