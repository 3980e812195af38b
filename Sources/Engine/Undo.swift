package import CNI
import Linux
import Plans

extension Executor {
    /// Undoes what the journal holds, newest first; goes on after errors and returns them. What could not be undone
    /// stays in it.
    ///
    /// - Parameter cause: why; what it says is not repeated.
    package func undo(_ journal: inout Journal, after cause: Failure? = nil) -> [String] {
        var problems: [String] = []
        var scrap = Journal()
        var left: [Journal.Entry] = []
        defer { for entry in left.reversed() { journal.record(entry) } }
        while let entry = journal.pop() {
            switch entry {
            case .step(let inverse):
                if let refused = run([inverse], &scrap), !refused.isGone {
                    problems.append("undo: \(refused.error)")
                    left.append(entry)
                }
            case .shared(let object):
                do throws(SystemError) { try object.removeUnused(by: self) } catch {
                    problems.append("undo: \(error)")
                    left.append(entry)
                }
            case .lease(let source, let request):
                do throws(Failure) { try source.release(request) } catch {
                    problems.append("undo: release the addresses: \(error.message)")
                    left.append(entry)
                }
            case .external(let call):
                // It would run in the pod's namespace. Reported as a problem, so that the record stays and DEL calls
                // the plugin.
                guard kernel.isHome else {
                    problems.append("undo: \(call.type): \(Kernel.stranded): DEL runs it")
                    left.append(entry)
                    continue
                }
                do throws(Failure) { _ = try call.run() } catch {
                    let isSame = cause?.message.hasSuffix(error.message) ?? false
                    let text = isSame ? "it failed in the same way" : error.message
                    problems.append("undo: DEL of \(call.type): \(text)")
                    left.append(entry)
                }
            }
        }
        return problems
    }
}
