"""HTTP/1.1 on TCP or a Unix socket, with TLS or without, and the faults that networks add."""

import contextlib
import http.server
import os
import select
import socket
import socketserver
import ssl
import sys
import threading
import time
import traceback
import urllib.parse

from .api import Request, Stream, encoded, refusal
from .status import Refused, injected

_SILENCE = 0.2  # seconds between looks whether it is over
_READ_AT_MOST = 64 << 20


class Gone(Exception):
    """The connection ends without more of an answer."""


class Listener:
    """The socket, which can be closed and opened again at the same address."""

    def __init__(self, address, context, api, faults, settings, log):
        """`address`: (host, port), or the path of a Unix socket. `context`: an SSLContext, or None."""
        self.address, self.context = address, context
        self.api, self.faults, self.settings, self.log = api, faults, settings, log
        self._server, self._lock = None, threading.Lock()
        self.connections, self.streams = set(), set()

    def open(self):
        with self._lock:
            if self._server:
                return
            if isinstance(self.address, str):
                unlink(self.address)
                self._server = UnixServer(self.address, self._handler())
            else:
                self._server = TCPServer(self.address, self._handler())
                self.address = self._server.server_address[:2]
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Refuses connections from now on, and ends those that there are."""
        with self._lock:
            if self._server:
                self._server.shutdown()
                self._server.server_close()
                self._server = None
        cut(self.connections)

    def _handler(self):
        return type("BoundHandler", (Handler,), {"listener": self})


def cut(connections):
    """Ends connections in the middle of whatever they carry."""
    for connection in list(connections):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def unlink(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class _Server(socketserver.ThreadingMixIn):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A client that goes away is no event."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


class TCPServer(_Server, socketserver.TCPServer):
    def __init__(self, address, handler):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class UnixServer(_Server, socketserver.UnixStreamServer):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    listener = None

    def setup(self):
        if isinstance(self.listener.address, tuple):
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if self.listener.context:
            # In this connection's thread: a client that does not shake hands keeps nobody else waiting.
            self.request = self.listener.context.wrap_socket(self.request, server_side=True)
        self.listener.connections.add(self.request)
        super().setup()

    def finish(self):
        self.listener.connections.discard(self.request)
        self.listener.streams.discard(self.request)
        with contextlib.suppress(OSError, ValueError):
            super().finish()
        self.request.close()

    def log_message(self, *_):
        """The log is the control channel's."""

    def handle_expect_100(self):
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _handle(self):
        try:
            self._respond()
        except (Gone, OSError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle

    def _respond(self):
        request = self._read()
        refused = self.listener.api.admit(request)
        asked = request.asked()
        entry = self.listener.log.add(asked)
        action = self.listener.faults.action(asked)
        self._stall(action)
        if action.get("drop") == "before":
            raise Gone
        answer = None
        if "status" not in action or action.get("late"):
            answer = refused or self.listener.api.serve(request, action.get("hold", 0))
        if "status" in action:
            answer = self._injected(request, action)
        entry["status"] = 200 if isinstance(answer, Stream) else answer.code
        if action.get("drop") == "after":
            raise Gone
        if isinstance(answer, Stream):
            self._stream(answer, action)
        else:
            self._send(answer, action)

    def _read(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        certificate = self.request.getpeercert() if self.listener.context else None
        return Request(self.command, url.path, query, self.headers, self._body(), certificate)

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _READ_AT_MOST))

    @staticmethod
    def _injected(request, action):
        code = action["status"]
        if code == 403 and request.route:
            route = request.route
            return refusal(Refused(403, f'{route.resource.qualified} is forbidden: User "{request.user}" cannot '
                                   f'{route.verb} resource "{route.full_resource}" in API group '
                                   f'"{route.resource.group}"'))
        return refusal(injected(code, action.get("retryAfter")))

    def _stall(self, action):
        time.sleep(action.get("delay", 0))
        while action.get("silent") or self.listener.settings.silent:
            time.sleep(_SILENCE)
            # Also when it is over: what nobody waits for any more is not done.
            self._check_client()

    def _check_client(self):
        """Gone if the client has closed its side. What a client says below TLS meanwhile can only be a farewell."""
        readable, _, _ = select.select([self.request], [], [], 0)
        if readable and (self.listener.context or not self.request.recv(1, socket.MSG_PEEK)):
            raise Gone

    def _send(self, answer, action):
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = b"" if self.command == "HEAD" else answer.body
        if action.get("drop") == "half":
            self._write(body[:len(body) // 2], action)
            raise Gone
        self._write(body, action)

    def _write(self, data, action):
        """In pieces, if a fault says so."""
        size = action.get("piece") or len(data) or 1
        for start in range(0, len(data), size):
            self.wfile.write(data[start:start + size])
            if "piece" in action:
                self.wfile.flush()
                time.sleep(action.get("pause", 0))
        self.wfile.flush()

    def _stream(self, stream, action):
        self.listener.streams.add(self.request)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        events, sent = stream.events, 0
        if "error" in action:
            error = injected(action["error"])
            error.body["reason"] = "Expired" if error.code == 410 else error.body.get("reason", "")
            events = iter([{"type": "ERROR", "object": error.body}])
        with contextlib.closing(stream.events):
            for event in events:
                self._stall({})
                if event is None:
                    self._check_client()
                    continue
                line = encoded(event)
                if action.get("cut") == sent:
                    self._chunk(line[:len(line) // 2], action)
                    raise Gone
                self._chunk(line, action)
                sent += 1
        self._write(b"0\r\n\r\n", {})
        self.listener.streams.discard(self.request)

    def _chunk(self, data, action):
        self._write(b"%x\r\n%s\r\n" % (len(data), data), action)
