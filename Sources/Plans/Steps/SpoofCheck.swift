package import Networking

/// Lets bridge ports send with their own source address alone, by nftables.
package enum SpoofCheckStep: StepKind {
    case ensure(SpoofCheck)
    /// - Parameters:
    ///   - name: as in `SpoofCheck`.
    ///   - ports: those that the attachment may have: of another one that is there it is another attachment's, which reads
    ///     alike.
    case remove(_ name: String, ports: [String])

    package var name: String {
        switch self {
        case .ensure: "spoofCheck"
        case .remove: "removeSpoofCheck"
        }
    }

    package var commands: [String] {
        switch self {
        case .ensure(let check): return Self.untypable(check.name) ?? check.changes.map(\.command)
        case .remove(let name, _):
            let chains = SpoofChains(name)
            return Self.untypable(name)
                ?? ["# delete the rule of PREROUTING with the comment \(chains.comment)"]
                + [chains.interface.name, chains.mac.name].map { "nft delete chain bridge nat \($0)" }
        }
    }

    /// The grammar of nft has no quotes for names; over netlink they may be anything, and the reference plugin's are.
    private static func untypable(_ name: String) -> [String]? {
        let chain = SpoofChains(name).interface.name
        let isTypable = name.utf8.allSatisfy { SpoofCheck.isPlain($0) || $0 == UInt8(ascii: "/") }
        return isTypable ? nil : ["# nft cannot be told the name of the chain \(visible(chain))"]
    }

    package func run<Runner: StepRunner>(by runner: inout Runner) throws(Runner.Refusal) {
        try runner.run(self)
    }
}

extension Step {
    package static func spoofCheck(_ check: SpoofCheck) -> Step { Step(SpoofCheckStep.ensure(check)) }
    package static func removeSpoofCheck(_ name: String, ports: [String]) -> Step {
        Step(SpoofCheckStep.remove(name, ports: ports))
    }
}

extension SpoofCheck {
    package init(id: AttachmentID, port: String, mac: MAC) {
        self.init(name: Self.name(of: id), port: port, mac: mac)
    }

    /// How rules and chains call an attachment: as the reference plugin does, but for interfaces whose name would make the first
    /// chain another attachment's second one, and for those that the grammar of nft has no way to write. Of these the bytes in
    /// question are written as `/` and two hexadecimal digits: no container ID and no interface has a slash.
    package static func name(of id: AttachmentID) -> String {
        let isChain = id.interface == "mac" || id.interface.hasSuffix("-mac")
        var name = "\(id.containerID)-"
        for (index, byte) in id.interface.utf8.enumerated() {
            let isAlike = isChain && index == id.interface.utf8.count - 3
            if !isAlike, isPlain(byte) {
                name.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                name += "/" + String(decoding: hexadecimal([byte]), as: UTF8.self)
            }
        }
        return name
    }

    fileprivate static func isPlain(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
            || "_-.".utf8.contains(byte)
    }

    /// As the reference plugin calls it.
    package static func referenceName(of id: AttachmentID) -> String { "\(id.containerID)-\(id.interface)" }

    /// The interface of a container's check.
    ///
    /// - Returns: nil for a check of another container.
    package static func interface(in name: String, of containerID: String) -> String? {
        guard name.hasPrefix("\(containerID)-") else { return nil }
        var bytes: [UInt8] = []
        var rest = name.utf8.dropFirst(containerID.utf8.count + 1)
        while let byte = rest.popFirst() {
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            if byte == UInt8(ascii: "/"), digits.utf8.count == 2, let escaped = UInt8(digits, radix: 16) {
                bytes.append(escaped)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
