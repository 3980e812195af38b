import JSONC
import Kubernetes
import Linux
import YAML

/// Where the API server is, and who asks it. What is in files is read again for each request: the kubelet and others replace
/// them while the agent runs.
struct ClusterAccess: Sendable {
    enum Material: Equatable, Sendable {
        case file(String)
        case text([UInt8])

        fileprivate func read() throws(SystemError) -> [UInt8] {
            switch self {
            case .text(let bytes): bytes
            case .file(let path): try readFile(path, limit: 1 << 20)
            }
        }
    }

    /// What a connection and a request are made with, as it was at one moment.
    struct Materials: Equatable, Sendable {
        /// PEM; empty for the system's.
        var authorities: [UInt8] = []
        var certificate: [UInt8] = []
        var key: [UInt8] = []
        var token = ""
    }

    /// `https://HOST:PORT`, with a path where it has one.
    var server: String
    var authorities: Material?
    var token: Material?
    var certificate: Material?
    var key: Material?
    /// Another name than the server's that its certificate is for.
    var serverName: String?
    var isInsecure = false

    init(server: String) {
        var server = server
        while server.hasSuffix("/") { server.removeLast() }
        self.server = server
    }

    func materials() throws(Reflector.Problem) -> Materials {
        do throws(SystemError) {
            var found = Materials()
            found.authorities = try authorities?.read() ?? []
            found.certificate = try certificate?.read() ?? []
            found.key = try key?.read() ?? []
            let text = String(decoding: try token?.read() ?? [], as: UTF8.self)
            found.token = String(text.prefix { !$0.isWhitespace })
            return found
        } catch {
            throw .broken("\(error)")
        }
    }
}

// MARK: Sources

extension ClusterAccess {
    private static let account = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// As a pod has it; nil outside of one.
    ///
    /// - Parameter variable: of the environment.
    static func inCluster(_ variable: (String) -> String? = Environment.value) -> ClusterAccess? {
        guard let host = variable("KUBERNETES_SERVICE_HOST"), let port = variable("KUBERNETES_SERVICE_PORT")
        else {
            return nil
        }
        var access = ClusterAccess(server: "https://\(host.contains(":") ? "[\(host)]" : host):\(port)")
        access.authorities = .file("\(account)/ca.crt")
        access.token = .file("\(account)/token")
        return access
    }

    /// The current context of a kubeconfig. Files that it names are relative to its own folder.
    static func kubeconfig(_ path: String) throws(JSONError) -> ClusterAccess {
        var bytes: [UInt8] = []
        do throws(SystemError) { bytes = try readFile(path, limit: 1 << 20) } catch {
            throw JSONError(path: "", problem: "\(error)")
        }
        do throws(JSONError) { return try Kubeconfig(Reader(YAML.parse(bytes)), path).access() } catch {
            throw JSONError(path: "", problem: "\(path): \(error)")
        }
    }
}

private struct Kubeconfig {
    let root: Reader
    let folder: String

    init(_ root: Reader, _ path: String) {
        self.root = root
        folder = path.contains("/") ? String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)]) : "."
    }

    func access() throws(JSONError) -> ClusterAccess {
        guard let current = try root.string("current-context"), !current.isEmpty else {
            throw root.error("current-context", "is missing: kubectl config use-context NAME")
        }
        let context = try named("contexts", "context", current)
        let cluster = try named("clusters", "cluster", try context.string("cluster") ?? "")
        guard let server = try cluster.string("server"),
            server.hasPrefix("https://") || server.hasPrefix("http://")
        else { throw cluster.error("server", "is no URL: https://HOST:PORT") }
        var access = ClusterAccess(server: server)
        access.authorities = try material(cluster, "certificate-authority")
        access.serverName = try cluster.string("tls-server-name")
        access.isInsecure = try cluster.bool("insecure-skip-tls-verify") ?? false
        guard let name = try context.string("user"), !name.isEmpty else { return access }
        let user = try named("users", "user", name)
        for key in ["exec", "auth-provider", "username"] where user.has(key) {
            throw user.error(
                key,
                "is a way to log in that the agent does not know: give it a token, or a client certificate")
        }
        access.certificate = try material(user, "client-certificate")
        access.key = try material(user, "client-key")
        if let file = try user.string("tokenFile"), !file.isEmpty {
            access.token = .file(absolute(file))
        } else if let token = try user.string("token"), !token.isEmpty {
            access.token = .text(Array(token.utf8))
        }
        return access
    }

    /// The element of a list that has this name.
    private func named(_ list: String, _ key: String, _ name: String) throws(JSONError) -> Reader {
        for element in try root.list(list) ?? [] where try element.string("name") == name {
            if let found = try element.object(key) { return found }
        }
        throw root.error(list, "has no \"\(name)\"")
    }

    /// `KEY-data` is base64, and goes before the file that `KEY` names.
    private func material(_ reader: Reader, _ key: String) throws(JSONError) -> ClusterAccess.Material? {
        if let text = try reader.string("\(key)-data"), !text.isEmpty {
            guard let bytes = decodedBase64(text) else {
                throw reader.error("\(key)-data", "is no base64")
            }
            return .text(bytes)
        }
        guard let file = try reader.string(key), !file.isEmpty else { return nil }
        return .file(absolute(file))
    }

    private func absolute(_ file: String) -> String { file.hasPrefix("/") ? file : "\(folder)/\(file)" }
}
