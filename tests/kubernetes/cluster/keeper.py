"""The first process of a cluster's own process and mount namespace.

Everything that belongs to one cluster is below this process: etcd, the Kubernetes programs,
containerd and the pods. It starts and kills programs as its socket tells it. When its standard
input ends, which the owner's death also does, or when it is told to stop, it kills all and takes
away what lies outside of the namespaces: cgroups and the bridge. Mounts need no care, for they
vanish with the namespace.

Run as ``keeper.py DIRECTORY`` by :mod:`tests.kubernetes.cluster.cluster`, standard library only.
``DIRECTORY/keeper.json`` says what: ``private`` (host directory → directory below DIRECTORY that
lies over it), ``programs`` (name → argv), ``environment``, ``bridge`` and ``cgroup``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SOCKET = "keeper.sock"


def cgroup_roots() -> list[Path]:
    """Where cgroups are mounted: one place per controller (version 1), or one for all."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            found.append(Path(where.replace("\\040", " ")))
    return found


def make_cgroup(name: str) -> None:
    """The group in every hierarchy, for the kubelet demands that it is there."""
    for root in cgroup_roots():
        group = root / name
        group.mkdir(exist_ok=True)
        if (root / "cgroup.controllers").exists():
            for controller in ("cpu", "cpuset", "memory", "pids", "io", "hugetlb"):
                # One by one: what this host does not delegate must not take others with it.
                with contextlib.suppress(OSError):
                    (root / "cgroup.subtree_control").write_text(f"+{controller}")
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            if (group / inherited).exists() and not (group / inherited).read_text().strip():
                (group / inherited).write_text((root / inherited).read_text())


def remove_cgroup(name: str, patience: float = 5.0) -> None:
    """The group with all below it; the kernel may need a moment after the last process."""
    end = time.monotonic() + patience
    for root in cgroup_roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            while True:
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > end:
                        print(f"keeper: {folder} stays: still in use", flush=True)
                        break
                    time.sleep(0.05)
                else:
                    break


def remove_bridge(name: str) -> None:
    """The bridge, if it is there."""
    if Path("/sys/class/net", name).exists():
        subprocess.run(["ip", "link", "delete", name], check=False)


class Keeper:
    """Programs of one cluster, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wanted: dict[str, Any] = json.loads((folder / "keeper.json").read_text())
        self.running: dict[str, int] = {}
        self.ended: dict[str, int] = {}

    def prepare(self) -> None:
        """Our directories over those whose names the programs do not let anybody choose."""
        make_cgroup(self.wanted["cgroup"])
        # Shared within this namespace alone, as the kubelet expects of a host.
        subprocess.run(["mount", "--make-rshared", "/"], check=True)
        for host, ours in self.wanted["private"].items():
            Path(host).mkdir(parents=True, exist_ok=True)
            (self.folder / ours).mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--bind", self.folder / ours, host], check=True)
            subprocess.run(["mount", "--make-shared", host], check=True)

    def reap(self) -> None:
        """Note who ended; orphans of the shims are everybody's and nobody's."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, known in list(self.running.items()):
                if known == pid:
                    del self.running[name]
                    self.ended[name] = os.waitstatus_to_exitcode(status)

    def start(self, name: str) -> int:
        """Start a program unless it runs."""
        if name in self.running:
            return self.running[name]
        argv = self.wanted["programs"][name]
        log = str(self.folder / "log" / f"{name}.log")
        self.ended.pop(name, None)
        self.running[name] = os.posix_spawn(
            argv[0],
            argv,
            self.wanted["environment"],
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        return self.running[name]

    def kill(self, name: str, number: int) -> int | None:
        """Send a signal and wait for the end; what it started lives on."""
        pid = self.running.get(name)
        if pid is None:
            return self.ended.get(name)
        os.kill(pid, number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            return None
        _, status = os.waitpid(pid, 0)
        self.running.pop(name, None)
        self.ended[name] = os.waitstatus_to_exitcode(status)
        return self.ended[name]

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One request of the socket."""
        name = asked.get("name", "")
        if asked["do"] == "start":
            return {"pid": self.start(name)}
        if asked["do"] == "kill":
            return {"ended": self.kill(name, asked.get("signal", signal.SIGKILL))}
        return {"running": self.running, "ended": self.ended}

    def run(self) -> None:
        """Serve until told to stop or until the owner is no more."""
        wake, wakes = os.pipe()
        for end in (wake, wakes):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakes)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        listening = socket.socket(socket.AF_UNIX)
        address = self.folder / SOCKET
        address.unlink(missing_ok=True)
        listening.bind(str(address))
        listening.listen(8)
        events = selectors.DefaultSelector()
        for each in (wake, listening, sys.stdin):
            events.register(each, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in events.select():
                if key.fd == sys.stdin.fileno():
                    if not os.read(key.fd, 4096):
                        return
                elif key.fileobj == wake:
                    told = os.read(wake, 4096)
                    self.reap()
                    if signal.SIGTERM in told:
                        return
                elif not self.serve(listening):
                    return

    def serve(self, listening: socket.socket) -> bool:
        """One connection, one request; False when it was the last one."""
        with listening.accept()[0] as peer, peer.makefile("rw") as line:
            peer.settimeout(10)
            try:
                asked = json.loads(line.readline())
                if asked["do"] == "stop":
                    return False
                said = self.answer(asked)
            except (OSError, ValueError, KeyError) as error:
                said = {"error": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(OSError):
                line.write(json.dumps(said) + "\n")
                line.flush()
        return True

    def end(self) -> None:
        """Kill everything in the namespace and take away what outlives it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        remove_cgroup(self.wanted["cgroup"])
        remove_bridge(self.wanted["bridge"])


def main() -> None:
    """``keeper.py DIRECTORY``."""
    # The lock that says "alive" goes with us, not with a pod that outlives us.
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(entry) > 2:
                fcntl.fcntl(int(entry), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    keeper = Keeper(Path(sys.argv[1]))
    try:
        keeper.prepare()
        keeper.run()
    finally:
        keeper.end()


if __name__ == "__main__":
    main()
