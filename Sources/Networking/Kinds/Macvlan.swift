/// Kernel: drivers/net/macvlan.c.
package struct MacvlanKind: LinkKind {
    package static let name = "macvlan"
    package var mode: MACVLANMode
    /// Length of the parent's queue of broadcasts; nil leaves it to the kernel.
    package var broadcastQueue: UInt32?

    package init(_ mode: MACVLANMode, broadcastQueue: UInt32? = nil) {
        self.mode = mode
        self.broadcastQueue = broadcastQueue
    }

    package var words: [String] {
        ["mode", mode.name] + (broadcastQueue.map { ["bcqueuelen", "\($0)"] } ?? [])
    }

    package func encode(with encoder: some LinkKindEncoder) { encoder.encode(self) }
}

extension LinkKind where Self == MacvlanKind {
    package static func macvlan(_ mode: MACVLANMode, broadcastQueue: UInt32? = nil) -> MacvlanKind {
        MacvlanKind(mode, broadcastQueue: broadcastQueue)
    }
}

/// linux/if_link.h, `enum macvlan_mode`.
package enum MACVLANMode: UInt32, Sendable, CaseIterable {
    case `private` = 1
    case vepa = 2
    case bridge = 4
    case passthru = 8

    package var name: String { "\(self)" }
}
