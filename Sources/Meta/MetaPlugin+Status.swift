import CNI
import Definitions
import JSONC
import Linux
import Plans
import Records

/// What others read of a pod, beside its record: the annotation `network-status`, device information, Multus' own files.
extension MetaPlugin {
    private var statusFiles: StatusFiles { StatusFiles(cniDir: config.cniDir) }

    /// Writes the text of a pod's annotation into a file of its own. A status that is not published stops no pod: the
    /// record has it too.
    func publish(_ record: PodRecord) {
        keepForMultus(record)
        guard let pod = record.pod, let text = record.status else { return }
        do throws(SystemError) { try statusFiles.write(text, of: pod) } catch {
            config.log.error("\(subject): network-status is not published: \(error)\(hint(error))")
            return
        }
        if config.awaitsStatus { awaitPublication(of: pod) }
    }

    /// For pods that read it as soon as they start. They start without it all the same.
    private func awaitPublication(of pod: Pod) {
        let publication = Publication(
            cniDir: config.cniDir, file: StatusFiles.name(of: pod), milliseconds: config.agentTimeout)
        let answer = AgentAnswer.asked(
            publication.json, at: config.agentSocket, until: monotonicMilliseconds() + config.agentTimeout)
        let problem: String? =
            switch answer {
            case .success(let answer): answer.problem
            case .failure(let problem): problem.text
            }
        if let problem {
            config.log.error("\(subject): the pod starts before its network-status is published: \(problem)")
        }
    }

    /// Before the first network is attached, as Multus does, and again with what was made.
    func keepForMultus(_ record: PodRecord) {
        guard config.keepsMultusFiles else { return }
        do throws(SystemError) { try MultusFiles(directory: config.cniDir).write(record) } catch {
            config.log.error("\(subject): Multus will not know this pod: \(error)\(hint(error))")
        }
    }

    /// Removes it before the record, which stays for the next DEL when there are problems.
    func unpublish(_ record: PodRecord) -> [Failure] {
        var problems: [Failure] = []
        for entry in record.entries {
            problems += removing("device information") { () throws(SystemError) in
                try deviceInfoFiles.remove(for: entry.spec)
            }
        }
        problems += removing("files for Multus") { () throws(SystemError) in
            try MultusFiles(directory: config.cniDir).remove(record, isLikely: config.keepsMultusFiles)
        }
        guard let pod = record.pod, let text = record.status else { return problems }
        return problems
            + removing("network-status") { () throws(SystemError) in try statusFiles.remove(pod, with: text) }
    }

    /// Removes it when the record is lost, unless the pod has another sandbox.
    func unpublishUnrecorded(_ store: borrowing RecordStore) -> [Failure] {
        let problems = removeDeviceInfo(of: id.containerID)
        guard let pod = Pod(ofArgs: invocation.args), statusFiles.has(pod) else { return problems }
        do throws(Failure) {
            // It may be that sandbox's.
            if try store.hasRecord(of: pod) { return problems }
        } catch {
            return problems + [error]
        }
        return problems
            + removing("network-status") { () throws(SystemError) in try statusFiles.remove(pod, with: nil) }
    }

    /// Removes the files of pods whose records were lost.
    ///
    /// - Parameter pods: those that have a record.
    func unpublish(allBut pods: [Pod]) -> [Failure] {
        removing("network-status of pods that are gone") { () throws(SystemError) in
            try statusFiles.removeAll(but: pods)
        }
    }

    /// Of a container without a record.
    func removeDeviceInfo(of containerID: String) -> [Failure] {
        removing("device information") { () throws(SystemError) in
            try deviceInfoFiles.removeAll(of: containerID)
        }
    }

    private func removing(_ what: String, _ body: () throws(SystemError) -> Void) -> [Failure] {
        do throws(SystemError) {
            try body()
            return []
        } catch {
            let failure = Failure(
                .io, "the published \(what) cannot be removed: \(error)", details: error.hint)
            // A folder that others can write to is not looked into, however often DEL is called.
            guard error.code == nil else { return [failure] }
            config.log.error("\(subject): \(failure.logged)")
            return []
        }
    }

    /// Tells the agent's metrics what `body` took.
    func reporting(_ verb: Verb, _ body: () throws(Failure) -> Void) throws(Failure) {
        let start = monotonicMicroseconds()
        var failure: Failure?
        do throws(Failure) { try body() } catch { failure = error }
        CallReport(
            verb: verb.rawValue, microseconds: monotonicMicroseconds() - start, error: failure
        ).send(config.agentSocket)
        if let failure { throw failure }
    }

    // MARK: Devices

    private var deviceInfoFiles: DeviceInfoFiles { DeviceInfoFiles() }

    /// Before the plugins run, which may read it, or write it where the device plugin did not.
    func prepareDeviceInfo(_ spec: AttachmentSpec) {
        do throws(SystemError) { try deviceInfoFiles.copy(for: spec) } catch {
            config.log.error("\(spec.subject): device information is not copied: \(error)\(hint(error))")
        }
    }

    /// nil for an attachment without a device, and for one of which nobody says what it is.
    func deviceInfo(_ spec: AttachmentSpec) -> JSON? {
        do throws(Failure) { return try deviceInfoFiles.read(for: spec) } catch {
            config.log.error("\(spec.subject): \(error.message): network-status goes without")
            return nil
        }
    }

    private func hint(_ error: SystemError) -> String { error.hint.isEmpty ? "" : "; \(error.hint)" }
}
