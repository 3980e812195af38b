import ArgumentParser
import IPAM
import Linux
import Meta
import Networking

/// What people type. Runtimes pass no arguments and never come here.
struct PlexusCommand: ParsableCommand {
    static let version = "plexus 0.1.0"
    static let configuration = CommandConfiguration(
        commandName: "plexus",
        abstract: "A CNI meta-plugin: attaches pods to several networks, in one process.",
        discussion: """
            A container runtime starts plexus without arguments, with CNI_COMMAND and the other variables of the \
            CNI specification in its environment and the network configuration on stdin. The commands below are \
            for people.

            Plugins inside, each with its keys and an example in `plexus help PLUGIN`: \
            \(Role.pluginNames.joined(separator: ", ")).
            """,
        version: version,
        subcommands: [
            Explain.self, Status.self, Attach.self, Detach.self, Repair.self, Leases.self, Cache.self,
            Validate.self, Configure.self,
        ])
}

/// Parses and runs the arguments of a command, and ends the process.
///
/// - Parameter name: what the executable was started as.
package func runCommand(_ name: String, _ arguments: [String]) -> Never {
    if name == DHCPSource.type, arguments.first == "daemon" {
        DHCPCommand.main(DHCPCommand.words(arguments.map(visible)))
        exitProcess(0)
    }
    if let help = PluginHelp.of(name) { run(help, arguments) }
    if case .unknown = Role.named(name) { exitProcess(Role.named(name).run()) }
    if let help = arguments.first.flatMap(PluginHelp.of) { run(help, Array(arguments.dropFirst())) }
    switch arguments.first {
    case "-v", "-version":
        // As Multus spells it.
        start(["--version"])
    case "help": explainUse(of: Array(arguments.dropFirst()))
    default: start(arguments)
    }
    PlexusCommand.exit()
}

private func start(_ arguments: [String]) {
    do {
        var command = try PlexusCommand.parseAsRoot(arguments)
        do { try command.run() } catch { PlexusCommand.exit(withError: error) }
    } catch {
        // Its message repeats the arguments: they are made visible first.
        PlexusCommand.main(arguments.map(visible))
    }
}

/// A plugin under its own name has nothing but its help.
private func run(_ help: PluginHelp, _ arguments: [String]) -> Never {
    switch arguments {
    case [], ["--help"], ["-h"], ["-help"], ["help"]: writeStandardOutput(help.text)
    case ["--version"], ["-v"], ["-version"]:
        writeStandardOutput("\(help.type), of \(PlexusCommand.version)\n")
    default:
        writeStandardError(
            "\(help.type): it takes no arguments: a runtime passes the configuration on stdin; try --help\n")
        exitProcess(ExitCode.validationFailure.rawValue)
    }
    exitProcess(0)
}

/// Whether the words name a command below another one.
private func isCommand(_ words: ArraySlice<String>, _ parent: any ParsableCommand.Type) -> Bool {
    guard let first = words.first else { return true }
    let child = parent.configuration.subcommands.first { $0.configuration.commandName == first }
    return child.map { isCommand(words.dropFirst(), $0) } ?? false
}

/// `plexus help`, of a command or of a plugin.
private func explainUse(of words: [String]) {
    let subject = words.joined(separator: " ")
    let commands = PlexusCommand.configuration.subcommands.compactMap { $0.configuration.commandName }
    if words.isEmpty || isCommand(words[...], PlexusCommand.self) {
        start(words + ["--help"])
    } else if let help = PluginHelp.of(subject) {
        writeStandardOutput(help.text)
    } else {
        let subjects = (commands + Role.pluginNames).joined(separator: ", ")
        writeStandardError("plexus help: there is no \"\(visible(subject))\": write one of \(subjects)\n")
        exitProcess(ExitCode.validationFailure.rawValue)
    }
}
