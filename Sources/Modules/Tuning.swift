package import CNI
import JSONC
package import Plans

/// Sysctls of the pod's network namespace. CNI reference plugin `tuning`; it follows another plugin in a chain.
package enum Tuning: Module {
    package static let type = "tuning"
    package static let usesIPAM = false
    package static func arguments(_ verb: Verb) -> [String]? { ["MAC"] }
    package static let keys = ["sysctl", "mac", "mtu", "promisc", "allmulti", "txQLen", "dataDir"]

    /// The administrator's list of sysctls that may be set, one regular expression a line.
    package static let allowList = "/etc/cni/tuning/allowlist.conf"

    package struct Config: Equatable, Sendable {
        /// Paths below /proc/sys, in the order of the configuration, with `IFNAME` as written.
        package var sysctls: [Setting] = []

        package struct Setting: Equatable, Sendable {
            package var path: String
            package var value: String
        }
    }

    package static func parse(_ input: PluginInput) throws(Failure) -> Config {
        var config = Config()
        do throws(JSONError) {
            let json = input.config.reader
            for key in ["mac", "mtu", "promisc", "allmulti", "txQLen"]
            where input.verb == .add && json.has(key) {
                throw json.error(key, "this version of tuning sets sysctls only")
            }
            let arguments = try json.object("args")?.object("cni")
            for source in [try json.object("sysctl"), try arguments?.object("sysctl")] {
                guard let source else { continue }
                for (key, value) in try source.members() {
                    let setting = Config.Setting(path: try path(key, source), value: try value.asString())
                    config.sysctls.removeAll { $0.path == setting.path }
                    config.sysctls.append(setting)
                }
            }
        } catch {
            throw Failure(
                error.problem.hasPrefix("this version") ? .unsupportedField : .badConfig, "\(error)")
        }
        return config
    }

    /// `net.core.somaxconn` or `net/core/somaxconn` as a path; only what is below `net` belongs to the pod.
    private static func path(_ key: String, _ source: Reader) throws(JSONError) -> String {
        let parts = key.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "/" }
        guard parts.count >= 2, parts[0] == "net", parts.allSatisfy({ !$0.isEmpty }),
            !key.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f })
        else {
            throw source.error(key, "invalid net sysctl key: write net. and names joined by '.' or '/'")
        }
        return parts.joined(separator: "/")
    }

    package static func needs(_ config: Config, _ attachment: Attachment, _ verb: Verb) -> FactsQuery {
        guard verb == .add || verb == .check else { return FactsQuery() }
        return FactsQuery(sysctls: config.sysctls.map { name($0, attachment) }, files: [allowList])
    }

    private static func name(_ setting: Config.Setting, _ attachment: Attachment) -> SysctlName {
        let parts = setting.path.split(separator: "/").map {
            $0 == "IFNAME" ? attachment.interface : String($0)
        }
        return SysctlName(.sandbox, parts.joined(separator: "/"))
    }

    package static func plan(_ config: Config, _ attachment: Attachment, _ facts: Facts) throws(Failure)
        -> Plan
    {
        guard let previous = attachment.previous else {
            throw Failure(
                .badConfig, "Required prevResult missing", details: "tuning follows another plugin in a list")
        }
        // A restriction that cannot be followed must not be passed over.
        guard !facts.files.contains(allowList) || config.sysctls.isEmpty else {
            throw Failure(
                .unsupportedField, "sysctl: this version does not evaluate the allow list \(allowList)",
                details: "add tuning to externalPlugins to run the plugin that does, or remove the file")
        }
        var steps: [Step] = []
        for setting in config.sysctls {
            let name = name(setting, attachment)
            guard facts.sysctls[name] != nil else {
                throw Failure(
                    .badConfig, "sysctl \(name.path) does not exist in the pod's namespace",
                    details: "the kernel has no /proc/sys/\(name.path) there")
            }
            steps.append(.sysctl(SysctlChange(.sandbox, name.path, setting.value, .saved)))
        }
        return Plan(steps: steps, result: previous)
    }

    package static func removal(_ config: Config, _ attachment: Attachment, _ facts: Facts) -> Removal {
        Removal(
            steps: attachment.saved.sorted { $0.key < $1.key }.map {
                .sysctl(SysctlChange(.sandbox, $0.key, $0.value, isOptional: true))
            })
    }

    package static func check(
        _ config: Config, _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
    ) throws(Failure) {
        for setting in config.sysctls {
            let name = name(setting, attachment)
            let value = facts.sysctls[name]
            guard value == setting.value else {
                throw Failure(
                    .generic,
                    "sysctl \(name.path) is \(value ?? "absent"), the configuration says \(setting.value)")
            }
        }
    }
}
