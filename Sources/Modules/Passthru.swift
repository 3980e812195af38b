package import CNI
package import JSONC
package import Plans

/// Does nothing, and gives an empty result whatever came before: the head of Multus' `auxiliaryCNIChainName`. Multus'
/// plugin `passthru`.
package enum Passthru: Module {
    package static let type = "passthru"
    package static let usesIPAM = false
    package static let checksResult = false
    package static let vocabulary = Vocabulary([])

    package struct Config: Equatable, Sendable {}

    package static func parse(_ input: PluginInput) throws(Failure) -> Config { Config() }
    package static func needs(_: Config, _: Attachment, _: Verb) -> FactsQuery { FactsQuery() }

    package static func configure(_: Config, _: Attachment, _: Facts) throws(Failure) -> Plan {
        Plan(result: CNIResult())
    }

    package static func removal(_: Config, _: Attachment, _: Facts) -> Removal { Removal() }
    package static func hasLink(_: Config, _: Facts) -> Bool { false }
}
