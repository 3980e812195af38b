import Commands
import Linux
import Meta

/// One executable, several names: the last component of argv[0] decides what it is. Runtimes pass no arguments;
/// people do.
@main
enum Main {
    static func main() {
        prepareProcess()
        guard CommandLine.argc > 1 else { exitProcess(Role.named(programName()).run()) }
        runCommand(Array(CommandLine.arguments.dropFirst()))
    }
}
