import CNI
import Linux
import Plans

/// A file below /proc/sys follows the namespace of the thread that opens it.
extension Kernel {
    func readSysctl(_ name: SysctlName) throws(SystemError) -> String {
        try at(name.place) { () throws(SystemError) in try Sysctl.read("/proc/sys/" + name.path) }
    }

    func ensureSysctl(_ name: SysctlName, _ value: String) throws(SystemError) {
        try at(name.place) { () throws(SystemError) in try Sysctl.ensure("/proc/sys/" + name.path, value) }
    }

    func writeSysctl(_ name: SysctlName, _ value: String) throws(SystemError) {
        try at(name.place) { () throws(SystemError) in try Sysctl.write("/proc/sys/" + name.path, value) }
    }
}
