import Foundation
import Support
import Testing

/// What an operator meets on the way from the README to a node that works.
@Suite struct FromTheReadme {
    /// The commands of the README's `console` blocks with a line that has these words.
    private func commands(_ words: String) throws -> String {
        let text = try String(contentsOfFile: "\(Node.repository)/README.md", encoding: .utf8)
        let blocks = text.components(separatedBy: "```console\n").dropFirst().map {
            $0.components(separatedBy: "```")[0]
        }
        let block = try #require(blocks.first { $0.contains(words) })
        return block.split(separator: "\n").filter { $0.hasPrefix("# ") }.map { $0.dropFirst(2) }
            .joined(separator: "\n")
    }

    /// Runs a script as root on a machine that has no CNI at all, in a clone of the repository that is built.
    private func fresh(_ node: Node, _ script: String) throws -> Ran {
        try node.write("clone/.build/release/plexus", "")
        try Shell.sh(
            "cd \(node.directory)/clone && ln -sf \(Node.executable) .build/release/plexus && cp -r \(Node.repository)/conf ."
        )
        // Stands for a cluster that has the definitions of conf/.
        try node.write(
            "tools/kubectl",
            """
            #!/bin/sh
            [ "$1 $2 $3 $4 $6 $7" = "get net-attach-def -n default -o yaml" ] || exit 1
            exec cat \(node.directory)/clone/conf/net-attach-def/default/$5.yaml
            """)
        try node.write(
            "fresh",
            """
            set -eu
            PATH=\(node.directory)/tools:$PATH
            mkdir \(node.directory)/fresh-etc
            mount -t tmpfs tmpfs \(node.directory)/fresh-etc
            cp -a /etc/. \(node.directory)/fresh-etc/
            mount --bind \(node.directory)/fresh-etc /etc
            rm -rf /etc/cni
            for folder in /opt /var/lib; do mount -t tmpfs tmpfs $folder; done
            cd \(node.directory)/clone
            \(script)
            """)
        try Shell.sh("chmod +x \(node.directory)/tools/kubectl")
        return try Shell.run([
            "ip", "netns", "exec", node.name, "unshare", "--mount", "--propagation", "private", "bash",
            "\(node.directory)/fresh",
        ])
    }

    @Test func theInstallBlocksAndTheCallByHandWorkWordForWord() throws {
        let node = try Node()
        let ran = try fresh(
            node,
            """
            \(try commands("install -m 755"))
            \(try commands("cp conf/10-plexus.conf"))
            \(try commands("CNI_COMMAND=ADD").replacing("try", with: "\(node.name)-try"))
            ls -A /etc/cni/net.d $bin $d
            """)
        #expect(ran.status == 0, "\(ran)")
        for words in [
            "\"10.244.0.2/24\"", "eth0@", "net1@", "192.168.12.10/24", "10-plexus.conf\n", "mybr0.yaml\n",
        ] {
            #expect(ran.output.contains(words), "\(words): \(ran)")
        }
        #expect(!ran.output.contains(".new") && !ran.output.contains(".10-plexus"))
    }

    @Test func onANodeThatHasANetworkItsFileIsNamed() throws {
        let node = try Node()
        let netns = try node.pod("a")
        let ran = try fresh(
            node,
            """
            mkdir -p /etc/cni/net.d
            cat >/etc/cni/net.d/15-theirs.conflist <<'END'
            {"cniVersion":"0.3.1","name":"theirs","plugins":[{"type":"bridge","bridge":"br-theirs",
             "ipam":{"type":"host-local","subnet":"10.9.0.0/24"}}]}
            END
            \(try commands("install -m 755"))
            for again in 1 2; do
                \(try commands("conf/00-plexus.conflist"))
            done
            ls /etc/cni/net.d
            \(Node.executable) explain --config /etc/cni/net.d/00-plexus.conflist --networks mybr0
            """)
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.contains("00-plexus.conflist\n15-theirs.conflist\n"))
        #expect(
            ran.output.contains("# eth0  theirs\n") && ran.output.contains("# net1  default/mybr0\n"),
            "\(ran)")
        #expect(try node.links(pod: "a").isEmpty && !netns.isEmpty)
    }

    /// Runtimes of today take 1.1.0 of a list, those of Debian 12 its cniVersion.
    @Test(arguments: ["00-plexus", "podman-plexus", "podman-mybr0"])
    func listsNameBothVersions(file: String) throws {
        let text = try String(contentsOfFile: "\(Node.repository)/conf/\(file).conflist", encoding: .utf8)
        let list = try Tree(parsing: text)
        #expect(list["cniVersion"].string == "1.0.0")
        #expect(list["cniVersions"].list.map(\.string) == ["1.0.0", "1.1.0"])
    }
}
