"""Record what this machine's Slurm answers to our own questions, as files for the tests.

::

    python -m tests.slurm.record tests/unit/backends/slurm/fixtures/22.05

It starts a cluster with accounting, submits jobs that wait, run and end in several ways, and
writes down the answers, with the machine's names and paths taken out. The questions are those of
the package, so a new column is recorded by running this again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from panosc_hub.backends.slurm.accounts import ASSOCIATIONS, QOS, USERS
from panosc_hub.backends.slurm.evidence import SACCT_FORMAT
from panosc_hub.backends.slurm.parse import NAMED_FORMAT, QUEUE_FORMAT
from panosc_hub.backends.slurm.parse_nodes import NODE_FORMAT
from panosc_hub.backends.slurm.pending import PENDING_FORMAT
from tests.slurm.accounting import AccountingCluster

JOBS = {
    "runs": ["--partition=cpu", "--wrap=sleep 600"],
    "on-a100": ["--partition=gpu", "--gres=gpu:a100:2", "--wrap=sleep 600"],
    "on-mig": ["--partition=mig", "--gres=gpu:1g.10gb:1", "--wrap=sleep 600"],
    "on-shard": ["--partition=mig", "--gres=shard:2", "--wrap=sleep 600"],
    "fails": ["--partition=cpu", "--wrap=exit 3"],
    "is-killed": ["--partition=cpu", "--wrap=kill -9 $$"],
    "completes": ["--partition=cpu", "--wrap=true"],
    "is-cancelled": ["--partition=cpu", "--wrap=sleep 600"],
    "times-out": ["--partition=cpu", "--wrap=sleep 600"],
    "suspended": ["--partition=cpu", "--wrap=sleep 600"],
    "fills": ["--partition=small", "--exclusive", "--time=10", "--wrap=sleep 600"],
    "waits": ["--partition=small", "--cpus-per-task=8", "--time=10", "--wrap=sleep 600"],
    "held": ["--partition=small", "--hold", "--wrap=sleep 600"],
}
REFUSED = {
    "partition": ["--partition=nowhere"],
    "qos": ["--qos=vip"],
    "account": ["--account=nobodys"],
    "gres": ["--partition=gpu", "--gres=gpu:h100:1"],
    "nodes": ["--partition=cpu", "--cpus-per-task=900"],
    "reservation": ["--reservation=nothing"],
    "constraint": ["--constraint=nothing"],
    "option": ["--no-such-option"],
}
QUEUE = ["squeue", "--states=all", f"--format={QUEUE_FORMAT}"]
QUESTIONS = {
    "config.txt": ["scontrol", "show", "config"],
    "squeue.txt": QUEUE,
    "squeue-named.txt": ["squeue", "--states=all", f"--format={NAMED_FORMAT}", "--name=runs,waits"],
    "squeue-gone.txt": [*QUEUE, "--jobs=999998,999999"],
    "squeue-start.txt": ["squeue", "--start", f"--format={PENDING_FORMAT}"],
    "sinfo.txt": ["sinfo", "--Node", "--all", f"--Format={NODE_FORMAT}"],
    "partitions.txt": ["scontrol", "--oneliner", "show", "partition"],
    "reservations.txt": ["scontrol", "--oneliner", "show", "reservation"],
    "level.txt": [
        "sacctmgr", "--readonly", "--parsable2", "--noheader",
        "show", "user", "root", "format=User,AdminLevel",
    ],
    "version.txt": ["sbatch", "--version"],
}  # fmt: skip


def record(cluster: AccountingCluster, target: Path) -> None:
    """Submit, wait until all is as it should be, ask and write."""
    target.mkdir(parents=True, exist_ok=True)

    def run(argv: list[str]) -> tuple[str, str]:
        env = {**os.environ, **cluster.environment, "SLURM_TIME_FORMAT": "standard"}
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )
        return done.stdout, done.stderr

    def keep(name: str, text: str) -> None:
        text = text.replace(str(cluster.dir), "/var/lib/slurm")
        text = re.sub(rf"\b{re.escape(os.uname().nodename.split('.')[0])}\b", "login1", text)
        (target / name).write_text(text)

    def wait(condition: str, *argv: str) -> None:
        end = time.monotonic() + 90
        while condition not in run(list(argv))[0]:
            if time.monotonic() > end:
                raise SystemExit(f"{' '.join(argv)} never told {condition!r}")
            time.sleep(0.5)

    ids = {}
    for name, options in JOBS.items():
        argv = ["sbatch", "--parsable", f"--job-name={name}", "--output=/dev/null", "--mem=1G"]
        out, err = run([*argv, *options])
        assert out.strip(), err
        ids[name] = out.strip()
        if name == "runs":
            keep("sbatch.txt", out)
    state = ("squeue", "--states=all", "--noheader", "--format=%j=%T")
    for name in ("is-cancelled", "times-out", "suspended", "fills"):
        wait(f"{name}=RUNNING", *state)
    run(["scancel", ids["is-cancelled"]])
    run(["scontrol", "suspend", ids["suspended"]])
    run(["scontrol", "update", f"jobid={ids['times-out']}", "endtime=now+2"])
    wait("times-out=TIMEOUT", *state)
    wait("fails=FAILED", *state)
    cluster.command("scontrol", "update", "nodename=gpu2", "state=drain", "reason=for the record")
    time.sleep(12)  # the backfill scheduler's estimates, and the accounts
    show = ["sacctmgr", "--readonly", "--parsable", "show"]
    accounts = {
        "associations.txt": [
            *show, "associations", f"cluster={cluster.name}", f"format={','.join(ASSOCIATIONS)}",
        ],
        "users.txt": [*show, "user", f"format={','.join(USERS)}"],
        "qos.txt": [*show, "qos", f"format={','.join(QOS)}"],
    }  # fmt: skip
    for name, argv in {**QUESTIONS, **accounts}.items():
        keep(name, run(argv)[0])
    for name in ("runs", "fails", "waits"):
        keep(f"job-{name}.txt", run(["scontrol", "-o", "show", "job", ids[name]])[0])
    numbers = ",".join(ids.values())
    asked = ["sacct", "--allocations", "--parsable2", f"--format={SACCT_FORMAT}"]
    keep("sacct.txt", run([*asked, f"--jobs={numbers}"])[0])
    test = ["sbatch", "--test-only", "--time=10", "--mem=1G", "--wrap=true"]
    keep("test-only.txt", run([*test, "--partition=cpu"])[1])
    for name, options in REFUSED.items():
        refusal = run(["sbatch", "--parsable", *options, "--wrap=true"])[1]
        if refusal:  # a job for more CPUs than there are is only refused by a test
            keep(f"refused-{name}.txt", refusal)
        keep(f"test-only-refused-{name}.txt", run([*test, *options])[1])


def main() -> int:
    """``record DIRECTORY``."""
    if len(sys.argv) != 2:
        print("usage: python -m tests.slurm.record DIRECTORY", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="panosc-record-") as folder:
        cluster = AccountingCluster(folder)
        cluster.start()
        try:
            record(cluster, Path(sys.argv[1]))
        finally:
            cluster.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
