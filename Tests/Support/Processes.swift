import Foundation

/// Programs that run in a node while a test does, each with a name and a file for what it prints. They end with the test.
package final class Processes: Sendable {
    private let node: Node
    private var directory: String { node.directory }

    package init(_ node: Node) throws {
        self.node = node
        try node.write("processes/README", "numbers of what was started, by name")
    }

    deinit {
        _ = try? Shell.sh("cd \(directory)/processes && for f in *; do kill -9 $(cat $f); done 2>/dev/null")
    }

    /// In the node, or in a pod.
    package func start(_ name: String, _ command: String, pod: String? = nil) throws {
        let place = pod.map { "\(node.name)-\($0)" } ?? node.name
        let number = try Shell.background(
            "ip netns exec \(place) \(command)", output: "\(directory)/\(name).log")
        try node.write("processes/\(name)", number)
    }

    /// Ends it, and waits until it has gone.
    package func stop(_ name: String, _ signal: String = "TERM") throws {
        try Shell.sh("kill -\(signal) \(number(name))")
        try until("\(name) ends") { try !isRunning(name) }
    }

    package func number(_ name: String) throws -> String {
        try Shell.sh("cat \(directory)/processes/\(name)")
    }

    package func isRunning(_ name: String) throws -> Bool {
        let state = try Shell.sh("grep State /proc/\(number(name))/status 2>/dev/null || true")
        return !state.isEmpty && !state.contains("Z")
    }

    package func log(_ name: String) throws -> String {
        try Shell.sh("cat \(directory)/\(name).log 2>/dev/null || true")
    }

    /// Looks again and again until something is so.
    package func until(_ what: String, seconds: Int = 60, _ isSo: () throws -> Bool) throws {
        for _ in 0..<seconds * 10 {
            if try isSo() { return }
            Thread.sleep(forTimeInterval: 0.1)
        }
        let logs = (try? Shell.sh("tail -n 20 \(directory)/*.log")) ?? ""
        throw Overdue(description: "\(what): not in \(seconds) s: \(logs)")
    }

    /// Something that never came to be.
    package struct Overdue: Error, CustomStringConvertible { package let description: String }
}

/// Who has such programs.
package protocol RunsProcesses {
    var processes: Processes { get }
}

extension RunsProcesses {
    package func start(_ name: String, _ command: String, pod: String? = nil) throws {
        try processes.start(name, command, pod: pod)
    }

    package func stop(_ name: String, _ signal: String = "TERM") throws { try processes.stop(name, signal) }
    package func number(_ name: String) throws -> String { try processes.number(name) }
    package func isRunning(_ name: String) throws -> Bool { try processes.isRunning(name) }
    package func log(_ name: String) throws -> String { try processes.log(name) }

    package func until(_ what: String, seconds: Int = 60, _ isSo: () throws -> Bool) throws {
        try processes.until(what, seconds: seconds, isSo)
    }
}
