"""What a server demands of an object, and what it sets itself, before it stores it."""

import random
import re
import uuid

from . import schemas, status
from .ownership import now
from .status import cause

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_CONFIG_MAP_BYTES = 1 << 20
# Set by the server alone; an update keeps them.
_KEPT = ("name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp",
         "deletionGracePeriodSeconds", "generateName", "selfLink")


def decoded(resource, item, validation):
    """The object as this resource knows it, and the fields that it does not know."""
    if not isinstance(item, dict):
        raise status.bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    if resource.custom and not item.get("kind"):
        raise status.bad_request("Object 'Kind' is missing")
    item.setdefault("kind", resource.kind)
    item.setdefault("apiVersion", resource.api_version)
    if (item["kind"], item["apiVersion"]) != (resource.kind, resource.api_version):
        version = str(item["apiVersion"]).rpartition("/")[2]
        raise _undecodable(item["kind"], version, resource.kind,
                           f'converting ({item["apiVersion"]}.{item["kind"]}): unknown conversion')
    item, unknown = schemas.prune(item, resource.schema)
    if unknown and validation == "Strict":
        fields = ", ".join(f'unknown field "{field}"' for field in unknown)
        raise _undecodable(resource.kind, resource.version, resource.kind, "strict decoding error: " + fields)
    metadata = item.get("metadata")
    looked_at = {"metadata": metadata} if resource.custom else item
    causes = schemas.check(looked_at, schemas.of_kind() if resource.custom else resource.schema)
    if causes:
        kind = causes[0]["message"].split('"')[1]
        raise _undecodable(resource.kind, resource.version, resource.kind,
                           f"json: cannot unmarshal {kind} into Go struct field {resource.kind}.{causes[0]['field']}")
    item["metadata"] = {name: value for name, value in (metadata or {}).items() if value not in (None, {}, [])
                        or name == "managedFields"}
    return item, unknown


def _undecodable(kind, version, wanted, why):
    return status.bad_request(f'{kind} in version "{version}" cannot be handled as a {wanted}: {why}')


def created(resource, item, namespace):
    """Fills in a new object."""
    metadata = item["metadata"]
    if metadata.get("resourceVersion"):
        raise status.Refused(500, "resourceVersion should not be set on objects to be created", "")
    if not metadata.get("name"):
        if not metadata.get("generateName"):
            why = cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")
            raise status.invalid(resource, "", [why])
        metadata["name"] = metadata["generateName"] + "".join(random.choices(_LETTERS, k=5))
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    if resource.namespaced:
        metadata["namespace"] = namespace
    metadata["uid"], metadata["creationTimestamp"] = str(uuid.uuid4()), now()
    if resource.custom or resource.kind in ("Pod", "CustomResourceDefinition"):
        metadata["generation"] = 1
    if "status" in resource.subresources:
        item.pop("status", None)
    _DEFAULTS.get(resource.kind, lambda _: None)(item)
    validate(resource, item)
    return item


def validate(resource, item):
    name = item["metadata"]["name"]
    causes = _name_causes(resource, name)
    if resource.custom:
        schemas.fill(item, resource.schema)
        causes += schemas.check(item, resource.schema)
    else:
        causes += _CHECKS.get(resource.kind, lambda _: [])(item)
    if causes:
        raise status.invalid(resource, name, causes)


def _name_causes(resource, name):
    if resource.kind == "Namespace":
        fits = re.fullmatch(_LABEL, name) and len(name) <= 63
        what, example, pattern = "label", "'my-name',  or '123-abc'", _LABEL
        marks = "'-'"
    else:
        fits = re.fullmatch(_SUBDOMAIN, name) and len(name) <= 253
        what, example, pattern = "subdomain", "'example.com'", _SUBDOMAIN
        marks = "'-' or '.'"
    if fits:
        return []
    comma = "," if what == "subdomain" else " or"
    text = (f'Invalid value: "{name}": a lowercase RFC 1123 {what} must consist of lower case alphanumeric '
            f"characters{comma} {marks}, and must start and end with an alphanumeric character (e.g. {example}, regex "
            f"used for validation is '{pattern}')")
    return [cause("FieldValueInvalid", text, "metadata.name")]


def updated(resource, old, new, subresource):
    """What an update of the resource or of a subresource makes of the object in the store."""
    metadata, before = new["metadata"], old["metadata"]
    for name in _KEPT:
        metadata.pop(name, None)
        if name in before:
            metadata[name] = before[name]
    if subresource == "status":
        if resource.custom:
            fields = metadata.get("managedFields")
            new = {**old, "metadata": dict(before), "status": new.get("status")}
            new["metadata"]["managedFields"] = fields
        else:
            new = {**new, "spec": old.get("spec")}
        new = {name: value for name, value in new.items() if value is not None}
    elif "status" in resource.subresources:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if subresource != "finalize" and resource.kind == "Namespace":
        new["spec"] = old["spec"]
    if resource.kind == "Pod" and _fixed(new["spec"]) != _fixed(old["spec"]):
        text = "Forbidden: pod updates may not change fields other than the image, deadline, and tolerations"
        raise status.invalid(resource, before["name"], [cause("FieldValueForbidden", text, "spec")])
    _check_finalizers(resource, old, new)
    if "generation" in before and _content(resource, old) != _content(resource, new):
        new["metadata"]["generation"] += 1
    validate(resource, new)
    return new


def _fixed(spec):
    """The part of a pod's spec that no update may change."""
    kept = {name: value for name, value in spec.items()
            if name not in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")}
    for name in ("containers", "initContainers"):
        if name in kept:
            kept[name] = [{**container, "image": None} for container in kept[name]]
    return kept


def _content(resource, item):
    apart = ("metadata", "status") if "status" in resource.subresources else ("metadata",)
    return {name: value for name, value in item.items() if name not in apart}


def _check_finalizers(resource, old, new):
    if "deletionTimestamp" not in old["metadata"]:
        return
    added = [f for f in new["metadata"].get("finalizers") or () if f not in old["metadata"].get("finalizers", ())]
    if added:
        names = ", ".join(f'"{finalizer}"' for finalizer in added)
        why = cause("FieldValueForbidden", "Forbidden: no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{names}}}", "metadata.finalizers")
        raise status.invalid(resource, new["metadata"]["name"], [why, why])


def _new_namespace(item):
    name = item["metadata"]["name"]
    item["metadata"]["labels"] = {**item["metadata"].get("labels", {}), "kubernetes.io/metadata.name": name}
    item["spec"], item["status"] = {"finalizers": ["kubernetes"]}, {"phase": "Active"}


def _new_pod(item):
    spec = item.setdefault("spec", {})
    for container in spec.get("containers") or ():
        for name, value in (("resources", {}), ("terminationMessagePath", "/dev/termination-log"),
                            ("terminationMessagePolicy", "File"), ("imagePullPolicy", "Always")):
            container.setdefault(name, value)
    for name, value in (
        ("restartPolicy", "Always"), ("terminationGracePeriodSeconds", 30), ("dnsPolicy", "ClusterFirst"),
        ("securityContext", {}), ("schedulerName", "default-scheduler"), ("priority", 0),
        ("enableServiceLinks", True), ("preemptionPolicy", "PreemptLowerPriority"),
        ("tolerations", [{"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute",
                          "tolerationSeconds": 300} for state in ("not-ready", "unreachable")]),
    ):
        spec.setdefault(name, value)
    item["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def _new_event(item):
    for name, value in (("source", {}), ("eventTime", None), ("reportingComponent", ""), ("reportingInstance", "")):
        item.setdefault(name, value)


def _new_definition(item):
    spec = item.get("spec") or {}
    names = spec.get("names") or {}
    names.setdefault("singular", str(names.get("kind", "")).lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")
    spec.setdefault("conversion", {"strategy": "None"})
    stored = [version.get("name") for version in spec.get("versions") or () if version.get("storage")]
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now(), "reason": reason, "message": text}
                  for kind, reason, text in (
                      ("NamesAccepted", "NoConflicts", "no conflicts found"),
                      ("Established", "InitialNamesAccepted", "the initial names have been accepted"))]
    item["status"] = {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}


def _check_config_map(item):
    size = sum(len(k) + len(v) for name in ("data", "binaryData") for k, v in (item.get(name) or {}).items())
    if size <= _CONFIG_MAP_BYTES:
        return []
    return [cause("FieldValueTooLong", f"Too long: may not be more than {_CONFIG_MAP_BYTES} bytes", "[]")]


def _check_event(item):
    space = (item.get("involvedObject") or {}).get("namespace")
    if not space or space == item["metadata"]["namespace"]:
        return []
    return [cause("FieldValueInvalid", f'Invalid value: "{space}": does not match event.namespace',
                  "involvedObject.namespace")]


def _check_pod(item):
    if not item["spec"].get("containers"):
        return [cause("FieldValueRequired", "Required value", "spec.containers")]
    return []


def _check_definition(item):
    spec = item.get("spec") or {}
    missing = [name for name in ("group", "names", "scope", "versions") if not spec.get(name)]
    if missing:
        return [cause("FieldValueRequired", "Required value", f"spec.{name}") for name in missing]
    missing = [name for name in ("plural", "kind") if not spec["names"].get(name)]
    if missing:
        return [cause("FieldValueRequired", "Required value", f"spec.names.{name}") for name in missing]
    wanted = f"{spec['names']['plural']}.{spec['group']}"
    if item["metadata"]["name"] != wanted:
        text = f'Invalid value: "{item["metadata"]["name"]}": must be spec.names.plural+"."+spec.group'
        return [cause("FieldValueInvalid", text, "metadata.name")]
    return []


_DEFAULTS = {"Namespace": _new_namespace, "Pod": _new_pod, "Event": _new_event,
             "CustomResourceDefinition": _new_definition}
_CHECKS = {"ConfigMap": _check_config_map, "Event": _check_event, "Pod": _check_pod,
           "CustomResourceDefinition": _check_definition}
