package import CNI
package import JSONC

/// One attachment as the engine runs it: a network list, and for whom.
package struct AttachmentSpec: Sendable {
    /// How errors and the log call it: `default/net-b`, or the network's name.
    package var name: String
    package var id: AttachmentID
    /// CNI_NETNS as given.
    package var sandbox: String
    /// CNI_ARGS for the plugins.
    package var args: String
    package var list: NetworkList
    /// What the plugins may get, by capability.
    package var runtimeConfig: JSONObject
    /// Merged into `args.cni` of every plugin.
    package var cniArgs: JSONObject?
    /// Where plugins that are not built in are looked for.
    package var searchPath: [String]
    /// Types whose executable is preferred to the built-in module.
    package var external: [String]
    /// The configuration as it came on stdin, which an IPAM plugin gets unchanged under a plugin's own name.
    package var source: [UInt8]?
    /// What the pod's annotation asks for besides `runtimeConfig` and `cniArgs`: no built-in plugin looks at it.
    package var wishes: [String] = []
    /// The pod's annotation `networks` asks for it: it goes when that does not any more. nil in a record of an earlier
    /// release, which did not say.
    package var isAsked: Bool?
    /// The device plugin's resource that the definition names.
    package var resource: String?
    /// The device of that resource that this attachment has: `deviceID` and `pciBusID` of each plugin.
    package var deviceID: String?
    /// Where the network's configuration stands: a file, or a key of the meta-plugin's own.
    package var origin = ""

    /// What an error of the network ends with.
    package var place: String { origin.isEmpty ? "" : "configured in \(origin)" }

    package init(
        name: String, id: AttachmentID, sandbox: String, args: String, list: NetworkList,
        runtimeConfig: JSONObject = [:], cniArgs: JSONObject? = nil, searchPath: [String],
        external: [String] = []
    ) {
        self.name = name
        self.id = id
        self.sandbox = sandbox
        self.args = args
        self.list = list
        self.runtimeConfig = runtimeConfig
        self.cniArgs = cniArgs
        self.searchPath = searchPath
        self.external = external
    }

    /// For whom and where, in a log.
    package var subject: String {
        "\(Pod(ofArgs: args)?.logged ?? "container \(id.containerID)"), \(name) on \(id.interface)"
    }

    /// Whether the value at this path was passed by a runtime, and is not from a configuration.
    package func isPassed(_ key: String) -> Bool {
        let head = "runtimeConfig."
        guard key.hasPrefix(head) else { return key.hasPrefix("CNI_ARGS") }
        return runtimeConfig[String(key.dropFirst(head.count).prefix { $0 != "." && $0 != "[" })] != nil
    }

    package func attachment() -> Attachment {
        var attachment = Attachment(id: id, sandbox: sandbox, networkName: list.name)
        attachment.label = name
        return attachment
    }
}
