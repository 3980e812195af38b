import Networking
import Testing

@Suite struct Addresses {
    @Test(arguments: [
        ("0.0.0.0", "0.0.0.0"), ("192.168.12.10", "192.168.12.10"), ("::", "::"), ("::1", "::1"),
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("fe80::1:2", "fe80::1:2"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::102:304", "::102:304"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304"), ("1::", "1::"),
    ])
    func textIsCanonical(text: String, expected: String) {
        #expect(IPAddress(parsing: text)?.description == expected)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.+4", "1.2.3.4 ", ":", ":::", "1::2::3",
        "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "g::", "+1::", "-0::", "::1.2.3", "1.2.3.4::",
        "fe80::1%eth0",
    ])
    func malformedTextIsRefused(text: String) { #expect(IPAddress(parsing: text) == nil) }

    @Test func networksKeepAndClearHostBits() throws {
        let cidr = try #require(CIDR(parsing: "10.1.2.3/8"))
        #expect("\(cidr)" == "10.1.2.3/8")
        #expect("\(cidr.network)" == "10.0.0.0/8")
        #expect("\(cidr.last)" == "10.255.255.255")
        #expect("\(try #require(CIDR(parsing: "2001:db8::1/0")).network)" == "::/0")
        #expect(CIDR(parsing: "10.0.0.0/99") == nil)
        #expect(CIDR(parsing: "10.0.0.0/+8") == nil)
        #expect(CIDR(parsing: "10.0.0.0") == nil)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.1.0.0/16", true), ("10.0.0.0/16", "10.1.0.0/16", false),
        ("::/0", "10.0.0.0/8", false),
    ])
    func overlap(a: String, b: String, expected: Bool) throws {
        let (a, b) = (try #require(CIDR(parsing: a)), try #require(CIDR(parsing: b)))
        #expect(a.overlaps(b) == expected)
        #expect(b.overlaps(a) == expected)
    }

    @Test(arguments: ["02:00:00:00:00:0a", "02-00-00-00-00-0A", "0200.0000.000a"])
    func hardwareAddressesAreReadInThreeForms(text: String) {
        #expect(MAC(parsing: text)?.description == "02:00:00:00:00:0a")
    }

    @Test(arguments: [
        "", "02:00:00:00:00", "02:00:00:00:00:00:00:00", "0:0:0:0:0:0", "gg:00:00:00:00:00",
        "+2:00:00:00:00:00",
    ])
    func otherHardwareAddressesAreRefused(text: String) { #expect(MAC(parsing: text) == nil) }

    @Test(arguments: [
        ("eth0", true), ("a234567890abcde", true), ("a234567890abcdef", false), ("", false), (".", false),
        ("..", false),
        ("a/b", false), ("a:b", false), ("a b", false), ("a\u{a0}b", false), ("a\u{1}", false),
        ("net-1.2_x", true), ("é", true), ("a\u{7f}", false), ("a\u{85}", false), ("a\u{202e}b", false),
        ("a\u{2066}b", false), ("a\u{200f}b", false), ("a\u{61c}b", false), ("a\u{200b}b", false),
        ("a\u{ad}b", false), ("a\u{feff}b", false), ("a\u{3164}", false), ("a\u{fe0f}", false),
        ("\u{2800}", false), ("all", false), ("default", false), ("all0", true),
    ])
    func interfaceNames(name: String, isValid: Bool) {
        #expect((Names.interfaceProblem(name) == nil) == isValid)
    }

    /// What is attached goes, whatever a newer version thinks of its name.
    @Test func onRemovalANameIsWhatTheKernelTakes() {
        #expect(Names.kernelProblem("a\u{202e}b") == nil && Names.kernelProblem("a/b") != nil)
    }

    @Test(arguments: [
        ("plain é", "plain é"), ("a\nb\tc\rd", "a b c d"), ("\u{1b}[2J", "\\u{1b}[2J"), ("\u{7f}", "\\u{7f}"),
        ("a\u{202e}b\u{2069}", "a\\u{202e}b\\u{2069}"), ("\u{9b}31m", "\\u{9b}31m"),
        ("\u{2028}", "\\u{2028}"),
    ])
    func whatIsHiddenIsSpelledOut(text: String, shown: String) { #expect(visible(text) == shown) }

    @Test(arguments: [
        ("eth0.100", "eth0.100"), ("net/ipv4/x=1", "net/ipv4/x=1"), ("", "''"), ("$(reboot)", "'$(reboot)'"),
        ("a b", "'a b'"), ("a'b", #"'a'\''b'"#), ("a;b", "'a;b'"), ("#a", "'#a'"), ("~", "'~'"), ("*", "'*'"),
        ("a\u{1b}'\\", #"$'a\x1b\'\\'"#), ("a\nb", #"$'a\x0ab'"#), ("\u{202e}", #"$'\xe2\x80\xae'"#),
    ])
    func aWordOfTheShellMeansItself(text: String, word: String) { #expect(shellQuoted(text) == word) }

    @Test(arguments: [
        ("a", true), ("a_b.c-d", true), ("-a", false), ("a/b", false), ("", false), ("é", false),
    ])
    func identifiers(name: String, isValid: Bool) { #expect(Names.isIdentifier(name) == isValid) }
}
