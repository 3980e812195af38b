"""metadata.managedFields: which client wrote which field, and what follows from it for an apply patch.

Fields are paths of member names. The elements of lists that have a key are members too, with names as `k:{"name":"c"}`;
other lists are one field each, whatever they hold.
"""

import datetime
import json

from . import status
from .patches import KEYS

_SERVERS = ("name", "namespace", "selfLink", "uid", "resourceVersion", "generation", "managedFields",
            "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_MISSING = object()


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def leaves(item):
    """Paths to values; those that a server fills in are nobody's."""
    result = {}

    def walk(value, path):
        members = _members(value, path[-1] if path else "")
        if members:
            for name, member in members.items():
                if path == () and name in ("kind", "apiVersion") or path == ("metadata",) and name in _SERVERS:
                    continue
                walk(member, path + (name,))
        elif path and value is not None and value != {}:
            result[path] = value

    walk(item, ())
    return result


def _members(value, name):
    """Of an object, or of a list with a key; None of anything else."""
    key = KEYS.get(name)
    if key and isinstance(value, list) and all(isinstance(item, dict) and key in item for item in value):
        return {"k:" + json.dumps({key: item[key]}, separators=(",", ":")): item for item in value}
    return value if isinstance(value, dict) else None


class Entry:
    """What one manager owns through one operation and subresource."""

    def __init__(self, manager, operation, api_version, subresource, time, fields):
        self.manager, self.operation, self.api_version = manager, operation, api_version
        self.subresource, self.time, self.fields = subresource, time, fields

    @property
    def key(self):
        return self.manager, self.operation, self.subresource

    @property
    def described(self):
        text = f'conflict with "{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text + (f" using {self.api_version}" if self.operation == "Update" else "")

    @classmethod
    def read(cls, item):
        fields = set()

        def walk(tree, path):
            if not tree and path:
                fields.add(path)
            for name, inner in tree.items():
                walk(inner, path + (name.removeprefix("f:"),))

        walk(item.get("fieldsV1") or {}, ())
        return cls(item.get("manager", ""), item.get("operation", ""), item.get("apiVersion", ""),
                   item.get("subresource", ""), item.get("time"), fields)

    def written(self):
        tree = {}
        for path in sorted(self.fields):
            inner = tree
            for name in path:
                inner = inner.setdefault(name if name.startswith("k:") else "f:" + name, {})
        item = {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version,
                "time": self.time, "fieldsType": "FieldsV1", "fieldsV1": tree}
        return {**item, "subresource": self.subresource} if self.subresource else item


def _entries(item):
    return [Entry.read(entry) for entry in item["metadata"].get("managedFields") or () if entry]


def _write(item, entries):
    written = [entry.written() for entry in entries if entry.fields]
    item["metadata"].pop("managedFields", None)
    if written:
        item["metadata"]["managedFields"] = written


def _mine(entries, manager, operation, item, subresource):
    for entry in entries:
        if entry.key == (manager, operation, subresource):
            return entry
    entries.append(Entry(manager, operation, item["apiVersion"], subresource, None, set()))
    return entries[-1]


def updated(old, new, manager, subresource):
    """Notes in `new` who made it of `old` (None: created)."""
    given = new["metadata"].get("managedFields")
    if given is not None and not any(given):
        # An empty list, or one of an empty entry: the client wants none.
        del new["metadata"]["managedFields"]
        return
    entries = _entries(old) if old else []
    if old and not entries:
        # Where nobody is written down, only an apply patch begins to.
        return
    before, after = leaves(old) if old else {}, leaves(new)
    changed = {path for path, value in after.items() if before.get(path, _MISSING) != value}
    gone = before.keys() - after.keys()
    if changed or gone:
        mine = _mine(entries, manager, "Update", new, subresource)
        for entry in entries:
            entry.fields -= gone if entry is mine else gone | changed
        mine.fields |= changed
        mine.time = now()
    _write(new, entries)


def applied(old, wanted, manager, subresource, force):
    """The object that an apply patch makes of `old` (None: there is none yet)."""
    fields = leaves(wanted)
    result = _overlaid(old or {}, wanted)
    entries = _entries(old) if old else []
    mine = _mine(entries, manager, "Apply", {"apiVersion": wanted["apiVersion"]}, subresource)
    before = leaves(old) if old else {}
    differing = {path for path, value in fields.items() if before.get(path, _MISSING) != value}
    conflicts = [(entry.described, "".join("." + name for name in path))
                 for entry in entries if entry is not mine for path in sorted(entry.fields & differing)]
    if conflicts and not force:
        raise status.manager_conflict(conflicts)
    for entry in entries:
        if entry is not mine:
            entry.fields -= differing
    for path in mine.fields - fields.keys():
        if not any(path in entry.fields for entry in entries if entry is not mine):
            _remove(result, path)
    if mine.fields != fields.keys() or differing:
        mine.time = now()
    mine.fields = set(fields)
    _write(result, entries)
    return result


def _overlaid(old, new, of=""):
    mine, theirs = _members(old, of), _members(new, of)
    if not isinstance(new, (dict, list)) or mine is None or theirs is None:
        return new
    result = dict(mine)
    for name, value in theirs.items():
        result[name] = _overlaid(result.get(name, {} if isinstance(value, dict) else None), value, name)
    return list(result.values()) if isinstance(new, list) else result


def _remove(item, path, of=""):
    members = _members(item, of)
    if not members or path[0] not in members:
        return
    if len(path) > 1:
        _remove(members[path[0]], path[1:], path[0])
    elif isinstance(item, list):
        item.remove(members[path[0]])
    else:
        del item[path[0]]
