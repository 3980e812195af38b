import JSONC
import Linux
import Testing

@testable import Definitions

/// What kubectl prints, taken apart.
@Suite struct Manifests {
    private static func names(_ text: String) -> [String] {
        ManifestStream.read(Array(text.utf8)).pieces.map { piece in
            do throws(JSONError) {
                return "\(piece.place): \((try piece.parse())["metadata"]?["name"]?.string ?? "-")"
            } catch {
                return "\(piece.place): \(error)"
            }
        }
    }

    @Test(
        "one object, a List, documents, and what is none",
        arguments: [
            (#"{"metadata":{"name":"a"}}"#, [": a"]),
            (
                #"{"kind":"List","metadata":{"x":"items"},"items":[{"metadata":{"name":"a"}} , {"metadata":{"name":"b\"]}"}}]}"#,
                ["items[0]: a", "items[1]: b\"]}"]
            ),
            (#"{"items":[],"kind":"List"}"#, []),
            (#"{"metadata":{"name":"a"}}{"metadata":{"name":"b"}}"#, ["document 1: a", "document 2: b"]),
            ("metadata:\n  name: a\n", [": a"]),
            (
                "---\nmetadata:\n  name: a\n---\n# nothing\n---\nmetadata: {name: b}\n",
                ["document 2: a", "document 4: b"]
            ),
            (
                "items:\n- metadata:\n    name: a\n  spec:\n    config: |\n      - x\n\n      ---\n- metadata:\n    name: b\nkind: List\n",
                ["items[0]: a", "items[1]: b"]
            ),
            (
                "items:\n  - metadata:\n      name: a\n  - metadata: {name: b}\n",
                ["items[0]: a", "items[1]: b"]
            ),
            ("", []), ("  \n# x\n", []),
        ])
    func pieces(text: String, expected: [String]) {
        #expect(Self.names(text) == expected)
    }

    @Test("the manifests of conf/kubernetes are what kubectl applies")
    func ofTheProject() throws {
        let folder =
            #filePath.split(separator: "/").dropLast(3).map { "/\($0)" }.joined() + "/conf/kubernetes"
        var kinds: [String] = []
        for file in ["daemonset.yaml", "uninstall.yaml", "net-attach-def-crd.yaml"] {
            for piece in ManifestStream.read(try readFile("\(folder)/\(file)", limit: 1 << 20)).pieces {
                let json = try piece.parse()
                let name = try #require(json["metadata"]?["name"]?.string)
                kinds.append("\(try #require(json["kind"]?.string)) \(name)")
                guard let pod = json["spec"]?["template"]?["spec"] else { continue }
                let volumes = Set(pod["volumes"]?.array?.compactMap { $0["name"]?.string } ?? [])
                for part in ["initContainers", "containers"] {
                    for container in pod[part]?.array ?? [] {
                        let mounts = container["volumeMounts"]?.array?.compactMap { $0["name"]?.string } ?? []
                        #expect(!mounts.isEmpty && volumes.isSuperset(of: mounts))
                    }
                }
                let labels = json["spec"]?["template"]?["metadata"]?["labels"]
                #expect(json["spec"]?["selector"]?["matchLabels"] == labels)
            }
        }
        #expect(
            kinds == [
                "ServiceAccount plexus", "ClusterRole plexus", "ClusterRoleBinding plexus",
                "DaemonSet plexus", "DaemonSet plexus-uninstall",
                "CustomResourceDefinition network-attachment-definitions.k8s.cni.cncf.io",
            ])
    }

    @Test(
        "torn texts end somewhere",
        arguments: ["{", "{\"items\":[{", "{\"items\":[\"", "{\"a", "[1,2", "{}x", "items:\n- "])
    func torn(text: String) {
        for piece in ManifestStream.read(Array(text.utf8)).pieces { _ = try? piece.parse() }
        #expect(ManifestStream.read(Array(text.utf8)).pieces.count <= 2)
    }

    private static func object(_ version: String, kind: String = "Pod", extra: String = "") throws
        -> CacheObject
    {
        try CacheObject(
            JSON.parse(
                """
                {"apiVersion":"\(kind == "Pod" ? "v1" : "k8s.cni.cncf.io/v1")","kind":"\(kind)",
                 "metadata":{"name":"a","namespace":"n","resourceVersion":"\(version)"\(extra)},
                 "spec":{"nodeName":"n1","containers":[{}],"config":"{}"},"status":{"podIP":"x"}}
                """
            ).value)
    }

    @Test(
        "a state is older by its number, however many digits",
        arguments: [
            ("9", "10", true), ("10", "9", false), ("10", "10", false), ("", "10", false), ("99", "", false),
        ])
    func older(one: String, other: String, isOlder: Bool) throws {
        #expect(try Self.object(one).isOlder(than: Self.object(other)) == isOlder)
    }

    @Test func onlyMetadataIsKeptOfAPod() throws {
        let pod = try Self.object(
            "1",
            extra:
                #","managedFields":[],"labels":{},"annotations":{"a":"b","kubectl.kubernetes.io/last-applied-configuration":"x"}"#
        )
        #expect(pod.json.object?.members.map(\.key) == ["apiVersion", "kind", "metadata"])
        #expect(
            pod.json["metadata"]?.object?.members.map(\.key)
                == ["name", "namespace", "resourceVersion", "annotations"])
        #expect(pod.json["metadata"]?["annotations"] == ["a": "b"])
        #expect(pod.node == "n1")
        let definition = try Self.object("1", kind: "NetworkAttachmentDefinition")
        #expect(definition.json["spec"] == ["config": "{}"])
        #expect(definition.problem?.contains("'type'") == true, "\(definition.problem ?? "")")
    }
}
