import Support
import Testing

/// The agent between an API server and the CNI executable: cache, ADDs that miss an object, network-status, pods that run.
@Suite(.enabled(if: ClusterNode.agent != nil, "PLEXUS_AGENT names no agent"))
struct AgentRows {
    private let cluster: ClusterNode

    init() throws { cluster = try ClusterNode() }

    private func createLans() throws {
        try cluster.create(network: "lan", bridge: "b1", subnet: "192.168.1.0/24")
        try cluster.create(network: "lan2", bridge: "b2", subnet: "192.168.2.0/24")
    }

    // MARK: Cache

    @Test(
        "LW-05, LW-07, LW-08, LW-09: the cache has definitions and this node's pods, and follows what changes",
        arguments: ["on", "forbidden", "event"])
    func cache(watchList: String) throws {
        _ = try cluster.control("PATCH", "/settings", #"{"watchList":"\#(watchList)"}"#)
        try createLans()
        try cluster.create(pod: "a", networks: "lan")
        try cluster.create(pod: "far", networks: "lan", node: "n2")
        try cluster.startReadyAgent()
        let first: Set = [
            "net-attach-def/default/lan.json", "net-attach-def/default/lan2.json", "pods/default/a.json",
        ]
        #expect(try cluster.cached() == first)
        try cluster.create(pod: "b", networks: nil)
        try cluster.create(network: "new", bridge: "b3", subnet: "192.168.3.0/24", namespace: "kube-system")
        try cluster.remove(pod: "a")
        try cluster.ask(
            "DELETE", "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/lan")
        let second: Set = [
            "net-attach-def/kube-system/new.json", "net-attach-def/default/lan2.json", "pods/default/b.json",
        ]
        try cluster.until("the cache follows") { try cluster.cached() == second }
    }

    @Test("LW-01: pages of a long list")
    func pages() throws {
        _ = try cluster.control("PATCH", "/settings", #"{"watchList":"forbidden"}"#)
        let objects = (0..<1200).map {
            """
            {"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition",\
            "metadata":{"name":"net-\($0)","namespace":"default"},"spec":{"config":"{}"}}
            """
        }
        _ = try cluster.control("POST", "/objects", "[\(objects.joined(separator: ","))]")
        try cluster.startReadyAgent()
        #expect(try cluster.cached().count == 1200)
        let lists = try cluster.requests().filter { $0 == "list network-attachment-definitions" }
        #expect(lists.count == 3)
    }

    @Test("LW-02: a restart keeps what is there meanwhile, and takes away what is gone since")
    func restart() throws {
        try createLans()
        try cluster.startReadyAgent()
        try cluster.stop("agent")
        #expect(try cluster.log("agent").contains("ended") && cluster.cached().count == 2)
        try cluster.ask(
            "DELETE", "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions/lan")
        _ = try cluster.control("POST", "/listener", #"{"open":false}"#)
        try cluster.startAgent()
        try cluster.until("it says why it is not ready") {
            try cluster.get("9105", "/readyz").contains("have come yet")
        }
        #expect(try cluster.cached().count == 2, "what is known stays")
        _ = try cluster.control("POST", "/listener", #"{"open":true}"#)
        try cluster.until("the cache follows") {
            try cluster.cached() == ["net-attach-def/default/lan2.json"]
        }
    }

    @Test("LW-04, LW-10: streams that are cut, history that is forgotten, and refusals lose nothing")
    func troubles() throws {
        try createLans()
        try cluster.startReadyAgent()
        for (number, trouble) in [
            #"{"match":{"verb":"watch"},"status":429,"retryAfter":1,"times":2}"#,
            #"{"match":{"verb":"watch"},"status":500,"times":2}"#,
            #"{"match":{"verb":"watch"},"error":410,"times":1}"#,
            #"{"match":{"verb":"watch"},"drop":"before","times":2}"#,
            #"{"match":{"verb":"watch"},"status":401,"times":1}"#,
        ].enumerated() {
            _ = try cluster.control("POST", "/faults", trouble)
            if number == 2 { _ = try cluster.control("POST", "/compact", "{}") }
            _ = try cluster.control("POST", "/cut", "{}")
            try cluster.create(network: "n\(number)", bridge: "b9", subnet: "10.0.\(number).0/24")
            try cluster.until("trouble \(number) is over") {
                try cluster.cached().contains("net-attach-def/default/n\(number).json")
            }
        }
        #expect(try cluster.cached().count == 7)
        #expect(try cluster.get("9105", "/metrics").contains("plexus_watch_restarts_total{resource="))
    }

    @Test("LW-10, CR-06: a role that may not list says which rights it needs, and what is known stays")
    func forbidden() throws {
        _ = try cluster.control(
            "POST", "/faults",
            #"{"match":{"resource":"network-attachment-definitions"},"status":403,"times":1}"#)
        try cluster.startAgent()
        try cluster.until("it says so") {
            try cluster.log("agent").contains("needs get, list and watch of network-attachment-definitions")
        }
        #expect(try cluster.isRunning("agent"))
    }

    // MARK: ADD

    @Test("UX-03, AG-07: an ADD before its pod and definition are known waits for them")
    func late() throws {
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        // By the stream, after a second.
        try cluster.node.write(
            "late.sh",
            """
            sleep 1
            for f in net pod; do
                curl -s -H 'Content-Type: application/json' --data-binary @\(cluster.directory)/$f.json \
                    "http://127.0.0.1:8080$(cat \(cluster.directory)/$f.path)"
            done
            """)
        try cluster.start("late", "sh \(cluster.directory)/late.sh")
        try cluster.node.write(
            "net.path", "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions")
        try cluster.node.write("pod.path", "/api/v1/namespaces/default/pods")
        try cluster.node.write(
            "net.json",
            """
            {"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{"name":"lan"},\
            "spec":{"config":"{\\"cniVersion\\":\\"1.0.0\\",\\"type\\":\\"bridge\\",\\"bridge\\":\\"b1\\"}"}}
            """)
        try cluster.node.write(
            "pod.json",
            """
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","annotations":{"k8s.v1.cni.cncf.io/networks":"lan"}},\
            "spec":{"nodeName":"n1","containers":[{"name":"a","image":"b"}]}}
            """)
        let answer = try cluster.call("ADD", "a", uid: "", extra: #""agentTimeout":20000"#)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try cluster.node.links(pod: "a") == ["eth0", "net1"])
    }

    @Test("AG-07, AC-11: what the cluster lacks is asked for once, and the error says who says so")
    func absent() throws {
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        try cluster.forgetRequests()
        for off in [#""agentSocket":"""#, #""agentTimeout":0"#] {
            let alone = try cluster.call("ADD", "a", uid: "", extra: off)
            #expect(alone.json["code"].int == 11 && !alone.details.contains("says the agent"))
        }
        #expect(try cluster.requests().isEmpty)
        let unknown = try cluster.call("ADD", "a", uid: "", extra: #""agentTimeout":600"#)
        #expect(
            unknown.json["code"].int == 11 && unknown.details.contains("the cluster has none, says the agent")
        )
        #expect(try cluster.requests() == ["get pods"])
        let uid = try cluster.create(pod: "a", networks: "nope")
        let missing = try cluster.call("ADD", "a", uid: uid, extra: #""agentTimeout":600"#)
        #expect(
            missing.json["code"].int == 7 && missing.details.contains("the cluster has none"),
            "\(missing.ran)")
        #expect(try cluster.node.links(pod: "a").isEmpty && cluster.node.files("state").isEmpty)
    }

    @Test("AG-08: a pod that was made anew under its name is not taken for the earlier one")
    func again() throws {
        try createLans()
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        let first = try cluster.create(pod: "a", networks: "lan")
        try cluster.until("it is cached") { try cluster.cached().contains("pods/default/a.json") }
        try Shell.sh("kill -STOP \(cluster.number("agent"))")
        defer { _ = try? Shell.sh("kill -CONT \(cluster.number("agent"))") }
        try cluster.remove(pod: "a")
        let second = try cluster.create(pod: "a", networks: "lan2")
        #expect(first != second)
        // The cache has the first one still.
        let stale = try cluster.call("ADD", "a", uid: second, extra: #""agentTimeout":300"#)
        #expect(stale.json["code"].int == 11 && stale.message.contains("expected pod UID"), "\(stale.ran)")
        try Shell.sh("kill -CONT \(cluster.number("agent"))")
        let answer = try cluster.call("ADD", "a", uid: second, extra: #""agentTimeout":20000"#)
        #expect(answer.status == 0, "\(answer.ran)")
        #expect(try cluster.node.links().isSuperset(of: ["b2"]) && !cluster.node.links().contains("b1"))
    }

    @Test("UX-01, UX-05: without an agent pods of the cache start as before")
    func without() throws {
        try createLans()
        let uid = try cluster.create(pod: "a", networks: "lan")
        try cluster.startReadyAgent()
        try cluster.until("it is cached") { try cluster.cached().contains("pods/default/a.json") }
        try cluster.stop("agent", "KILL")
        _ = try cluster.node.pod("a")
        #expect(try cluster.call("ADD", "a", uid: uid).status == 0)
        #expect(try cluster.call("DEL", "a", uid: uid).status == 0)
    }

    // MARK: Status

    @Test("ST-10, AG-09: network-status is published with one request, of this pod alone")
    func status() throws {
        try createLans()
        let uid = try cluster.create(pod: "a", networks: "lan,lan2")
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        try cluster.forgetRequests()
        #expect(try cluster.call("ADD", "a", uid: uid).status == 0)
        let file = try Shell.sh("cat \(cluster.directory)/state/status/*")
        try cluster.until("it is published") { try cluster.status("a") == file }
        #expect(try cluster.requests() == ["patch pods/status"])
        let names = try Tree(parsing: file).list.map { $0["name"].string }
        #expect(names == ["default-network", "default/lan", "default/lan2"])
        #expect(try cluster.call("DEL", "a", uid: uid).status == 0)
    }

    @Test("awaitStatus: an ADD ends when its network-status is there")
    func awaited() throws {
        try createLans()
        let uid = try cluster.create(pod: "a", networks: "lan")
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        _ = try cluster.control(
            "POST", "/faults", #"{"match":{"verb":"patch","resource":"pods/status"},"delay":1,"times":1}"#)
        let keys = #""awaitStatus":true,"agentTimeout":20000,"logToStderr":true"#
        let answer = try cluster.call("ADD", "a", uid: uid, extra: keys)
        #expect(answer.status == 0 && !answer.ran.errors.contains("starts before"), "\(answer.ran)")
        #expect(try cluster.status("a") != nil)
        // A pod starts without it all the same.
        try cluster.stop("agent")
        let other = try cluster.create(pod: "b", networks: nil)
        try cluster.node.write(
            "cache/pods/default/b.json", #"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}"#)
        _ = try cluster.node.pod("b")
        let second = try cluster.call("ADD", "b", uid: other, extra: keys)
        #expect(second.status == 0 && second.ran.errors.contains("the pod starts before its network-status"))
    }

    @Test("ST-16: what was written while the API server or the agent was away is published later")
    func spool() throws {
        try createLans()
        let uid = try cluster.create(pod: "a", networks: "lan")
        let other = try cluster.create(pod: "b", networks: "lan")
        try cluster.startReadyAgent()
        try cluster.until("both are cached") { try cluster.cached().count == 4 }
        for pod in ["a", "b"] { _ = try cluster.node.pod(pod) }
        _ = try cluster.control("POST", "/listener", #"{"open":false}"#)
        #expect(try cluster.call("ADD", "a", uid: uid).status == 0)
        try cluster.until("it is tried") {
            try cluster.log("agent").contains("network-status is not published")
        }
        _ = try cluster.control("POST", "/listener", #"{"open":true}"#)
        try cluster.until("it is published") { try cluster.status("a") != nil }
        try cluster.stop("agent", "KILL")
        #expect(try cluster.call("ADD", "b", uid: other).status == 0)
        #expect(try cluster.status("b") == nil)
        try cluster.forgetRequests()
        try cluster.startReadyAgent()
        try cluster.until("it is published") { try cluster.status("b") != nil }
        // What the pod has already is not written again.
        #expect(try cluster.requests().filter { $0 == "patch pods/status" }.count == 1)
    }

    @Test("ST-10, ST-12: another pod of the same name, and one that is gone, get nothing")
    func others() throws {
        try createLans()
        let uid = try cluster.create(pod: "a", networks: nil)
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        try cluster.stop("agent", "KILL")
        #expect(try cluster.call("ADD", "a", uid: uid).status == 0)
        try cluster.remove(pod: "a")
        try cluster.create(pod: "a", networks: nil)
        try cluster.forgetRequests()
        try cluster.startReadyAgent()
        try cluster.until("it is tried") { try cluster.requests().contains("patch pods/status") }
        try cluster.until("nothing is left to be published") {
            try cluster.get("9105", "/metrics").contains("plexus_status_queue 0")
        }
        #expect(try cluster.status("a") == nil)
    }

    @Test("CR-06: a role that may update pods' status and not patch it")
    func update() throws {
        let uid = try cluster.create(pod: "a", networks: nil)
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        _ = try cluster.control(
            "POST", "/faults", #"{"match":{"verb":"patch","resource":"pods/status"},"status":403}"#)
        #expect(try cluster.call("ADD", "a", uid: uid).status == 0)
        try cluster.until("it is published") { try cluster.status("a") != nil }
        #expect(try cluster.requests().contains("update pods/status"))
    }

    // MARK: Pods that run

    private func attached(_ networks: String) throws -> String {
        try createLans()
        let uid = try cluster.create(pod: "a", networks: networks)
        try cluster.startReadyAgent()
        _ = try cluster.node.pod("a")
        #expect(try cluster.call("ADD", "a", uid: uid).status == 0)
        return uid
    }

    @Test("HP-01, HP-03, HP-08, DY-01, DY-03: a changed annotation attaches and detaches a pod that runs")
    func hotPlug() throws {
        let uid = try attached("lan")
        try cluster.annotate(pod: "a", networks: #"[{"name":"lan"},{"name":"lan2","interface":"data0"}]"#)
        try cluster.until("it is attached") { try cluster.node.links(pod: "a") == ["eth0", "net1", "data0"] }
        try cluster.until("the status says so") { try cluster.status("a")?.contains("\"data0\"") == true }
        try cluster.annotate(pod: "a", networks: "lan2@data0")
        try cluster.until("the other one is detached") {
            try cluster.node.links(pod: "a") == ["eth0", "data0"]
        }
        try cluster.until("the status says so") { try cluster.status("a")?.contains("\"net1\"") == false }
        try cluster.until("both are told") { try cluster.events().count == 2 }
        let events = try cluster.events().map(\.reason).sorted()
        #expect(events == ["AddedInterface", "RemovedInterface"])
        #expect(
            try cluster.events().contains { $0.message.contains("data0 on default/lan2 with 192.168.2.") })
        #expect(try cluster.call("DEL", "a", uid: uid).status == 0)
        #expect(try cluster.node.files("state").isEmpty && cluster.node.links(pod: "a").isEmpty)
    }

    @Test("HP-05, DY-02: one network of an edit fails: the pod keeps what it had, and an event says why")
    func failed() throws {
        _ = try attached("lan")
        try cluster.create(
            network: "broken", #"{"cniVersion":"1.0.0","type":"macvlan","master":"nowhere"}"#)
        try cluster.annotate(pod: "a", networks: "lan2@data0,broken@data1")
        try cluster.until("an event") {
            try cluster.events().contains { $0.reason == "FailedAddingInterface" }
        }
        try cluster.until("the pod is as before") {
            try cluster.node.links(pod: "a") == ["eth0", "net1"]
                && cluster.events().contains { $0.reason == "RemovedInterface" }
        }
        #expect(try cluster.events().contains { $0.message.contains("nowhere") })
        try cluster.until("the status says so") { try cluster.status("a")?.contains("data0") == false }
        // The annotation is corrected.
        try cluster.annotate(pod: "a", networks: "lan,lan2@data0")
        try cluster.until("it is attached") { try cluster.node.links(pod: "a") == ["eth0", "net1", "data0"] }
    }

    @Test("HP-04: another network under the same interface name")
    func swap() throws {
        _ = try attached("lan@data0")
        try cluster.annotate(pod: "a", networks: "lan2@data0")
        try cluster.until("it is swapped") {
            try cluster.node.addresses("data0", pod: "a").contains { $0.hasPrefix("192.168.2.") }
        }
    }

    @Test("HP-02: a network that a person attached stays, and an edited status has no effect")
    func own() throws {
        _ = try attached("lan")
        try cluster.node.sh(
            "\(cluster.directory)/bin/plexus attach a lan2@own0 --config \(cluster.directory)/conf.json")
        try cluster.ask(
            "PATCH", "/api/v1/namespaces/default/pods/a/status",
            #"{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/network-status":"[]"}}}"#,
            type: "application/merge-patch+json")
        try cluster.annotate(pod: "a", networks: "")
        try cluster.until("only the annotation's goes") {
            try cluster.node.links(pod: "a") == ["eth0", "own0"]
        }
    }

    @Test("an agent that is killed again and again while pods start loses no status, and makes none wrong")
    func killed() throws {
        try createLans()
        let names = (1...24).map { "p\($0)" }
        for name in names { _ = try cluster.node.pod(name) }
        try cluster.startReadyAgent()
        var uids: [String: String] = [:]
        for (number, name) in names.enumerated() {
            uids[name] = try cluster.create(pod: name, networks: number % 2 == 0 ? "lan,lan2" : "lan2")
            let answer = try cluster.call("ADD", name, uid: uids[name] ?? "", extra: #""agentTimeout":20000"#)
            #expect(answer.status == 0, "\(answer.ran)")
            // At another moment each time.
            guard number % 3 == 2 else { continue }
            try Shell.sh("sleep 0.0\(number % 10)")
            try cluster.stop("agent", "KILL")
            try cluster.startAgent()
        }
        for (number, name) in names.enumerated() {
            try cluster.until("\(name)'s status is published") { try cluster.status(name) != nil }
            let status = try Tree(parsing: try cluster.status(name) ?? "[]").list
            #expect(status.count == (number % 2 == 0 ? 3 : 2))
            let addresses = try cluster.node.addresses("net1", pod: name).map {
                String($0.prefix { $0 != "/" })
            }
            #expect(status[1]["ips"][0].string.map { [$0] } == addresses)
        }
    }

    @Test("AG-10, UX-07: DEL needs neither agent nor cache")
    func delete() throws {
        let uid = try attached("lan,lan2")
        try cluster.stop("agent", "KILL")
        try Shell.sh("rm -rf \(cluster.directory)/cache")
        #expect(try cluster.call("DEL", "a", uid: uid).status == 0)
        #expect(try cluster.node.files("state").isEmpty && cluster.node.links(pod: "a").isEmpty)
    }

    @Test("L03: metrics count calls of the runtime, with network and plugin of those that failed")
    func metrics() throws {
        let uid = try attached("lan")
        try cluster.create(network: "broken", #"{"cniVersion":"1.0.0","type":"macvlan","master":"nowhere"}"#)
        let other = try cluster.create(pod: "b", networks: "broken")
        _ = try cluster.node.pod("b")
        #expect(try cluster.call("ADD", "b", uid: other, extra: #""agentTimeout":20000"#).status == 1)
        #expect(try cluster.call("DEL", "a", uid: uid).status == 0)
        let failure =
            #"plexus_call_errors_total{verb="ADD",code="999",network="default/broken",plugin="macvlan"} 1"#
        try cluster.until("they are counted") {
            let text = try cluster.get("9105", "/metrics")
            return text.contains(failure)
                && text.contains(#"plexus_call_duration_seconds_count{verb="ADD"} 2"#)
                && text.contains(#"plexus_call_duration_seconds_count{verb="DEL"} 1"#)
        }
        #expect(try cluster.get("9105", "/healthz") == "ok\n")
    }
}

/// Who the agent is.
@Suite(.enabled(if: ClusterNode.agent != nil, "PLEXUS_AGENT names no agent"))
struct AgentAccessRows {
    @Test("CR-01, CR-04: a token that is renewed in its file, over TLS")
    func token() throws {
        let cluster = try ClusterNode(user: "{tokenFile: token}", isSecure: true)
        try cluster.node.write("token", "first\n")
        try cluster.startReadyAgent()
        // The old one is not known any more, the new one comes a moment later.
        try cluster.allow(token: "second")
        _ = try cluster.control("POST", "/cut", #"{"all":true}"#)
        try cluster.create(network: "lan", bridge: "b1", subnet: "192.168.1.0/24")
        try cluster.until("it is refused") { try cluster.log("agent").contains("answers 401") }
        try cluster.node.write("token", "second\n")
        try cluster.until("it goes on") { try cluster.cached() == ["net-attach-def/default/lan.json"] }
    }

    @Test("CR-02, CR-04: a client's certificate, and several authorities in a file")
    func certificate() throws {
        let cluster = try ClusterNode(
            user: "{client-certificate: tls/client.crt, client-key: tls/client.key}", isSecure: true)
        try Shell.sh(
            """
            cd \(cluster.directory)/tls && openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.crt \
                -subj /CN=other -days 2 2>/dev/null && cat other.crt ca.crt >both.crt && mv both.crt ca.crt
            """)
        try cluster.create(network: "lan", bridge: "b1", subnet: "192.168.1.0/24")
        try cluster.startReadyAgent()
        #expect(try cluster.cached() == ["net-attach-def/default/lan.json"])
    }

    @Test(
        "CR-05: what the agent cannot be is refused at once, and said",
        arguments: [
            ("{exec: {command: login}}", "is a way to log in that the agent does not know"),
            ("{client-certificate-data: '!'}", "is no base64"), ("{tokenFile: none}", "No such file"),
        ])
    func refused(user: String, text: String) throws {
        let cluster = try ClusterNode(user: user)
        try cluster.startAgent()
        try cluster.until("it says so") { try cluster.log("agent").contains(text) }
    }
}
