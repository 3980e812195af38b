package import CNI
import Engine
import Linux
import Plans
import Records

/// Finds what the host has lost of the pods that run, and makes it again.
package struct NodeRepair {
    /// What was found of one attachment.
    package struct Finding {
        package let pod: String
        package let interface: String
        package let network: String
        /// In words; empty when nothing is lost.
        package let lost: [String]
        /// Why it is lost still.
        package let problem: Failure?
    }

    private let pods: [RunningPod]
    /// Those of Multus, at which nobody can look.
    package let passedOver: [String]

    /// - Parameters:
    ///   - configuration: the runtime's file, which attached the pods.
    ///   - names: of pods; all without any.
    package init(configuration: [UInt8], pods names: [Pod]) throws(Failure) {
        var pods: [RunningPod] = []
        for name in names { pods.append(try RunningPod(configuration: configuration, pod: name)) }
        if names.isEmpty { pods = try RunningPod.all(configuration: configuration) }
        self.pods = pods
        passedOver = names.isEmpty ? try RunningPod.ofMultus(configuration: configuration) : []
    }

    /// - Parameter isDry: only looks.
    package func run(isDry: Bool, _ report: (Finding) -> Void) {
        for pod in pods {
            do throws(Failure) {
                for finding in try pod.repair(isDry: isDry) { report(finding) }
            } catch {
                report(Finding(pod: pod.name, interface: "", network: "", lost: [], problem: error))
            }
        }
    }
}

extension RunningPod {
    fileprivate func repair(isDry: Bool) throws(Failure) -> [NodeRepair.Finding] {
        try changing { store, record, runner throws(Failure) in
            var findings: [NodeRepair.Finding] = []
            // What is half mended the next call would take for the pod's own.
            let stop = isDry ? nil : try HeldSignals()
            defer { extendLifetime(stop) }
            runner.stop = stop?.raw
            // What a DEL took that failed elsewhere the next one leaves out: made again, nobody would take it.
            for index in record.entries.indices where !record.entries[index].isDetached {
                let entry = record.entries[index]
                guard let attached = entry.attached, attached.isWhole else {
                    findings.append(
                        NodeRepair.Finding(
                            pod: name, interface: entry.spec.id.interface, network: entry.spec.name,
                            lost: ["interrupted"], problem: record.interruption(at: index)))
                    continue
                }
                if stop?.isRaised == true { throw HeldSignals.ending }
                let start = record
                let repair = runner.repair(entry.spec, attached, isDry: isDry)
                var problem = repair.problem?.prefixed("\(entry.spec.name) on \(entry.spec.id.interface)")
                    .ending(with: entry.spec.place)
                if let attached = repair.attached {
                    record.entries[index].attached = attached
                    do throws(Failure) { try plugin.write(&record, store) } catch {
                        problem = error
                        record = start
                    }
                }
                findings.append(
                    NodeRepair.Finding(
                        pod: name, interface: entry.spec.id.interface, network: entry.spec.name,
                        lost: repair.lost, problem: problem))
                if !isDry { say(repair.lost, problem, entry) }
            }
            return findings
        }
    }

    private func say(_ lost: [String], _ problem: Failure?, _ entry: PodRecord.Entry) {
        guard !lost.isEmpty || problem != nil else { return }
        let what = "repair of \(plugin.subject): \(entry.logged): lost: \(lost.joined(separator: ", "))"
        if let problem {
            plugin.config.log.error("\(what): \(problem.logged)")
        } else {
            plugin.config.log.error("\(what): made again")
        }
    }
}
