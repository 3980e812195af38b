"""Errors as a real API server words them: one exception, and a function for each refusal with a shape of its own."""

AS_ASKED = "please apply your changes to the latest version and try again"
REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    406: "NotAcceptable", 409: "Conflict", 410: "Expired", 413: "RequestEntityTooLarge", 415: "UnsupportedMediaType",
    422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout",
}


class Refused(Exception):
    """An answer of kind Status. `reason` empty: none is given; None: the usual one of the code."""

    def __init__(self, code, message, reason=None, details=None, metadata=None):
        super().__init__(message)
        self.code = code
        self.details = details or {}
        self.body = {"kind": "Status", "apiVersion": "v1", "metadata": metadata or {}, "status": "Failure",
                     "message": message}
        reason = REASONS.get(code, "") if reason is None else reason
        if reason:
            self.body["reason"] = reason
        if details is not None:
            self.body["details"] = details
        self.body["code"] = code

    @property
    def retry_after(self):
        """Seconds, or None."""
        return self.details.get("retryAfterSeconds")


class PlainNotFound(Exception):
    """A path that no group serves: text, no Status."""


def _details(resource, name=None, kind=None, **more):
    details = {}
    if name:
        details["name"] = name
    if resource.group:
        details["group"] = resource.group
    return {**details, "kind": kind or resource.plural, **more}


def cause(reason, message, field):
    return {"reason": reason, "message": message, "field": field}


def success(code, details=None):
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return {**body, "details": details} if details else {**body, "code": code}


def deleted(resource, name, uid):
    return success(200, _details(resource, name, uid=uid))


def bad_request(message):
    return Refused(400, message)


def other_name(name, wanted):
    return bad_request(f"the name of the object ({name}) does not match the name on the URL ({wanted})")


def other_namespace():
    return bad_request("the namespace of the provided object does not match the namespace sent on the request")


def unauthorized():
    return Refused(401, "Unauthorized")


def forbidden(user, verb, resource, subresource, namespace, name):
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    of = resource.plural + (f"/{subresource}" if subresource else "")
    named = f'{resource.qualified} "{name}"' if name else resource.qualified
    text = (f'{named} is forbidden: User "{user}" cannot {verb} resource "{of}" '
            f'in API group "{resource.group}"{where}')
    return Refused(403, text, details=_details(resource, name))


def forbidden_path(user, verb, path):
    return Refused(403, f'forbidden: User "{user}" cannot {verb} path "{path}"', details={})


def terminating(resource, name, namespace):
    text = (f'{resource.qualified} "{name}" is forbidden: unable to create new content in namespace {namespace} '
            "because it is being terminated")
    why = cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    return Refused(403, text, details=_details(resource, name, causes=[why]))


def not_found(resource, name):
    return Refused(404, f'{resource.qualified} "{name}" not found', details=_details(resource, name))


def no_such_resource():
    return Refused(404, "the server could not find the requested resource", details={})


def not_allowed():
    return Refused(405, "the server does not allow this method on the requested resource", details={})


def not_acceptable():
    return Refused(406, "406: Not Acceptable\n\nAvailable representations: application/json", details={})


def exists(resource, name, going):
    text = f'{resource.qualified} "{name}" already exists'
    return Refused(409, "object is being deleted: " + text if going else text, "AlreadyExists",
                   _details(resource, name))


def conflict(resource, name, why="the object has been modified; " + AS_ASKED):
    return Refused(409, f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
                   details=_details(resource, name))


def precondition(resource, name, why):
    """Of a DELETE: it is the kind that is named."""
    return Refused(409, f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": {why}',
                   details=_details(resource, name, resource.kind))


def manager_conflict(conflicts):
    """`conflicts`: pairs of an owner's description and a field."""
    count = f"{len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}"
    text = "\n".join(f"{owner}: {field}" for owner, field in conflicts)
    causes = [cause("FieldManagerConflict", owner, field) for owner, field in conflicts]
    return Refused(409, f"Apply failed with {count}: {text}", details={"causes": causes})


def expired(message, metadata=None):
    return Refused(410, message, metadata=metadata)


def too_large(limit):
    return Refused(413, f"Request entity too large: {limit}")


def unknown_format(accepted):
    return Refused(415, "the body of the request was in an unknown format - accepted media types include: "
                   + ", ".join(accepted))


def invalid(resource, name, causes, kind=None):
    texts = [f"{c['field']}: {c['message']}" for c in causes]
    text = texts[0] if len(set(texts)) == 1 else "[" + ", ".join(texts) + "]"
    of = resource.qualified if kind == resource.plural else resource.qualified_kind
    return Refused(422, f'{of} "{name}" is invalid: {text}',
                   details=_details(resource, name, kind or resource.kind, causes=causes))


def invalid_options(kind, reason, message, field):
    text = f'{kind}.meta.k8s.io "" is invalid: {field}: {message}'
    causes = [cause(reason, message, field)]
    return Refused(422, text, details={"group": "meta.k8s.io", "kind": kind, "causes": causes})


def patch_rejected():
    return Refused(422, "the server rejected our request due to an error in our request", details={})


def future_version(version, current):
    text = "Too large resource version"
    causes = [{"reason": "ResourceVersionTooLarge", "message": text}]
    return Refused(504, f"Timeout: {text}: {version}, current: {current}",
                   details={"causes": causes, "retryAfterSeconds": 1})


def injected(code, retry_after=None):
    """What a proxy, an overloaded server or a restarting one answers."""
    texts = {
        401: "Unauthorized", 410: "The resourceVersion for the provided watch is too old.",
        429: "storage is (re)initializing", 500: "etcdserver: leader changed",
        503: "the server is currently unable to handle the request",
        504: "request did not complete within the allotted timeout",
    }
    details = {"retryAfterSeconds": retry_after} if retry_after is not None else None
    return Refused(code, texts.get(code, f"status {code} was asked for"), "Gone" if code == 410 else None, details)
