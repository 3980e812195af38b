package import CNI
import Linux
import Plans

extension Executor {
    /// Undoes what the journal holds, newest first; goes on after errors and returns them.
    ///
    /// - Parameter cause: why; what it says is not repeated.
    package func undo(_ journal: inout Journal, after cause: Failure? = nil) -> [String] {
        var problems: [String] = []
        var scrap = Journal()
        while let entry = journal.pop() {
            switch entry {
            case .step(let inverse):
                if let refused = run([inverse], &scrap), !refused.isGone {
                    problems.append("undo: \(refused.error)")
                }
            case .shared(let object):
                do throws(SystemError) { try object.removeUnused(by: self) } catch {
                    problems.append("undo: \(error)")
                }
            case .lease(let source, let request):
                do throws(Failure) { try source.release(request) } catch {
                    problems.append("undo: release the addresses: \(error.message)")
                }
            case .external(let call):
                // It would run in the pod's namespace. Reported as a problem, so that the record stays and DEL calls
                // the plugin.
                guard kernel.isHome else {
                    problems.append("undo: \(call.type): \(Kernel.stranded): DEL runs it")
                    continue
                }
                do throws(Failure) { _ = try call.run() } catch {
                    let isSame = cause?.message.hasSuffix(error.message) ?? false
                    let text = isSame ? "it failed in the same way" : error.message
                    problems.append("undo: DEL of \(call.type): \(text)")
                }
            }
        }
        return problems
    }
}
