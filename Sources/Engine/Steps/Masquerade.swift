import Linux
import Netlink
import Networking
import Plans

extension LiveRun {
    func run(_ step: MasqueradeStep) throws(SystemError) {
        switch step {
        case .ensure(let rule):
            journal.record(.step(.removeMasquerade(rule)))
            try kernel.ensureMasquerade(rule, owner: executor.owner)
        case .remove(let rule): try kernel.removeMasquerade(rule)
        }
    }
}

// MARK: Repair

extension Survey {
    func run(_ step: MasqueradeStep) throws(SystemError) {
        guard case .ensure(let rule) = step, try !kernel.hasMasquerade(rule) else { return }
        note("masquerade of \(rule.addresses.map { "\($0.address)" }.joined(separator: ", "))", Step(step))
    }
}

// MARK: Causes

extension Executor {
    func cause(of step: MasqueradeStep, _ code: Errno?) -> Cause? {
        guard case .ensure(let rule) = step, rule.backend == .nftables, Cause.lacksNftables.contains(code)
        else { return nil }
        return Cause(
            text: "the kernel lacks nftables, or its masquerade",
            fix: "modprobe nft_masq (CONFIG_NFT_MASQ); or set ipMasqBackend to iptables")
    }
}
