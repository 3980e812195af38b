import CNI
import Linux
import Plans

/// A file below /proc/sys follows the namespace of the thread that opens it.
extension Kernel {
    /// nil for one that cannot be read, as some are never; what fails by chance does not fail twice.
    func readSysctl(_ name: SysctlName) throws(SystemError) -> String? {
        do throws(SystemError) { return try read(name) } catch  where error.isUntold {
            do throws(SystemError) { return try read(name) } catch  where error.isUntold { return nil }
        }
    }

    private func read(_ name: SysctlName) throws(SystemError) -> String {
        try at(name.place) { () throws(SystemError) in try Sysctl.read("/proc/sys/" + name.path) }
    }

    func ensureSysctl(_ name: SysctlName, _ value: String) throws(SystemError) {
        try at(name.place) { () throws(SystemError) in try Sysctl.ensure("/proc/sys/" + name.path, value) }
    }

    func writeSysctl(_ name: SysctlName, _ value: String) throws(SystemError) {
        try at(name.place) { () throws(SystemError) in try Sysctl.write("/proc/sys/" + name.path, value) }
    }
}

extension Executor {
    /// A refused write leaves nothing to undo, unless the kernel took the value all the same. What cannot be read has no
    /// original.
    func replaceSysctl(
        _ name: SysctlName, _ value: String, _ journal: inout Journal
    ) throws(SystemError) {
        let original = try kernel.readSysctl(name)
        let inverse = original.map { Step.sysctl(SysctlChange(name.place, name.path, $0, .ensured)) }
        do throws(SystemError) { try kernel.writeSysctl(name, value) } catch {
            // What cannot be looked at any more may have been written.
            let now = (try? kernel.readSysctl(name)) ?? nil
            if let inverse, now != original { journal.record(.step(inverse)) }
            throw error
        }
        if let inverse { journal.record(.step(inverse)) }
    }
}
