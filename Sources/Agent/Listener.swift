import Definitions
import Glibc
import JSONC
import Linux
import NIOCore
import NIOPosix
import ServiceLifecycle

/// The socket by which the CNI executable asks: a line of JSON each way, and a connection for each.
struct Listener: Service {
    let path: String
    let needs: Needs
    let publisher: Publisher
    let metrics: Metrics

    private static let longestLine = 1 << 20
    /// Milliseconds.
    private static let patience: Int64 = 5000

    func run() async throws {
        try await prepare()
        let server = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.backlog, value: 64)
            .bind(unixDomainSocketPath: draft) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ByteToMessageHandler(LineDecoder(), maximumBufferSize: Self.longestLine))
                    return try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        // Only root asks. An ADD that finds no socket takes it that there is no agent: one is there all the time.
        guard chmod(draft, 0o600) == 0, rename(draft, path) == 0 else {
            throw SystemError("put the socket \(path) in its place")
        }
        try await untilShutdown {
            try await withThrowingDiscardingTaskGroup { group in
                try await server.executeThenClose { connections in
                    for try await connection in connections {
                        group.addTask { await serve(connection) }
                    }
                }
            }
        }
    }

    private var draft: String { "\(path).new" }

    /// What an agent that was killed has left there is in the way.
    private func prepare() async throws {
        let folder = path.split(separator: "/").dropLast().joined(separator: "/")
        _ = try Directory.create("/" + folder, mode: 0o700)
        let deadline = monotonicMilliseconds() + Self.patience
        while somebodyListens(at: path) {
            // One that was killed may still be ending.
            guard monotonicMilliseconds() < deadline else {
                throw SystemError(refusing: "another agent listens at \(path)")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        removeFile(draft)
    }

    private func serve(_ connection: NIOAsyncChannel<ByteBuffer, ByteBuffer>) async {
        // A caller that is gone needs no answer.
        try? await connection.executeThenClose { lines, answers in
            for try await line in lines {
                guard let answer = await answer(Array(line.readableBytesView)) else { continue }
                try await answers.write(ByteBuffer(bytes: answer.bytes() + [UInt8(ascii: "\n")]))
            }
        }
    }

    /// nil for what needs none.
    private func answer(_ line: [UInt8]) async -> JSON? {
        do throws(JSONError) {
            let json = try JSON.parse(line).value
            if let report = try CallReport(json) {
                metrics.count(report)
                return nil
            }
            if let need = try Need(json) { return await needs.answer(need).json }
            if let publication = try Publication(json) {
                let problem = await publisher.published(
                    publication.file, in: publication.cniDir,
                    until: monotonicMilliseconds() + publication.milliseconds)
                return AgentAnswer(problem: problem).json
            }
            return AgentAnswer(problem: "the agent does not know this request").json
        } catch {
            return AgentAnswer(problem: "the request cannot be read: \(error)").json
        }
    }
}

/// Lines without their ends.
private struct LineDecoder: ByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let end = buffer.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) else {
            return .needMoreData
        }
        guard let line = buffer.readSlice(length: end - buffer.readerIndex) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: 1)
        context.fireChannelRead(wrapInboundOut(line))
        return .continue
    }
}
