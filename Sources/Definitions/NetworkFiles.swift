package import CNI
package import JSONC
package import Linux
import Networking

/// Networks that are files: in `confDir`, or named by a path in `clusterNetwork`.
package enum NetworkFiles {
    private static let limit = 2 << 20

    /// A network and the file that it is in.
    package typealias Found = (list: NetworkList, file: String)

    /// The network called `name` in the first file of `directory` that has it; nil when none does.
    package static func find(_ name: String, in directory: String, _ log: Log) -> Found? {
        for file in candidates(directory) {
            do throws(Failure) {
                let found = try load("\(directory)/\(file)")
                if found.list.name == name { return found }
            } catch {
                // A broken file must not hide the network that another file has.
                log.error("\(directory)/\(file): \(error.message)")
            }
        }
        return nil
    }

    /// A file, or the first file of a directory.
    package static func load(_ path: String) throws(Failure) -> Found {
        if path.hasSuffix("/") || !isRegularFile(path) {
            guard let first = candidates(path).first else {
                let fix = "correct clusterNetwork or defaultNetworks"
                let problem =
                    switch fileKind(path) {
                    case nil: "there is no such file: \(fix)"
                    case "directory"?: "it is a directory without a .conf, .json or .conflist: \(fix)"
                    case let kind?: "it is a \(kind), expected a file with a network configuration: \(fix)"
                    }
                throw Failure(.badConfig, "no network configuration at \(path)", details: problem)
            }
            return try load("\(path)/\(first)")
        }
        let document = try read(path)
        do throws(Failure) {
            let json = document.value
            let whole = path.hasSuffix(".conflist") ? try extended(json, path) : json
            var list = try NetworkList.decode(whole, defaultName: nil)
            list.doubled = document.duplicates
            return (list, path)
        } catch {
            throw error.ending(with: "correct \(path)")
        }
    }

    /// libcni 1.3: further plugins of a list lie in a directory called as the list, and a list may have only those.
    private static func extended(_ json: JSON, _ path: String) throws(Failure) -> JSON {
        let wholeInFile = json["loadOnlyInlinedPlugins"]
        guard wholeInFile?.bool != true, wholeInFile?.string?.lowercased() != "true", var list = json.object,
            let name = list["name"]?.string, Names.isIdentifier(name)
        else { return json }
        let further = try plugins(in: directory(name, beside: path))
        if further.isEmpty { return json }
        list["plugins"] = .array((list["plugins"]?.array ?? []) + further)
        return .object(list)
    }

    /// A directory in the one that a file is in.
    package static func directory(_ name: String, beside path: String) -> String {
        "\(path.parts(by: "/").dropLast().joined(separator: "/"))/\(name)"
    }

    /// The plugins whose configurations are the files of a directory, in the order of their names.
    package static func plugins(in directory: String) throws(Failure) -> [JSON] {
        var plugins: [JSON] = []
        for file in candidates(directory) where file.hasSuffix(".conf") {
            let path = "\(directory)/\(file)"
            let plugin = try read(path).value
            guard plugin["type"]?.string?.isEmpty == false else {
                throw Failure(
                    .badConfig, "network configuration \(path): the key type is missing",
                    details: "it is one plugin's configuration: write its type, or remove the file")
            }
            plugins.append(plugin)
        }
        return plugins
    }

    private static func read(_ path: String) throws(Failure) -> JSONDocument {
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try readFile(path, limit: limit) } catch {
            throw Failure(.badConfig, "network configuration: \(error)", details: error.hint)
        }
        do throws(JSONError) { return try JSON.parse(bytes) } catch {
            throw Failure(
                .badConfig, "network configuration \(path): \(error)", details: "correct \(path)")
        }
    }

    /// The files that may be networks, in the order in which they are looked at.
    package static func all(in directory: String) -> [String] {
        candidates(directory).map { "\(directory)/\($0)" }
    }

    private static func candidates(_ directory: String) -> [String] {
        let names = (try? Directory.open(directory).names()) ?? []  // a missing directory has no files
        let endings = [".conf", ".json", ".conflist"]
        return names.filter { name in endings.contains { name.hasSuffix($0) } }.sorted()
    }
}
