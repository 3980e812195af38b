/// What a person should hear of an ADD that goes on.
package enum Remark: Equatable, Sendable {
    /// A wish that is not granted, or what will hardly work.
    case concern(String)
    /// What a default decided.
    case choice(String)

    package var text: String {
        switch self {
        case .concern(let text), .choice(let text): text
        }
    }
}
