"""What a cluster takes from its host outside of its namespaces, and how it is given back.

An entry in ``/run/panosc-kubernetes`` per cluster says what it has; its lock is held by the
cluster's keeper. An entry whose lock nobody holds belongs to a run that was killed: the next start
gives back what it had.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.kubernetes.cluster.keeper import remove_bridge, remove_cgroup

ENTRIES = Path("/run/panosc-kubernetes")
_TUNED = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
_TUNED_KEYS = ("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")


@dataclass(frozen=True)
class Share:
    """One cluster's part of the host."""

    folder: str
    """Where it keeps everything."""
    bridge: str
    subnet: str
    cgroup: str
    ours: bool
    """Whether the folder was made for it and goes with it."""

    @property
    def address(self) -> str:
        """The host's address on the bridge: the node's, the API's, and how pods reach the host."""
        return str(ipaddress.ip_network(self.subnet)[1])

    @property
    def _name(self) -> Path:
        return ENTRIES / self.bridge


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    ENTRIES.mkdir(exist_ok=True)
    with open(ENTRIES / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def take(folder: Path, *, ours: bool) -> tuple[Share, int]:
    """A bridge with a subnet that nobody has, and the descriptor of the lock to hand on."""
    with _alone():
        _sweep()
        if not _entries():
            values = {each: _sysctl(each).read_text().strip() for each in (*_TUNED, *_TUNED_KEYS)}
            (ENTRIES / "sysctl").write_text(json.dumps(values))
        name = f"pk{secrets.token_hex(4)}"
        share = Share(str(folder), name, _free_subnet(), f"panosc-{name}", ours)
        share._name.with_suffix(".json").write_text(json.dumps(asdict(share)))
        held = os.open(share._name.with_suffix(".held"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        width = ipaddress.ip_network(share.subnet).prefixlen
        for command in (
            ["link", "add", name, "type", "bridge"],
            ["addr", "add", f"{share.address}/{width}", "dev", name],
            ["link", "set", name, "up"],
        ):
            subprocess.run(["ip", *command], check=True)
        return share, held


def give_back(share: Share) -> None:
    """Everything that the share names; the keeper must have ended."""
    with _alone():
        _remove(share)
        _restore()


def alive(share: Share) -> bool:
    """Whether somebody holds the share's lock."""
    try:
        held = os.open(share._name.with_suffix(".held"), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False


def sweep() -> None:
    """Give back what killed runs left."""
    with _alone():
        _sweep()


def _sweep() -> None:
    for share in _entries():
        if not alive(share):
            _remove(share)
    _restore()


def _entries() -> list[Share]:
    found = []
    for path in ENTRIES.glob("pk*.json"):
        with contextlib.suppress(ValueError, TypeError):
            found.append(Share(**json.loads(path.read_text())))
    return found


def _remove(share: Share) -> None:
    remove_bridge(share.bridge)
    remove_cgroup(share.cgroup)
    # The keeper's mounts were in its own namespace: nothing but plain files is here to be removed.
    if share.ours:
        shutil.rmtree(share.folder, ignore_errors=True)
    for suffix in (".json", ".held"):
        share._name.with_suffix(suffix).unlink(missing_ok=True)


def _restore() -> None:
    """The kubelet sets some kernel values for the whole host; the last cluster puts them back."""
    saved = ENTRIES / "sysctl"
    if _entries() or not saved.exists():
        return
    for name, value in json.loads(saved.read_text()).items():
        with contextlib.suppress(OSError):
            _sysctl(name).write_text(value)
    saved.unlink()


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _free_subnet() -> str:
    """A /24 that no route of the host and no other cluster covers."""
    listed = subprocess.run(["ip", "-j", "route"], capture_output=True, text=True, check=True)
    used = [ipaddress.ip_network(share.subnet) for share in _entries()]
    for route in json.loads(listed.stdout or "[]"):
        if route["dst"] != "default":
            used.append(ipaddress.ip_network(route["dst"], strict=False))
    for number in range(64, 256):
        subnet = ipaddress.ip_network(f"10.201.{number}.0/24")
        if not any(subnet.overlaps(each) for each in used):
            return str(subnet)
    raise RuntimeError("no free subnet in 10.201.64.0 to 10.201.255.0")


def free_ports(address: str, count: int) -> list[int]:
    """Ports free a moment ago; all are held until the last is known, so none comes twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((address, 0))
        return [each.getsockname()[1] for each in sockets]
