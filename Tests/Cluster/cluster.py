"""An API server of its own for each block of checks, and requests to it."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


class Reply:
    def __init__(self, response):
        self.code, self.headers = response.status, response.headers
        self.text = response.read()
        try:
            self.json = json.loads(self.text)
        except ValueError:
            self.json = None

    @property
    def reason(self):
        return (self.json or {}).get("reason")


class Cluster:
    """One process of apiserver, with its etcd unless it shares another's."""

    def __init__(self, *options, etcd=None, listen="127.0.0.1:0"):
        self.folder = tempfile.mkdtemp(prefix="cluster-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        store = ["--etcd", etcd] if etcd else ["--data-dir", self.folder]
        self.process = subprocess.Popen([os.path.join(HERE, "apiserver"), "--listen", listen, *store, *options],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("apiserver did not start")
        ready = json.loads(line)
        self.url, self.etcd, self._control = ready["url"], ready["etcd"], ready["control"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        subprocess.run(["rm", "-rf", self.folder], check=True)

    @property
    def address(self):
        return urllib.parse.urlsplit(self.url).netloc

    def control(self, method, path, body=None):
        host, _, port = self._control.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body))
        reply = Reply(connection.getresponse())
        connection.close()
        if reply.code != 200:
            raise AssertionError(reply.text)
        return reply.json

    def fault(self, **fault):
        self.control("POST", "/faults", fault)

    def settings(self, **settings):
        return self.control("PATCH", "/settings", settings)

    def reset(self):
        self.control("DELETE", "/faults")
        self.control("DELETE", "/requests")
        self.settings(watchList="on", bookmarks=True, lag=None, silent=False)

    def connect(self, timeout=30, context=None):
        if self.url.startswith("unix:"):
            connection = http.client.HTTPConnection("localhost", timeout=timeout)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.url[5:])
            return connection
        if self.url.startswith("https:"):
            return http.client.HTTPSConnection(self.address, timeout=timeout, context=context)
        return http.client.HTTPConnection(self.address, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, timeout=30, context=None):
        with contextlib.closing(self.connect(timeout, context)) as connection:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"User-Agent": "check/1", **(headers or {})})
            return Reply(connection.getresponse())

    def get(self, path, **query):
        return self.ask("GET", path + (f"?{urllib.parse.urlencode(query)}" if query else ""))

    def watch(self, path, **query):
        return Watch(self, path, query)


class Watch:
    """The lines of a running watch, read by a thread."""

    def __init__(self, cluster, path, query):
        self._connection = cluster.connect()
        self._connection.request("GET", f"{path}?{urllib.parse.urlencode({'watch': 1, **query})}")
        response = self._connection.getresponse()
        self.code, self.lines, self.is_whole = response.status, [], None
        self._thread = threading.Thread(target=self._read, args=(response,), daemon=True)
        self._thread.start()

    def _read(self, response):
        rest = b""
        try:
            # Not line by line: there http.client takes a stream that breaks off for one that ends.
            while data := response.read1(1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                self.lines += [json.loads(line) for line in lines]
            self.is_whole = rest == b""
        except (OSError, ValueError, http.client.HTTPException):
            self.is_whole = False

    def end(self):
        """All lines, after the server's end of the stream."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the watch did not end"
        self._connection.close()
        return self.lines

    def seen(self, kind, name=None):
        """Waits for an event of a type."""
        def found():
            return [line for line in self.lines if line["type"] == kind
                    and name in (None, line["object"].get("metadata", {}).get("name"))]

        eventually(found, f"no event {kind} {name or ''} among {self.lines}")
        return found()[0]["object"]


def eventually(condition, otherwise):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


def certificates(folder):
    """An authority, a server's and a client's certificate (user check-client), as NAME.crt and NAME.key."""
    subprocess.run(["sh", "-euc", '''
        request="openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        $request -keyout ca.key -subj /CN=ca -x509 -days 9 -out ca.crt
        echo "subjectAltName=IP:127.0.0.1" >names
        for name in server check-client; do
            $request -keyout $name.key -subj /CN=$name -out $name.csr
            openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile names \\
                -out $name.crt
        done'''], cwd=folder, check=True, capture_output=True)


def tls(folder, client=None):
    """What a client of `certificates` trusts and shows."""
    context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    if client:
        context.load_cert_chain(f"{folder}/{client}.crt", f"{folder}/{client}.key")
    return context
