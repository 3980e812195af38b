import DHCP
import Engine
import IPAM
import Linux

/// What a descriptor and a clock drive: talk about one lease.
protocol Dialog {
    /// When it has something to do.
    var wakeup: Int64 { get }
    /// Readable when an answer has come.
    var raw: CInt { get }
}

/// About a lease that is there.
struct Talk: Dialog {
    let record: DHCPRecord
    let link: SandboxLink
    /// Of the lease when it began.
    let stage: DHCPRecord.Stage
    /// When it is given up.
    let end: Int64
    let conversation: DHCPConversation

    var wakeup: Int64 { min(conversation.exchange.wakeup, end) }
    var raw: CInt { conversation.socket.raw }
}
