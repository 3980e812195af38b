"""The part of etcd's JSON gateway that an API server needs: keys and values are base64 there, numbers are strings."""

import base64
import http.client
import json
import queue
import socket
import subprocess
import threading
import time
from collections import namedtuple

Pair = namedtuple("Pair", "key value revision")
Page = namedtuple("Page", "pairs count more revision")
# `value` of a deletion and `previous` of a creation are None.
Event = namedtuple("Event", "key value previous revision")
# What a watch yields: events, or none of them and the revision up to which there are none.
Batch = namedtuple("Batch", "events revision compacted")


class EtcdError(Exception):
    """etcd's own words."""


class Compacted(EtcdError):
    """The revision that was asked for is forgotten."""


def _encoded(key):
    return base64.b64encode(key.encode() if isinstance(key, str) else key).decode()


def _pair(item):
    return Pair(base64.b64decode(item["key"]).decode(), base64.b64decode(item.get("value", "")),
                int(item["mod_revision"]))


def after(prefix):
    """The end of the range of all keys with a prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Etcd:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self._threads = threading.local()

    def call(self, path, body):
        """One request on the connection of this thread."""
        for attempt in (0, 1):
            connection = getattr(self._threads, "connection", None)
            kept = connection is not None
            if not kept:
                connection = self._threads.connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
            try:
                connection.request("POST", "/v3/" + path, json.dumps(body))
                response = connection.getresponse()
                answer = json.loads(response.read())
                break
            except (OSError, ValueError, http.client.HTTPException) as error:
                connection.close()
                self._threads.connection = None
                # A connection that etcd closed in the meantime is no error; a lost answer of a new one is.
                if not kept or attempt:
                    raise EtcdError(f"etcdserver: {error or type(error).__name__}") from error
        if "error" in answer:
            raise (Compacted if "compacted" in answer["error"] else EtcdError)(answer["error"])
        return answer

    def revision(self):
        return int(self.call("kv/range", {"key": _encoded("/"), "count_only": True})["header"]["revision"])

    def get(self, key):
        page = self.range(key)
        return page.pairs[0] if page.pairs else None

    def range(self, key, end=None, revision=0, limit=0):
        body = {"key": _encoded(key), "revision": str(revision), "limit": str(limit)}
        if end:
            body["range_end"] = _encoded(end)
        answer = self.call("kv/range", body)
        return Page([_pair(item) for item in answer.get("kvs", [])], int(answer.get("count", 0)),
                    answer.get("more", False), revision or int(answer["header"]["revision"]))

    def replace(self, key, value, seen):
        """Writes if the key's revision is `seen` still (0: there is no such key; None as value deletes).

        The new revision; None if it was another one."""
        compare = {"key": _encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(seen)}
        change = {"request_delete_range": {"key": _encoded(key)}}
        if value is not None:
            change = {"request_put": {"key": _encoded(key), "value": _encoded(value)}}
        answer = self.call("kv/txn", {"compare": [compare], "success": [change]})
        return int(answer["header"]["revision"]) if answer.get("succeeded") else None

    def compact(self, revision):
        self.call("kv/compaction", {"revision": str(revision), "physical": True})

    def watch(self, prefix, start):
        return Watch(self, prefix, start)

    def load(self, pairs, connections=4):
        """Puts many pairs, each under a revision of its own: the requests follow each other without waiting."""
        pairs = list(pairs)
        errors = []

        def put(part):
            try:
                for first in range(0, len(part), 64):
                    self._put_together(part[first:first + 64])
            except (OSError, http.client.HTTPException, EtcdError) as error:
                errors.append(error)

        threads = [threading.Thread(target=put, args=(pairs[n::connections],)) for n in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise EtcdError(str(errors[0]))

    def _put_together(self, pairs):
        with socket.create_connection((self.host, self.port), 30) as connection:
            requests = []
            for key, value in pairs:
                body = '{"key":"%s","value":"%s"}' % (_encoded(key), _encoded(value))
                requests.append(f"POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            # Sent by a thread: with both buffers full, two that only write would wait for each other.
            sender = threading.Thread(target=connection.sendall, args=("".join(requests).encode(),))
            sender.start()
            answers = connection.makefile("rb")
            for _ in pairs:
                status = answers.readline()
                headers = http.client.parse_headers(answers)
                body = answers.read(int(headers["Content-Length"]))
                if b" 200 " not in status:
                    raise EtcdError(body.decode())
            sender.join()


class Watch:
    """The changes below a prefix from a revision on; a thread reads them until `close`."""

    def __init__(self, etcd, prefix, start):
        self._batches = queue.Queue()
        self._connection = http.client.HTTPConnection(etcd.host, etcd.port, timeout=30)
        wanted = {"key": _encoded(prefix), "range_end": _encoded(after(prefix)), "start_revision": str(start),
                  "prev_kv": True, "progress_notify": True}
        try:
            self._connection.request("POST", "/v3/watch", json.dumps({"create_request": wanted}))
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise EtcdError(f"etcdserver: {error}") from error
        self._socket = self._connection.sock
        self._socket.settimeout(None)
        threading.Thread(target=self._read, args=(response,), daemon=True).start()

    def next(self, seconds):
        """The next batch, None if none came in time; EtcdError at the stream's end."""
        try:
            batch = self._batches.get(timeout=max(seconds, 0.001))
        except queue.Empty:
            return None
        if batch is None:
            raise EtcdError("etcdserver: the watch ended")
        return batch

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._connection.close()

    def _read(self, response):
        try:
            for line in response:
                result = json.loads(line).get("result", {})
                revision = int(result.get("header", {}).get("revision", 0))
                if result.get("canceled"):
                    self._batches.put(Batch([], revision, int(result.get("compact_revision", 0))))
                    break
                if not result.get("created"):
                    self._batches.put(Batch([self._event(e) for e in result.get("events", [])], revision, 0))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self._batches.put(None)

    @staticmethod
    def _event(item):
        now = _pair(item["kv"])
        before = base64.b64decode(item["prev_kv"]["value"]) if "prev_kv" in item else None
        return Event(now.key, None if item.get("type") == "DELETE" else now.value, before, now.revision)


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(folder, port, request_bytes):
    """An etcd of this process's own on loopback; it tells watchers every five seconds how far they are."""
    port = port or _free_port()
    client, peer = (f"http://127.0.0.1:{n}" for n in (port, _free_port()))
    with open(f"{folder}/etcd.log", "ab") as log:
        # It ends with this process, however that ends.
        process = subprocess.Popen([
            "setpriv", "--pdeathsig", "KILL", "etcd", "--name", "test", "--data-dir", f"{folder}/etcd",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"test={peer}",
            "--max-request-bytes", str(request_bytes), "--quota-backend-bytes", str(4 << 30),
            "--experimental-watch-progress-notify-interval=5s",
        ], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    etcd = Etcd("127.0.0.1", port)
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            etcd.revision()
            return etcd, process
        except EtcdError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit(f"etcd did not start: see {folder}/etcd.log")
