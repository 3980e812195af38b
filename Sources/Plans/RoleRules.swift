/// Where the two roles differ, each difference with its reason. Chosen once, by the executable's name: the meta-plugin does
/// what serves pods best; under a plugin's own name the executable does what the reference plugin does, as other programs
/// and their tests count on that.
package struct RoleRules: Sendable {
    /// What is asked for and cannot be given is refused or said. The reference passes over it in silence.
    package let judgesWishes: Bool
    /// CNI_ARGS may have keys of others, as Kubernetes' runtimes send them, and a `;` at its end. The reference refuses both.
    package let acceptsForeignArguments: Bool
    /// Errors begin with the plugin's type, as a pod has several. By itself a plugin's message is the reference's.
    package let namesPlugins: Bool
    /// Who asked for a value of `runtimeConfig` or `args.cni` is said by the caller, which knows the annotation.
    package let tracesWishes: Bool
    /// What could not be put back fails DEL, and the next one tries again. The reference's DEL never fails for it.
    package let retriesRestores: Bool
    /// A configuration that became unreadable does not keep a pod from going: its links go by name. The reference fails.
    package let detachesByName: Bool
    /// There is a record of each pod, by which its links and addresses are known. By itself a plugin looks for them.
    package let keepsRecords: Bool
    /// GC frees what an attachment left that the runtime no longer names. The meta-plugin's container keeps all while it
    /// lives: another program may have attached it.
    package let collectsByInterface: Bool
    /// One container ID may stand for two pods at once, as in the reference's tests and for people who run a plugin by hand.
    package let sharesContainerIDs: Bool
    /// The gateway's address answers at once, and tuning's MTU is raised at the pair's other end too: what a pod needs, and
    /// what the reference does not do.
    package let completesPaths: Bool
    /// What an external IPAM plugin says on stderr goes to ours, where the runtime of a single plugin shows it.
    package let forwardsErrors: Bool
    /// A link whose result the version cannot express stays where a module says that its reference leaves it.
    package let leavesUntold: Bool

    /// Whoever calls a plugin by itself sets CNI_PATH; the meta-plugin's configuration has binDir.
    package let requiresPath: Bool
    /// An error of a plugin's own has one code, 999, whatever went wrong: the reference has no others.
    package let hidesCodes: Bool

    package static let meta = RoleRules(
        judgesWishes: true, acceptsForeignArguments: true, namesPlugins: true, tracesWishes: true,
        retriesRestores: true, detachesByName: true, keepsRecords: true, collectsByInterface: false,
        sharesContainerIDs: false, completesPaths: true, forwardsErrors: false, leavesUntold: false,
        requiresPath: false, hidesCodes: false)

    package static let reference = RoleRules(
        judgesWishes: false, acceptsForeignArguments: false, namesPlugins: false, tracesWishes: false,
        retriesRestores: false, detachesByName: false, keepsRecords: false, collectsByInterface: true,
        sharesContainerIDs: true, completesPaths: false, forwardsErrors: true, leavesUntold: true,
        requiresPath: true, hidesCodes: true)
}
