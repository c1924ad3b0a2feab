"""containerd's store with the images in it, made once and given to each cluster by hard links.

Importing a gigabyte takes a cluster half a minute; linking its files takes a second. Nothing ever
writes into an unpacked layer, so that clusters can share them; the two databases are copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.kubernetes.cluster import image
from tests.kubernetes.cluster.build import CannotBuild, cache, claimed

_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{state}/sock"
"""


def make() -> Path:
    """The store, made if need be; it goes with the image's layers."""
    layers = image.layers()
    said = subprocess.run(["containerd", "--version"], capture_output=True, text=True, check=True)
    folder = next(iter(layers.values())).parent / f"store-{said.stdout.split()[2]}"
    with claimed("store"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache(), prefix="store-new-") as name:
                root = Path(name, "store")
                with _containerd(root) as socket:
                    _import(socket)
                for digest, layer in layers.items():
                    # The same bytes: kept once.
                    blob = root / "io.containerd.content.v1.content" / "blobs" / "sha256" / digest
                    if blob.exists() and blob.stat().st_size == layer.stat().st_size:
                        blob.unlink()
                        os.link(layer, blob)
                root.rename(folder)
    return folder


def put(target: Path) -> None:
    """A store of its own for a containerd that does not run yet."""
    source = make()
    shutil.rmtree(target, ignore_errors=True)
    linked = subprocess.run(["cp", "-al", source, target], capture_output=True, check=False)
    if linked.returncode:  # the cache is on another file system
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
        return
    for database in source.rglob("*.db"):
        own = target / database.relative_to(source)
        own.unlink()
        shutil.copy2(database, own)


@contextlib.contextmanager
def _containerd(root: Path) -> Iterator[Path]:
    """A containerd that only keeps images; its socket."""
    with tempfile.TemporaryDirectory(prefix="panosc-store-") as state:
        config, log = Path(state, "config.toml"), Path(state, "log")
        config.write_text(_CONFIG.format(root=root, state=state))
        socket = Path(state, "sock")
        with log.open("wb") as output:
            # Its mounts are nobody else's, and it ends with us.
            command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "containerd"]
            with subprocess.Popen(
                [*command, "--config", config], stdout=output, stderr=output
            ) as running:
                try:
                    end = time.monotonic() + 30
                    while subprocess.run(
                        ["ctr", "-a", socket, "version"], capture_output=True, check=False
                    ).returncode:
                        if running.poll() is not None or time.monotonic() > end:
                            raise CannotBuild(
                                f"containerd did not start: {log.read_text()[-2000:]}"
                            )
                        time.sleep(0.1)
                    yield socket
                finally:
                    running.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        running.wait(20)
                    running.kill()


def _import(socket: Path) -> None:
    command = ["ctr", "-a", str(socket), "-n", "k8s.io", "images", "import", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as run:
        assert run.stdin
        assert run.stderr
        with contextlib.suppress(BrokenPipeError):
            image.write(run.stdin)
            run.stdin.close()
        said = run.stderr.read().decode(errors="replace")
    if run.returncode:
        raise CannotBuild(f"the images could not be imported: {said[-2000:]}")
