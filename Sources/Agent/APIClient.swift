import AsyncHTTPClient
import Kubernetes
import NIOCore
import NIOHTTP1
import NIOSSL

/// Asks the API server. Each request is made with the token and the certificates that are in the files then.
actor APIClient {
    private let access: ClusterAccess
    /// The client, and what it was made with.
    private var current: (client: HTTPClient, materials: ClusterAccess.Materials)?

    /// Of a stream that says nothing: the server sends bookmarks each minute.
    private static let longestSilence = TimeAmount.seconds(90)
    private static let patience = TimeAmount.seconds(30)
    private static let largestAnswer = 64 << 20

    private let metrics: Metrics

    init(_ access: ClusterAccess, _ metrics: Metrics) {
        self.access = access
        self.metrics = metrics
    }

    struct Call: Sendable {
        var method = HTTPMethod.GET
        /// With its query.
        var path: String
        var accept = "application/json"
        var body: (type: String, bytes: [UInt8])?
    }

    /// - Returns: the body of a success.
    func send(_ call: Call) async throws(Reflector.Problem) -> [UInt8] {
        let response = try await answered(call, until: Self.patience)
        return try await body(response)
    }

    /// - Returns: the pieces of the body, as they come.
    func stream(_ call: Call, seconds: Int) async throws(Reflector.Problem) -> HTTPClientResponse.Body {
        try await answered(call, until: .seconds(Int64(seconds) + 30)).body
    }

    func shutDown() async {
        // One that fails has closed what it could.
        try? await current?.client.shutdown()
        current = nil
    }

    private func answered(
        _ call: Call, until patience: TimeAmount
    ) async throws(Reflector.Problem) -> HTTPClientResponse {
        var response = try await execute(call, patience)
        // The file may have had another token a moment later.
        if response.status.code == 401 { response = try await execute(call, patience) }
        guard !(200...299).contains(response.status.code) else { return response }
        let retryAfter = response.headers.first(name: "Retry-After")
        let code = Int(response.status.code)
        throw .status(APIStatus(code: code, body: try await body(response), retryAfter: retryAfter))
    }

    private func execute(
        _ call: Call, _ patience: TimeAmount
    ) async throws(Reflector.Problem) -> HTTPClientResponse {
        let materials = try access.materials()
        let client = try await client(materials)
        var request = HTTPClientRequest(url: access.url + call.path)
        request.method = call.method
        request.headers.add(name: "Accept", value: call.accept)
        request.headers.add(name: "User-Agent", value: "plexus-agent")
        if !materials.token.isEmpty {
            request.headers.add(name: "Authorization", value: "Bearer \(materials.token)")
        }
        if let (type, bytes) = call.body {
            request.headers.add(name: "Content-Type", value: type)
            request.body = .bytes(bytes, length: .known(Int64(bytes.count)))
        }
        var code = "none"
        defer {
            metrics.count(
                "plexus_api_requests_total", "Requests to the API server, by their answers.",
                ["method": call.method.rawValue, "code": code])
        }
        do {
            let response = try await client.execute(request, timeout: patience)
            code = "\(response.status.code)"
            return response
        } catch {
            throw .broken("\(access.server): \(error)")
        }
    }

    private func body(_ response: HTTPClientResponse) async throws(Reflector.Problem) -> [UInt8] {
        do { return Array(buffer: try await response.body.collect(upTo: Self.largestAnswer)) } catch {
            throw .broken("\(access.server): the answer broke off: \(error)")
        }
    }

    private func client(_ materials: ClusterAccess.Materials) async throws(Reflector.Problem) -> HTTPClient {
        // The token goes with each request.
        if let current, current.materials.isSame(connectionAs: materials) { return current.client }
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(connect: .seconds(2), read: Self.longestSilence))
        configuration.httpVersion = .http1Only
        configuration.tlsConfiguration = try tls(materials)
        if let name = access.serverName { configuration.dnsOverride = [name: access.host] }
        let old = current?.client
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        current = (client, materials)
        // Its streams end, and are opened again by the new one.
        if let old { Task { try? await old.shutdown() } }
        return client
    }

    private func tls(_ materials: ClusterAccess.Materials) throws(Reflector.Problem) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        if access.isInsecure { tls.certificateVerification = .none }
        do {
            if !materials.authorities.isEmpty {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(materials.authorities))
            }
            if !materials.certificate.isEmpty {
                tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(materials.certificate).map {
                    .certificate($0)
                }
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: materials.key, format: .pem))
            }
        } catch {
            throw .broken("the certificates of \(access.server) cannot be used: \(error)")
        }
        return tls
    }
}

extension ClusterAccess.Materials {
    fileprivate func isSame(connectionAs other: Self) -> Bool {
        authorities == other.authorities && certificate == other.certificate && key == other.key
    }
}

extension ClusterAccess {
    private var parts: (scheme: Substring, host: Substring, rest: Substring) {
        let start = server.index(server.startIndex, offsetBy: server.hasPrefix("https://") ? 8 : 7)
        let end = server[start...].firstIndex(of: "/") ?? server.endIndex
        let authority = server[start..<end]
        // An IPv6 address has colons, in brackets.
        let colon = authority.lastIndex { $0 == ":" || $0 == "]" }.flatMap { authority[$0] == ":" ? $0 : nil }
        return (server[..<start], authority[..<(colon ?? end)], server[(colon ?? end)...])
    }

    fileprivate var host: String { String(parts.host) }

    /// With the name that the server's certificate is for.
    fileprivate var url: String {
        guard let serverName else { return server }
        return parts.scheme + serverName + parts.rest
    }
}
