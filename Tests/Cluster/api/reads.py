"""LIST and WATCH. Both read etcd: a list at one revision, a watch from one on; nothing is kept in this process."""

import base64
import json
import random
import time

from . import status
from .etcd import Compacted, EtcdError, after
from .objects import loaded, metadata_only
from .routes import number
from .selection import Selection

_PAGE = 2000
_WAIT = 3  # seconds for a revision that is not there yet, as a real server waits
_TOO_OLD = ("The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results. Continuing with the provided token results in an inconsistent list - objects that were "
            "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
            "list.")
_INITIAL_END = {"k8s.io/initial-events-end": "true"}
_NO_PROGRESS = "a watch stream was requested by the client but the required storage feature RequestWatchProgress is " \
               "disabled"


def _version(text):
    """A resourceVersion as a number, None for an illegal one."""
    return int(text) if text.isascii() and text.isdigit() and int(text) < 1 << 64 else None


def _unparsed(text):
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def _forbidden_match(why):
    return status.invalid_options("ListOptions", "FieldValueForbidden", "Forbidden: " + why, "resourceVersionMatch")


def _check_match(query):
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    if query.get("sendInitialEvents"):
        if not query.get("watch"):
            raise status.invalid_options("ListOptions", "FieldValueForbidden",
                                         "Forbidden: sendInitialEvents is forbidden for list", "sendInitialEvents")
        if match != "NotOlderThan":
            raise _forbidden_match("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    elif match and query.get("watch"):
        raise _forbidden_match("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    elif match and query.get("continue"):
        raise _forbidden_match("resourceVersionMatch is forbidden when continue is provided")
    elif match and not version:
        raise _forbidden_match("resourceVersionMatch is forbidden unless resourceVersion is provided")
    elif match == "Exact" and version == "0":
        raise _forbidden_match('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    elif match not in ("", "Exact", "NotOlderThan"):
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
        raise status.invalid_options("ListOptions", "FieldValueNotSupported", text, "resourceVersionMatch")


def _token(revision, start):
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _untoken(text):
    try:
        token = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return int(token["rv"]), str(token["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise status.bad_request(f"continue key is not valid: invalid continue token: {error}") from error


class Reads:
    def __init__(self, etcd, settings):
        self._etcd, self._settings = etcd, settings
        # What changed before this server started is not kept for watches, as with a real one's cache.
        self.since = etcd.revision()

    def get(self, resource, namespace, name, query):
        pairs = self._etcd.range(resource.key(namespace, name), revision=self._place(query, 0)[0]).pairs
        pair = pairs[0] if pairs else None
        if pair is None:
            raise status.not_found(resource, name)
        return loaded(pair.value, pair.revision)

    def list(self, resource, namespace, query):
        """Objects, and the metadata of the list."""
        _check_match(query)
        selection = Selection(query, resource)
        limit = number(query, "limit")
        revision, start, limit = self._place(query, limit)
        prefix = resource.prefix(namespace)
        try:
            return self._collect(prefix, prefix + start, revision, limit, selection)
        except Compacted as error:
            if not query.get("continue"):
                raise status.expired("The resourceVersion for the provided list is too old.") from error
            raise status.expired(_TOO_OLD, {"continue": _token(-1, start)}) from error

    def _place(self, query, limit):
        """Revision (0: the newest), the first key behind the prefix, and the limit."""
        version = query.get("resourceVersion", "")
        if query.get("continue"):
            if version not in ("", "0"):
                raise status.bad_request("specifying resource version is not allowed when using continue")
            revision, start = _untoken(query["continue"])
            return max(revision, 0), start, limit
        number = _version(version or "0")
        if number is None:
            raise status.bad_request("invalid resource version: " + _unparsed(version))
        if query.get("resourceVersionMatch") == "Exact":
            if number > self._etcd.revision():
                raise self._future(number)
            return number, "", limit
        if not version:
            return 0, "", limit
        self._await(number)
        # From a real server's cache, which knows no limit for resourceVersion 0.
        return self._settings.lag or 0, "", limit if number else 0

    def _await(self, number):
        end = time.monotonic() + _WAIT
        while (self._settings.lag or self._etcd.revision()) < number:
            if time.monotonic() > end:
                raise self._future(number)
            time.sleep(0.1)

    def _future(self, number):
        return status.future_version(number, self._settings.lag or self._etcd.revision())

    def _collect(self, prefix, start, revision, limit, selection):
        items, end = [], after(prefix)
        while True:
            wanted = limit if limit and not selection else min(_PAGE, max(limit, 500)) if limit else _PAGE
            page = self._etcd.range(start, end, revision, wanted)
            revision = page.revision
            for number, pair in enumerate(page.pairs):
                item = loaded(pair.value, pair.revision)
                if selection.match(item):
                    items.append(item)
                start = pair.key + "\0"
                left = page.count - number - 1
                if limit and len(items) == limit and left:
                    metadata = {"resourceVersion": str(revision), "continue": _token(revision, start[len(prefix):])}
                    return items, metadata if selection else {**metadata, "remainingItemCount": left}
            if not page.more:
                return items, {"resourceVersion": str(revision)}

    def watch(self, resource, namespace, query, partial):
        """A generator of events; None now and then, so that the caller can look after its connection."""
        _check_match(query)
        settings, version = self._settings, query.get("resourceVersion", "")
        initial = query.get("sendInitialEvents") in ("true", "1")
        if initial and settings.watch_list == "forbidden":
            raise status.invalid_options("ListOptions", "FieldValueForbidden", "Forbidden: sendInitialEvents is "
                                         "forbidden for watch unless the WatchList feature gate is enabled",
                                         "sendInitialEvents")
        if _version(version or "0") is None:
            raise status.Refused(500, _unparsed(version), "")
        initial = initial and settings.watch_list != "ignored"
        if initial:
            self._await(int(version or 0))
        return Changes(self, resource, namespace, query, partial).events(initial, int(version or 0))


class Changes:
    """One watch."""

    def __init__(self, reads, resource, namespace, query, partial):
        self._etcd, self._settings, self._since = reads._etcd, reads._settings, max(reads.since, resource.since)
        self._collect = reads._collect
        self._resource, self._prefix = resource, resource.prefix(namespace)
        self._selection, self._partial = Selection(query, resource), partial
        self._bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self._end = time.monotonic() + (number(query, "timeoutSeconds") or random.randint(1800, 3600))

    def events(self, initial, version):
        try:
            yield from self._events(initial, version)
        except EtcdError:
            # The stream ends, as it does when a server's own watch of etcd ends.
            return

    def _events(self, initial, version):
        if initial and self._settings.watch_list == "event":
            yield _error(500, _NO_PROGRESS, "InternalError")
            return
        if initial or version == 0:
            # Everything first: at the revision that this server knows, which a lagging one does not know well.
            items, metadata = self._collect(self._prefix, self._prefix, self._settings.lag or 0, 0, self._selection)
            version = int(metadata["resourceVersion"])
            for item in items:
                yield self._event("ADDED", item)
            if initial and self._bookmarks:
                yield self._bookmark(version, _INITIAL_END)
        elif version < self._since:
            yield _error(410, f"too old resource version: {version} ({self._since})", "Expired")
            return
        yield from self._following(version)

    def _following(self, version):
        known = version if version <= self._etcd.revision() else 0
        marks = [self._end - 1, self._end - 2.5]
        marks += [self._end - 60 * n for n in range(1, 61)]
        due = [mark for mark in sorted(marks) if mark > time.monotonic()]
        watch = self._etcd.watch(self._prefix, version + 1)
        try:
            while time.monotonic() < self._end:
                batch = watch.next(min(1, self._end - time.monotonic(), due[0] - time.monotonic() if due else 1))
                while batch and self._is_held(batch) and time.monotonic() < self._end:
                    yield None
                    time.sleep(0.05)
                if batch and batch.compacted:
                    yield _error(410, f"too old resource version: {version} ({batch.compacted})", "Expired")
                    return
                for change in batch.events if batch else ():
                    event = self._selected(change)
                    if event:
                        yield event
                if batch and batch.revision >= version:
                    known = batch.revision
                if due and time.monotonic() >= due[0]:
                    due.pop(0)
                    if self._bookmarks and self._settings.bookmarks and known:
                        yield self._bookmark(known)
                yield None
        finally:
            watch.close()

    def _is_held(self, batch):
        return self._settings.lag and batch.revision > self._settings.lag

    def _selected(self, change):
        """An object that enters the selection is ADDED, one that leaves it DELETED, as it was before."""
        now = change.value and loaded(change.value, change.revision)
        before = change.previous and loaded(change.previous, change.revision)
        fits, fitted = (bool(item) and self._selection.match(item) for item in (now, before))
        if fits:
            return self._event("MODIFIED" if fitted else "ADDED", now)
        return self._event("DELETED", before) if fitted else None

    def _event(self, kind, item):
        return {"type": kind, "object": metadata_only(item) if self._partial else item}

    def _bookmark(self, revision, annotations=None):
        metadata = {"resourceVersion": str(revision)}
        if annotations:
            metadata["annotations"] = annotations
        item = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": metadata}
        if self._partial:
            return {"type": "BOOKMARK", "object": metadata_only(item)}
        if self._resource.kind == "Pod":
            item.update(spec={"containers": None}, status={})
        return {"type": "BOOKMARK", "object": item}


def _error(code, message, reason):
    return {"type": "ERROR", "object": status.Refused(code, message, reason).body}
