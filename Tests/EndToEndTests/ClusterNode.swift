import Foundation
import Support

/// A node of a cluster: an API server on an etcd of its own (Tests/Cluster), the agent, and pods.
final class ClusterNode: Sendable, RunsProcesses {
    let node: Node
    let processes: Processes

    static let agent = ProcessInfo.processInfo.environment["PLEXUS_AGENT"]
    private let curl: String
    private static let server = "\(Node.repository)/Tests/Cluster/apiserver"

    /// - Parameters:
    ///   - user: of the kubeconfig.
    ///   - isSecure: over TLS, with certificates in `tls`, and users as `users.json` says.
    init(user: String = "{}", isSecure: Bool = false) throws {
        node = try MetaEndToEnd.node()
        processes = try Processes(node)
        curl = "curl -s" + (isSecure ? " -k -H 'Authorization: Bearer admin'" : "")
        try Shell.sh("rm -rf \(node.directory)/cache")
        try node.write("conf.json", configuration)
        var options = ""
        if isSecure {
            try certify()
            try allow(token: "first")
            options =
                "--cert \(directory)/tls/server.crt --key \(directory)/tls/server.key --client-ca \(directory)/tls/ca.crt --users \(directory)/users.json"
        }
        try start(
            "server",
            "\(Self.server) --data-dir \(node.directory)/etcd --listen 127.0.0.1:8080 --control 127.0.0.1:8081 --crds \(options)"
        )
        try until("the API server is ready") { try log("server").contains("\"url\"") }
        try node.write(
            "kubeconfig",
            """
            apiVersion: v1
            kind: Config
            current-context: test
            contexts: [{name: test, context: {cluster: test, user: test}}]
            clusters: [{name: test, cluster: {server: "\(isSecure ? "https" : "http")://127.0.0.1:8080"\(isSecure ? ", certificate-authority: tls/ca.crt" : "")}}]
            users: [{name: test, user: \(user)}]

            """)
    }

    /// An authority, and a server's and a client's certificate of it.
    private func certify() throws {
        try node.write("tls/names", "subjectAltName=IP:127.0.0.1")
        try Shell.sh(
            """
            cd \(directory)/tls && exec 2>/dev/null
            openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 2
            for name in server client; do
                openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
                openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out $name.crt -days 2 -extfile names
            done
            """)
    }

    /// Whom the API server knows from now on: one with this token, and the client of the certificate.
    func allow(token: String) throws {
        try node.write(
            "users.new",
            """
            [{"user":"admin","token":"admin"},{"user":"agent","token":"\(token)"},{"user":"client"}]
            """)
        try Shell.sh("mv \(directory)/users.new \(directory)/users.json")
    }

    var directory: String { node.directory }
    var configuration: String { configuration() }

    /// The runtime's: pods' annotations come from the cache.
    func configuration(_ extra: String = "") -> String {
        """
        {"cniVersion":"1.0.0","name":"node-network","type":"plexus","cniDir":"\(node.directory)/state",\
        "cacheDir":"\(node.directory)/cache","binDir":"\(node.directory)/plugins",\
        "agentSocket":"\(node.directory)/agent/agent.sock"\(extra.isEmpty ? "" : ",")\(extra),\
        "delegates":[{"cniVersion":"1.0.0","name":"default-network","type":"bridge","bridge":"cni0",\
        \(Node.ipam("10.244.0.0/24").replacing("DIR", with: node.directory))}]}
        """
    }

    // MARK: Programs

    func startAgent(_ options: String = "") throws {
        try start(
            "agent",
            """
            \(Self.agent ?? "no-agent") --node-name n1 --kubeconfig \(directory)/kubeconfig --log-level debug \
            --cache-dir \(directory)/cache --cni-dir \(directory)/state --socket \(directory)/agent/agent.sock \
            --executable \(directory)/bin/plexus --config \(directory)/conf.json --listen 127.0.0.1:9105 \
            --dhcp-socket \(directory)/agent/dhcp.sock \(options)
            """)
    }

    func startReadyAgent(_ options: String = "") throws {
        try startAgent(options)
        try until("the agent is ready") { try get("9105", "/readyz") == "ok\n" }
    }

    // MARK: The API server

    /// What a port of the node answers.
    func get(_ port: String, _ path: String) throws -> String {
        try node.sh("curl -s http://127.0.0.1:\(port)\(path) || true")
    }

    /// - Returns: the answer of the API server, or of its control channel.
    @discardableResult
    func ask(
        _ method: String, _ path: String, _ body: String? = nil, port: Int = 8080,
        type: String = "application/json"
    ) throws -> Tree {
        if let body { try node.write("body", body) }
        let data = body == nil ? "" : "--data-binary @\(directory)/body -H 'Content-Type: \(type)'"
        let scheme = curl.contains("-k") && port == 8080 ? "https" : "http"
        let text = try node.sh("\(curl) -X \(method) \(data) '\(scheme)://127.0.0.1:\(port)\(path)'")
        return text.isEmpty ? try Tree(parsing: "{}") : try Tree(parsing: text)
    }

    func control(_ method: String, _ path: String, _ body: String? = nil) throws -> Tree {
        try ask(method, path, body, port: 8081)
    }

    /// Requests of the agent since the last time they were forgotten, by verb and resource.
    func requests() throws -> [String] {
        try control("GET", "/requests").list.filter { $0["agent"].string?.hasPrefix("plexus-agent") == true }
            .map {
                "\($0["verb"].string ?? "") \($0["resource"].string ?? "")"
            }
    }

    func forgetRequests() throws { _ = try control("DELETE", "/requests") }

    func create(network name: String, bridge: String, subnet: String, namespace: String = "default") throws {
        let config = #"{"cniVersion":"1.0.0","type":"bridge","bridge":"\#(bridge)",IPAM}"#
            .replacing("IPAM", with: Node.ipam(subnet)).replacing("DIR", with: directory)
        try create(network: name, config, namespace: namespace)
    }

    func create(network name: String, _ config: String, namespace: String = "default") throws {
        try ask(
            "POST", "/apis/k8s.cni.cncf.io/v1/namespaces/\(namespace)/network-attachment-definitions",
            """
            {"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"\(name)"},\
            "spec":{"config":"\(config.replacing("\"", with: "\\\""))"}}
            """)
    }

    /// - Returns: its UID.
    @discardableResult
    func create(pod name: String, networks: String?, node: String = "n1") throws -> String {
        let annotations = networks.map {
            "\"k8s.v1.cni.cncf.io/networks\":\"\($0.replacing("\"", with: "\\\""))\""
        }
        let pod = try ask(
            "POST", "/api/v1/namespaces/default/pods",
            """
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"\(name)","annotations":{\(annotations ?? "")}},\
            "spec":{"nodeName":"\(node)","containers":[{"name":"a","image":"b"}]}}
            """)
        return pod["metadata"]["uid"].string ?? ""
    }

    func annotate(pod name: String, networks: String) throws {
        try ask(
            "PATCH", "/api/v1/namespaces/default/pods/\(name)",
            #"{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/networks":"\#(networks.replacing("\"", with: "\\\""))"}}}"#,
            type: "application/merge-patch+json")
    }

    func pod(_ name: String) throws -> Tree { try ask("GET", "/api/v1/namespaces/default/pods/\(name)") }

    func remove(pod name: String) throws {
        try ask("DELETE", "/api/v1/namespaces/default/pods/\(name)?gracePeriodSeconds=0")
    }

    /// The annotation of a pod, as text; nil without one.
    func status(_ name: String) throws -> String? {
        try pod(name)["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].string
    }

    /// Of events: reason and message.
    func events() throws -> [(reason: String, message: String)] {
        try ask("GET", "/api/v1/namespaces/default/events")["items"].list.map {
            ($0["reason"].string ?? "", $0["message"].string ?? "")
        }
    }

    // MARK: The node

    /// A call of the runtime for a pod `NAME` in a namespace of that name.
    func call(_ verb: String, _ pod: String, uid: String, id: String? = nil, extra: String = "") throws
        -> Answer
    {
        try node.call(
            verb, id: id ?? "c-\(pod)", netns: "/run/netns/\(node.name)-\(pod)",
            args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=\(pod);K8S_POD_UID=\(uid)",
            configuration(extra))
    }

    /// Files of the cache, below its folder.
    func cached() throws -> Set<String> {
        Set(
            try Shell.sh("cd \(directory)/cache 2>/dev/null && find . -name '*.json' -path './*/*/*' || true")
                .split(separator: "\n").map { String($0.dropFirst(2)) })
    }

    func memory() throws -> Int {
        Int(
            try Shell.sh(
                "awk '/VmRSS/{print $2}' /proc/$(pgrep -P \(number("agent")) || echo \(number("agent")))/status"
            )) ?? 0
    }
}
