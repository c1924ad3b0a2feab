"""A real Slurm with a thousand running jobs, for the benchmarks that compare with batchspawner.

One cluster serves all of them; it is started by the first and ends with this process. A job is
an allocation without a process (``salloc --no-shell``): for slurmctld and squeue it runs like any
other, but this host need not hold a thousand notebook servers. Jobs of other people are real
jobs too, held ones, and no array, for slurmctld keeps a waiting array as one record.
"""

from __future__ import annotations

import atexit
import functools
import os
import resource
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .rows import LeftOut

SERVERS = 1000
CROWD = 10_000
"""Jobs in the queue, the thousand among them, where many other people's jobs are asked for."""

WAITING = "waiting"
"""A partition that takes jobs and starts none, for one job has its only node."""

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "sacct", "sacctmgr")
_AT_ONCE = 4
_NODE = f"CPUs={SERVERS} RealMemory={SERVERS * 2}"
_JOB = ("--ntasks=1", "--mem=1M", "--time=8:00:00")

_LIMITS = f"""
MaxJobCount=20000
# Slurm's own defaults; the test bed's are shorter and would be measured too.
SchedulerParameters=bf_interval=30,sched_interval=60
PartitionName={WAITING} Nodes=gpu2 State=UP
"""


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds since something began: of this process, of its commands, of slurmctld."""

    hub: float
    commands: float
    controller: float

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(
            self.hub - earlier.hub,
            self.commands - earlier.commands,
            self.controller - earlier.controller,
        )


class Bed:
    """The cluster and its jobs; get it with :func:`bed`."""

    def __init__(self, folder: Path) -> None:
        from tests.slurm.cluster import Cluster

        class Large(Cluster):
            """Room for every job; nothing to cancel at the end, for no job has a process."""

            nodes = Cluster.nodes | dict.fromkeys(("cpu1", "cpu2"), _NODE)
            partitions = Cluster.partitions + _LIMITS

            def cancel_all(self) -> None:
                """Nothing."""

        self.folder = folder
        self.cluster = Large(folder / "slurm")
        self.jobs: list[tuple[str, str]] = []
        """Id and node of each running job."""
        self._others = 0

    def start(self) -> None:
        """Start the daemons and the jobs."""
        self.cluster.start()
        os.environ |= self.cluster.environment
        self._many(("salloc", "--no-shell", *_JOB), SERVERS)
        running = ("squeue", "--noheader", "--states=RUNNING", "--format=%A %B")
        for line in self.cluster.command(*running).splitlines():
            job_id, host = line.split()
            self.jobs.append((job_id, host))
        if len(self.jobs) != SERVERS:
            raise RuntimeError(f"{len(self.jobs)} of {SERVERS} jobs run")
        self._many(("salloc", "--no-shell", f"--partition={WAITING}", "--exclusive", "--mem=0"), 1)
        pid = int((self.cluster.dir / "slurmctld.pid").read_text())
        # The CPU clock of another process, clock_getcpuclockid(3): to the nanosecond, with the
        # threads that have ended; /proc/PID/stat counts in steps of 10 ms.
        self._clock = (-pid - 1) << 3 | 2

    def crowd(self) -> None:
        """Fill the queue with other people's jobs up to ``CROWD``."""
        missing = CROWD - SERVERS - 1 - self._others
        self._many(("sbatch", "--hold", "--output=/dev/null", "--wrap=true", *_JOB), missing)
        self._others += missing
        jobs = self.cluster.command("squeue", "--noheader").splitlines()
        if len(jobs) != CROWD:
            raise RuntimeError(f"{len(jobs)} of {CROWD} jobs are in the queue")

    def disperse(self) -> None:
        """Take other people's jobs out of the queue."""
        if self._others:
            self.cluster.command("scancel", "--state=PENDING")
            self._others = 0

    def _many(self, argv: tuple[str, ...], count: int) -> None:
        def one(_: int) -> None:
            subprocess.run(argv, cwd=self.folder, capture_output=True, timeout=60, check=True)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(one, range(count)))

    def cpu(self) -> Cpu:
        """What was used so far. Commands count when they have ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Cpu(
            time.process_time(),
            ended.ru_utime + ended.ru_stime,
            time.clock_gettime(self._clock),
        )

    def counted(self, side: str) -> Path:
        """A directory of commands that count themselves and then are the real ones."""
        folder = self.folder / side
        folder.mkdir(exist_ok=True)
        for name in COMMANDS:
            if (real := shutil.which(name)) is not None:
                program = folder / name
                program.write_text(f'#!/bin/sh\nprintf . >>{folder}/count\nexec {real} "$@"\n')
                program.chmod(0o755)
        (folder / "count").touch()
        return folder

    @staticmethod
    def count(folder: Path) -> int:
        """How many commands of :meth:`counted` were run so far."""
        return (folder / "count").stat().st_size


@functools.cache
def bed() -> Bed:
    """The one cluster of this process. Raises :class:`~bench.rows.LeftOut`."""
    try:
        from tests.slurm.cluster import CannotRun, why_not
    except ImportError as error:
        raise LeftOut(f"{error}; run it in the project's own directory") from None
    if reason := why_not():
        raise LeftOut(reason)
    if shutil.which("salloc") is None:
        raise LeftOut("salloc is not installed")
    folder = tempfile.TemporaryDirectory(prefix="panosc-bench-")
    made = Bed(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(made.cluster.stop)
    try:
        made.start()
    except CannotRun as error:
        raise LeftOut(str(error)) from None
    return made
