package import CNI
import Linux
import Networking
package import Plans

/// Notes that plugins keep themselves, beside the pod's record.
extension Registry {
    /// Whether a plugin noted something of the container.
    package func hasNotes(of id: AttachmentID) throws(Failure) -> Bool {
        for module in noters() where try !Self.interfaces(notedBy: module, of: id).isEmpty { return true }
        return false
    }

    /// The container's interfaces of which a plugin keeps a note.
    static func interfaces(
        notedBy module: any Module.Type, of id: AttachmentID
    ) throws(Failure) -> [String] {
        // All notes of a plugin are in one folder.
        let path = module.note(Attachment(of: id)) ?? ""
        let folder = path.parts(by: "/").dropLast().joined(separator: "/")
        let names: [String]
        do throws(SystemError) { names = try Directory.open(folder).names().sorted() } catch
            where error.isNotFound || error.isNoDirectory
        {
            return []
        } catch {
            throw Failure(.io, "notes of plugins: \(error)")
        }
        return names.compactMap { name in
            guard name.hasSuffix(".json"),
                let interface = AttachmentID.interface(noted: name.dropLast(5), of: id.containerID)
            else { return nil }
            return Names.interfaceProblem(interface) == nil ? interface : nil
        }
    }
}
