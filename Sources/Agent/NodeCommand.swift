import CNI
import JSONC
import Linux
import Meta
import NIOPosix
import Plans

/// The CNI executable, called as a person or a runtime calls it.
struct NodeCommand: Sendable {
    let executable: String
    /// The runtime's configuration; nil for the one that the executable finds.
    let configuration: String?

    struct Refusal: Error, Sendable { let text: String }

    /// Seconds: an attachment may wait for a DHCP server.
    private static let patience = 300

    /// `plexus WORDS`.
    ///
    /// - Returns: what it printed on stderr.
    @discardableResult
    func run(_ words: [String]) async throws(Refusal) -> String {
        let chosen = configuration.map { ["--config", $0] } ?? []
        return try await call(words + chosen, [], [])
    }

    /// DEL, as the runtime should have called it.
    func delete(
        _ id: AttachmentID, sandbox: String, args: String, searchPath: [String]
    ) async throws(Refusal) {
        guard let file = configuration ?? NodeConfiguration.current() else {
            throw Refusal(text: "/etc/cni/net.d has no configuration of plexus or multus")
        }
        let input: [UInt8]
        do { input = try Explanation.input(try readFile(file, limit: JSON.maximumSize)) } catch {
            throw Refusal(text: "\(file): \(error)")
        }
        _ = try await call(
            [],
            [
                "CNI_COMMAND=DEL", "CNI_CONTAINERID=\(id.containerID)", "CNI_IFNAME=\(id.interface)",
                "CNI_NETNS=\(sandbox)", "CNI_ARGS=\(args)", "CNI_PATH=\(searchPath.joined(separator: ":"))",
            ], input)
    }

    private func call(
        _ words: [String], _ environment: [String], _ input: [UInt8]
    ) async throws(Refusal) -> String {
        let result: ChildResult
        do {
            // It blocks a thread that nobody else needs.
            result = try await NIOThreadPool.singleton.runIfActive { [executable] in
                try ChildProcess.run(
                    path: executable, arguments: words, environment: environment, input: input,
                    deadline: Self.patience)
            }
        } catch {
            throw Refusal(text: "\(executable) cannot be run: \(error)")
        }
        let errors = String(decoding: result.errors, as: UTF8.self)
        guard result.status == .exited(0) else { throw Refusal(text: Self.problem(result, errors)) }
        return errors
    }

    private static func problem(_ result: ChildResult, _ errors: String) -> String {
        // A runtime gets its error on stdout.
        if let json = try? JSON.parse(result.output).value, let message = json["msg"]?.string {
            let details = json["details"]?.string ?? ""
            return details.isEmpty ? message : "\(message); \(details)"
        }
        let text = errors.split(separator: "\n").joined(separator: " ")
        return text.isEmpty ? "it ended with \(result.status)" : text
    }
}
