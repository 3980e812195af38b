import Commands
import Linux
import Meta

/// One executable, several names: the last component of argv[0] decides what it is. Runtimes pass no arguments;
/// people do.
@main
enum Main {
    static func main() {
        prepareProcess()
        let program = program()
        guard program.hasArguments else { exitProcess(Role.named(program.name).run()) }
        runCommand(program.name, Array(CommandLine.arguments.dropFirst()))
    }
}
