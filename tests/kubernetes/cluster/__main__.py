"""A cluster outside of tests: ``python -m tests.kubernetes.cluster``, and what to do.

* ``prepare``: build programs and image, so that a start takes seconds; nothing to do with
  ``$KUBECONFIG``
* ``up --dir DIR``: start one that stays until it is killed, and print its KUBECONFIG
* ``with -- COMMAND``: run a command while there is a cluster
* ``status --dir DIR``: which programs run
* ``sweep``: give back what killed runs left (every start does so, too)
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.kubernetes.cluster import build, host, store
from tests.kubernetes.cluster.cluster import CannotRun, Cluster, why_not

GPUS = {"nvidia.com/gpu": 4, "nvidia.com/mig-1g.10gb": 2}
PRODUCT = "NVIDIA-A100-SXM4-40GB"


def _up(cluster: Cluster, command: list[str], namespace: str | None) -> int:
    """Start, tell where it is, and stay: until killed, or as long as the command runs."""
    cluster.start()
    cluster.set_gpus(GPUS, product=PRODUCT)
    print(f"Kubernetes is ready ({cluster.summary()}).", file=sys.stderr)
    print(f"KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}", flush=True)
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "PANOSC_KUBERNETES_DIR": str(cluster.folder),
        "PANOSC_KUBERNETES_HUB_ADDRESS": cluster.address,
    }
    if namespace:
        cluster.kubectl("create", "namespace", namespace)
        environment["PANOSC_KUBERNETES_NAMESPACE"] = namespace
        environment["KUBECONFIG"] = str(cluster.hub_kubeconfig(namespace))
    if command:
        return subprocess.run(command, env=environment, check=False).returncode
    while True:
        signal.pause()


def main() -> int:
    """See ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kubernetes.cluster", epilog="with: the command comes after --"
    )
    parser.add_argument("what", choices=("prepare", "up", "with", "status", "sweep"))
    parser.add_argument("--dir", type=Path, help="where all of it is kept; emptied at the start")
    parser.add_argument("--namespace", help="with: make it, and a kubeconfig with the Hub's rights")
    parser.add_argument("--required", action="store_true", help="prepare: fail where none can be")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    options, command = parser.parse_args(words[:end]), words[end + 1 :]
    if options.what == "sweep":
        host.sweep()
        return 0
    try:
        if options.what == "prepare":
            given = os.environ.get("KUBECONFIG")
            if given and not options.required:
                print(f"The cluster of KUBECONFIG={given} is used; nothing is built.")
            elif reason := why_not():
                print(f"A real Kubernetes is left out: {reason}")
                return 1 if options.required else 0
            else:
                print("Kubernetes and its image are built if need be …", flush=True)
                build.build()
                store.make()
            return 0
        if options.what == "status":
            print(Cluster.attach(options.dir).status())
            return 0
        if reason := why_not():
            raise CannotRun(reason)
        cluster = Cluster(options.dir)
    except (CannotRun, build.CannotBuild) as error:
        print(f"No Kubernetes here: {error}.", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        return _up(cluster, command, options.namespace)
    except CannotRun as error:
        print(f"No Kubernetes here: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
