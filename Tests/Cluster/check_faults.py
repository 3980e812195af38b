"""Checks that each fault does what README.md says, seen from a client."""

import http.client
import json
import os
import threading
import time

from cluster import JSON_PATCH, MERGE, Cluster, certificates, eventually, tls

MAPS = "/api/v1/namespaces/default/configmaps"
NADS = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions"
LOST = (OSError, http.client.HTTPException)


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def lost(function, *arguments, **named):
    try:
        reply = function(*arguments, **named)
    except LOST:
        return
    raise AssertionError(f"answered with {reply.code}")


def statuses(server):
    """As often as asked and no longer; Retry-After in the header and in the body."""
    server.fault(match={"verb": "get"}, status=429, retryAfter=2, times=2)
    for _ in range(2):
        reply = server.get(MAPS + "/none")
        assert (reply.code, reply.headers["Retry-After"], reply.reason) == (429, "2", "TooManyRequests"), reply.text
        assert reply.json["details"]["retryAfterSeconds"] == 2
    assert server.get(MAPS + "/none").code == 404
    for code in (401, 403, 500, 503, 504):
        server.fault(status=code, times=1)
        reply = server.get(MAPS)
        assert (reply.code, reply.json["kind"], reply.json["code"]) == (code, "Status", code), reply.text
    assert server.get(MAPS).code == 200


def matching(server):
    """By resource, name, agent and user; the first `skip` are spared."""
    server.fault(match={"verb": "patch", "resource": "pods/status", "agent": "plexus.*"}, status=403)
    server.fault(match={"resource": "configmaps", "name": "a.*"}, status=500, skip=1)
    assert server.get("/api/v1/pods").code == 200
    assert [server.get(MAPS + "/abc").code for _ in range(3)] == [404, 500, 500]
    assert server.get(MAPS + "/bcd").code == 404
    path = "/api/v1/namespaces/default/pods/none/status"
    assert server.ask("PATCH", path, {}, {**MERGE, "User-Agent": "plexus/1"}).code == 403
    assert server.ask("PATCH", path, {}, {**MERGE, "User-Agent": "other/1"}).code == 404


def outcomes(server):
    """Lost before the commit, after it, and a 504 for what was done."""
    server.fault(match={"verb": "create"}, drop="before", times=1)
    lost(server.ask, "POST", MAPS, config_map("before"))
    assert server.get(MAPS + "/before").code == 404
    server.fault(match={"verb": "create"}, drop="after", times=1)
    lost(server.ask, "POST", MAPS, config_map("after"))
    assert server.get(MAPS + "/after").code == 200
    server.fault(match={"verb": "create"}, status=504, late=True, times=1)
    assert server.ask("POST", MAPS, config_map("late")).code == 504
    assert server.get(MAPS + "/late").code == 200
    server.fault(match={"verb": "list"}, drop="half", times=1)
    lost(server.get, MAPS)


def slowness(server):
    server.ask("POST", MAPS, config_map("slow", a="1" * 300))
    server.fault(match={"name": "slow"}, delay=0.3, times=1)
    start = time.monotonic()
    assert server.get(MAPS + "/slow").code == 200
    assert time.monotonic() - start >= 0.3
    server.fault(match={"name": "slow"}, piece=10, pause=0.005, times=1)
    assert server.get(MAPS + "/slow").json["data"] == {"a": "1" * 300}


def silence(server):
    """One request without an answer; then a server that says nothing more on any connection."""
    server.fault(match={"name": "quiet"}, silent=True, times=1)
    lost(server.ask, "GET", MAPS + "/quiet", timeout=0.5)
    assert server.get(MAPS + "/quiet").code == 404
    watch = server.watch(MAPS, timeoutSeconds=20)
    server.ask("POST", MAPS, config_map("heard"))
    watch.seen("ADDED", "heard")
    server.settings(silent=True)
    lost(server.ask, "POST", MAPS, config_map("unheard"), timeout=0.5)
    server.settings(silent=False)
    server.ask("POST", MAPS, config_map("heard-2"))
    watch.seen("ADDED", "heard-2")
    assert server.get(MAPS + "/unheard").code == 404
    server.control("POST", "/cut")
    watch.end()


def streams(server):
    """Ended in the middle of a line, by the control channel, or by an ERROR event; 410 as status."""
    server.ask("POST", MAPS, config_map("cut"))
    server.fault(match={"verb": "watch"}, cut=1, times=1)
    watch = server.watch(MAPS, timeoutSeconds=20)
    assert len(watch.end()) == 1 and not watch.is_whole
    watch = server.watch(MAPS, timeoutSeconds=20)
    watch.seen("ADDED", "cut")
    assert server.control("POST", "/cut") == {"cut": 1}
    watch.end()
    assert not watch.is_whole
    server.fault(match={"verb": "watch"}, error=410, times=1)
    events = server.watch(MAPS, timeoutSeconds=20).end()
    assert [(e["type"], e["object"]["code"], e["object"]["reason"]) for e in events] == [("ERROR", 410, "Expired")]
    server.fault(match={"verb": "watch"}, status=410, times=1)
    assert server.watch(MAPS, timeoutSeconds=20).code == 410


def compaction(server):
    """Of etcd: 410 in the stream of a watch, and as the status of a page, which offers to go on all the same."""
    old = server.control("GET", "/revision")["revision"]
    for name in ("page-1", "page-2", "page-3"):
        server.ask("POST", MAPS, config_map(name))
    page = server.get(MAPS, limit=1).json["metadata"]
    server.ask("POST", MAPS, config_map("page-4"))
    server.control("POST", "/compact")
    reply = server.get(MAPS, limit=500, **{"continue": page["continue"]})
    assert (reply.code, reply.reason) == (410, "Expired"), reply.text
    going_on = server.get(MAPS, limit=500, **{"continue": reply.json["metadata"]["continue"]})
    assert "page-4" in [item["metadata"]["name"] for item in going_on.json["items"]], going_on.text
    events = server.watch(MAPS, timeoutSeconds=20, resourceVersion=old).end()
    assert [event["object"]["code"] for event in events] == [410], events
    reply = server.get(MAPS, resourceVersion=old, resourceVersionMatch="Exact")
    assert reply.code == 410, reply.text


def watch_lists(server):
    """Served, and refused in three ways."""
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true",
             "timeoutSeconds": 1, "fieldSelector": "metadata.name=wl"}
    server.ask("POST", MAPS, config_map("wl"))

    def answer(mode):
        server.settings(watchList=mode)
        watch = server.watch(MAPS, **query)
        return watch.code, [event["type"] for event in watch.end() if watch.code == 200 and (
            event["type"] != "BOOKMARK" or "annotations" in event["object"]["metadata"])]

    assert answer("on") == (200, ["ADDED", "BOOKMARK"])
    assert answer("forbidden")[0] == 422
    assert answer("event") == (200, ["ERROR"])
    assert answer("ignored") == (200, ["ADDED"])


def bookmarks(server):
    """Before the end of a watch, unless they are off."""
    query = {"allowWatchBookmarks": "true", "timeoutSeconds": 3, "fieldSelector": "metadata.name=none"}
    watch = server.watch(MAPS, **query)
    revision = int(watch.seen("BOOKMARK")["metadata"]["resourceVersion"])
    assert revision <= server.control("GET", "/revision")["revision"]
    server.settings(bookmarks=False)
    assert server.watch(MAPS, **query).end() == []


def lagging(server):
    """Two servers on one etcd, of which one stands still: its cache goes back in time, what is consistent does not."""
    with Cluster(etcd=server.etcd) as other:
        watch = other.watch(MAPS, timeoutSeconds=50)
        lag = other.settings(lag=True)["lag"]
        new = int(server.ask("POST", MAPS, config_map("lag")).json["metadata"]["resourceVersion"])
        assert new > lag

        def names(**query):
            return [item["metadata"]["name"] for item in other.get(MAPS, **query).json["items"]]

        assert "lag" not in names(resourceVersion=0) and "lag" in names()
        assert other.get(MAPS, resourceVersion=0).json["metadata"]["resourceVersion"] == str(lag)
        reply = other.get(MAPS, resourceVersion=new, resourceVersionMatch="NotOlderThan")
        assert (reply.code, reply.headers["Retry-After"]) == (504, "1"), reply.text
        assert "lag" not in [event["object"]["metadata"]["name"] for event in watch.lines]
        other.settings(lag=None)
        watch.seen("ADDED", "lag")
        assert "lag" in names(resourceVersion=new, resourceVersionMatch="NotOlderThan")
        late = other.watch(MAPS, timeoutSeconds=1, resourceVersion=1).end()
        assert [event["object"]["code"] for event in late] == [410], late


def contention(server):
    """A write between another one's reading and writing: that one is tried again; a JSON patch's test is, too."""
    server.ask("POST", MAPS, config_map("many"))
    server.fault(match={"name": "many", "verb": "patch"}, hold=0.05, times=6)
    replies = []

    def write(number):
        replies.append(server.ask("PATCH", MAPS + "/many", {"data": {f"k{number}": "1"}}, MERGE).code)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert replies == [200] * 6, replies
    assert len(server.get(MAPS + "/many").json["data"]) == 6
    claim = [{"op": "test", "path": "/data/claim", "value": None}, {"op": "add", "path": "/data/claim", "value": "x"}]
    server.fault(match={"name": "many", "agent": "slow"}, hold=0.5, times=1)
    codes = []
    slow = threading.Thread(target=lambda: codes.append(
        server.ask("PATCH", MAPS + "/many", claim, {**JSON_PATCH, "User-Agent": "slow"}).code))
    slow.start()
    eventually(lambda: any(r["agent"] == "slow" for r in server.control("GET", "/requests")), "the slow one is missing")
    time.sleep(0.1)
    codes.append(server.ask("PATCH", MAPS + "/many", claim, JSON_PATCH).code)
    slow.join()
    assert sorted(codes) == [200, 422], codes


def absence(server):
    """Away: connections end and are refused. Back: at the same port."""
    address = server.address
    watch = server.watch(MAPS, timeoutSeconds=20)
    server.control("POST", "/listener", {"open": False})
    watch.end()
    assert not watch.is_whole
    lost(server.get, MAPS)
    server.control("POST", "/listener", {"open": True})
    assert server.address == address and server.get(MAPS).code == 200


def counting(server):
    """Who asked for what, whether answered or not."""
    server.get(MAPS)
    server.get(MAPS)
    server.fault(match={"verb": "create"}, drop="before", times=1)
    lost(server.ask, "POST", MAPS, config_map("uncounted"))
    counts = {(c["verb"], c["resource"], c["agent"], c["status"]): c["count"] for c in server.control("GET", "/counts")}
    assert counts == {("list", "configmaps", "check/1", 200): 2, ("create", "configmaps", "check/1", None): 1}, counts
    server.control("DELETE", "/requests")
    assert server.control("GET", "/requests") == []


def many_objects(server):
    """Loaded past the API, listed in pages that are one snapshot, each object with a revision of its own."""
    nads = [{"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
             "metadata": {"name": f"net-{n:04}"}, "spec": {"config": "{}"}} for n in range(2000)]
    assert server.control("POST", "/objects", nads) == {"created": 2000}
    items, query = [], {"limit": 500}
    while True:
        page = server.get(NADS, **query).json
        items += page["items"]
        if not page["metadata"].get("continue"):
            break
        query["continue"] = page["metadata"]["continue"]
        server.ask("DELETE", f"{NADS}/net-1999")
    assert [item["metadata"]["name"] for item in items] == [f"net-{n:04}" for n in range(2000)]
    assert len({item["metadata"]["resourceVersion"] for item in items}) == 2000


def large_lines(_):
    """An object of almost three megabytes, in one line of a watch, on a Unix socket."""
    with Cluster("--max-request-bytes", str(8 << 20), listen=f"unix:/tmp/check-{os.getpid()}.sock") as server:
        nad = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "large"}, "message": "m" * 2_900_000}
        assert server.ask("POST", "/api/v1/namespaces/default/events", nad).code == 201
        events = server.watch("/api/v1/namespaces/default/events", timeoutSeconds=1).end()
        assert len(events[0]["object"]["message"]) == 2_900_000


def credentials(_):
    """Tokens end, users have rights, a client certificate has a name."""
    with Cluster("--crds") as folder_owner:
        folder = folder_owner.folder
        certificates(folder)
        users = f"{folder}/users.json"

        def write_users(expires):
            with open(users + ".new", "w", encoding="utf-8") as file:
                json.dump([
                    {"user": "plexus", "token": "t1", "expires": expires, "allow": [
                        {"verbs": ["list"], "resources": ["pods"]},
                        {"verbs": ["get"], "resources": ["configmaps"], "namespaces": ["default"]}]},
                    {"user": "check-client"}], file)
            os.rename(users + ".new", users)

        write_users(time.time() + 3600)
        with Cluster("--cert", f"{folder}/server.crt", "--key", f"{folder}/server.key", "--client-ca",
                     f"{folder}/ca.crt", "--users", users, etcd=folder_owner.etcd) as server:
            def code(path, token=None, client=None):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                return server.ask("GET", path, headers=headers, context=tls(folder, client)).code

            assert code("/api/v1/pods", "t1") == 200
            assert code("/api/v1/nodes", "t1") == 403
            assert code(MAPS + "/none", "t1") == 404
            assert code(MAPS.replace("default", "kube-system") + "/none", "t1") == 403
            assert code("/api/v1/pods", "t2") == 401
            assert code("/api/v1/pods") == 403 and code("/readyz") == 200
            assert code("/api/v1/nodes", client="check-client") == 200
            assert {r["user"] for r in server.control("GET", "/requests")} >= {"plexus", "check-client"}
            write_users(time.time() - 1)
            assert code("/api/v1/pods", "t1") == 401


CHECKS = (statuses, matching, outcomes, slowness, silence, streams, compaction, watch_lists, bookmarks, lagging,
          contention, absence, counting, many_objects, large_lines, credentials)


def run(report):
    with Cluster("--crds") as server:
        eventually(lambda: server.get(NADS).code == 200, "the definitions are not served")
        for check in CHECKS:
            server.reset()
            report(f"fault: {check.__name__.replace('_', ' ')}", check, server)
