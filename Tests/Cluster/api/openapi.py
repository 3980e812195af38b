"""As much of OpenAPI as kubectl wants before it writes: that the server checks the fields itself."""

# Version 2, for a kubectl before 1.27: a Document of protobuf with nothing but `swagger: "2.0"`.
V2 = b"\n\x032.0"
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_CHECKED = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]


def document(registry, path):
    """Of version 3: the index, or what one group and version has; None if there is no such document."""
    versions = {("api" if not group else f"apis/{group}") + f"/{version}": (group, version)
                for group, listed in registry.groups().items() for version in listed}
    name = path.removeprefix("/openapi/v3").strip("/")
    if not name:
        return {"paths": {key: {"serverRelativeURL": f"/openapi/v3/{key}"} for key in versions}}
    if name not in versions:
        return None
    paths = {}
    for resource in registry.of_version(*versions[name]):
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        place = "namespaces/{namespace}/" if resource.namespaced else ""
        paths[f"/{name}/{place}{resource.plural}/{{name}}"] = {
            "patch": {"parameters": _CHECKED, "x-kubernetes-group-version-kind": kind}}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.2"}, "paths": paths}
