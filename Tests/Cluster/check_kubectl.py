"""kubectl as a second client, which nobody here wrote."""

import json
import os
import shutil
import subprocess
import time

from cluster import Cluster, eventually

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: p1, labels: {app: a}}
spec:
  nodeName: n1
  containers: [{name: c, image: i}]
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: net-a}
spec: {config: '{"cniVersion":"1.0.0","name":"a","type":"bridge"}'}
---
apiVersion: v1
kind: Event
metadata: {name: e1}
involvedObject: {kind: Pod, namespace: default, name: p1, apiVersion: v1}
reason: AddedInterface
message: Add net1
type: Normal
count: 1
"""


class Kubectl:
    def __init__(self, server):
        self._base = ["kubectl", "--server", server.url, f"--cache-dir={server.folder}/kubectl"]
        with open(f"{server.folder}/kubeconfig", "w", encoding="utf-8") as file:
            self._environment = {"PATH": os.environ["PATH"], "HOME": server.folder, "KUBECONFIG": file.name}

    def __call__(self, *arguments, manifest=None, fails=False):
        done = subprocess.run([*self._base, *arguments], input=manifest, env=self._environment, text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert bool(done.returncode) == fails, done.stdout
        return done.stdout

    def start(self, *arguments):
        return subprocess.Popen([*self._base, *arguments], env=self._environment, text=True, stdout=subprocess.PIPE)

    def read(self, *arguments):
        return json.loads(self("get", *arguments, "-o", "json"))


def applying(kubectl):
    assert kubectl("apply", "-f", "-", manifest=MANIFEST).count(" created\n") == 3
    assert kubectl("apply", "-f", "-", manifest=MANIFEST).count(" unchanged\n") == 3
    changed = MANIFEST.replace("bridge", "macvlan")
    assert "net-a configured" in kubectl("apply", "-f", "-", manifest=changed)
    assert "macvlan" in kubectl.read("net-attach-def", "net-a")["spec"]["config"]


def applying_on_the_server(kubectl):
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", manifest=MANIFEST)
    done = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-",
                   manifest=MANIFEST.replace("bridge", "ipvlan"), fails=True)
    assert 'conflict with "kubectl"' in done and ".spec.config" in done, done


def getting(kubectl):
    listed = kubectl("get", "pods,network-attachment-definitions,events", "--all-namespaces")
    assert all(name in listed for name in ("pod/p1", "net-a", "event/e1")), listed
    assert kubectl("get", "pods", "-l", "app=a", "-o", "name") == "pod/p1\n"
    assert kubectl("get", "pods", "--field-selector", "spec.nodeName=n1", "-o", "name") == "pod/p1\n"
    assert "NotFound" in kubectl("get", "pod", "none", fails=True)


def patching(kubectl):
    kubectl("patch", "pod", "p1", "-p", '{"metadata":{"labels":{"x":"y"}}}')
    kubectl("patch", "network-attachment-definitions", "net-a", "--type", "json", "-p",
            '[{"op":"replace","path":"/spec/config","value":"{}"}]')
    kubectl("annotate", "pod", "p1", "a/b=c")
    kubectl("label", "pod", "p1", "x-")
    metadata = kubectl.read("pod", "p1")["metadata"]
    assert metadata["labels"] == {"app": "a"} and metadata["annotations"]["a/b"] == "c", metadata
    assert kubectl.read("network-attachment-definitions", "net-a")["spec"]["config"] == "{}"


def describing(kubectl):
    text = kubectl("describe", "pod", "p1")
    assert "Name:" in text and "p1" in text and "Node:" in text and "n1" in text, text
    assert "Kind:" in kubectl("describe", "network-attachment-definitions", "net-a")
    assert "AddedInterface" in kubectl("describe", "event", "e1")


def watching(kubectl):
    """`get --watch` sees what comes; a deletion ends `wait`."""
    watch = kubectl.start("get", "pods", "--watch", "-o", "name")
    assert watch.stdout.readline() == "pod/p1\n"
    kubectl("annotate", "pod", "p1", f"seen={time.time()}")
    assert watch.stdout.readline() == "pod/p1\n"
    watch.terminate()
    watch.wait()
    wait = kubectl.start("wait", "--for=delete", "pod/p1", "--timeout=30s")
    kubectl("delete", "pod", "p1", "--grace-period=0", "--force")
    assert wait.wait() == 0


def deleting(kubectl):
    assert "deleted" in kubectl("delete", "event", "e1")
    assert "deleted" in kubectl("delete", "network-attachment-definitions", "--all")
    assert "No resources found" in kubectl("get", "pods,network-attachment-definitions,events")


CHECKS = (applying, applying_on_the_server, getting, patching, describing, watching, deleting)


def run(report, skip):
    if not shutil.which("kubectl"):
        skip("kubectl as a client", "there is no kubectl (package kubernetes-client)")
        return
    with Cluster("--crds") as server:
        kubectl = Kubectl(server)
        eventually(lambda: "net-attach-def" in kubectl("api-resources"), "the definitions are not served")
        for check in CHECKS:
            report(f"kubectl: {check.__name__.replace('_', ' ')}", check, kubectl)
