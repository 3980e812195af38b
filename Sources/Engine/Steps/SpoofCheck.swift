import Linux
import Netlink
import Networking
import Plans

extension LiveRun {
    func run(_ step: SpoofCheckStep) throws(SystemError) {
        switch step {
        case .ensure(let check):
            journal.record(.step(.removeSpoofCheck(check.name, ports: [check.port])))
            try kernel.ensureSpoofCheck(check)
        case .remove(let name, let ports): try kernel.removeSpoofCheck(name, ports: ports)
        }
    }
}

// MARK: Repair

extension Survey {
    func run(_ step: SpoofCheckStep) throws(SystemError) {
        guard case .ensure(let check) = step, try !kernel.has(check) else { return }
        note("MAC spoof check of \(check.port)", Step(step))
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: SpoofCheckStep, _ code: Errno?) -> Cause? {
        guard case .ensure = step, Cause.lacksNftables.contains(code) else { return nil }
        return Cause(
            text: "the kernel lacks nftables for bridges",
            fix: "it needs CONFIG_NF_TABLES_BRIDGE; or leave macspoofchk away")
    }
}
