import Networking

/// What a runtime asks in the environment. CNI 1.1, "Parameters".
package struct Invocation: Sendable {
    /// CNI_COMMAND as given.
    package let command: String
    /// nil for a command that no version knows.
    package let verb: Verb?
    package let containerID: String
    /// CNI_NETNS; empty on a DEL whose namespace is gone.
    package let netns: String
    package let interface: String
    /// CNI_ARGS.
    package let args: String
    /// CNI_PATH, its directories.
    package let path: [String]
    /// CNI_NETNS_OVERRIDE: the plugin's own namespace is accepted.
    package let netnsOverride: Bool

    /// Bytes: with an interface's name and a suffix it names files and nftables chains, which take 255.
    private static let longestID = 200

    package static func isContainerID(_ text: String) -> Bool {
        Names.isIdentifier(text) && text.utf8.count <= longestID
    }

    /// - Parameters:
    ///   - requiresPath: CNI_PATH must be given, as the reference plugins have it.
    ///   - variable: looks up an environment variable.
    /// - Returns: nil without CNI_COMMAND.
    /// - Throws: code 4 for what is missing or malformed.
    package static func read(
        requiresPath: Bool = false, _ variable: (String) -> String?
    ) throws(Failure) -> Invocation? {
        guard let command = variable("CNI_COMMAND"), !command.isEmpty else { return nil }
        let invocation = Invocation(
            command: command, verb: Verb(rawValue: command), containerID: variable("CNI_CONTAINERID") ?? "",
            netns: variable("CNI_NETNS") ?? "", interface: variable("CNI_IFNAME") ?? "",
            args: variable("CNI_ARGS") ?? "",
            path: (variable("CNI_PATH") ?? "").parts(by: ":").filter { !$0.isEmpty }.map(String.init),
            netnsOverride: ["1", "true"].contains(variable("CNI_NETNS_OVERRIDE")?.lowercased() ?? ""))
        try invocation.validate(requiresPath)
        return invocation
    }

    private func validate(_ requiresPath: Bool) throws(Failure) {
        var missing: [String] = []
        if verb == .add || verb == .del || verb == .check { try validateAttachment(&missing) }
        if requiresPath, path.isEmpty, verb != .version { missing.append("CNI_PATH") }
        guard missing.isEmpty else {
            throw Failure(
                .badEnvironment, "required env variables [\(missing.joined(separator: ","))] missing",
                details:
                    "the runtime sets them; by hand: env CNI_COMMAND=ADD CNI_CONTAINERID=... plexus < config")
        }
    }

    private func validateAttachment(_ missing: inout [String]) throws(Failure) {
        if containerID.isEmpty {
            missing.append("CNI_CONTAINERID")
        } else if !Names.isIdentifier(containerID) {
            throw Failure(
                .badEnvironment, "invalid characters in containerID",
                details:
                    "CNI_CONTAINERID=\(containerID): letters, digits, '_', '.' and '-', the first one alphanumeric"
            )
        }
        if containerID.utf8.count > Self.longestID {
            throw Failure(
                .badEnvironment, "the containerID is too long",
                details: "CNI_CONTAINERID has \(containerID.utf8.count) bytes, the limit is \(Self.longestID)"
            )
        }
        if verb != .del, netns.isEmpty { missing.append("CNI_NETNS") }
        if interface.isEmpty {
            missing.append("CNI_IFNAME")
        } else if let problem = verb == .del
            ? Names.kernelProblem(interface) : Names.interfaceProblem(interface)
        {
            throw Failure(
                .badEnvironment, "interface name is invalid", details: "CNI_IFNAME=\(interface) \(problem)")
        }
    }
}
