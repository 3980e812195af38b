import Netlink
import Plans

extension LiveRun {
    func run(_ step: SpoofCheckStep) throws(NetlinkError) {
        switch step {
        case .ensure(let check):
            journal.record(.step(.removeSpoofCheck(check.id)))
            try kernel.ensureSpoofCheck(check)
        case .remove(let id): try kernel.removeSpoofCheck(id)
        }
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: SpoofCheckStep, _ code: CInt) -> Cause? {
        guard case .ensure = step, Cause.lacksNftables.contains(code) else { return nil }
        return Cause(
            text: "the kernel lacks nftables for bridges",
            fix: "it needs CONFIG_NF_TABLES_BRIDGE; or leave macspoofchk away")
    }
}
