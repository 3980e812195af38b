import CNI
import JSONC
import Networking
import Plans

/// A plugin that is not built in: an executable.
struct ExternalPlugin: Plugin {
    let call: PluginCall

    /// What we say of an executable names it already.
    func isNamed(in error: Failure) -> Bool { !error.isPassedOn }

    func judgeKeys() throws(JSONError) {
        _ = try call.config.reader.judge(PluginConfig.openVocabulary)
        call.say(Capabilities.problems(call.config.reader, isOpen: true).map { .concern($0) })
    }

    func validate() throws(Failure) { _ = try call.external(.add, call.type) }

    var asks: Bool { false }
    func start(_: inout Journal) -> Ahead? { nil }

    func add(
        after previous: CNIResult?, _: Ahead?, _ journal: inout Journal,
        _: ([String: String]) throws(Failure) -> Void
    ) throws(Failure) -> CNIResult? {
        let call = call.after(previous)
        return try call.worker.add(
            call.external(.add, call.type), undo: call.external(.del, call.type), of: call, &journal)
            ?? call.attachment.previous
    }

    func check(_: CNIResult) throws(Failure) { _ = try call.external(.check, call.type).run() }

    /// What it makes is not known.
    func checkLink() throws(Failure) {}

    func lostLeases(_: Attached, isKept _: Bool) -> [IPAddress] { [] }

    func removal() throws(Failure) -> Pending {
        call.wasRefused(call.isAddressSource)
            ? Pending() : Pending(call: try call.external(.del, call.type))
    }

    func collect(_: [AttachmentID]) throws(Failure) { try call.runOptional(.gc, call.type) }

    func status() throws(Failure) {
        try call.validate(self)
        try call.runOptional(.status, call.type)
    }
}
