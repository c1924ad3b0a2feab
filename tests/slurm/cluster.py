"""A real Slurm on one machine, all of it in one directory.

``Cluster(directory)`` writes the configuration and starts munged, slurmctld and one slurmd per
node on free ports. Nothing outside the directory is used or changed: clients find the cluster
through ``SLURM_CONF`` alone and munge through its own socket, so a Slurm that already runs on
the machine is left in peace. For demonstrations::

    python -m tests.slurm.cluster start --accounting DIR     # prints SLURM_CONF=DIR/slurm.conf
    python -m tests.slurm.cluster stop DIR

Nodes (pretended sizes; a job gets no more than the machine has):

* partition ``cpu`` (default): ``cpu1``, ``cpu2`` with 8 CPUs and 16 GB each
* partition ``gpu``: ``gpu1`` with four GPUs of type ``a100``, ``gpu2`` with two untyped GPUs
* partition ``small``: ``cpu2`` alone with a time limit of 10 minutes

With ``--accounting``, where MariaDB and slurmdbd are installed, it has more: accounts, QOS,
reservations and further nodes, see ``tests/slurm/accounting.py``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol")
_SEARCH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"

_CONF = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={dir}/state
SlurmctldPidFile={dir}/slurmctld.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdSpoolDir={dir}/spool.%n
SlurmdPidFile={dir}/slurmd.%n.pid
SlurmdLogFile={dir}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
ReturnToService=2
JobRequeue=1
KillWait=2
MinJobAge={min_job_age}
MessageTimeout=10
SlurmctldTimeout=60
SlurmdTimeout=60
InactiveLimit=0
PropagateResourceLimits=NONE
"""

_PARTITIONS = """\
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=8:00:00 State=UP
PartitionName=gpu Nodes=gpu[1-2] MaxTime=8:00:00 State=UP
PartitionName=small Nodes=cpu2 MaxTime=10 State=UP
"""

_GRES = """\
NodeName=gpu1 Name=gpu Type=a100 File={dir}/dev/a100-[0-3]
NodeName=gpu2 Name=gpu File={dir}/dev/plain-[0-1]
"""

NODES = {
    "cpu1": "CPUs=8 RealMemory=16000",
    "cpu2": "CPUs=8 RealMemory=16000",
    "gpu1": "CPUs=16 RealMemory=64000 Gres=gpu:a100:4",
    "gpu2": "CPUs=16 RealMemory=64000 Gres=gpu:2",
}

_NO_JOBS = {"idle", "resv"}


class CannotRun(Exception):
    """Why a real Slurm cannot run here, in a sentence."""


def _which(program: str) -> str:
    found = shutil.which(program, path=_SEARCH)
    if found is None:
        raise CannotRun(
            f"{program} is not installed; on Debian: "
            "apt-get install slurmctld slurmd slurm-client munge slurmdbd mariadb-server"
        )
    return found


def why_not(programs: Sequence[str] = PROGRAMS) -> str:
    """Empty if a cluster can be started here, else the reason."""
    if os.geteuid() != 0:
        return "a real Slurm needs root (slurmd starts jobs as users)"
    try:
        for program in programs:
            _which(program)
        socket.gethostbyname(_short_host())
    except CannotRun as error:
        return str(error)
    except OSError:
        return f"the host name {_short_host()} does not resolve; add it to /etc/hosts"
    return ""


def _short_host() -> str:
    return socket.gethostname().split(".")[0]


def _free_ports(count: int) -> list[int]:
    """Ports free a moment ago; all are held until the last is known, so none comes twice."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Cluster:
    """One cluster in ``directory``; ``min_job_age`` is how long ended jobs stay visible (s)."""

    name = "panosc-test"
    nodes = NODES
    devices = ("a100-0", "a100-1", "a100-2", "a100-3", "plain-0", "plain-1")
    partitions = _PARTITIONS
    gres = _GRES
    programs = PROGRAMS

    def __init__(self, directory: str | os.PathLike[str], min_job_age: int = 300) -> None:
        self.dir = Path(directory).resolve()
        self.min_job_age = min_job_age
        self.conf = self.dir / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find this cluster."""
        return {"SLURM_CONF": str(self.conf)}

    def start(self, timeout: float = 60.0) -> None:
        """Start everything and wait until every node is idle. Raises :class:`CannotRun`."""
        reason = why_not(self.programs)
        if reason:
            raise CannotRun(reason)
        self.dir.mkdir(parents=True, exist_ok=True)
        # Jobs of any account must reach munge's socket below this directory.
        self.dir.chmod(0o755)
        self._write()
        try:
            self.start_munge(timeout)
            self._before_controller(timeout)
            self.start_controller(timeout)
            for node in self.nodes:
                self.start_node(node)
            self._wait(self.all_idle, timeout, "not all nodes became idle")
            self._when_idle()
        except BaseException:
            self.stop()
            raise

    def _write(self) -> None:
        for name in ("state", "dev"):
            (self.dir / name).mkdir(exist_ok=True)
        key = self.dir / "munge.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(secrets.token_bytes(128))
        for name in self.devices:
            device = self.dir / "dev" / name
            if not device.exists():  # /dev/null by another name: never opened for its content
                os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        self.dbd_port, ctld_port, *ports = _free_ports(2 + len(self.nodes))
        where = f"NodeHostname={_short_host()} NodeAddr=127.0.0.1"
        nodes = [
            f"NodeName={name} {where} Port={port} {rest}"
            for (name, rest), port in zip(self.nodes.items(), ports, strict=True)
        ]
        conf = _CONF.format(
            dir=self.dir,
            name=self.name,
            host=_short_host(),
            ctld_port=ctld_port,
            min_job_age=self.min_job_age,
        )
        partitions = self.partitions.format(dir=self.dir, dbd_port=self.dbd_port)
        self.conf.write_text(conf + "\n".join(nodes) + "\n" + partitions)
        (self.dir / "gres.conf").write_text(self.gres.format(dir=self.dir))
        # Without these, slurmd looks for an address of /etc/slurm's own plug-ins.
        (self.dir / "plugstack.conf").write_text("")

    def _before_controller(self, timeout: float) -> None:
        """What else slurmctld needs."""

    def _when_idle(self) -> None:
        """What can be made only when all nodes are up."""

    def start_munge(self, timeout: float = 30.0) -> None:
        """Start munged (again)."""
        at = str(self.dir / "munge")
        self._run(
            [
                _which("munged"),
                "--force",
                f"--key-file={at}.key",
                f"--socket={at}.socket",
                f"--pid-file={at}.pid",
                f"--log-file={at}.log",
                f"--seed-file={at}.seed",
            ]
        )
        self._wait(lambda: Path(f"{at}.socket").is_socket(), timeout, "munged made no socket")

    def start_controller(self, timeout: float = 30.0) -> None:
        """Start slurmctld (again) and wait until it answers."""
        self._run([_which("slurmctld")])
        self._wait(self.answers, timeout, "slurmctld does not answer")

    def stop_controller(self) -> None:
        """Stop slurmctld as an operator would; jobs keep running."""
        self._end(self.dir / "slurmctld.pid", signal.SIGTERM)

    def freeze_controller(self, frozen: bool = True) -> None:
        """Hang slurmctld (SIGSTOP) or let it go on."""
        pid = int((self.dir / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill_controller(self) -> None:
        """Kill slurmctld, as the out-of-memory killer would."""
        self._end(self.dir / "slurmctld.pid", signal.SIGKILL)

    def start_node(self, node: str) -> None:
        """Start a node's slurmd (again)."""
        self._run([_which("slurmd"), "-N", node])

    def kill_node(self, node: str) -> None:
        """Kill a node's slurmd; its jobs keep running."""
        self._end(self.dir / f"slurmd.{node}.pid", signal.SIGKILL)

    def kill_munge(self) -> None:
        """Kill munged: no command can say who asks."""
        self._end(self.dir / "munge.pid", signal.SIGKILL)

    def answers(self) -> bool:
        """Whether slurmctld answers a ping."""
        done = self._run([_which("scontrol"), "ping"], check=False)
        return done.returncode == 0 and "is UP" in done.stdout

    def all_idle(self) -> bool:
        """Whether all nodes are up and none has a job."""
        done = self._run([_which("sinfo"), "-N", "-h", "-o", "%N %t"], check=False)
        states = dict(line.split() for line in done.stdout.splitlines())
        return set(states) == set(self.nodes) and set(states.values()) <= _NO_JOBS

    def command(self, *argv: str) -> str:
        """Output of one client command; raises ``CalledProcessError``."""
        return self._run([_which(argv[0]), *argv[1:]]).stdout

    def cancel_all(self) -> None:
        """Cancel every job and wait until the nodes are free again."""
        jobs = self._run([_which("squeue"), "-h", "-o", "%A"], check=False).stdout.split()
        self._run([_which("scancel"), *jobs], check=False)
        self._wait(self.all_idle, 30, "jobs did not end")

    def stop(self) -> None:
        """Stop the daemons of this directory, jobs first, and leave the logs."""
        if self.conf.exists() and (self.dir / "slurmctld.pid").exists():
            with contextlib.suppress(ProcessLookupError, ValueError, FileNotFoundError):
                self.freeze_controller(False)
            with contextlib.suppress(CannotRun):
                self.cancel_all()
        for node in self.nodes:
            self._end(self.dir / f"slurmd.{node}.pid", signal.SIGTERM)
        self._end(self.dir / "slurmctld.pid", signal.SIGTERM)
        self._end(self.dir / "munge.pid", signal.SIGTERM)

    def clear(self) -> None:
        """Forget an earlier start in this directory: its jobs, and what else it kept."""
        self.stop()
        for name in ("state", "mariadb"):
            shutil.rmtree(self.dir / name, ignore_errors=True)

    def _end(self, pid_file: Path, how: signal.Signals) -> None:
        """Signal the daemon of ``pid_file`` and wait; kill it after 10 s."""
        try:
            pid = int(pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        for attempt in (how, signal.SIGKILL):
            try:
                os.kill(pid, attempt)
            except ProcessLookupError:
                break
            with contextlib.suppress(CannotRun):
                self._wait(lambda: not _alive(pid), 10, "")
                break
        pid_file.unlink(missing_ok=True)

    def _run(
        self,
        argv: list[str],
        check: bool = True,
        stdin: int | IO[str] = subprocess.DEVNULL,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            argv,
            env={"PATH": _SEARCH, **self.environment, **variables},
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise CannotRun(f"{argv[0]} failed: {(done.stderr or done.stdout).strip()[:400]}")
        return done

    def _wait(self, condition: Callable[[], bool], timeout: float, complaint: str) -> None:
        _wait(condition, timeout, f"{complaint}; see the logs in {self.dir}")


def _wait(condition: Callable[[], bool], timeout: float, complaint: str) -> None:
    """Ask ``condition`` until it holds: daemons give no event to wait for."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise CannotRun(f"within {timeout:.0f} s: {complaint}")
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def main(argv: list[str]) -> int:
    """``start DIR`` or ``stop DIR``; ``start --accounting DIR`` with accounting where possible."""
    from tests.slurm import accounting  # it builds on this module

    action, *options = argv[:-1] or [""]
    if action not in ("start", "stop") or options not in ([], ["--accounting"]):
        usage = "usage: python -m tests.slurm.cluster start [--accounting] DIR | stop DIR"
        print(usage, file=sys.stderr)
        return 2
    reason = accounting.why_not()
    if action == "stop":
        with_accounts = (Path(argv[-1]) / "slurmdbd.conf").exists()
    else:
        with_accounts = bool(options) and not reason
    cluster = (accounting.AccountingCluster if with_accounts else Cluster)(argv[-1])
    try:
        if action == "stop":
            cluster.stop()
        else:
            if options and reason:
                print(f"Slurm without accounts: {reason}", file=sys.stderr)
            cluster.clear()
            cluster.start()
            print(f"SLURM_CONF={cluster.conf}")
    except CannotRun as error:
        print(f"Slurm cannot run here: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
