"""POST, PUT, PATCH and DELETE: read, change, and write back if nobody else did in the meantime."""

import copy
import datetime
import time

from . import ownership, patches, rules, status
from .objects import loaded, stored
from .resources import BUILT_IN
from .status import cause

_PATIENCE = 34  # seconds that a contended write is tried
_NAMESPACES = next(resource for resource in BUILT_IN if resource.kind == "Namespace")
_UNCONDITIONAL = ("Pod", "ConfigMap", "Event", "Namespace", "Node")
APPLY = "application/apply-patch+yaml"


class Call:
    """Where one write goes, and what the client said about it."""

    def __init__(self, resource, namespace, name, subresource="", query=None, manager="unknown", hold=0):
        self.resource, self.namespace, self.name, self.subresource = resource, namespace, name, subresource
        query = query or {}
        self.is_dry = query.get("dryRun") == "All"
        self.validation = query.get("fieldValidation", "Warn")
        self.force = query.get("force") == "true"
        self.manager = query.get("fieldManager") or manager
        self.has_manager = bool(query.get("fieldManager"))
        # Seconds between reading and writing, for contention.
        self.hold = hold
        # Fields that were left out, for the Warning headers.
        self.unknown = []

    @property
    def key(self):
        return self.resource.key(self.namespace, self.name)

    def decoded(self, item):
        item, unknown = rules.decoded(self.resource, item, self.validation)
        if self.validation != "Ignore":
            self.unknown = unknown
        return item


class Writes:
    def __init__(self, etcd):
        self._etcd = etcd

    def create(self, call, item):
        item = call.decoded(item)
        if item["metadata"].get("namespace", call.namespace) != call.namespace:
            raise status.other_namespace()
        return self._insert(call, item)

    def update(self, call, item):
        """PUT."""
        def replaced(old):
            new = call.decoded(copy.deepcopy(item))
            if new["metadata"].get("name", call.name) != call.name:
                raise status.other_name(new["metadata"]["name"], call.name)
            if new["metadata"].get("namespace", call.namespace) != call.namespace:
                raise status.other_namespace()
            uid = new["metadata"].get("uid", old["metadata"]["uid"])
            if uid != old["metadata"]["uid"]:
                raise status.conflict(call.resource, call.name, (
                    f"StorageError: invalid object, Code: 4, Key: {call.key}, ResourceVersion: 0, AdditionalErrorMsg: "
                    f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"))
            return new

        return self._change(call, replaced)

    def patch(self, call, kind, patch):
        """The object, and whether it was created, which only an apply patch does."""
        if kind == APPLY:
            return self._apply(call, patch)
        operate = {"application/json-patch+json": patches.json_patched,
                   "application/merge-patch+json": patches.merged,
                   "application/strategic-merge-patch+json": patches.strategic}[kind]
        if operate is not patches.json_patched and not isinstance(patch, dict):
            raise status.bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]"
                                     "interface {}")

        def patched(old):
            new = call.decoded(operate(old, patch))
            self._check_patched(call, old, new)
            return new

        return self._change(call, patched), False

    def bind(self, call, item):
        node = (item.get("target") or {}).get("name")

        def bound(old):
            if old["spec"].get("nodeName"):
                raise status.conflict(call.resource, call.name,
                                      f'pod {call.name} is already assigned to node "{old["spec"]["nodeName"]}"')
            old["spec"]["nodeName"] = node
            old["status"].setdefault("conditions", []).append({
                "type": "PodScheduled", "status": "True", "lastProbeTime": None,
                "lastTransitionTime": ownership.now()})
            return old

        self._attempt(call, lambda pair: self._store(call, pair, bound(loaded(pair.value, pair.revision))))

    def delete(self, call, options):
        """The object while it stays or if it is a pod, else a Status; and whether it is gone."""
        return self._attempt(call, lambda pair: self._delete(call, pair, options))

    def _insert(self, call, item, own=True):
        resource = call.resource
        if resource.namespaced:
            space = self._etcd.get(_NAMESPACES.key(None, call.namespace))
            if space is None:
                raise status.not_found(_NAMESPACES, call.namespace)
            if b'"deletionTimestamp"' in space.value:
                raise status.terminating(resource, item["metadata"].get("name", ""), call.namespace)
        item = rules.created(resource, item, call.namespace)
        call.name = item["metadata"]["name"]
        if own:
            ownership.updated(None, item, call.manager, call.subresource)
        if call.is_dry:
            return item
        revision = self._etcd.replace(call.key, stored(item), 0)
        if revision is None:
            there = self._etcd.get(call.key)
            raise status.exists(resource, call.name, there is not None and b'"deletionTimestamp"' in there.value)
        item["metadata"]["resourceVersion"] = str(revision)
        return item

    def _apply(self, call, patch):
        if not call.has_manager:
            raise status.invalid_options("PatchOptions", "FieldValueRequired",
                                         "Required value: is required for apply patch", "fieldManager")
        patch = call.decoded(patch)
        if patch["metadata"].setdefault("name", call.name) != call.name:
            raise status.other_name(patch["metadata"]["name"], call.name)

        def applied(old):
            new = ownership.applied(old, patch, call.manager, call.subresource, call.force)
            self._check_patched(call, old, new)
            return new

        if not call.subresource and self._etcd.get(call.key) is None:
            item = ownership.applied(None, patch, call.manager, "", call.force)
            try:
                return self._insert(call, item, own=False), True
            except status.Refused as refused:
                if refused.code != 409:
                    raise
        return self._change(call, applied, own=False), False

    @staticmethod
    def _check_patched(call, old, new):
        uid = new["metadata"].get("uid", old["metadata"]["uid"])
        if uid != old["metadata"]["uid"]:
            why = cause("FieldValueInvalid", f'Invalid value: "{uid}": field is immutable', "metadata.uid")
            raise status.invalid(call.resource, call.name, [why, why])
        if new["metadata"].get("name") != call.name:
            raise status.other_name(new["metadata"].get("name"), call.name)
        if new["metadata"].get("namespace") != old["metadata"].get("namespace"):
            raise status.other_namespace()

    def _attempt(self, call, once):
        """Repeats `once`, which gets the pair in the store and answers None if somebody else was faster."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            pair = self._etcd.get(call.key)
            if pair is None:
                raise status.not_found(call.resource, call.name)
            result = once(pair)
            if result is not None:
                return result
        raise status.Refused(504, "Timeout: request did not complete within requested timeout", details={})

    def _change(self, call, change, own=True):
        def once(pair):
            old = loaded(pair.value, pair.revision)
            new = change(copy.deepcopy(old))
            version = new["metadata"].pop("resourceVersion", "")
            if version and version != "0" and version != str(pair.revision):
                raise status.conflict(call.resource, call.name)
            if not version and call.resource.kind not in _UNCONDITIONAL:
                why = cause("FieldValueInvalid", "Invalid value: 0: must be specified for an update",
                            "metadata.resourceVersion")
                raise status.invalid(call.resource, call.name, [why], call.resource.plural)
            new = rules.updated(call.resource, old, new, call.subresource)
            if own:
                ownership.updated(old, new, call.manager, call.subresource)
            new["metadata"]["resourceVersion"] = str(pair.revision)
            return self._store(call, pair, new)

        return self._attempt(call, once)

    def _store(self, call, pair, item):
        """The object with its new revision; None if the pair is out of date."""
        if call.hold:
            time.sleep(call.hold)
        metadata = item["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            finished = not (item.get("spec") or {}).get("finalizers") if call.resource is _NAMESPACES \
                else metadata.get("deletionGracePeriodSeconds") == 0
            if finished:
                return item if call.is_dry or self._etcd.replace(call.key, None, pair.revision) else None
        if call.is_dry or item == loaded(pair.value, pair.revision):
            return item
        revision = self._etcd.replace(call.key, stored(item), pair.revision)
        if revision is None:
            return None
        metadata["resourceVersion"] = str(revision)
        return item

    def _delete(self, call, pair, options):
        item = loaded(pair.value, pair.revision)
        metadata, resource = item["metadata"], call.resource
        for name, field, change in (("uid", "UID", "deleted and then recreated"),
                                    ("resourceVersion", "ResourceVersion", "modified")):
            wanted = (options.get("preconditions") or {}).get(name)
            if wanted is not None and wanted != metadata[name]:
                raise status.precondition(resource, call.name, (
                    f"the {field} in the precondition ({wanted}) does not match the {field} in record "
                    f"({metadata[name]}). The object might have been {change}"))
        if call.is_dry:
            return status.deleted(resource, call.name, metadata["uid"]), True
        is_pod = resource.kind == "Pod"
        grace = _grace(item, options) if is_pod else 0
        if not (is_pod or metadata.get("finalizers") or resource is _NAMESPACES):
            if self._etcd.replace(call.key, None, pair.revision) is None:
                return None
            return status.deleted(resource, call.name, metadata["uid"]), True
        if "deletionTimestamp" not in metadata or grace < metadata.get("deletionGracePeriodSeconds", 0):
            if "generation" in metadata and "deletionTimestamp" not in metadata:
                metadata["generation"] += 1
            metadata["deletionTimestamp"] = _in(grace)
            if resource is _NAMESPACES:
                item["status"]["phase"] = "Terminating"
            else:
                metadata["deletionGracePeriodSeconds"] = grace
            revision = self._etcd.replace(call.key, stored(item), pair.revision)
            if revision is None:
                return None
            metadata["resourceVersion"] = str(revision)
        if is_pod and grace == 0 and not metadata.get("finalizers"):
            revision = self._etcd.replace(call.key, None, int(metadata["resourceVersion"]))
            if revision is None:
                return None
            metadata["resourceVersion"] = str(revision)
            return item, True
        return item, False


def _grace(pod, options):
    """Seconds that a pod gets to end: none before it has a node or after it has ended."""
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    seconds = options.get("gracePeriodSeconds")
    return pod["spec"].get("terminationGracePeriodSeconds", 30) if seconds is None else max(seconds, 0)


def _in(seconds):
    then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")
