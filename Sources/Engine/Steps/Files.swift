import Linux
import Netlink
import Plans

extension LiveRun {
    func run(_ step: FileStep) throws(SystemError) {
        switch step {
        case .write(let path, let text):
            var before: [UInt8]?
            try file(path) { directory, name throws(SystemError) in
                let bytes = Array(text.utf8)
                // No draft that a crash would leave: what is torn then says that nothing was changed yet.
                if try directory.createExclusive(name, bytes) { return }
                before = try directory.readIfPresent(name, limit: 1 << 20)
                try directory.replace(name, with: bytes)
            }
            let old = before.map { String(decoding: $0, as: UTF8.self) }
            journal.record(.step(old.map { .writeFile(path, $0) } ?? .removeFile(path)))
        case .remove(let path):
            try file(path) { directory, name throws(SystemError) in _ = try directory.remove(name) }
        }
    }

    /// - Parameter path: absolute; its directory is made when it is missing.
    private func file(
        _ path: String, _ body: (borrowing Directory, String) throws(SystemError) -> Void
    ) throws(SystemError) {
        let parts = path.split(separator: "/")
        guard path.hasPrefix("/"), let name = parts.last else {
            throw SystemError(refusing: "write \"\(path)\": it is no absolute path")
        }
        try body(Directory.create("/" + parts.dropLast().joined(separator: "/")), String(name))
    }
}

// MARK: Repair

extension Survey {
    func run(_: FileStep) {}
}

// MARK: Causes

extension Executor {
    func cause(of step: FileStep) -> Cause? {
        switch step {
        case .write(let path, _), .remove(let path): .obstacle(to: path)
        }
    }
}
