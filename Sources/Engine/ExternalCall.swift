package import CNI
import JSONC
import Linux
import Networking
package import Plans

/// One run of a plugin that is not built in, per CNI 1.1, section 2 (execution protocol).
package struct ExternalCall: Sendable {
    package var type: String
    /// The executable, found before anything was changed.
    package var path: String
    package var verb: Verb
    package var id: AttachmentID
    package var sandbox: String
    package var args: String
    /// Directories, as CNI_PATH has them.
    package var searchPath: [String]
    /// The configuration, in JSON.
    package var input: [UInt8]
    /// What a result without cniVersion is taken to be.
    package var version: Version
    /// The plugin's place in the list.
    package var place = 0
    /// As in `ChildProcess.run`.
    var stop: CInt?

    /// Seconds: below every runtime's own limit, so that the undo still runs.
    static let deadline = 50

    /// The first regular file called `type` in `searchPath`.
    package static func find(_ type: String, in searchPath: [String]) throws(Failure) -> String {
        guard !type.isEmpty, !type.utf8.contains(UInt8(ascii: "/")), type != ".", type != ".." else {
            throw Failure(
                .badConfig, "invalid plugin name: \"\(type)\"",
                details: "it is the name of a file, without a path")
        }
        for directory in searchPath where isRegularFile(directory + "/" + type) {
            let path = directory + "/" + type
            guard isExecutable(path) else {
                throw Failure(
                    .generic, "plugin \"\(type)\" cannot be run: \(path) is not executable",
                    details: "chmod +x \(shellQuoted(path))")
            }
            return path
        }
        throw Failure(
            .generic, "failed to find plugin \"\(type)\" in path [\(searchPath.joined(separator: " "))]",
            details: "it is not built in: install it there, or correct the key type")
    }

    /// Runs the plugin; the result of ADD, nil of other verbs.
    ///
    /// - Parameter forwardsErrors: what it says on stderr goes on to ours when it succeeds.
    package func run(forwardsErrors: Bool = false) throws(Failure) -> CNIResult? {
        try result(of: execute(), forwardsErrors: forwardsErrors)
    }

    /// The plugin's result, or its error.
    func result(of answer: ChildResult, forwardsErrors: Bool = false) throws(Failure) -> CNIResult? {
        // An error object is an error, even when the plugin exits with 0.
        guard case .exited(0) = answer.status, !isError(answer.output) else {
            var failure = failure(answer)
            failure.plugin = type
            throw failure
        }
        if forwardsErrors {
            for line in String(decoding: answer.errors, as: UTF8.self).parts(by: "\n") where !line.isEmpty {
                writeStandardError(visible(String(line)) + "\n")
            }
        }
        guard verb == .add else { return nil }
        do throws(JSONError) {
            return try CNIResult.parse(JSON.parse(answer.output).value, assuming: version)
        } catch {
            let printed = beginning(of: answer)
            throw Failure(
                .generic, "plugin \(type) printed no valid result: \(error)",
                details: printed.isEmpty ? "its output is empty" : "output: \(printed)")
        }
    }

    private func isError(_ output: [UInt8]) -> Bool {
        guard !output.isEmpty, let json = try? JSON.parse(output).value else { return false }
        guard json["msg"]?.string?.isEmpty == false else { return false }
        // A result may have members of its author's, such as this one.
        return Failure.parse(json) != nil || json["interfaces"] == nil && json["ips"] == nil
    }

    /// Throws when the plugin did not even start.
    func execute() throws(Failure) -> ChildResult {
        do throws(SystemError) {
            return try ChildProcess.run(
                path: path, environment: environment, input: input,
                deadline: Self.deadline, stop: stop)
        } catch {
            throw Failure(.generic, "cannot run plugin \(type): \(error)", details: error.fix)
        }
    }

    /// Only the variables of the specification and those that a program needs to run.
    private var environment: [String] {
        let kept = [
            "PATH", "HOME", "LANG", "TZ", "TMPDIR", "TRACEPARENT", "TRACESTATE", "BAGGAGE",
            "CNI_NETNS_OVERRIDE",
        ]
        let attached = verb != .gc && verb != .status
        return kept.compactMap { name in Environment.value(name).map { "\(name)=\($0)" } } + [
            "CNI_COMMAND=\(verb.rawValue)", "CNI_CONTAINERID=\(attached ? id.containerID : "")",
            "CNI_NETNS=\(attached ? sandbox : "")", "CNI_IFNAME=\(attached ? id.interface : "")",
            "CNI_ARGS=\(attached ? args : "")", "CNI_PATH=\(searchPath.joined(separator: ":"))",
        ]
    }

    /// A CNI error object on stdout keeps its code; anything else is quoted.
    private func failure(_ answer: ChildResult) -> Failure {
        switch answer.status {
        case .timedOut:
            return Failure(
                .generic,
                "plugin \(type) did not end and close its stdout within \(Self.deadline) s and was killed",
                details: quote(answer))
        case .lost:
            return Failure(
                .generic, "how plugin \(type) ended is not known: its status was taken by somebody else",
                details: quote(answer))
        case .stopped:
            return Failure(
                .generic, "plugin \(type) was killed, as a signal ended the command", details: quote(answer))
        case .flooded:
            return Failure(.generic, "plugin \(type) printed more than a plugin may", details: quote(answer))
        case .signalled(let signal):
            return Failure(.generic, "plugin \(type) died of signal \(signal)", details: quote(answer))
        case .exited(let status):
            if let json = try? JSON.parse(answer.output).value, var failure = Failure.parse(json) {
                if failure.message.isEmpty { failure.message = "exit status \(status)" }
                let said = quote(answer)
                if !said.isEmpty { failure = failure.ending(with: said) }
                return failure
            }
            let printed = beginning(of: answer)
            let cause = printed.isEmpty ? "" : "it printed: \(printed)"
            return Failure(
                .unknown, "netplugin failed: plugin \(type) ended with status \(status)",
                details: [cause, quote(answer)].filter { !$0.isEmpty }.joined(separator: "; "))
        }
    }

    private func beginning(of answer: ChildResult) -> String {
        trimmed(String(decoding: answer.output.prefix(400), as: UTF8.self))
    }

    private func quote(_ answer: ChildResult) -> String {
        let errors = trimmed(String(decoding: answer.errors.suffix(400), as: UTF8.self))
        return errors.isEmpty ? "" : "stderr: \(errors)"
    }
}
