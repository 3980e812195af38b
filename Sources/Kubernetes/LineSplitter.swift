/// Takes a stream apart into lines, which may be of any size and come in any pieces.
package struct LineSplitter: Sendable {
    private var rest: [UInt8] = []
    private let limit: Int

    /// A line was longer than the limit.
    package struct TooLong: Error, Sendable {
        package let limit: Int
    }

    /// - Parameter limit: bytes of a line. An object of the API server has 1.5 MiB in etcd, and more as JSON.
    package init(limit: Int = 16 << 20) { self.limit = limit }

    /// - Returns: the lines that ended in this piece, without their ends; empty ones are left out.
    package mutating func take(_ piece: some Collection<UInt8>) throws(TooLong) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var left = piece[...]
        while let end = left.firstIndex(of: UInt8(ascii: "\n")) {
            rest += left[..<end]
            if !rest.isEmpty { lines.append(rest) }
            rest = []
            left = left[left.index(after: end)...]
        }
        rest += left
        guard rest.count <= limit else { throw TooLong(limit: limit) }
        return lines
    }
}
