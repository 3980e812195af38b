"""What a request asks for: paths, methods and media types."""

from . import status
from .status import PlainNotFound

_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
STRATEGIC = "application/strategic-merge-patch+json"


class Route:
    """One request for a resource."""

    def __init__(self, resource, namespace, name, subresource, verb):
        self.resource, self.namespace, self.name, self.subresource = resource, namespace, name, subresource
        self.verb = verb

    @property
    def full_resource(self):
        return self.resource.plural + (f"/{self.subresource}" if self.subresource else "")


def resolve(registry, method, path, query):
    """The Route of a path below /api/v1 or /apis/GROUP/VERSION; None if it is no resource's."""
    parts = [part for part in path.split("/") if part]
    if parts[:2] == ["api", "v1"] and len(parts) > 2:
        group, version, parts = "", "v1", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = None
    is_namespace = parts[0] == "namespaces" and (len(parts) < 3 or parts[2] in ("status", "finalize"))
    if parts[0] == "namespaces" and not is_namespace:
        namespace, parts = parts[1], parts[2:]
    resource = registry.find(group, version, parts[0])
    if resource is None:
        if not registry.has_version(group, version):
            raise PlainNotFound
        raise status.no_such_resource()
    name, subresource = (parts[1:] + [None, None])[:2]
    if len(parts) > 3 or subresource and subresource not in resource.subresources:
        raise status.no_such_resource()
    if namespace and not resource.namespaced or name and not namespace and resource.namespaced:
        raise status.no_such_resource()
    verb = _verb(resource, method, query, namespace, name, subresource)
    return Route(resource, namespace, name, subresource or "", verb)


def _verb(resource, method, query, namespace, name, subresource):
    verb = _VERBS.get(method)
    if verb == "get" and not name:
        verb = "watch" if query.get("watch") in ("1", "true") else "list"
    if verb == "delete" and not name:
        verb = "deletecollection"
    on_list = verb in ("list", "watch", "deletecollection", "create")
    if subresource:
        allowed = verb in resource.subresources[subresource]
    else:
        allowed = verb in resource.verbs and on_list == (not name)
    if resource.namespaced and not namespace and verb not in ("list", "watch"):
        allowed = False
    if not allowed:
        raise status.not_allowed()
    return verb


def number(query, name):
    """A number among the parameters; 0 if it is not there."""
    text = query.get(name) or "0"
    if not text.isascii() or not text.isdigit():
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def media_type(text):
    return (text or "application/json").split(";")[0].strip().lower()


def check_body_type(resource, method, text):
    """The media type of a body, if it is one that can be read."""
    kind = media_type(text)
    if method == "PATCH":
        known = _PATCHES if resource.custom else _PATCHES + (STRATEGIC,)
    elif method == "DELETE":
        return kind
    else:
        known = ("application/json", "application/yaml")
    if kind not in known:
        raise status.unknown_format(known)
    return kind


def wants_metadata_only(accept):
    """Whether the first clause of Accept that can be served asks for metadata alone; 406 if none can be."""
    for clause in (accept or "*/*").split(","):
        kind, *parameters = [part.strip() for part in clause.split(";")]
        form = next((part[3:] for part in parameters if part.startswith("as=")), None)
        if kind not in ("application/json", "application/*", "*/*"):
            continue
        if form in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return True
        if form is None:
            return False
    raise status.not_acceptable()
