import Foundation
import Support
import Testing

/// External plugins that misbehave. One that hangs, with its stdout open or not, is LinuxTests' whoHangsIsKilled: the
/// deadline of a call is 50 seconds.
@Suite struct MisbehavingPrograms {
    private let node: Node
    private let netns: String
    private let config: String

    init() throws {
        node = try Node()
        netns = try node.pod("a")
        let second = #"{"cniVersion":"1.0.0","name":"second","type":"mine"}"#
        try node.define("mine", second)
        config = MetaEndToEnd.config(node, networks: "mine")
    }

    /// What the plugin does for ADD; it is content with everything else.
    private func plugin(_ body: String) throws {
        try node.script("mine", "[ $CNI_COMMAND = ADD ] || exit 0\n\(body)")
    }

    private func call(_ verb: String, seconds: Int = 40, through words: [String] = []) throws -> Answer {
        try node.call(
            verb, netns: netns, args: MetaEndToEnd.pod,
            prefix: ["prlimit", "--as=268435456", "--core=0", "timeout", "-s", "KILL", "\(seconds)"] + words,
            config)
    }

    private func clean(_ what: String) throws {
        #expect(try node.links().subtracting(["cni0"]).isEmpty && node.links(pod: "a").isEmpty, "\(what)")
        #expect(try node.files("state").isEmpty, "\(what)")
        let leases = try node.files("ipam").filter { !$0.contains("last_reserved") && !$0.hasSuffix("lock") }
        #expect(leases.isEmpty, "\(what)")
    }

    @Test(
        "R08, X11, D06: how a program can fail",
        arguments: [
            ("exec >&-", "no valid result"), ("exec <&- >&- 2>&-", "no valid result"),
            ("yes", "more than a plugin may"),
            ("cat /dev/zero", "more than a plugin may"),
            ("yes >&2 & yes >&2 & yes", "more than a plugin may"),
            ("kill -9 $$", "signal 9"), ("kill -SEGV $$", "signal 11"), ("kill -PIPE $$", "signal 13"),
            ("exit 1", "status 1"),
            ("exit 255", "status 255"), ("echo sorry >&2; exit 3", "sorry"),
            ("head -c 30000000 /dev/zero >&2; exit 3", "status 3"),
            ("echo nonsense; exit 3", "nonsense"), (#"echo '{"code":11,"msg":"later"}'; exit 1"#, "later"),
            (#"echo '{"code":-5,"msg":7}'; exit 1"#, "status 1"), (#"echo '{"code":7}'; exit 1"#, "mine"),
            ("", "no valid result"), ("echo", "no valid result"), ("echo nonsense", "no valid result"),
            ("echo '[]'", "no valid result"), ("echo '{} {}'", "no valid result"),
            ("echo 5", "no valid result"),
            ("head -c 4000 /dev/urandom", "no valid result"),
            (#"echo '{"cniVersion":"9.9.9"}'"#, "no valid result"),
            (#"echo '{"cniVersion":5}'"#, "no valid result"),
            (#"echo '{"cniVersion":"1.0.0","ips":[{}]}'"#, "no valid result"),
            (#"echo '{"cniVersion":"1.0.0","ips":[{"address":"x"}]}'"#, "no valid result"),
            (#"echo '{"cniVersion":"1.0.0","interfaces":5}'"#, "no valid result"),
            (#"echo '{"cniVersion":"1.0.0","routes":[{"dst":"0.0.0.0/99"}]}'"#, "no valid result"),
            ("yes '[' | head -n 100000", "no valid result"),
        ]) func aFailureIsNamedAndUndone(body: String, words: String) throws
    {
        try plugin(body)
        let answer = try call("ADD")
        #expect(
            answer.status == 1 && answer.ran.output.contains(words),
            "\(body): \(answer.ran.output.prefix(600))")
        #expect(answer.message.contains("default/mine on net1"), "\(body): \(answer.ran.output.prefix(600))")
        try clean(body)
        // Who failed half-way is asked to clean up.
        #expect(try Shell.sh("cat \(node.directory)/mine.log") == "ADD\nDEL\n", "\(body)")
        for _ in 1...2 { #expect(try call("DEL").status == 0, "\(body)") }
    }

    /// A result that can be read and means nothing: later calls live with it.
    @Test(arguments: [
        "{}", "null", #"{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24","interface":99}]}"#,
        #"{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24","interface":-1}]}"#,
        #"{"cniVersion":"1.0.0","interfaces":[{"name":"../x","sandbox":"/none"},{"name":""},{"name":"LONG"}]}"#,
        #"{"cniVersion":"1.0.0","interfaces":[{"name":"net1","sandbox":"NETNS","mac":"x"}],"ips":[{"address":"::ffff:1.2.3.4/120"}]}"#,
        #"{"cniVersion":"0.2.0","ip4":{"ip":"10.9.0.2/24"}}"#,
    ]) func anEmptyPromiseCrashesNothing(result: String) throws {
        let text = result.replacing("LONG", with: String(repeating: "a", count: 9000)).replacing(
            "NETNS", with: netns)
        try node.write("result.json", text)
        try plugin("cat \(node.directory)/result.json")
        let answer = try call("ADD")
        #expect(answer.status == 0 || answer.code > 0, "\(answer.ran.output.prefix(600))")
        let checked = try call("CHECK")
        #expect(checked.status == 0 || checked.code > 0, "\(checked.ran.output.prefix(600))")
        #expect(try call("DEL").status == 0)
        try clean(result)
    }

    @Test(
        "N04: what is no program",
        arguments: [
            ("chmod 644 F", "is not executable"), ("rm F; mkdir F", "failed to find plugin"),
            ("rm F; ln -s F F", "failed to find plugin"), ("rm F; mkfifo F", "failed to find plugin"),
            ("rm F; ln -s /dev/null F", "failed to find plugin"),
            ("sed -i '1s,/bin/sh,/none/such,' F", "No such file"),
            (": > F", "Exec format error"), ("head -c 64 /dev/urandom > F", "Exec format error"),
            ("rm F", "failed to find plugin"),
        ]) func whatIsNoProgramIsNamed(change: String, words: String) throws
    {
        try plugin("echo '{}'")
        try Shell.sh(change.replacing("F", with: "\(node.directory)/plugins/mine"))
        let answer = try call("ADD")
        #expect(answer.status == 1 && answer.ran.output.contains(words), "\(change): \(answer.ran)")
        #expect(try node.links(pod: "a").isEmpty)
        let leases = try node.files("ipam").filter { !$0.contains("last_reserved") && !$0.hasSuffix("lock") }
        #expect(leases.isEmpty)
        try Shell.sh("rm -rf \(node.directory)/plugins/mine")
        try plugin("echo '{}'")
        #expect(try call("DEL").status == 0)
        try clean(change)
    }

    /// What a plugin would do after a DEL, nobody would undo.
    @Test func whoIsKilledTakesThePluginAlong() throws {
        let mark = "\(node.directory)/outlived"
        try plugin("sleep 2; touch \(mark)")
        #expect(try call("ADD", seconds: 1).ran.output.isEmpty)
        #expect(try call("DEL").status == 0)
        try Shell.sh("sleep 2")
        #expect(try Shell.sh("ls \(node.directory)").contains("mine.log"))
        #expect(try !Shell.sh("ls \(node.directory)").contains("outlived"))
        try clean("killed")
    }

    /// Its undo would run in the pod's namespace. The record says that it is due, whatever the pod asks for by then.
    @Test(arguments: [2, 4, 6, 8])
    func whoCannotComeBackLeavesTheUndoToDEL(setns: Int) throws {
        try plugin("echo '{\"cniVersion\":\"1.0.0\"}'")
        try node.define(
            "tuned",
            """
            {"cniVersion":"1.0.0","plugins":[{"type":"bridge","bridge":"b1"},
             {"type":"tuning","sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}}]}
            """)
        let config = MetaEndToEnd.config(node, networks: "mine,tuned")
        let answer = try node.call(
            "ADD", netns: netns, args: MetaEndToEnd.pod,
            prefix: ["strace", "-qq", "-o", "/dev/null", "-e", "inject=setns:error=EPERM:when=\(setns)"],
            config)
        #expect(answer.status == 1, "\(answer.ran)")
        let gone = try node.call(
            "DEL", netns: netns, args: MetaEndToEnd.pod, MetaEndToEnd.config(node, networks: ""))
        #expect(gone.status == 0, "\(gone.ran)")
        let calls = (try? Shell.sh("cat \(node.directory)/mine.log")) ?? ""
        #expect(calls.isEmpty || calls == "ADD\nDEL\n", "\(calls) \(answer.ran.output)")
        #expect(try node.links(pod: "a").isEmpty && node.links().subtracting(["cni0", "b1"]).isEmpty)
        #expect(try node.files("state").isEmpty)
    }

    /// A runtime that ignores its children's ends leaves us the same.
    @Test func anIgnoredSIGCHLDTakesNoStatus() throws {
        try plugin("echo '{\"cniVersion\":\"1.0.0\"}'")
        for verb in ["ADD", "DEL"] {
            let answer = try call(verb, through: ["env", "--ignore-signal=CHLD"])
            #expect(answer.status == 0, "\(verb): \(answer.ran)")
        }
        try clean("SIGCHLD ignored")
    }

    /// Output goes on to nobody, and a filled stderr holds nobody up.
    @Test func aTalkativePluginSucceeds() throws {
        try plugin("head -c 50000000 /dev/zero >&2; yes | head -n 1 >&2; echo '{\"cniVersion\":\"1.0.0\"}'")
        let answer = try call("ADD")
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(answer.ran.errors.isEmpty && answer.json["interfaces"].list.count == 3)
        #expect(try call("DEL").status == 0)
        try clean("talkative")
    }
}
