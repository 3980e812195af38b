package import CNI
package import JSONC
package import Linux
import Networking
package import Plans

/// Files that tell what a pod's device is: from a device plugin, for the CNI plugin and for network-status. NPWG device
/// information specification 1.1.0.
package struct DeviceInfoFiles {
    private let directory: String
    private static let limit = 1 << 20

    package static let defaultDirectory = "/var/run/k8s.cni.cncf.io/devinfo"

    package init(directory: String = defaultDirectory) { self.directory = directory }

    /// Where the plugins of an attachment that has a device find its file: the capability `CNIDeviceInfoFile`.
    package func path(_ spec: AttachmentSpec) -> String { "\(directory)/cni/\(name(spec))" }

    private func name(_ spec: AttachmentSpec) -> String {
        replacing("/", in: "\(spec.name)-\(spec.id.containerID)_\(spec.id.interface)", by: "-")
    }

    /// Copies what the device plugin wrote, if it did. A file that is there stays.
    package func copy(for spec: AttachmentSpec) throws(SystemError) {
        guard let id = spec.deviceID, let resource = spec.resource else { return }
        let source = replacing("/", in: "\(resource)-\(id)-device.json", by: "-")
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Directory.open("\(directory)/dp").read(source, limit: Self.limit)
        } catch  where error.isNotFound {
            return
        }
        _ = try Directory.create("\(directory)/cni", mode: 0o755).createExclusive(
            name(spec), bytes, mode: 0o444)
    }

    /// What the plugins left there; nil without a file.
    ///
    /// - Throws: for a file that says nothing that is usable.
    package func read(for spec: AttachmentSpec) throws(Failure) -> JSON? {
        guard spec.deviceID != nil else { return nil }
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Directory.open("\(directory)/cni").readIfPresent(name(spec), limit: Self.limit)
        } catch  where error.isNotFound {
            return nil
        } catch {
            throw Failure(.io, "device information: \(error)", details: error.hint)
        }
        guard let bytes else { return nil }
        do throws(JSONError) {
            let json = Reader(try JSON.parse(bytes).value)
            try json.requireObject()
            for key in ["type", "version"] where try json.string(key)?.isEmpty ?? true {
                throw json.error(key, "is missing")
            }
            return json.value
        } catch {
            throw Failure(.badConfig, "device information \(path(spec)): \(error)")
        }
    }

    /// Removes an attachment's; those of the device plugin are its own.
    package func remove(for spec: AttachmentSpec) throws(SystemError) {
        guard spec.deviceID != nil else { return }
        do throws(SystemError) { try Directory.open("\(directory)/cni").remove(name(spec)) } catch
            where error.isNotFound
        {}
    }

    /// Removes all of a container's, whose record is lost.
    package func removeAll(of containerID: String) throws(SystemError) {
        let names: [String]
        do throws(SystemError) { names = try Directory.open("\(directory)/cni").names() } catch
            where error.isNotFound
        {
            return
        }
        for name in names where name.contains("-\(containerID)_") {
            try Directory.open("\(directory)/cni").remove(name)
        }
    }
}
