"""What goes wrong on demand, and what was asked: the state that the control channel changes."""

import collections
import itertools
import re
import threading
import time

_MATCHES = ("verb", "resource", "namespace", "name", "user", "agent", "path")
_ACTIONS = {
    "delay": float, "status": int, "retryAfter": int, "drop": str, "silent": bool, "hold": float, "piece": int,
    "pause": float, "error": int, "cut": int, "late": bool,
}
_DROPS = ("before", "after", "half")


class Settings:
    """Switches that hold until they are changed."""

    def __init__(self):
        # How a WATCH with sendInitialEvents is met: on, forbidden (422), event (an ERROR event with code 500), or
        # ignored (as a server that does not know the parameter).
        self.watch_list = "on"
        self.bookmarks = True
        # The revision at which this server's reads "from the cache" and its watches stand still; None: they don't.
        self.lag = None
        # Nothing is answered and no watch sends anything.
        self.silent = False

    def change(self, wanted, revision):
        """`lag` true: stand still at `revision`."""
        for name, value in wanted.items():
            if name == "watchList" and value in ("on", "forbidden", "event", "ignored"):
                self.watch_list = value
            elif name in ("bookmarks", "silent") and isinstance(value, bool):
                setattr(self, name, value)
            elif name == "lag" and (value is None or isinstance(value, (bool, int))):
                self.lag = revision if value is True else value or None
            else:
                raise ValueError(f"setting {name} cannot be {value!r}")

    def described(self):
        return {"watchList": self.watch_list, "bookmarks": self.bookmarks, "lag": self.lag, "silent": self.silent}


class Fault:
    """Requests that match, how many of them (None: all), after how many that are spared, and what happens to them."""

    def __init__(self, number, wanted):
        self.number, self.wanted = number, wanted
        self.times, self.skip = wanted.get("times"), wanted.get("skip", 0)
        self.match = wanted.get("match", {})
        self.action = {name: value for name, value in wanted.items() if name not in ("times", "skip", "match")}
        for name in self.match:
            if name not in _MATCHES:
                raise ValueError(f"match.{name} is unknown: there are {', '.join(_MATCHES)}")
        for name, value in self.action.items():
            if name not in _ACTIONS:
                raise ValueError(f"{name} is unknown: there are match, times, skip, {', '.join(_ACTIONS)}")
            if name == "drop" and value not in _DROPS:
                raise ValueError(f"drop {value!r} is unknown: there are {', '.join(_DROPS)}")
            self.action[name] = _ACTIONS[name](value)

    def fits(self, asked):
        """Every value is a regular expression for the whole of what was asked."""
        return all(re.fullmatch(pattern, str(asked.get(name) or "")) for name, pattern in self.match.items())

    def described(self):
        return {**self.wanted, "id": self.number, "times": self.times, "skip": self.skip}


class Faults:
    def __init__(self):
        self._lock, self._numbers, self._faults = threading.Lock(), itertools.count(1), []

    def add(self, wanted):
        with self._lock:
            self._faults.append(Fault(next(self._numbers), wanted))
            return self._faults[-1].described()

    def remove(self, number=None):
        with self._lock:
            self._faults = [fault for fault in self._faults if number is not None and fault.number != number]

    def list(self):
        with self._lock:
            return [fault.described() for fault in self._faults]

    def action(self, asked):
        """What happens to one request: of the first fault that fits."""
        with self._lock:
            for fault in self._faults:
                if fault.times == 0 or not fault.fits(asked):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault.action
        return {}


class Log:
    """The requests since the last `clear`, the newest hundred thousand."""

    def __init__(self):
        self._lock, self._entries = threading.Lock(), collections.deque(maxlen=100_000)

    def add(self, asked):
        """Also of a request that is never answered: its `status` stays null."""
        entry = {**asked, "time": time.time(), "status": None}
        with self._lock:
            self._entries.append(entry)
        return entry

    def list(self):
        with self._lock:
            return [dict(entry) for entry in self._entries]

    def counts(self):
        """How often each verb was asked of each resource, by which program, with which answer."""
        sums = {}
        for entry in self.list():
            key = tuple(entry[name] for name in ("verb", "resource", "agent", "status"))
            sums[key] = sums.get(key, 0) + 1
        return [{**dict(zip(("verb", "resource", "agent", "status"), key)), "count": count}
                for key, count in sums.items()]

    def clear(self):
        with self._lock:
            self._entries.clear()
