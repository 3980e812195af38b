import ArgumentParser

/// What people type. Runtimes pass no arguments and never come here.
struct PlexusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plexus",
        abstract: "A CNI meta-plugin: attaches pods to several networks, in one process.",
        discussion: """
            A container runtime starts plexus without arguments, with CNI_COMMAND and the other variables of the \
            CNI specification in its environment and the network configuration on stdin. The commands below are \
            for people.
            """,
        version: "plexus 0.1.0",
        subcommands: [Explain.self])
}

/// Parses and runs the arguments of a command, and ends the process.
package func runCommand(_ arguments: [String]) -> Never {
    // As Multus spells it.
    PlexusCommand.main(arguments == ["-v"] || arguments == ["-version"] ? ["--version"] : arguments)
    PlexusCommand.exit()
}
