import ArgumentParser
import CNI
import JSONC
import Linux
import Meta
import Networking

// What commands have in common.

/// How a command prints what it found.
enum Output: String, ExpressibleByArgument, CaseIterable { case text, json }

/// Runs `body`; says what failed, and ends the command with status 1.
func failing<R>(_ command: String, _ body: () throws(Failure) -> R) throws -> R {
    do throws(Failure) { return try body() } catch {
        complain(command, error)
        throw ExitCode.failure
    }
}

func complain(_ command: String, _ error: Failure) {
    let details = error.details.isEmpty ? "" : "\n  \(visible(error.details))"
    writeStandardError("plexus \(command): \(visible(error.message))\(details)\n")
}

func printJSON(_ json: JSON) {
    writeStandardOutput(json.print(indent: 2, escapesHTML: false) + "\n")
}

/// Columns that line up.
func table(_ head: [String], _ rows: [[String]]) -> String {
    var widths = head.map(\.count)
    for row in rows {
        for (column, text) in row.enumerated() { widths[column] = max(widths[column], text.count) }
    }
    var text = ""
    for row in [head] + rows {
        for (column, cell) in row.enumerated() {
            let isLast = column == row.count - 1
            text +=
                cell + (isLast ? "\n" : String(repeating: " ", count: widths[column] - cell.count + 2))
        }
    }
    return text
}

/// `[namespace/]name` of an object of the cluster.
///
/// - Parameter what: what kind it is, for the error.
func objectName(_ text: String, _ what: String) throws(Failure) -> (namespace: String, name: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard let name = parts.last, parts.count <= 2, Names.isSubdomain(name),
        parts.count == 1 || Names.isLabel(parts[0])
    else {
        throw Failure(.badConfig, "\"\(text)\" is no \(what)", details: "write its name, or namespace/name")
    }
    return (parts.count == 2 ? parts[0] : "default", name)
}

/// A pod by its name; of which UID is not said.
func namedPod(_ text: String) throws(Failure) -> Pod {
    let (namespace, name) = try objectName(text, "pod")
    return Pod(namespace: namespace, name: name)
}

/// The runtime's configuration, as the key `--config` of several commands.
struct RuntimeConfiguration: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help:
            "The runtime's configuration file; - reads stdin; without it that of plexus or multus in /etc/cni/net.d."
    )
    var config: String?

    func bytes() throws(Failure) -> [UInt8] {
        let fix = "name the runtime's configuration with --config"
        guard let config = config ?? NodeConfiguration.current() else {
            throw Failure(.io, "/etc/cni/net.d has no configuration of plexus or multus", details: fix)
        }
        do throws(SystemError) {
            return config == "-"
                ? try readStandardInput(limit: JSON.maximumSize)
                : try readFile(config, limit: JSON.maximumSize, waits: true)
        } catch {
            throw Failure(.io, "\(error)", details: fix)
        }
    }
}
