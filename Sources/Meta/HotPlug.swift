package import Definitions
import Plans
package import Records

/// What a changed annotation of a pod that runs asks for, beside what the pod has.
package struct HotPlug: Equatable, Sendable {
    package enum Change: Equatable, Sendable {
        /// The element of the annotation with this index.
        case attach(Int)
        /// The interface.
        case detach(String)
    }

    /// In this order: interfaces whose names are wanted again go first, then the new networks come in the annotation's order,
    /// then the others go. So seldom something has to be made again when one fails.
    package let changes: [Change]

    /// - Parameters:
    ///   - wanted: the annotation.
    ///   - namespace: the pod's.
    ///   - record: what the pod has. Networks that it has not by its annotation stay. Of a record that does not say which
    ///     these are nothing is known: it stays as it is.
    package init(_ wanted: [Selection], in namespace: String, _ record: PodRecord) {
        guard record.entries.dropFirst().allSatisfy({ $0.spec.isAsked != nil }) else {
            changes = []
            return
        }
        func name(_ selection: Selection) -> String {
            "\(selection.namespace ?? namespace)/\(selection.name)"
        }
        var left = record.entries.dropFirst().map(\.spec).filter { $0.isAsked == true }
        // An optional network that was left out is not tried again: the pod started without it.
        var missing = record.missing.map(\.name)
        var open: [Int] = []
        // Those that name their interface choose first; the others are what remains, in order.
        for hasInterface in [true, false] {
            for (index, selection) in wanted.enumerated() where (selection.interface != nil) == hasInterface {
                let found = left.firstIndex {
                    $0.name == name(selection) && $0.id.interface == selection.interface ?? $0.id.interface
                }
                if let found {
                    left.remove(at: found)
                } else if selection.isOptional, let known = missing.firstIndex(of: name(selection)) {
                    missing.remove(at: known)
                } else {
                    open.append(index)
                }
            }
        }
        let again = Set(open.compactMap { wanted[$0].interface })
        let gone = left.map(\.id.interface)
        changes =
            gone.filter(again.contains).map { .detach($0) } + open.sorted().map { .attach($0) }
            + gone.filter { !again.contains($0) }.map { .detach($0) }
    }
}
