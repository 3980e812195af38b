import Linux
import NIOCore
import NIOPosix

/// Tells when files come to a folder or go, for as long as the loop over it runs. The folder is made when it is not there.
struct FolderWatch: Sendable {
    let path: String

    /// - Parameter body: runs at once, and after each change.
    func follow(_ body: @escaping @Sendable () async -> Void) async throws {
        var isNew = false
        _ = try Directory.createTrusted(path, mode: 0o700, &isNew)
        let descriptor = try DirectoryWatch.open(path).release()
        let channel = try await NIOPipeBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .takingOwnershipOfDescriptor(input: descriptor) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, Never>(wrappingChannelSynchronously: channel)
                }
            }
        try await channel.executeThenClose { changes in
            await body()
            // What came together is one reason to look.
            for try await _ in changes { await body() }
        }
    }
}
