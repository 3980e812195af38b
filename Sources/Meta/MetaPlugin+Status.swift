import CNI
import Linux
import Records

/// The annotation `network-status`, for whoever publishes it: an agent, or a person.
extension MetaPlugin {
    private var statusFiles: StatusFiles { StatusFiles(cniDir: config.cniDir) }

    /// Writes the text of a pod's annotation into a file of its own. A status that is not published stops no pod: the
    /// record has it too.
    func publish(_ record: PodRecord) {
        guard let pod = record.pod, let text = record.status else { return }
        do throws(SystemError) { try statusFiles.write(text, of: pod) } catch {
            config.log.error("\(subject): network-status is not published: \(error)\(hint(error))")
        }
    }

    /// Removes it with the record.
    func unpublish(_ record: PodRecord) {
        guard let pod = record.pod, let text = record.status else { return }
        do throws(SystemError) { try statusFiles.remove(pod, with: text) } catch {
            config.log.error("\(subject): the published network-status stays: \(error)\(hint(error))")
        }
    }

    /// Removes it when the record is lost, unless the pod has another sandbox.
    func unpublishUnrecorded(_ store: borrowing RecordStore) {
        guard let pod = Pod(ofArgs: invocation.args), statusFiles.has(pod) else { return }
        // What cannot be read may be the record of that sandbox.
        guard (try? store.hasRecord(of: pod)) == false else { return }
        do throws(SystemError) { try statusFiles.remove(pod, with: nil) } catch {
            config.log.error("\(subject): the published network-status stays: \(error)\(hint(error))")
        }
    }

    /// Removes the files of pods whose records were lost.
    ///
    /// - Parameter pods: those that have a record.
    func unpublish(allBut pods: [Pod]) {
        do throws(SystemError) { try statusFiles.removeAll(but: pods) } catch {
            config.log.error(
                "\(subject): published network-status of pods that are gone stays: \(error)\(hint(error))")
        }
    }

    private func hint(_ error: SystemError) -> String { error.hint.isEmpty ? "" : "; \(error.hint)" }
}
