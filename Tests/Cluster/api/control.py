"""The control channel of the tests: JSON over HTTP at an address of its own."""

import http.server
import json
import threading

from . import ownership, rules
from .etcd import EtcdError
from .front import TCPServer, UnixServer, cut, unlink
from .objects import stored


class Control:
    def __init__(self, etcd, registry, listener):
        self._etcd, self._registry, self._listener = etcd, registry, listener
        self._faults, self._settings, self._log = listener.faults, listener.settings, listener.log

    def open(self, address):
        """The address, with the port that was taken for port 0."""
        handler = type("BoundControl", (_Handler,), {"control": self})
        if isinstance(address, str):
            unlink(address)
        server = UnixServer(address, handler) if isinstance(address, str) else TCPServer(address, handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address

    def answer(self, method, path, body):
        """What a request gets; KeyError for one that there is none of, ValueError for a wrong one."""
        parts = path.strip("/").split("/")
        return getattr(self, f"_{method.lower()}_{parts[0]}")(body, *parts[1:])

    def _get_faults(self, _):
        return self._faults.list()

    def _post_faults(self, body):
        return self._faults.add(body)

    def _delete_faults(self, _, number=None):
        self._faults.remove(number and int(number))

    def _get_settings(self, _):
        return self._settings.described()

    def _patch_settings(self, body):
        self._settings.change(body, self._etcd.revision())
        return self._settings.described()

    def _get_requests(self, _):
        return self._log.list()

    def _delete_requests(self, _):
        self._log.clear()

    def _get_counts(self, _):
        return self._log.counts()

    def _get_revision(self, _):
        return {"revision": self._etcd.revision()}

    def _post_compact(self, _):
        """Forgets all history: older watches and pages get 410."""
        revision = self._etcd.revision()
        self._etcd.compact(revision)
        return {"revision": revision}

    def _post_listener(self, body):
        """{"open": false}: connections are refused, and those that there are end."""
        if body["open"]:
            self._listener.open()
        else:
            self._listener.close()

    def _post_cut(self, body):
        """Ends the running watches, or with {"all": true} every connection."""
        streams = self._listener.connections if body.get("all") else self._listener.streams
        count = len(streams)
        cut(streams)
        return {"cut": count}

    def _post_objects(self, body):
        """Creates many objects at once, past the API: for the state that a test starts from."""
        pairs = []
        for item in body:
            group, _, version = item["apiVersion"].rpartition("/")
            resource = next((r for r in self._registry.of_version(group, version) if r.kind == item["kind"]), None)
            if resource is None:
                raise ValueError(f"no resource has the kind {item['kind']} in {item['apiVersion']}")
            item, _ = rules.decoded(resource, item, "Strict")
            state = item.get("status")
            item = rules.created(resource, item, item["metadata"].get("namespace", "default"))
            if state:
                item["status"] = state
            ownership.updated(None, item, "test", "")
            pairs.append((resource.key(item["metadata"].get("namespace"), item["metadata"]["name"]), stored(item)))
        self._etcd.load(pairs)
        return {"created": len(pairs)}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    control = None

    def log_message(self, *_):
        pass

    def _handle(self):
        try:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            code, answer = 200, self.control.answer(self.command, self.path, body)
        except AttributeError:
            code, answer = 404, {"error": f"there is no {self.command} {self.path}: see Tests/Cluster/README.md"}
        except (ValueError, KeyError, TypeError, EtcdError) as error:
            code, answer = 400, {"error": f"{type(error).__name__}: {error}"}
        text = json.dumps(answer).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _handle
