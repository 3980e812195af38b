import Linux
import Netlink
import Networking
import Plans

/// Masquerade rules of the iptables programs, as the reference plugins write them: one chain for a container and
/// network, to which POSTROUTING sends the packets of each address.
struct Iptables {
    /// nil is the one that the system prefers.
    enum Kind: String { case nft, legacy }

    private let family: IPAddress.Family
    private let kind: Kind?

    init(_ family: IPAddress.Family, _ kind: Kind?) {
        self.family = family
        self.kind = kind
    }

    /// Whether the legacy kind has a nat table at all: its listing would make one.
    static func legacyHasNAT(_ family: IPAddress.Family) -> Bool {
        let path = "/proc/net/ip\(family == .v4 ? "" : "6")_tables_names"
        let bytes = (try? readFile(path, limit: 4096)) ?? []  // no file, no such tables
        return bytes.split(separator: 0x0a).contains { $0.elementsEqual("nat".utf8) }
    }

    static func masquerade(_ rule: Masquerade) throws(SystemError) {
        for family in IPAddress.Family.allCases {
            let lines = rule.iptablesLines(family)
            if !lines.isEmpty { try Iptables(family, nil).add(lines) }
        }
    }

    static func hasMasquerade(_ rule: Masquerade) throws(SystemError) -> Bool {
        for family in IPAddress.Family.allCases {
            let lines = rule.iptablesLines(family)
            if !lines.isEmpty, try !Iptables(family, nil).missing(lines).isEmpty { return false }
        }
        return true
    }

    private func add(_ lines: [String]) throws(SystemError) { try restore(missing(lines)) }

    /// Those that are not there.
    private func missing(_ lines: [String]) throws(SystemError) -> [String] {
        let present = Set(try save())
        return lines.filter { line in
            guard line.hasPrefix("-N ") else { return !present.contains(line) }
            return !present.contains { $0.hasPrefix(":\(line.dropFirst(3)) ") }
        }
    }

    /// Removes the jumps of the rule's addresses, or all when it names none, and the chain with the last one.
    func remove(_ rule: Masquerade) throws(SystemError) {
        // Without the program nobody can have made such rules.
        guard find("save") != nil else { return }
        let chain = rule.chain
        let present = try save()
        guard present.contains(where: { $0.hasPrefix(":\(chain) ") }) else { return }
        let jumps = present.filter { $0.hasPrefix("-A POSTROUTING ") && $0.hasSuffix(" -j \(chain)") }
        // Old releases wrote the network of the address.
        let sources = rule.addresses.flatMap { ["\(CIDR.host($0.address))", "\($0.network)"] }
        let ours = jumps.filter { jump in
            sources.isEmpty || sources.contains { jump.contains(" -s \($0) ") }
        }
        var lines = ours.map { "-D" + $0.dropFirst(2) }
        if ours.count == jumps.count { lines += ["-F \(chain)", "-X \(chain)"] }
        try restore(lines)
    }

    /// The networks for which a container has a chain, as the rules' comments name them.
    func networks(of containerID: String) throws(SystemError) -> Set<String> {
        guard find("save") != nil else { return [] }
        let end = "\\\" id: \\\"\(containerID)\\\"\""
        let start = "--comment \"name: \\\""
        var found: Set<String> = []
        for line in try save() {
            guard let first = line.firstRange(of: start), let last = line.firstRange(of: end),
                first.upperBound <= last.lowerBound
            else { continue }
            found.insert(String(line[first.upperBound..<last.lowerBound]))
        }
        return found
    }

    // MARK: Programs

    private func save() throws(SystemError) -> [String] {
        try run("save", ["-t", "nat"], []).split(separator: "\n").map(String.init)
    }

    /// One transaction of the nat table.
    private func restore(_ lines: [String]) throws(SystemError) {
        guard !lines.isEmpty else { return }
        _ = try run("restore", ["--noflush", "--wait"], ["*nat"] + lines + ["COMMIT", ""])
    }

    private func run(_ verb: String, _ arguments: [String], _ input: [String]) throws(SystemError) -> String {
        guard let path = find(verb) else {
            throw SystemError(
                operation:
                    "find the program \(names(verb)[0]): install iptables, or set ipMasqBackend to nftables",
                code: .noSuchFile)
        }
        let result = try ChildProcess.run(
            path: path, arguments: arguments,
            environment: ["PATH=\(Self.directories.joined(separator: ":"))"],
            input: Array(input.joined(separator: "\n").utf8), deadline: 30)
        guard case .exited(0) = result.status else {
            let text = String(decoding: result.errors.prefix(400), as: UTF8.self)
            throw SystemError(refusing: "\(path) \(arguments.joined(separator: " ")): \(text)")
        }
        return String(decoding: result.output, as: UTF8.self)
    }

    private static let directories = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"]

    /// The kind's own program, else the one that the system prefers.
    private func names(_ verb: String) -> [String] {
        let base = family == .v4 ? "iptables" : "ip6tables"
        guard let kind else { return ["\(base)-\(verb)"] }
        return ["\(base)-\(kind)-\(verb)", "\(base)-\(verb)"]
    }

    private func find(_ verb: String) -> String? {
        let own = (Environment.value("PATH") ?? "").split(separator: ":").map(String.init)
        for name in names(verb) {
            for directory in own + Self.directories where isRegularFile("\(directory)/\(name)") {
                return "\(directory)/\(name)"
            }
        }
        return nil
    }
}
