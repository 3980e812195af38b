"""Objects in etcd: JSON under the key of their resource, without the resourceVersion, which is the key's revision."""

import json


def stored(item):
    metadata = {name: value for name, value in item["metadata"].items() if name != "resourceVersion"}
    return json.dumps({**item, "metadata": metadata}, separators=(",", ":"), ensure_ascii=False).encode()


def loaded(value, revision):
    item = json.loads(value)
    item["metadata"]["resourceVersion"] = str(revision)
    return item


def metadata_only(item):
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
