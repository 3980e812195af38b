"""OpenAPI schemas as CustomResourceDefinitions hold them: pruning, checking, and those of the built-in kinds."""

import re

from .status import cause

_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number",
          type(None): "null"}


def prune(value, schema, path=""):
    """The value without the members that the schema does not know, and the paths of those."""
    unknown = []
    return _pruned(value, schema, path, unknown), unknown


def _pruned(value, schema, path, unknown):
    if isinstance(value, list):
        items = schema.get("items")
        return value if items is None else [_pruned(v, items, f"{path}[{n}]", unknown) for n, v in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") or (others is True) or schema.get("type") != "object"
    result = {}
    for key, member in value.items():
        at = f"{path}.{key}" if path else key
        if key in known:
            result[key] = _pruned(member, known[key], at, unknown)
        elif isinstance(others, dict):
            result[key] = _pruned(member, others, at, unknown)
        elif keeps:
            result[key] = member
        else:
            unknown.append(at)
    return result


def check(value, schema, path=""):
    """Causes of refusal; none if the value fits."""
    kind, wanted = _TYPES[type(value)], schema.get("type")
    if value is None and schema.get("nullable"):
        return []
    if schema.get("x-kubernetes-int-or-string"):
        return [] if kind in ("integer", "string") else [_type(path, "integer,string", kind)]
    if wanted and kind != wanted and not (wanted == "number" and kind == "integer"):
        return [_type(path, wanted, kind)]
    causes = []
    if isinstance(value, dict):
        for key in schema.get("required", []):
            if key not in value:
                causes.append(cause("FieldValueRequired", "Required value", f"{path}.{key}" if path else key))
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key, member in value.items():
            inner = known.get(key, others if isinstance(others, dict) else {})
            causes += check(member, inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            causes.append(_invalid(path, len(value), f"must have at most {schema['maxItems']} items"))
        if len(value) < schema.get("minItems", 0):
            causes.append(_invalid(path, len(value), f"should have at least {schema['minItems']} items"))
        for number, item in enumerate(value):
            causes += check(item, schema.get("items", {}), f"{path}[{number}]")
    elif isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            causes.append(_invalid(path, f'"{value}"', f"should match '{schema['pattern']}'"))
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            causes.append(_invalid(path, f'"{value}"', "its length is out of bounds"))
    elif kind in ("integer", "number"):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            causes.append(_invalid(path, value, "it is out of bounds"))
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(f'"{item}"' for item in schema["enum"])
        causes.append(cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {supported}',
                            path))
    return causes


def fill(value, schema):
    """Sets what is missing and has a default."""
    if isinstance(value, dict):
        for key, inner in schema.get("properties", {}).items():
            if key not in value and "default" in inner:
                value[key] = inner["default"]
            if key in value:
                fill(value[key], inner)
        if isinstance(schema.get("additionalProperties"), dict):
            for member in value.values():
                fill(member, schema["additionalProperties"])
    elif isinstance(value, list):
        for item in value:
            fill(item, schema.get("items", {}))


def _type(path, wanted, kind):
    return cause("FieldValueTypeInvalid",
                 f'Invalid value: "{kind}": {path} in body must be of type {wanted}: "{kind}"', path)


def _invalid(path, value, why):
    return cause("FieldValueInvalid", f"Invalid value: {value}: {path} in body {why}", path)


def _object(**properties):
    return {"type": "object", "properties": properties}


def _map(values):
    return {"type": "object", "additionalProperties": values}


def _list(items):
    return {"type": "array", "items": items}


TEXT = {"type": "string", "nullable": True}
NUMBER = {"type": "integer", "nullable": True}
FLAG = {"type": "boolean", "nullable": True}
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "nullable": True}
TEXTS = {"type": "array", "items": TEXT, "nullable": True}

METADATA = _object(
    name=TEXT, generateName=TEXT, namespace=TEXT, selfLink=TEXT, uid=TEXT, resourceVersion=TEXT, generation=NUMBER,
    creationTimestamp=TEXT, deletionTimestamp=TEXT, deletionGracePeriodSeconds=NUMBER,
    labels={**_map(TEXT), "nullable": True}, annotations={**_map(TEXT), "nullable": True},
    ownerReferences={**_list(ANYTHING), "nullable": True}, finalizers=TEXTS,
    managedFields={**_list(ANYTHING), "nullable": True},
)


def of_kind(**members):
    return _object(apiVersion=TEXT, kind=TEXT, metadata=METADATA, **members)


# What is deep in pods, nodes and definitions is not looked into.
CONFIG_MAP = of_kind(data={**_map(TEXT), "nullable": True}, binaryData={**_map(TEXT), "nullable": True}, immutable=FLAG)
EVENT = of_kind(
    involvedObject=ANYTHING, reason=TEXT, message=TEXT, source=ANYTHING, firstTimestamp=TEXT, lastTimestamp=TEXT,
    count=NUMBER, type=TEXT, eventTime=TEXT, series=ANYTHING, action=TEXT, related=ANYTHING, reportingComponent=TEXT,
    reportingInstance=TEXT,
)
LEASE = of_kind(spec=_object(
    holderIdentity=TEXT, leaseDurationSeconds=NUMBER, acquireTime=TEXT, renewTime=TEXT, leaseTransitions=NUMBER,
    strategy=TEXT, preferredHolder=TEXT,
))
WHOLE = of_kind(spec=ANYTHING, status=ANYTHING)
