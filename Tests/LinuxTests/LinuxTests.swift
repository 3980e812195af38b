import Hashing
import Linux
import Testing

@Suite struct SystemWrappers {
    let path = "/tmp/plexus-unit-\(UInt64.random(in: 0...UInt64.max))"

    @Test func filesAreReplacedAndCreatedOnce() throws {
        let directory = try Directory.create("\(path)/a/b").trusted()
        try directory.replace("f", with: Array("one".utf8))
        try directory.replace("f", with: Array("two".utf8))
        #expect(try readFile("\(path)/a/b/f", limit: 10) == Array("two".utf8))
        let made = [try directory.createExclusive("g", [1]), try directory.createExclusive("g", [2])]
        #expect(made == [true, false])
        let content = try directory.read("g", limit: 10)
        #expect(content == [1])
        let names = try Directory.open("\(path)/a/b").names().sorted()
        #expect(names == ["f", "g"])
        let removed = [try directory.remove("g"), try directory.remove("g")]
        #expect(removed == [true, false])
        let absent = try directory.readIfPresent("g", limit: 1)
        #expect(absent == nil)
        let swept = try ChildProcess.run(
            path: "/bin/rm", arguments: ["-r", path], environment: [], input: [], deadline: 10)
        #expect(swept.status == .exited(0))
    }

    private func sh(_ line: String) throws {
        let ran = try ChildProcess.run(
            path: "/bin/sh", arguments: ["-c", "cd \(path) && \(line)"],
            environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], input: [], deadline: 10)
        #expect(ran.status == .exited(0), "\(line): \(String(decoding: ran.errors, as: UTF8.self))")
    }

    /// In place: the other name of the file shows what was written. What is no file gives way.
    @Test(arguments: [
        (": > h && ln h other", "", true), ("printf 10.0.0.100 > h && ln h other", "10.0.0.100", true),
        ("head -c 4000 /dev/zero | tr '\\0' x > h && ln h other", String(repeating: "x", count: 64), true),
        (":", "", false), ("echo no > other && ln -s other h", "", false), ("mkfifo h", "", false),
        ("mkdir h", "", false),
    ])
    func hintsAreWrittenInPlace(before: String, text: String, isInPlace: Bool) throws {
        let directory = try Directory.create(path)
        try sh(before)
        let hint = directory.hint("h")
        #expect(String(decoding: hint.bytes, as: UTF8.self) == text)
        try directory.write("h", Array("10.0.0.2".utf8), over: hint)
        try sh("test ! -L h && test \"$(cat h; echo .)\" = 10.0.0.2.")
        try sh(
            isInPlace ? "test \"$(cat other; echo .)\" = 10.0.0.2." : "test \"$(cat other 2>&1)\" != 10.0.0.2"
        )
        try sh("rm -r \(path)")
    }

    @Test func whatIsAddedIsAddedWholeOrNotAtAll() throws {
        let directory = try Directory.create(path)
        try directory.replace("f", with: Array("one\n".utf8))
        let added = [
            try directory.append("f", Array("two\n".utf8), limit: 8),
            try directory.append("f", [1], limit: 8),
        ]
        #expect(added == [true, false])
        #expect(try readFile("\(path)/f", limit: 10) == Array("one\ntwo\n".utf8))
        try sh("ln -s f link")
        #expect(throws: SystemError.self) { _ = try directory.append("link", [1], limit: 100) }
        #expect(throws: SystemError.self) { _ = try directory.append("none", [1], limit: 100) }
        try sh("rm -r \(path)")
    }

    @Test func childrenGetTheirInputAndNothingElse() throws {
        let result = try ChildProcess.run(
            path: "/usr/bin/env", environment: ["ONLY=this"], input: [], deadline: 10)
        #expect(result.status == .exited(0))
        #expect(String(decoding: result.output, as: UTF8.self) == "ONLY=this\n")
        let input = [UInt8](repeating: 65, count: 1 << 20)
        #expect(
            try ChildProcess.run(path: "/bin/cat", environment: [], input: input, deadline: 10).output
                == input)
        let flood = try ChildProcess.run(
            path: "/usr/bin/yes", environment: [], input: [], deadline: 10, outputLimit: 1 << 16)
        #expect(flood.status == .flooded)
        #expect(throws: SystemError.self) {
            try ChildProcess.run(path: "/none/such", environment: [], input: [], deadline: 1)
        }
    }

    /// The deadline counts for what a child leaves behind with its stdout, too.
    @Test(arguments: ["exec sleep 1000", "sleep 1000 & exit 0", "trap '' TERM; while :; do sleep 1; done"])
    func whoHangsIsKilled(script: String) throws {
        let result = try ChildProcess.run(
            path: "/bin/sh", arguments: ["-c", "echo $$; \(script)"], environment: ["PATH=/usr/bin:/bin"],
            input: [],
            deadline: 1)
        #expect(result.status == .timedOut)
        let group = String(decoding: result.output, as: UTF8.self).split(separator: "\n").first.map(
            String.init)
        // Until init has collected what was killed.
        let look =
            "for i in $(seq 100); do kill -0 -- -\(try #require(group)) || exit 0; sleep 0.1; done; exit 1"
        let gone = try ChildProcess.run(
            path: "/bin/sh", arguments: ["-c", look], environment: ["PATH=/usr/bin:/bin"], input: [],
            deadline: 30)
        #expect(gone.status == .exited(0))
    }

    @Test func whoLeavesTheGroupIsKilledToo() throws {
        let script = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(1000)"
        let result = try ChildProcess.run(
            path: "/usr/bin/python3", arguments: ["-c", script], environment: [], input: [], deadline: 1)
        #expect(result.status == .timedOut && result.errors.isEmpty)
    }

    @Test func digestsAreSHA2() {
        #expect(Digest.sha256Bytes("abc").prefix(4) == [0xba, 0x78, 0x16, 0xbf])
        #expect(Digest.sha512("abc").hasPrefix("ddaf35a193617aba"))
    }
}
