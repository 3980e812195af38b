/// Which table decides for the packets of a source; `ip rule`. linux/fib_rules.h.
package struct RoutingRule: Hashable, Sendable {
    package var source: CIDR
    package var table: UInt32
    /// nil: the kernel takes one below the lowest that exists, 32765 for the first rule.
    package var priority: UInt32?

    package init(from source: CIDR, table: UInt32, priority: UInt32? = nil) {
        self.source = source
        self.table = table
        self.priority = priority
    }

    /// As `ip rule` takes it.
    package var words: String {
        "from \(source) table \(table)" + (priority.map { " priority \($0)" } ?? "")
    }
}
