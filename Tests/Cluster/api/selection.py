"""Label and field selectors."""

import re

from . import status

_LABEL = re.compile(r"\s*(?:(!)\s*)?([A-Za-z0-9][\w./-]*)\s*(?:(==|=|!=|in\b|notin\b)\s*(\([^()]*\)|[\w.-]*))?\s*$")


def _split(text):
    """At commas outside parentheses."""
    return re.split(r",(?![^(]*\))", text)


class Labels:
    """`a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, joined by commas."""

    def __init__(self, text):
        self._wanted = [self._requirement(part) for part in _split(text)] if text else []

    def __bool__(self):
        return bool(self._wanted)

    @staticmethod
    def _requirement(part):
        match = _LABEL.match(part)
        negated, key, operator, value = match.groups() if match else (None,) * 4
        if not match or (negated and operator) or ((operator or "").endswith("in") != (value or "").startswith("(")):
            raise status.bad_request(f"unable to parse requirement: {part}")
        values = {item.strip() for item in (value or "").strip("()").split(",")}
        kind = {None: "absent" if negated else "present", "=": "in", "==": "in", "!=": "notin"}.get(operator, operator)
        return key, kind, values

    def match(self, labels):
        labels = labels or {}
        for key, kind, values in self._wanted:
            if kind == "present":
                fits = key in labels
            elif kind == "absent":
                fits = key not in labels
            elif kind == "in":
                fits = labels.get(key) in values
            else:
                fits = labels.get(key) not in values
            if not fits:
                return False
        return True


class Fields:
    """`field=value`, `field==value`, `field!=value`, joined by commas, of the fields that a resource has for this."""

    def __init__(self, text, resource):
        self._wanted = []
        for part in text.split(",") if text else []:
            field, operator, value = re.match(r"([^=!]*)(==|!=|=|)(.*)", part, re.S).groups()
            if not operator:
                raise status.bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
            if field not in resource.fields:
                raise status.bad_request(f"field label not supported: {field}")
            self._wanted.append((field.split("."), operator != "!=", value))

    def __bool__(self):
        return bool(self._wanted)

    @property
    def name(self):
        """The one name that can match."""
        return next((value for path, equal, value in self._wanted if equal and path == ["metadata", "name"]), None)

    def match(self, item):
        return all((self._text(item, path) == value) == equal for path, equal, value in self._wanted)

    @staticmethod
    def _text(item, path):
        for name in path:
            item = item.get(name) if isinstance(item, dict) else None
        if isinstance(item, bool):
            return str(item).lower()
        return "" if item is None else str(item)


class Selection:
    """Both, as one predicate on objects."""

    def __init__(self, query, resource):
        self.labels = Labels(query.get("labelSelector", ""))
        self.fields = Fields(query.get("fieldSelector", ""), resource)

    def __bool__(self):
        return bool(self.labels) or bool(self.fields)

    def match(self, item):
        return self.labels.match(item["metadata"].get("labels")) and self.fields.match(item)
