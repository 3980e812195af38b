"""A throwaway node: network and mount namespaces of this process's own, a pod's namespace, and looks at both.

Looks go through ip(8), nft(8) and files, never through Plexus's own code.
"""

import collections
import contextlib
import ctypes
import json
import os
import signal
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PLEXUS = os.environ.get("PLEXUS") or os.path.join(ROOT, ".build/release/plexus")
STATE = "/var/lib/cni"

_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWNET = 0x20000, 0x40000000


def _checked(status):
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def sh(text, **options):
    """The output of a shell command that must succeed."""
    done = subprocess.run(["sh", "-euc", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{text}: status {done.returncode}: {done.stdout}")
    return done.stdout


class Answer:
    """What one call of the executable left."""

    def __init__(self, status, output, errors):
        self.status, self.output, self.errors = status, output, errors
        try:
            self.json = json.loads(output) if output.strip() else None
        except ValueError:
            self.json = None

    @property
    def is_hung(self):
        return self.status is None

    @property
    def is_error(self):
        """Exactly one CNI error object, with exit status 1."""
        return (
            self.status == 1 and isinstance(self.json, dict)
            and isinstance(self.json.get("code"), int) and isinstance(self.json.get("msg"), str)
            and self.json["msg"] != ""
        )

    @property
    def is_result(self):
        return self.status == 0 and isinstance(self.json, dict) and "ips" in self.json

    def __str__(self):
        said = " ".join(self.output.split()) or "nothing on stdout"
        errors = " ".join(self.errors.split())
        return f"status {self.status}: {said[:400]}" + (f"; stderr: {errors[-300:]}" if errors else "")


class Node:
    """Takes this process into namespaces of its own; the pods' namespaces go with it."""

    def __init__(self):
        _checked(_libc.unshare(_NEWNS | _NEWNET))
        os.makedirs(STATE, exist_ok=True)
        sh(f"mount --make-rprivate /; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs {STATE}; ip link set lo up")
        os.makedirs("/run/netns")
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.pods = {}
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}

    def pod(self, name):
        """A new pod's namespace; returns its path."""
        path = f"/run/netns/{name}"
        open(path, "x").close()
        _checked(_libc.unshare(_NEWNET))
        try:
            sh(f"mount --bind /proc/{os.getpid()}/ns/net {path}; ip link set lo up")
            self.pods[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _checked(_libc.setns(self.home, _NEWNET))
        return path

    def remove_pod(self, name):
        os.close(self.pods.pop(name))
        # A daemon may just look at it.
        sh(f"umount -l /run/netns/{name}; rm /run/netns/{name}")

    @contextlib.contextmanager
    def inside(self, pod):
        """In the pod's network namespace, or the node's for None; what is started there stays there."""
        if pod is not None:
            _checked(_libc.setns(self.pods[pod], _NEWNET))
        try:
            yield
        finally:
            if pod is not None:
                _checked(_libc.setns(self.home, _NEWNET))

    def start(self, verb, config, container="c1", netns="", interface="eth0", args="", prefix=(), **options):
        """A call of the executable that has its configuration; finish() takes the answer."""
        environment = dict(
            self.environment, CNI_COMMAND=verb, CNI_CONTAINERID=container, CNI_NETNS=netns, CNI_IFNAME=interface,
            CNI_ARGS=args, CNI_PATH=HERE)
        # A file, so that nobody has to feed a pipe.
        source = os.memfd_create("config")
        os.write(source, json.dumps(config).encode())
        os.lseek(source, 0, os.SEEK_SET)
        try:
            return subprocess.Popen(
                [*prefix, PLEXUS], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                errors="replace", env=environment, cwd="/", start_new_session=True, **options)
        finally:
            os.close(source)

    def finish(self, process, limit=30):
        try:
            output, errors = process.communicate(timeout=limit)
            return Answer(process.returncode, output, errors)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            return Answer(None, output, errors)

    def call(self, verb, config, **options):
        return self.finish(self.start(verb, config, **options))

    # Looks

    def _ip(self, family):
        kinds = ["addr show", "route show table all", "rule show", "neigh show nud permanent"]
        if family == "-4":
            kinds.insert(0, "link show")
        done = subprocess.run(
            ["ip", "-d", "-j", family, "-batch", "-"], input="\n".join(kinds) + "\n", stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=True, env=self.environment)
        found, rest, decoder = [], done.stdout.strip(), json.JSONDecoder()
        while rest:
            value, end = decoder.raw_decode(rest)
            found.append(value)
            rest = rest[end:].lstrip()
        return dict(zip([kind.split()[0] for kind in kinds], found, strict=True))

    def snapshot(self, pods=None):
        """Lines that say all that an attachment may leave: of the node, of its pods (all), and of the files."""
        lines = []
        for place in [None, *(self.pods if pods is None else pods)]:
            where = place or "node"
            with self.inside(place):
                for family in ("-4", "-6"):
                    for kind, entries in self._ip(family).items():
                        lines += [f"{where} {kind}{family}: {text}" for text in sorted(map(_line, entries))]
                lines += [f"{where} sysctl {name}: {value}" for name, value in _sysctls()]
                done = subprocess.run(["nft", "-j", "list", "ruleset"], stdout=subprocess.PIPE, check=True, text=True)
                for entry in json.loads(done.stdout)["nftables"]:
                    if "metainfo" not in entry:
                        lines.append(f"{where} nft: {_line(entry)}")
        for top in (STATE, "/run"):
            lines += sorted(_files(top))
        return lines


# Numbers that count, times that run, and states that the kernel settles on its own, later.
_PASSING = {
    "ifindex", "link_index", "handle", "operstate", "link_netnsid", "valid_life_time", "preferred_life_time",
    "tentative", "expires", "used", "confirmed", "updated", "probes", "state", "refcnt", "metainfo", "tso_max_size",
    "tso_max_segs", "num_tx_queues", "stats", "stats64", "root_path_cost", "topology_change", "topology_change_detected",
    "optimistic",
}
_PASSING_FLAGS = {"LOWER_UP", "NO-CARRIER", "linkdown", "dead"}


def _settled(value):
    if isinstance(value, dict):
        return {k: _settled(v) for k, v in value.items() if k not in _PASSING and not k.endswith("_timer")}
    if isinstance(value, list):
        return [_settled(v) for v in value if not (isinstance(v, str) and v in _PASSING_FLAGS)]
    return value


def _line(value):
    return json.dumps(_settled(value), sort_keys=True)


def _files(top):
    """A line for each file; last_reserved_ip.* is a hint that every ADD moves on."""
    for entry in os.scandir(top):
        if entry.path == "/run/netns" or entry.name.startswith("last_reserved_ip."):
            continue
        info = entry.stat(follow_symlinks=False)
        mode = oct(info.st_mode)
        if entry.is_dir(follow_symlinks=False):
            yield f"directory {entry.path} {mode}"
            yield from _files(entry.path)
        else:
            with open(entry.path, "rb") as file:
                yield f"file {entry.path} {mode} {file.read()[:4000]!r}"


def _sysctls():
    """All below /proc/sys/net of the namespace that the thread is in, but those that the kernel changes by itself."""
    top = "/proc/sys/net"
    passing = ("nf_conntrack_count", "/neigh/", "stable_secret", "/route/flush")
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            path = f"{folder}/{name}"
            if any(part in path for part in passing):
                continue
            try:
                with open(path) as file:
                    yield path[len(top) + 1:], file.read().strip()
            except OSError:
                pass  # some are only to be written


def difference(before, after):
    """Lines that came, with a plus, and lines that went, with a minus."""
    before, after = collections.Counter(before), collections.Counter(after)
    return [f"-{line}" for line in (before - after).elements()] + [f"+{line}" for line in (after - before).elements()]
