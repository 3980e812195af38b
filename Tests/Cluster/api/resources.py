"""The kinds that are served: the built-in ones, and those of the CustomResourceDefinitions in the store."""

import json
import threading
import time
import zlib

from . import schemas
from .etcd import EtcdError, after

ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
# The order in which a real server lists those of custom resources.
CUSTOM = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
NAMES = ("metadata.name", "metadata.namespace")
POD_FIELDS = NAMES + ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                      "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName")
EVENT_FIELDS = NAMES + tuple("involvedObject." + name for name in (
    "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath",
)) + ("reason", "reportingComponent", "type")
DEFINITIONS = "/registry/apiextensions.k8s.io/customresourcedefinitions/"


class Resource:
    """One kind in one version."""

    def __init__(self, group, version, plural, kind, *, namespaced=True, short=(), categories=(), fields=NAMES,
                 subresources=None, schema=schemas.WHOLE, verbs=ALL, list_kind=None, singular=None, since=0,
                 custom=False):
        self.group, self.version, self.plural, self.kind = group, version, plural, kind
        self.namespaced, self.short, self.categories, self.fields = namespaced, short, categories, fields
        # Names to verbs.
        self.subresources = subresources or {}
        self.schema, self.verbs, self.custom = schema, verbs, custom
        self.list_kind, self.singular = list_kind or kind + "List", singular or kind.lower()
        # The revision from which on changes are kept for watches.
        self.since = since

    @property
    def api_version(self):
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self):
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self):
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def prefix(self, namespace=None):
        """Where the objects lie in etcd: all of them, or those of one namespace."""
        group = f"{self.group}/" if self.custom or self.group == "apiextensions.k8s.io" else ""
        return f"/registry/{group}{self.plural}/" + (f"{namespace}/" if namespace else "")

    def key(self, namespace, name):
        return self.prefix(namespace if self.namespaced else None) + name

    def described(self):
        """Of an APIResourceList: the resource and its subresources."""
        stored = zlib.crc32(self.prefix().encode())
        item = {"name": self.plural, "singularName": self.singular, "namespaced": self.namespaced, "kind": self.kind,
                "verbs": list(self.verbs)}
        if self.short:
            item["shortNames"] = list(self.short)
        if self.categories:
            item["categories"] = list(self.categories)
        yield {**item, "storageVersionHash": f"{stored:08x}"}
        for name, verbs in self.subresources.items():
            yield {"name": f"{self.plural}/{name}", "singularName": "", "namespaced": self.namespaced,
                   "kind": "Binding" if name == "binding" else self.kind, "verbs": list(verbs)}


STATUS = ("get", "patch", "update")
BUILT_IN = (
    Resource("", "v1", "configmaps", "ConfigMap", short=("cm",), schema=schemas.CONFIG_MAP),
    Resource("", "v1", "events", "Event", short=("ev",), fields=EVENT_FIELDS, schema=schemas.EVENT),
    Resource("", "v1", "namespaces", "Namespace", namespaced=False, short=("ns",), fields=NAMES + ("status.phase",),
             subresources={"finalize": ("update",), "status": STATUS},
             verbs=tuple(verb for verb in ALL if verb != "deletecollection")),
    Resource("", "v1", "nodes", "Node", namespaced=False, short=("no",), fields=NAMES + ("spec.unschedulable",),
             subresources={"status": STATUS}),
    Resource("", "v1", "pods", "Pod", short=("po",), categories=("all",), fields=POD_FIELDS,
             subresources={"binding": ("create",), "status": STATUS}),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", schema=schemas.LEASE),
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False,
             short=("crd", "crds"), subresources={"status": STATUS}),
)


def defined(definition, revision):
    """The resources of one CustomResourceDefinition."""
    spec = definition["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        schema = version.get("schema", {}).get("openAPIV3Schema") or schemas.ANYTHING
        fields = NAMES + tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields", ()))
        yield Resource(
            spec["group"], version["name"], names["plural"], names["kind"], namespaced=spec["scope"] == "Namespaced",
            short=names.get("shortNames", ()), categories=names.get("categories", ()), fields=fields,
            subresources={"status": STATUS} if "status" in (version.get("subresources") or {}) else {},
            schema={**schema, "properties": {**schema.get("properties", {}), "metadata": schemas.METADATA,
                                             "apiVersion": schemas.TEXT, "kind": schemas.TEXT}},
            verbs=CUSTOM, list_kind=names.get("listKind"), singular=names.get("singular"), since=revision,
            custom=True,
        )


class Registry:
    """What is served at the moment; a thread follows the definitions in etcd."""

    def __init__(self, etcd):
        self._etcd = etcd
        self._definitions = {}
        self._served = {}
        threading.Thread(target=self._follow, args=(self._read(),), daemon=True).start()

    def find(self, group, version, plural):
        return self._served.get((group, version, plural))

    def has_version(self, group, version):
        return any(key[:2] == (group, version) for key in self._served)

    def groups(self):
        """Names of groups to their versions; the core group is ""."""
        result = {}
        for group, version, _ in self._served:
            versions = result.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        return result

    def of_version(self, group, version):
        found = (resource for key, resource in self._served.items() if key[:2] == (group, version))
        return sorted(found, key=lambda resource: resource.plural)

    def _serve(self):
        resources = list(BUILT_IN)
        for definition, revision in self._definitions.values():
            resources += defined(definition, revision)
        self._served = {(r.group, r.version, r.plural): r for r in resources}

    def _read(self):
        """The revision of what was read. Changes before it are not kept for watches: see `since`."""
        page = self._etcd.range(DEFINITIONS, after(DEFINITIONS))
        self._definitions = {pair.key: (json.loads(pair.value), page.revision) for pair in page.pairs}
        self._serve()
        return page.revision

    def _follow(self, revision):
        while True:
            try:
                watch = self._etcd.watch(DEFINITIONS, revision + 1)
                while True:
                    batch = watch.next(3600)
                    for event in batch.events if batch else ():
                        self._take(event)
            except EtcdError:
                time.sleep(0.5)
            try:
                revision = self._read()
            except EtcdError:
                pass

    def _take(self, event):
        if event.value is None:
            self._definitions.pop(event.key, None)
        else:
            _, since = self._definitions.get(event.key, (None, event.revision))
            self._definitions[event.key] = json.loads(event.value), since
        self._serve()
