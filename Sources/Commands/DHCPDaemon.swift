import ArgumentParser
import CNI
import IPAM
import Linux
import Meta
import Networking
import Renewal

/// `dhcp daemon`: renews the leases that ADDs got. Its options are the reference plugin's.
struct DHCPDaemon: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "daemon",
        abstract: "Renew the DHCP leases of this node's pods.",
        discussion: """
            An ADD asks the server itself, and needs no daemon; without one the kernel removes the pod's address when \
            its lease ends. The daemon finds the leases in \(DHCPRecords.defaultPath), and may be started again at any time.
            """)

    @Option(
        name: .customLong("pidfile", withSingleDash: true),
        help: "A file for the process number: an absolute path.")
    var pidfile: String?

    @Option(
        name: .customLong("socketpath", withSingleDash: true),
        help: "A socket by which others see that it runs.")
    var socketpath = "/run/cni/dhcp.sock"

    @Option(
        name: .customLong("hostprefix", withSingleDash: true),
        help:
            "What stands in front of the paths of the socket and of pods' namespaces, for a container that has the node's files there."
    )
    var hostprefix = ""

    @Option(
        name: .customLong("cnidir", withSingleDash: true), parsing: .singleValue,
        help:
            "Where pods' records are as the daemon sees them; without it where the ADD had them, the key cniDir."
    )
    var cniDirs: [String] = []

    @Option(
        name: .customLong("leasedir", withSingleDash: true),
        help: "Where the leases are, the key leaseDir of their networks.")
    var leaseDir = DHCPRecords.defaultPath

    @Option(name: .customLong("loglevel", withSingleDash: true), help: "error, verbose or debug.")
    var level = "error"

    // Of the reference plugin; RFC 2131 has the times, and a network says in its ipam whether it needs the flag.
    @Flag(name: .customLong("broadcast", withSingleDash: true), help: .hidden) var broadcast = false
    @Option(name: .customLong("timeout", withSingleDash: true), help: .hidden) var timeout: String?
    @Option(name: .customLong("resendmax", withSingleDash: true), help: .hidden) var resendmax: String?
    @Option(name: .customLong("resendtimeout", withSingleDash: true), help: .hidden) var resendtimeout:
        String?

    func validate() throws {
        if let pidfile, !pidfile.hasPrefix("/") {
            throw ValidationError("Error writing pidfile \"\(pidfile)\": path not absolute")
        }
        guard LogLevel(rawValue: level) != nil else {
            throw ValidationError("-loglevel \(level): error, verbose or debug")
        }
    }

    func run() throws {
        let log = Log(level: LogLevel(rawValue: level) ?? .error, file: nil, toStderr: true)
        let path = hostprefix + socketpath
        do throws(SystemError) {
            var isPassed = false
            let doorbell = try Doorbell.open(path, isPassed: &isPassed)
            if let pidfile { try write(pidfile) }
            let keeper = try Keeper(leaseDir, prefix: hostprefix, log) { record, old in
                LeaseChange(record, insteadOf: old).publish(in: cniDirs, log)
            }
            defer {
                if !isPassed { removeFile(path) }
                if let pidfile { removeFile(pidfile) }
            }
            try keeper.run(doorbell)
        } catch {
            writeStandardError("dhcp daemon: \(visible("\(error)"))\n")
            throw ExitCode.failure
        }
    }

    private func write(_ path: String) throws(SystemError) {
        let parts = path.split(separator: "/")
        let directory = try Directory.open("/" + parts.dropLast().joined(separator: "/"))
        try directory.replace(String(parts.last ?? ""), with: Array("\(processNumber())".utf8), mode: 0o644)
    }
}

/// The executable `dhcp` with arguments.
struct DHCPCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dhcp", abstract: "The IPAM plugin dhcp; without arguments a runtime calls it.",
        subcommands: [DHCPDaemon.self])

    /// Go's flags: `--x` is `-x`, and a switch may be told `=true` or `=false`.
    static func words(_ arguments: [String]) -> [String] {
        arguments.compactMap { word in
            if word == "--help" { return word }
            let flag = word.hasPrefix("--") ? String(word.dropFirst()) : word
            guard flag.hasPrefix("-broadcast=") else { return flag }
            return ["true", "t", "1", "TRUE", "True", "T"].contains(flag.dropFirst(11)) ? "-broadcast" : nil
        }
    }
}
