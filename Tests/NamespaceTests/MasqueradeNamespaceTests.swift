import Linux
import Netlink
import Networking
import Support
import Testing

/// Masquerade rules on a real kernel; `nft` prints them and reads back what it printed.
@Suite(.serialized) struct MasqueradeOnAKernel {
    static let inside = EngineOnAKernel.inside

    static func rule(_ address: String, _ network: String, _ comment: String) throws -> MasqueradeRule {
        MasqueradeRule(
            address: try #require(IPAddress(parsing: address)),
            network: try #require(CIDR(parsing: network)), comment: comment)
    }

    @discardableResult
    static func nft(_ node: String, _ words: String) throws -> String {
        try Shell.sh("ip netns exec \(node) nft \(words)")
    }

    @Test func nftPrintsWhatWasAskedForAndReadsItBack() throws {
        try Self.inside { node, _ in
            var socket = try NftSocket.open()
            try socket.ensureMasquerade(
                rules: [
                    try Self.rule("10.9.0.2", "10.9.0.0/24", "aa-bb, net: n"),
                    try Self.rule("10.8.0.2", "10.8.0.0/22", "aa-bb, net: n"),
                    try Self.rule("fd09::2", "fd09::/64", "aa-bb, net: n"),
                ], instancePrefix: "aa-bb")
            let text = try Self.nft(node, "list ruleset")
            #expect(
                text == """
                    table inet cni_plugins_masquerade {
                    	comment "Plexus: source translation of CNI attachments"
                    	chain masq_checks {
                    		comment "Plexus: one rule for each address"
                    		ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 masquerade comment "aa-bb, net: n"
                    		ip saddr 10.8.0.2 ip daddr != 10.8.0.0/22 masquerade comment "aa-bb, net: n"
                    		ip6 saddr fd09::2 ip6 daddr != fd09::/64 masquerade comment "aa-bb, net: n"
                    	}

                    	chain postrouting {
                    		type nat hook postrouting priority srcnat; policy accept;
                    		ip daddr 224.0.0.0/4 return
                    		ip6 daddr ff00::/8 return
                    		goto masq_checks
                    	}
                    }

                    """)
            let list = try Tree(parsing: try Self.nft(node, "-j list ruleset"))["nftables"].list
            #expect(list.count(where: { $0["rule"].exists }) == 6)
            #expect(
                try Shell.sh(
                    "ip netns exec \(node) sh -c 'nft list ruleset >/tmp/\(node) && nft flush ruleset && "
                        + "nft -f /tmp/\(node); nft list ruleset; rm /tmp/\(node)'") == text)
        }
    }

    @Test func anInstancesRulesAreReplacedAndOthersStay() throws {
        try Self.inside { node, _ in
            var socket = try NftSocket.open()
            #expect(try socket.removeMasquerade(prefix: "aa-1") == 0)
            #expect(try Self.nft(node, "list ruleset").isEmpty)
            for (instance, address) in [("aa-1", "10.9.0.2"), ("aa-2", "10.9.0.2"), ("aa-1", "10.9.0.3")] {
                try socket.ensureMasquerade(
                    rules: [try Self.rule(address, "10.9.0.0/24", "\(instance), net: n")],
                    instancePrefix: instance)
            }
            // Each ADD writes postrouting anew, and never twice.
            #expect(try Self.nft(node, "list ruleset").split(separator: "goto").count == 2)
            let first = try Self.nft(node, "list chain inet cni_plugins_masquerade masq_checks")
            #expect(first.contains("10.9.0.3") && first.contains("aa-2"))
            #expect(first.split(separator: "saddr").count == 3)
            #expect(try socket.removeMasquerade(prefix: "aa-1") == 1)
            #expect(try socket.removeMasquerade(prefix: "aa-1") == 0)
            let rest = try Self.nft(node, "list chain inet cni_plugins_masquerade masq_checks")
            #expect(!rest.contains("aa-1") && rest.contains("aa-2"))
        }
    }

    @Test func rulesOfTheReferencePluginsAreFoundByTheirComment() throws {
        try Self.inside { node, _ in
            try Shell.sh(
                """
                ip netns exec \(node) nft -f - <<'END'
                table inet cni_plugins_masquerade {
                    comment "Masquerading for plugins from github.com/containernetworking/plugins"
                    chain masq_checks {
                        comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"
                        ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24 masquerade comment "aa-1, net: n, if: eth0, id: c"
                        ip saddr 10.9.0.7 ip daddr != 10.9.0.0/24 masquerade
                    }
                    chain postrouting {
                        type nat hook postrouting priority srcnat; policy accept;
                        goto masq_checks
                    }
                }
                END
                """)
            var socket = try NftSocket.open()
            try socket.ensureMasquerade(
                rules: [try Self.rule("10.9.0.3", "10.9.0.0/24", "aa-1, net: n")], instancePrefix: "aa-1")
            let text = try Self.nft(node, "list ruleset")
            #expect(!text.contains("10.9.0.2") && text.contains("10.9.0.3") && text.contains("10.9.0.7"))
            #expect(text.contains("github.com/containernetworking/plugins"))
        }
    }

    @Test func aRefusedTransactionChangesNothing() throws {
        try Self.inside { node, _ in
            // A chain of that name that is of another type.
            try Shell.sh(
                """
                ip netns exec \(node) nft 'add table inet cni_plugins_masquerade;
                add chain inet cni_plugins_masquerade postrouting { type filter hook input priority 0; }'
                """)
            let before = try Self.nft(node, "list ruleset")
            var socket = try NftSocket.open()
            for _ in 0..<2 {
                let error = #expect(throws: SystemError.self) {
                    try socket.ensureMasquerade(
                        rules: [try Self.rule("10.9.0.2", "10.9.0.0/24", "aa")], instancePrefix: "aa")
                }
                #expect(error?.operation == "add masquerade rules")
                #expect(error?.code != nil)
                #expect(try Self.nft(node, "list ruleset") == before)
            }
            try Self.nft(node, "flush ruleset")
            try socket.ensureMasquerade(
                rules: [try Self.rule("10.9.0.2", "10.9.0.0/24", "aa")], instancePrefix: "aa")
            #expect(try socket.removeMasquerade(prefix: "aa") == 1)
        }
    }

    @Test func manyAddressesAndLongCommentsAreNoProblem() throws {
        try Self.inside { node, _ in
            var socket = try NftSocket.open()
            let comment = "aa" + String(repeating: "é", count: 100)
            let rules = try (1...150).map { try Self.rule("fd09::\($0)", "fd09::/64", comment) }
            try socket.ensureMasquerade(rules: rules, instancePrefix: "aa")
            let list = try Tree(parsing: try Self.nft(node, "-j list ruleset"))["nftables"].list
            #expect(list.count(where: { $0["rule"]["comment"].exists }) == 150)
            try socket.ensureMasquerade(rules: rules, instancePrefix: "aa")
            #expect(try socket.removeMasquerade(prefix: "aa") == 150)
        }
    }
}
