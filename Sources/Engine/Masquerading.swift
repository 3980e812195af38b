import CNI
import Linux
import Netlink
import Network
import Plans

/// Masquerade rules, named as the reference plugins name them, so that either removes the other's.
extension Kernel {
    func ensureMasquerade(_ rule: Masquerade) throws(NetlinkError) {
        let prefix = Self.instance(rule)
        let names = [rule.networkName, rule.id.interface, rule.id.containerID].map {
            $0.filter { $0 != "\"" }
        }
        let text = "\(prefix), net: \(names[0]), if: \(names[1]), id: \(names[2])"
        // nft's limit of a comment, without its terminating NUL.
        let comment = String(decoding: text.utf8.prefix(127), as: UTF8.self)
        var socket = try NftSocket.open()
        try socket.ensureMasquerade(
            rules: rule.addresses.map {
                MasqueradeRule(address: $0.address, network: $0.network, comment: comment)
            }, instancePrefix: prefix)
    }

    func removeMasquerade(_ rule: Masquerade) throws(NetlinkError) {
        var socket = try NftSocket.open()
        _ = try socket.removeMasquerade(prefix: Self.instance(rule))
    }

    private static func instance(_ rule: Masquerade) -> String {
        let attachment = "\(rule.id.interface):\(rule.id.containerID)"
        return "\(Digest.sha512(rule.networkName).prefix(16))-\(Digest.sha512(attachment).prefix(16))"
    }
}
