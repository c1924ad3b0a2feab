"""Build the Kubernetes programs once: ``python -m tests.kubernetes.cluster.build [--check]``.

One Go program is kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kubectl by
the name it is called with. It is kept below ``$XDG_CACHE_HOME/panosc-hub`` under a hash of its
sources, so every checkout finds it. ``PANOSC_KUBERNETES_BINARY`` names one that was built
elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parent / "programs"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
GO = (1, 25)
KEPT = 14 * 86400.0
"""Seconds for which what nobody uses stays in the cache."""


class CannotBuild(Exception):
    """Why the programs cannot be built here, in a sentence."""


def cache() -> Path:
    """Where built things are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "panosc-hub"


@contextlib.contextmanager
def claimed(name: str) -> Iterator[None]:
    """Only one process at a time makes the thing of that name; others wait for it."""
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prune(kind: str, used: Path) -> None:
    """Note that one of the kind is used, and remove those that nobody used for long."""
    os.utime(used)
    for each in cache().glob(f"{kind}-*"):
        if time.time() - each.stat().st_mtime > KEPT:
            shutil.rmtree(each, ignore_errors=True)


def version() -> str:
    """The Kubernetes version that go.mod asks for, such as ``v1.35.4``."""
    found = re.search(r"k8s\.io/kubernetes (v[\w.]+)", (SOURCES / "go.mod").read_text())
    assert found
    return found.group(1)


def folder() -> Path:
    """Where the programs are, or will be."""
    digest = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((SOURCES / name).read_bytes())
    return cache() / f"kubernetes-{digest.hexdigest()[:16]}"


def built() -> bool:
    """Whether nothing is left to do."""
    return all((folder() / name).exists() for name in PROGRAMS)


def why_not() -> str:
    """Empty if the programs are there or can be built, else the reason."""
    if built() or os.environ.get("PANOSC_KUBERNETES_BINARY"):
        return ""
    go = shutil.which("go")
    if go is None:
        return "the Kubernetes programs are not built yet and Go is not installed"
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", said.stdout.strip())
    if not found or (int(found[1]), int(found[2])) < GO:
        return f"building Kubernetes needs Go {GO[0]}.{GO[1]}, here is {said.stdout.strip()}"
    return ""


def build() -> Path:
    """The directory with the programs, built if need be.

    Raises :class:`CannotBuild`. The first build takes minutes and runs at low priority.
    """
    with claimed("kubernetes"):
        if built():
            prune("kubernetes", folder())
            return folder()
        if reason := why_not():
            raise CannotBuild(reason)
        with tempfile.TemporaryDirectory(dir=cache(), prefix="kubernetes-new-") as name:
            new = Path(name) / "programs"
            new.mkdir()
            if given := os.environ.get("PANOSC_KUBERNETES_BINARY"):
                shutil.copy(given, new / "kubernetes")
            else:
                _compile(new / "kubernetes")
            for each in PROGRAMS:
                (new / each).symlink_to("kubernetes")
            shutil.rmtree(folder(), ignore_errors=True)
            # Whole or not at all: others look without asking for the lock.
            new.rename(folder())
    return folder()


def _compile(target: Path) -> None:
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={version()}"
    command = ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(target), "."]
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    said = subprocess.run(
        command,
        cwd=SOURCES,
        env=env,
        preexec_fn=lambda: os.nice(10),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if said.returncode:
        raise CannotBuild(f"go build failed: {said.stdout[-2000:].strip()}")


def main() -> int:
    """``build`` or, with ``--check``, only say whether there is something to do."""
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.cluster.build")
    parser.add_argument("--check", action="store_true", help="build nothing; status 1 if not built")
    if parser.parse_args().check:
        print(f"{folder()}: {'built' if built() else why_not() or 'not built yet'}")
        return 0 if built() else 1
    if not built():
        print(f"Building Kubernetes {version()} (once, some minutes) …", flush=True)
    try:
        print(build())
    except CannotBuild as error:
        print(f"Kubernetes is not built: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
