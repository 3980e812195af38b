"""The four kinds of patches but apply: JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic one."""

import copy
import json

from . import status

OPERATIONS = 10000
_MISSING = object()
# Lists that a strategic merge patch joins by a key of their elements; others are replaced.
KEYS = {
    "conditions": "type", "containers": "name", "initContainers": "name", "ephemeralContainers": "name",
    "volumes": "name", "env": "name", "volumeMounts": "mountPath", "podIPs": "ip", "hostIPs": "ip",
    "imagePullSecrets": "name", "ownerReferences": "uid", "addresses": "type", "taints": "key",
}
_SETS = ("finalizers",)


def merged(document, patch):
    """A merge patch: null removes, an object is merged, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def strategic(document, patch):
    """A merge patch that knows which lists have keys, and Kubernetes' directives."""
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            if value.get("$patch") == "delete":
                result.pop(key, None)
            else:
                result[key] = strategic(result.get(key), value)
        elif isinstance(value, list) and key in KEYS and all(isinstance(item, dict) for item in value):
            result[key] = _joined(result.get(key) or [], value, KEYS[key], patch.get("$setElementOrder/" + key))
        elif isinstance(value, list) and key in _SETS:
            result[key] = list(dict.fromkeys([*(result.get(key) or []), *value]))
        else:
            result[key] = value
    return result


def _joined(items, patches, key, order):
    items = list(items)
    for patch in patches:
        if patch.get("$patch") == "replace":
            items = []
            continue
        place = next((n for n, item in enumerate(items) if item.get(key) == patch.get(key)), None)
        if patch.get("$patch") == "delete":
            if place is not None:
                del items[place]
        elif place is None:
            items.append(strategic({}, patch))
        else:
            items[place] = strategic(items[place], patch)
    if order:
        wanted = [item.get(key) for item in order]
        items.sort(key=lambda item: wanted.index(item.get(key)) if item.get(key) in wanted else len(wanted))
    return items


def json_patched(document, operations):
    """All operations or none."""
    if not isinstance(operations, list):
        raise status.bad_request("error decoding patch: json: cannot unmarshal object into Go value of type "
                                 "[]handlers.jsonPatchOp")
    if len(operations) > OPERATIONS:
        raise status.too_large(f"The allowed maximum operations in a JSON patch is {OPERATIONS}, "
                               f"got {len(operations)}")
    result = copy.deepcopy(document)
    try:
        for operation in copy.deepcopy(operations):
            result = _operate(result, operation)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise status.patch_rejected() from error
    return result


def _operate(document, operation):
    what, path = operation["op"], _tokens(operation["path"])
    if what == "test":
        # Kubernetes' library takes a missing member for null.
        if not _equal(_value(document, path, None), operation.get("value")):
            raise ValueError("test failed")
    elif what == "remove":
        _take(document, path)
    elif what == "add":
        return _added(document, path, operation["value"])
    elif what == "replace":
        # A missing member of an object is added, as Kubernetes' library does.
        parent = _value(document, path[:-1]) if path else None
        if not path or isinstance(parent, dict):
            return _added(document, path, operation["value"])
        parent[_index(parent, path[-1], len(parent))] = operation["value"]
    elif what == "move":
        return _added(document, path, _take(document, _tokens(operation["from"])))
    elif what == "copy":
        return _added(document, path, copy.deepcopy(_value(document, _tokens(operation["from"]))))
    else:
        raise ValueError(what)
    return document


def _equal(one, other):
    """For Python alone, true is 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _tokens(path):
    if path == "":
        return []
    if not path.startswith("/"):
        raise ValueError(path)
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _index(items, token, end):
    number = int(token)
    if not 0 <= number < end:
        raise IndexError(token)
    return number


def _value(document, path, default=_MISSING):
    for token in path:
        if isinstance(document, list):
            document = document[_index(document, token, len(document))]
        elif token in document:
            document = document[token]
        elif default is _MISSING or token != path[-1]:
            raise KeyError(token)
        else:
            return default
    return document


def _take(document, path):
    parent = _value(document, path[:-1])
    return parent.pop(_index(parent, path[-1], len(parent)) if isinstance(parent, list) else path[-1])


def _added(document, path, value):
    if not path:
        return value
    parent = _value(document, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(parent, path[-1], len(parent) + 1), value)
    else:
        parent[path[-1]] = value
    return document
