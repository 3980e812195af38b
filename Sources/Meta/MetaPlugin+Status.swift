import CNI
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
        if config.keepsMultusFiles {
            do throws(SystemError) { try MultusFiles(directory: config.cniDir).write(record) } catch {
                config.log.error("\(subject): Multus will not know this pod: \(error)\(hint(error))")
            }
        }
        guard let pod = record.pod, let text = record.status else { return }
        do throws(SystemError) { try statusFiles.write(text, of: pod) } catch {
            config.log.error("\(subject): network-status is not published: \(error)\(hint(error))")
        }
    }

    /// Removes it with the record.
    func unpublish(_ record: PodRecord) {
        removeDeviceInfo(record)
        do throws(SystemError) { try MultusFiles(directory: config.cniDir).remove(record) } catch {
            config.log.error("\(subject): the files for Multus stay: \(error)\(hint(error))")
        }
        guard let pod = record.pod, let text = record.status else { return }
        do throws(SystemError) { try statusFiles.remove(pod, with: text) } catch {
            config.log.error("\(subject): the published network-status stays: \(error)\(hint(error))")
        }
    }

    /// Removes it when the record is lost, unless the pod has another sandbox.
    func unpublishUnrecorded(_ store: borrowing RecordStore) {
        removeDeviceInfo(of: id.containerID)
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

    /// Of a container without a record.
    func removeDeviceInfo(of containerID: String) {
        do throws(SystemError) { try deviceInfoFiles.removeAll(of: containerID) } catch {
            config.log.error("\(subject): device information stays: \(error)\(hint(error))")
        }
    }

    private func removeDeviceInfo(_ record: PodRecord) {
        for entry in record.entries {
            do throws(SystemError) { try deviceInfoFiles.remove(for: entry.spec) } catch {
                config.log.error("\(entry.spec.subject): device information stays: \(error)\(hint(error))")
            }
        }
    }

    private func hint(_ error: SystemError) -> String { error.hint.isEmpty ? "" : "; \(error.hint)" }
}
