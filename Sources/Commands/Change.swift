import ArgumentParser
import CNI
import JSONC
import Linux
import Meta
import Networking
import Records

/// `plexus attach POD NETWORK`.
struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attach",
        abstract: "Attach a pod that runs to one network more.",
        discussion: """
            It is as if the pod had asked for it: when something fails, all of it is undone; the pod's deletion detaches \
            it too. The pod's annotation stays as it is.

              plexus attach default/web-0 net-b@data0
              plexus attach web-0 '[{"name":"net-b","ips":["10.1.2.3/24"]}]'
            """)

    @Argument(help: ArgumentHelp("The pod.", valueName: "[namespace/]pod"))
    var pod: String

    @Argument(help: "The network, as in the pod's annotation.")
    var network: String

    @Flag(help: "The pod's annotation asks for it: the agent detaches it when that does not any more.")
    var asked = false

    @OptionGroup var runtime: RuntimeConfiguration

    func run() throws {
        let done = try failing("attach") { () throws(Failure) in
            try RunningPod(configuration: runtime.bytes(), pod: namedPod(pod)).attach(network, isAsked: asked)
        }
        writeStandardError("attached \(visible(done.entry.logged))\n")
        writeStandardOutput(done.result.print(indent: 4, escapesHTML: false) + "\n")
    }
}

/// `plexus detach POD NETWORK`.
struct Detach: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "detach",
        abstract: "Detach a pod that runs from one of its further networks.")

    @Argument(help: ArgumentHelp("The pod.", valueName: "[namespace/]pod"))
    var pod: String

    @Argument(help: "The interface's name, or the network's.")
    var network: String

    @OptionGroup var runtime: RuntimeConfiguration

    func run() throws {
        let gone = try failing("detach") { () throws(Failure) in
            try RunningPod(configuration: runtime.bytes(), pod: namedPod(pod)).detach(network)
        }
        writeStandardError("detached \(visible(gone.logged))\n")
    }
}
