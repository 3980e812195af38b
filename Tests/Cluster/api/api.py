"""From a request to its answer: authentication, authorization, and the verb of the resource."""

import gzip
import json
import traceback

from . import discovery, openapi, routes, status
from .etcd import EtcdError
from .objects import metadata_only
from .status import PlainNotFound, Refused
from .writes import Call

_BODY_BYTES = 3 << 20
_GZIP_FROM = 128 << 10
_CHECKS = ("/readyz", "/livez", "/healthz")


class Request:
    def __init__(self, method, path, query, headers, body, certificate=None):
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body
        self.certificate = certificate
        self.agent = headers.get("User-Agent", "")
        self.user, self.route = None, None

    def asked(self):
        """For faults and the log."""
        route = self.route
        return {"verb": route.verb if route else self.method.lower(), "resource": route and route.full_resource,
                "namespace": route and route.namespace, "name": route and route.name, "user": self.user,
                "agent": self.agent, "path": self.path}


class Answer:
    def __init__(self, code, body, headers=None, kind="application/json"):
        self.code, self.kind, self.headers = code, kind, headers or {}
        self.body = body if isinstance(body, bytes) else encoded(body)


class Stream:
    """The events of a watch; None where there is none at the moment."""

    def __init__(self, events):
        self.events = events


def encoded(item):
    return json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def refusal(refused):
    after = refused.retry_after
    return Answer(refused.code, refused.body, {"Retry-After": str(after)} if after is not None else None)


class API:
    def __init__(self, registry, access, reads, writes):
        self._registry, self._access, self._reads, self._writes = registry, access, reads, writes

    def admit(self, request):
        """Finds out who asks for what: None, or the answer if that is all there is to say."""
        return self._answered(self._admit, request)

    def serve(self, request, hold=0):
        """The answer to an admitted request; `hold`: seconds between reading and writing."""
        return self._answered(self._serve, request, hold)

    @staticmethod
    def _answered(function, *arguments):
        try:
            return function(*arguments)
        except Refused as refused:
            return refusal(refused)
        except PlainNotFound:
            return Answer(404, b"404 page not found\n", kind="text/plain; charset=utf-8")
        except EtcdError as error:
            return refusal(Refused(500, str(error), ""))
        except Exception as error:  # a mistake of this server, or a request that it does not check enough
            traceback.print_exc()
            return refusal(Refused(500, f"{type(error).__name__}: {error}"))

    def _admit(self, request):
        request.user = self._access.user(request.headers.get("Authorization"), request.certificate)
        try:
            request.route = routes.resolve(self._registry, request.method, request.path, request.query)
        finally:
            if request.route is None:
                self._access.check_path(request.user, request.method.lower(), request.path)
        if request.route:
            self._access.check(request.user, request.route)
        if len(request.body) > _BODY_BYTES:
            raise status.too_large(f"limit is {_BODY_BYTES}")

    def _serve(self, request, hold):
        if request.route is None:
            if request.path in _CHECKS:
                return Answer(200, b"ok", kind="text/plain; charset=utf-8")
            if request.path == "/openapi/v2":
                return Answer(200, openapi.V2, kind=openapi.V2_TYPE)
            described = openapi if request.path.startswith("/openapi/v3") else discovery
            document = described.document(self._registry, request.path)
            if document is None or request.method != "GET":
                raise PlainNotFound
            return Answer(200, document)
        partial = routes.wants_metadata_only(request.headers.get("Accept"))
        route = request.route
        if route.verb == "watch":
            return Stream(self._reads.watch(route.resource, route.namespace, request.query, partial))
        if route.verb == "list":
            return self._compressed(request, Answer(200, self._list(route, request.query, partial)))
        if route.verb == "get":
            item = self._reads.get(route.resource, route.namespace, route.name, request.query)
            return self._compressed(request, Answer(200, metadata_only(item) if partial else item))
        return self._write(request, partial, hold)

    @staticmethod
    def _compressed(request, answer):
        if len(answer.body) > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            answer.body = gzip.compress(answer.body, 1)
            answer.headers["Content-Encoding"] = "gzip"
        return answer

    def _list(self, route, query, partial):
        resource = route.resource
        items, metadata = self._reads.list(resource, route.namespace, query)
        if partial:
            return {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    "items": [metadata_only(item) for item in items]}
        if resource.custom:
            metadata.setdefault("continue", "")
        else:
            # Typed lists leave out what the list says already.
            items = [{name: value for name, value in item.items() if name not in ("kind", "apiVersion")}
                     for item in items]
        return {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata, "items": items}

    def _write(self, request, partial, hold):
        route = request.route
        manager = request.agent.partition("/")[0] or "unknown"
        call = Call(route.resource, route.namespace, route.name, route.subresource, request.query, manager, hold)
        kind = routes.check_body_type(route.resource, request.method, request.headers.get("Content-Type"))
        body = _decoded(request, route)
        code = 200
        if route.verb == "create" and route.subresource == "binding":
            self._writes.bind(call, body)
            return Answer(201, status.success(201))
        if route.verb == "create":
            code, item = 201, self._writes.create(call, body)
        elif route.verb == "update":
            item = self._writes.update(call, body)
        elif route.verb == "patch":
            item, is_new = self._writes.patch(call, kind, body)
            code = 201 if is_new else 200
        elif route.verb == "delete":
            item = self._delete(call, body, request.query)
        else:
            return Answer(200, self._delete_all(request, body))
        if partial and item["kind"] != "Status":
            item = metadata_only(item)
        warnings = ", ".join('299 - "' + f'unknown field "{field}"'.replace('"', '\\"') + '"' for field in call.unknown)
        return Answer(code, item, {"Warning": warnings} if warnings else None)

    def _delete(self, call, options, query):
        if "gracePeriodSeconds" in query:
            options = {**options, "gracePeriodSeconds": routes.number(query, "gracePeriodSeconds")}
        item, _ = self._writes.delete(call, options)
        return item

    def _delete_all(self, request, options):
        route = request.route
        whole = self._list(route, {k: v for k, v in request.query.items() if k.endswith("Selector")}, False)
        for item in whole["items"]:
            metadata = item["metadata"]
            call = Call(route.resource, metadata.get("namespace"), metadata["name"], query=request.query)
            try:
                self._delete(call, options, request.query)
            except Refused as refused:
                if refused.code != 404:
                    raise
        return whole


def _decoded(request, route):
    if request.method == "DELETE" and not request.body:
        return {}
    try:
        return json.loads(request.body)
    except ValueError as error:
        if request.method == "PATCH":
            raise status.bad_request(f"error decoding patch: {error}") from error
        raise status.bad_request(f"the object provided is unrecognized (must be of type {route.resource.kind}): "
                                 f"couldn't get version/kind; json parse error: {error}") from error
