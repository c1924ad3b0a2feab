"""A real Slurm of one node that confines a job's memory by cgroups, where the machine lets it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.slurm.cluster import Cluster
from tests.slurm.cluster import why_not as why_no_cluster

ROOT = Path("/sys/fs/cgroup")

_PARTITIONS = """\
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PartitionName=cpu Nodes=oom1 Default=YES MaxTime=8:00:00 State=UP
"""
_CGROUP = """\
CgroupMountpoint=/sys/fs/cgroup
CgroupPlugin={plugin}
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
"""


def why_not() -> str:
    """Empty if such a cluster can be started here, else the reason."""
    if reason := why_no_cluster():
        return reason
    parent = ROOT / "memory" if (ROOT / "memory").is_dir() else ROOT
    probe = parent / f"panosc-probe-{os.getpid()}"
    try:
        probe.mkdir()
        limit = probe / ("memory.limit_in_bytes" if parent != ROOT else "memory.max")
        limit.write_text("100000000")
    except OSError as error:
        return f"cgroups that limit memory cannot be made here: {error.strerror}"
    finally:
        with contextlib.suppress(OSError):
            probe.rmdir()
    return ""


class ConfinedCluster(Cluster):
    """A job of it that takes more memory than it asked for is killed."""

    nodes = {"oom1": "CPUs=4 RealMemory=4000"}
    devices = ()
    gres = ""
    partitions = _PARTITIONS

    def _write(self) -> None:
        super()._write()
        text = self.conf.read_text()
        for old, new in (
            ("ProctrackType=proctrack/linuxproc", "ProctrackType=proctrack/cgroup"),
            ("TaskPlugin=task/none", "TaskPlugin=task/cgroup"),
        ):
            assert old in text
            text = text.replace(old, new)
        self.conf.write_text(text)
        plugin = "cgroup/v1" if (ROOT / "memory").is_dir() else "cgroup/v2"
        (self.dir / "cgroup.conf").write_text(_CGROUP.format(plugin=plugin))

    def stop(self) -> None:
        """Stop the daemons and remove the empty groups that slurmd leaves behind."""
        super().stop()
        for node in self.nodes:
            for group in (*ROOT.glob(f"*/slurm_{node}"), *ROOT.glob(f"system.slice/{node}*")):
                below = [path for path in group.rglob("*") if path.is_dir()]
                for folder in (*sorted(below, reverse=True), group):
                    with contextlib.suppress(OSError):  # not empty: somebody else's
                        folder.rmdir()
