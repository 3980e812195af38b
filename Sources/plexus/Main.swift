import Commands
import Linux
import Meta

/// One executable, several names: the last component of argv[0] decides what it is. Runtimes pass no arguments;
/// people do.
@main
enum Main {
    static func main() {
        prepareProcess()
        let arguments = CommandLine.arguments
        if arguments.count > 1 {
            runCommand(Array(arguments.dropFirst()))
        } else {
            exitProcess(Role.named(arguments.first ?? "plexus").run())
        }
    }
}
