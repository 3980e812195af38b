import Linux
import Netlink
import Plans

extension LiveRun {
    func run(_ step: RuleStep) throws(SystemError) {
        switch step {
        case .add(let rule, let place):
            try kernel.with(place) { socket throws(SystemError) in try socket.add(rule) }
            journal.record(.step(.removeRule(rule, place)))
        case .remove(let rule, let place):
            try kernel.with(place) { socket throws(SystemError) in try socket.remove(rule) }
            journal.record(.step(.addRule(rule, place)))
        }
    }
}
// MARK: Repair

extension Survey {
    func run(_: RuleStep) {}
}
