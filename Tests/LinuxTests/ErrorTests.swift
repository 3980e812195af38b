import Linux
import Testing

@Suite struct ErrorTests {
    @Test("an error says what was tried, why it failed and in what words")
    func words() {
        let error = SystemError(operation: "add link net1", code: .alreadyExists, text: "name taken")
        #expect("\(error)" == "add link net1: File exists (name taken)")
        #expect(
            "\(SystemError(operation: "add link net1", code: .alreadyExists))" == "add link net1: File exists"
        )
        // What the kernel says may be no more than the number does.
        #expect(
            "\(SystemError(operation: "add link net1", code: .alreadyExists, text: "File exists"))"
                == "add link net1: File exists")
        #expect("\(SystemError(refusing: "/x is no regular file"))" == "/x is no regular file")
    }

    @Test("with another operation nothing else of it is lost")
    func renamed() {
        let error = SystemError(
            operation: "a", code: .noSpace, text: "t", fix: "f", isUnanswered: true)
        #expect(
            error.renamed("b")
                == SystemError(operation: "b", code: .noSpace, text: "t", fix: "f", isUnanswered: true))
        #expect(SystemError(refusing: "a").renamed("b") == SystemError(refusing: "b"))
    }

    @Test("what an errno means for files")
    func meanings() {
        func error(_ code: Errno) -> SystemError { SystemError(operation: "open /x", code: code) }
        #expect(error(.noSuchFile).isNotFound && error(.nameTooLong).isNotFound)
        #expect(error(.accessDenied).isForbidden && error(.accessDenied).hint.contains("root"))
        #expect(error(.readOnly).hasNoRoom && error(.readOnly).hint.contains("read-only"))
        #expect(error(.inputOutput).isUntold && !error(.busy).isUntold)
        #expect(error(.symbolicLinkLoop).isNoFile && SystemError(refusing: "").isNoFile)
        #expect(!error(.noSuchFile).isNoFile && !SystemError(refusing: "").isNotFound)
    }
}
