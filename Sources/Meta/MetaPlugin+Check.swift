package import CNI
import Engine
import Linux
import Plans
import Records

extension MetaPlugin {
    /// Compares what every attachment promised with the kernel.
    package func check() throws(Failure) {
        let start = monotonicMilliseconds()
        do throws(Failure) {
            let record = try checkAll()
            config.log.verbose(
                "CHECK of \(subject): \(record.logged): as attached, \(monotonicMilliseconds() - start) ms")
        } catch {
            config.log.error("CHECK of \(subject): \(error.logged)")
            throw error
        }
    }

    private func checkAll() throws(Failure) -> PodRecord {
        let store = try RecordStore.open(config.cniDir)
        let lock = try store.lock(id)
        defer { extendLifetime(lock) }
        let own = try store.read(id, config.log)
        let multus = own == nil ? try multusRecord(id) : nil
        guard let record = own ?? multus?.record else {
            if !store.has(id) { store.forgetLock(id) }
            throw Failure(
                .containerUnknown, "nothing is known of container \(id.containerID) \(id.interface)",
                details: "no record in \(config.cniDir)/attachments, nor one of Multus")
        }
        if own == nil { store.forgetLock(id) }
        let kernel = try Kernel.open(sandbox: invocation.netns, mayBeOwn: invocation.netnsOverride)
        if let namespace = record.namespace, try !isAt(namespace, kernel) {
            throw Failure(
                .generic, "\(invocation.netns) is not the namespace that was attached",
                details: "another one has its path by now: DEL and ADD the container")
        }
        for (index, entry) in record.entries.enumerated() where entry.spec.list.version >= .v0_4_0 {
            let attachment = "\(entry.spec.name) on \(entry.spec.id.interface)"
            do throws(Failure) {
                if let attached = entry.attached, attached.isWhole {
                    try runner(kernel).check(entry.spec, attached)
                } else if own == nil {
                    try checkUnrecorded(entry.spec, runner(kernel))
                } else if let interruption = record.interruption(at: index) {
                    throw interruption
                }
            } catch {
                throw error.prefixed(attachment).ending(with: entry.spec.place)
            }
        }
        if let multus { try checkUnusable(multus, runner(kernel)) }
        return record
    }

    /// Of a network that Multus' record says nothing usable of, the interface's name is known.
    private func checkUnusable(_ multus: MultusRecord, _ runner: ChainRunner) throws(Failure) {
        let unknown = multus.record.entries.isEmpty ? [id.interface] + multus.unusable : multus.unusable
        let present = Set(try runner.sandboxLinks().map(\.name))
        guard let missing = unknown.first(where: { !present.contains($0) }) else { return }
        throw Failure(
            .generic, "interface \(missing) does not exist in \(invocation.netns)",
            details: "somebody removed it")
    }

    /// Multus keeps no result where libcni's cache is gone. The runtime passes that of its own interface; of the others
    /// the link is known.
    private func checkUnrecorded(_ spec: AttachmentSpec, _ runner: ChainRunner) throws(Failure) {
        guard spec.id == id, let previous = config.plugin.previous else { return try runner.checkLink(spec) }
        try runner.check(spec, Attached(result: previous))
    }
}
