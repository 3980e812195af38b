package import CNI
import JSONC
package import Linux

/// Networks that are files: in `confDir`, or named by a path in `clusterNetwork`.
package enum NetworkFiles {
    private static let limit = 2 << 20

    /// The network called `name` in the first file of `directory` that has it; nil when none does.
    package static func find(_ name: String, in directory: String, _ log: Log) -> NetworkList? {
        for file in candidates(directory) {
            do throws(Failure) {
                let list = try load("\(directory)/\(file)")
                if list.name == name { return list }
            } catch {
                // A broken neighbour must not hide the network that is wanted.
                log.error("\(directory)/\(file): \(error.message)")
            }
        }
        return nil
    }

    /// A file, or the first file of a directory.
    package static func load(_ path: String) throws(Failure) -> NetworkList {
        if path.hasSuffix("/") || !isRegularFile(path) {
            guard let first = candidates(path).first else {
                throw Failure(
                    .badConfig, "no network configuration at \(path)",
                    details: "it has no .conf, .json or .conflist")
            }
            return try load("\(path)/\(first)")
        }
        let json = try read(path)
        var list = try NetworkList.decode(json, defaultName: nil)
        guard path.hasSuffix(".conflist"), json["loadOnlyInlinedPlugins"]?.bool != true else { return list }
        // libcni 1.3: further plugins of a list lie in a directory called as the list.
        let directory = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
            separator: "/")
        for file in candidates("\(directory)/\(list.name)") where file.hasSuffix(".conf") {
            list.plugins.append(try read("\(directory)/\(list.name)/\(file)"))
        }
        return list
    }

    private static func read(_ path: String) throws(Failure) -> JSON {
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try readFile(path, limit: limit) } catch {
            throw Failure(.badConfig, "network configuration: \(error)")
        }
        do throws(JSONError) { return try JSON.parse(bytes).value } catch {
            throw Failure(.badConfig, "network configuration \(path): \(error)")
        }
    }

    private static func candidates(_ directory: String) -> [String] {
        let names = try? Directory.open(directory).names()  // a missing directory has no files
        return (names ?? []).filter { name in [".conf", ".json", ".conflist"].contains { name.hasSuffix($0) }
        }.sorted()
    }
}
