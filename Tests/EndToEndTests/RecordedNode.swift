import Foundation
import Support

/// A node whose networks are all made by scripts: each call is kept with what the plugin was given.
struct RecordedNode: Sendable {
    let node: Node
    let netns: String

    /// One call of a plugin.
    struct Call {
        let plugin: String
        let verb: String
        let interface: String
        let args: String
        let path: String
        let container: String
        let netns: String
        let input: Tree
        /// What is asked of whom, such as `ADD a net1`.
        var words: String { "\(verb) \(plugin)\(interface.isEmpty ? "" : " \(interface)")" }
    }

    init(_ plugins: String...) throws {
        node = try Node()
        netns = try node.pod("a")
        for name in ["master"] + plugins { try plugin(name) }
    }

    var directory: String { node.directory }

    /// A script's result of ADD; IF and NS stand for its interface and namespace.
    static func result(_ version: String, _ keys: String = "") -> String {
        #"{"cniVersion":"\#(version)","interfaces":[{"name":"IF","sandbox":"NS"}]\#(keys.isEmpty ? "" : ",")\#(keys)}"#
    }

    /// - Parameters:
    ///   - result: what it prints for ADD.
    ///   - body: shell, before that.
    func plugin(_ name: String, _ result: String = Self.result("1.0.0"), _ body: String = "") throws {
        try node.write("\(name).result", result)
        try node.script(
            name,
            """
            { printf '%s\\t' \(name) "$CNI_COMMAND" "$CNI_IFNAME" "$CNI_ARGS" "$CNI_PATH" "$CNI_CONTAINERID" "$CNI_NETNS"
              tr -d '\\n\\t' < \(directory)/\(name).stdin; echo; } >> \(directory)/calls
            \(body)
            [ $CNI_COMMAND = ADD ] || exit 0
            sed "s|IF|$CNI_IFNAME|g; s|NS|$CNI_NETNS|g" \(directory)/\(name).result
            """)
    }

    /// Refuses a verb, with this code.
    static func refusing(_ verb: String, _ code: Int = 100, _ text: String = "no luck") -> String {
        #"[ $CNI_COMMAND != \#(verb) ] || { echo '{"code":\#(code),"msg":"\#(text)"}'; exit 1; }"#
    }

    func calls() throws -> [Call] {
        try Shell.sh("cat \(directory)/calls 2>/dev/null || true").split(separator: "\n").map { line in
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            return Call(
                plugin: parts[0], verb: parts[1], interface: parts[2], args: parts[3], path: parts[4],
                container: parts[5], netns: parts[6], input: try Tree(parsing: parts[7]))
        }
    }

    func words() throws -> [String] { try calls().map(\.words) }

    func forget() throws { try Shell.sh("rm -f \(directory)/calls") }

    /// A network of one plugin.
    func define(_ name: String, namespace: String = "default", _ keys: String = "") throws {
        try node.define(
            name, namespace: namespace,
            #"{"cniVersion":"1.0.0","type":"\#(name)"\#(keys.isEmpty ? "" : ",")\#(keys)}"#)
    }

    /// The runtime's configuration.
    ///
    /// - Parameters:
    ///   - annotations: nil when the runtime passes none.
    ///   - delegates: `delegates` and what else there is.
    func config(
        _ annotations: [String: String]? = [:], version: String = "1.0.0", runtime: String = "",
        extra: String = "",
        delegates: String = #""delegates":[{"cniVersion":"1.0.0","name":"first","type":"master"}]"#
    ) -> String {
        let given = annotations.map { annotations -> String in
            // As the kubelet has it, so that no annotation can be told from none that was passed.
            let all = annotations.merging(["kubernetes.io/config.seen": "2026-01-02T03:04:05Z"]) { own, _ in
                own
            }
            let data = (try? JSONEncoder().encode(all)) ?? Data()
            return "\"io.kubernetes.cri.pod-annotations\":\(String(decoding: data, as: UTF8.self))"
        }
        let runtimeConfig = [given ?? "", runtime].filter { !$0.isEmpty }.joined(separator: ",")
        return """
            {"cniVersion":"\(version)","name":"node-network","type":"plexus","cniDir":"\(directory)/state",\
            "cacheDir":"\(directory)/cache","confDir":"\(directory)/conf","binDir":"\(directory)/plugins",\
            "capabilities":{"io.kubernetes.cri.pod-annotations":true},"runtimeConfig":{\(runtimeConfig)}\(extra),\
            \(delegates)}
            """
    }

    func call(
        _ verb: String, _ config: String, role: String = "plexus", id: String = "c1", netns: String? = nil,
        args: String = MetaEndToEnd.pod, path: String? = nil, prefix: [String] = []
    ) throws -> Answer {
        let isOfPod = !["GC", "STATUS"].contains(verb)
        return try node.call(
            verb, role: role, id: isOfPod ? id : "", netns: isOfPod ? netns ?? self.netns : "",
            interface: isOfPod ? "eth0" : "", args: isOfPod ? args : "", path: path, prefix: prefix, config)
    }

    /// ADD of a pod with this annotation of networks.
    func call(
        _ verb: String, networks: String, version: String = "1.0.0", runtime: String = "", extra: String = ""
    ) throws -> Answer {
        try call(
            verb,
            config(
                ["k8s.v1.cni.cncf.io/networks": networks], version: version, runtime: runtime, extra: extra))
    }

    func status() throws -> Tree { try Tree(parsing: try Shell.sh("cat \(directory)/state/status/*")) }
}
