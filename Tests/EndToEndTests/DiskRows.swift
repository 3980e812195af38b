import Foundation
import Support
import Testing

/// Files as a power cut, a full disk or somebody else's program leaves them.
@Suite struct PowerAndDisk {
    private let node: Node
    private let netns: String
    private let config: String

    init() throws {
        node = try MetaEndToEnd.node()
        netns = try node.pod("a")
        config = MetaEndToEnd.config(node)
    }

    private func call(_ verb: String, id: String = "c1", netns: String? = nil, _ config: String? = nil) throws
        -> Answer
    {
        try node.call(
            verb, id: id, netns: netns ?? self.netns, args: MetaEndToEnd.pod,
            prefix: ["timeout", "-s", "KILL", "30"],
            config ?? self.config)
    }

    private func leases() throws -> Set<String> {
        try node.files("ipam").filter { !$0.contains("last_reserved") && !$0.hasSuffix("lock") }
    }

    /// Neither links of the pod's, nor leases, nor records.
    private func clean(_ what: String) throws {
        #expect(try node.links(pod: "a").isEmpty, "\(what)")
        #expect(try node.links().subtracting(["cni0", "mybr0"]).isEmpty, "\(what)")
        #expect(try leases().isEmpty, "\(what)")
        #expect(try node.files("state").isEmpty, "\(what)")
    }

    private func sh(_ line: String) throws { try Shell.sh("cd \(node.directory) && \(line)") }

    // MARK: What stands in a file

    /// How a file is spoilt; F is its path.
    static let damages = [
        ": > F", "printf '{' > F", "printf '[]' > F", "printf 'null' > F", "head -c 300 /dev/urandom > F",
        "truncate -s 100 F", "truncate -s 40M F", "tr 0-9 5 < F > F.new && mv F.new F", "chmod 000 F",
        "chmod 777 F",
        "rm F && ln -s /etc/passwd F", "rm F && ln -s F F", "rm F && mkfifo F", "chown nobody F",
        "printf '{\"version\":2}' > F", "sed -i s/c1/c2/ F",
    ]

    @Test(arguments: damages) func aSpoiltRecordKeepsNoPodFromGoing(damage: String) throws {
        #expect(try call("ADD").status == 0)
        try sh(damage.replacing("F", with: "state/attachments/c1@eth0.json"))
        for _ in 1...2 {
            let answer = try call("DEL")
            #expect(answer.status == 0, "\(damage): \(answer.ran)")
        }
        try clean(damage)
        #expect(try call("ADD").status == 0)
        #expect(try call("DEL").status == 0)
    }

    @Test(arguments: damages) func aSpoiltManifestIsNamedAndChangesNothing(damage: String) throws {
        #expect(try call("ADD").status == 0)
        let file = "cache/net-attach-def/default/net-a.yaml"
        try sh("cp -p \(file) whole.yaml && \(damage.replacing("F", with: file))")
        let refused = try call("ADD", id: "c2", netns: try node.pod("b"))
        // What is only moved, or another's copy of itself, may be as good as before.
        if refused.status == 0 {
            #expect(["chmod 000", "sed -i"].contains { damage.hasPrefix($0) }, "\(damage)")
            #expect(try call("DEL", id: "c2").status == 0)
        } else {
            #expect(refused.ran.output.contains("net-a"), "\(damage): \(refused.ran)")
            #expect(try node.links(pod: "b").isEmpty)
        }
        #expect(try call("DEL").status == 0)
        try clean(damage)
    }

    @Test(arguments: damages, ["10.244.0.2", "last_reserved_ip.0"])
    func aSpoiltLeaseHoldsNobodyUp(damage: String, name: String) throws {
        let small = config.replacing("10.244.0.0/24", with: "10.244.0.0/29")
        #expect(try call("ADD", small).status == 0)
        try sh(damage.replacing("F", with: "ipam/default-network/\(name)"))
        let other = try call("ADD", id: "c2", netns: try node.pod("b"), small)
        if other.status != 0 {
            // What cannot be read is named; a container that has an address already gets no second one.
            #expect(name == "10.244.0.2", "\(damage): \(other.ran)")
            #expect(other.ran.output.contains(name), "\(damage): \(other.ran)")
            #expect(try node.links(pod: "b").isEmpty)
        }
        for id in ["c1", "c2"] {
            let answer = try call("DEL", id: id, netns: id == "c1" ? netns : nil, small)
            #expect(answer.status == 0, "\(damage): \(answer.ran)")
        }
        #expect(try node.links(pod: "a").isEmpty)
        // An administrator's remedy for what belongs to nobody: the file's removal.
        try sh("rm -rf ipam/default-network")
        #expect(try call("ADD", small).json["ips"][0]["address"].string == "10.244.0.2/29")
        #expect(try call("DEL", small).status == 0)
        try clean(damage)
    }

    @Test func aCutShortLeaseIsGivenOutAgain() throws {
        let small = config.replacing("10.244.0.0/24", with: "10.244.0.0/30")
        try sh("mkdir -p ipam/default-network && : > ipam/default-network/10.244.0.2")
        let answer = try call("ADD", small)
        #expect(answer.json["ips"][0]["address"].string == "10.244.0.2/30", "\(answer.ran)")
        #expect(try call("DEL", small).status == 0)
        try clean("an empty lease")
    }

    // MARK: Where the files are

    /// A disk of a few blocks and files of its own, for `path`.
    private func onDisk(_ path: String, _ options: String, _ body: () throws -> Void) throws {
        try sh("mkdir -p \(path) && mount -t tmpfs -o mode=755,\(options) tmpfs \(path)")
        defer { try? sh("umount -l \(path)") }
        try body()
    }

    /// Every number of free blocks, then of free files, from none to what an ADD takes.
    @Test(arguments: ["state", "ipam"], ["size", "nr_inodes"])
    func aFullDiskUndoesAll(path: String, limit: String) throws {
        for left in 1...10 {
            try onDisk(path, limit == "size" ? "size=\(4 * left)k" : "nr_inodes=\(left)") {
                let answer = try call("ADD")
                if answer.status != 0 {
                    #expect(answer.ran.output.contains("No space left"), "\(left): \(answer.ran)")
                    #expect(try node.links(pod: "a").isEmpty, "\(left)")
                    #expect(try leases().isEmpty, "\(left)")
                    #expect(try node.files("state").isEmpty, "\(left)")
                }
                let deleted = try call("DEL")
                #expect(deleted.status == 0, "\(left): \(deleted.ran)")
                try clean("\(left) of \(limit) in \(path)")
                try sh("mount -o remount,size=1m,nr_inodes=100 \(path)")
                #expect(try call("ADD").status == 0, "\(left)")
                #expect(try call("DEL").status == 0, "\(left)")
                try clean("\(left) of \(limit) in \(path), once there is room")
            }
        }
    }

    @Test(arguments: ["state", "ipam"]) func aPodGoesWhenTheDiskIsFull(path: String) throws {
        try onDisk(path, "size=1m,nr_inodes=100") {
            #expect(try call("ADD").status == 0)
            _ = try? sh(
                "head -c 2M /dev/zero > \(path)/filler; i=0; while : > \(path)/f$i; do i=$((i+1)); done")
            let answer = try call("DEL")
            #expect(answer.status == 0, "\(answer.ran)")
            #expect(try node.links(pod: "a").isEmpty)
            try sh("rm -f \(path)/filler \(path)/f[0-9]*")
            try clean(path)
        }
    }

    @Test(arguments: ["state", "ipam"]) func aDiskThatIsReadOnlyIsNamed(path: String) throws {
        try onDisk(path, "size=1m") {
            try sh("mount -o remount,ro \(path)")
            let refused = try call("ADD")
            #expect(
                refused.code == 5 && refused.ran.output.contains("Read-only file system"), "\(refused.ran)")
            #expect(try node.links(pod: "a").isEmpty && leases().isEmpty && node.files("state").isEmpty)
            for netns in [netns, ""] {
                let deleted = try call("DEL", netns: netns)
                #expect(deleted.status == 0, "what was refused has nothing to undo: \(deleted.ran)")
            }
            try sh("mount -o remount,rw \(path)")
            #expect(try call("ADD").status == 0)
            try sh("mount -o remount,ro \(path)")
            let kept = try call("DEL")
            #expect(kept.code == 5 && kept.ran.output.contains("Read-only file system"), "\(kept.ran)")
            #expect(try node.links(pod: "a").isEmpty)
            try sh("mount -o remount,rw \(path)")
            #expect(try call("DEL").status == 0)
            try clean(path)
        }
    }

    // MARK: Reboot

    /// The namespaces and links are gone and the files kept; the runtime deletes what it knew, or collects it.
    @Test(arguments: ["DEL", "GC", "nothing"]) func afterARebootEverythingIsFree(verb: String) throws {
        let current = MetaEndToEnd.config(node, version: "1.1.0").replacing(
            "10.244.0.0/24", with: "10.244.0.0/29")
        for pod in ["b", "c", "d"] {
            #expect(try call("ADD", id: "c-\(pod)", netns: try node.pod(pod), current).status == 0)
        }
        for pod in ["b", "c", "d"] { try node.removePod(pod) }
        try node.sh("for l in cni0 mybr0; do ip link del $l; done")
        try node.sh(
            "for l in $(ip -o link show type veth | cut -d' ' -f2 | cut -d@ -f1); do ip link del $l || true; done"
        )
        try node.sh("nft flush ruleset")
        switch verb {
        case "DEL":
            for pod in ["b", "c", "d"] {
                let answer = try call("DEL", id: "c-\(pod)", netns: "/run/netns/\(node.name)-\(pod)", current)
                #expect(answer.status == 0, "\(answer.ran)")
            }
        case "GC":
            let none = current.dropLast() + ",\"cni.dev/valid-attachments\":[]}"
            let answer = try call("GC", netns: "", String(none))
            #expect(answer.status == 0, "\(answer.ran)")
        default:
            // Five addresses, three of them still written down: two pods more.
            for pod in ["x", "y"] {
                #expect(try call("ADD", id: "c-\(pod)", netns: try node.pod(pod), current).status == 0)
            }
            let full = try call("ADD", current)
            #expect(full.message.contains("no IP addresses available"), "\(full.ran)")
            let none = current.dropLast() + ",\"cni.dev/valid-attachments\":[]}"
            #expect(try call("GC", netns: "", String(none)).status == 0)
            #expect(try node.links(pod: "x").isEmpty && node.links(pod: "y").isEmpty)
        }
        try clean(verb)
        for pod in 1...5 {
            let answer = try call("ADD", id: "n\(pod)", netns: try node.pod("n\(pod)"), current)
            #expect(answer.status == 0, "\(answer.ran)")
        }
    }
}
