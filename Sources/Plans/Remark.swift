/// What a person should know about an ADD that goes on.
package enum Remark: Equatable, Sendable {
    /// A wish that is not granted, or what will hardly work.
    case concern(String)
    /// A choice that a default made.
    case choice(String)

    package var text: String {
        switch self {
        case .concern(let text), .choice(let text): text
        }
    }
}
