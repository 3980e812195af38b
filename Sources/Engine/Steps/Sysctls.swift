import CNI
import Linux
import Netlink
import Networking
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

extension LiveRun {
    func run(_ step: SysctlStep) throws(SystemError) {
        let change = step.change
        let name = SysctlName(change.place, change.path)
        do throws(SystemError) {
            switch change.lifetime {
            case .link: try kernel.writeSysctl(name, change.value)
            case .ensured: try kernel.ensureSysctl(name, change.value)
            case .saved: try replaceSysctl(name, change.value)
            }
        } catch {
            if change.isOptional { return }
            throw error.renamed("set sysctl \(change.name) to \"\(change.value)\"")
        }
    }

    /// A refused write leaves nothing to undo, unless the kernel took the value all the same. What cannot be read has no
    /// original.
    private func replaceSysctl(_ name: SysctlName, _ value: String) throws(SystemError) {
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

// MARK: Repair

extension Survey {
    func run(_ step: SysctlStep) throws(SystemError) {
        let change = step.change
        let name = SysctlName(change.place, change.path)
        guard change.place == .host else { return }
        // A link that is lost has none.
        let current = try? kernel.readSysctl(name)
        guard current != change.value else { return }
        if change.lifetime == .ensured {
            note("sysctl \(change.name)=\(change.value)", Step(step))
        } else {
            follow(Step(step))
        }
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: SysctlStep, _ code: Errno?) throws(SystemError) -> Cause? {
        let change = step.change
        // Where a pod asks for it.
        let key = "args.cni.sysctl.\(change.path)"
        switch code {
        case .noSuchFile?: return try missingSetting(change)
        case .invalid? where change.lifetime == .saved, .outOfRange? where change.lifetime == .saved:
            return Cause(
                text: "it is no value that this sysctl takes", fix: "correct the value in the key sysctl",
                key: key)
        case .accessDenied? where change.lifetime == .saved, .notPermitted? where change.lifetime == .saved:
            return Cause(
                text: "in a pod it cannot be written", fix: "remove it from the key sysctl: it is the node's",
                key: key)
        default: return nil
        }
    }

    /// The link's directory is not there.
    private func missingSetting(_ change: SysctlChange) throws(SystemError) -> Cause? {
        let parts = change.path.parts(by: "/").map(String.init)
        guard parts.count == 5, parts[1] == "ipv6", parts[2] == "conf",
            let link = try found(LinkName(place: change.place, name: parts[3]))
        else { return nil }
        guard link.mtu >= 1280 else {
            return Cause(
                text: "IPv6 needs an MTU of 1280, and \(link.name) has \(link.mtu)",
                fix: "raise the MTU, or give \(link.name) no IPv6 address")
        }
        return Cause(text: "the kernel has no IPv6", fix: "give \(link.name) no IPv6 address")
    }
}
