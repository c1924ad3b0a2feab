"""Container images without a registry: ``python -m tests.kubernetes.cluster.image [--tar FILE]``.

``panosc-demo/analysis:1`` has this environment's Python, JupyterLab, ``jupyterhub-singleuser`` and
what the example notebooks need (the extra ``demo``), with the shared libraries of this machine and
busybox for a shell; it runs as any user. The pause image is busybox that sleeps. Layers are plain
tar files in the cache under a hash of what is in them; a second run only reads them.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from packaging.requirements import Requirement

from tests.kubernetes.cluster.build import cache, claimed, prune

SESSION = "panosc-demo/analysis:1"
PAUSE = "panosc-demo/pause:1"
PYTHON = "/opt/python"
VENV = "/opt/analysis"
_STDLIB = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
_NO_STDLIB = {"test", "tests", "idlelib", "turtledemo", "ensurepip", "site-packages", "tkinter"}
_BULKY_TESTS = re.compile(r"^(numpy|scipy|pandas|matplotlib|h5py|xarray)/(.*/)?tests/")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
Entry = tuple[str, Path | str | bytes]
"""Path in the image, and a file of this machine, a link's target, or the content."""


def distributions() -> dict[str, importlib.metadata.Distribution]:
    """What the demonstration's sessions need, with all that it needs in turn."""
    wanted = [Requirement(each) for each in importlib.metadata.requires("panosc_hub") or ()]
    queue = [each for each in wanted if each.marker and each.marker.evaluate({"extra": "demo"})]
    queue.append(Requirement("jupyterhub"))
    found: dict[str, importlib.metadata.Distribution] = {}
    done: set[tuple[str, frozenset[str]]] = set()
    while queue:
        need = queue.pop()
        key = re.sub(r"[-_.]+", "-", need.name).lower(), frozenset(need.extras)
        if key in done:
            continue
        done.add(key)
        found[key[0]] = importlib.metadata.distribution(need.name)
        for text in found[key[0]].requires or ():
            below = Requirement(text)
            extras = [{"extra": extra} for extra in ("", *need.extras)]
            if below.marker is None or any(below.marker.evaluate(each) for each in extras):
                queue.append(below)
    return found


def _layer(target: Path, entries: Iterable[Entry]) -> str:
    """Write a layer; the same entries give the same bytes. Returns its SHA-256."""
    made: set[str] = set()
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:

        def info(path: str, kind: bytes, mode: int, mtime: float = 0) -> tarfile.TarInfo:
            entry = tarfile.TarInfo(path)
            # Whole seconds: compiled files know the time of their source in no finer unit.
            entry.type, entry.mode, entry.mtime = kind, mode, int(mtime)
            return entry

        def folders(path: str) -> None:
            for parent in reversed(Path(path).parents[:-1]):
                if str(parent) not in made:
                    made.add(str(parent))
                    archive.addfile(info(str(parent), tarfile.DIRTYPE, 0o755))

        for path, what in sorted(entries, key=lambda each: each[0]):
            if path in made:
                continue
            folders(path)
            made.add(path)
            if isinstance(what, str):
                link = info(path, tarfile.SYMTYPE, 0o777)
                link.linkname = what
                archive.addfile(link)
            elif isinstance(what, bytes):
                plain = info(path, tarfile.REGTYPE, 0o755 if "bin/" in path else 0o644)
                plain.size = len(what)
                archive.addfile(plain, io.BytesIO(what))
            elif what == Path():
                archive.addfile(info(path, tarfile.DIRTYPE, 0o1777))
            else:
                stat = what.stat()
                mode = 0o755 if stat.st_mode & 0o100 else 0o644
                copied = info(path, tarfile.REGTYPE, mode, stat.st_mtime)
                copied.size = stat.st_size
                with what.open("rb") as content:
                    archive.addfile(copied, content)
    with target.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _base() -> Iterator[Entry]:
    """A shell and the directories that programs expect."""
    busybox = shutil.which("busybox")
    assert busybox, "busybox is not installed"
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    yield "usr/bin/busybox", Path(busybox)
    for name in listed.stdout.split():
        if name != "busybox":
            yield f"usr/bin/{name}", "busybox"
    for name in ("bin", "lib", "lib64", "sbin"):
        yield name, "usr/bin" if name == "sbin" else f"usr/{name}"
    for name, text in _FILES.items():
        yield name, text.encode()
    for name in ("tmp", "var/tmp", "run", "home"):
        yield name, Path()


def _python() -> Iterator[Entry]:
    """The interpreter and its library, without what only its developers use."""
    name = _STDLIB.removeprefix("lib/")
    yield f"{PYTHON[1:]}/bin/{name}", Path(os.path.realpath(sys.executable))
    yield f"{PYTHON[1:]}/bin/python3", name
    top = Path(sysconfig.get_path("stdlib"))
    for folder, folders, files in os.walk(top, followlinks=True):
        folders[:] = [
            each for each in folders if each not in _NO_STDLIB and not each.startswith("config-")
        ]
        inside = Path(folder).relative_to(top)
        for each in files:
            if ".opt-" not in each and not each.endswith(".a"):
                yield f"{PYTHON[1:]}/{_STDLIB}/{inside / each}", Path(folder, each)


def _packages() -> Iterator[Entry]:
    """The distributions' own files, below a virtual environment of the image."""
    prefix = Path(sys.prefix).resolve()
    shebang = re.compile(rb"^#!.*/python[\d.]*\n")
    name = _STDLIB.removeprefix("lib/")
    config = f"home = {PYTHON}/bin\ninclude-system-site-packages = false\n"
    yield f"{VENV[1:]}/pyvenv.cfg", config.encode()
    for link in (name, "python3", "python"):
        yield f"{VENV[1:]}/bin/{link}", f"{PYTHON}/bin/{name}"
    for distribution in distributions().values():
        for file in distribution.files or ():
            source = Path(os.path.normpath(str(distribution.locate_file(file))))
            if not source.is_file() or _BULKY_TESTS.match(str(file)):
                continue
            inside = source.relative_to(prefix)
            if inside.parts[0] == "bin":
                script = source.read_bytes()
                yield f"{VENV[1:]}/{inside}", shebang.sub(f"#!{VENV}/bin/python\n".encode(), script)
            else:
                yield f"{VENV[1:]}/{inside}", source


def _libraries(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Shared libraries of this machine that the given programs and modules load."""
    binaries = [
        str(what)
        for path, what in entries
        if isinstance(what, Path) and (".so" in what.name or f"{PYTHON[1:]}/bin/" in path)
    ]
    # The name service is loaded by name when a host name is looked up.
    machine = Path("/lib", f"{platform.machine()}-linux-gnu")
    binaries += [str(each) for each in machine.glob("libnss_*.so.2")]
    said = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    ours = (str(Path(sys.prefix).resolve()) + "/lib/", str(Path(sys.prefix)) + "/lib/")
    for path in sorted({*re.findall(r"(/\S+) \(0x", said), *binaries[-1:]}):
        # Bundled ones come with their package.
        if path.startswith(ours):
            continue
        if path.startswith(("/lib/", "/lib64/")):
            yield f"usr{path}", Path(path)
        elif path.startswith("/usr/lib"):
            yield path[1:], Path(path)
        else:
            yield f"usr{machine}/{Path(path).name}", Path(path)
    for each in machine.glob("libnss_*.so.2"):
        yield f"usr{each}", each


def _key() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(f"{sys.version} {os.path.realpath(sys.executable)}".encode())
    for name, distribution in sorted(distributions().items()):
        digest.update(f"{name}=={distribution.version}\n".encode())
    return digest.hexdigest()[:16]


def layers() -> dict[str, Path]:
    """The layers' files by digest in their order; the first one is the base."""
    with claimed("image"):
        folder = cache() / f"image-{_key()}"
        if not (folder / "order.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=cache(), prefix="image-new-") as name:
                _make(Path(name, "image"))
                Path(name, "image").rename(folder)
        prune("image", folder)
        order: list[str] = json.loads((folder / "order.json").read_text())
        return {digest: folder / f"{digest}.tar" for digest in order}


def _make(folder: Path) -> None:
    folder.mkdir()
    software = [*_python(), *_packages()]
    parts: list[Callable[[], Iterable[Entry]]] = [_base, lambda: _libraries(software), _python]
    order = []
    for entries in [*parts, _packages]:
        digest = _layer(folder / "new", entries())
        (folder / "new").rename(folder / f"{digest}.tar")
        order.append(digest)
    (folder / "order.json").write_text(json.dumps(order))


def write(stream: IO[bytes]) -> None:
    """Both images as one archive, as ``ctr images import`` and ``docker load`` read it."""
    found = layers()
    order = list(found)
    session = {
        "Env": [
            f"PATH={VENV}/bin:/usr/bin:/bin",
            "LANG=C.UTF-8",
            "PYTHONDONTWRITEBYTECODE=1",
            "SHELL=/bin/sh",
        ],
        "Cmd": ["jupyterhub-singleuser"],
        "User": "1000:1000",
        "WorkingDir": "/tmp",
    }
    pause = {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep", "2147483647"]}
    images = {SESSION: (session, order), PAUSE: (pause, order[:1])}
    manifest = []
    with tarfile.open(fileobj=stream, mode="w|") as archive:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        for name, (config, used) in images.items():
            machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
            whole = {
                "architecture": machine,
                "os": "linux",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in used]},
            }
            text = json.dumps(whole, sort_keys=True).encode()
            file = f"{hashlib.sha256(text).hexdigest()}.json"
            add(file, text)
            tars = [f"{each}.tar" for each in used]
            manifest.append({"Config": file, "RepoTags": [name], "Layers": tars})
        for digest, path in found.items():
            archive.add(path, f"{digest}.tar")
        add("manifest.json", json.dumps(manifest).encode())


def main() -> None:
    """Make the layers; with ``--tar`` write an archive for ``docker load`` or ``ctr import``."""
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.cluster.image")
    parser.add_argument(
        "--tar", type=argparse.FileType("wb"), help="write the archive to this file"
    )
    options = parser.parse_args()
    size = sum(path.stat().st_size for path in layers().values())
    if options.tar:
        write(options.tar)
    print(f"{SESSION}: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
