"""Who asks, and whether he may.

The file of users is a JSON list, read again when it changes:

    [{"user": "admin", "token": "secret"},
     {"user": "plexus", "token": "t1", "expires": 1767225600, "allow": [
        {"verbs": ["get", "list", "watch"], "resources": ["pods", "network-attachment-definitions"]},
        {"verbs": ["patch"], "resources": ["pods/status"], "namespaces": ["default"]}]},
     {"user": "system:multus:n1", "allow": []}]

`expires` is in seconds since 1970; without `allow` everything is allowed; a user without token comes with a client
certificate, whose common name he has. `*` stands for every verb or resource.
"""

import json
import os
import time

from . import status

ANONYMOUS = "system:anonymous"
_PUBLIC = ("/version", "/readyz", "/livez", "/healthz")


class Access:
    def __init__(self, path):
        """`path` None: everybody may do everything."""
        self._path, self._read_at, self._users = path, None, []

    def _current(self):
        changed = os.stat(self._path).st_mtime_ns
        if changed != self._read_at:
            with open(self._path, encoding="utf-8") as file:
                self._users = json.load(file)
            self._read_at = changed
        return self._users

    def user(self, authorization, certificate):
        """The user's name; `certificate` is what ssl says of the client's, or None."""
        if self._path is None:
            return "admin"
        if authorization:
            token = authorization.removeprefix("Bearer ").strip()
            for user in self._current():
                if user.get("token") == token and user.get("expires", float("inf")) > time.time():
                    return user["user"]
            raise status.unauthorized()
        for part in (certificate or {}).get("subject", ()):
            for name, value in part:
                if name == "commonName":
                    return value
        return ANONYMOUS

    def _entry(self, name):
        return next((user for user in self._current() if user["user"] == name), None)

    def check(self, user, route):
        if self._path is None:
            return
        entry = self._entry(user)
        if entry is None or not _allows(entry.get("allow"), route):
            raise status.forbidden(user, route.verb, route.resource, route.subresource, route.namespace, route.name)

    def check_path(self, user, verb, path):
        """Of what is no resource: whoever is known may ask."""
        if self._path is not None and path not in _PUBLIC and self._entry(user) is None:
            raise status.forbidden_path(user, verb, path)


def _allows(rules, route):
    if rules is None:
        return True
    return any(
        {route.verb, "*"} & set(rule.get("verbs", ())) and {route.full_resource, "*"} & set(rule.get("resources", ()))
        and ("namespaces" not in rule or route.namespace in rule["namespaces"]) for rule in rules)
