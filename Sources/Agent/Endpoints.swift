import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle

/// `/healthz`, `/readyz` and `/metrics` over HTTP, for the kubelet and Prometheus.
struct Endpoints: Service {
    /// HOST and port.
    let host: String
    let port: Int
    let metrics: Metrics
    /// Why the agent is not ready; nil when it is.
    let problem: @Sendable () async -> String?
    /// Brings gauges up to date before they are read.
    let refresh: @Sendable () async -> Void

    private typealias Connection = NIOAsyncChannel<
        HTTPServerRequestPart, HTTPPart<HTTPResponseHead, ByteBuffer>
    >

    func run() async throws {
        try await untilShutdown {
            let server = try await self.bound()
            try await withThrowingDiscardingTaskGroup { group in
                try await server.executeThenClose { connections in
                    for try await connection in connections { group.addTask { await serve(connection) } }
                }
            }
        }
    }

    /// An agent that was killed may still be ending, and have the port.
    private func bound() async throws -> NIOAsyncChannel<Connection, Never> {
        for _ in 0..<100 {
            do { return try await bind() } catch let error as IOError where error.errnoCode == EADDRINUSE {
                try await Task.sleep(for: .milliseconds(50))
            }
        }
        return try await bind()
    }

    private func bind() async throws -> NIOAsyncChannel<Connection, Never> {
        try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .bind(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(ResponseParts())
                    return try Connection(wrappingChannelSynchronously: channel)
                }
            }
    }

    private func serve(_ connection: Connection) async {
        // Who asks and goes needs no answer.
        try? await connection.executeThenClose { requests, answers in
            for try await part in requests {
                guard case .head(let head) = part else { continue }
                let (status, type, text) = await answer(head)
                var headers = HTTPHeaders([("Content-Type", type), ("Content-Length", "\(text.utf8.count)")])
                if !head.isKeepAlive { headers.add(name: "Connection", value: "close") }
                try await answers.write(
                    .head(HTTPResponseHead(version: head.version, status: status, headers: headers)))
                if head.method != .HEAD { try await answers.write(.body(ByteBuffer(string: text))) }
                try await answers.write(.end(nil))
                if !head.isKeepAlive { return }
            }
        }
    }

    private func answer(_ head: HTTPRequestHead) async -> (HTTPResponseStatus, type: String, text: String) {
        let plain = "text/plain; charset=utf-8"
        guard head.method == .GET || head.method == .HEAD else {
            return (.methodNotAllowed, plain, "GET alone\n")
        }
        switch head.uri.prefix(while: { $0 != "?" }) {
        case "/healthz": return (.ok, plain, "ok\n")
        case "/readyz":
            if let problem = await problem() { return (.serviceUnavailable, plain, problem + "\n") }
            return (.ok, plain, "ok\n")
        case "/metrics":
            await refresh()
            return (.ok, "text/plain; version=0.0.4; charset=utf-8", metrics.text)
        default: return (.notFound, plain, "there are /healthz, /readyz and /metrics\n")
        }
    }
}

/// A response's body as a buffer.
private final class ResponseParts: ChannelOutboundHandler {
    typealias OutboundIn = HTTPPart<HTTPResponseHead, ByteBuffer>
    typealias OutboundOut = HTTPServerResponsePart

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part: HTTPServerResponsePart =
            switch unwrapOutboundIn(data) {
            case .head(let head): .head(head)
            case .body(let body): .body(.byteBuffer(body))
            case .end(let trailers): .end(trailers)
            }
        context.write(wrapOutboundOut(part), promise: promise)
    }
}
